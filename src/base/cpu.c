/* CPU features: see cpu.h. */
#include "base/cpu.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    XCR0_AVX = 0x6,     /* SSE and AVX state */
    XCR0_AVX512 = 0xe6, /* plus opmask, upper halves, upper registers */
    XCR0_AMX = 0x60000, /* tile configuration and data */
    ARCH_REQ_XCOMP_PERM = 0x1023,
    XFEATURE_XTILEDATA = 18,
};

static const char *const names[QB_ISA_COUNT] = {"ref", "avx2", "avxvnni", "avx512vnni", "amx"};
static int present[QB_ISA_COUNT];
static char present_names[64];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int has_bit(unsigned word, unsigned bit)
{
    return (word >> bit) & 1;
}

static void detect(void)
{
    unsigned a, b, c, d, a7, b7, c7, d7, a71 = 0, b71, c71, d71;
    present[QB_ISA_REF] = 1;
    if (__get_cpuid(1, &a, &b, &c, &d) && has_bit(c, 27) && __get_cpuid_count(7, 0, &a7, &b7, &c7, &d7)) {
        const uint64_t xcr0 = read_xcr0();
        if (a7 >= 1) {
            __get_cpuid_count(7, 1, &a71, &b71, &c71, &d71);
        }
        const int os_avx = (xcr0 & XCR0_AVX) == XCR0_AVX, os_avx512 = (xcr0 & XCR0_AVX512) == XCR0_AVX512;
        /* FMA (leaf 1 ecx 12) belongs to our AVX2: every CPU with AVX2 that is made has it. */
        present[QB_ISA_AVX2] = os_avx && has_bit(c, 28) && has_bit(c, 12) && has_bit(b7, 5);
        present[QB_ISA_AVXVNNI] = present[QB_ISA_AVX2] && has_bit(a71, 4);
        /* Leaf 7: ebx 16, 17, 30, 31 are F, DQ, BW, VL; ecx 11 is VNNI. */
        present[QB_ISA_AVX512VNNI] = present[QB_ISA_AVX2] && os_avx512 && has_bit(b7, 16) &&
                                     has_bit(b7, 17) && has_bit(b7, 30) && has_bit(b7, 31) && has_bit(c7, 11);
        present[QB_ISA_AMX] = present[QB_ISA_AVX512VNNI] && (xcr0 & XCR0_AMX) == XCR0_AMX &&
                              has_bit(d7, 24) && has_bit(d7, 25) &&
                              syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    }
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        if (present[i]) {
            strcat(present_names, i ? " " : "");
            strcat(present_names, names[i]);
        }
    }
}

const char *qb_isa_name(enum qb_isa isa)
{
    return names[isa];
}

int qb_cpu_has(enum qb_isa isa)
{
    pthread_once(&once, detect);
    return present[isa];
}

enum qb_isa qb_cpu_best(enum qb_isa cap)
{
    int best = (int)cap;
    while (best > QB_ISA_REF && !qb_cpu_has((enum qb_isa)best)) {
        best--;
    }
    return (enum qb_isa)best;
}

const char *qb_cpu_isas(void)
{
    pthread_once(&once, detect);
    return present_names;
}

enum qb_status qb_cpu_select(const char *name, enum qb_isa *out, struct qb_error *err)
{
    const char *source = "ISA";
    if (!name || strcmp(name, "best") == 0) {
        name = getenv("QB_ISA");
        source = "QB_ISA";
        if (!name || !*name || strcmp(name, "best") == 0) {
            *out = qb_cpu_best(QB_ISA_AMX);
            return QB_OK;
        }
    }
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            if (!qb_cpu_has((enum qb_isa)i)) {
                return qb_fail(err, QB_EUNSUPPORTED, "%s \"%s\" is not available on this CPU; it has: %s",
                               source, name, qb_cpu_isas());
            }
            *out = (enum qb_isa)i;
            return QB_OK;
        }
    }
    return qb_fail(err, QB_EINPUT, "%s \"%s\" is unknown; this CPU has: %s", source, name, qb_cpu_isas());
}
