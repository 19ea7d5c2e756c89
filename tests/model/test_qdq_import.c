/* Import of QDQ models: Q/DQ pairs stay, weights keep their codes in our order, and what cannot keep its
 * meaning is refused. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/onnx.h"
#include "model/passes.h"
#include "onnx_writer.h"

enum { IC = 3, OC = 4, CLASSES = 2 };

/* How the dense weights are written. */
enum dense_form { MATMUL_AXIS1, GEMM_T_AXIS0, TRANSPOSED_AXIS0, QUANTIZED_FLOAT, DENSE_FORMS };

static int8_t conv_codes[OC * IC * 9];
static uint8_t dense_codes[CLASSES * OC]; /* [oc][ic] */
static const float conv_scales[OC] = {0.01f, 0.02f, 0.03f, 0.04f};
static const int32_t bias_codes[OC] = {100, -200, 300, -400};
static const float dense_scales[CLASSES] = {0.5f, 0.25f};
static const uint8_t dense_zeros[CLASSES] = {120, 130};

/* As PyTorch's exporter writes eager quantized models: casts that change nothing, computed zero points. */
static bool casts;

static void quantize_pair(struct onnx_writer *w, const char *src, const char *out, const char *scale,
                          const char *zero)
{
    char codes[64], same[64];
    snprintf(codes, sizeof codes, "%s_codes", out);
    snprintf(same, sizeof same, "%s_same", out);
    ow_node(w, "QuantizeLinear", codes, (const char *[6]){src, scale, zero});
    if (casts) {
        ow_int(w, ow_node(w, "Cast", same, (const char *[6]){codes}), "to",
               strcmp(zero, "minus") == 0 ? ONNX__TENSOR_PROTO__DATA_TYPE__INT8
                                          : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8);
    }
    ow_node(w, "DequantizeLinear", out, (const char *[6]){casts ? same : codes, scale, zero});
}

static void bias_zeros(struct onnx_writer *w)
{
    const int64_t zero = 0, size = OC;
    ow_ints(w, "bias_size", 1, &size);
    Onnx__NodeProto *const fill = ow_node(w, "ConstantOfShape", "zeros64", (const char *[6]){"bias_size"});
    ow_tensor_of_ints(w, fill, "value", 1, &zero);
    ow_int(w, ow_node(w, "Cast", "bias_zero", (const char *[6]){"zeros64"}), "to",
           ONNX__TENSOR_PROTO__DATA_TYPE__INT32);
}

static void dense_weights(struct onnx_writer *w, enum dense_form form)
{
    const bool out_first = form == GEMM_T_AXIS0 || form == TRANSPOSED_AXIS0;
    const int64_t dims[] = {out_first ? CLASSES : OC, out_first ? OC : CLASSES};
    uint8_t listed[CLASSES * OC];
    float values[CLASSES * OC];
    for (int o = 0; o < CLASSES; o++) {
        for (int i = 0; i < OC; i++) {
            const int at = out_first ? o * OC + i : i * CLASSES + o;
            listed[at] = dense_codes[o * OC + i];
            /* off the grid by less than half a step */
            values[at] = dense_scales[o] * ((float)listed[at] - (float)dense_zeros[o] + 0.3f);
        }
    }
    ow_floats(w, "dense_scale", 1, (const int64_t[]){CLASSES}, dense_scales);
    ow_tensor(w, "dense_zero", ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, 1, (const int64_t[]){CLASSES},
              dense_zeros);
    const char *codes = "dense_codes";
    if (form == QUANTIZED_FLOAT) {
        ow_floats(w, "dense_float", 2, dims, values);
        ow_int(w,
               ow_node(w, "QuantizeLinear", codes,
                       (const char *[6]){"dense_float", "dense_scale", "dense_zero"}),
               "axis", -1);
    } else {
        ow_tensor(w, codes, ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, 2, dims, listed);
    }
    const char *const out = form == TRANSPOSED_AXIS0 ? "dense_listed" : "dense_w";
    ow_int(w, ow_node(w, "DequantizeLinear", out, (const char *[6]){codes, "dense_scale", "dense_zero"}),
           "axis", !out_first);
    if (form == TRANSPOSED_AXIS0) {
        ow_node(w, "Transpose", "dense_w", (const char *[6]){out});
    }
}

static void write_model(struct onnx_writer *w, bool nhwc, enum dense_form form)
{
    static const uint8_t zero = 0, ten = 10;
    static const int8_t minus = -3;
    const float one = 1.0f, half = 0.5f, quarter = 0.25f, bias_scales[OC] = {0.01f, 0.02f, 0.03f, 0.04f};
    for (int i = 0; i < OC * IC * 9; i++) {
        conv_codes[i] = (int8_t)(i * 37 % 256 - 128);
    }
    for (int i = 0; i < CLASSES * OC; i++) {
        dense_codes[i] = (uint8_t)(i * 53 % 250);
    }
    ow_init(w, 13);
    ow_input(w, "x", 4, nhwc ? (const int64_t[]){0, 4, 4, IC} : (const int64_t[]){0, IC, 4, 4});
    ow_floats(w, "one", 0, NULL, &one);
    ow_floats(w, "half", 0, NULL, &half);
    ow_floats(w, "quarter", 1, (const int64_t[]){1}, &quarter);
    ow_tensor(w, "zero", ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, 0, NULL, &zero);
    ow_tensor(w, "ten", ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, 0, NULL, &ten);
    ow_tensor(w, "minus", ONNX__TENSOR_PROTO__DATA_TYPE__INT8, 0, NULL, &minus);
    ow_tensor(w, "conv_codes", ONNX__TENSOR_PROTO__DATA_TYPE__INT8, 4, (const int64_t[]){OC, IC, 3, 3},
              conv_codes);
    ow_floats(w, "conv_scale", 1, (const int64_t[]){OC}, conv_scales);
    ow_tensor(w, "bias_codes", ONNX__TENSOR_PROTO__DATA_TYPE__INT32, 1, (const int64_t[]){OC}, bias_codes);
    ow_floats(w, "bias_scale", 1, (const int64_t[]){OC}, bias_scales);
    ow_int(w, ow_node(w, "DequantizeLinear", "conv_w", (const char *[6]){"conv_codes", "conv_scale"}), "axis",
           0);
    if (casts) {
        bias_zeros(w);
    }
    ow_int(w,
           ow_node(w, "DequantizeLinear", "conv_b",
                   (const char *[6]){"bias_codes", "bias_scale", casts ? "bias_zero" : NULL}),
           "axis", 0);
    quantize_pair(w, "x", "x_q", "one", "zero");
    if (nhwc) {
        ow_list(w, ow_node(w, "Transpose", "x_t", (const char *[6]){"x_q"}), "perm", 4,
                (const int64_t[]){0, 3, 1, 2});
    }
    ow_node(w, "Conv", "c", (const char *[6]){nhwc ? "x_t" : "x_q", "conv_w", "conv_b"});
    ow_node(w, "Relu", "r", (const char *[6]){"c"});
    quantize_pair(w, "r", "r_q", "half", "ten");
    ow_node(w, "GlobalAveragePool", "p", (const char *[6]){"r_q"});
    quantize_pair(w, "p", "p_q", "half", "ten");
    ow_node(w, "Flatten", "f", (const char *[6]){"p_q"});
    quantize_pair(w, "f", "f_q", "half", "ten");
    dense_weights(w, form);
    const float bias[CLASSES] = {1.5f, -2.5f};
    ow_floats(w, "dense_bias", 1, (const int64_t[]){CLASSES}, bias);
    if (form == GEMM_T_AXIS0) {
        ow_int(w, ow_node(w, "Gemm", "d", (const char *[6]){"f_q", "dense_w", "dense_bias"}), "transB", 1);
    } else {
        ow_node(w, "MatMul", "m", (const char *[6]){"f_q", "dense_w"});
        ow_node(w, "Add", "d", (const char *[6]){"m", "dense_bias"});
    }
    quantize_pair(w, "d", "d_q", "quarter", "minus");
    ow_node(w, "Softmax", "s", (const char *[6]){"d_q"});
    quantize_pair(w, "s", "s_q", "one", "zero");
    ow_output(w, "s_q");
}

static enum qb_status load(struct onnx_writer *w, struct qb_graph **graph, struct qb_error *err)
{
    struct qb_blob file = ow_pack(w);
    enum qb_status status = qb_onnx_import("qdq.onnx", &file, graph, err);
    qb_blob_free(&file);
    ow_free(w);
    if (status == QB_OK && (status = qb_graph_canonicalize(*graph, err)) != QB_OK) {
        qb_graph_free(*graph);
        *graph = NULL;
    }
    return status;
}

static void check_q(const struct qb_graph *graph, const char *name, float scale, int zero_point,
                    bool is_signed)
{
    const int i = qb_graph_find(graph, name);
    assert_true(i >= 0);
    assert_float_equal(graph->nodes[i].q.scale, scale, 0);
    assert_int_equal(graph->nodes[i].q.zero_point, zero_point);
    assert_int_equal(graph->nodes[i].q.is_signed, is_signed);
}

static void test_import(void **state)
{
    static const char *const names[] = {
        "input",   "quantize",   "dequantize",   "conv",  "relu",       "quantize_1",   "dequantize_1",
        "avgpool", "quantize_2", "dequantize_2", "dense", "quantize_3", "dequantize_3", "softmax"};
    (void)state;
    for (int form = 0; form < DENSE_FORMS; form++) {
        for (int kind = 0; kind < 4; kind++) {
            const bool nhwc = kind % 2;
            struct onnx_writer w;
            casts = kind / 2;
            struct qb_graph *graph = NULL;
            struct qb_error err;
            write_model(&w, nhwc, (enum dense_form)form);
            qbt_ok(load(&w, &graph, &err), &err);
            assert_true(graph->quantized);
            assert_int_equal(graph->count, 14);
            for (int i = 0; i < graph->count; i++) {
                assert_string_equal(graph->nodes[i].name, names[i]);
                assert_int_equal(graph->nodes[i].src[0], i - 1);
            }
            assert_int_equal(graph->nodes[0].dst.c, IC);
            assert_int_equal(qb_graph_logits(graph), 12);
            check_q(graph, "quantize", 1.0f, 0, false);
            check_q(graph, "dequantize_1", 0.5f, 10, false);
            check_q(graph, "quantize_3", 0.25f, -3, true);

            const struct qb_node *const conv = &graph->nodes[3];
            assert_non_null(conv->codes);
            assert_true(conv->codes->is_signed);
            assert_int_equal(conv->codes->scale_count, OC);
            assert_memory_equal(conv->codes->codes, conv_codes, sizeof conv_codes);
            for (int i = 0; i < OC * IC * 9; i++) {
                assert_float_equal(conv->wei[i], (float)conv_codes[i] * conv_scales[i / (IC * 9)], 0);
            }
            for (int o = 0; o < OC; o++) {
                assert_float_equal(conv->bia[o], (float)bias_codes[o] * conv_scales[o], 0);
                assert_float_equal(conv->codes->scales[o], conv_scales[o], 0);
                assert_int_equal(conv->codes->zero_points[o], 0);
            }

            const struct qb_node *const dense = &graph->nodes[10];
            assert_non_null(dense->codes);
            assert_false(dense->codes->is_signed);
            assert_int_equal(dense->codes->scale_count, CLASSES);
            assert_memory_equal(dense->codes->codes, dense_codes, sizeof dense_codes);
            for (int i = 0; i < CLASSES * OC; i++) {
                assert_float_equal(
                    dense->wei[i],
                    ((float)dense_codes[i] - (float)dense_zeros[i / OC]) * dense_scales[i / OC], 0);
            }
            for (int o = 0; o < CLASSES; o++) {
                assert_int_equal(dense->codes->zero_points[o], dense_zeros[o]);
                assert_float_equal(dense->bia[o], (o ? -2.5f : 1.5f), 0);
            }
            qb_graph_free(graph);
        }
    }
}

static void input(struct onnx_writer *w, const char *type, int nth, size_t i, const char *name)
{
    ow_find(w, type, nth)->input[i] = qb_arena_strdup(w->arena, name);
}

/* Q/DQ nodes in file order: conv_w, conv_b are DequantizeLinear 0 and 1, then x, r, p, f, dense_w, d, s. */
static void other_scale(struct onnx_writer *w)
{
    input(w, "DequantizeLinear", 3, 1, "one");
}
static void other_zero(struct onnx_writer *w)
{
    input(w, "DequantizeLinear", 3, 2, "zero");
}
static void reads_codes(struct onnx_writer *w)
{
    input(w, "Conv", 0, 0, "x_q_codes");
}
static void float_source(struct onnx_writer *w)
{
    input(w, "DequantizeLinear", 2, 0, "x");
}
static void per_channel_activation(struct onnx_writer *w)
{
    input(w, "QuantizeLinear", 0, 1, "conv_scale");
}
static void input_channel_scales(struct onnx_writer *w)
{
    const float scales[IC] = {1.0f, 1.0f, 1.0f};
    ow_floats(w, "three", 1, (const int64_t[]){IC}, scales);
    input(w, "DequantizeLinear", 0, 1, "three");
    ow_int(w, ow_find(w, "DequantizeLinear", 0), "axis", 1);
}
static void scales_of_other_length(struct onnx_writer *w)
{
    ow_int(w, ow_find(w, "DequantizeLinear", 0), "axis", 1);
}
static void bad_scale(struct onnx_writer *w)
{
    const float zero = 0.0f;
    ow_floats(w, "nothing", 0, NULL, &zero);
    input(w, "QuantizeLinear", 1, 1, "nothing");
}
static void int32_activation(struct onnx_writer *w)
{
    const int32_t zero = 0;
    ow_tensor(w, "zero32", ONNX__TENSOR_PROTO__DATA_TYPE__INT32, 0, NULL, &zero);
    input(w, "QuantizeLinear", 1, 2, "zero32");
}
static void scaled_codes(struct onnx_writer *w)
{
    ow_find(w, "Add", 0)->op_type = qb_arena_strdup(w->arena, "Mul");
}
static void blocked(struct onnx_writer *w)
{
    ow_int(w, ow_find(w, "DequantizeLinear", 0), "block_size", 4);
}
static void codes_at_output(struct onnx_writer *w)
{
    w->graph.output[0]->name = qb_arena_strdup(w->arena, "d_q_codes");
}
static void constant_behind_pair(struct onnx_writer *w)
{
    ow_node(w, "Add", "again", (const char *[6]){"d_q", "dense_bias"});
    w->graph.output[0]->name = qb_arena_strdup(w->arena, "again");
}
static void infinite_constant(struct onnx_writer *w)
{
    const float values[CLASSES] = {1.0f, INFINITY};
    scaled_codes(w);
    ow_floats(w, "factors", 1, (const int64_t[]){CLASSES}, values);
    input(w, "Mul", 0, 1, "factors");
}

static void cast_to(struct onnx_writer *w, int nth, int type)
{
    ow_find_attr(ow_find(w, "Cast", nth), "to")->i = type;
}
static void cast_codes(struct onnx_writer *w)
{
    cast_to(w, 1, ONNX__TENSOR_PROTO__DATA_TYPE__INT8);
}
static void cast_zeros(struct onnx_writer *w)
{
    cast_to(w, 0, ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE);
}
static void cast_to_nothing(struct onnx_writer *w)
{
    cast_to(w, 0, 0);
}
static void cast_large(struct onnx_writer *w)
{
    const int64_t large = (int64_t)1 << 40;
    ow_ints(w, "large", 1, &large);
    input(w, "Cast", 0, 0, "large");
}
static void huge_shape(struct onnx_writer *w)
{
    const int64_t sizes[] = {1 << 20, 1 << 20};
    ow_ints(w, "sizes", 2, sizes);
    input(w, "ConstantOfShape", 0, 0, "sizes");
}
static void long_value(struct onnx_writer *w)
{
    ow_tensor_of_ints(w, ow_find(w, "ConstantOfShape", 0), "value", 2, (const int64_t[]){0, 0});
}

struct refusal {
    void (*change)(struct onnx_writer *w);
    const char *needle;
};

static void check_refused(const struct refusal *cases, size_t count, bool with_casts)
{
    casts = with_casts;
    for (size_t i = 0; i < count; i++) {
        struct onnx_writer w;
        struct qb_graph *graph = NULL;
        struct qb_error err = {0};
        write_model(&w, false, MATMUL_AXIS1);
        cases[i].change(&w);
        assert_int_not_equal(load(&w, &graph, &err), QB_OK);
        if (!strstr(err.text, cases[i].needle)) {
            fail_msg("'%s' lacks '%s'", err.text, cases[i].needle);
        }
    }
}

static void test_refused(void **state)
{
    static const struct refusal cases[] = {
        {other_scale,
         "node 'node_r_q' (DequantizeLinear): scale, zero point and type of 'r_q_codes' are expected to be "
         "those of the node that makes it, 'node_r_q_codes'"},
        {other_zero, "node 'node_r_q' (DequantizeLinear): scale, zero point"},
        {reads_codes, "node 'node_c' (Conv): input 'x_q_codes' holds integers, of a QuantizeLinear"},
        {float_source, "node 'node_x_q' (DequantizeLinear): input 'x' is float"},
        {per_channel_activation, "node 'node_x_q_codes' (QuantizeLinear): 4 scales for an activation"},
        {input_channel_scales, "node 'node_c' (Conv): its weights have a scale for each input channel"},
        {scales_of_other_length,
         "node 'node_conv_w' (DequantizeLinear): attribute axis is 1: 4 scales do not fit"},
        {bad_scale, "node 'node_r_q_codes' (QuantizeLinear): scale 0 is 0"},
        {int32_activation, "node 'node_r_q_codes' (QuantizeLinear): the codes are of another type"},
        {blocked, "node 'node_conv_w' (DequantizeLinear): attribute block_size is 4"},
        {codes_at_output, "node 'node_d_q_codes' (QuantizeLinear): the output is expected to be float"},
        {infinite_constant, "node 'node_d' (Mul): weight 1 is inf; finite numbers are expected"},
    };
    (void)state;
    check_refused(cases, sizeof cases / sizeof *cases, false);
}

/* What a quantizer left in float: a factor behind integer weights, an addend behind the last pair. */
static void test_float_constants(void **state)
{
    static const struct {
        void (*change)(struct onnx_writer *w);
        const char *name;
        int src;
        float wei[CLASSES], bia[CLASSES];
    } cases[] = {{scaled_codes, "dense", 10, {1.5f, -2.5f}, {0}},
                 {constant_behind_pair, "dequantize_3", 12, {1.0f, 1.0f}, {1.5f, -2.5f}}};
    (void)state;
    casts = false;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct onnx_writer w;
        struct qb_graph *graph = NULL;
        struct qb_error err;
        write_model(&w, false, MATMUL_AXIS1);
        cases[i].change(&w);
        qbt_ok(load(&w, &graph, &err), &err);
        const int at = qb_graph_find(graph, "affine");
        assert_true(at > 0);
        const struct qb_node *const affine = &graph->nodes[at];
        assert_int_equal(affine->src[0], cases[i].src);
        assert_string_equal(graph->nodes[affine->src[0]].name, cases[i].name);
        assert_int_equal(affine->oc, CLASSES);
        assert_memory_equal(affine->wei, cases[i].wei, sizeof cases[i].wei);
        assert_memory_equal(affine->bia, cases[i].bia, sizeof cases[i].bia);
        qb_graph_free(graph);
    }
}

static void test_casts_refused(void **state)
{
    static const struct refusal cases[] = {
        {
            cast_codes,
            "node 'node_x_q_same' (Cast): it makes INT8 of a tensor of UINT8; a cast that changes nothing",
        },
        {cast_zeros, "node 'node_bias_zero' (Cast): a constant of type INT64 is cast to DOUBLE"},
        {cast_to_nothing, "node 'node_bias_zero' (Cast): attribute to is 0"},
        {cast_large, "node 'node_bias_zero' (Cast): element 0 of its constant is 1099511627776, which INT32"},
        {huge_shape,
         "node 'node_zeros64' (ConstantOfShape): size 1 of its shape is 1048576, or not known, or"},
        {long_value, "node 'node_zeros64' (ConstantOfShape): attribute value has 2 elements"},
    };
    (void)state;
    check_refused(cases, sizeof cases / sizeof *cases, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_float_constants),
        cmocka_unit_test(test_casts_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
