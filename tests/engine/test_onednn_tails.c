/* The vector forms of the arithmetics (src/engine/onednn/tails.h) against their definition, on every register
 * width that this CPU has: random values, ties, extremes of accumulators, scales and zero points. */
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "engine/onednn/tails.h"
#include "testing.h"

enum { OC = 5, PIXELS = 217, COUNT = OC * PIXELS, ROUNDS = 40 };

static const int zero_points[] = {0, 1, 64, 127, 128, 254, 255};

static bool have(enum qb_simd simd)
{
    return simd == QB_SIMD_BASE || qb_cpu_has(simd == QB_SIMD_AVX2 ? QB_ISA_AVX2 : QB_ISA_AVX512VNNI);
}

static float between(struct qb_rng *rng, double low, double high)
{
    return (float)(low + (high - low) * qb_rng_double(rng));
}

static int pick_zero_point(struct qb_rng *rng)
{
    return zero_points[qb_rng_interval(rng, 6)];
}

/* A convolution node with everything that a tail reads. */
struct fixture {
    struct qb_qnode nodes[3];
    struct qb_qgraph graph;
    int8_t wei[OC];
    float scales[OC], bia[OC];
    int32_t zeros[OC], acc[COUNT], offset[OC];
    uint8_t residual[COUNT], other[COUNT];
};

static void fill(struct fixture *f, struct qb_rng *rng, enum qb_arithmetic arithmetic, bool per_tensor,
                 bool residual)
{
    memset(f, 0, sizeof *f);
    const bool exact_scales = qb_rng_interval(rng, 1); /* powers of two: ties are common */
    f->nodes[0] = (struct qb_qnode){.op = QB_QOP_INPUT, .q = {.scale = 1.0f}};
    f->nodes[1] = (struct qb_qnode){.op = QB_QOP_INPUT,
                                    .q = {.scale = between(rng, 0.01, 2.0),
                                          .zero_point = pick_zero_point(rng),
                                          .dtype = QB_QUINT8,
                                          .quant_min = 0,
                                          .quant_max = 255}};
    f->nodes[2] = (struct qb_qnode){
        .op = QB_QOP_CONV,
        .name = "conv",
        .src = {0, residual ? 1 : -1},
        .dst = {1, PIXELS, OC},
        .q = {.scale = exact_scales ? 2.0f : between(rng, 0.5, 4.0),
              .zero_point = pick_zero_point(rng),
              .dtype = QB_QUINT8,
              .quant_min = 0,
              .quant_max = 255},
        .relu = qb_rng_interval(rng, 1),
        .fused_add = residual,
        .ic = 1,
        .oc = OC,
        .wei = f->wei,
        .wei_scale_count = per_tensor ? 1 : OC,
        .wei_scales = f->scales,
        .wei_zero_points = f->zeros,
        .bia = f->bia,
    };
    f->graph = (struct qb_qgraph){.nodes = f->nodes, .count = 3, .arithmetic = arithmetic};
    for (int k = 0; k < OC; k++) {
        f->scales[k] = exact_scales ? 0.25f : between(rng, 0.001, 0.1);
        f->bia[k] = exact_scales ? (float)qb_rng_interval(rng, 40) : between(rng, -50.0, 50.0);
        f->offset[k] = (int32_t)qb_rng_interval(rng, 200000) - 100000;
    }
    for (int i = 0; i < COUNT; i++) {
        static const int32_t extremes[] = {INT32_MIN + 100000, INT32_MAX - 100000, 1 << 24,
                                           (1 << 24) + 1,      -(1 << 25) - 3,     0};
        const uint32_t kind = qb_rng_interval(rng, 19);
        f->acc[i] = kind < 6 ? extremes[kind] : (int32_t)qb_rng_interval(rng, 100000) - 50000;
        f->acc[i] -= kind < 6 ? 0 : f->offset[i % OC]; /* most sums near zero, where codes are */
        f->residual[i] = (uint8_t)qb_rng_interval(rng, 255);
        f->other[i] = (uint8_t)qb_rng_interval(rng, 255);
    }
}

static void check_tail(struct qb_rng *rng, enum qb_simd simd, enum qb_arithmetic arithmetic, bool per_tensor,
                       bool residual)
{
    struct fixture f;
    struct qb_error err;
    struct qb_requant requant;
    struct qb_tail tail;
    int32_t acc[COUNT];
    uint8_t want[COUNT], got[COUNT + 1];
    fill(&f, rng, arithmetic, per_tensor, residual);
    struct qb_arena *arena = qb_arena_create();
    assert_non_null(arena);
    qbt_ok(qb_requant_init(&f.graph, 2, arena, &requant, &err), &err);
    assert_true(qb_tail_init(&requant, f.offset, residual, simd, arena, &tail));
    for (int i = 0; i < COUNT; i++) {
        acc[i] = f.acc[i] + f.offset[i % OC];
    }
    qb_requant_run(&requant, acc, residual ? f.residual : NULL, PIXELS, want);
    got[COUNT] = 77;
    qb_tail_run(&tail, f.acc, residual ? f.residual : NULL, PIXELS, got);
    assert_memory_equal(got, want, COUNT);
    assert_int_equal(got[COUNT], 77);
    if (residual) { /* in place */
        qb_tail_run(&tail, f.acc, f.residual, PIXELS, f.residual);
        assert_memory_equal(f.residual, want, COUNT);
    }
    qb_arena_destroy(arena);
}

static void check_sum(struct qb_rng *rng, enum qb_simd simd, enum qb_arithmetic arithmetic)
{
    struct fixture f;
    struct qb_add add;
    struct qb_sum sum;
    uint8_t want[COUNT], got[COUNT];
    fill(&f, rng, arithmetic, false, true);
    f.nodes[0].q.zero_point = pick_zero_point(rng);
    f.nodes[2].op = QB_QOP_ADD;
    qb_add_init(&f.graph, 2, &add);
    qb_sum_init(&f.graph, 2, simd, &sum);
    qb_add_run(&add, f.other, f.residual, COUNT, want);
    qb_sum_run(&sum, f.other, f.residual, COUNT, got);
    assert_memory_equal(got, want, COUNT);
}

static void all(void **state)
{
    (void)state;
    for (enum qb_simd simd = QB_SIMD_BASE; simd < QB_SIMD_COUNT; simd++) {
        struct qb_rng rng;
        qb_rng_seed(&rng, 3);
        for (int round = 0; have(simd) && round < ROUNDS; round++) {
            check_tail(&rng, simd, QB_ARITHMETIC_FBGEMM, false, false);
            check_tail(&rng, simd, QB_ARITHMETIC_FBGEMM, true, false);
            check_tail(&rng, simd, QB_ARITHMETIC_ONEDNN, round & 1, false);
            check_tail(&rng, simd, QB_ARITHMETIC_ONEDNN, round & 1, true);
            check_tail(&rng, simd, QB_ARITHMETIC_ONEDNN_3_12, round & 1, true);
            check_tail(&rng, simd, QB_ARITHMETIC_TORCH_ONEDNN, round & 1, false);
            check_sum(&rng, simd, QB_ARITHMETIC_FBGEMM);
            check_sum(&rng, simd, QB_ARITHMETIC_ONEDNN);
            check_sum(&rng, simd, QB_ARITHMETIC_TORCH_X86);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
