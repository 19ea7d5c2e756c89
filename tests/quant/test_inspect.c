/* The inspect view of integer graphs: outside zero points and codes, exact scales, saturation counts. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "quant/inspect.h"

/* u8 weights of a file, inside form: outside code - 128. One tap pair per output channel and tap: [oc 2][ic
 * 3][taps 1]. */
static const int8_t conv_codes[] = {127, 2, 90, -128, -1, 5};
static const int8_t dense_codes[] = {-128, 127, 64, 65, -64, -65};
static const float scales[] = {0.1f, 0.25f}, one_scale[] = {0.5f}, biases[] = {-1.5f, 2.0f},
                   three[] = {0.0f, 1.0f, 2.0f};
static const int32_t conv_zeros[] = {-118, -128}, zero[] = {0};
/* Channel 0 of the convolution holds 12 .. 24.5 of it; channel 1 has no width to hold a part of. */
static const float conv_seen[] = {12.0f, 37.0f, 3.0f, 3.0f};

static struct qb_qnode nodes[] = {
    {.op = QB_QOP_INPUT,
     .name = "input",
     .src = {-1, -1},
     .dst = {2, 2, 3},
     .q = {.scale = 0.1f, .zero_point = 128 - 3, .dtype = QB_QINT8, .quant_min = -128, .quant_max = 127}},
    {.op = QB_QOP_CONV,
     .name = "conv",
     .src = {0, -1},
     .dst = {2, 2, 2},
     .q = {.scale = 0x1.8p-3f,
           .zero_point = 7,
           .dtype = QB_QUINT8,
           .quant_min = 0,
           .quant_max = 127,
           .seen_min = -1.5f,
           .seen_max = 46.5f},
     .relu = true,
     .kh = 1,
     .kw = 1,
     .stride_h = 1,
     .stride_w = 1,
     .ic = 3,
     .oc = 2,
     .wei = conv_codes,
     .wei_dtype = QB_QUINT8,
     .wei_scale_count = 2,
     .wei_scales = scales,
     .wei_zero_points = conv_zeros,
     .wei_seen = conv_seen,
     .bia = biases},
    {.op = QB_QOP_DENSE,
     .name = "dense",
     .src = {1, -1},
     .dst = {1, 1, 3},
     .q = {.scale = 2.0f, .zero_point = 0, .dtype = QB_QUINT8, .quant_min = 0, .quant_max = 255},
     .ic = 2,
     .oc = 3,
     .wei = dense_codes,
     .wei_dtype = QB_QINT8,
     .wei_scale_count = 1,
     .wei_scales = one_scale,
     .wei_zero_points = zero,
     .bia = three},
};

static const struct qb_qgraph graph = {.scheme = "test",
                                       .arithmetic = QB_ARITHMETIC_FBGEMM,
                                       .nodes = nodes,
                                       .count = 3,
                                       .model_sha256 = "abc",
                                       .calibration_hash = "",
                                       .refinement = "equalize: a > b\nadaround a: fine"};

static json_int_t integer(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
    assert_true(json_is_string(json_object_get(object, key)));
    return json_string_value(json_object_get(object, key));
}

static double real_at(const json_t *object, const char *key, size_t index)
{
    return json_number_value(json_array_get(json_object_get(object, key), index));
}

static void test_ranges(void **state)
{
    (void)state;
    char *text;
    struct qb_error err;
    qbt_ok(qb_inspect_qgraph(&graph, true, &text, &err), &err);
    json_t *const root = json_loads(text, 0, NULL);
    free(text);
    const json_t *const layers = json_object_get(root, "layers"), *const input = json_array_get(layers, 0);
    const json_t *const conv = json_array_get(layers, 1), *const weights = json_object_get(conv, "weights");
    assert_float_equal(real_at(input, "range", 0), -12.5, 1e-6); /* codes -128 and 127 with zero point -3 */
    assert_float_equal(real_at(input, "range", 1), 13.0, 1e-6);
    assert_true(json_is_null(json_object_get(input, "observed"))); /* as in files made elsewhere */
    assert_true(json_is_null(json_object_get(input, "clip_ratio")));
    assert_float_equal(real_at(conv, "range", 0), -1.3125, 1e-6);
    assert_float_equal(real_at(conv, "range", 1), 22.5, 1e-6);
    assert_float_equal(real_at(conv, "observed", 1), 46.5, 0);
    assert_float_equal(json_real_value(json_object_get(conv, "clip_ratio")), 23.8125 / 48, 1e-6);
    const json_t *const ranges = json_object_get(weights, "ranges"), *const ratios = json_object_get(
                                                                         weights, "clip_ratios");
    assert_int_equal(json_array_size(ranges), 2);
    assert_float_equal(json_real_value(json_array_get(json_array_get(ranges, 0), 0)), 12.0, 1e-6);
    assert_float_equal(json_real_value(json_array_get(json_array_get(ranges, 0), 1)), 24.5, 1e-6);
    assert_float_equal(json_real_value(json_array_get(ratios, 0)), 12.5 / 25, 1e-6);
    assert_true(json_is_null(json_array_get(ratios, 1)));
    const json_t *const dense = json_object_get(json_array_get(layers, 2), "weights");
    assert_true(json_is_null(json_array_get(json_object_get(dense, "clip_ratios"), 0)));
    json_decref(root);
}

static void test_json(void **state)
{
    (void)state;
    char *text;
    char hash[QB_HASH64_HEX];
    struct qb_error err;
    qbt_ok(qb_inspect_qgraph(&graph, true, &text, &err), &err);
    json_t *const root = json_loads(text, 0, NULL);
    free(text);
    const json_t *const model = json_object_get(root, "model"), *const layers =
                                                                    json_object_get(root, "layers");
    assert_int_equal(integer(root, "schema_version"), 1);
    assert_string_equal(text_of(root, "kind"), "integer");
    assert_string_equal(text_of(model, "scheme"), "test");
    assert_string_equal(text_of(model, "arithmetic"), "fbgemm");
    assert_string_equal(text_of(model, "accumulate"), "exact");
    assert_string_equal(text_of(model, "refinement"), graph.refinement);
    qb_qgraph_hash(&graph, hash);
    assert_string_equal(text_of(model, "qgraph_hash"), hash);
    assert_int_equal(integer(model, "params"), 6 + 2 + 6 + 3);
    assert_int_equal(integer(model, "macs"), 6 * 4 + 6);
    assert_int_equal(json_array_size(layers), 3);

    const json_t *const input = json_array_get(layers, 0), *const conv = json_array_get(layers, 1);
    const json_t *const dense = json_array_get(layers, 2);
    assert_int_equal(integer(input, "zero_point"), -3); /* as in the file, not as the kernels hold it */
    assert_string_equal(text_of(input, "dtype"), "qint8");
    assert_string_equal(text_of(input, "scale_hex"), "0x1.99999ap-4");
    assert_true((float)json_real_value(json_object_get(input, "scale")) == 0.1f);
    assert_true(json_is_null(json_object_get(input, "weights")));
    assert_int_equal(integer(conv, "zero_point"), 7);
    assert_int_equal(integer(conv, "quant_max"), 127);
    assert_true(json_is_true(json_object_get(conv, "relu")));
    assert_true(json_is_false(json_object_get(dense, "relu")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(dense, "src"), 0)), "conv");

    const json_t *const weights = json_object_get(conv, "weights");
    assert_string_equal(text_of(weights, "dtype"), "quint8");
    assert_true(json_is_true(json_object_get(weights, "per_channel")));
    assert_int_equal(json_array_size(json_object_get(weights, "scales")), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(weights, "scales_hex"), 1)),
                        "0x1p-2");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(weights, "zero_points"), 0)), 10);
    assert_int_equal(integer(weights, "code_min"), 0);
    assert_int_equal(integer(weights, "code_max"), 255);
    assert_int_equal(integer(weights, "pairs"), 2);
    /* 127 + 2 and -128 - 1 times 255 both leave int16; the source reaches inside code 255. */
    assert_int_equal(integer(weights, "saturating_pairs"), 2);
    /* One tap of three channels: the same pairs in both orders. */
    assert_int_equal(integer(weights, "pairs_khwc"), 2);
    assert_int_equal(integer(weights, "saturating_pairs_khwc"), 2);
    assert_true(json_real_value(json_object_get(conv, "bias_min")) == -1.5);
    assert_true(json_real_value(json_object_get(conv, "bias_max")) == 2.0);

    const json_t *const dense_weights = json_object_get(dense, "weights");
    assert_true(json_is_false(json_object_get(dense_weights, "per_channel")));
    assert_int_equal(integer(dense_weights, "pairs"), 3);
    /* Seven-bit sources cannot saturate; at code 255 the pairs 64 + 65 and -64 - 65 do. */
    assert_int_equal(integer(dense_weights, "saturating_pairs"), 0);
    assert_int_equal(integer(dense_weights, "saturating_pairs_any_code"), 2);
    json_decref(root);
}

static void test_text(void **state)
{
    (void)state;
    char *text;
    struct qb_error err;
    qbt_ok(qb_inspect_qgraph(&graph, false, &text, &err), &err);
    assert_non_null(strstr(text, "arithmetic       fbgemm\n"));
    assert_non_null(strstr(text, "calibration      unknown\n"));
    assert_non_null(strstr(text, "0x1.99999ap-4"));
    assert_non_null(strstr(text, "\nrefined: equalize: a > b\nrefined: adaround a: fine\n"));
    assert_non_null(strstr(text, "conv+relu"));
    assert_non_null(strstr(text, "0.100000001 .. 0.25"));
    assert_null(strstr(text, " \n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
