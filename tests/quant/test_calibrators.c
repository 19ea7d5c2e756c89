/* Observers of other frameworks than PyTorch: the golden vectors of their own code or of ports of it, scale
 * rules, and what the calibration gives an observer that wants images or two passes. Numbers have nine
 * digits. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/qparams.h"
#include "quant/weights.h"
#include "quant_testing.h"

static float values[3][QBT_CUBIC];

/* The range that `spec` gives to the first batches of the cubic set. */
static void range_of(const struct qb_observer_spec *spec, int batches, bool relu, float *min, float *max)
{
    struct qb_error err;
    struct qb_observer *o;
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    for (int b = 0; b < batches; b++) {
        qbt_cubic_batch(b, relu, values[b]);
    }
    qbt_ok(ops->create(spec, 1, &o, &err), &err);
    do {
        for (int b = 0; b < batches; b++) {
            qbt_ok(ops->observe(o, values[b], QBT_CUBIC, &err), &err);
        }
    } while (ops->next_pass && ops->next_pass(o));
    qbt_ok(ops->range(o, min, max, &err), &err);
    ops->destroy(o);
}

static bool near(float got, float want, double tolerance)
{
    return fabs((double)got - (double)want) <= tolerance;
}

static void test_golden(void **state)
{
    (void)state;
    /* clang-format off */
#define AFFINE(NAME, ...) {.observer = NAME, __VA_ARGS__}
#define SYMMETRIC(NAME, ...) {.observer = NAME, .dtype = QB_QINT8, .symmetric = true, __VA_ARGS__}
#define PERCENT(P) .has_percentile = true, .percentile = (P)
#define LEVELS(N) .has_levels = true, .levels = (N)
#define BINS(N) .has_bins = true, .bins = (N)
    static const struct {
        struct qb_observer_spec spec;
        int batches;
        bool relu;
        float min, max;
        double tolerance;
    } rows[] = {
        /* onnxruntime 1.32.0, HistogramCollector */
        {SYMMETRIC("ort_percentile", .bins = 0), 3, false, -13.3786592f, 13.3786592f, 0},
        {SYMMETRIC("ort_percentile", PERCENT(99.9)), 3, false, -10.3189659f, 10.3189659f, 0},
        {SYMMETRIC("ort_percentile", .bins = 0), 3, true, 0, 13.3786592f, 0},
        {SYMMETRIC("ort_percentile", PERCENT(99.9)), 3, true, 0, 9.35239601f, 0},
        {SYMMETRIC("ort_percentile", .bins = 0), 1, false, -7.69819546f, 7.84612179f, 0},
        {AFFINE("ort_percentile", PERCENT(99.9)), 3, false, -10.252306f, 10.3989573f, 0},
        {AFFINE("ort_percentile", PERCENT(99.99)), 3, false, -12.3854256f, 12.7987165f, 0},
        {AFFINE("ort_percentile", PERCENT(99.9)), 3, true, 0, 10.3989573f, 0},
        {AFFINE("ort_percentile", PERCENT(99.99)), 1, false, -7.51265192f, 7.58164597f, 0},
        {AFFINE("ort_entropy", .bins = 0), 3, false, -13.3852348f, 13.6519651f, 0},
        {AFFINE("ort_entropy", .bins = 0), 1, true, 0, 7.84995461f, 0},
        {AFFINE("ort_entropy", BINS(2048)), 3, false, -7.73255825f, 7.74589062f, 0},
        {AFFINE("ort_entropy", BINS(2048)), 3, true, 0, 1.71982765f, 0},
        {AFFINE("ort_entropy", BINS(2048)), 1, false, -5.93346167f, 5.94112778f, 0},
        {AFFINE("ort_entropy", BINS(1024), LEVELS(64)), 3, false, -6.93263865f, 6.95930195f, 0},
        {AFFINE("ort_entropy", BINS(1024), LEVELS(64)), 3, true, 0, 1.73316002f, 0},
        {AFFINE("ort_entropy", BINS(8001)), 1, false, -5.44228172f, 5.44228172f, 0},
        /* pytorch-quantization, its code on PyTorch 2.13 */
        {SYMMETRIC("trt_entropy", .bins = 0), 1, false, -5.84530306f, 5.84530306f, 1e-6},
        {SYMMETRIC("trt_entropy", .bins = 0), 1, true, -6.37042189f, 6.37042189f, 1e-6},
        {SYMMETRIC("trt_entropy", LEVELS(256)), 1, true, -6.86487722f, 6.86487722f, 1e-6},
        {SYMMETRIC("trt_percentile", .bins = 0), 1, false, -7.58164597f, 7.58164597f, 1e-6},
        {SYMMETRIC("trt_percentile", PERCENT(99.9)), 1, false, -6.74605465f, 6.74605465f, 1e-6},
        {SYMMETRIC("trt_percentile", .bins = 0), 3, false, -12.6220217f, 12.6220217f, 2e-6},
        {SYMMETRIC("trt_percentile", PERCENT(99.9)), 3, true, -9.3524847f, 9.3524847f, 2e-6},
        {AFFINE("trt_percentile", .bins = 0), 3, true, 0, 12.1927271f, 2e-6},
        {SYMMETRIC("trt_mse", .bins = 0), 1, false, -7.44940758f, 7.44940758f, 2e-6},
        {SYMMETRIC("trt_mse", .bins = 0), 3, false, -12.6546021f, 12.6546021f, 2e-6},
        {SYMMETRIC("trt_mse", .bins = 0), 3, true, -12.7427616f, 12.7427616f, 2e-6},
        {AFFINE("trt_mse", .bins = 0), 1, true, 0, 7.61805916f, 2e-6},
        {AFFINE("trt_mse", .bins = 0), 3, true, 0, 13.1490574f, 2e-6},
        /* AIMET's TfEnhancedEncodingAnalyzer, compiled: step times offset, step times last code */
        {AFFINE("aimet_sqnr", .bins = 0), 1, false, 0.0569390245f * -127, 0.0569390245f * 128, 2e-6},
        {AFFINE("aimet_sqnr", .bins = 0), 3, false, 0.10407903f * -123, 0.10407903f * 132, 2e-6},
        {AFFINE("aimet_sqnr", .bins = 0), 1, true, 0, 0.0307240114f * 255, 2e-6},
        {AFFINE("aimet_sqnr", .bins = 0), 3, true, 0, 0.0509360023f * 255, 2e-6},
        {SYMMETRIC("aimet_sqnr", .bins = 0), 1, false, 0.0584929436f * -127, 0.0584929436f * 127, 2e-6},
        {SYMMETRIC("aimet_sqnr", .bins = 0), 3, false, 0.103182122f * -127, 0.103182122f * 127, 2e-6},
        {SYMMETRIC("aimet_sqnr", .bins = 0), 3, true, 0.101957358f * -127, 0.101957358f * 127, 2e-6},
        /* a port of ncnn2table; the tables of the ACIQ paper's code */
        {SYMMETRIC("ncnn_kl", .bins = 0), 1, false, -4.29486042f, 4.29486042f, 1e-6},
        {SYMMETRIC("ncnn_aciq", .bins = 0), 1, false, -7.06649138f, 7.06649138f, 1e-6},
        {AFFINE("aciq_laplace", .bins = 0), 1, false, -0.00344772437f - 3.31198849f, -0.00344772437f + 3.31198849f, 2e-6},
        {AFFINE("aciq_gauss", .bins = 0), 1, false, -0.00344772437f - 3.49927399f, -0.00344772437f + 3.49927399f, 2e-6},
    };
    /* clang-format on */
    int wrong = 0;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        float min, max;
        range_of(&rows[r].spec, rows[r].batches, rows[r].relu, &min, &max);
        if (!near(min, rows[r].min, rows[r].tolerance) || !near(max, rows[r].max, rows[r].tolerance)) {
            print_error("row %zu, %s: %.9g, %.9g instead of %.9g, %.9g\n", r, rows[r].spec.observer,
                        (double)min, (double)max, (double)rows[r].min, (double)rows[r].max);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* Sum of squared errors of `x` under the codes of [min, max]. */
static double error_of(const struct qb_observer_spec *spec, const float *x, size_t count, float min,
                       float max)
{
    struct qb_error err;
    struct qb_qparams q;
    double sum = 0;
    qbt_ok(qb_qparams_derive(spec, min, max, &q, &err), &err);
    int low, high;
    qb_dtype_range(q.dtype, &low, &high);
    for (size_t i = 0; i < count; i++) {
        double code = nearbyint((double)x[i] / (double)q.scale) + q.zero_point;
        code = code < low ? low : code > high ? high : code;
        const double error = (double)q.scale * (code - q.zero_point) - (double)x[i];
        sum += error * error;
    }
    return sum;
}

/* On the values themselves no end of the range may be moved to another hundredth with a gain of more than the
 * bins' coarseness; at four bits clipping is worth much. */
static void test_mse(void **state)
{
    (void)state;
    static const struct qb_observer_spec specs[] = {
        {.observer = "mse"},
        {.observer = "mse", .dtype = QB_QINT8, .symmetric = true},
        {.observer = "mse",
         .dtype = QB_QINT8,
         .symmetric = true,
         .has_quant_range = true,
         .quant_min = -8,
         .quant_max = 7},
        {.observer = "mse", .reduce_range = true},
    };
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++) {
        const struct qb_observer_spec *const spec = &specs[s];
        float min, max;
        range_of(spec, 1, false, &min, &max);
        const float full_min = -7.69819546f, full_max = 7.84995461f;
        const double found = error_of(spec, values[0], QBT_CUBIC, min, max);
        assert_true(found <= error_of(spec, values[0], QBT_CUBIC, full_min, full_max));
        for (int step = 1; step <= 100; step++) {
            const float part = (float)step / 100;
            const float a = full_min * part, b = full_max * part;
            if (spec->symmetric) {
                assert_true(found <= 1.02 * error_of(spec, values[0], QBT_CUBIC, a, b));
            } else {
                assert_true(found <= 1.02 * error_of(spec, values[0], QBT_CUBIC, a, max));
                assert_true(found <= 1.02 * error_of(spec, values[0], QBT_CUBIC, min, b));
            }
        }
    }
}

/* One scale for each channel is what the observer gives that channel alone. */
static void test_per_channel(void **state)
{
    (void)state;
    enum { CHANNELS = 3, EACH = 4096 };
    struct qb_error err;
    for (int b = 0; b < CHANNELS; b++) {
        qbt_cubic_batch(b, false, values[b]);
        memcpy(values[0] + b * EACH, values[b], EACH * sizeof(float));
    }
    int tested = 0;
    for (const struct qb_observer_ops *const *ops = qb_observers; *ops; ops++) {
        if (!(*ops)->channel) {
            continue;
        }
        struct qb_arena *const arena = qb_arena_create();
        struct qb_quantized_weights all, one;
        struct qb_observer_spec spec = {.observer = (*ops)->name,
                                        .dtype = QB_QINT8,
                                        .symmetric = true,
                                        .has_quant_range = true,
                                        .quant_min = -127,
                                        .quant_max = 127};
        qbt_ok(qb_weights_quantize(&spec, values[0], CHANNELS, EACH, arena, &all, &err), &err);
        assert_int_equal(all.scale_count, CHANNELS);
        spec.observer = (*ops)->channel->name;
        for (size_t k = 0; k < CHANNELS; k++) {
            qbt_ok(qb_weights_quantize(&spec, values[0] + k * EACH, 1, EACH, arena, &one, &err), &err);
            assert_true(all.scales[k] == one.scales[0]);
            assert_memory_equal(all.codes + k * EACH, one.codes, EACH);
        }
        assert_true(all.scales[0] != all.scales[1]);
        qb_arena_destroy(arena);
        tested++;
    }
    assert_true(tested >= 7);
}

static void derive(const struct qb_observer_spec *spec, float min, float max, double scale, int zero_point)
{
    struct qb_error err;
    struct qb_qparams q;
    qbt_ok(qb_qparams_derive(spec, min, max, &q, &err), &err);
    if (q.scale != (float)scale || q.zero_point != zero_point) {
        fail_msg("%s [%g, %g]: scale %.9g zero point %d instead of %.9g, %d",
                 qb_scale_rule_name(spec->scale_rule), (double)min, (double)max, (double)q.scale,
                 (int)q.zero_point, scale, zero_point);
    }
}

/* Fewer bits: the formulas of each rule with the range of that many bits. */
static void test_bits(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_qparams q;
    const struct qb_observer_spec u4 = {.bits = 4}, s4 = {.bits = 4, .dtype = QB_QINT8},
                                  s3 = {.bits = 3, .dtype = QB_QINT8, .symmetric = true},
                                  symmetric_u4 = {.bits = 4, .symmetric = true},
                                  reduced = {.bits = 5, .reduce_range = true},
                                  ort = {.bits = 4, .dtype = QB_QINT8, .scale_rule = QB_SCALE_ORT},
                                  nncf = {.bits = 4, .symmetric = true, .scale_rule = QB_SCALE_NNCF},
                                  aimet = {.bits = 4, .scale_rule = QB_SCALE_AIMET};
    derive(&u4, -1, 2, 3.0 / 15, 5);
    derive(&s4, -1, 2, 3.0 / 15, -3);
    derive(&s3, -1, 2, 2.0 / 3.5, 0);
    derive(&symmetric_u4, -1, 2, 2.0 / 7.5, 8);
    derive(&reduced, 0, 3, 3.0 / 15, 0);
    derive(&ort, -1, 2, 3.0 / 15, -3);
    derive(&nncf, 0, 3, 3.0 / 15, 0);
    derive(&nncf, -1, 3, 3.0 / 7, 0);
    derive(&aimet, -1, 2, 3.0 / 15, 5);
    qbt_ok(qb_qparams_derive(&nncf, -1, 3, &q, &err), &err);
    assert_true(q.bits == 4 && q.dtype == QB_QINT8 && q.quant_min == -8 && q.quant_max == 7);
    int32_t low, high;
    qb_code_limits(&q, &low, &high);
    assert_true(low == 120 && high == 135);
    /* A reduced range is not a limit: codes keep all their bits. */
    qbt_ok(qb_qparams_derive(&reduced, 0, 3, &q, &err), &err);
    qb_code_limits(&q, &low, &high);
    assert_true(q.quant_max == 15 && low == 0 && high == 31);
    q.bits = 0;
    qb_code_limits(&q, &low, &high);
    assert_true(low == 0 && high == 255);
}

static void test_scale_rules(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_qparams q;
    const struct qb_observer_spec ort = {.scale_rule = QB_SCALE_ORT};
    const struct qb_observer_spec ort_s8 = {.scale_rule = QB_SCALE_ORT, .dtype = QB_QINT8};
    const struct qb_observer_spec ort_symmetric = {.scale_rule = QB_SCALE_ORT,
                                                   .dtype = QB_QINT8,
                                                   .symmetric = true,
                                                   .has_quant_range = true,
                                                   .quant_min = -127,
                                                   .quant_max = 127};
    const struct qb_observer_spec ort_u8 = {.scale_rule = QB_SCALE_ORT, .symmetric = true};
    derive(&ort, -1, 3, 4.0 / 255, 64);
    derive(&ort_s8, 0, 1, 1.0 / 255, -128);
    derive(&ort_symmetric, -2, 1, 2.0 / 127, 0);
    derive(&ort_u8, -1, 2, 4.0 / 255, 128); /* 127.5, half to even */
    derive(&ort, 0, 0, 1, 0);

    const struct qb_observer_spec nncf = {.scale_rule = QB_SCALE_NNCF};
    const struct qb_observer_spec nncf_s8 = {
        .scale_rule = QB_SCALE_NNCF, .dtype = QB_QINT8, .symmetric = true};
    const struct qb_observer_spec nncf_u8 = {.scale_rule = QB_SCALE_NNCF, .symmetric = true};
    /* -1 * 255 / 4 = -63.75 -> 64: min moves to -64/191 * 3, max would move to 191/64: the first is wider. */
    derive(&nncf, -1, 3, (3 + 64.0 / 191 * 3) / 255, 64);
    derive(&nncf, 0, 5, 5.0 / 255, 0);
    derive(&nncf, -5, 0, 5.0 / 255, 255);
    derive(&nncf_s8, -1, 3, 3.0 / 127, 0);
    derive(&nncf_u8, 0, 3, 3.0 / 255, 0);
    derive(&nncf_u8, -1, 3, 3.0 / 127, 0);
    qbt_ok(qb_qparams_derive(&nncf_u8, -1, 3, &q, &err), &err);
    assert_true(q.dtype == QB_QINT8 && q.quant_min == -128 && q.quant_max == 127);
    derive(&nncf_s8, 0, 0, 8e-5 / 127, 0);

    const struct qb_observer_spec aimet = {.scale_rule = QB_SCALE_AIMET};
    derive(&aimet, -1, 3, 4.0 / 255, 64);
    derive(&aimet, 0, 0, 0.01 / 255, 0);
    derive(&aimet, -2, 2, 4.0 / 255, 128); /* 127.5, away from zero */
}

/* ONNX Runtime divides weights by the scale: 0.273939937 / 0.00214854861 rounds to 127, the product with the
 * reciprocal to 128 (the example of FBGEMM's header). NNCF keeps every channel above a hundredth of the
 * widest; its half range has twice the scale, and 63.5 is code 64. */
static void test_weight_rules(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_quantized_weights q;
    struct qb_arena *const arena = qb_arena_create();
    const float wei[] = {0.273939937f, 0.00214854861f * 255};
    struct qb_observer_spec spec = {.observer = "minmax", .dtype = QB_QUINT8, .scale_rule = QB_SCALE_ORT};
    qbt_ok(qb_weights_quantize(&spec, wei, 1, 2, arena, &q, &err), &err);
    assert_true(q.scales[0] == 0.00214854861f);
    assert_int_equal(q.codes[0], 127 - 128);
    spec.scale_rule = QB_SCALE_TORCH;
    qbt_ok(qb_weights_quantize(&spec, wei, 1, 2, arena, &q, &err), &err);
    assert_true(q.scales[0] == 0.00214854861f);
    assert_int_equal(q.codes[0], 128 - 128);

    const float channels[] = {-12.7f, 1, 0.001f, 0.0005f};
    spec = (struct qb_observer_spec){
        .observer = "per_channel_minmax", .dtype = QB_QINT8, .symmetric = true, .scale_rule = QB_SCALE_NNCF};
    qbt_ok(qb_weights_quantize(&spec, channels, 2, 2, arena, &q, &err), &err);
    assert_true(fabsf(q.scales[0] - 0.1f) < 1e-8f && fabsf(q.scales[1] - 0.001f) < 1e-9f);
    assert_int_equal(q.codes[2], 1);
    const float full[] = {q.scales[0], q.scales[1]};
    spec.reduce_range = true;
    qbt_ok(qb_weights_quantize(&spec, channels, 2, 2, arena, &q, &err), &err);
    assert_true(q.scales[0] == 2 * full[0] && q.scales[1] == 2 * full[1]);
    const int8_t half[] = {-64, 5, 1,
                           0}; /* 63.5, half to even; 5; 0.5 and 0.25, by a scale just below 0.002 */
    assert_memory_equal(q.codes, half, sizeof half);
    const float rise[] = {12.7f, -12.7f};
    qbt_ok(qb_weights_quantize(&spec, rise, 1, 2, arena, &q, &err), &err);
    assert_true(q.codes[0] == 64 && q.codes[1] == -64);
    qb_arena_destroy(arena);
}

/* Of the converter of TensorFlow 2.21, on ranges, weights and biases made to lie next to ties: other orders
 * of the same operations give other codes for each of them. */
static void test_tflite(void **state)
{
    (void)state;
    struct qb_error err;
    static const struct {
        float min, max, scale;
        int zero_point;
    } ranges[] = {
        {-0x1.a12826p+4F, 0x1.78dcfep+8F, 0x1.948404p+0F, -112},
        {-0x1.707b12p+0F, 0x1.6e0e78p+3F, 0x1.9dbb96p-5F, -100},
        {-0x1.00a568p+0F, 0x1.112ebep+2F, 0x1.52aac2p-6F, -80},
        {-0x1.0f6c52p+8F, 0x1.5d16e2p+10F, 0x1.a2948ap+2F, -87},
        {-0x1.32ab5p+2F, 0x1.3d1fb2p+5F, 0x1.64d9f6p-3F, -101},
        {-0x1.fde45p-2F, 0x1.e80a1p-1F, 0x1.74f31p-8F, -41},
        {-0x1.d4d6f8p-3F, 0x1.daa466p-1F, 0x1.291628p-8F, -78},
        {-0x1.223e08p+6F, 0x1.9b7392p+11F, 0x1.a62baep+3F, -123},
        {0, 0, 7.843137e-09F, 0},
    };
    const struct qb_observer_spec affine = {.scale_rule = QB_SCALE_TFLITE, .dtype = QB_QINT8};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        derive(&affine, ranges[i].min, ranges[i].max, (double)ranges[i].scale, ranges[i].zero_point);
    }
    derive(&affine, 2, 51, 0.2F, -128);
    derive(&affine, -51, -3, 0.2F, 127);

    /* Two channels, then channels that are nearly or all zero. */
    static const float wei[] = {0x1.58c2bap-2F,
                                -0x1.1fc0c4p-4F,
                                -0x1.268a24p-2F,
                                -0x1.cac6a8p-3F,
                                0x1.9fd692p+8F,
                                0x1.b035b2p+5F,
                                0x1.428528p+8F,
                                0x1.3bf8b6p+8F,
                                0x1.421f5ap-23F,
                                2e-7F,
                                3e-7F,
                                0,
                                0,
                                0,
                                0,
                                0};
    static const float scales[] = {0x1.5b79aep-9F, 0x1.a31cccp+1F, 3.9370081e-09F, 3.9370081e-09F};
    static const int8_t codes[] = {127, -27, -108, -85, 127, 17, 98, 97, 38, 51, 76, 0, 0, 0, 0, 0};
    struct qb_quantized_weights q;
    struct qb_arena *const arena = qb_arena_create();
    struct qb_observer_spec spec = {.observer = "per_channel_minmax",
                                    .dtype = QB_QINT8,
                                    .symmetric = true,
                                    .has_quant_range = true,
                                    .quant_min = -127,
                                    .quant_max = 127,
                                    .scale_rule = QB_SCALE_TFLITE};
    qbt_ok(qb_weights_quantize(&spec, wei, 4, 4, arena, &q, &err), &err);
    assert_memory_equal(q.scales, scales, sizeof scales);
    assert_memory_equal(q.codes, codes, sizeof codes);
    static const float tensor[] = {0x1.dd83c6p+7F, 0x1.99d5e2p+6F, 0x1.48ff12p+7F, -0x1.6ad604p+7F};
    static const int8_t tensor_codes[] = {127, 54, 87, -96};
    spec.observer = "minmax";
    qbt_ok(qb_weights_quantize(&spec, tensor, 2, 2, arena, &q, &err), &err);
    assert_true(q.scale_count == 1 && q.scales[0] == 0x1.e14652p+0F);
    assert_memory_equal(q.codes, tensor_codes, sizeof tensor_codes);

    static const float bia[] = {-0x1.f94cdp+12F, -0x1.8f2e94p+9F, 0x1.4416bp+5F,  -0x1.9caea8p+13F,
                                -0x1.81d53ap+2F, 0x1.e3b36ep+10F, 0x1.3796bcp+5F, 1e30F};
    static const float bia_scales[] = {0x1.03a7a6p+1F, 0x1.37b484p-3F, 0x1.1f5a96p-9F, 0x1.1cb0ap+1F,
                                       0x1.a89a52p-8F, 0x1.14f87p-3F,  0x1.159d9p-8F,  1};
    static const int32_t bia_codes[] = {-3986, -5246, 18479, -5938, -931, 14307, 9195, INT32_MAX};
    struct qb_qnode node = {.oc = 8, .wei_scale_count = 8, .wei_scales = bia_scales, .bia = bia};
    qbt_ok(qb_bia_quantize(&node, 1, QB_ARITHMETIC_TFLITE, arena, &err), &err);
    assert_memory_equal(node.bia_codes, bia_codes, sizeof bia_codes);
    qb_arena_destroy(arena);
}

/* Channels whose weights are all but 0, with a bias that int32 would not hold: scales from
 * _adjust_weight_scale_for_int32_bias of onnxruntime 1.32 and by the formula of TensorFlow's
 * SetBiasParamsWithAdjustments. */
static void test_scales_that_hold_the_bias(void **state)
{
    (void)state;
    enum { CHANNELS = 4, EACH = 2 };
    static const float wei[] = {0.5F, -0.25F, 3e-9F, -2e-9F, 0, 0, 1e-10F, -2.5e-10F};
    static const float bia[] = {1.0F, -0.75F, 2.0F, 1e-3F};
    static const float ort[] = {0x1.020408p-8F, 0x1.e00c48p-28F, 1, 0x1.47b678p-37F};
    static const int8_t ort_codes[] = {127, -64, 0, 0, 0, 0, 11, -27};
    static const float tflite[] = {0x1.020408p-8F, 0x1.ep-27F, 0x1.4p-25F, 0x1.0e8c94p-28F};
    struct qb_error err;
    struct qb_quantized_weights q;
    struct qb_arena *const arena = qb_arena_create();
    struct qb_observer_spec spec = {.observer = "per_channel_minmax",
                                    .dtype = QB_QINT8,
                                    .symmetric = true,
                                    .has_quant_range = true,
                                    .quant_min = -127,
                                    .quant_max = 127,
                                    .scale_rule = QB_SCALE_ORT};
    qbt_ok(qb_weights_quantize(&spec, wei, CHANNELS, EACH, arena, &q, &err), &err);
    const struct qb_quantized_weights derived = q;
    qbt_ok(qb_weights_widen(&spec, wei, CHANNELS, EACH, bia, 0.05F, QB_ARITHMETIC_FBGEMM, arena, &q, &err),
           &err);
    assert_memory_equal(&q, &derived, sizeof q); /* a float bias needs no room */
    qbt_ok(qb_weights_widen(&spec, wei, CHANNELS, EACH, bia, 0.05F, QB_ARITHMETIC_ORT, arena, &q, &err),
           &err);
    assert_memory_equal(q.scales, ort, sizeof ort);
    assert_memory_equal(q.codes, ort_codes, sizeof ort_codes);

    spec.scale_rule = QB_SCALE_TFLITE;
    qbt_ok(qb_weights_quantize(&spec, wei, CHANNELS, EACH, arena, &q, &err), &err);
    qbt_ok(qb_weights_widen(&spec, wei, CHANNELS, EACH, bia, 0.05F, QB_ARITHMETIC_TFLITE, arena, &q, &err),
           &err);
    assert_memory_equal(q.scales, tflite, sizeof tflite);

    spec.observer = "minmax"; /* one scale, the widest bias */
    spec.scale_rule = QB_SCALE_ORT;
    qbt_ok(qb_weights_quantize(&spec, wei + EACH, CHANNELS - 1, EACH, arena, &q, &err), &err);
    qbt_ok(qb_weights_widen(&spec, wei + EACH, CHANNELS - 1, EACH, bia + 1, 0.05F, QB_ARITHMETIC_ORT, arena,
                            &q, &err),
           &err);
    assert_true(q.scale_count == 1 && q.scales[0] == 0x1.40083p-26F);
    qb_arena_destroy(arena);
}

/* mean_minmax sees images, two-pass observers everything twice. */
static void test_calibration(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    struct qb_scheme scheme = qbt_fbgemm();
    struct qb_calibration *c;
    struct qb_qparams_table table;
    enum { DENSE = 10 };
    const int dense = qbt_node(g, "dense");
    float logits[2 * DENSE] = {0};
    logits[0] = 255;
    logits[DENSE] = 510;
    scheme.activations = (struct qb_observer_spec){.observer = "mean_minmax"};
    qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
    qbt_error(qb_calibration_observe(c, dense, logits, DENSE + 1, &err), QB_EINPUT, &err, "not whole images");
    for (int i = 0; i < g->count; i++) {
        const struct qb_shape shape = g->nodes[i].dst;
        const size_t count = 2 * (size_t)shape.h * (size_t)shape.w * (size_t)shape.c;
        float *const batch = calloc(count, sizeof *batch);
        assert_non_null(batch);
        batch[0] = 255;
        batch[count / 2] = 510;
        qbt_ok(qb_calibration_observe(c, i, batch, count, &err), &err);
        free(batch);
    }
    assert_int_equal(qb_calibration_next_pass(c), 0);
    qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
    assert_true(table.q[dense].scale == 382.5f / 255 && table.q[0].scale == 382.5f / 255);
    qb_calibration_free(c);

    /* Symmetric quint8 under NNCF's rule: signed or not, tensor by tensor; inside codes either way. */
    scheme.activations = (struct qb_observer_spec){
        .observer = "ort_percentile", PERCENT(100), .symmetric = true, .scale_rule = QB_SCALE_NNCF};
    qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
    const float positive[] = {0, 1, 51}, both[] = {-12.7f, 1, 2}, wider[] = {0, 52};
    int passes = 0;
    do {
        for (int i = 0; i < g->count; i++) {
            qbt_ok(qb_calibration_observe(c, i, i == dense ? both : positive, 3, &err), &err);
        }
        passes++;
    } while (qb_calibration_next_pass(c));
    assert_int_equal(passes, 2);
    qbt_error(qb_calibration_observe(c, 0, wider, 2, &err), QB_EINPUT, &err, "outside [0, 51] of the first");
    qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
    assert_true(table.q[0].dtype == QB_QUINT8 && table.q[0].zero_point == 0);
    assert_true(fabsf(table.q[0].scale - 51.0f / 255) < 1e-3f);
    assert_true(table.q[dense].dtype == QB_QINT8 && table.q[dense].zero_point == 128);
    assert_true(fabsf(table.q[dense].scale - 0.1f) < 1e-3f);
    qb_calibration_free(c);
    qb_arena_destroy(g->arena);
}

/* Empty, constant and hopeless data. */
static void test_degenerate(void **state)
{
    (void)state;
    struct qb_error err;
    for (const struct qb_observer_ops *const *ops = qb_observers; *ops; ops++) {
        for (int symmetric = 0; symmetric < 2; symmetric++) {
            const struct qb_observer_spec spec = {
                .observer = (*ops)->name, .dtype = QB_QINT8, .symmetric = symmetric != 0};
            static const float data[][4] = {
                {0, 0, 0, 0}, {5, 5, 5, 5}, {-3, -3, -3, -3}, {1e-30f, 0, -1e-30f, 0}, {3e38f, 1, 2, 3}};
            for (size_t d = 0; d < sizeof data / sizeof data[0]; d++) {
                struct qb_observer *o;
                float min = NAN, max = NAN;
                qbt_ok((*ops)->create(&spec, 1, &o, &err), &err);
                do {
                    qbt_ok((*ops)->observe(o, data[d], 4, &err), &err);
                } while ((*ops)->next_pass && (*ops)->next_pass(o));
                qbt_ok((*ops)->range(o, &min, &max, &err), &err);
                if (!(min <= max)) {
                    fail_msg("%s, data %zu: [%g, %g]", (*ops)->name, d, (double)min, (double)max);
                }
                (*ops)->destroy(o);
            }
        }
    }
    /* More bins than the histogram may have. */
    const struct qb_observer_spec spec = {.observer = "trt_percentile"};
    const float first[] = {1e-6f, 0}, later[] = {1000, 0};
    struct qb_observer *o;
    qbt_ok(qb_observer_trt_percentile.create(&spec, 1, &o, &err), &err);
    qbt_ok(o->ops->observe(o, first, 2, &err), &err);
    qbt_error(o->ops->observe(o, later, 2, &err), QB_EINPUT, &err, "needs more than 65536 bins");
    const float infinite[] = {1, INFINITY};
    qbt_error(o->ops->observe(o, infinite, 2, &err), QB_EINPUT, &err, "infinite value");
    o->ops->destroy(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),      cmocka_unit_test(test_mse),
        cmocka_unit_test(test_per_channel), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_scale_rules), cmocka_unit_test(test_weight_rules),
        cmocka_unit_test(test_tflite),      cmocka_unit_test(test_scales_that_hold_the_bias),
        cmocka_unit_test(test_calibration), cmocka_unit_test(test_degenerate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
