/* Checks in front of every engine: see check.h. */
#include "engine/check.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

/* Elements of the largest tensor (padding included) and of the largest weights: far above any network of this
 * program, low enough that neither a product of sizes nor the int32 sum of a pooling window overflows. */
enum { MAX_ELEMENTS = 1 << 23, MAX_WEIGHTS = 1 << 28 };

/* What float and integer nodes have in common. */
struct view {
    const char *name;
    enum qb_op op;
    int sources;   /* how many src[] the operator reads */
    bool constant; /* src[1] is one pixel for all */
    const int *src;
    struct qb_shape dst;
    int kh, kw, stride_h, stride_w, pad_t, pad_l, pad_b, pad_r, ic, oc;
};

static int fits(struct qb_shape s)
{
    return s.h >= 1 && s.w >= 1 && s.c >= 1 && s.h <= MAX_ELEMENTS && s.w <= MAX_ELEMENTS / s.h &&
           s.c <= MAX_ELEMENTS / (s.h * s.w);
}

static int equal(struct qb_shape a, struct qb_shape b)
{
    return a.h == b.h && a.w == b.w && a.c == b.c;
}

static int all_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return 0;
        }
    }
    return 1;
}

static enum qb_status fail_shape(const struct view *v, struct qb_shape want, struct qb_error *err)
{
    return qb_fail(err, QB_EINPUT, "node %s: its shape is %dx%dx%d, its source and geometry give %dx%dx%d",
                   v->name, v->dst.h, v->dst.w, v->dst.c, want.h, want.w, want.c);
}

/* Windows of CONV and AVGPOOL. */
static enum qb_status check_window(const struct view *v, struct qb_shape src, int channels,
                                   struct qb_error *err)
{
    const int pads[] = {v->pad_t, v->pad_l, v->pad_b, v->pad_r};
    for (size_t i = 0; i < sizeof pads / sizeof pads[0]; i++) {
        if (pads[i] < 0 || pads[i] > SHRT_MAX || (pads[i] > 0 && v->op == QB_OP_AVGPOOL)) {
            return qb_fail(err, QB_EINPUT, "node %s: padding %d is not possible", v->name, pads[i]);
        }
    }
    if (v->kh < 1 || v->kw < 1 || v->stride_h < 1 || v->stride_w < 1) {
        return qb_fail(err, QB_EINPUT, "node %s: kernel %dx%d with stride %dx%d, each must be at least 1",
                       v->name, v->kh, v->kw, v->stride_h, v->stride_w);
    }
    const struct qb_shape padded = {src.h + v->pad_t + v->pad_b, src.w + v->pad_l + v->pad_r, src.c};
    if (v->kh > padded.h || v->kw > padded.w || !fits(padded)) {
        return qb_fail(err, QB_EINPUT, "node %s: kernel %dx%d on a padded source of %dx%dx%d", v->name, v->kh,
                       v->kw, padded.h, padded.w, padded.c);
    }
    const struct qb_shape want = {(padded.h - v->kh) / v->stride_h + 1, (padded.w - v->kw) / v->stride_w + 1,
                                  channels};
    return equal(v->dst, want) ? QB_OK : fail_shape(v, want, err);
}

/* The parts that do not depend on the number type. `v` is node `index`, `src` the shapes of its sources. */
static enum qb_status check_node(const struct view *v, int index, const struct qb_shape src[2],
                                 struct qb_error *err)
{
    switch (v->op) {
    case QB_OP_CONV:
        if (v->ic != src[0].c || v->oc < 1) {
            return qb_fail(err, QB_EINPUT,
                           "node %s: %d input and %d output channels on a source of %d channels", v->name,
                           v->ic, v->oc, src[0].c);
        }
        QB_TRY(check_window(v, src[0], v->oc, err));
        if (v->oc > MAX_WEIGHTS / (v->kh * v->kw * v->ic)) {
            return qb_fail(err, QB_EUNSUPPORTED, "node %s: more than %d weights", v->name, MAX_WEIGHTS);
        }
        return QB_OK;
    case QB_OP_DENSE:
        if ((size_t)v->ic != qb_shape_count(src[0]) || v->oc < 1 || v->oc > MAX_WEIGHTS / v->ic) {
            return qb_fail(err, QB_EINPUT, "node %s: %d inputs and %d outputs on a source of %zu elements",
                           v->name, v->ic, v->oc, qb_shape_count(src[0]));
        }
        return equal(v->dst, (struct qb_shape){1, 1, v->oc})
                   ? QB_OK
                   : fail_shape(v, (struct qb_shape){1, 1, v->oc}, err);
    case QB_OP_AVGPOOL: return check_window(v, src[0], src[0].c, err);
    case QB_OP_ADD:
    case QB_OP_MUL:
        if (v->constant ? src[1].c != src[0].c : !equal(src[0], src[1])) {
            return qb_fail(err, QB_EINPUT, "node %s: %s %dx%dx%d and %dx%dx%d", v->name,
                           v->op == QB_OP_ADD ? "adds" : "multiplies", src[0].h, src[0].w, src[0].c, src[1].h,
                           src[1].w, src[1].c);
        }
        return equal(v->dst, src[0]) ? QB_OK : fail_shape(v, src[0], err);
    case QB_OP_RELU:
    case QB_OP_SOFTMAX: return equal(v->dst, src[0]) ? QB_OK : fail_shape(v, src[0], err);
    case QB_OP_CONSTANT:
        return v->dst.h == 1 && v->dst.w == 1
                   ? QB_OK
                   : qb_fail(err, QB_EINPUT, "node %s: a constant of %dx%dx%d; one pixel is expected",
                             v->name, v->dst.h, v->dst.w, v->dst.c);
    case QB_OP_INPUT: /* only the first node */
        return index == 0 ? QB_OK : qb_fail(err, QB_EINPUT, "node %s: a second input", v->name);
    default:
        return qb_fail(err, QB_EUNSUPPORTED, "node %s: operator number %d cannot be executed", v->name,
                       (int)v->op);
    }
}

static enum qb_status check_view(const struct view *v, int index, struct qb_shape *src, struct qb_error *err,
                                 struct qb_shape (*shape)(const void *graph, int node), const void *graph)
{
    if (index == 0 && v->op != QB_OP_INPUT) {
        return qb_fail(err, QB_EINPUT, "node %s: the first node must be the input", v->name);
    }
    if (!fits(v->dst)) {
        return qb_fail(err, QB_EINPUT,
                       "node %s: a shape of %dx%dx%d; each side must be at least 1, the product at most %d",
                       v->name, v->dst.h, v->dst.w, v->dst.c, MAX_ELEMENTS);
    }
    for (int s = 0; s < v->sources; s++) {
        if (v->src[s] < 0 || v->src[s] >= index) {
            return qb_fail(err, QB_EINPUT,
                           "node %s: source %d is node %d, wanted one before its own number %d", v->name, s,
                           v->src[s], index);
        }
        src[s] = shape(graph, v->src[s]);
    }
    return check_node(v, index, src, err);
}

static struct qb_shape graph_shape(const void *graph, int node)
{
    return ((const struct qb_graph *)graph)->nodes[node].dst;
}

static struct qb_shape qgraph_shape(const void *graph, int node)
{
    return ((const struct qb_qgraph *)graph)->nodes[node].dst;
}

enum qb_status qb_check_graph(const struct qb_graph *graph, struct qb_error *err)
{
    if (graph->quantized) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "%s holds QuantizeLinear nodes: it is run as an integer graph, not as a float graph",
                       graph->path);
    }
    if (graph->count < 1) {
        return qb_fail(err, QB_EINPUT, "the float graph has no nodes");
    }
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const n = &graph->nodes[i];
        const struct view v = {
            n->name, n->op,       qb_op_sources(n->op), false,    n->src,   n->dst,   n->kh,
            n->kw,   n->stride_h, n->stride_w,          n->pad_t, n->pad_l, n->pad_b, n->pad_r,
            n->ic,   n->oc};
        struct qb_shape src[2] = {{0}};
        QB_TRY(check_view(&v, i, src, err, graph_shape, graph));
        if (n->op == QB_OP_SOFTMAX && i != graph->count - 1) {
            return qb_fail(err, QB_EINPUT, "node %s: a softmax that is not the last node", n->name);
        }
        if (n->op == QB_OP_CONV || n->op == QB_OP_DENSE) {
            const size_t taps = n->op == QB_OP_CONV ? (size_t)(n->kh * n->kw) : 1;
            if (!n->wei || !n->bia || !all_finite(n->wei, taps * (size_t)n->ic * (size_t)n->oc) ||
                !all_finite(n->bia, (size_t)n->oc)) {
                return qb_fail(err, QB_EINPUT,
                               "node %s: weights or biases are absent, infinite or not numbers", n->name);
            }
        }
    }
    return QB_OK;
}

/* Kernels multiply by the reciprocal, and by codes. */
static int good_scale(float scale)
{
    return scale > 0.0F && isfinite(scale * 512.0F) && isfinite(1.0F / scale);
}

/* What one pair of products loses at most in int16: 2 * 255 * 128 - 32768. */
enum { MAX_PAIR_LOSS = 32512 };

/* CONV and DENSE: weights, biases, and that |accumulator| <= sum |wei - zero point| * max |src - zero point|
 * (+ |bia_codes|, and what saturating pairs move it by) < 2^31. */
static enum qb_status check_weights(const struct qb_qnode *n, const struct qb_qparams *src, bool bia_codes,
                                    bool saturating, struct qb_error *err)
{
    const size_t depth = (size_t)n->ic * (n->op == QB_QOP_CONV ? (size_t)(n->kh * n->kw) : 1);
    if (!n->wei || !n->bia || !n->wei_scales || !n->wei_zero_points || !all_finite(n->bia, (size_t)n->oc)) {
        return qb_fail(err, QB_EINPUT,
                       "node %s: weights, scales or biases are absent, infinite or not numbers", n->name);
    }
    if (bia_codes == !n->bia_codes) {
        return qb_fail(err, QB_EINPUT, "node %s: the arithmetic of the graph wants %s integer bias", n->name,
                       bia_codes ? "an" : "no");
    }
    if (n->wei_scale_count != 1 && n->wei_scale_count != n->oc) {
        return qb_fail(err, QB_EINPUT, "node %s: %d weight scales, wanted 1 or %d", n->name,
                       n->wei_scale_count, n->oc);
    }
    for (int k = 0; k < n->wei_scale_count; k++) {
        if (!good_scale(n->wei_scales[k]) || n->wei_zero_points[k] < -128 || n->wei_zero_points[k] > 127) {
            return qb_fail(err, QB_EINPUT, "node %s: channel %d has weight scale %g and zero point %d",
                           n->name, k, (double)n->wei_scales[k], n->wei_zero_points[k]);
        }
    }
    const int32_t reach = src->zero_point > 127 ? src->zero_point : 255 - src->zero_point;
    for (int k = 0; k < n->oc; k++) {
        const int32_t zero = n->wei_zero_points[n->wei_scale_count == 1 ? 0 : k];
        int64_t sum = 0;
        for (size_t i = 0; i < depth; i++) {
            const int32_t w = n->wei[(size_t)k * depth + i] - zero;
            sum += w < 0 ? -w : w;
        }
        const int64_t loss = saturating ? (int64_t)(depth / 2) * MAX_PAIR_LOSS : 0;
        const int64_t bia = bia_codes ? llabs((long long)n->bia_codes[k]) : 0;
        if (sum * reach + loss + bia > INT32_MAX) {
            return qb_fail(err, QB_EUNSUPPORTED, "node %s: channel %d can overflow the int32 accumulator",
                           n->name, k);
        }
    }
    return QB_OK;
}

/* Quotients of scales stay in float32's range. */
static enum qb_status check_ratios(const struct qb_qgraph *graph, const struct qb_qnode *n,
                                   struct qb_error *err)
{
    if (n->op == QB_QOP_QUANTIZE) { /* its source has no scale */
        return QB_OK;
    }
    float product = 1.0F;
    for (int s = 0; s < qb_qnode_sources(n); s++) {
        const struct qb_qparams *const src = &graph->nodes[n->src[s]].q;
        product *= src->scale;
        if (!good_scale(src->scale / n->q.scale) ||
            (n->op == QB_QOP_MUL && !good_scale(product * 512.0F / n->q.scale))) {
            return qb_fail(err, QB_EUNSUPPORTED, "node %s: source scale %g and scale %g are too far apart",
                           n->name, (double)src->scale, (double)n->q.scale);
        }
    }
    return QB_OK;
}

static enum qb_status check_qparams(const struct qb_qgraph *graph, const struct qb_qnode *n,
                                    const struct qb_arithmetic_traits *traits, struct qb_error *err)
{
    if (!good_scale(n->q.scale) || n->q.zero_point < 0 || n->q.zero_point > 255) {
        return qb_fail(err, QB_EINPUT,
                       "node %s: scale %g and zero point %d; wanted a finite scale > 0 and 0..255", n->name,
                       (double)n->q.scale, n->q.zero_point);
    }
    int32_t low, high;
    if (n->q.bits != 0 && (n->q.bits < QB_BITS_MIN || n->q.bits >= QB_BITS_MAX)) {
        return qb_fail(err, QB_EINPUT, "node %s: codes of %d bits; wanted %d to %d, or 0 for 8", n->name,
                       n->q.bits, QB_BITS_MIN, QB_BITS_MAX - 1);
    }
    qb_code_limits(&n->q, &low, &high);
    if (n->q.zero_point < low || n->q.zero_point > high) {
        return qb_fail(err, QB_EINPUT, "node %s: zero point %d is outside the codes %d..%d of %d bits",
                       n->name, n->q.zero_point, low, high, n->q.bits);
    }
    const bool keeps = n->op == QB_QOP_RELU || n->op == QB_QOP_AVGPOOL;
    if (keeps && !traits->rescales && !qb_qparams_equal(&graph->nodes[n->src[0]].q, &n->q)) {
        return qb_fail(err, QB_EINPUT, "node %s: scale and zero point differ from those of its source %s",
                       n->name, graph->nodes[n->src[0]].name);
    }
    if (n->op == QB_QOP_ADD && graph->arithmetic == QB_ARITHMETIC_TFLITE) {
        const float a = graph->nodes[n->src[0]].q.scale, b = graph->nodes[n->src[1]].q.scale;
        if (!(2.0 * (double)(a > b ? a : b) < 0x1p20 * (double)n->q.scale)) {
            return qb_fail(err, QB_EUNSUPPORTED, "node %s: source scale %g and scale %g are too far apart",
                           n->name, (double)(a > b ? a : b), (double)n->q.scale);
        }
    }
    return traits->outside ? check_ratios(graph, n, err) : QB_OK;
}

/* Floats and codes meet at QUANTIZE and DEQUANTIZE only; QUANTIZE also makes codes of codes. */
static enum qb_status check_types(const struct qb_qgraph *graph, const struct qb_qnode *n,
                                  struct qb_error *err)
{
    const bool conversion = n->op == QB_QOP_QUANTIZE || n->op == QB_QOP_DEQUANTIZE;
    if (n->f32 &&
        (n->fused_add || n->op == QB_QOP_MUL || n->op == QB_QOP_CONSTANT || n->op == QB_QOP_QUANTIZE)) {
        return qb_fail(err, QB_EINPUT, "node %s: a %s has no float form", n->name,
                       n->fused_add ? "fused addition" : qb_qop_name(n->op));
    }
    if (n->op == QB_QOP_DEQUANTIZE && !n->f32) {
        return qb_fail(err, QB_EINPUT, "node %s: it dequantizes, but its tensor is not one of floats",
                       n->name);
    }
    if (n->op == QB_QOP_AFFINE && !n->f32) {
        return qb_fail(err, QB_EINPUT, "node %s: an affine has no form for codes", n->name);
    }
    if (n->op == QB_QOP_QUANTIZE && !graph->nodes[n->src[0]].f32) {
        return qb_arithmetic_traits(graph->arithmetic)->requantizes
                   ? QB_OK
                   : qb_fail(err, QB_EUNSUPPORTED,
                             "node %s: it quantizes the codes of %s once more, which arithmetic %s does not "
                             "have; those of PyTorch and oneDNN have",
                             n->name, graph->nodes[n->src[0]].name, qb_arithmetic_name(graph->arithmetic));
    }
    for (int s = 0; s < qb_qnode_sources(n); s++) {
        const struct qb_qnode *const src = &graph->nodes[n->src[s]];
        if (src->f32 != (n->f32 != conversion)) {
            return qb_fail(err, QB_EINPUT, "node %s: its source %s has %s; %s are expected", n->name,
                           src->name, src->f32 ? "floats" : "codes", src->f32 ? "codes" : "floats");
        }
    }
    return QB_OK;
}

static enum qb_status check_floats(const struct qb_qgraph *graph, const struct qb_qnode *n,
                                   struct qb_error *err)
{
    if (n->dynamic) {
        const struct qb_qparams any = {.zero_point = 0}; /* products are then at most 255 times a weight */
        if (n->op != QB_QOP_DENSE || (n->dynamic != 127 && n->dynamic != 255) ||
            !qb_arithmetic_traits(graph->arithmetic)->dynamic) {
            return qb_fail(
                err, QB_EUNSUPPORTED,
                "node %s: ranges at run time are for dense layers of arithmetic fbgemm, with 127 or "
                "255 for the largest code",
                n->name);
        }
        return check_weights(n, &any, false, false, err);
    }
    if (n->op == QB_QOP_AFFINE && n->oc != n->dst.c) {
        return qb_fail(err, QB_EINPUT, "node %s: %d constants for a tensor of %d channels", n->name, n->oc,
                       n->dst.c);
    }
    const size_t depth = n->op == QB_QOP_AFFINE ? 1
                         : n->op == QB_QOP_CONV ? (size_t)n->ic * (size_t)(n->kh * n->kw)
                                                : (size_t)n->ic;
    if ((n->op == QB_QOP_CONV || n->op == QB_QOP_DENSE || n->op == QB_QOP_AFFINE) &&
        (!n->wei_f32 || !n->bia || !all_finite(n->wei_f32, depth * (size_t)n->oc) ||
         !all_finite(n->bia, (size_t)n->oc))) {
        return qb_fail(err, QB_EINPUT, "node %s: float weights or biases are absent, infinite or not numbers",
                       n->name);
    }
    return QB_OK;
}

/* What is special about some arithmetics: constants, and where they may stand. */
static enum qb_status check_traits(const struct qb_qgraph *graph, const struct qb_qnode *n,
                                   const struct qb_arithmetic_traits *traits, struct qb_error *err)
{
    const char *const arithmetic = qb_arithmetic_name(graph->arithmetic);
    if (n->fused_add && (n->op != QB_QOP_CONV || !qb_arithmetic_fuses_add(graph->arithmetic))) {
        return qb_fail(err, QB_EINPUT,
                       "node %s: a fused addition needs a convolution under arithmetic onednn or onednn_3_12",
                       n->name);
    }
    if ((n->op == QB_QOP_MUL || n->op == QB_QOP_CONSTANT) && !traits->constants) {
        return qb_fail(err, QB_EUNSUPPORTED, "node %s: arithmetic %s has no %s", n->name, arithmetic,
                       n->op == QB_QOP_MUL ? "multiplication" : "constants");
    }
    if (n->op == QB_QOP_CONSTANT && !n->codes) {
        return qb_fail(err, QB_EINPUT, "node %s: a constant without codes", n->name);
    }
    for (int s = 0; s < qb_qnode_sources(n); s++) {
        const int src = n->src[s];
        const bool constant = src >= 0 && src < graph->count && graph->nodes[src].op == QB_QOP_CONSTANT;
        if (constant && (s != 1 || (n->op != QB_QOP_ADD && n->op != QB_QOP_MUL))) {
            return qb_fail(err, QB_EINPUT,
                           "node %s: source %d is a constant; only the second source of an addition or "
                           "multiplication may be one",
                           n->name, s);
        }
    }
    return QB_OK;
}

enum qb_status qb_check_qgraph(const struct qb_qgraph *graph, struct qb_error *err)
{
    static const enum qb_op ops[] = {
        [QB_QOP_INPUT] = QB_OP_INPUT,
        [QB_QOP_CONV] = QB_OP_CONV,
        [QB_QOP_DENSE] = QB_OP_DENSE,
        [QB_QOP_ADD] = QB_OP_ADD,
        [QB_QOP_RELU] = QB_OP_RELU,
        [QB_QOP_AVGPOOL] = QB_OP_AVGPOOL,
        [QB_QOP_MUL] = QB_OP_MUL,
        [QB_QOP_CONSTANT] = QB_OP_CONSTANT,
        /* what is checked of these, that shapes are equal, is the same for a ReLU */
        [QB_QOP_QUANTIZE] = QB_OP_RELU,
        [QB_QOP_DEQUANTIZE] = QB_OP_RELU,
        [QB_QOP_AFFINE] = QB_OP_RELU,
    };
    if (graph->count < 1) {
        return qb_fail(err, QB_EINPUT, "the integer graph has no nodes");
    }
    if ((int)graph->arithmetic < 0 || graph->arithmetic >= QB_ARITHMETIC_COUNT) {
        return qb_fail(err, QB_EINPUT, "arithmetic number %d does not exist", (int)graph->arithmetic);
    }
    if ((unsigned)graph->accumulate >= QB_ACCUMULATE_COUNT) {
        return qb_fail(err, QB_EINPUT, "accumulation number %d does not exist", (int)graph->accumulate);
    }
    const struct qb_arithmetic_traits *const traits = qb_arithmetic_traits(graph->arithmetic);
    for (int i = 0; i < graph->count; i++) {
        const struct qb_qnode *const n = &graph->nodes[i];
        if ((size_t)n->op >= sizeof ops / sizeof ops[0]) {
            return qb_fail(err, QB_EINPUT, "node %s: operator number %d does not exist", n->name, (int)n->op);
        }
        QB_TRY(check_traits(graph, n, traits, err));
        const int sources = qb_qnode_sources(n);
        const bool constant =
            sources == 2 && n->src[1] >= 0 && n->src[1] < i && graph->nodes[n->src[1]].op == QB_QOP_CONSTANT;
        const struct view v = {n->name,  ops[n->op], sources,     constant,    n->src,   n->dst,
                               n->kh,    n->kw,      n->stride_h, n->stride_w, n->pad_t, n->pad_l,
                               n->pad_b, n->pad_r,   n->ic,       n->oc};
        struct qb_shape src[2] = {{0}};
        QB_TRY(check_view(&v, i, src, err, qgraph_shape, graph));
        if (n->fused_add && !equal(src[1], n->dst)) {
            return qb_fail(err, QB_EINPUT,
                           "node %s: the residual is %dx%dx%d, the convolution's result %dx%dx%d", n->name,
                           src[1].h, src[1].w, src[1].c, n->dst.h, n->dst.w, n->dst.c);
        }
        QB_TRY(check_types(graph, n, err));
        if (n->f32) {
            QB_TRY(check_floats(graph, n, err));
            continue;
        }
        QB_TRY(check_qparams(graph, n, traits, err));
        if (n->op == QB_QOP_CONV || n->op == QB_QOP_DENSE) {
            QB_TRY(check_weights(n, &graph->nodes[n->src[0]].q, traits->bia_codes,
                                 graph->accumulate != QB_ACCUMULATE_EXACT, err));
        }
    }
    if (graph->nodes[graph->count - 1].op == QB_QOP_CONSTANT) {
        return qb_fail(err, QB_EINPUT, "node %s: the logits are a constant",
                       graph->nodes[graph->count - 1].name);
    }
    return QB_OK;
}
