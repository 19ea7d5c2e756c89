/* Roof probes: see roof.h.
 *
 * Each loop_* function is one block of inline assembly with registers fixed by hand, so that no compiler can
 * spill in it; all are compiled always and run only where the CPU has their ISA. A test disassembles them
 * (tests/measure). Operands are not zero: multipliers that only see zeros draw less power and may keep a
 * higher clock than any real kernel. */
#include "measure/roof.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/cores.h"

enum {
    LOOP_NS = 500 * 1000,        /* least time of one timed loop */
    PROBE_NS = 45 * 1000 * 1000, /* of one probe: some ninety loops, the best counts */
    DATA = 0x5b3a7d29,           /* four int8 values below 128: the same as u8 and as s8 */
    ONES_S16 = 0x00010001,
    ONE_F32 = 0x3f800000,
    MOST_MEMORY = 512 * 1024 * 1024, /* that the bandwidth probe takes */
};

#define TIMES_10(x) x x x x x x x x x x
#define FOR_10(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9)
#define FOR_12(M) FOR_10(M) M(10) M(11)
#define FOR_24(M) FOR_12(M) M(12) M(13) M(14) M(15) M(16) M(17) M(18) M(19) M(20) M(21) M(22) M(23)
#define LOOP(body) ".p2align 6\n1:\n" body "dec %[passes]\n jnz 1b\n"

#define CLOBBER_LOW                                                                                          \
    "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",  \
        "xmm12", "xmm13", "xmm14", "xmm15"
#ifdef __AVX512F__ /* without it the compiler neither uses the upper registers nor lets us name them */
#define CLOBBER_ALL                                                                                          \
    CLOBBER_LOW, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",   \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31"
#else
#define CLOBBER_ALL CLOBBER_LOW
#endif

/* Adds that depend on each other: one a cycle on every x86 core. */
enum { CLOCK_ADDS = 50 };
__attribute__((noinline)) static void loop_clock(uint64_t passes)
{
    uint64_t x = 1;
    __asm__ volatile(
        LOOP(TIMES_10("add %[x],%[x]\n add %[x],%[x]\n add %[x],%[x]\n add %[x],%[x]\n add %[x],%[x]\n"))
        : [passes] "+r"(passes), [x] "+r"(x)
        :
        : "cc");
}

/* AVX2 without VNNI: three products share the step from 16 to 32 bits, which is the most that real weights
 * allow (kernels/conv/conv_avx2_bytes.c). Kernels that widen every product reach two thirds of it. */
enum { PRODUCTS = 3 };
#define MADD(i)                                                                                              \
    "vpmaddubsw %%ymm14,%%ymm15,%%ymm12\n vpmaddubsw %%ymm14,%%ymm15,%%ymm11\n"                              \
    "vpmaddubsw %%ymm14,%%ymm15,%%ymm10\n vpaddw %%ymm11,%%ymm12,%%ymm12\n"                                  \
    "vpaddw %%ymm10,%%ymm12,%%ymm12\n vpmaddwd %%ymm13,%%ymm12,%%ymm12\n"                                    \
    "vpaddd %%ymm12,%%ymm" #i ",%%ymm" #i "\n"
__attribute__((noinline)) static void loop_avx2(uint64_t passes)
{
    __asm__ volatile("vmovd %[ones],%%xmm13\n vpbroadcastd %%xmm13,%%ymm13\n"
                     "vmovd %[data],%%xmm14\n vpbroadcastd %%xmm14,%%ymm14\n vmovdqa %%ymm14,%%ymm15\n" //
                     LOOP(FOR_10(MADD)) "vzeroupper\n"
                     : [passes] "+r"(passes)
                     : [data] "r"(DATA), [ones] "r"(ONES_S16)
                     : CLOBBER_LOW);
}

/* The VEX encoding: CPUs with AVX-VNNI need not have AVX-512. */
#define DOT_VEX(i) "%{vex%} vpdpbusd %%ymm14,%%ymm15,%%ymm" #i "\n"
__attribute__((noinline)) static void loop_avxvnni(uint64_t passes)
{
    __asm__ volatile("vmovd %[data],%%xmm14\n vpbroadcastd %%xmm14,%%ymm14\n vmovdqa %%ymm14,%%ymm15\n" //
                     LOOP(FOR_12(DOT_VEX)) "vzeroupper\n"
                     : [passes] "+r"(passes)
                     : [data] "r"(DATA)
                     : CLOBBER_LOW);
}

#define DOT_ZMM(i) "vpdpbusd %%zmm30,%%zmm31,%%zmm" #i "\n"
__attribute__((noinline)) static void loop_avx512vnni(uint64_t passes)
{
    __asm__ volatile("vpbroadcastd %[data],%%zmm30\n vpbroadcastd %[data],%%zmm31\n" //
                     LOOP(FOR_24(DOT_ZMM)) "vzeroupper\n"
                     : [passes] "+r"(passes)
                     : [data] "r"(DATA)
                     : CLOBBER_ALL);
}

/* Intel SDM vol. 1, 18.3: palette 1, rows and bytes a row of each tile. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
enum { TILE_ROWS = 16, TILE_BYTES = 64 };
__attribute__((noinline)) static void loop_amx(uint64_t passes)
{
    struct tile_config config = {.palette = 1};
    uint8_t data[TILE_ROWS * TILE_BYTES];
    for (unsigned i = 0; i < 8; i++) {
        config.rows[i] = TILE_ROWS;
        config.row_bytes[i] = TILE_BYTES;
    }
    for (unsigned i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 37 + 11);
    }
    __asm__ volatile("ldtilecfg %[config]\n tileloadd (%[data],%[pitch],1),%%tmm6\n"
                     "tileloadd (%[data],%[pitch],1),%%tmm7\n" //
                     LOOP("tdpbusd %%tmm6,%%tmm7,%%tmm0\n tdpbusd %%tmm6,%%tmm7,%%tmm1\n"
                          "tdpbusd %%tmm6,%%tmm7,%%tmm2\n tdpbusd %%tmm6,%%tmm7,%%tmm3\n"
                          "tdpbusd %%tmm6,%%tmm7,%%tmm4\n tdpbusd %%tmm6,%%tmm7,%%tmm5\n") "tilerelease\n"
                     : [passes] "+r"(passes)
                     : [config] "m"(config), [data] "r"(data), [pitch] "r"((uint64_t)TILE_BYTES)
                     : "cc", "memory");
}

/* The accumulators start at zero: whatever a register held before could be a denormal. */
#define CLEAR_YMM(i) "vpxor %%ymm" #i ",%%ymm" #i ",%%ymm" #i "\n"
#define FMA_YMM(i) "vfmadd231ps %%ymm14,%%ymm15,%%ymm" #i "\n"
__attribute__((noinline)) static void loop_fma_ymm(uint64_t passes)
{
    __asm__ volatile("vmovd %[one],%%xmm14\n vpbroadcastd %%xmm14,%%ymm14\n vmovdqa %%ymm14,%%ymm15\n" //
                     FOR_12(CLEAR_YMM) LOOP(FOR_12(FMA_YMM)) "vzeroupper\n"
                     : [passes] "+r"(passes)
                     : [one] "r"(ONE_F32)
                     : CLOBBER_LOW);
}

#define CLEAR_ZMM(i) "vpxord %%zmm" #i ",%%zmm" #i ",%%zmm" #i "\n"
#define FMA_ZMM(i) "vfmadd231ps %%zmm30,%%zmm31,%%zmm" #i "\n"
__attribute__((noinline)) static void loop_fma_zmm(uint64_t passes)
{
    __asm__ volatile("vpbroadcastd %[one],%%zmm30\n vpbroadcastd %[one],%%zmm31\n" //
                     FOR_24(CLEAR_ZMM) LOOP(FOR_24(FMA_ZMM)) "vzeroupper\n"
                     : [passes] "+r"(passes)
                     : [one] "r"(ONE_F32)
                     : CLOBBER_ALL);
}

/* Loads only: `passes` times 16 vectors from data, whose bytes - 1 is `mask`: the place wraps around. */
#define FOR_16(M) FOR_12(M) M(12) M(13) M(14) M(15)
#define READ_LOOP(load) LOOP(FOR_16(load) "add %[step],%[at]\n and %[mask],%[at]\n")
#define READ_OPERANDS(vector)                                                                                \
    [passes] "+r"(passes),                                                                                   \
        [at] "+r"(at) : [data] "r"(data), [mask] "r"(mask), [step] "r"((uint64_t)READ_VECTORS * vector)
enum { READ_VECTORS = 16, XMM = 16, YMM = 32, ZMM = 64 };

#define LOAD_XMM(i) "movdqa " #i "*16(%[data],%[at],1),%%xmm" #i "\n"
__attribute__((noinline)) static void loop_read_xmm(uint64_t passes, const uint8_t *data, uint64_t mask)
{
    uint64_t at = 0;
    __asm__ volatile(READ_LOOP(LOAD_XMM) : READ_OPERANDS(XMM) : "memory", CLOBBER_LOW);
}

#define LOAD_YMM(i) "vmovdqa " #i "*32(%[data],%[at],1),%%ymm" #i "\n"
__attribute__((noinline)) static void loop_read_ymm(uint64_t passes, const uint8_t *data, uint64_t mask)
{
    uint64_t at = 0;
    __asm__ volatile(READ_LOOP(LOAD_YMM) "vzeroupper\n" : READ_OPERANDS(YMM) : "memory", CLOBBER_LOW);
}

#define LOAD_ZMM(i) "vmovdqa64 " #i "*64(%[data],%[at],1),%%zmm" #i "\n"
__attribute__((noinline)) static void loop_read_zmm(uint64_t passes, const uint8_t *data, uint64_t mask)
{
    uint64_t at = 0;
    __asm__ volatile(READ_LOOP(LOAD_ZMM) "vzeroupper\n" : READ_OPERANDS(ZMM) : "memory", CLOBBER_ALL);
}

/* A loop of one of the two kinds; one pass does `units`. */
struct probe {
    void (*compute)(uint64_t passes);
    void (*read)(uint64_t passes, const uint8_t *data, uint64_t mask); /* where compute is NULL */
    const uint8_t *data;
    size_t bytes;
    double units;
};

/* 1e9 units a second of the best loop. */
static double best_rate(const struct probe *p)
{
    const uint64_t deadline = qb_now_ns() + PROBE_NS;
    uint64_t passes = 256;
    double best = 0;
    while (best <= 0 || qb_now_ns() < deadline) {
        const uint64_t start = qb_now_ns();
        if (p->compute) {
            p->compute(passes);
        } else {
            p->read(passes, p->data, p->bytes - 1);
        }
        const uint64_t ns = qb_now_ns() - start;
        if (ns < LOOP_NS) {
            passes *= 2;
        } else {
            best = fmax(best, p->units * (double)passes / (double)ns);
        }
    }
    return best;
}

static double compute_rate(void (*loop)(uint64_t passes), double units)
{
    return best_rate(&(struct probe){.compute = loop, .units = units});
}

void qb_roof_measure(struct qb_roof *out)
{
    /* Multiply-accumulates a pass = instructions x int8 lanes (a tile: rows x columns x depth). */
    static const struct {
        enum qb_isa isa;
        void (*loop)(uint64_t passes);
        double macs;
    } probes[] = {
        {QB_ISA_AVX2, loop_avx2, 10 * PRODUCTS * 32},
        {QB_ISA_AVXVNNI, loop_avxvnni, 12 * 32},
        {QB_ISA_AVX512VNNI, loop_avx512vnni, 24 * 64},
        {QB_ISA_AMX, loop_amx, 6 * TILE_ROWS * (TILE_BYTES / 4) * TILE_BYTES},
    };
    *out = (struct qb_roof){.ghz = compute_rate(loop_clock, CLOCK_ADDS)};
    for (unsigned i = 0; i < sizeof probes / sizeof *probes; i++) {
        if (qb_cpu_has(probes[i].isa)) {
            out->gmacs[probes[i].isa] = compute_rate(probes[i].loop, probes[i].macs);
        }
    }
    const double ymm = qb_cpu_has(QB_ISA_AVX2) ? compute_rate(loop_fma_ymm, 12 * 8) : 0;
    const double zmm = qb_cpu_has(QB_ISA_AVX512VNNI) ? compute_rate(loop_fma_zmm, 24 * 16) : 0;
    for (int isa = QB_ISA_AVX2; isa < QB_ISA_COUNT; isa++) {
        out->f32_gmacs[isa] = !qb_cpu_has((enum qb_isa)isa) ? 0 : isa >= QB_ISA_AVX512VNNI ? zmm : ymm;
    }
}

double qb_roof_bound_us(double gmacs, double macs)
{
    return gmacs > 0 ? macs / (gmacs * 1e3) : NAN;
}

double qb_roof_share(double gmacs, double macs, double us)
{
    return us > 0 ? qb_roof_bound_us(gmacs, macs) / us : NAN;
}

const char *qb_read_level_name(enum qb_read_level level)
{
    static const char *const names[QB_READ_LEVELS] = {"L1", "L2", "memory"};
    return names[level];
}

/* Powers of two: the largest that is at most `limit`; 0 when that is nothing. */
static size_t power_below(size_t limit)
{
    size_t bytes = limit > 0;
    while (bytes && bytes <= limit / 2) {
        bytes *= 2;
    }
    return bytes;
}

static void choose_sizes(size_t bytes[QB_READ_LEVELS])
{
    const size_t l1 = qb_cores_cache(1), l2 = qb_cores_cache(2), l3 = qb_cores_cache(3);
    const size_t last = l3 ? l3 : l2, memory = power_below(last < MOST_MEMORY / 4 ? 4 * last : MOST_MEMORY);
    bytes[QB_READ_L1] = power_below(l1 / 2);
    bytes[QB_READ_L2] = l2 / 2 > l1 ? power_below(l2 / 2) : 0;
    bytes[QB_READ_MEMORY] = memory / 2 >= last ? memory : 0;
}

void qb_read_rates_measure(struct qb_read_rates *out)
{
    *out = (struct qb_read_rates){0};
    choose_sizes(out->bytes);
    struct probe probe = {.read = loop_read_xmm, .units = READ_VECTORS * XMM};
    if (qb_cpu_has(QB_ISA_AVX512VNNI)) {
        probe = (struct probe){.read = loop_read_zmm, .units = READ_VECTORS * ZMM};
    } else if (qb_cpu_has(QB_ISA_AVX2)) {
        probe = (struct probe){.read = loop_read_ymm, .units = READ_VECTORS * YMM};
    }
    for (int level = 0; level < QB_READ_LEVELS; level++) {
        const size_t bytes = out->bytes[level];
        void *const data = bytes
                               ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                               : MAP_FAILED;
        if (data == MAP_FAILED) {
            out->bytes[level] = 0;
            continue;
        }
        madvise(data, bytes, MADV_HUGEPAGE); /* where it is refused, small pages cost what they cost */
        memset(data, 1, bytes);              /* untouched pages would all be the one of zeros */
        probe.data = data;
        probe.bytes = bytes;
        out->gbytes[level] = best_rate(&probe);
        munmap(data, bytes);
    }
}
