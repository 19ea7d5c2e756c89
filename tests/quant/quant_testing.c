/* Shared parts of the tests of src/quant: see quant_testing.h. */
#include "quant_testing.h"

#include <string.h>

#include "testing.h"

void qbt_uniform(uint32_t seed, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        seed = 1664525u * seed + 1013904223u;
        out[i] = (float)(seed >> 8) * 0x1p-24f;
    }
}

void qbt_small_batch(int b, bool relu, float out[QBT_SMALL])
{
    static float second[QBT_SMALL];
    qbt_uniform(1000u + (uint32_t)b, out, QBT_SMALL);
    qbt_uniform(5000u + (uint32_t)b, second, QBT_SMALL);
    for (int i = 0; i < QBT_SMALL; i++) {
        out[i] = ((out[i] + second[i]) - 1.0f) * 2.0f * (1.0f + 0.5f * (float)b);
    }
    out[0] = 10.0f + (float)b;
    for (int i = 0; i < QBT_SMALL && relu; i++) {
        out[i] = out[i] > 0 ? out[i] : 0;
    }
}

static int add(struct qb_graph *graph, enum qb_op op, const char *name, int a, int b, struct qb_shape dst)
{
    struct qb_node *const node = &graph->nodes[graph->count];
    *node = (struct qb_node){.op = op, .name = name, .src = {a, b}, .dst = dst};
    return graph->count++;
}

static void give_weights(struct qb_graph *graph, int i)
{
    struct qb_node *const node = &graph->nodes[i];
    const size_t taps = node->op == QB_OP_CONV ? (size_t)(node->kh * node->kw) : 1;
    const size_t count = (size_t)node->oc * (size_t)node->ic * taps;
    float *const wei = qb_arena_array(graph->arena, count, sizeof *wei);
    float *const bia = qb_arena_array(graph->arena, (size_t)node->oc, sizeof *bia);
    qbt_uniform(100u + (uint32_t)i, wei, count);
    qbt_uniform(200u + (uint32_t)i, bia, (size_t)node->oc);
    for (size_t k = 0; k < count; k++) {
        wei[k] -= 0.5f;
    }
    node->wei = wei;
    node->bia = bia;
}

static int conv(struct qb_graph *graph, const char *name, int src, int oc, int kernel, int stride)
{
    const struct qb_shape in = graph->nodes[src].dst;
    const struct qb_shape out = {in.h / stride, in.w / stride, oc};
    const int i = add(graph, QB_OP_CONV, name, src, -1, out);
    struct qb_node *const node = &graph->nodes[i];
    node->kh = node->kw = kernel;
    node->stride_h = node->stride_w = stride;
    node->pad_t = node->pad_l = kernel == 3 && stride == 1;
    node->pad_b = node->pad_r = kernel == 3;
    node->ic = in.c;
    node->oc = oc;
    give_weights(graph, i);
    return i;
}

static int relu(struct qb_graph *graph, const char *name, int src)
{
    return add(graph, QB_OP_RELU, name, src, -1, graph->nodes[src].dst);
}

struct qb_graph *qbt_resnet8(void)
{
    struct qb_arena *const arena = qb_arena_create();
    struct qb_graph *const g = qb_arena_array(arena, 1, sizeof *g);
    g->arena = arena;
    g->path = "resnet8-by-hand";
    memset(g->sha256, 'a', sizeof g->sha256 - 1);
    g->nodes = qb_arena_array(arena, 32, sizeof *g->nodes);
    const int input = add(g, QB_OP_INPUT, "input", -1, -1, (struct qb_shape){32, 32, 3});
    const int a = relu(g, "relu", conv(g, "conv", input, 16, 3, 1));
    const int a1 = relu(g, "relu_1", conv(g, "conv_1", a, 16, 3, 1));
    const int a2 = conv(g, "conv_2", a1, 16, 3, 1);
    const int b = relu(g, "relu_2", add(g, QB_OP_ADD, "add", a2, a, g->nodes[a].dst));
    const int b3 = relu(g, "relu_3", conv(g, "conv_3", b, 32, 3, 2));
    const int b4 = conv(g, "conv_4", b3, 32, 3, 1);
    const int b5 = conv(g, "conv_5", b, 32, 1, 2);
    const int c = relu(g, "relu_4", add(g, QB_OP_ADD, "add_1", b4, b5, g->nodes[b5].dst));
    const int c6 = relu(g, "relu_5", conv(g, "conv_6", c, 64, 3, 2));
    const int c7 = conv(g, "conv_7", c6, 64, 3, 1);
    const int c8 = conv(g, "conv_8", c, 64, 1, 2);
    const int d = relu(g, "relu_6", add(g, QB_OP_ADD, "add_2", c7, c8, g->nodes[c8].dst));
    const int pool = add(g, QB_OP_AVGPOOL, "avgpool", d, -1, (struct qb_shape){1, 1, 64});
    g->nodes[pool].kh = g->nodes[pool].kw = g->nodes[pool].stride_h = g->nodes[pool].stride_w = 8;
    const int dense = add(g, QB_OP_DENSE, "dense", pool, -1, (struct qb_shape){1, 1, 10});
    g->nodes[dense].ic = 64;
    g->nodes[dense].oc = 10;
    give_weights(g, dense);
    add(g, QB_OP_SOFTMAX, "softmax", dense, -1, g->nodes[dense].dst);
    return g;
}

int qbt_node(const struct qb_graph *graph, const char *name)
{
    for (int i = 0; i < graph->count; i++) {
        if (strcmp(graph->nodes[i].name, name) == 0) {
            return i;
        }
    }
    fail_msg("no node \"%s\"", name);
    return -1;
}

struct qb_scheme qbt_fbgemm(void)
{
    return (struct qb_scheme){
        .name = "fbgemm",
        .path = "fbgemm.yaml",
        .weights = {.observer = "per_channel_minmax", .dtype = QB_QINT8, .symmetric = true},
        .activations = {.observer = "histogram", .dtype = QB_QUINT8, .reduce_range = true},
        .fuse = QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU,
        .arithmetic = QB_ARITHMETIC_FBGEMM,
    };
}

struct qb_qparams_table qbt_numbered_qparams(const struct qb_graph *graph, const struct qb_scheme *scheme)
{
    struct qb_error err;
    struct qb_calibration *calibration;
    qbt_ok(qb_calibration_create(graph, scheme, &calibration, &err), &err);
    const size_t count = (size_t)graph->count;
    struct qb_qparams_table table;
    qbt_ok(qb_qparams_table_make(count, graph->arena, &table, &err), &err);
    for (int i = 0; i < graph->count; i++) {
        table.set[i] = qb_calibration_wants(calibration, i);
        table.inner_set[i] = true;
        table.q[i] = (struct qb_qparams){.scale = 0.0625f * (float)(i + 1),
                                         .zero_point = i + 1,
                                         .dtype = scheme->activations.dtype,
                                         .quant_max = 127};
        table.inner[i] = (struct qb_qparams){.scale = 0.05f * (float)(i + 1),
                                             .zero_point = i + 2,
                                             .dtype = scheme->activations.dtype,
                                             .quant_max = 127};
    }
    qb_calibration_free(calibration);
    return table;
}

void qbt_cubic_batch(int b, bool relu, float out[QBT_CUBIC])
{
    static const uint32_t seeds[] = {11, 22, 33};
    static const float factors[] = {1.0f, 1.2f, 1.1f};
    static float u[4][QBT_CUBIC];
    for (uint32_t s = 0; s < 4; s++) {
        qbt_uniform(seeds[b] + s, u[s], QBT_CUBIC);
    }
    for (int i = 0; i < QBT_CUBIC; i++) {
        const float t = ((((u[0][i] + u[1][i]) + u[2][i]) + u[3][i]) - 2) * factors[b];
        out[i] = t * t * t;
        if (relu && !(out[i] > 0)) {
            out[i] = 0;
        }
    }
}
