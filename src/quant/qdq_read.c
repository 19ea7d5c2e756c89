/* qb_qdq_read: a float graph with QUANTIZE and DEQUANTIZE nodes becomes an integer graph (qdq.h).
 *
 * Every QUANTIZE ends one integer node: OPERATOR [-> RELU] -> QUANTIZE, where the operator reads DEQUANTIZE
 * nodes. What stands between an operator and its QUANTIZE is fused into it. There is one exception: with
 * arithmetic onednn an ADD may read a CONV directly, which then becomes a convolution with a fused addition.
 */
#include "quant/qdq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/graph_build.h"
#include "quant/qdq_metadata.h"
#include "quant/qparams.h"

struct reader {
    const struct qb_graph *graph;
    struct qb_qgraph *out;
    int *node_of; /* [graph->count] integer node that a float node is part of or reads the codes of; -1: none
                   */
    int *operators; /* [graph->count] by integer node: the float node of its operator */
    const char *
        *keys; /* [graph->count] by integer node: the operator's name in the file, NULL for the input */
};

static const char *file_name(const struct qb_node *node)
{
    return node->source_name ? node->source_name : node->name;
}

static const struct qb_node *source(const struct reader *r, const struct qb_node *node, int k)
{
    return &r->graph->nodes[node->src[k]];
}

/* The integer node that source k of `node` holds the codes of. */
static enum qb_status take_source(const struct reader *r, const struct qb_node *node, int k, int *out,
                                  struct qb_error *err)
{
    const struct qb_node *const src = source(r, node, k);
    if (src->op != QB_OP_DEQUANTIZE) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, node,
            "it reads the float output of '%.200s' (%s); a QuantizeLinear and a DequantizeLinear "
            "are expected between them",
            file_name(src), qb_op_name(src->op));
    }
    *out = r->node_of[node->src[k]];
    return QB_OK;
}

static bool good_scale(float scale)
{
    return scale > 0 && scale < INFINITY;
}

/* Scale and zero point of QUANTIZE node `quantize` in inside form. */
static enum qb_status take_qparams(const struct qb_node *quantize, struct qb_qparams *out,
                                   struct qb_error *err)
{
    const enum qb_dtype dtype = quantize->q.is_signed ? QB_QINT8 : QB_QUINT8;
    const int shift = qb_activation_shift(dtype);
    if (!good_scale(quantize->q.scale) || quantize->q.zero_point < shift ||
        quantize->q.zero_point > shift + 255) {
        return qb_fail_node(err, QB_EINPUT, quantize,
                            "scale %g and zero point %d; a finite scale above 0 and %d to %d are expected",
                            (double)quantize->q.scale, quantize->q.zero_point, shift, shift + 255);
    }
    *out = (struct qb_qparams){.scale = quantize->q.scale,
                               .zero_point = quantize->q.zero_point - shift,
                               .dtype = dtype,
                               .quant_min = shift,
                               .quant_max = shift + 255};
    return QB_OK;
}

static bool same_qparams(const struct qb_qparams *a, const struct qb_qparams *b)
{
    return !(a->scale < b->scale) && !(a->scale > b->scale) && a->zero_point == b->zero_point &&
           a->dtype == b->dtype;
}

/* Codes in inside form. */
static const int8_t *copy_codes(struct qb_arena *arena, const struct qb_weight_codes *codes, size_t count)
{
    int8_t *const out = qb_arena_array(arena, count, sizeof *out);
    if (out && codes->is_signed) {
        memcpy(out, codes->codes, count);
    }
    for (size_t i = 0; out && !codes->is_signed && i < count; i++) {
        out[i] = (int8_t)(((const uint8_t *)codes->codes)[i] - qb_weight_shift(QB_QUINT8));
    }
    return out;
}

/* Weights, bias and geometry of CONV or DENSE. */
static enum qb_status take_weights(const struct reader *r, const struct qb_node *node, struct qb_qnode *to,
                                   struct qb_error *err)
{
    const struct qb_weight_codes *const codes = node->codes;
    struct qb_arena *const arena = r->out->arena;
    const size_t channels = (size_t)node->oc;
    if (!codes) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, node,
            "its weights are float; int8 or uint8 weights behind a DequantizeLinear are expected");
    }
    const enum qb_dtype dtype = codes->is_signed ? QB_QINT8 : QB_QUINT8;
    const int shift = qb_weight_shift(dtype);
    int32_t *const zeros = qb_arena_array(arena, (size_t)codes->scale_count, sizeof *zeros);
    for (int k = 0; zeros && k < codes->scale_count; k++) {
        zeros[k] = codes->zero_points[k] - shift;
        if (!good_scale(codes->scales[k]) || zeros[k] < -128 || zeros[k] > 127) {
            return qb_fail_node(
                err, QB_EINPUT, node,
                "its weights have scale %g and zero point %d in channel %d; a finite scale above 0 "
                "and %d to %d are expected",
                (double)codes->scales[k], codes->zero_points[k], k, shift - 128, shift + 127);
        }
    }
    to->ic = node->ic;
    to->oc = node->oc;
    to->wei = copy_codes(arena, codes, qb_node_params(node) - channels);
    to->wei_dtype = dtype;
    to->wei_scale_count = codes->scale_count;
    to->wei_scales =
        qb_arena_memdup(arena, codes->scales, (size_t)codes->scale_count * sizeof *codes->scales);
    to->wei_zero_points = zeros;
    to->bia = qb_arena_memdup(arena, node->bia, channels * sizeof *node->bia);
    if (qb_arithmetic_traits(r->out->arithmetic)->bia_codes) {
        if (!node->bia_codes) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node,
                                "its bias is float; arithmetic %s takes an int32 bias with the scale of its "
                                "source times that of its weights",
                                qb_arithmetic_name(r->out->arithmetic));
        }
        to->bia_codes = qb_arena_memdup(arena, node->bia_codes, channels * sizeof *node->bia_codes);
        if (!to->bia_codes) {
            return qb_fail_memory(err, channels * sizeof *node->bia_codes);
        }
    }
    if (node->op == QB_OP_CONV) {
        to->kh = node->kh, to->kw = node->kw, to->stride_h = node->stride_h, to->stride_w = node->stride_w;
        to->pad_t = node->pad_t, to->pad_l = node->pad_l, to->pad_b = node->pad_b, to->pad_r = node->pad_r;
    }
    return to->wei && to->wei_scales && zeros && to->bia ? QB_OK : qb_fail_memory(err, qb_node_params(node));
}

/* ADD number `i` of two quantized tensors, or of one and an unquantized convolution. */
static enum qb_status take_add(const struct reader *r, int i, struct qb_qnode *to, struct qb_error *err)
{
    const struct qb_node *const node = &r->graph->nodes[i];
    int conv = -1;
    for (int k = 0; k < 2 && conv < 0; k++) {
        conv = source(r, node, k)->op == QB_OP_CONV ? k : -1;
    }
    if (conv < 0) {
        to->op = QB_QOP_ADD;
        QB_TRY(take_source(r, node, 0, &to->src[0], err));
        return take_source(r, node, 1, &to->src[1], err);
    }
    const struct qb_node *const merged = source(r, node, conv);
    if (r->out->arithmetic != QB_ARITHMETIC_ONEDNN) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, node,
            "it reads the float output of '%.200s' (conv); a QuantizeLinear and a DequantizeLinear are "
            "expected between them, or arithmetic onednn, which adds inside the convolution",
            file_name(merged));
    }
    to->op = QB_QOP_CONV;
    to->fused_add = true;
    if (r->node_of[node->src[conv]] >= 0) {
        return qb_fail_node(err, QB_EUNSUPPORTED, node,
                            "it reads the float output of '%.200s', which another node reads too; a "
                            "QuantizeLinear and a DequantizeLinear are expected between them",
                            file_name(merged));
    }
    r->node_of[node->src[conv]] = r->out->count;
    QB_TRY(take_source(r, merged, 0, &to->src[0], err));
    QB_TRY(take_source(r, node, 1 - conv, &to->src[1], err));
    return take_weights(r, merged, to, err);
}

/* RELU and AVGPOOL keep their source's scale and zero point. */
static enum qb_status take_unscaled(const struct reader *r, const struct qb_node *node, struct qb_qnode *to,
                                    struct qb_error *err)
{
    QB_TRY(take_source(r, node, 0, &to->src[0], err));
    const struct qb_qparams *const q = &r->out->nodes[to->src[0]].q;
    if (!same_qparams(q, &to->q)) {
        return qb_fail_node(err, QB_EUNSUPPORTED, node,
                            "its source has scale %.9g and zero point %d, its output %.9g and %d (codes "
                            "counted from 0); quantize both "
                            "with the same, as integer graphs keep them through %s",
                            (double)q->scale, q->zero_point, (double)to->q.scale, to->q.zero_point,
                            node->op == QB_OP_RELU ? "a ReLU" : "an average pool");
    }
    return QB_OK;
}

/* The operator number `i`, with scale and zero point in to->q. */
static enum qb_status take_operator(const struct reader *r, int i, struct qb_qnode *to, struct qb_error *err)
{
    const struct qb_node *const node = &r->graph->nodes[i];
    switch (node->op) {
    case QB_OP_INPUT: to->op = QB_QOP_INPUT; return QB_OK;
    case QB_OP_CONV:
    case QB_OP_DENSE:
        to->op = node->op == QB_OP_CONV ? QB_QOP_CONV : QB_QOP_DENSE;
        QB_TRY(take_source(r, node, 0, &to->src[0], err));
        return take_weights(r, node, to, err);
    case QB_OP_ADD: return take_add(r, i, to, err);
    case QB_OP_RELU: to->op = QB_QOP_RELU; return take_unscaled(r, node, to, err);
    case QB_OP_AVGPOOL:
        to->op = QB_QOP_AVGPOOL;
        to->kh = node->kh, to->kw = node->kw, to->stride_h = node->stride_h, to->stride_w = node->stride_w;
        return take_unscaled(r, node, to, err);
    case QB_OP_DEQUANTIZE:
        return qb_fail_node(
            err, QB_EUNSUPPORTED, node,
            "its values are quantized again with another scale, zero point or type; one scale a tensor is "
            "expected");
    default:
        return qb_fail_node(err, QB_EUNSUPPORTED, node, "a %s cannot be quantized", qb_op_name(node->op));
    }
}

/* A second QUANTIZE of a tensor, as exporters write that give each reader its own: the same codes, or an
 * error. */
static enum qb_status repeat(const struct reader *r, int quantize, int producer, const struct qb_qnode *to,
                             struct qb_error *err)
{
    const int first = r->node_of[producer];
    const struct qb_qnode *const made = &r->out->nodes[first];
    if (r->operators[first] != producer || made->relu != to->relu || !same_qparams(&made->q, &to->q)) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, &r->graph->nodes[producer],
            "its output is quantized more than once, in different ways; one scale and zero point, before or "
            "behind a ReLU, are expected");
    }
    r->node_of[quantize] = first;
    return QB_OK;
}

/* The integer node that QUANTIZE number `i` ends. */
static enum qb_status take_quantize(struct reader *r, int i, struct qb_error *err)
{
    const struct qb_node *const quantize = &r->graph->nodes[i];
    int producer = quantize->src[0];
    const struct qb_node *node = source(r, quantize, 0);
    struct qb_qnode *const to = &r->out->nodes[r->out->count];
    *to = (struct qb_qnode){.src = {-1, -1}, .dst = quantize->dst};
    if (node->op == QB_OP_RELU) {
        const enum qb_op behind = source(r, node, 0)->op;
        if (behind == QB_OP_CONV || behind == QB_OP_DENSE || behind == QB_OP_ADD) {
            to->relu = true;
            producer = node->src[0];
            node = &r->graph->nodes[producer];
        }
    }
    QB_TRY(take_qparams(quantize, &to->q, err));
    if (r->node_of[producer] >= 0 && node->op != QB_OP_DEQUANTIZE) {
        return repeat(r, i, producer, to, err);
    }
    QB_TRY(take_operator(r, producer, to, err));
    to->name = qb_arena_strdup(r->out->arena, node->name);
    if (!to->name) {
        return qb_fail_memory(err, strlen(node->name));
    }
    r->operators[r->out->count] = producer;
    r->keys[r->out->count] = node->op == QB_OP_INPUT ? NULL : file_name(node);
    r->node_of[i] = r->node_of[producer] = r->out->count++;
    return QB_OK;
}

static enum qb_status read_nodes(struct reader *r, struct qb_error *err)
{
    const struct qb_graph *const graph = r->graph;
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const node = &graph->nodes[i];
        r->node_of[i] = -1;
        if (node->op == QB_OP_QUANTIZE) {
            QB_TRY(take_quantize(r, i, err));
        } else if (node->op == QB_OP_DEQUANTIZE) {
            r->node_of[i] = r->node_of[node->src[0]];
        }
    }
    const struct qb_node *const last = &graph->nodes[qb_graph_logits(graph)];
    if (last->op != QB_OP_DEQUANTIZE || r->node_of[qb_graph_logits(graph)] != qb_qgraph_logits(r->out)) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, last,
            "its output, the logits, is float; a QuantizeLinear and a DequantizeLinear are expected behind "
            "it");
    }
    return QB_OK;
}

static enum qb_status read_graph(struct reader *r, enum qb_arithmetic fallback, struct qb_error *err)
{
    QB_TRY(qb_qdq_metadata_read(r->graph, fallback, r->out, err));
    QB_TRY(read_nodes(r, err));
    return qb_qdq_metadata_restore(r->graph, r->keys, r->out, err);
}

enum qb_status qb_qdq_read(const struct qb_graph *graph, enum qb_arithmetic fallback, struct qb_qgraph **out,
                           struct qb_error *err)
{
    if (!graph->quantized) {
        return qb_fail(
            err, QB_EINPUT,
            "%s: a float model; one with QuantizeLinear and DequantizeLinear nodes is expected, as `qbench "
            "quantize` writes it",
            graph->path);
    }
    const size_t count = (size_t)graph->count;
    struct qb_arena *const arena = qb_arena_create();
    struct reader r = {.graph = graph, .out = arena ? qb_arena_array(arena, 1, sizeof *r.out) : NULL};
    if (r.out) {
        r.out->arena = arena;
        r.out->nodes = qb_arena_array(arena, count, sizeof *r.out->nodes);
    }
    r.node_of = calloc(count, sizeof *r.node_of);
    r.operators = calloc(count, sizeof *r.operators);
    r.keys = calloc(count, sizeof *r.keys);
    enum qb_status status = QB_OK;
    if (!r.out || !r.out->nodes || !r.node_of || !r.operators || !r.keys) {
        status = qb_fail_memory(err, count * sizeof *r.out->nodes);
    } else if ((status = read_graph(&r, fallback, err)) != QB_OK) {
        qb_fail_prefix(err, "%s", graph->path);
    }
    free(r.node_of);
    free(r.operators);
    free(r.keys);
    if (status != QB_OK) {
        qb_arena_destroy(arena);
        return status;
    }
    *out = r.out;
    return QB_OK;
}
