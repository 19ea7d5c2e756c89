/* Shared parts of the tests of QDQ files: see qdq_testing.h. */
#include "qdq_testing.h"

#include "quant/qdq.h"
#include "quant_testing.h"
#include "testing.h"

struct qb_qgraph *qbt_quantized(const struct qb_graph *graph, const struct qb_scheme *scheme)
{
    struct qb_error err;
    struct qb_qgraph *out = NULL;
    const struct qb_qparams_table activations = qbt_numbered_qparams(graph, scheme);
    qbt_ok(qb_quantize(graph, scheme, &activations, "calibration", &out, &err), &err);
    return out;
}

struct qb_qgraph *qbt_write_and_read(const struct qb_qgraph *graph, const char *path)
{
    struct qb_error err;
    struct qb_graph *file = NULL;
    struct qb_qgraph *out = NULL;
    qbt_ok(qb_qdq_write(graph, path, &err), &err);
    qbt_ok(qb_model_load(path, &file, &err), &err);
    qbt_ok(qb_qdq_read(file, QB_ARITHMETIC_FBGEMM, &out, &err), &err);
    qb_graph_free(file);
    return out;
}

/* Codes, zero points and biases that differ everywhere. */
static void give_weights(struct qb_qgraph *graph, struct qb_qnode *node, int oc, int ic, int taps)
{
    const size_t count = (size_t)(oc * ic * taps);
    int8_t *const wei = qb_arena_array(graph->arena, count, 1);
    int32_t *const zeros = qb_arena_array(graph->arena, (size_t)oc, sizeof *zeros);
    float *const scales = qb_arena_array(graph->arena, (size_t)oc, sizeof *scales), *const bia =
                                                                                        qb_arena_array(
                                                                                            graph->arena,
                                                                                            (size_t)oc,
                                                                                            sizeof *bia);
    for (size_t i = 0; i < count; i++) {
        wei[i] = (int8_t)(i % 256 - 128);
    }
    for (int k = 0; k < oc; k++) {
        zeros[k] = k - 2;
        scales[k] = 0.01f * (float)(k + 1);
        bia[k] = 0.3f * (float)k - 1;
    }
    node->ic = ic;
    node->oc = oc;
    node->wei = wei;
    node->wei_dtype = QB_QUINT8;
    node->wei_scale_count = oc;
    node->wei_scales = scales;
    node->wei_zero_points = zeros;
    node->bia = bia;
}

struct qb_qgraph *qbt_odd_qgraph(void)
{
    enum { COUNT = 6 };
    struct qb_arena *const arena = qb_arena_create();
    struct qb_qgraph *const q = qb_arena_array(arena, 1, sizeof *q);
    struct qb_qnode *const n = qb_arena_array(arena, COUNT, sizeof *n);
    *q = (struct qb_qgraph){.arena = arena,
                            .scheme = "odd",
                            .arithmetic = QB_ARITHMETIC_FBGEMM,
                            .nodes = n,
                            .count = COUNT,
                            .model_sha256 = "",
                            .calibration_hash = "",
                            .refinement = "first line\nsecond line"};
    const struct qb_shape shapes[COUNT] = {{6, 8, 2}, {3, 4, 3}, {2, 3, 3}, {1, 1, 5}, {1, 1, 5}, {1, 1, 1}};
    const enum qb_qop ops[COUNT] = {QB_QOP_INPUT, QB_QOP_CONV, QB_QOP_AVGPOOL,
                                    QB_QOP_DENSE, QB_QOP_RELU, QB_QOP_DENSE};
    for (int i = 0; i < COUNT; i++) {
        n[i] = (struct qb_qnode){.op = ops[i],
                                 .name = qb_arena_printf(arena, "node %d", i),
                                 .src = {i - 1, -1},
                                 .dst = shapes[i],
                                 .q = {.scale = 0.5f + (float)i,
                                       .zero_point = 3 * i,
                                       .dtype = QB_QUINT8,
                                       .quant_min = 0,
                                       .quant_max = 255}};
    }
    n[2].q = n[1].q;
    n[4].q = n[3].q;
    n[1].kh = 2, n[1].kw = 3, n[1].stride_h = n[1].stride_w = 2;
    n[1].pad_t = 0, n[1].pad_l = 1, n[1].pad_b = 1, n[1].pad_r = 0;
    n[2].kh = n[2].kw = 2, n[2].stride_h = n[2].stride_w = 1;
    give_weights(q, &n[1], 3, 2, 6);
    give_weights(q, &n[3], 5, 18, 1);
    give_weights(q, &n[5], 1, 5, 1);
    return q;
}

static void give_constant(struct qb_qgraph *graph, struct qb_qnode *node, int channels)
{
    uint8_t *const codes = qb_arena_array(graph->arena, (size_t)channels, 1);
    for (int k = 0; k < channels; k++) {
        codes[k] = (uint8_t)(250 - 77 * k);
    }
    node->codes = codes;
}

static void give_integer_bias(struct qb_qgraph *graph, struct qb_qnode *node)
{
    int32_t *const codes = qb_arena_array(graph->arena, (size_t)node->oc, sizeof *codes);
    float *const bia = qb_arena_array(graph->arena, (size_t)node->oc, sizeof *bia);
    for (int k = 0; k < node->oc; k++) {
        codes[k] = 12345 * k - 23456;
    }
    node->bia_codes = codes;
    qb_bia_of_codes(node, graph->nodes[node->src[0]].q.scale, bia);
    node->bia = bia;
}

struct qb_qgraph *qbt_ort_qgraph(void)
{
    enum { INPUT, CONV, FACTOR, PRODUCT, RELU, POOL, DENSE, ADDEND, SUM, COUNT };
    static const struct {
        enum qb_qop op;
        int src[2];
        struct qb_shape dst;
    } rows[COUNT] = {
        {QB_QOP_INPUT, {-1, -1}, {6, 8, 2}},      {QB_QOP_CONV, {INPUT, -1}, {3, 4, 3}},
        {QB_QOP_CONSTANT, {-1, -1}, {1, 1, 3}},   {QB_QOP_MUL, {CONV, FACTOR}, {3, 4, 3}},
        {QB_QOP_RELU, {PRODUCT, -1}, {3, 4, 3}},  {QB_QOP_AVGPOOL, {RELU, -1}, {2, 3, 3}},
        {QB_QOP_DENSE, {POOL, -1}, {1, 1, 5}},    {QB_QOP_CONSTANT, {-1, -1}, {1, 1, 5}},
        {QB_QOP_ADD, {DENSE, ADDEND}, {1, 1, 5}},
    };
    struct qb_arena *const arena = qb_arena_create();
    struct qb_qgraph *const q = qb_arena_array(arena, 1, sizeof *q);
    struct qb_qnode *const n = qb_arena_array(arena, COUNT, sizeof *n);
    *q = (struct qb_qgraph){.arena = arena,
                            .scheme = "ort",
                            .arithmetic = QB_ARITHMETIC_ORT,
                            .nodes = n,
                            .count = COUNT,
                            .model_sha256 = "",
                            .calibration_hash = ""};
    for (int i = 0; i < COUNT; i++) {
        n[i] = (struct qb_qnode){.op = rows[i].op,
                                 .name = qb_arena_printf(arena, "node %d", i),
                                 .src = {rows[i].src[0], rows[i].src[1]},
                                 .dst = rows[i].dst,
                                 .q = {.scale = 0.5f + (float)i,
                                       .zero_point = 3 * i,
                                       .dtype = QB_QINT8,
                                       .quant_min = -128,
                                       .quant_max = 127}};
    }
    n[CONV].kh = 2, n[CONV].kw = 3, n[CONV].stride_h = n[CONV].stride_w = 2;
    n[CONV].pad_l = n[CONV].pad_b = 1;
    n[POOL].kh = n[POOL].kw = 2, n[POOL].stride_h = n[POOL].stride_w = 1;
    n[SUM].relu = true;
    give_weights(q, &n[CONV], 3, 2, 6);
    give_weights(q, &n[DENSE], 5, 18, 1);
    give_integer_bias(q, &n[CONV]);
    give_integer_bias(q, &n[DENSE]);
    give_constant(q, &n[FACTOR], 3);
    give_constant(q, &n[ADDEND], 5);
    return q;
}
