/* Observers against PyTorch's published behaviour: the golden vectors that need no file (their numbers are
 * printed with nine digits, which identify a float32), float32 sums, and what bad values do. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/histogram.h"
#include "quant/observer_histogram.h"
#include "quant/qparams.h"
#include "quant/torch_math.h"
#include "quant/weights.h"
#include "quant_testing.h"
#include "test_observer_options.h"

static struct qb_observer *make(const struct qb_observer_spec *spec)
{
    struct qb_error err;
    struct qb_observer *o = NULL;
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    assert_non_null(ops);
    qbt_ok(ops->create(spec, 1, &o, &err), &err);
    return o;
}

static struct qb_qparams finish(const struct qb_observer_spec *spec, struct qb_observer *o)
{
    struct qb_error err;
    struct qb_qparams q;
    float min, max;
    qbt_ok(o->ops->range(o, &min, &max, &err), &err);
    qbt_ok(qb_qparams_derive(spec, min, max, &q, &err), &err);
    o->ops->destroy(o);
    return q;
}

/* torch 2.13.0: HistogramObserver(dtype=quint8, qscheme=per_tensor_symmetric, ...)._calculate_qparams(-1, 3).
 */
static void test_symmetric_quint8(void **state)
{
    (void)state;
    static const struct {
        bool own_range, reduce_range;
        int quant_max;
        float scale;
        int zero_point;
    } rows[] = {{false, false, 0, 0x1.818182p-6F, 128},
                {false, true, 0, 0x1.83060cp-5F, 128},
                {true, false, 200, 0x1.eb851ep-6F, 100},
                {true, true, 200, 0x1.eb851ep-5F, 50},
                {true, true, 127, 0x1.861862p-4F, 31}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct qb_observer_spec spec = {.observer = "histogram",
                                              .dtype = QB_QUINT8,
                                              .symmetric = true,
                                              .reduce_range = rows[i].reduce_range,
                                              .has_quant_range = rows[i].own_range,
                                              .quant_max = rows[i].quant_max};
        struct qb_error err;
        struct qb_qparams q;
        qbt_ok(qb_qparams_derive(&spec, -1, 3, &q, &err), &err);
        assert_true(q.scale == rows[i].scale);
        assert_int_equal(q.zero_point, rows[i].zero_point);
    }
}

static void test_generator(void **state)
{
    (void)state;
    static float x[QBT_CUBIC];
    qbt_cubic_batch(0, false, x);
    assert_true(x[0] == -1.11306393f && x[1] == -0.0430753119f && x[2] == -0.115111403f);
    double sum = 0;
    for (int i = 0; i < QBT_CUBIC; i++) {
        sum += (double)x[i];
    }
    assert_true(fabs(sum + 225.950064) < 1e-6);
}

static void test_cubic_set(void **state)
{
    (void)state;
    static const struct {
        struct qb_observer_spec spec;
        bool relu;
        float scale;
        int zero_point;
    } rows[] = {
        {{.observer = "minmax"}, false, 0.106028236f, 126},
        {{.observer = "moving_average_minmax"}, false, 0.0616261549f, 126},
        {{.observer = "histogram"}, false, 0.104268f, 128},
        {{.observer = "histogram", .reduce_range = true}, false, 0.209357008f, 64},
        {{.observer = "minmax"}, true, 0.0535371192f, 0},
        {{.observer = "moving_average_minmax"}, true, 0.0311122555f, 0},
        {{.observer = "histogram"}, true, 0.0494852364f, 0},
        {{.observer = "histogram", .reduce_range = true}, true, 0.0993601233f, 0},
    };
    static float x[QBT_CUBIC];
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct qb_observer *const o = make(&rows[r].spec);
        for (int b = 0; b < 3; b++) {
            struct qb_error err;
            qbt_cubic_batch(b, rows[r].relu, x);
            qbt_ok(o->ops->observe(o, x, QBT_CUBIC, &err), &err);
        }
        const struct qb_qparams q = finish(&rows[r].spec, o);
        if (q.scale != rows[r].scale || q.zero_point != rows[r].zero_point) {
            fail_msg("row %zu: scale %.9g zero point %d", r, (double)q.scale, (int)q.zero_point);
        }
    }
}

/* Range recorded and range kept, with the numbers of bins that the table gives. */
static void test_cubic_search(void **state)
{
    (void)state;
    static float x[QBT_CUBIC];
    const struct qb_observer_spec spec = {.observer = "histogram"};
    struct qb_observer *const o = make(&spec);
    struct qb_error err;
    for (int b = 0; b < 3; b++) {
        qbt_cubic_batch(b, false, x);
        qbt_ok(o->ops->observe(o, x, QBT_CUBIC, &err), &err);
    }
    float min, max;
    const float *const hist = qb_observer_histogram_state(o, &min, &max);
    assert_true(min == -13.3852348f && max == 13.6519651f);
    assert_true(fabsf(qb_torch_sum(hist, 2048) - 3 * QBT_CUBIC) < 1);
    qbt_ok(o->ops->range(o, &min, &max, &err), &err);
    assert_true(min == -13.3852348f && max == 13.2031059f);
    o->ops->destroy(o);
}

static void test_small_set(void **state)
{
    (void)state;
    static const struct {
        struct qb_observer_spec spec;
        float scale[2]; /* x, max(x, 0) */
        int zero_point[2];
    } rows[] = {
        {{.observer = "minmax"}, {0.0699636415f, 0.0509803928f}, {69, 0}},
        {{.observer = "minmax", .reduce_range = true}, {0.140478179f, 0.102362208f}, {34, 0}},
        {{.observer = "minmax", .dtype = QB_QINT8, .symmetric = true}, {0.101960786f, 0.101960786f}, {0, 0}},
        {{.observer = "moving_average_minmax"}, {0.0471288525f, 0.0394494198f}, {42, 0}},
        {{.observer = "histogram"}, {0.0699294806f, 0.0509555005f}, {69, 0}},
        {{.observer = "histogram", .reduce_range = true}, {0.140409589f, 0.102312222f}, {34, 0}},
        {{.observer = "histogram", .dtype = QB_QINT8}, {0.0699294806f, 0.0509555005f}, {-59, -128}},
        {{.observer = "histogram", .dtype = QB_QINT8, .symmetric = true},
         {0.101892471f, 0.101911001f},
         {0, 0}},
    };
    static float x[QBT_SMALL];
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (int relu = 0; relu < 2; relu++) {
            struct qb_observer *const o = make(&rows[r].spec);
            for (int b = 0; b < 4; b++) {
                struct qb_error err;
                qbt_small_batch(b, relu, x);
                qbt_ok(o->ops->observe(o, x, QBT_SMALL, &err), &err);
            }
            const struct qb_qparams q = finish(&rows[r].spec, o);
            if (q.scale != rows[r].scale[relu] || q.zero_point != rows[r].zero_point[relu]) {
                fail_msg("row %zu relu %d: scale %.9g zero point %d", r, relu, (double)q.scale,
                         (int)q.zero_point);
            }
        }
    }
}

/* Every setting, computed with PyTorch 2.13.0 on the small set (table: test_observer_options.c). */
static void test_options(void **state)
{
    (void)state;
    static float x[QBT_SMALL];
    for (size_t r = 0; r < qbt_option_row_count; r++) {
        const struct qbt_option_row *const row = &qbt_option_rows[r];
        struct qb_observer *const o = make(&row->spec);
        for (int b = 0; b < 4; b++) {
            struct qb_error err;
            qbt_small_batch(b, false, x);
            qbt_ok(o->ops->observe(o, x, QBT_SMALL, &err), &err);
        }
        const struct qb_qparams q = finish(&row->spec, o);
        uint32_t bits;
        memcpy(&bits, &q.scale, sizeof bits);
        if (bits != row->scale_bits || q.zero_point != row->zero_point) {
            fail_msg("row %zu (%s): scale 0x%08x zero point %d", r, row->spec.observer, bits,
                     (int)q.zero_point);
        }
    }
}

/* torch.sum of u^4 * 100, PyTorch 2.13.0: sizes around the ends of vectors, rows and levels. */
static void test_torch_sum(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        uint32_t bits;
    } rows[] = {
        {1, 0x3ea6719b},    {5, 0x431ddf31},    {7, 0x435534b2},     {8, 0x435534e5},     {9, 0x43553578},
        {31, 0x443cec8e},   {32, 0x443ced6b},   {33, 0x443cee81},    {100, 0x44f86878},   {511, 0x46215e28},
        {512, 0x462169ca},  {777, 0x466ed8c6},  {1000, 0x469a5df3},  {2048, 0x4719329e},  {2049, 0x471932ac},
        {4096, 0x479ea643}, {5000, 0x47c55ea0}, {16384, 0x48a3aa06}, {32767, 0x492024b0},
    };
    static float x[40000];
    qbt_uniform(7, x, 40000);
    for (size_t i = 0; i < 40000; i++) {
        x[i] = x[i] * x[i] * x[i] * x[i] * 100.0f;
    }
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const float sum = qb_torch_sum(x, rows[r].count);
        uint32_t bits;
        memcpy(&bits, &sum, sizeof bits);
        assert_int_equal(bits, rows[r].bits);
    }
    assert_true(qb_torch_sum(x, 0) == 0);
}

/* torch.linspace, PyTorch 2.13.0: places of both halves where a multiplication with its own rounding gives
 * another float, the middle and the ends. */
static void test_torch_linspace(void **state)
{
    (void)state;
    static const struct {
        float start, end;
        size_t count, index;
        uint32_t bits;
    } rows[] = {
        {-13.3852348f, 13.6519651f, 2049, 737, 0xc069f45a},
        {-13.3852348f, 13.6519651f, 2049, 894, 0xbfca9b41},
        {-13.3852348f, 13.6519651f, 2049, 1155, 0x3fee7011},
        {-13.3852348f, 13.6519651f, 2049, 1313, 0x407cb70e},
        {-13.3852348f, 13.6519651f, 2049, 0, 0xc15629ec},
        {-13.3852348f, 13.6519651f, 2049, 1023, 0x3df6187a},
        {-13.3852348f, 13.6519651f, 2049, 1024, 0x3e0890c0},
        {-13.3852348f, 13.6519651f, 2049, 2048, 0x415a6e73},
        {0.0f, 7.25f, 2049, 0, 0x00000000},
        {0.0f, 7.25f, 2049, 1023, 0x4067c600},
        {0.0f, 7.25f, 2049, 1024, 0x40680000},
        {0.0f, 7.25f, 2049, 2048, 0x40e80000},
        {0.100000001f, 0.699999988f, 32769, 5038, 0x3e44dccd},
        {0.100000001f, 0.699999988f, 32769, 8151, 0x3e7f3b33},
        {0.100000001f, 0.699999988f, 32769, 20250, 0x3ef10b33},
        {0.100000001f, 0.699999988f, 32769, 28215, 0x3f1ddb99},
        {0.100000001f, 0.699999988f, 32769, 0, 0x3dcccccd},
        {0.100000001f, 0.699999988f, 32769, 16383, 0x3eccca66},
        {0.100000001f, 0.699999988f, 32769, 16384, 0x3ecccccd},
        {0.100000001f, 0.699999988f, 32769, 32768, 0x3f333333},
        {-2.5f, 1000.0f, 101, 62, 0x441ac333},
        {-2.5f, 1000.0f, 101, 69, 0x442c4e67},
        {-2.5f, 1000.0f, 101, 0, 0xc0200000},
        {-2.5f, 1000.0f, 101, 49, 0x43f45ccc},
        {-2.5f, 1000.0f, 101, 50, 0x43f96001},
        {-2.5f, 1000.0f, 101, 100, 0x447a0000},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const float step = qb_torch_linspace_step(rows[r].start, rows[r].end, rows[r].count);
        const float value = qb_torch_linspace(rows[r].start, rows[r].end, step, rows[r].count, rows[r].index);
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        assert_int_equal(bits, rows[r].bits);
    }
}

static void test_histc_rules(void **state)
{
    (void)state;
    uint32_t scratch[QB_HISTC_SCRATCH(4)];
    float out[4];
    const float edges[] = {0, 1, 2, 3, 4, -0.1f, 4.1f, NAN, INFINITY, -INFINITY};
    qb_histc(edges, 10, 4, 0, 4, scratch,
             out); /* the upper end belongs to the last bin; the rest is outside */
    assert_true(out[0] == 1 && out[1] == 1 && out[2] == 1 && out[3] == 2);
    const float same[] = {5, 5, 5};
    qb_histc(same, 3, 4, 5, 5, scratch, out); /* one unit to both sides */
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 3 && out[3] == 0);
    const float other[] = {0, 4, 4};
    qb_histc(other, 3, 4, 9, 9, scratch, out); /* an empty range: that of the values */
    assert_true(out[0] == 1 && out[1] == 0 && out[2] == 0 && out[3] == 2);
    const float huge[] = {1e30f, 1e30f};
    qb_histc(huge, 2, 4, 1e30f, 1e30f, scratch, out); /* one unit is lost in rounding: still two counts */
    assert_true(out[0] + out[1] + out[2] + out[3] == 2);
    qb_histc(NULL, 0, 4, 1, 2, scratch, out);
    assert_true(out[0] + out[1] + out[2] + out[3] == 0);
}

static void test_bad_values(void **state)
{
    (void)state;
    struct qb_error err;
    for (const struct qb_observer_ops *const *ops = qb_observers; *ops; ops++) {
        const struct qb_observer_spec spec = {.observer = (*ops)->name};
        struct qb_observer *const o = make(&spec);
        float min, max, x[40] = {1, 2, 3};
        qbt_error((*ops)->range(o, &min, &max, &err), QB_EINPUT, &err, "has seen no");
        qbt_ok((*ops)->observe(o, x, 0, &err), &err);
        qbt_error((*ops)->range(o, &min, &max, &err), QB_EINPUT, &err, "has seen no");
        for (size_t at = 0; at < 40; at++) { /* in the vector part and behind it */
            x[at] = NAN;
            char needle[64];
            snprintf(needle, sizeof needle, "value %zu of 40 is NaN", at);
            qbt_error((*ops)->observe(o, x, 40, &err), QB_EINPUT, &err, needle);
            x[at] = (float)at;
        }
        qbt_error((*ops)->range(o, &min, &max, &err), QB_EINPUT, &err, "has seen no");
        do {
            qbt_ok((*ops)->observe(o, x, 40, &err), &err);
        } while ((*ops)->next_pass && (*ops)->next_pass(o));
        qbt_ok((*ops)->range(o, &min, &max, &err), &err);
        if ((*ops)->options & QB_OPTION_AVERAGING_CONSTANT || strstr((*ops)->name, "minmax")) {
            assert_true(min == 0 && max == 39);
        }
        /* ACIQ's laws are for many values; the others stay near what was seen. */
        assert_true(min <= 0 && max > 30 && max < (strstr((*ops)->name, "aciq") ? 200 : 40));
        (*ops)->destroy(o);
    }
}

static void test_infinite_values(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_qparams q;
    float min, max;
    const float x[] = {-1, 2, INFINITY, 3, -INFINITY}, only[] = {INFINITY, INFINITY};
    const struct qb_observer_spec histogram = {.observer = "histogram"}, minmax = {.observer = "minmax"};
    struct qb_observer *o = make(&histogram); /* left out, as in PyTorch */
    qbt_ok(o->ops->observe(o, only, 2, &err), &err);
    qbt_error(o->ops->range(o, &min, &max, &err), QB_EINPUT, &err, "no finite value");
    qbt_ok(o->ops->observe(o, x, 5, &err), &err);
    float low, high;
    const float *const hist = qb_observer_histogram_state(o, &low, &high);
    assert_true(low == -1 && high == 3 && qb_torch_sum(hist, 2048) == 3);
    o->ops->destroy(o);
    o = make(&minmax);
    qbt_ok(o->ops->observe(o, x, 5, &err), &err);
    qbt_ok(o->ops->range(o, &min, &max, &err), &err);
    qbt_error(qb_qparams_derive(&minmax, min, max, &q, &err), QB_EINPUT, &err, "not finite");
    o->ops->destroy(o);
    qbt_error(qb_qparams_derive(&minmax, -3e38f, 3e38f, &q, &err), QB_EINPUT, &err, "too wide");
    qbt_error(qb_qparams_derive(&minmax, NAN, 1, &q, &err), QB_EINPUT, &err, "not finite");
}

/* Degenerate and one-sided ranges. */
static void test_derivation(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_qparams q;
    const struct qb_observer_spec affine = {.observer = "minmax"};
    const struct qb_observer_spec narrow = {.observer = "minmax",
                                            .dtype = QB_QINT8,
                                            .symmetric = true,
                                            .has_quant_range = true,
                                            .quant_min = -127,
                                            .quant_max = 127};
    const struct qb_observer_spec half = {.observer = "minmax",
                                          .dtype = QB_QINT8,
                                          .reduce_range = true,
                                          .has_quant_range = true,
                                          .quant_min = -127,
                                          .quant_max = 127};
    const struct qb_observer_spec u8 = {.observer = "minmax", .symmetric = true};
    const struct qb_observer_spec u7 = {
        .observer = "minmax", .symmetric = true, .has_quant_range = true, .quant_max = 127};
    const struct qb_observer_spec unit = {.observer = "minmax", .has_eps = true, .eps = 1};
    qbt_ok(qb_qparams_derive(&affine, 0, 0, &q, &err), &err);
    assert_true(q.scale == 0x1p-23f && q.zero_point == 0);
    qbt_ok(qb_qparams_derive(&affine, 2, 6, &q, &err), &err);
    assert_true(q.scale == 6.0f / 255 && q.zero_point == 0);
    qbt_ok(qb_qparams_derive(&affine, -6, -2, &q, &err), &err);
    assert_true(q.scale == 6.0f / 255 && q.zero_point == 255);
    qbt_ok(qb_qparams_derive(&affine, 3, 3, &q, &err), &err);
    assert_true(q.scale == 3.0f / 255 && q.zero_point == 0);
    qbt_ok(qb_qparams_derive(&narrow, -1, 5, &q, &err), &err);
    assert_true(q.scale == 5.0f / 127 && q.zero_point == 0 && q.quant_min == -127);
    qbt_ok(qb_qparams_derive(&half, -1, 1, &q, &err), &err);
    assert_true(q.quant_min == -64 && q.quant_max == 63 && q.scale == 2.0f / 127);
    qbt_ok(qb_qparams_derive(&u8, -1, 5, &q, &err), &err);
    assert_true(q.scale == 5.0f / 127.5f && q.zero_point == 128);
    qbt_ok(qb_qparams_derive(&u7, -1, 5, &q, &err), &err);
    assert_true(q.scale == 5.0f / 63.5f && q.zero_point == 63);
    qbt_ok(qb_qparams_derive(&unit, -2.5f, 1, &q, &err), &err); /* ties to even */
    assert_true(q.scale == 1 && q.zero_point == 2);
    qbt_ok(qb_qparams_derive(&unit, -3.5f, 1, &q, &err), &err);
    assert_true(q.scale == 1 && q.zero_point == 4);
}

static void test_weights(void **state)
{
    (void)state;
    static const float scales[] = {0.000247989316f, 0.00193987635f, 0.00385702215f, 1.1920929e-07f};
    static const int8_t per_channel[36] = {-94,  -96, 17, 7,  81,   -123, 14,   -128, 72,
                                           -128, 60,  -8, 86, -84,  23,   -25,  0,    -5,
                                           -32,  111, 62, 98, -128, 70,   -116, -56,  -95};
    static const int8_t per_tensor[36] = {-6, -6,  1, 0,  5,   -8,  1,  -8, 5,    -64, 30,   -4,  43, -42,
                                          11, -12, 0, -2, -32, 111, 62, 98, -128, 70,  -116, -56, -95};
    static const float factors[] = {0.1f, 0.5f, 1.0f, 0.0f};
    float wei[36];
    qbt_uniform(77, wei, 36);
    for (int i = 0; i < 36; i++) {
        wei[i] = (wei[i] - 0.5f) * factors[i / 9];
    }
    struct qb_error err;
    struct qb_quantized_weights q;
    struct qb_arena *const arena = qb_arena_create();
    struct qb_observer_spec spec = {.observer = "per_channel_minmax", .dtype = QB_QINT8, .symmetric = true};
    qbt_ok(qb_weights_quantize(&spec, wei, 4, 9, arena, &q, &err), &err);
    assert_int_equal(q.scale_count, 4);
    assert_memory_equal(q.scales, scales, sizeof scales);
    assert_memory_equal(q.codes, per_channel, 36);
    for (int k = 0; k < 4; k++) {
        assert_int_equal(q.zero_points[k], 0);
    }
    spec.observer = "minmax";
    qbt_ok(qb_weights_quantize(&spec, wei, 4, 9, arena, &q, &err), &err);
    assert_int_equal(q.scale_count, 1);
    assert_true(q.scales[0] == scales[2]);
    assert_memory_equal(q.codes, per_tensor, 36);

    /* quint8 weights are held 128 lower, zero point too: symmetric ones are the qint8 codes, but near a tie
     * that the zero point decides (as in torch.quantize_per_tensor). */
    spec.dtype = QB_QUINT8;
    qbt_ok(qb_weights_quantize(&spec, wei, 4, 9, arena, &q, &err), &err);
    assert_int_equal(q.zero_points[0], 0);
    assert_int_equal(q.codes[22], -127);
    assert_memory_equal(q.codes, per_tensor, 22);
    assert_memory_equal(q.codes + 23, per_tensor + 23, 36 - 23);
    spec.symmetric = false;
    spec.observer = "per_channel_minmax";
    qbt_ok(qb_weights_quantize(&spec, wei, 4, 9, arena, &q, &err), &err);
    for (int i = 0; i < 36; i++) { /* half a step of rounding, half a step of the zero point */
        const float back = q.scales[i / 9] * (float)(q.codes[i] - q.zero_points[i / 9]);
        assert_true(fabsf(back - wei[i]) <= 1.001f * q.scales[i / 9]);
    }

    /* A narrower range is a limit on weight codes (PyTorch's _clamp_weights). */
    spec = (struct qb_observer_spec){
        .observer = "per_channel_minmax", .dtype = QB_QINT8, .symmetric = true, .reduce_range = true};
    qbt_ok(qb_weights_quantize(&spec, wei, 4, 9, arena, &q, &err), &err);
    int lowest = 0, highest = 0;
    for (int i = 0; i < 36; i++) {
        lowest = q.codes[i] < lowest ? q.codes[i] : lowest;
        highest = q.codes[i] > highest ? q.codes[i] : highest;
    }
    assert_true(lowest == -64 && highest <= 63);

    spec = (struct qb_observer_spec){.observer = "minmax",
                                     .dtype = QB_QINT8,
                                     .symmetric = true,
                                     .has_quant_range = true,
                                     .quant_min = -100,
                                     .quant_max = 127};
    const float ends[] = {-1, 1, 0.5f}; /* amax / 113.5 */
    qbt_ok(qb_weights_quantize(&spec, ends, 1, 3, arena, &q, &err), &err);
    assert_true(q.codes[0] == -100 && q.codes[1] == 114 && q.codes[2] == 57);
    spec = (struct qb_observer_spec){
        .observer = "minmax", .dtype = QB_QINT8, .symmetric = true, .has_eps = true, .eps = 1};
    const float ties[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f};
    static const int8_t even[] = {0, 2, 2, 0, -2, -2};
    qbt_ok(qb_weights_quantize(&spec, ties, 1, 6, arena, &q, &err), &err);
    assert_memory_equal(q.codes, even, sizeof even);
    spec.observer = "per_channel_minmax";

    /* Near ties of affine weights, recorded from torch 2.13's _quantize_weight: the two kinds round in
     * different ways. Scale 0.01, zero point -23. */
    static const float near[] = {-0x1.0cccccp+0f, 0x1.8p+0f,       0x1.0a3d6ep-4f,  0x1.b0a3d6p-1f,
                                 0x1.51eb84p-3f,  -0x1.fd70a4p-1f, -0x1.91eb86p-1f, 0x1.63d70ap-1f};
    static const int8_t one_rounding[] = {-128, 127, -17, 61, -7, -122, -102, 46},
                        two_roundings[] = {-128, 127, -16, 62, -6, -122, -102, 46};
    spec = (struct qb_observer_spec){.observer = "minmax", .dtype = QB_QINT8};
    qbt_ok(qb_weights_quantize(&spec, near, 1, 8, arena, &q, &err), &err);
    assert_true(q.scales[0] == 0.01f && q.zero_points[0] == -23);
    assert_memory_equal(q.codes, one_rounding, 8);
    spec.observer = "per_channel_minmax";
    qbt_ok(qb_weights_quantize(&spec, near, 1, 8, arena, &q, &err), &err);
    assert_memory_equal(q.codes, two_roundings, 8);

    spec.symmetric = true;
    wei[11] = NAN;
    qbt_error(qb_weights_quantize(&spec, wei, 4, 9, arena, &q, &err), QB_EINPUT, &err,
              "value 11 of 36 is NaN");
    wei[11] = INFINITY;
    qbt_error(qb_weights_quantize(&spec, wei, 4, 9, arena, &q, &err), QB_EINPUT, &err, "not finite");
    qb_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_symmetric_quint8), cmocka_unit_test(test_generator),
        cmocka_unit_test(test_cubic_set),        cmocka_unit_test(test_cubic_search),
        cmocka_unit_test(test_small_set),        cmocka_unit_test(test_options),
        cmocka_unit_test(test_torch_sum),        cmocka_unit_test(test_torch_linspace),
        cmocka_unit_test(test_histc_rules),      cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_infinite_values),  cmocka_unit_test(test_derivation),
        cmocka_unit_test(test_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
