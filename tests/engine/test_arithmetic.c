/* The two arithmetics by hand: ties, clamps, where the bias enters, and the places where near relatives of
 * the formulas give other codes (so that a formula replaced by its relative fails here). */
#include <math.h>
#include <string.h>

#include "engine/reference/arithmetic.h"
#include "nets.h"
#include "testing.h"

/* A network input -> dense with one input and `oc` outputs, to hold the constants of a tail. */
struct tail {
    struct qb_arena *arena;
    struct qb_qnode nodes[3];
    struct qb_qgraph graph;
    float scales[4], bia[4];
};

static void tail_init(struct tail *t, enum qb_arithmetic arithmetic, float sx, float sw, float sy, int zy,
                      float bia, int scale_count)
{
    *t = (struct tail){.arena = qb_arena_create()};
    assert_non_null(t->arena);
    for (int k = 0; k < 4; k++) {
        t->scales[k] = sw;
        t->bia[k] = bia;
    }
    t->nodes[0] = (struct qb_qnode){.op = QB_QOP_INPUT, .name = "input", .q = {.scale = sx}};
    t->nodes[1] = (struct qb_qnode){.op = QB_QOP_CONV,
                                    .name = "conv",
                                    .src = {0, 2},
                                    .q = {.scale = sy, .zero_point = zy},
                                    .oc = 4,
                                    .wei_scale_count = scale_count,
                                    .wei_scales = t->scales,
                                    .bia = t->bia};
    t->graph = (struct qb_qgraph){.arithmetic = arithmetic, .nodes = t->nodes, .count = 3};
}

/* Codes of four accumulators, one a channel. */
static void tail_codes(struct tail *t, const int32_t acc[4], const uint8_t *residual, uint8_t codes[4])
{
    struct qb_requant requant;
    struct qb_error err;
    qbt_ok(qb_requant_init(&t->graph, 1, t->arena, &requant, &err), &err);
    qb_requant_run(&requant, acc, residual, 1, codes);
    qb_arena_destroy(t->arena);
}

static void expect_tail(enum qb_arithmetic arithmetic, float sy, int zy, bool relu, float bia,
                        const int32_t acc[4], const uint8_t want[4])
{
    struct tail t;
    uint8_t codes[4];
    tail_init(&t, arithmetic, 0.5F, 0.5F, sy, zy, bia, 4); /* aw = 1/4 */
    t.nodes[1].relu = relu;
    tail_codes(&t, acc, NULL, codes);
    assert_memory_equal(codes, want, 4);
}

static void tail_ties_and_clamps(void **state)
{
    (void)state;
    const enum qb_arithmetic f = QB_ARITHMETIC_FBGEMM, o = QB_ARITHMETIC_ONEDNN;
    /* m = 1/2: 0.5, 1.5, 2.5, -0.5 round to even, then zy is added; onednn adds zy = 3
     * first: 3.5, 4.5, 5.5, 2.5. */
    const int32_t ties[4] = {1, 3, 5, -1};
    expect_tail(f, 0.5F, 3, false, 0.0F, ties, (const uint8_t[]){3, 5, 5, 3});
    expect_tail(o, 0.5F, 3, false, 0.0F, ties, (const uint8_t[]){4, 4, 6, 2});
    expect_tail(f, 0.5F, 4, false, 0.0F, ties, (const uint8_t[]){4, 6, 6, 4});
    expect_tail(o, 0.5F, 4, false, 0.0F, ties, (const uint8_t[]){4, 6, 6, 4});
    /* bias 2 = 8 accumulator units */
    expect_tail(f, 0.25F, 10, false, 2.0F, (const int32_t[]){0, -8, -30, 7},
                (const uint8_t[]){18, 10, 0, 25});
    expect_tail(o, 0.25F, 10, false, 2.0F, (const int32_t[]){0, -8, -30, 7},
                (const uint8_t[]){18, 10, 0, 25});
    /* relu clamps at the zero point; both ends saturate, also at int32's ends */
    const int32_t ends[4] = {INT32_MIN, INT32_MAX, -1, 245};
    expect_tail(f, 0.25F, 10, true, 0.0F, ends, (const uint8_t[]){10, 255, 10, 255});
    expect_tail(o, 0.25F, 10, true, 0.0F, ends, (const uint8_t[]){10, 255, 10, 255});
    expect_tail(f, 0.25F, 10, false, 0.0F, ends, (const uint8_t[]){0, 255, 9, 255});
    expect_tail(o, 0.25F, 10, false, 0.0F, ends, (const uint8_t[]){0, 255, 9, 255});
}

/* Over many scales and biases at ties the tails must follow their formula, and each relative of the formula
 * must be wrong somewhere. */
static void tail_relatives(void **state)
{
    (void)state;
    enum { TRIALS = 100000 };
    int two_roundings = 0, division = 0, reciprocal = 0, onednn = 0, quotient = 0, fma_bias = 0;
    struct qb_rng rng;
    qb_rng_seed(&rng, 5);
    for (int i = 0; i < TRIALS; i++) {
        const float sx = 0.01F + (float)qb_rng_double(&rng), sw = 0.01F + (float)qb_rng_double(&rng);
        const float aw = sx * sw, sy = aw * (8.0F + (float)qb_rng_interval(&rng, 100));
        const int code = (int)qb_rng_interval(&rng, 200);
        /* a bias at a tie: (code + 1/2) * sy, less what the accumulator brings */
        const int32_t acc[4] = {0, 1, 37, (int32_t)qb_rng_interval(&rng, 3000)};
        const float bia = ((float)code + 0.5F) * sy - (float)acc[3] * aw, m = aw / sy, inverse = 1.0F / sy;
        const float r = (float)(1.0 / (double)aw);
        uint8_t channel[4], tensor[4], float_tail[4];
        struct tail t;
        tail_init(&t, QB_ARITHMETIC_FBGEMM, sx, sw, sy, 20, bia, 4);
        tail_codes(&t, acc, NULL, channel);
        tail_init(&t, QB_ARITHMETIC_FBGEMM, sx, sw, sy, 20, bia, 1);
        tail_codes(&t, acc, NULL, tensor);
        tail_init(&t, QB_ARITHMETIC_ONEDNN, sx, sw, sy, 20, bia, 4);
        tail_codes(&t, acc, NULL, float_tail);
        for (int k = 0; k < 4; k++) {
            const float a = (float)acc[k], quotient_bia = bia / aw, product_bia = bia * r;
            const float by_quotient = (a + quotient_bia) * m, by_fma = fmaf(bia, r, a) * m;
            const float by_product = (a + product_bia) * m;
            const float scaled = a * aw, biased = scaled + bia, shifted = biased * inverse + 20.0F;
            const float divided = biased / sy + 20.0F, fused = fmaf(a, aw, bia) * inverse + 20.0F;
            const int want_channel = (int)fminf(fmaxf(rintf(by_quotient) + 20.0F, 0.0F), 255.0F);
            const int want_tensor = (int)fminf(fmaxf(rintf(by_fma) + 20.0F, 0.0F), 255.0F);
            const int want_float = (int)rintf(fminf(fmaxf(shifted, 0.0F), 255.0F));
            assert_int_equal(channel[k], want_channel);
            assert_int_equal(tensor[k], want_tensor);
            assert_int_equal(float_tail[k], want_float);
            two_roundings += want_tensor != (int)fminf(fmaxf(rintf(by_product) + 20.0F, 0.0F), 255.0F);
            reciprocal += want_channel != want_tensor;
            quotient += want_float != (int)rintf(fminf(fmaxf(divided, 0.0F), 255.0F));
            fma_bias += want_float != (int)rintf(fminf(fmaxf(fused, 0.0F), 255.0F));
            onednn += want_channel != want_float;
            division +=
                want_channel != (int)fminf(fmaxf(rintf((a + quotient_bia) * aw / sy) + 20.0F, 0.0F), 255.0F);
        }
    }
    assert_true(two_roundings > 0 && reciprocal > 0 && onednn > 0 && quotient > 0 && fma_bias > 0 &&
                division > 0);
}

/* onednn's fused addition: v = fma(sr, res - zr, acc * aw + bia). */
static void fused_add(void **state)
{
    (void)state;
    struct tail t;
    uint8_t codes[4];
    tail_init(&t, QB_ARITHMETIC_ONEDNN, 0.5F, 0.5F, 0.5F, 7, 1.0F, 4);
    t.nodes[1].fused_add = true;
    t.nodes[2].q = (struct qb_qparams){.scale = 0.75F, .zero_point = 100};
    /* (acc / 4 + 1 + 0.75 * (res - 100)) * 2 + 7: 9, 15, -141, 8.5 */
    const int32_t acc[4] = {0, 6, 0, -1};
    const uint8_t residual[4] = {100, 102, 0, 100};
    tail_codes(&t, acc, residual, codes);
    assert_memory_equal(codes, ((const uint8_t[]){9, 15, 0, 8}), 4);
    tail_init(&t, QB_ARITHMETIC_ONEDNN, 0.5F, 0.5F, 0.5F, 7, 1.0F, 4);
    t.nodes[1].fused_add = t.nodes[1].relu = true;
    t.nodes[2].q = (struct qb_qparams){.scale = 0.75F, .zero_point = 100};
    tail_codes(&t, acc, residual, codes);
    assert_memory_equal(codes, ((const uint8_t[]){9, 15, 7, 8}), 4); /* ReLU behind the sum */
}

/* The FMA of the fused addition shows: two roundings give another code somewhere. */
static void fused_add_fma(void **state)
{
    (void)state;
    struct qb_rng rng;
    qb_rng_seed(&rng, 9);
    int two_roundings = 0;
    for (int i = 0; i < 20000; i++) {
        const float sr = 0.01F + (float)qb_rng_double(&rng), sy = 0.01F + (float)qb_rng_double(&rng);
        const int32_t acc[4] = {0, 0, 0, 0};
        const uint8_t residual[4] = {3, 50, 101, (uint8_t)qb_rng_interval(&rng, 255)};
        const int code = (int)qb_rng_interval(&rng, 200);
        const float bia = ((float)code + 0.5F) * sy - sr * (float)(residual[3] - 77), inverse = 1.0F / sy;
        struct tail t;
        uint8_t codes[4];
        tail_init(&t, QB_ARITHMETIC_ONEDNN, 0.5F, 0.5F, sy, 20, bia, 4);
        t.nodes[1].fused_add = true;
        t.nodes[2].q = (struct qb_qparams){.scale = sr, .zero_point = 77};
        tail_codes(&t, acc, residual, codes);
        for (int k = 0; k < 4; k++) {
            const float r = (float)(residual[k] - 77), product = sr * r;
            const float fused = fmaf(sr, r, bia) * inverse + 20.0F,
                        separate = (product + bia) * inverse + 20.0F;
            const int want = (int)rintf(fminf(fmaxf(fused, 0.0F), 255.0F));
            assert_int_equal(codes[k], want);
            two_roundings += want != (int)rintf(fminf(fmaxf(separate, 0.0F), 255.0F));
        }
    }
    assert_true(two_roundings > 0);
}

/* The 65,536 pairs of codes of one ADD against fbgemm's formula; returns how many differ from onednn's. */
static int add_pairs(const float s[3], const int z[3], bool relu)
{
    struct qb_qnode nodes[3];
    struct qb_add fbgemm, onednn;
    for (int i = 0; i < 3; i++) {
        nodes[i] = (struct qb_qnode){.op = i < 2 ? QB_QOP_INPUT : QB_QOP_ADD,
                                     .src = {0, 1},
                                     .q = {.scale = s[i], .zero_point = z[i]},
                                     .relu = relu};
    }
    struct qb_qgraph graph = {.arithmetic = QB_ARITHMETIC_FBGEMM, .nodes = nodes, .count = 3};
    qb_add_init(&graph, 2, &fbgemm);
    graph.arithmetic = QB_ARITHMETIC_ONEDNN;
    qb_add_init(&graph, 2, &onednn);
    int different = 0;
    for (int pair = 0; pair < 65536; pair++) {
        const uint8_t a = (uint8_t)(pair >> 8), b = (uint8_t)pair;
        uint8_t got, other;
        qb_add_run(&fbgemm, &a, &b, 1, &got);
        qb_add_run(&onednn, &a, &b, 1, &other);
        const float offset0 = s[0] * (float)-z[0], offset1 = s[1] * (float)-z[1];
        const float sum = fmaf(s[0], a, offset0) + fmaf(s[1], b, offset1), inverse = 1.0F / s[2];
        const float code = (relu ? fmaxf(sum, 0.0F) : sum) * inverse;
        assert_int_equal(got, (int)fminf(fmaxf(rintf(code) + (float)z[2], 0.0F), 255.0F));
        different += got != other;
    }
    return different;
}

/* The scales for which quantization-schemes.md reports that PyTorch needs the fma form. */
static void add_fma(void **state)
{
    (void)state;
    const float s[3] = {0.047F, 0.061F, 0.07F};
    const int z[3] = {3, 120, 60};
    const int different = add_pairs(s, z, false);
    assert_in_range(different, 1, 6553);
    add_pairs(s, z, true);
}

/* The mantissa and shift of QuantizeMultiplier, and both roundings at and beside ties, positive and negative.
 */
static void tflite_multiplier(void **state)
{
    (void)state;
    const struct {
        double real;
        int32_t mantissa, right;
    } reals[] = {
        {0.5, 1 << 30, 0},
        {0.25, 1 << 30, 1},
        {0.75, 0x60000000, 0},
        {1.0 - 0x1p-33, 1 << 30, -1}, /* rounds up to 2^31: halved, 1 and no multiplier below it */
        {1.0, 1 << 30, -1},
        {0x1p-32, 1 << 30, 31},
        {0x1p-33, 0, 0},
        {(double)0.1F, 0x66666680, 3},
        {0.0, 0, 0},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        const struct qb_multiplier m = qb_quantize_multiplier(reals[i].real);
        assert_int_equal(m.mantissa, reals[i].mantissa);
        assert_int_equal(m.right, reals[i].right);
    }
    const struct qb_multiplier eighth = qb_quantize_multiplier(0.125);
    const struct {
        int32_t x, twice, once;
    } eighths[] = {{4, 1, 1},   {3, 1, 0},    {2, 0, 0},     {12, 2, 2},    {11, 2, 1},    {10, 1, 1},
                   {-4, -1, 0}, {-5, -1, -1}, {-12, -2, -1}, {-13, -2, -2}, {-11, -1, -1}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof eighths / sizeof *eighths; i++) {
        assert_int_equal(qb_multiply_twice(eighths[i].x, eighth), eighths[i].twice);
        assert_int_equal(qb_multiply_once(eighths[i].x, eighth), eighths[i].once);
    }
    const struct qb_multiplier half = qb_quantize_multiplier(0.5);
    assert_int_equal(qb_multiply_twice(-1, half), 0); /* the first step rounds half up */
    assert_int_equal(qb_multiply_twice(1, half), 1);
    assert_int_equal(qb_multiply_twice(INT32_MAX, half), 1 << 30);
    assert_int_equal(qb_multiply_twice(INT32_MIN, half), -(1 << 30));
}

/* The code of one 1 x n window whose codes' sum is `sum`. */
static uint8_t pooled(enum qb_arithmetic arithmetic, int32_t sum, int n, int zero_point)
{
    struct qb_qnode nodes[2] = {
        {.op = QB_QOP_INPUT, .dst = {1, n, 1}, .q = {.scale = 0.5F, .zero_point = zero_point}},
        {.op = QB_QOP_AVGPOOL,
         .src = {0, -1},
         .dst = {1, 1, 1},
         .q = {.scale = 0.5F, .zero_point = zero_point},
         .kh = 1,
         .kw = n}};
    const struct qb_qgraph graph = {.arithmetic = arithmetic, .nodes = nodes, .count = 2};
    struct qb_avgpool pool;
    qb_avgpool_init(&graph, 1, &pool);
    return qb_avgpool_code(&pool, sum);
}

static void avgpool_ties(void **state)
{
    (void)state;
    /* 2.5: from an odd zero point (67) the distance -64.5 goes to -64; raw codes go to 2. */
    assert_int_equal(pooled(QB_ARITHMETIC_FBGEMM, 10, 4, 67), 3);
    assert_int_equal(pooled(QB_ARITHMETIC_ONEDNN, 10, 4, 67), 2);
    assert_int_equal(pooled(QB_ARITHMETIC_FBGEMM, 10, 4, 68), 2);
    assert_int_equal(pooled(QB_ARITHMETIC_FBGEMM, 14, 4, 0), 4);
    assert_int_equal(pooled(QB_ARITHMETIC_ONEDNN, 14, 4, 0), 4);
    assert_int_equal(pooled(QB_ARITHMETIC_FBGEMM, 255 * 64, 64, 255), 255);
    assert_int_equal(pooled(QB_ARITHMETIC_ONEDNN, 255 * 64, 64, 255), 255);
    assert_int_equal(pooled(QB_ARITHMETIC_FBGEMM, 0, 9, 255), 0);
    assert_int_equal(pooled(QB_ARITHMETIC_FBGEMM, 100, 9, 1), 11);
    /* int8 codes: halves go away from code 128 */
    assert_int_equal(pooled(QB_ARITHMETIC_TFLITE, 4 * 128 + 2, 4, 0), 129);
    assert_int_equal(pooled(QB_ARITHMETIC_TFLITE, 4 * 128 - 2, 4, 0), 127);
    assert_int_equal(pooled(QB_ARITHMETIC_TFLITE, 4 * 128 - 1, 4, 0), 128);
    assert_int_equal(pooled(QB_ARITHMETIC_TFLITE, 10, 4, 0), 2);
    assert_int_equal(pooled(QB_ARITHMETIC_TFLITE, 0, 4, 0), 0);
    assert_int_equal(pooled(QB_ARITHMETIC_TFLITE, 255 * 4, 4, 0), 255);
}

static void input_codes(void **state)
{
    (void)state;
    uint8_t table[256];
    qb_input_table(QB_ARITHMETIC_FBGEMM, &(struct qb_qparams){.scale = 2.0F, .zero_point = 10}, table);
    assert_int_equal(table[0], 10);
    assert_int_equal(table[1], 10); /* 0.5, 1.5, 2.5 */
    assert_int_equal(table[3], 12);
    assert_int_equal(table[5], 12);
    assert_int_equal(table[255], 138); /* 127.5 */
    qb_input_table(QB_ARITHMETIC_FBGEMM, &(struct qb_qparams){.scale = 1.0F, .zero_point = 10}, table);
    assert_int_equal(table[245], 255);
    assert_int_equal(table[255], 255);
    qb_input_table(QB_ARITHMETIC_FBGEMM, &(struct qb_qparams){.scale = 1e-30F, .zero_point = 0}, table);
    assert_int_equal(table[0], 0);
    assert_int_equal(table[1], 255);
    /* The zero point decides ties: 126.5 goes to even, where 63.5 alone would go up.
     * torch.quantize_per_tensor of 2.13 gives the same. */
    qb_input_table(QB_ARITHMETIC_FBGEMM, &(struct qb_qparams){.scale = 255.0F / 63.5F, .zero_point = 63},
                   table);
    assert_int_equal(table[255], 126);
    qb_input_table(QB_ARITHMETIC_FBGEMM, &(struct qb_qparams){.scale = 2.0F, .zero_point = 127}, table);
    assert_int_equal(table[1], 128);
    assert_int_equal(table[3], 128);
    /* Multiplication with the reciprocal, not division. */
    bool differ = false;
    for (int scale = 1; scale < 255; scale++) {
        const float s = (float)scale, i = 1.0F / s;
        qb_input_table(QB_ARITHMETIC_FBGEMM, &(struct qb_qparams){.scale = s, .zero_point = 0}, table);
        for (int p = 0; p < 256; p++) {
            assert_int_equal(table[p], (int)rintf((float)p * i));
            differ = differ || table[p] != (int)rintf((float)p / s);
        }
    }
    assert_true(differ);
}

static void dequantize(void **state)
{
    (void)state;
    const struct qb_qparams q = {.scale = 0.1F, .zero_point = 200};
    const float low = qb_dequantize(&q, 0), high = qb_dequantize(&q, 255);
    const float want_low = 0.1F * -200.0F, want_high = 0.1F * 55.0F;
    assert_memory_equal(&low, &want_low, sizeof low);
    assert_memory_equal(&high, &want_high, sizeof high);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tail_ties_and_clamps),
        cmocka_unit_test(tail_relatives),
        cmocka_unit_test(fused_add),
        cmocka_unit_test(fused_add_fma),
        cmocka_unit_test(add_fma),
        cmocka_unit_test(avgpool_ties),
        cmocka_unit_test(tflite_multiplier),
        cmocka_unit_test(input_codes),
        cmocka_unit_test(dequantize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
