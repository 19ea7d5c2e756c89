/* QDQ files as other programs write them: what is understood, and one sentence for what is not. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/engine.h"
#include "quant/qdq.h"
#include "quant/qdq_proto.h"
#include "testing.h"

/* A file under construction: 2 x 4 x 4 images, tensors are named by the text that made them. */
struct file {
    struct qb_proto p;
    struct qb_metadata metadata[4];
    size_t metadata_count;
};

enum { MAX_NODES = 64 };

static struct file begin(void)
{
    struct file f = {.metadata_count = 0};
    qb_proto_begin(&f.p, qb_arena_create(), MAX_NODES, 4 * MAX_NODES);
    qb_proto_input(&f.p, "x", 4, (const int64_t[]){2, 4, 4});
    return f;
}

static const char *number(struct file *f, float value)
{
    return qb_proto_tensor(&f->p, qb_proto_text(&f->p, "c%zu", f->p.graph.n_initializer), QB_PROTO_FLOAT, 0,
                           NULL, &value);
}

static const char *code(struct file *f, enum qb_proto_type type, int value)
{
    const uint8_t byte = (uint8_t)value;
    return qb_proto_tensor(&f->p, qb_proto_text(&f->p, "c%zu", f->p.graph.n_initializer), type, 0, NULL,
                           &byte);
}

/* A node of one or two inputs. */
static const char *op(struct file *f, const char *type, const char *name, const char *a, const char *b)
{
    return qb_proto_node(&f->p, type, name, NULL, b ? 2 : 1, (const char *const[]){a, b});
}

/* QuantizeLinear and DequantizeLinear, called NAME.q and NAME.dq. */
static const char *pair_of(struct file *f, enum qb_proto_type type, const char *name, const char *source,
                           float scale, int zero)
{
    const char *const inputs[3] = {source, number(f, scale), code(f, type, zero)};
    const char *const codes =
        qb_proto_node(&f->p, "QuantizeLinear", qb_proto_text(&f->p, "%s.q", name), NULL, 3, inputs);
    return qb_proto_node(&f->p, "DequantizeLinear", qb_proto_text(&f->p, "%s.dq", name), NULL, 3,
                         (const char *const[]){codes, inputs[1], inputs[2]});
}

static const char *pair(struct file *f, const char *name, const char *source, float scale, int zero)
{
    return pair_of(f, QB_PROTO_UINT8, name, source, scale, zero);
}

/* Integer weights 1, 2, 3 .. of scale 0.5 behind a DequantizeLinear. */
static const char *weights(struct file *f, const char *name, enum qb_proto_type type, int zero, size_t rank,
                           const int64_t *dims)
{
    const uint8_t codes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const char *const w = qb_proto_tensor(&f->p, qb_proto_text(&f->p, "%s.w", name), type, rank, dims, codes);
    return qb_proto_node(&f->p, "DequantizeLinear", qb_proto_text(&f->p, "%s.w.dq", name), NULL, 3,
                         (const char *const[]){w, number(f, 0.5f), code(f, type, zero)});
}

/* 1 x 1, two channels to two. */
static const char *conv(struct file *f, const char *name, const char *source)
{
    return op(f, "Conv", name, source, weights(f, name, QB_PROTO_INT8, 0, 4, (const int64_t[]){2, 2, 1, 1}));
}

static const char *pool(struct file *f, const char *name, const char *source)
{
    return op(f, "GlobalAveragePool", name, source, NULL);
}

static const char *dense(struct file *f, const char *name, const char *source)
{
    const char *const flat = op(f, "Flatten", qb_proto_text(&f->p, "%s.flatten", name), source, NULL);
    const char *const out =
        op(f, "Gemm", name, flat, weights(f, name, QB_PROTO_INT8, 0, 2, (const int64_t[]){3, 2}));
    qb_proto_int(&f->p, "transB", 1);
    return out;
}

/* A pool and a dense layer with everything around them: behind a tensor of scale 2, zero point 10. */
static const char *tail(struct file *f, const char *source)
{
    return pair(f, "fc", dense(f, "fc", pair(f, "pool", pool(f, "pool", source), 2.0f, 10)), 0.25f, 128);
}

/* What reading gives; the text of the error goes to `err`. */
static enum qb_status read_file(struct file *f, const char *output, enum qb_arithmetic fallback,
                                struct qb_qgraph **out, struct qb_error *err)
{
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "other.onnx");
    struct qb_graph *graph = NULL;
    f->p.graph.node[f->p.graph.n_node - 1]->output[0] = qb_proto_text(&f->p, "%s", output);
    qb_proto_output(&f->p, output, 2, (const int64_t[]){3});
    qbt_ok(qb_proto_write(&f->p, "0", f->metadata, f->metadata_count, path, err), err);
    enum qb_status status = qb_model_load(path, &graph, err);
    if (status == QB_OK) {
        status = qb_qdq_read(graph, fallback, out, err);
        qb_graph_free(graph);
    }
    if (status != QB_OK) {
        assert_non_null(strstr(err->text, path));
    }
    qb_arena_destroy(f->p.arena);
    free(path);
    qbt_rmtree(dir);
    return status;
}

static struct qb_qgraph *understood(struct file *f, enum qb_arithmetic fallback)
{
    struct qb_error err;
    struct qb_qgraph *out = NULL;
    qbt_ok(read_file(f, "y", fallback, &out, &err), &err);
    return out;
}

static void refused(struct file *f, enum qb_status want, const char *needle, const char *second)
{
    struct qb_error err;
    struct qb_qgraph *out = NULL;
    qbt_error(read_file(f, "y", QB_ARITHMETIC_FBGEMM, &out, &err), want, &err, needle);
    if (!strstr(err.text, second)) {
        fail_msg("\"%s\" does not contain \"%s\"", err.text, second);
    }
}

/* Operator names of the whole graph. */
static void assert_operators(const struct qb_qgraph *graph, const char *want)
{
    char have[256] = "";
    for (int i = 0; i < graph->count; i++) {
        strcat(strcat(have, i ? " " : ""), qb_qop_name(graph->nodes[i].op));
        strcat(have, graph->nodes[i].relu ? "+relu" : "");
        strcat(have, graph->nodes[i].fused_add ? "+add" : "");
    }
    assert_string_equal(have, want);
}

static void relu_before_the_pair_is_fused(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const x = pair(&f, "image", "x", 1.0f, 0);
    tail(&f, pair(&f, "a", op(&f, "Relu", "r", conv(&f, "a", x), NULL), 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_operators(q, "input conv+relu avgpool dense");
    assert_string_equal(q->scheme, "imported");
    assert_string_equal(q->nodes[1].name, "conv");
    assert_int_equal(q->nodes[1].q.zero_point, 10);
    assert_int_equal(q->nodes[1].q.quant_max, 255);
    assert_true(q->nodes[3].q.scale == 0.25f);
    qb_qgraph_free(q);
}

static void relu_behind_the_pair_is_a_node(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const x = pair(&f, "image", "x", 1.0f, 0);
    const char *const a = pair(&f, "a", conv(&f, "a", x), 2.0f, 10);
    tail(&f, pair(&f, "r", op(&f, "Relu", "r", a, NULL), 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ONEDNN);
    assert_operators(q, "input conv relu avgpool dense");
    assert_int_equal(q->arithmetic, QB_ARITHMETIC_ONEDNN);
    qb_qgraph_free(q);
}

static void relu_with_a_scale_of_its_own(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const x = pair(&f, "image", "x", 1.0f, 0);
    const char *const a = pair(&f, "a", conv(&f, "a", x), 2.0f, 10);
    tail(&f, pair(&f, "r", op(&f, "Relu", "r", a, NULL), 2.0f, 0));
    refused(&f, QB_EUNSUPPORTED, "node 'r' (Relu)", "scale 2 and zero point 10");
}

static void pool_with_a_scale_of_its_own(void **state)
{
    (void)state;
    static const struct {
        float scale;
        int zero_point;
        const char *needle;
    } cases[] = {{0.5f, 0, "0.5 and 0"}, {1.5f, 0, "1.5 and 0"}, {1.0f, 1, "1 and 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file f = begin();
        const char *const x = pair(&f, "image", "x", 1.0f, 0);
        const char *const p = pair(&f, "p", pool(&f, "p", x), cases[i].scale, cases[i].zero_point);
        pair(&f, "fc", dense(&f, "fc", p), 1.0f, 0);
        refused(&f, QB_EUNSUPPORTED, "node 'p' (GlobalAveragePool)", cases[i].needle);
    }
}

static void no_pair_between_two_layers(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const x = pair(&f, "image", "x", 1.0f, 0);
    tail(&f, pair(&f, "b", conv(&f, "b", conv(&f, "a", x)), 2.0f, 10));
    refused(&f, QB_EUNSUPPORTED, "node 'b' (Conv)", "output of 'a'");
}

static void no_pair_behind_the_image(void **state)
{
    (void)state;
    struct file f = begin();
    tail(&f, pair(&f, "a", conv(&f, "a", "x"), 2.0f, 10));
    refused(&f, QB_EUNSUPPORTED, "node 'a' (Conv)", "QuantizeLinear");
}

static void no_pair_behind_the_dense_layer(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const x = pair(&f, "image", "x", 2.0f, 10);
    dense(&f, "fc", pair(&f, "p", pool(&f, "p", x), 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ORT);
    assert_operators(q, "input avgpool dequantize dense");
    assert_true(q->nodes[3].f32);
    assert_true(q->nodes[3].wei_f32[2] == 0.5f * 3);
    qb_qgraph_free(q);
}

/* Operators that a quantizer was told to leave out: nothing behind the last convolution is quantized. */
static void float_end(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const a = pair(&f, "a", conv(&f, "a", pair(&f, "image", "x", 1.0f, 0)), 1.5f, 3);
    const char *const sum = op(&f, "Relu", "r", op(&f, "Add", "sum", a, a), NULL);
    dense(&f, "fc", pool(&f, "pool", sum));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ORT);
    assert_operators(q, "input conv dequantize add relu avgpool dense");
    for (int i = 2; i < q->count; i++) {
        assert_true(q->nodes[i].f32);
    }
    qb_qgraph_free(q);
}

/* Codes go on behind floats. */
static void float_pool(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const a = pair(&f, "a", conv(&f, "a", pair(&f, "image", "x", 1.0f, 0)), 1.5f, 3);
    pair(&f, "fc", dense(&f, "fc", pair(&f, "r", op(&f, "Relu", "r", pool(&f, "pool", a), NULL), 2.0f, 10)),
         0.25f, 128);
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ORT);
    assert_operators(q, "input conv dequantize avgpool relu quantize dense");
    qb_qgraph_free(q);
}

/* Tensors `affine` of graph `*graph` and the one that it reads. */
struct seen {
    const struct qb_qgraph *graph;
    int affine;
    float dst[32], src[32];
};

static void see(void *ctx, int node, const void *data, size_t count)
{
    struct seen *const s = ctx;
    const bool dst = node == s->affine;
    if (dst || node == s->graph->nodes[s->affine].src[0]) {
        assert_int_equal(count, qb_shape_count(s->graph->nodes[node].dst));
        memcpy(dst ? s->dst : s->src, data, count * sizeof(float));
    }
}

/* The engines compute x * factor + addend in two roundings, and give the same logits. */
static void check_affine(const struct qb_qgraph *q, int affine, const float factor[], const float addend[])
{
    static const char *const engines[] = {"reference", "native"};
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};
    const size_t channels = (size_t)q->nodes[affine].dst.c;
    float logits[2][3];
    uint8_t image[32];
    struct qb_error err;
    for (int i = 0; i < 32; i++) {
        image[i] = (uint8_t)(i * 37);
    }
    assert_memory_equal(q->nodes[affine].wei_f32, factor, channels * sizeof *factor);
    assert_memory_equal(q->nodes[affine].bia, addend, channels * sizeof *addend);
    for (int e = 0; e < 2; e++) {
        struct seen s = {.graph = q, .affine = affine};
        struct qb_engine *engine;
        qbt_ok(qb_engine_create(engines[e], NULL, q, &options, &engine, &err), &err);
        engine->tap = see;
        engine->tap_ctx = &s;
        qbt_ok(qb_engine_run(engine, image, 1, logits[e], &err), &err);
        for (size_t i = 0; i < qb_shape_count(q->nodes[affine].dst); i++) {
            const float product = s.src[i] * factor[i % channels];
            assert_true(s.dst[i] == product + addend[i % channels]);
        }
        qb_engine_free(engine);
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
}

/* Batch normalization that was not folded and stayed in float, as Mul and Add. */
static const char *normalization(struct file *f, const char *name, const char *source)
{
    static const float factors[2] = {0.3f, -1.7f}, addend = 100.1f;
    const int64_t dims[4] = {1, 2, 1, 1};
    const char *const factor =
        qb_proto_tensor(&f->p, qb_proto_text(&f->p, "%s.f", name), QB_PROTO_FLOAT, 4, dims, factors);
    const char *const product = op(f, "Mul", qb_proto_text(&f->p, "%s.mul", name), source, factor);
    return op(f, "Relu", qb_proto_text(&f->p, "%s.relu", name),
              op(f, "Add", qb_proto_text(&f->p, "%s.add", name), product, number(f, addend)), NULL);
}

static void float_normalization(void **state)
{
    static const float factors[2] = {0.3f, -1.7f}, addends[2] = {100.1f, 100.1f};
    (void)state;
    /* Behind a pair: the convolution is one of integers. */
    struct file f = begin();
    const char *const a = pair(&f, "a", conv(&f, "a", pair(&f, "image", "x", 1.0f, 0)), 5.0f, 3);
    tail(&f, pair(&f, "r", normalization(&f, "bn", a), 2.0f, 10));
    struct qb_qgraph *q = understood(&f, QB_ARITHMETIC_ORT);
    assert_operators(q, "input conv dequantize affine relu quantize avgpool dense");
    check_affine(q, 3, factors, addends);
    char hash[QB_HASH64_HEX], other[QB_HASH64_HEX];
    const float others[2] = {100.1f, 100.2f};
    const size_t bytes = qb_qgraph_bytes(q);
    qb_qgraph_hash(q, hash);
    q->nodes[3].bia = others;
    qb_qgraph_hash(q, other);
    assert_string_not_equal(hash, other);
    q->nodes[3].oc = 0;
    assert_int_equal(bytes - qb_qgraph_bytes(q), 4 * sizeof(float));
    qb_qgraph_free(q);
    /* Without one: what it multiplies is the convolution's sum, which is float then. */
    f = begin();
    const char *const b = conv(&f, "a", pair(&f, "image", "x", 1.0f, 0));
    tail(&f, pair(&f, "r", normalization(&f, "bn", b), 2.0f, 10));
    q = understood(&f, QB_ARITHMETIC_ORT);
    assert_operators(q, "input dequantize conv affine relu quantize avgpool dense");
    check_affine(q, 3, factors, addends);
    qb_qgraph_free(q);
}

/* MatMul between pairs, its bias behind them. */
static void float_bias(void **state)
{
    static const float ones[3] = {1, 1, 1}, bias[3] = {0.1f, -0.2f, 0.3f};
    (void)state;
    struct file f = begin();
    const char *const fc = tail(&f, pair(&f, "image", "x", 1.0f, 0));
    op(&f, "Add", "bias", fc, qb_proto_tensor(&f.p, "b", QB_PROTO_FLOAT, 1, (const int64_t[]){3}, bias));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ORT);
    assert_operators(q, "input avgpool dense dequantize affine");
    check_affine(q, 4, ones, bias);
    qb_qgraph_free(q);
}

static void bad_affine(void **state)
{
    static const float bias[3] = {0.1f, -0.2f, NAN};
    (void)state;
    struct file f = begin();
    const char *const a = pair(&f, "a", conv(&f, "a", pair(&f, "image", "x", 1.0f, 0)), 1.5f, 3);
    tail(&f, pair(&f, "r", normalization(&f, "bn", a), 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ORT);
    struct qb_qnode *const affine = &q->nodes[3], good = *affine;
    const char *const needles[] = {
        "node affine: an affine has no form for codes", "node affine: 3 constants for a tensor of 2 channels",
        "node affine: float weights or biases are absent", "node affine: float weights or biases are absent"};
    for (int i = 0; i < 4; i++) {
        const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};
        struct qb_engine *engine;
        struct qb_error err;
        affine->f32 = i != 0;
        affine->oc = i == 1 ? 3 : 2;
        affine->wei_f32 = i == 2 ? NULL : good.wei_f32;
        affine->bia = i == 3 ? bias + 1 : good.bia;
        qbt_error(qb_engine_create("native", NULL, q, &options, &engine, &err), QB_EINPUT, &err, needles[i]);
    }
    qb_qgraph_free(q);
}

static void float_weights(void **state)
{
    (void)state;
    static const float wei[4] = {1, 2, 3, 4};
    struct file f = begin();
    const char *const x = pair(&f, "image", "x", 1.0f, 0);
    const char *const w = qb_proto_tensor(&f.p, "w", QB_PROTO_FLOAT, 4, (const int64_t[]){2, 2, 1, 1}, wei);
    tail(&f, pair(&f, "a", op(&f, "Conv", "a", x, w), 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_operators(q, "input dequantize conv quantize avgpool dense");
    assert_true(q->nodes[1].f32 && q->nodes[2].f32 && !q->nodes[3].f32);
    assert_memory_equal(q->nodes[2].wei_f32, wei, sizeof wei);
    assert_true(q->nodes[3].q.scale == 2.0f && q->nodes[3].q.zero_point == 10);
    qb_qgraph_free(q);
    /* Read twice, with one scale. */
    f = begin();
    const char *const a =
        op(&f, "Conv", "a", pair(&f, "image", "x", 1.0f, 0),
           qb_proto_tensor(&f.p, "w", QB_PROTO_FLOAT, 4, (const int64_t[]){2, 2, 1, 1}, wei));
    const char *const first = pair(&f, "a", a, 2.0f, 10), *const second = pair(&f, "b", a, 2.0f, 10);
    tail(&f, pair(&f, "sum", op(&f, "Add", "sum", first, second), 2.0f, 10));
    struct qb_qgraph *const twice = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_operators(twice, "input dequantize conv quantize add avgpool dense");
    qb_qgraph_free(twice);
}

/* s8 activations and u8 weights become u8 and s8; a bias is what its DequantizeLinear gives. */
static void other_types(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const x = pair_of(&f, QB_PROTO_INT8, "image", "x", 1.0f, -128);
    const char *const w = weights(&f, "a", QB_PROTO_UINT8, 130, 4, (const int64_t[]){2, 2, 1, 1});
    const uint8_t bias[2] = {200, 7};
    const char *const b = qb_proto_tensor(&f.p, "b", QB_PROTO_UINT8, 1, (const int64_t[]){2}, bias);
    const char *const bia =
        qb_proto_node(&f.p, "DequantizeLinear", "b.dq", NULL, 3,
                      (const char *const[]){b, number(&f, 0.125f), code(&f, QB_PROTO_UINT8, 5)});
    const char *const a = qb_proto_node(&f.p, "Conv", "a", NULL, 3, (const char *const[]){x, w, bia});
    tail(&f, pair(&f, "a", a, 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_int_equal(q->nodes[0].q.dtype, QB_QINT8);
    assert_int_equal(q->nodes[0].q.zero_point, 0);
    assert_int_equal(q->nodes[0].q.quant_min, -128);
    assert_int_equal(q->nodes[1].wei_dtype, QB_QUINT8);
    assert_int_equal(q->nodes[1].wei[3], 4 - 128);
    assert_int_equal(q->nodes[1].wei_scale_count, 1);
    assert_int_equal(q->nodes[1].wei_zero_points[0], 130 - 128);
    assert_true(q->nodes[1].bia[0] == 195 * 0.125f && q->nodes[1].bia[1] == 0.25f);
    assert_int_equal(q->nodes[1].q.dtype, QB_QUINT8);
    assert_int_equal(q->nodes[3].wei_dtype, QB_QINT8);
    assert_int_equal(q->nodes[3].wei[5], 6);
    qb_qgraph_free(q);
}

static void a_pair_for_each_reader(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const x = pair(&f, "image", "x", 1.0f, 0), *const again = pair(&f, "image2", "x", 1.0f, 0);
    const char *const a = op(&f, "Relu", "r", conv(&f, "a", x), NULL), *const b = conv(&f, "b", again);
    const char *const first = pair(&f, "a", a, 1.5f, 3), *const second = pair(&f, "a2", a, 1.5f, 3);
    const char *const c = pair(&f, "c", conv(&f, "c", first), 1.0f, 1);
    const char *const sum = op(&f, "Add", "sum", c, second);
    const char *const d = pair(&f, "sum", sum, 4.0f, 4), *const e = pair(&f, "b", b, 8.0f, 8);
    tail(&f, pair(&f, "sum2", op(&f, "Add", "sum2", d, e), 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_operators(q, "input conv+relu conv add conv add avgpool dense");
    assert_int_equal(q->nodes[3].src[0], 2);
    assert_int_equal(q->nodes[3].src[1], 1);
    assert_int_equal(q->nodes[4].src[0], 0);
    qb_qgraph_free(q);
}

static void two_scales_of_one_tensor(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const a = conv(&f, "a", pair(&f, "image", "x", 1.0f, 0));
    const char *const sum = op(&f, "Add", "sum", pair(&f, "a", a, 1.5f, 3), pair(&f, "a2", a, 1.5f, 4));
    tail(&f, pair(&f, "sum", sum, 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_operators(q, "input conv conv add avgpool dense");
    assert_string_equal(q->nodes[1].name, "conv");
    assert_string_equal(q->nodes[2].name, "conv_2");
    assert_int_equal(q->nodes[1].q.zero_point, 3);
    assert_int_equal(q->nodes[2].q.zero_point, 4);
    assert_int_equal(q->nodes[3].src[0], 1);
    assert_int_equal(q->nodes[3].src[1], 2);
    qb_qgraph_free(q);
}

static void one_tensor_with_and_without_relu(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const a = conv(&f, "a", pair(&f, "image", "x", 1.0f, 0));
    const char *const r = pair(&f, "r", op(&f, "Relu", "r", a, NULL), 1.5f, 3);
    const char *const sum = op(&f, "Add", "sum", pair(&f, "a", a, 1.5f, 3), r);
    tail(&f, pair(&f, "sum", sum, 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_operators(q, "input conv+relu conv add avgpool dense");
    qb_qgraph_free(q);
}

/* The image has two more scales, one of them three times; readers share what is equal. */
static struct file scales_changed(void)
{
    struct file f = begin();
    const char *const x = pair(&f, "one", "x", 1.0f, 0);
    const char *const a = pair(&f, "a", conv(&f, "a", pair(&f, "two", x, 1.5f, 0)), 2.0f, 10);
    const char *const b = pair(&f, "b", conv(&f, "b", pair(&f, "three", x, 1.5f, 7)), 2.0f, 10);
    const char *const c = pair(&f, "c", conv(&f, "c", pair(&f, "four", x, 1.5f, 0)), 2.0f, 10);
    const char *const sum = pair(&f, "sum", op(&f, "Add", "sum", a, b), 2.0f, 10);
    tail(&f, pair(&f, "last", op(&f, "Add", "last", sum, c), 2.0f, 10));
    return f;
}

static void scale_changed_on_the_way(void **state)
{
    (void)state;
    struct file f = scales_changed();
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ONEDNN);
    assert_operators(q, "input quantize conv quantize conv add conv add avgpool dense");
    assert_string_equal(q->nodes[1].name, "quantize_input");
    assert_string_equal(q->nodes[3].name, "quantize_input_2");
    assert_true(q->nodes[3].q.scale == 1.5f && q->nodes[3].q.zero_point == 7);
    assert_int_equal(q->nodes[6].src[0], 1);
    qb_qgraph_free(q);
    struct qb_error err;
    struct qb_qgraph *none = NULL;
    f = scales_changed();
    qbt_error(read_file(&f, "y", QB_ARITHMETIC_ORT, &none, &err), QB_EUNSUPPORTED, &err,
              "node 'one.dq' (DequantizeLinear): its values are quantized again");
}

/* image -> a (pair) -> b -> sum with a. */
static struct file residual(void)
{
    struct file f = begin();
    const char *const a = pair(&f, "a", conv(&f, "a", pair(&f, "image", "x", 1.0f, 0)), 1.5f, 3);
    const char *const sum = op(&f, "Add", "sum", a, conv(&f, "b", a));
    tail(&f, pair(&f, "sum", op(&f, "Relu", "r", sum, NULL), 2.0f, 10));
    return f;
}

static void addition_in_a_convolution(void **state)
{
    (void)state;
    struct file f = residual();
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ONEDNN);
    assert_operators(q, "input conv conv+relu+add avgpool dense");
    assert_string_equal(q->nodes[2].name, "add");
    assert_int_equal(q->nodes[2].src[0], 1);
    assert_int_equal(q->nodes[2].src[1], 1);
    assert_int_equal(q->nodes[2].wei[3], 4);
    qb_qgraph_free(q);
}

/* Elsewhere the convolution's own output has no codes. */
static void float_addition(void **state)
{
    (void)state;
    struct file f = residual();
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_operators(q, "input conv dequantize conv add relu quantize avgpool dense");
    qb_qgraph_free(q);
}

static void merged_convolution_with_another_reader(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const x = pair(&f, "image", "x", 1.0f, 0), *const a = conv(&f, "a", x);
    const char *const sum = pair(&f, "sum", op(&f, "Add", "sum", a, x), 1.0f, 0);
    tail(&f, pair(&f, "sum2", op(&f, "Add", "sum2", sum, a), 2.0f, 10));
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_ONEDNN);
    assert_operators(q, "input dequantize conv add quantize dequantize add quantize avgpool dense");
    qb_qgraph_free(q);
}

static void softmax_at_the_end(void **state)
{
    (void)state;
    struct file f = begin();
    const char *const logits = tail(&f, pair(&f, "image", "x", 2.0f, 10));
    pair(&f, "softmax", op(&f, "Softmax", "softmax", logits, NULL), 1.0f / 256, 0);
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_operators(q, "input avgpool dense");
    qb_qgraph_free(q);
}

static void float_models(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *graph = NULL;
    struct qb_qgraph *out = NULL;
    qbt_ok(qb_model_load(qbt_source("models/resnet8.onnx"), &graph, &err), &err);
    qbt_error(qb_qdq_read(graph, QB_ARITHMETIC_FBGEMM, &out, &err), QB_EINPUT, &err, "a float model");
    qb_graph_free(graph);
}

/* An image behind which a pool and a dense layer follow, and one entry of metadata. */
static struct file with_metadata(const char *key, const char *value)
{
    struct file f = begin();
    tail(&f, pair(&f, "image", "x", 2.0f, 10));
    f.metadata[f.metadata_count++] = (struct qb_metadata){key, value};
    return f;
}

static void metadata_by_hand(void **state)
{
    (void)state;
    struct file f = with_metadata("qbench.arithmetic", "onednn");
    f.metadata[f.metadata_count++] = (struct qb_metadata){"qbench.scheme", "mine"};
    f.metadata[f.metadata_count++] = (struct qb_metadata){"qbench.accumulate", "maddubs"};
    f.metadata[f.metadata_count++] = (struct qb_metadata){
        "qbench.nodes",
        "[{\"name\":\"in\",\"src\":[],\"range\":[0,127]},{\"name\":\"pool\",\"src\":[0],\"range\":[1,2]},"
        "{\"name\":\"fc\",\"src\":[1],\"range\":[0,255]}]"};
    struct qb_qgraph *const q = understood(&f, QB_ARITHMETIC_FBGEMM);
    assert_int_equal(q->arithmetic, QB_ARITHMETIC_ONEDNN);
    assert_int_equal(q->accumulate, QB_ACCUMULATE_MADDUBS_PAD4);
    assert_string_equal(q->scheme, "mine");
    assert_string_equal(q->nodes[0].name, "in");
    assert_int_equal(q->nodes[0].q.quant_max, 127);
    assert_string_equal(q->nodes[2].name, "fc");
    qb_qgraph_free(q);
}

static void metadata_that_does_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *needle;
    } cases[] = {
        {"qbench.qgraph_hash", "0123456789abcdef", "checksum"},
        {"qbench.checksum", "0123456789abcdef", "qbench.version is missing"},
        {"qbench.version", "0.1.0", "qbench.scheme is missing"},
        {"qbench.nodes", "[", "JSON"},
        {"qbench.nodes", "{}", "list of the 3 nodes"},
        {"qbench.nodes", "[1,2]", "list of the 3 nodes"},
        {"qbench.nodes", "[1,2,3]", "has no name"},
        {"qbench.nodes", "[{\"name\":\"in\",\"src\":[],\"range\":[0,300]},0,0]", "range"},
        {"qbench.nodes", "[{\"name\":\"in\",\"src\":[],\"range\":[9,9]},0,0]", "range"},
        {"qbench.nodes", "[{\"name\":\"in\",\"src\":[],\"range\":[0]},0,0]", "range"},
        {"qbench.nodes", "[{\"name\":\"in\",\"src\":[1],\"range\":[0,1]},0,0]", "not in the file"},
        {"qbench.nodes", "[{\"name\":\"pool\",\"src\":[0],\"range\":[0,1]},0,0]", "comes before them"},
        {"qbench.nodes",
         "[{\"name\":\"in\",\"src\":[],\"range\":[0,1]},{\"name\":\"pool\",\"src\":[4294967296]},0]",
         "other sources"},
        {"qbench.nodes", "[{\"name\":\"in\",\"src\":[],\"range\":[0,1]},{\"name\":\"pool\",\"src\":[0,0]},0]",
         "other sources"},
        {"qbench.nodes", "[{\"name\":\"in\",\"src\":[],\"range\":[0,1]},{\"name\":\"in\",\"src\":[]},0]",
         "not in the file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file f = with_metadata(cases[i].key, cases[i].value);
        refused(&f, QB_EINPUT, cases[i].needle, "metadata: ");
    }
    struct file f = with_metadata("qbench.arithmetic", "abacus");
    refused(&f, QB_EUNSUPPORTED, "abacus", "qbench.arithmetic");
    f = with_metadata("qbench.accumulate", "abacus");
    refused(&f, QB_EUNSUPPORTED, "abacus", "one of exact, maddubs, maddubs_khwc, maddubs_pad4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relu_before_the_pair_is_fused),
        cmocka_unit_test(relu_behind_the_pair_is_a_node),
        cmocka_unit_test(relu_with_a_scale_of_its_own),
        cmocka_unit_test(pool_with_a_scale_of_its_own),
        cmocka_unit_test(no_pair_between_two_layers),
        cmocka_unit_test(no_pair_behind_the_image),
        cmocka_unit_test(no_pair_behind_the_dense_layer),
        cmocka_unit_test(float_end),
        cmocka_unit_test(float_pool),
        cmocka_unit_test(float_normalization),
        cmocka_unit_test(float_bias),
        cmocka_unit_test(bad_affine),
        cmocka_unit_test(float_weights),
        cmocka_unit_test(other_types),
        cmocka_unit_test(a_pair_for_each_reader),
        cmocka_unit_test(two_scales_of_one_tensor),
        cmocka_unit_test(one_tensor_with_and_without_relu),
        cmocka_unit_test(scale_changed_on_the_way),
        cmocka_unit_test(addition_in_a_convolution),
        cmocka_unit_test(float_addition),
        cmocka_unit_test(merged_convolution_with_another_reader),
        cmocka_unit_test(softmax_at_the_end),
        cmocka_unit_test(float_models),
        cmocka_unit_test(metadata_by_hand),
        cmocka_unit_test(metadata_that_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
