/* A loop of eight dot products with an accumulator that visits the stack: what hot_loops.sh must find. Never
 * run. */
__asm__(".text\n"
        ".globl planted_spill\n"
        "planted_spill:\n"
        "1:\n"
        "vpdpbusd %zmm30, %zmm31, %zmm0\n vpdpbusd %zmm30, %zmm31, %zmm1\n"
        "vpdpbusd %zmm30, %zmm31, %zmm2\n vpdpbusd %zmm30, %zmm31, %zmm3\n"
        "vpdpbusd %zmm30, %zmm31, %zmm4\n vpdpbusd %zmm30, %zmm31, %zmm5\n"
        "vmovdqa64 %zmm6, 64(%rsp)\n"
        "vpdpbusd %zmm30, %zmm31, %zmm6\n vpdpbusd %zmm30, %zmm31, %zmm7\n"
        "dec %rdi\n"
        "jnz 1b\n"
        "ret\n");

extern int iso_c_wants_a_declaration;
