/* qb_qdq_read: a float graph with QUANTIZE and DEQUANTIZE nodes becomes an integer graph (qdq.h).
 *
 * Every QUANTIZE ends one integer node: OPERATOR [-> RELU] -> QUANTIZE, where the operator reads DEQUANTIZE
 * nodes. What stands between an operator and its QUANTIZE is fused into it. There is one exception: with
 * arithmetic onednn an ADD may read a CONV directly, which then becomes a convolution with a fused addition.
 *
 * CONV and DENSE with float weights, AFFINE, and whatever has no QUANTIZE behind it, are float nodes
 * (weights: the values of their codes). An operator that QUANTIZE nodes end with different scales is one
 * integer node for each. A QUANTIZE of a float node's tensor is a node of its own, and so is what turns codes
 * into floats for such nodes; a QUANTIZE of what a DEQUANTIZE gives, with another scale or zero point, is one
 * too. */
#include "quant/qdq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/graph_build.h"
#include "quant/qdq_metadata.h"
#include "quant/qdq_reader.h"
#include "quant/qparams.h"

enum qb_status qb_qdq_take_source(const struct qb_qdq_reader *r, const struct qb_node *node, int k, int *out,
                                  struct qb_error *err)
{
    const struct qb_node *const src = qb_qdq_source(r, node, k);
    if (src->op != QB_OP_DEQUANTIZE) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, node,
            "it reads the float output of '%.200s' (%s); a QuantizeLinear and a DequantizeLinear "
            "are expected between them",
            qb_qdq_file_name(src), qb_op_name(src->op));
    }
    *out = r->node_of[node->src[k]];
    return QB_OK;
}

static bool good_scale(float scale)
{
    return scale > 0 && scale < INFINITY;
}

enum qb_status qb_qdq_take_qparams(const struct qb_node *quantize, struct qb_qparams *out,
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

bool qb_qdq_same_qparams(const struct qb_qparams *a, const struct qb_qparams *b)
{
    return qb_qparams_equal(a, b) && a->dtype == b->dtype;
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

/* The bias in units of the accumulator: the file's own integers, or float values rounded as ONNX Runtime does
 * (onnxruntime/core/optimizer/qdq_transformer/weight_bias_quantization.cc). */
static enum qb_status take_bia_codes(const struct qb_qdq_reader *r, const struct qb_node *node,
                                     struct qb_qnode *to, struct qb_error *err)
{
    struct qb_arena *const arena = r->out->arena;
    const float src_scale = r->out->nodes[to->src[0]].q.scale;
    int32_t *const codes = qb_arena_array(arena, (size_t)to->oc, sizeof *codes);
    float *const bia = qb_arena_array(arena, (size_t)to->oc, sizeof *bia);
    if (!codes || !bia) {
        return qb_fail_memory(err, (size_t)to->oc * sizeof *codes);
    }
    for (int k = 0; k < to->oc; k++) {
        const float scale = qb_acc_scale(to, src_scale, k);
        if (!node->bia_codes) {
            const float code = nearbyintf(node->bia[k] / scale);
            codes[k] = code < -0x1p31F ? INT32_MIN : code < 0x1p31F ? (int32_t)code : INT32_MAX;
            continue;
        }
        codes[k] = node->bia_codes[k];
        const float stated = node->bia_scales ? node->bia_scales[node->bia_scale_count == 1 ? 0 : k] : scale;
        if (codes[k] != 0 && !(fabsf(stated - scale) <= 1e-5F * scale)) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node,
                                "its integer bias has scale %.9g in channel %d, its source times its weights "
                                "%.9g; the same is expected",
                                (double)stated, k, (double)scale);
        }
    }
    to->bia_codes = codes;
    qb_bia_of_codes(to, src_scale, bia);
    to->bia = bia;
    return QB_OK;
}

/* Weights, bias and geometry of CONV or DENSE. */
static enum qb_status take_weights(const struct qb_qdq_reader *r, const struct qb_node *node,
                                   struct qb_qnode *to, struct qb_error *err)
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
    if (!to->wei || !to->wei_scales || !zeros) {
        return qb_fail_memory(err, qb_node_params(node));
    }
    if (node->op == QB_OP_CONV) {
        to->kh = node->kh, to->kw = node->kw, to->stride_h = node->stride_h, to->stride_w = node->stride_w;
        to->pad_t = node->pad_t, to->pad_l = node->pad_l, to->pad_b = node->pad_b, to->pad_r = node->pad_r;
    }
    if (r->traits->bia_codes) {
        return take_bia_codes(r, node, to, err);
    }
    to->bia = qb_arena_memdup(arena, node->bia, channels * sizeof *node->bia);
    return to->bia ? QB_OK : qb_fail_memory(err, channels * sizeof *node->bia);
}

/* CONSTANT number `i`, for the tensor `dst`: a node of its own before its reader. */
static enum qb_status take_constant(struct qb_qdq_reader *r, int i, struct qb_shape dst, enum qb_dtype dtype,
                                    int *out, struct qb_error *err)
{
    const struct qb_node *const node = &r->graph->nodes[i];
    const struct qb_weight_codes *const codes = node->codes;
    struct qb_qnode *const to = &r->out->nodes[r->out->count];
    const size_t channels = (size_t)dst.c;
    const int shift = qb_activation_shift(dtype);
    uint8_t *const copy = qb_arena_array(r->out->arena, channels, 1);
    *to = (struct qb_qnode){.op = QB_QOP_CONSTANT,
                            .name = qb_arena_strdup(r->out->arena, node->name),
                            .src = {-1, -1},
                            .dst = {1, 1, dst.c},
                            .q = {.scale = codes->scales[0],
                                  .zero_point = codes->zero_points[0] - shift,
                                  .dtype = dtype,
                                  .quant_min = shift,
                                  .quant_max = shift + 255},
                            .codes = copy};
    if (!copy || !to->name) {
        return qb_fail_memory(err, channels);
    }
    if (codes->is_signed != (dtype == QB_QINT8)) {
        return qb_fail_node(err, QB_EUNSUPPORTED, node,
                            "it is %s, the tensor beside it is not; one type is expected",
                            codes->is_signed ? "int8" : "uint8");
    }
    for (size_t k = 0; k < channels; k++) {
        copy[k] = (uint8_t)(((const uint8_t *)codes->codes)[node->oc == 1 ? 0 : k] - shift);
    }
    r->keys[r->out->count] = qb_qdq_file_name(node);
    *out = r->out->count++;
    return QB_OK;
}

/* ADD or MUL number `i`, whose second source is a CONSTANT. `to` moves up by one place for it. */
static enum qb_status take_constant_pair(struct qb_qdq_reader *r, int i, struct qb_qnode **to,
                                         struct qb_error *err)
{
    const struct qb_node *const node = &r->graph->nodes[i];
    struct qb_qnode made = **to;
    if (!r->traits->constants) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, node,
            "it reads a quantized constant, which arithmetic %s does not have; arithmetic ort has",
            qb_arithmetic_name(r->out->arithmetic));
    }
    made.op = node->op == QB_OP_ADD ? QB_QOP_ADD : QB_QOP_MUL;
    QB_TRY(qb_qdq_take_source(r, node, 0, &made.src[0], err));
    QB_TRY(take_constant(r, node->src[1], made.dst, r->out->nodes[made.src[0]].q.dtype, &made.src[1], err));
    *to = &r->out->nodes[r->out->count];
    **to = made;
    return QB_OK;
}

/* ADD number `i` of two quantized tensors, or of one and a convolution that merges into it. */
static enum qb_status take_add(const struct qb_qdq_reader *r, int i, struct qb_qnode *to,
                               struct qb_error *err)
{
    const struct qb_node *const node = &r->graph->nodes[i];
    int conv = -1;
    for (int k = 0; k < 2 && conv < 0; k++) {
        conv = qb_qdq_source(r, node, k)->op == QB_OP_CONV ? k : -1;
    }
    if (conv < 0) {
        const int first = node->swapped && r->traits->outside; /* the sum depends on the order there */
        to->op = QB_QOP_ADD;
        QB_TRY(qb_qdq_take_source(r, node, first, &to->src[0], err));
        return qb_qdq_take_source(r, node, 1 - first, &to->src[1], err);
    }
    const struct qb_node *const merged = qb_qdq_source(r, node, conv);
    to->op = QB_QOP_CONV;
    to->fused_add = true;
    r->node_of[node->src[conv]] = r->out->count;
    QB_TRY(qb_qdq_take_source(r, merged, 0, &to->src[0], err));
    QB_TRY(qb_qdq_take_source(r, node, 1 - conv, &to->src[1], err));
    return take_weights(r, merged, to, err);
}

/* RELU and AVGPOOL keep their source's scale and zero point in most arithmetics. */
static enum qb_status take_unscaled(const struct qb_qdq_reader *r, const struct qb_node *node,
                                    struct qb_qnode *to, struct qb_error *err)
{
    QB_TRY(qb_qdq_take_source(r, node, 0, &to->src[0], err));
    const struct qb_qparams *const q = &r->out->nodes[to->src[0]].q;
    if (!r->traits->rescales && !qb_qdq_same_qparams(q, &to->q)) {
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
static enum qb_status take_operator(struct qb_qdq_reader *r, int i, struct qb_qnode **place,
                                    struct qb_error *err)
{
    const struct qb_node *const node = &r->graph->nodes[i];
    struct qb_qnode *const to = *place;
    if (qb_op_sources(node->op) == 2 && qb_qdq_source(r, node, 1)->op == QB_OP_CONSTANT) {
        return take_constant_pair(r, i, place, err);
    }
    switch (node->op) {
    case QB_OP_INPUT: to->op = QB_QOP_INPUT; return QB_OK;
    case QB_OP_CONV:
    case QB_OP_DENSE:
        to->op = node->op == QB_OP_CONV ? QB_QOP_CONV : QB_QOP_DENSE;
        QB_TRY(qb_qdq_take_source(r, node, 0, &to->src[0], err));
        return take_weights(r, node, to, err);
    case QB_OP_ADD: return take_add(r, i, to, err);
    case QB_OP_MUL:
        if (!r->traits->constants) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node, "arithmetic %s has no multiplication; ort has",
                                qb_arithmetic_name(r->out->arithmetic));
        }
        to->op = QB_QOP_MUL;
        QB_TRY(qb_qdq_take_source(r, node, 0, &to->src[0], err));
        return qb_qdq_take_source(r, node, 1, &to->src[1], err);
    case QB_OP_RELU: to->op = QB_QOP_RELU; return take_unscaled(r, node, to, err);
    case QB_OP_AVGPOOL:
        to->op = QB_QOP_AVGPOOL;
        to->kh = node->kh, to->kw = node->kw, to->stride_h = node->stride_h, to->stride_w = node->stride_w;
        return take_unscaled(r, node, to, err);
    default:
        return qb_fail_node(err, QB_EUNSUPPORTED, node, "a %s cannot be quantized", qb_op_name(node->op));
    }
}

/* The node that `producer` has become already with these scale and zero point, before or behind a ReLU:
 * exporters write a QUANTIZE for each reader. -1: none. *others: how many nodes it has become. */
static int made_before(const struct qb_qdq_reader *r, int producer, const struct qb_qnode *to, int *others)
{
    *others = 0;
    for (int i = 0; i < r->out->count; i++) {
        const struct qb_qnode *const made = &r->out->nodes[i];
        if (r->operators[i] == producer) {
            if (made->relu == to->relu && qb_qdq_same_qparams(&made->q, &to->q)) {
                return i;
            }
            ++*others;
        }
    }
    return -1;
}

/* The integer node that QUANTIZE number `i` ends. */
static enum qb_status take_quantize(struct qb_qdq_reader *r, int i, struct qb_error *err)
{
    const struct qb_node *const quantize = &r->graph->nodes[i];
    int producer = quantize->src[0];
    const struct qb_node *node = qb_qdq_source(r, quantize, 0);
    if (qb_qdq_has_floats(r, producer) || node->op == QB_OP_DEQUANTIZE) {
        return qb_qdq_take_conversion(r, i, err);
    }
    struct qb_qnode *to = &r->out->nodes[r->out->count];
    *to = (struct qb_qnode){.src = {-1, -1}, .dst = quantize->dst};
    if (node->op == QB_OP_RELU) {
        const enum qb_op behind = qb_qdq_source(r, node, 0)->op;
        if (behind == QB_OP_CONV || behind == QB_OP_DENSE || behind == QB_OP_ADD) {
            to->relu = true;
            producer = node->src[0];
            node = &r->graph->nodes[producer];
        }
    }
    QB_TRY(qb_qdq_take_qparams(quantize, &to->q, err));
    int others = 0;
    const int made = made_before(r, producer, to, &others);
    if (made >= 0) {
        r->node_of[i] = made;
        return QB_OK;
    }
    QB_TRY(take_operator(r, producer, &to, err));
    to->name = others ? qb_arena_printf(r->out->arena, "%s_%d", node->name, others + 1)
                      : qb_arena_strdup(r->out->arena, node->name);
    if (!to->name) {
        return qb_fail_memory(err, strlen(node->name));
    }
    r->operators[r->out->count] = producer;
    r->keys[r->out->count] = node->op == QB_OP_INPUT ? NULL : qb_qdq_file_name(node);
    r->node_of[i] = r->node_of[producer] = r->out->count++;
    return QB_OK;
}

static enum qb_status read_nodes(struct qb_qdq_reader *r, struct qb_error *err)
{
    const struct qb_graph *const graph = r->graph;
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const node = &graph->nodes[i];
        r->node_of[i] = -1;
        if (node->op == QB_OP_QUANTIZE) {
            QB_TRY(take_quantize(r, i, err));
        } else if (node->op == QB_OP_DEQUANTIZE) {
            r->node_of[i] = r->node_of[node->src[0]];
        } else if (qb_qdq_is_float(r, i)) {
            QB_TRY(qb_qdq_take_float(r, i, err));
        }
    }
    const int logits = qb_graph_logits(graph);
    const struct qb_node *const last = &graph->nodes[logits];
    if ((last->op != QB_OP_DEQUANTIZE && !qb_qdq_has_floats(r, logits)) ||
        r->node_of[logits] != qb_qgraph_logits(r->out)) {
        return qb_fail_node(
            err, QB_EUNSUPPORTED, last,
            "its output, the logits, is float, but its weights are integers; a QuantizeLinear and a "
            "DequantizeLinear are expected behind it");
    }
    return QB_OK;
}

static enum qb_status read_graph(struct qb_qdq_reader *r, enum qb_arithmetic fallback, struct qb_error *err)
{
    QB_TRY(qb_qdq_metadata_read(r->graph, fallback, r->out, err));
    if (r->graph->qlinear && r->out->arithmetic != QB_ARITHMETIC_ORT) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "operators such as QLinearConv are computed as ONNX Runtime does; arithmetic ort is "
                       "expected, not %s",
                       qb_arithmetic_name(r->out->arithmetic));
    }
    r->traits = qb_arithmetic_traits(r->out->arithmetic);
    QB_TRY(qb_qdq_metadata_floats(r->graph, r->floats, err));
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
    struct qb_qdq_reader r = {.graph = graph, .out = arena ? qb_arena_array(arena, 1, sizeof *r.out) : NULL};
    if (r.out) {
        r.out->arena = arena;
        r.out->nodes = qb_arena_array(arena, 3 * count, sizeof *r.out->nodes);
    }
    r.node_of = calloc(count, sizeof *r.node_of);
    r.operators = malloc(3 * count * sizeof *r.operators);
    r.converted = calloc(3 * count, sizeof *r.converted);
    r.keys = calloc(3 * count, sizeof *r.keys);
    r.floats = calloc(count, sizeof *r.floats);
    enum qb_status status = QB_OK;
    for (size_t i = 0; r.operators && i < 3 * count; i++) {
        r.operators[i] = -1;
    }
    if (!r.out || !r.out->nodes || !r.node_of || !r.operators || !r.converted || !r.keys || !r.floats) {
        status = qb_fail_memory(err, count * sizeof *r.out->nodes);
    } else if ((status = read_graph(&r, fallback, err)) != QB_OK) {
        qb_fail_prefix(err, "%s", graph->path);
    }
    free(r.node_of);
    free(r.operators);
    free(r.converted);
    free(r.keys);
    free(r.floats);
    if (status != QB_OK) {
        qb_arena_destroy(arena);
        return status;
    }
    *out = r.out;
    return QB_OK;
}
