/* Integer graphs as steps.
 *
 * Exact: u8 x s8 -> s32 primitives without attributes, then our own requantization in the graph's arithmetic.
 * Fused: scales, zero points, bias, ReLU and residual inside the primitive, and oneDNN's average pooling;
 * nodes for which oneDNN has no fast primitive of that kind (dense layers whose source has a zero point),
 * weights with zero points and tensors of fewer than 8 bits, which it does not know, run the exact way.
 * INPUT, RELU, ADD (oneDNN's has no zero points) and QUANTIZE are our own code in both.
 *
 * Fused results equal arithmetic `onednn` bit for bit (tests/engine/test_onednn_int8.c), and claim so; in a
 * graph of another arithmetic they are an approximation. */
#include "engine/onednn/build.h"
#include "engine/onednn/choose.h"
#include "engine/onednn/layer.h"
#include "engine/onednn/library.h"
#include "engine/onednn/own.h"
#include "engine/reference/float_layer.h"

struct builder {
    struct qb_dnnl_list *list;
    const struct qb_qgraph *graph;
    bool fused;
    uint8_t **tensors;
    int *last_reader; /* of each tensor; the logits are read by graph->count */
    int32_t *acc;     /* of the layer in progress */
    enum qb_exactness exactness;
};

static int wei_zero_point(const struct qb_qnode *n, int k)
{
    return n->wei_zero_points[n->wei_scale_count == 1 ? 0 : k];
}

static bool has_wei_zero_points(const struct qb_qnode *n)
{
    for (int k = 0; k < n->wei_scale_count; k++) {
        if (n->wei_zero_points[k] != 0) {
            return true;
        }
    }
    return false;
}

static size_t depth_of(const struct qb_qnode *n)
{
    return (size_t)n->ic * (n->op == QB_QOP_CONV ? (size_t)n->kh * (size_t)n->kw : 1);
}

/* What zero points add to the raw accumulators of a layer: acc = raw + offset - zw * (sum of the window's
 * codes). */
static int32_t *make_offsets(const struct builder *b, int node)
{
    const struct qb_qnode *n = &b->graph->nodes[node];
    const int32_t zx = b->graph->nodes[n->src[0]].q.zero_point;
    const size_t depth = depth_of(n);
    int32_t *offset = qb_dnnl_array(b->list, (size_t)n->oc, sizeof *offset);
    for (int k = 0; offset && k < n->oc; k++) {
        int32_t sum = 0;
        for (size_t i = 0; i < depth; i++) {
            sum += n->wei[(size_t)k * depth + i] - wei_zero_point(n, k);
        }
        offset[k] = -zx * sum;
    }
    return offset;
}

/* The largest |sum| of at most `pair` (2) or of all products of one output channel with codes 0..255. */
static int64_t largest_sum(const int8_t *wei, size_t depth, bool pair)
{
    int64_t positive = 0, negative = 0;        /* all of one sign */
    int32_t high[2] = {0, 0}, low[2] = {0, 0}; /* the two largest, the two smallest */
    for (size_t i = 0; i < depth; i++) {
        const int32_t w = wei[i];
        positive += w > 0 ? w : 0;
        negative += w < 0 ? w : 0;
        high[1] = w > high[0] ? high[0] : w > high[1] ? w : high[1];
        high[0] = w > high[0] ? w : high[0];
        low[1] = w < low[0] ? low[0] : w < low[1] ? w : low[1];
        low[0] = w < low[0] ? w : low[0];
    }
    if (pair) {
        positive = high[0] + high[1];
        negative = low[0] + low[1];
    }
    return 255 * (positive > -negative ? positive : -negative);
}

/* Takes back the claim to exactness unless the accumulators of `n`, run by the latest primitive, are right
 * whatever the codes. Two things can go wrong: sums of two products that saturate int16, whichever two these
 * are, and kernels that store s32 results (`stored`) through float32, which is exact up to 2^24. */
static void note_exactness(struct builder *b, const struct qb_qnode *n, bool stored)
{
    const bool pairs_are_exact = b->list->latest && qb_dnnl_adds_exactly(b->list->latest);
    const size_t depth = depth_of(n);
    for (size_t k = 0; k < (size_t)n->oc; k++) {
        const int8_t *wei = n->wei + k * depth;
        if ((!pairs_are_exact && largest_sum(wei, depth, true) > INT16_MAX) ||
            (stored && largest_sum(wei, depth, false) > 1 << 24)) {
            b->exactness = QB_APPROXIMATE;
        }
    }
}

/* CONV or DENSE from `src` of `shape`; pads 0 when the padding is in `src` already. */
static struct qb_dnnl_layer new_layer(const struct builder *b, int node, const void *src,
                                      struct qb_shape shape, bool padded)
{
    const struct qb_qnode *n = &b->graph->nodes[node];
    return (struct qb_dnnl_layer){
        .name = n->name,
        .node = node,
        .src_shape = shape,
        .dst_shape = n->dst,
        .src_type = dnnl_u8,
        .wei_type = dnnl_s8,
        .dst_type = dnnl_u8,
        .src = src,
        .dst = b->tensors[node],
        .kh = n->kh,
        .kw = n->kw,
        .stride_h = n->stride_h,
        .stride_w = n->stride_w,
        .pad_t = padded ? 0 : n->pad_t,
        .pad_l = padded ? 0 : n->pad_l,
        .pad_b = padded ? 0 : n->pad_b,
        .pad_r = padded ? 0 : n->pad_r,
        .wei = n->wei,
        .attr = qb_dnnl_attr(b->list),
    };
}

static void build_exact(struct builder *b, int node)
{
    const struct qb_qnode *n = &b->graph->nodes[node];
    const struct qb_qnode *source = &b->graph->nodes[n->src[0]];
    const bool conv = n->op == QB_QOP_CONV, row_sums = has_wei_zero_points(n);
    const bool pads = conv && (n->pad_t > 0 || n->pad_l > 0 || n->pad_b > 0 || n->pad_r > 0);
    const uint8_t *src = b->tensors[n->src[0]];
    struct qb_shape shape = source->dst;
    /* oneDNN pads with code 0, which is right only when that is the zero point. */
    const bool padded = pads && (source->q.zero_point != 0 || row_sums);
    if (padded) {
        src = qb_dnnl_own_pad(b->list, b->graph, node, src, &shape);
    }
    struct qb_dnnl_layer layer = new_layer(b, node, src, shape, padded);
    layer.node = -1; /* the tail finishes the tensor */
    layer.dst_type = dnnl_s32;
    layer.dst = b->acc;
    if (conv) {
        qb_dnnl_add_conv(b->list, &layer);
    } else {
        qb_dnnl_add_dense(b->list, &layer);
    }
    note_exactness(b, n, true);
    if (row_sums) {
        qb_dnnl_own_row_sums(b->list, b->graph, node, src, shape, b->acc);
    }
    const int32_t *offset = make_offsets(b, node);
    if (offset) {
        qb_dnnl_own_tail(b->list, b->graph, node, offset, b->acc, n->fused_add ? b->tensors[n->src[1]] : NULL,
                         b->tensors[node]);
    }
}

static void add_extra(struct qb_dnnl_layer *layer, int what, dnnl_memory_t memory)
{
    layer->extra[layer->extra_count++] = (dnnl_exec_arg_t){what, memory};
}

/* Scales, zero points and post-ops of a fused layer. */
static void set_quantization(const struct builder *b, int node, struct qb_dnnl_layer *layer)
{
    struct qb_dnnl_list *list = b->list;
    const struct qb_qnode *n = &b->graph->nodes[node];
    const struct qb_qparams *src = &b->graph->nodes[n->src[0]].q, *dst = &n->q;
    const int wei_mask = n->wei_scale_count == 1 ? 0 : 1; /* bit 0: the dimension of output channels */
    dnnl_post_ops_t ops = qb_dnnl_post_ops(list);
    layer->bia = n->bia;
    add_extra(layer, DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, qb_dnnl_floats(list, &src->scale, 1));
    add_extra(layer, DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS,
              qb_dnnl_floats(list, n->wei_scales, n->wei_scale_count));
    add_extra(layer, DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, qb_dnnl_floats(list, &dst->scale, 1));
    if (list->status != QB_OK) {
        return;
    }
    dnnl_primitive_attr_t attr = layer->attr;
    qb_dnnl_list_check(list, dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_SRC, 0), "src scale");
    qb_dnnl_list_check(list, dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_WEIGHTS, wei_mask),
                       "weights scales");
    qb_dnnl_list_check(list, dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_DST, 0), "dst scale");
    if (src->zero_point != 0) {
        add_extra(layer, DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC, qb_dnnl_ints(list, &src->zero_point, 1));
        qb_dnnl_list_check(list, dnnl_primitive_attr_set_zero_points_mask(attr, DNNL_ARG_SRC, 0),
                           "src zero point");
    }
    if (dst->zero_point != 0) {
        add_extra(layer, DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_DST, qb_dnnl_ints(list, &dst->zero_point, 1));
        qb_dnnl_list_check(list, dnnl_primitive_attr_set_zero_points_mask(attr, DNNL_ARG_DST, 0),
                           "dst zero point");
    }
    if (n->fused_add) {
        const struct qb_qparams *res = &b->graph->nodes[n->src[1]].q;
        qb_dnnl_list_check(list, dnnl_post_ops_append_sum(ops, res->scale, res->zero_point, dnnl_u8),
                           "sum post-op");
    }
    if (n->relu) {
        qb_dnnl_list_check(list, dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f),
                           "ReLU post-op");
    }
    qb_dnnl_list_check(list, dnnl_primitive_attr_set_post_ops(attr, ops), "post-ops");
}

/* The sum post-op adds to what is in the destination: the residual's own buffer when nobody reads it later,
 * else a copy. */
static uint8_t *residual_buffer(struct builder *b, int node)
{
    const struct qb_qnode *n = &b->graph->nodes[node];
    uint8_t *residual = b->tensors[n->src[1]];
    if (b->last_reader[n->src[1]] == node && n->src[0] != n->src[1]) {
        return residual;
    }
    qb_dnnl_own_copy(b->list, residual, qb_shape_count(n->dst), b->tensors[node]);
    return b->tensors[node];
}

static bool build_fused(struct builder *b, int node)
{
    const struct qb_qnode *n = &b->graph->nodes[node];
    if (has_wei_zero_points(n) || n->q.bits) { /* a primitive limits codes to 0..255 alone */
        return false;
    }
    struct qb_dnnl_layer layer =
        new_layer(b, node, b->tensors[n->src[0]], b->graph->nodes[n->src[0]].dst, false);
    set_quantization(b, node, &layer);
    const bool conv = n->op == QB_QOP_CONV;
    if (!(conv ? qb_dnnl_has_conv : qb_dnnl_has_dense)(b->list, &layer)) {
        return false;
    }
    if (n->fused_add) {
        layer.dst = b->tensors[node] = residual_buffer(b, node);
    }
    (conv ? qb_dnnl_add_conv : qb_dnnl_add_dense)(b->list, &layer);
    note_exactness(b, n, false);
    return true;
}

static void build_avgpool(struct builder *b, int node)
{
    const struct qb_qnode *n = &b->graph->nodes[node];
    if (b->fused) {
        struct qb_dnnl_layer layer =
            new_layer(b, node, b->tensors[n->src[0]], b->graph->nodes[n->src[0]].dst, true);
        qb_dnnl_add_avgpool(b->list, &layer);
    } else {
        qb_dnnl_own_avgpool(b->list, b->graph, node, b->tensors[n->src[0]], b->tensors[node]);
    }
}

/* oneDNN adds in its own order: what comes behind is near the reference engine's, not equal to it. */
static void build_float(struct builder *b, int node)
{
    const struct qb_qnode *n = &b->graph->nodes[node];
    const uint8_t *src0 = n->op == QB_QOP_INPUT ? NULL : b->tensors[n->src[0]];
    if ((n->op == QB_QOP_CONV || n->op == QB_QOP_DENSE) && !n->dynamic) {
        qb_dnnl_add_float_layer(b->list, b->graph, node, src0, b->tensors[node]);
        b->exactness = QB_APPROXIMATE;
    } else {
        qb_dnnl_own_floats(b->list, b->graph, node, src0, n->op == QB_QOP_ADD ? b->tensors[n->src[1]] : NULL,
                           b->tensors[node]);
    }
}

static void build_node(struct builder *b, int node)
{
    const struct qb_qnode *n = &b->graph->nodes[node];
    const uint8_t *src0 = n->op == QB_QOP_INPUT ? NULL : b->tensors[n->src[0]];
    b->tensors[node] = qb_dnnl_buffer(b->list, qb_shape_count(n->dst), qb_qnode_element(n));
    if (qb_is_float_layer(b->graph, node)) {
        build_float(b, node);
        return;
    }
    switch (n->op) {
    case QB_QOP_INPUT: qb_dnnl_own_input(b->list, b->graph, node, b->tensors[node]); break;
    case QB_QOP_CONV:
    case QB_QOP_DENSE:
        if (!b->fused || !build_fused(b, node)) {
            build_exact(b, node);
        }
        break;
    case QB_QOP_ADD:
        qb_dnnl_own_add(b->list, b->graph, node, src0, b->tensors[n->src[1]], b->tensors[node]);
        break;
    case QB_QOP_RELU: qb_dnnl_own_relu(b->list, b->graph, node, src0, b->tensors[node]); break;
    case QB_QOP_AVGPOOL: build_avgpool(b, node); break;
    case QB_QOP_QUANTIZE: qb_dnnl_own_recode(b->list, b->graph, node, src0, b->tensors[node]); break;
    case QB_QOP_DEQUANTIZE:
    case QB_QOP_AFFINE: break; /* built above */
    case QB_QOP_MUL:
    case QB_QOP_CONSTANT: break; /* of arithmetics that are refused */
    }
}

/* Who reads a tensor last, and the size of the largest accumulator tensor. */
static size_t survey(struct builder *b)
{
    size_t most = 0;
    for (int i = 0; i < b->graph->count; i++) {
        const struct qb_qnode *n = &b->graph->nodes[i];
        for (int s = 0; s < qb_qnode_sources(n); s++) {
            b->last_reader[n->src[s]] = i;
        }
        const size_t count = n->op == QB_QOP_CONV || n->op == QB_QOP_DENSE ? qb_shape_count(n->dst) : 0;
        most = count > most ? count : most;
    }
    b->last_reader[qb_qgraph_logits(b->graph)] = b->graph->count;
    return most;
}

void qb_dnnl_build_int8(struct qb_dnnl_list *list, const struct qb_qgraph *graph, bool fused,
                        const float **logits, enum qb_exactness *exactness)
{
    const bool exact =
        !fused || (graph->arithmetic == QB_ARITHMETIC_ONEDNN && qb_dnnl_fuses_exactly(dnnl_version()));
    struct builder b = {
        .list = list,
        .graph = graph,
        .fused = fused,
        .tensors = qb_dnnl_array(list, (size_t)graph->count, sizeof *b.tensors),
        .last_reader = qb_dnnl_array(list, (size_t)graph->count, sizeof *b.last_reader),
        .exactness = exact ? QB_EXACT : QB_APPROXIMATE,
    };
    if (list->status != QB_OK) {
        return;
    }
    const size_t most = survey(&b);
    b.acc = qb_dnnl_buffer(list, most, sizeof *b.acc);
    for (int i = 0; i < graph->count && list->status == QB_OK; i++) {
        build_node(&b, i);
    }
    const int last = qb_qgraph_logits(graph);
    *exactness = b.exactness;
    if (graph->nodes[last].f32) {
        *logits = (const float *)(const void *)b.tensors[last];
        return;
    }
    float *result = qb_dnnl_buffer(list, qb_shape_count(graph->nodes[last].dst), sizeof *result);
    if (result) {
        qb_dnnl_own_logits(list, graph, b.tensors[last], result);
    }
    *logits = result;
}
