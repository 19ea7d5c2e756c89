/* Golden cases as graphs: see golden.h. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { MAX_NODES = 32 };

/* ResNet8 as a list of operators; `src` are names. Fused cases have no RELU entries: the flag is on the line
 * before. */
struct line {
    enum qb_qop op;
    const char *name, *src[2];
    int kernel, stride, pad_before, pad_after, in, out, size; /* size: height and width of the result */
    const char *relu;                                         /* name of the ReLU behind it, NULL: none */
};
static const struct line resnet8[] = {
    {QB_QOP_INPUT, "input", {NULL, NULL}, 0, 0, 0, 0, 0, 3, 32, NULL},
    {QB_QOP_CONV, "conv", {"input", NULL}, 3, 1, 1, 1, 3, 16, 32, "relu"},
    {QB_QOP_CONV, "conv_1", {"relu", NULL}, 3, 1, 1, 1, 16, 16, 32, "relu_1"},
    {QB_QOP_CONV, "conv_2", {"relu_1", NULL}, 3, 1, 1, 1, 16, 16, 32, NULL},
    {QB_QOP_ADD, "add", {"relu", "conv_2"}, 0, 0, 0, 0, 16, 16, 32, "relu_add"},
    {QB_QOP_CONV, "conv_3", {"relu_add", NULL}, 3, 2, 0, 1, 16, 32, 16, "relu_3"},
    {QB_QOP_CONV, "conv_4", {"relu_3", NULL}, 3, 1, 1, 1, 32, 32, 16, NULL},
    {QB_QOP_CONV, "conv_5", {"relu_add", NULL}, 1, 2, 0, 0, 16, 32, 16, NULL},
    {QB_QOP_ADD, "add_1", {"conv_5", "conv_4"}, 0, 0, 0, 0, 32, 32, 16, "relu_add_1"},
    {QB_QOP_CONV, "conv_6", {"relu_add_1", NULL}, 3, 2, 0, 1, 32, 64, 8, "relu_6"},
    {QB_QOP_CONV, "conv_7", {"relu_6", NULL}, 3, 1, 1, 1, 64, 64, 8, NULL},
    {QB_QOP_CONV, "conv_8", {"relu_add_1", NULL}, 1, 2, 0, 0, 32, 64, 8, NULL},
    {QB_QOP_ADD, "add_2", {"conv_8", "conv_7"}, 0, 0, 0, 0, 64, 64, 8, "relu_add_2"},
    {QB_QOP_AVGPOOL, "avgpool", {"relu_add_2", NULL}, 8, 8, 0, 0, 64, 64, 1, NULL},
    {QB_QOP_DENSE, "dense", {"avgpool", NULL}, 0, 0, 0, 0, 64, 10, 1, NULL},
};
enum { LINES = sizeof resnet8 / sizeof resnet8[0] };

/* A .npy of the case with the wanted type and element count, copied into the arena. */
static enum qb_status load_array(const char *folder, const char *layer, const char *what,
                                 enum qb_npy_type type, size_t count, struct qb_arena *arena,
                                 const void **out, struct qb_error *err)
{
    char path[4096];
    struct qb_npy npy;
    snprintf(path, sizeof path, "%s/%s.%s.npy", folder, layer, what);
    QB_TRY(qb_npy_read(path, &npy, err));
    enum qb_status status = QB_OK;
    if (npy.type != type || npy.count != count) {
        status = qb_fail(err, QB_EINPUT, "%s: unexpected type or %zu elements instead of %zu", path,
                         npy.count, count);
    } else if (!(*out = qb_arena_memdup(arena, npy.data, count * qb_npy_element_size(type)))) {
        status = qb_fail_memory(err, count);
    }
    qb_npy_free(&npy);
    return status;
}

static size_t line_weights(const struct line *line)
{
    const size_t taps = line->op == QB_QOP_CONV ? (size_t)(line->kernel * line->kernel) : 1;
    return taps * (size_t)line->in * (size_t)line->out;
}

/* "0x1.8p-1" under `key` of `object`. */
static float hex_float(const json_t *text)
{
    return json_is_string(text) ? strtof(json_string_value(text), NULL) : NAN;
}

/* scales_hex and zero_points of a layer. */
static enum qb_status load_scales(const json_t *layer, struct qb_arena *arena, struct qb_qnode *node,
                                  struct qb_error *err)
{
    const json_t *const scales = json_object_get(layer, "scales_hex"), *const zeros = json_object_get(
                                                                           layer, "zero_points");
    const size_t count = json_array_size(scales);
    float *const scale = qb_arena_array(arena, count, sizeof *scale);
    int32_t *const zero = qb_arena_array(arena, count, sizeof *zero);
    if (!scale || !zero || count == 0 || json_array_size(zeros) != count) {
        return qb_fail(err, QB_EINPUT, "manifest: layer %s without scales or zero points", node->name);
    }
    for (size_t i = 0; i < count; i++) {
        scale[i] = hex_float(json_array_get(scales, i));
        zero[i] = (int32_t)json_integer_value(json_array_get(zeros, i));
    }
    node->wei_scale_count = (int)count;
    node->wei_scales = scale;
    node->wei_zero_points = zero;
    return QB_OK;
}

static enum qb_status load_node(const char *folder, const json_t *manifest, const struct line *line,
                                struct qb_arena *arena, struct qb_qnode *node, struct qb_error *err)
{
    const json_t *const observer = json_object_get(json_object_get(manifest, "observers"), line->name);
    if (observer) {
        node->q = (struct qb_qparams){
            .scale = hex_float(json_object_get(observer, "scale_hex")),
            .zero_point = (int32_t)json_integer_value(json_object_get(observer, "zero_point")),
            .dtype = QB_QUINT8,
            .quant_min = (int32_t)json_integer_value(json_object_get(observer, "qmin")),
            .quant_max = (int32_t)json_integer_value(json_object_get(observer, "qmax")),
        };
    }
    node->op = line->op;
    node->name = line->name;
    node->dst = (struct qb_shape){line->size, line->size, line->out};
    node->kh = node->kw = line->kernel;
    node->stride_h = node->stride_w = line->stride;
    node->pad_t = node->pad_l = line->pad_before;
    node->pad_b = node->pad_r = line->pad_after;
    if (line->op != QB_QOP_CONV && line->op != QB_QOP_DENSE) {
        return QB_OK;
    }
    node->ic = line->in;
    node->oc = line->out;
    node->wei_dtype = QB_QINT8;
    const void *wei, *bia;
    QB_TRY(load_array(folder, line->name, "weight", QB_NPY_I8, line_weights(line), arena, &wei, err));
    QB_TRY(load_array(folder, line->name, "bias", QB_NPY_F32, (size_t)line->out, arena, &bia, err));
    node->wei = wei;
    node->bia = bia;
    return load_scales(json_object_get(json_object_get(manifest, "layers"), line->name), arena, node, err);
}

static enum qb_status build(const char *folder, const json_t *manifest, struct golden_case *g,
                            struct qb_error *err)
{
    struct qb_qnode *const nodes = qb_arena_array(g->arena, MAX_NODES, sizeof *nodes);
    if (!nodes) {
        return qb_fail_memory(err, MAX_NODES * sizeof *nodes);
    }
    const bool fused = json_is_true(json_object_get(manifest, "fused"));
    const char *produced[MAX_NODES]; /* the name under which lines refer to node i */
    int count = 0;
    for (int i = 0; i < LINES; i++) {
        const struct line *const line = &resnet8[i];
        struct qb_qnode *const node = &nodes[count];
        node->src[0] = node->src[1] = -1;
        for (int s = 0; s < 2 && line->src[s]; s++) {
            for (int k = 0; k < count; k++) {
                node->src[s] = strcmp(produced[k], line->src[s]) == 0 ? k : node->src[s];
            }
        }
        QB_TRY(load_node(folder, manifest, line, g->arena, node, err));
        if (line->op == QB_QOP_AVGPOOL) {
            node->q = nodes[node->src[0]].q;
        }
        node->relu = fused && line->relu;
        produced[count++] = node->relu ? line->relu : line->name;
        if (line->relu && !fused) {
            nodes[count] = (struct qb_qnode){.op = QB_QOP_RELU,
                                             .name = line->relu,
                                             .src = {count - 1, -1},
                                             .dst = node->dst,
                                             .q = node->q};
            produced[count++] = line->relu;
        }
    }
    g->qgraph = (struct qb_qgraph){.arena = g->arena,
                                   .scheme = "golden",
                                   .arithmetic = QB_ARITHMETIC_FBGEMM,
                                   .nodes = nodes,
                                   .count = count,
                                   .model_sha256 = "",
                                   .calibration_hash = ""};
    return QB_OK;
}

enum qb_status golden_load(const char *folder, bool vnni, struct golden_case *out, struct qb_error *err)
{
    char path[4096];
    json_error_t bad;
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    json_t *const manifest = json_load_file(path, 0, &bad);
    if (!manifest) {
        return qb_fail(err, QB_EINPUT, "%s: %s", path, bad.text);
    }
    struct golden_case g = {.arena = qb_arena_create()};
    enum qb_status status = g.arena ? build(folder, manifest, &g, err) : qb_fail_memory(err, 1);
    if (status == QB_OK) {
        const json_t *const native = vnni ? json_object_get(manifest, "native_run") : NULL;
        const json_t *const run = native ? native : manifest;
        const char *const sha = json_string_value(json_object_get(run, "logits_sha256"));
        g.correct = (int)json_integer_value(json_object_get(run, "correct"));
        snprintf(g.logits_sha256, sizeof g.logits_sha256, "%s", sha ? sha : "");
        *out = g;
    } else {
        qb_arena_destroy(g.arena);
    }
    json_decref(manifest);
    return status;
}

void golden_free(struct golden_case *golden)
{
    qb_arena_destroy(golden->arena);
    *golden = (struct golden_case){0};
}

static enum qb_status build_float(const char *folder, struct golden_float *g, struct qb_error *err)
{
    static const enum qb_op ops[] = {
        [QB_QOP_INPUT] = QB_OP_INPUT, [QB_QOP_CONV] = QB_OP_CONV, [QB_QOP_DENSE] = QB_OP_DENSE,
        [QB_QOP_ADD] = QB_OP_ADD,     [QB_QOP_RELU] = QB_OP_RELU, [QB_QOP_AVGPOOL] = QB_OP_AVGPOOL};
    struct qb_node *const nodes = qb_arena_array(g->arena, MAX_NODES, sizeof *nodes);
    if (!nodes) {
        return qb_fail_memory(err, MAX_NODES * sizeof *nodes);
    }
    int count = 0;
    for (int i = 0; i < LINES; i++) {
        const struct line *const line = &resnet8[i];
        struct qb_node *const node = &nodes[count];
        *node = (struct qb_node){.op = ops[line->op],
                                 .name = line->name,
                                 .source_name = line->name,
                                 .src = {-1, -1},
                                 .dst = {line->size, line->size, line->out},
                                 .kh = line->kernel,
                                 .kw = line->kernel,
                                 .stride_h = line->stride,
                                 .stride_w = line->stride,
                                 .pad_t = line->pad_before,
                                 .pad_l = line->pad_before,
                                 .pad_b = line->pad_after,
                                 .pad_r = line->pad_after,
                                 .ic = line->in,
                                 .oc = line->out};
        for (int s = 0; s < 2 && line->src[s]; s++) {
            for (int k = 0; k < count; k++) {
                node->src[s] = strcmp(nodes[k].name, line->src[s]) == 0 ? k : node->src[s];
            }
        }
        if (line->op == QB_QOP_CONV || line->op == QB_QOP_DENSE) {
            const void *wei, *bia;
            QB_TRY(load_array(folder, line->name, "weight", QB_NPY_F32, line_weights(line), g->arena, &wei,
                              err));
            QB_TRY(
                load_array(folder, line->name, "bias", QB_NPY_F32, (size_t)line->out, g->arena, &bia, err));
            node->wei = wei;
            node->bia = bia;
        }
        count++;
        if (line->relu) {
            nodes[count] = (struct qb_node){.op = QB_OP_RELU,
                                            .name = line->relu,
                                            .source_name = line->relu,
                                            .src = {count - 1, -1},
                                            .dst = node->dst};
            count++;
        }
    }
    g->graph = (struct qb_graph){.arena = g->arena, .path = folder, .nodes = nodes, .count = count};
    return QB_OK;
}

enum qb_status golden_float_load(const char *folder, struct golden_float *out, struct qb_error *err)
{
    struct golden_float g = {.arena = qb_arena_create()};
    const enum qb_status status = g.arena ? build_float(folder, &g, err) : qb_fail_memory(err, 1);
    if (status == QB_OK) {
        *out = g;
    } else {
        qb_arena_destroy(g.arena);
    }
    return status;
}

void golden_float_free(struct golden_float *golden)
{
    qb_arena_destroy(golden->arena);
    *golden = (struct golden_float){0};
}
