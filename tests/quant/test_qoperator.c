/* Files in ONNX Runtime's QOperator format: the same integer graph as a QDQ file that says the same, and one
 * sentence for what is not understood. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/onnx.h"
#include "model/passes.h"
#include "onnx_writer.h"
#include "quant/qdq.h"
#include "testing.h"

#define U8 ONNX__TENSOR_PROTO__DATA_TYPE__UINT8
#define I8 ONNX__TENSOR_PROTO__DATA_TYPE__INT8
#define I32 ONNX__TENSOR_PROTO__DATA_TYPE__INT32

enum { IC = 2, OC = 3, CLASSES = 4 };

/* A file under construction, in either format. Tensors: 2 x 4 x 4 images. */
struct file {
    struct onnx_writer w;
    bool qoperator, is_signed, channels_last;
};

/* NAME_s and NAME_z, both scalars. Zero points are counted from the lowest code. */
static void scale(struct file *f, const char *name, float value, int zero)
{
    char s[64], z[64];
    const uint8_t code = (uint8_t)(zero - (f->is_signed ? 128 : 0));
    snprintf(s, sizeof s, "%s_s", name);
    snprintf(z, sizeof z, "%s_z", name);
    ow_floats(&f->w, s, 0, NULL, &value);
    ow_tensor(&f->w, z, f->is_signed ? I8 : U8, 0, NULL, &code);
}

static const char *text(struct file *f, const char *name, const char *suffix)
{
    return qb_arena_printf(f->w.arena, "%s%s", name, suffix);
}

/* QuantizeLinear of float tensor `src` into codes NAME, in QDQ files dequantized as NAME_d. */
static void quantize(struct file *f, const char *src, const char *name)
{
    const char *const in[6] = {src, text(f, name, "_s"), text(f, name, "_z")};
    ow_node(&f->w, "QuantizeLinear", name, in);
    if (!f->qoperator) {
        ow_node(&f->w, "DequantizeLinear", text(f, name, "_d"), (const char *[6]){name, in[1], in[2]});
    }
}

/* DequantizeLinear of constant codes NAME (QDQ files). */
static void dequantize(struct file *f, const char *name, int axis)
{
    Onnx__NodeProto *const n = ow_node(&f->w, "DequantizeLinear", text(f, name, "_d"),
                                       (const char *[6]){name, text(f, name, "_s"), text(f, name, "_z")});
    ow_int(&f->w, n, "axis", axis);
}

/* An operator on codes `a` and `b` (NULL: one source) with result NAME: its float form between pairs, or the
 * integer one, whose inputs are codes, scale and zero point of each. */
static Onnx__NodeProto *operator_of(struct file *f, const char *type, const char *integer, const char *a,
                                    const char *b, const char *bias, const char *name)
{
    if (!f->qoperator) {
        const char *const out = text(f, name, "_f");
        Onnx__NodeProto *const n =
            ow_node(&f->w, type, out, (const char *[6]){text(f, a, "_d"), b ? text(f, b, "_d") : bias, bias});
        quantize(f, out, name);
        return n;
    }
    const char *in[10] = {a, text(f, a, "_s"), text(f, a, "_z")};
    int count = 3;
    if (b) {
        in[count++] = b;
        in[count++] = text(f, b, "_s");
        in[count++] = text(f, b, "_z");
    }
    const bool gemm = strcmp(integer, "QGemm") == 0;
    if (gemm) {
        in[count++] = bias ? bias : "";
    }
    in[count++] = text(f, name, "_s");
    in[count++] = text(f, name, "_z");
    if (bias && !gemm) {
        in[count++] = bias;
    }
    Onnx__NodeProto *const n = ow_node(&f->w, integer, name, (const char *[6]){a});
    n->n_input = (size_t)count;
    n->input = qb_arena_array(f->w.arena, (size_t)count, sizeof *n->input);
    for (int i = 0; i < count; i++) {
        n->input[i] = qb_arena_strdup(f->w.arena, in[i]);
    }
    if (strcmp(integer, "QLinearConv") != 0 && strcmp(integer, "QLinearMatMul") != 0) {
        n->domain = qb_arena_strdup(f->w.arena, "com.microsoft");
    }
    return n;
}

static void weights(struct file *f, const char *name, int rank, const int64_t *dims, int axis)
{
    const size_t count = (size_t)(dims[0] * dims[1] * (rank == 4 ? dims[2] * dims[3] : 1));
    int8_t codes[64];
    const int8_t zeros[8] = {0};
    float scales[8];
    for (size_t i = 0; i < count; i++) {
        codes[i] = (int8_t)(i * 37 % 256 - 128);
    }
    for (int k = 0; k < (int)dims[axis]; k++) {
        scales[k] = 0.01f + 0.003f * (float)k;
    }
    ow_tensor(&f->w, name, I8, rank, dims, codes);
    ow_floats(&f->w, text(f, name, "_s"), 1, &dims[axis], scales);
    ow_tensor(&f->w, text(f, name, "_z"), I8, 1, &dims[axis], zeros);
}

/* The int32 bias of `oc` channels: in QDQ files behind a DequantizeLinear, named NAME_d. */
static const char *bias(struct file *f, const char *name, float source, int oc)
{
    const int64_t dims[1] = {oc};
    int32_t codes[8];
    float scales[8];
    for (int k = 0; k < oc; k++) {
        codes[k] = 1000 * k - 1500;
        scales[k] = source * (0.01f + 0.003f * (float)k);
    }
    ow_tensor(&f->w, name, I32, 1, dims, codes);
    if (f->qoperator) {
        return name;
    }
    ow_floats(&f->w, text(f, name, "_s"), 1, dims, scales);
    Onnx__NodeProto *const n =
        ow_node(&f->w, "DequantizeLinear", text(f, name, "_d"), (const char *[6]){name, text(f, name, "_s")});
    ow_int(&f->w, n, "axis", 0);
    return text(f, name, "_d");
}

static void constant(struct file *f, const char *name, int rank, const int64_t *dims, float value, int zero)
{
    uint8_t codes[16];
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        count *= (size_t)dims[i];
    }
    for (size_t i = 0; i < count; i++) {
        codes[i] = (uint8_t)(i * 71 + 5);
    }
    ow_tensor(&f->w, name, f->is_signed ? I8 : U8, rank, dims, codes);
    scale(f, name, value, zero);
    if (!f->qoperator) {
        dequantize(f, name, 0);
    }
}

/* Moves data only: on codes, or in QDQ files between pairs. */
static Onnx__NodeProto *shape_of(struct file *f, const char *type, const char *src, const char *name)
{
    if (f->qoperator) {
        return ow_node(&f->w, type, name, (const char *[6]){src});
    }
    Onnx__NodeProto *const n =
        ow_node(&f->w, type, text(f, name, "_f"), (const char *[6]){text(f, src, "_d")});
    quantize(f, text(f, name, "_f"), name);
    return n;
}

enum variant { MATMUL_GLOBAL, GEMM_WINDOW, SOFTMAX_LAST, VARIANTS };

static void write_file(struct file *f, enum variant variant)
{
    const int64_t nchw[4] = {0, IC, 4, 4}, nhwc[4] = {0, 4, 4, IC};
    ow_init(&f->w, 17);
    ow_input(&f->w, "image", 4, f->channels_last ? nhwc : nchw);
    scale(f, "x", 1.0f, 0);
    scale(f, "t", 1.0f, 0);
    scale(f, "c", 0.05f, 90);
    scale(f, "m", 0.04f, 100);
    scale(f, "a", 0.06f, 110);
    scale(f, "r", 0.07f, 120);
    scale(f, "p", 0.03f, 30);
    scale(f, "l", 0.03f, 30);
    scale(f, "d", 0.5f, 128);
    scale(f, "y", 0.6f, 127);
    scale(f, "s", 1.0f / 256, 0);
    quantize(f, "image", "x");
    const char *src = "x";
    if (f->channels_last) {
        ow_list(&f->w, shape_of(f, "Transpose", "x", "t"), "perm", 4, (const int64_t[]){0, 3, 1, 2});
        src = "t";
    }
    weights(f, "w", 4, (const int64_t[]){OC, IC, 1, 1}, 0);
    constant(f, "k", 4, (const int64_t[]){1, OC, 1, 1}, 0.02f, 7);
    constant(f, "q", 0, NULL, 0.3f, 250);
    const char *const b = bias(f, "b", 1.0f, OC);
    if (!f->qoperator) {
        dequantize(f, "w", 0);
    }
    operator_of(f, "Conv", "QLinearConv", src, "w", b, "c");
    operator_of(f, "Mul", "QLinearMul", "c", "k", NULL, "m");
    operator_of(f, "Add", "QLinearAdd", "q", "m", NULL, "a"); /* the constant first */
    operator_of(f, "Add", "QLinearAdd", "c", "a", NULL, "r"); /* the shorter branch first */
    if (variant == GEMM_WINDOW) {
        ow_list(&f->w, operator_of(f, "AveragePool", "QLinearAveragePool", "r", NULL, NULL, "p"),
                "kernel_shape", 2, (const int64_t[]){4, 4});
    } else {
        operator_of(f, "GlobalAveragePool", "QLinearGlobalAveragePool", "r", NULL, NULL, "p");
    }
    shape_of(f, "Flatten", "p", "l");
    const bool gemm = variant == GEMM_WINDOW;
    weights(f, "v", 2, gemm ? (const int64_t[]){CLASSES, OC} : (const int64_t[]){OC, CLASSES}, !gemm);
    if (!f->qoperator) {
        dequantize(f, "v", !gemm);
    }
    if (gemm) {
        const char *const v = bias(f, "g", 0.03f, CLASSES);
        ow_int(&f->w, operator_of(f, "Gemm", "QGemm", "l", "v", v, "d"), "transB", 1);
    } else {
        operator_of(f, "MatMul", "QLinearMatMul", "l", "v", NULL, "d");
    }
    constant(f, "o", 1, (const int64_t[]){CLASSES}, 0.25f, 33);
    operator_of(f, "Add", "QLinearAdd", "d", "o", NULL, "y");
    const char *last = "y";
    if (variant == SOFTMAX_LAST) {
        operator_of(f, "Softmax", "QLinearSoftmax", "y", NULL, NULL, "s");
        last = "s";
    }
    if (f->qoperator) {
        dequantize(f, last, 0);
    }
    ow_output(&f->w, text(f, last, "_d"));
}

static enum qb_status read_file(struct file *f, enum qb_arithmetic arithmetic, struct qb_qgraph **out,
                                struct qb_error *err)
{
    struct qb_blob file = ow_pack(&f->w);
    struct qb_graph *graph = NULL;
    enum qb_status status = qb_onnx_import("q.onnx", &file, &graph, err);
    qb_blob_free(&file);
    ow_free(&f->w);
    if (status == QB_OK) {
        status = qb_graph_canonicalize(graph, err);
        if (status == QB_OK) {
            assert_int_equal(graph->qlinear, f->qoperator);
            status = qb_qdq_read(graph, arithmetic, out, err);
        }
        qb_graph_free(graph);
    }
    return status;
}

static struct qb_qgraph *read_variant(bool qoperator, bool is_signed, bool channels_last,
                                      enum variant variant)
{
    struct file f = {.qoperator = qoperator, .is_signed = is_signed, .channels_last = channels_last};
    struct qb_qgraph *out = NULL;
    struct qb_error err;
    write_file(&f, variant);
    qbt_ok(read_file(&f, QB_ARITHMETIC_ORT, &out, &err), &err);
    return out;
}

/* What the file says, node by node. */
static void check_content(const struct qb_qgraph *q, bool is_signed)
{
    static const enum qb_qop ops[] = {QB_QOP_INPUT,    QB_QOP_CONV,     QB_QOP_CONSTANT, QB_QOP_MUL,
                                      QB_QOP_CONSTANT, QB_QOP_ADD,      QB_QOP_ADD,      QB_QOP_AVGPOOL,
                                      QB_QOP_DENSE,    QB_QOP_CONSTANT, QB_QOP_ADD};
    assert_int_equal(q->count, sizeof ops / sizeof ops[0]);
    for (int i = 0; i < q->count; i++) {
        assert_int_equal(q->nodes[i].op, ops[i]);
        assert_int_equal(q->nodes[i].q.dtype, is_signed ? QB_QINT8 : QB_QUINT8);
    }
    const struct qb_qnode *const conv = &q->nodes[1], *const scalar = &q->nodes[4], *const sum = &q->nodes[6],
                                 *const pool = &q->nodes[7];
    assert_int_equal(conv->bia_codes[0], -1500);
    assert_int_equal(conv->bia_codes[2], 500);
    assert_float_equal(conv->bia[2], 500 * 0.016f, 1e-6f);
    assert_int_equal(q->nodes[2].codes[1], (uint8_t)(71 + 5 + (is_signed ? 128 : 0)));
    assert_int_equal(scalar->dst.c, OC); /* one number, for all channels */
    assert_int_equal(scalar->codes[0], scalar->codes[2]);
    assert_int_equal(scalar->q.zero_point, 250);
    assert_int_equal(q->nodes[5].src[0], 3); /* the constant became the second operand */
    assert_int_equal(q->nodes[5].src[1], 4);
    assert_int_equal(sum->src[0], 1); /* two tensors keep the file's order */
    assert_int_equal(sum->src[1], 5);
    assert_float_equal(pool->q.scale, 0.03f, 0);
    assert_int_equal(pool->q.zero_point, 30);
}

static void both_formats(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * VARIANTS; i++) {
        const bool is_signed = i & 1, channels_last = i & 2;
        struct qb_qgraph *const q = read_variant(true, is_signed, channels_last, (enum variant)(i / 4)),
                                *const qdq =
                                    read_variant(false, is_signed, channels_last, (enum variant)(i / 4));
        char hash[QB_HASH64_HEX], hash_qdq[QB_HASH64_HEX];
        check_content(q, is_signed);
        qb_qgraph_hash(q, hash);
        qb_qgraph_hash(qdq, hash_qdq);
        assert_string_equal(hash, hash_qdq);
        qb_qgraph_free(q);
        qb_qgraph_free(qdq);
    }
}

static Onnx__NodeProto *find(struct file *f, const char *type)
{
    Onnx__NodeProto *const n = ow_find(&f->w, type, 0);
    assert_non_null(n);
    return n;
}
static void input(struct file *f, const char *type, size_t i, const char *name)
{
    find(f, type)->input[i] = qb_arena_strdup(f->w.arena, name);
}

static void other_source_scale(struct file *f)
{
    input(f, "QLinearConv", 1, "c_s");
}
static void other_domain(struct file *f)
{
    find(f, "QLinearMul")->domain = qb_arena_strdup(f->w.arena, "com.other");
}
static void unknown_integer(struct file *f)
{
    find(f, "QLinearMul")->op_type = qb_arena_strdup(f->w.arena, "QLinearConcat");
}
static void channels_last_pool(struct file *f)
{
    ow_int(&f->w, find(f, "QLinearGlobalAveragePool"), "channels_last", 1);
}
static void unknown_attribute(struct file *f)
{
    ow_int(&f->w, find(f, "QLinearAdd"), "axis", 1);
}
static void float_bias(struct file *f)
{
    input(f, "QLinearConv", 8, "w_s");
}
static void short_bias(struct file *f)
{
    const int32_t one = 1;
    ow_tensor(&f->w, "short", I32, 1, (const int64_t[]){1}, &one);
    input(f, "QLinearConv", 8, "short");
}
static void missing_scale(struct file *f)
{
    find(f, "QLinearMatMul")->n_input = 6;
}
static void computed_scale(struct file *f)
{
    input(f, "QLinearConv", 6, "x");
}
static void two_constants(struct file *f)
{
    input(f, "QLinearMul", 0, "k");
}
static void float_source(struct file *f)
{
    input(f, "QLinearConv", 0, "image");
}
static void wrong_axis(struct file *f)
{
    input(f, "QLinearMul", 3, "w"); /* weights: 3 x 2 x 1 x 1 */
    input(f, "QLinearMul", 4, "w_s");
    input(f, "QLinearMul", 5, "w_z");
}
static void grouped(struct file *f)
{
    ow_int(&f->w, find(f, "QLinearConv"), "group", 2);
}
static void int32_result(struct file *f)
{
    const int32_t zero = 0;
    ow_tensor(&f->w, "zero32", I32, 0, NULL, &zero);
    input(f, "QLinearMatMul", 7, "zero32");
}
static void mixed_types(struct file *f)
{
    const int8_t codes[OC] = {1, 2, 3}, zero = 0;
    ow_tensor(&f->w, "signed", I8, 4, (const int64_t[]){1, OC, 1, 1}, codes);
    ow_tensor(&f->w, "signed_z", I8, 0, NULL, &zero);
    input(f, "QLinearMul", 3, "signed");
    input(f, "QLinearMul", 5, "signed_z");
}

static void refused(void **state)
{
    static const struct {
        void (*change)(struct file *f);
        const char *needle;
    } cases[] = {
        {other_source_scale, "node 'node_c' (QLinearConv): scale, zero point and type of 'x' are expected"},
        {other_domain, "node 'node_m' (QLinearMul): operator com.other.QLinearMul is not supported"},
        {unknown_integer, "operator com.microsoft.QLinearConcat is not supported; supported are "
                          "DequantizeLinear, QGemm, QLinearAdd"},
        {channels_last_pool, "node 'node_p' (QLinearGlobalAveragePool): attribute channels_last is 1"},
        {unknown_attribute, "node 'node_a' (QLinearAdd): attribute 'axis' is not supported"},
        {float_bias, "node 'node_c' (QLinearConv): input 8, 'w_s', has type FLOAT; INT32 is expected"},
        {short_bias, "node 'node_c' (QLinearConv): the bias has 1 elements; 3 are expected"},
        {missing_scale, "node 'node_d' (QLinearMatMul): input 6 is missing"},
        {computed_scale, "node 'node_c' (QLinearConv): input 6, 'x', is computed"},
        {two_constants, "node 'node_m' (QLinearMul): both inputs are constants"},
        {float_source, "node 'node_c' (QLinearConv): input 'image' is float"},
        {wrong_axis,
         "node 'node_m' (QLinearMul): constant 'w' of 6 elements does not run along the channels"},
        {grouped, "node 'node_c' (QLinearConv): attribute group is 2"},
        {int32_result, "node 'node_d' (QLinearMatMul): the codes are of another type than int8 or uint8"},
        {mixed_types, "node 'signed' (constant): it is int8, the tensor beside it is not"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file f = {.qoperator = true};
        struct qb_qgraph *out = NULL;
        struct qb_error err;
        write_file(&f, MATMUL_GLOBAL);
        cases[i].change(&f);
        assert_int_not_equal(read_file(&f, QB_ARITHMETIC_ORT, &out, &err), QB_OK);
        if (!strstr(err.text, cases[i].needle) || strchr(err.text, '\n')) {
            fail_msg("\"%s\" does not contain \"%s\"", err.text, cases[i].needle);
        }
    }
}

/* These files mean ONNX Runtime's arithmetic, and the QDQ ones need it for their constants. */
static void other_arithmetics(void **state)
{
    (void)state;
    for (int qoperator = 0; qoperator < 2; qoperator++) {
        struct file f = {.qoperator = qoperator};
        struct qb_qgraph *out = NULL;
        struct qb_error err;
        write_file(&f, MATMUL_GLOBAL);
        qbt_error(read_file(&f, QB_ARITHMETIC_FBGEMM, &out, &err), QB_EUNSUPPORTED, &err,
                  qoperator ? "arithmetic ort is expected, not fbgemm"
                            : "a quantized constant, which arithmetic fbgemm does not have");
    }
}

/* A QDQ file whose bias is in other units than its accumulator. */
static void bias_of_another_scale(void **state)
{
    (void)state;
    struct file f = {.qoperator = false};
    struct qb_qgraph *out = NULL;
    struct qb_error err;
    write_file(&f, MATMUL_GLOBAL);
    ow_find_tensor(&f.w, "b_s")->raw_data.data[2] ^= 0x10;
    qbt_error(read_file(&f, QB_ARITHMETIC_ORT, &out, &err), QB_EUNSUPPORTED, &err,
              "node 'node_c_f' (Conv): its integer bias has scale");
}

/* Cut short or with one byte changed: another network or one sentence, never a crash. */
static void damaged(void **state)
{
    (void)state;
    struct file f = {.qoperator = true};
    write_file(&f, MATMUL_GLOBAL);
    struct qb_blob file = ow_pack(&f.w);
    ow_free(&f.w);
    size_t refused = 0;
    for (size_t i = 0; i < 3 * file.size; i++) {
        const size_t at = i % file.size, size = i < file.size ? at : file.size;
        struct qb_blob copy = {malloc(size ? size : 1), size};
        struct qb_graph *graph = NULL;
        struct qb_qgraph *out = NULL;
        struct qb_error err;
        memcpy(copy.data, file.data, size);
        if (i >= file.size) {
            ((uint8_t *)copy.data)[at] ^= i < 2 * file.size ? 0xff : 0x04;
        }
        enum qb_status status = qb_onnx_import("q.onnx", &copy, &graph, &err);
        if (status == QB_OK) {
            status = qb_graph_canonicalize(graph, &err);
            status = status == QB_OK ? qb_qdq_read(graph, QB_ARITHMETIC_ORT, &out, &err) : status;
            qb_graph_free(graph);
        }
        assert_true(status == QB_OK || (err.text[0] && !strchr(err.text, '\n')));
        assert_true(i >= file.size || status != QB_OK);
        refused += status != QB_OK;
        qb_qgraph_free(out);
        free(copy.data);
    }
    print_message("%zu of %zu refused\n", refused, 3 * file.size);
    qb_blob_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged),
        cmocka_unit_test(both_formats),
        cmocka_unit_test(refused),
        cmocka_unit_test(other_arithmetics),
        cmocka_unit_test(bias_of_another_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
