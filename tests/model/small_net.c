/* See small_net.h. */
#include "small_net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "testing.h"

enum { CONVS = 6, MAX_WEIGHTS = 6 * 6 * 9, MAX_OC = 6, MAX_FEATURES = 24 };

/* conv .. conv_5 in canonical order; conv_5 is the shortcut, without batch normalization. */
static const struct {
    int ic, oc, k, stride;
} shapes[CONVS] = {{3, 4, 3, 1}, {4, 4, 3, 1}, {4, 4, 3, 1}, {4, 6, 3, 2}, {6, 6, 3, 1}, {4, 6, 1, 2}};

struct net {
    struct onnx_writer *w;
    const struct net_options *o;
    float wei[CONVS][MAX_WEIGHTS], bia[CONVS][MAX_OC];
    float gamma[CONVS][MAX_OC], beta[CONVS][MAX_OC], mean[CONVS][MAX_OC], var[CONVS][MAX_OC];
    float dense[NET_CLASSES * MAX_FEATURES], dense_bia[NET_CLASSES];
    int serial; /* for names of helper tensors */
};

static const float epsilon = 1e-3f;

static void fill(struct qb_rng *rng, float *values, int count, double low, double high)
{
    for (int i = 0; i < count; i++) {
        values[i] = (float)(low + (high - low) * qb_rng_double(rng));
    }
}

void net_image(float image[NET_PIXELS])
{
    struct qb_rng rng;
    qb_rng_seed(&rng, 3);
    for (int i = 0; i < NET_PIXELS; i++) {
        image[i] = (float)qb_rng_interval(&rng, 255);
    }
}

static void make_parameters(struct net *n)
{
    struct qb_rng rng;
    qb_rng_seed(&rng, 17);
    for (int i = 0; i < CONVS; i++) {
        const double bound = 1.0 / sqrt(shapes[i].ic * shapes[i].k * shapes[i].k) * 1.7;
        fill(&rng, n->wei[i], shapes[i].oc * shapes[i].ic * shapes[i].k * shapes[i].k, -bound, bound);
        fill(&rng, n->bia[i], shapes[i].oc, -0.1, 0.1);
        fill(&rng, n->gamma[i], shapes[i].oc, 0.5, 1.5);
        fill(&rng, n->beta[i], shapes[i].oc, -0.2, 0.2);
        fill(&rng, n->mean[i], shapes[i].oc, -0.2, 0.2);
        fill(&rng, n->var[i], shapes[i].oc, 0.3, 1.2);
    }
    fill(&rng, n->dense, NET_CLASSES * MAX_FEATURES, -1.0, 1.0);
    fill(&rng, n->dense_bia, NET_CLASSES, -0.5, 0.5);
}

static const char *fresh(struct net *n, const char *what)
{
    return qb_arena_printf(n->w->arena, "%s_%d", what, n->serial++);
}

static const char *unary(struct net *n, const char *type, const char *src)
{
    const char *const out = fresh(n, "t");
    ow_node(n->w, type, out, (const char *[6]){src});
    return out;
}

static const char *binary(struct net *n, const char *type, const char *a, const char *b)
{
    const char *const out = fresh(n, "t");
    ow_node(n->w, type, out, (const char *[6]){a, b});
    return out;
}

static const char *transpose(struct net *n, const char *src, bool to_nhwc)
{
    static const int64_t nhwc[] = {0, 2, 3, 1}, nchw[] = {0, 3, 1, 2};
    const char *const out = unary(n, "Transpose", src);
    ow_list(n->w, n->w->graph.node[n->w->graph.n_node - 1], "perm", 4, to_nhwc ? nhwc : nchw);
    return out;
}

static Onnx__NodeProto *last(struct net *n)
{
    return n->w->graph.node[n->w->graph.n_node - 1];
}

/* One number a channel: [1,C,1,1], [C,1,1] or [C]. */
static const char *channels(struct net *n, int count, const float *values)
{
    const int64_t rank4[] = {1, count, 1, 1}, rank3[] = {count, 1, 1}, rank1[] = {count};
    switch (n->o->bn) {
    case BN_MUL_ADD_RANK3: return ow_floats(n->w, fresh(n, "c"), 3, rank3, values);
    case BN_NODE:
    case BN_MUL_ADD_NHWC: return ow_floats(n->w, fresh(n, "c"), 1, rank1, values);
    default: return ow_floats(n->w, fresh(n, "c"), 4, rank4, values);
    }
}

static const char *scale_shift(struct net *n, int i, const char *src)
{
    float scale[MAX_OC], shift[MAX_OC], divisor[MAX_OC], offset[MAX_OC];
    for (int c = 0; c < shapes[i].oc; c++) {
        const double r = 1.0 / sqrt((double)n->var[i][c] + (double)epsilon);
        scale[c] = (float)((double)n->gamma[i][c] * r);
        shift[c] = (float)((double)n->beta[i][c] - (double)n->mean[i][c] * (double)n->gamma[i][c] * r);
        divisor[c] = 1.0f / scale[c];
        offset[c] = -shift[c] / scale[c];
    }
    if (n->o->bn == BN_SUB_DIV) { /* (x - offset) / divisor */
        src = binary(n, "Sub", src, channels(n, shapes[i].oc, offset));
        return binary(n, "Div", src, channels(n, shapes[i].oc, divisor));
    }
    if (n->o->bn == BN_MUL_ADD_NHWC) {
        src = transpose(n, src, true);
    }
    src = binary(n, "Mul", src, channels(n, shapes[i].oc, scale));
    src = binary(n, "Add", channels(n, shapes[i].oc, shift), src);
    return n->o->bn == BN_MUL_ADD_NHWC ? transpose(n, src, false) : src;
}

static const char *batch_norm(struct net *n, int i, const char *src)
{
    if (n->o->bn == BN_FOLDED || i == CONVS - 1) {
        return src;
    }
    if (n->o->bn != BN_NODE) {
        return scale_shift(n, i, src);
    }
    const char *const out = fresh(n, "t");
    const int oc = shapes[i].oc;
    const char *const inputs[6] = {src, channels(n, oc, n->gamma[i]), channels(n, oc, n->beta[i]),
                                   channels(n, oc, n->mean[i]), channels(n, oc, n->var[i])};
    ow_float(n->w, ow_node(n->w, "BatchNormalization", out, inputs), "epsilon", epsilon);
    return out;
}

/* Weights as they go into the file: batch normalization and the input's scale folded where no node does it.
 */
static void folded(const struct net *n, int i, float *wei, float *bia)
{
    const int row = shapes[i].ic * shapes[i].k * shapes[i].k;
    for (int o = 0; o < shapes[i].oc; o++) {
        double scale = 1.0;
        bia[o] = n->bia[i][o];
        if (n->o->bn == BN_FOLDED && i != CONVS - 1) {
            scale = (double)n->gamma[i][o] / sqrt((double)n->var[i][o] + (double)epsilon);
            bia[o] = (float)(((double)bia[o] - (double)n->mean[i][o]) * scale + (double)n->beta[i][o]);
        }
        if (i == 0 && n->o->input == INPUT_PLAIN) {
            scale /= 255.0;
        }
        for (int k = 0; k < row; k++) {
            wei[o * row + k] = (float)((double)n->wei[i][o * row + k] * scale);
        }
    }
}

/* The list of pads as PyTorch's exporter through TorchScript computes it: last axis first, filled up, turned
 * round.
 */
static const char *computed_pads(struct net *n)
{
    static const int64_t given[] = {0, 1, 0, 1}, four = 4, pairs[] = {-1, 2}, minus = -1, zero = 0,
                         end = -INT64_MAX;
    struct onnx_writer *const w = n->w;
    const char *const zeros = unary(n, "ConstantOfShape", ow_ints(w, fresh(n, "four"), 1, &four));
    ow_tensor_of_ints(w, last(n), "value", 1, &zero);
    const char *const list = binary(n, "Concat", ow_ints(w, fresh(n, "given"), 4, given), zeros);
    ow_int(w, last(n), "axis", 0);
    const char *const table = binary(n, "Reshape", list, ow_ints(w, fresh(n, "pairs"), 2, pairs));
    const char *const turned = fresh(n, "turned");
    ow_node(w, "Slice", turned,
            (const char *[6]){table, ow_ints(w, fresh(n, "start"), 1, &minus),
                              ow_ints(w, fresh(n, "end"), 1, &end), ow_ints(w, fresh(n, "axis"), 1, &zero),
                              ow_ints(w, fresh(n, "step"), 1, &minus)});
    const char *const columns = unary(n, "Transpose", turned);
    ow_list(w, last(n), "perm", 2, (const int64_t[]){1, 0});
    return binary(n, "Reshape", columns, ow_ints(w, fresh(n, "flat"), 1, &minus));
}

/* Zeros below and right, as a node. */
static const char *pad_node(struct net *n, const char *src)
{
    static const int64_t nchw[] = {0, 0, 0, 0, 0, 0, 1, 1}, nhwc[] = {0, 0, 0, 0, 0, 1, 1, 0};
    const bool channels_last = n->o->pad == PAD_NODE_NHWC;
    const int64_t *const pads = channels_last ? nhwc : nchw;
    if (channels_last) {
        src = transpose(n, src, true);
    }
    if (n->o->pad == PAD_NODE_ATTRIBUTE) {
        src = unary(n, "Pad", src);
        ow_list(n->w, last(n), "pads", 8, pads);
        ow_string(n->w, last(n), "mode", "constant");
        return src;
    }
    const char *const list =
        n->o->pad == PAD_NODE_COMPUTED ? computed_pads(n) : ow_ints(n->w, fresh(n, "pads"), 8, pads);
    src = binary(n, "Pad", src, list);
    return channels_last ? transpose(n, src, false) : src;
}

static const char *conv(struct net *n, int i, const char *src)
{
    float wei[MAX_WEIGHTS], bia[MAX_OC];
    const int k = shapes[i].k, stride = shapes[i].stride;
    folded(n, i, wei, bia);
    if (k == 3 && stride == 2 && n->o->pad >= PAD_NODE) {
        src = pad_node(n, src);
    }
    const char *const out = fresh(n, "conv");
    const char *const inputs[6] = {
        src, ow_floats(n->w, fresh(n, "w"), 4, (const int64_t[]){shapes[i].oc, shapes[i].ic, k, k}, wei),
        ow_floats(n->w, fresh(n, "b"), 1, (const int64_t[]){shapes[i].oc}, bia)};
    Onnx__NodeProto *const node = ow_node(n->w, "Conv", out, inputs);
    ow_list(n->w, node, "strides", 2, (const int64_t[]){stride, stride});
    if (k == 3 && n->o->pad == PAD_SAME_UPPER) {
        ow_string(n->w, node, "auto_pad", "SAME_UPPER");
    } else if (k == 3 && stride == 1) {
        ow_list(n->w, node, "pads", 4, (const int64_t[]){1, 1, 1, 1});
    } else if (k == 3 && n->o->pad == PAD_EXPLICIT) {
        ow_list(n->w, node, "pads", 4, (const int64_t[]){0, 0, 1, 1});
        ow_list(n->w, node, "kernel_shape", 2, (const int64_t[]){k, k});
        ow_string(n->w, node, "auto_pad", "NOTSET");
    }
    return batch_norm(n, i, out);
}

static const char *relu(struct net *n, const char *src)
{
    const float zero = 0.0f;
    switch (n->o->relu) {
    case RELU_CLIP:
        src = unary(n, "Clip", src);
        ow_float(n->w, last(n), "min", 0.0f);
        break;
    case RELU_CLIP_INPUT:
        src = binary(n, "Clip", src, ow_floats(n->w, fresh(n, "zero"), 0, NULL, &zero));
        break;
    default: src = unary(n, "Relu", src); break;
    }
    return n->o->pass_through ? unary(n, "Dropout", unary(n, "Identity", src)) : src;
}

static const char *residual(struct net *n, const char *main_branch, const char *shortcut)
{
    return relu(n, n->o->swapped_adds ? binary(n, "Add", main_branch, shortcut)
                                      : binary(n, "Add", shortcut, main_branch));
}

static const char *normalize_input(struct net *n, const char *src)
{
    const float divisor = 255.0f, factors[3] = {1.0f / 255.0f, 1.0f / 255.0f, 1.0f / 255.0f};
    switch (n->o->input) {
    case INPUT_DIV: return binary(n, "Div", src, ow_floats(n->w, fresh(n, "s"), 0, NULL, &divisor));
    case INPUT_MUL:
        return binary(n, "Mul", ow_floats(n->w, fresh(n, "s"), 1, (const int64_t[]){1}, factors), src);
    case INPUT_MUL_CHANNELS:
        return n->o->nhwc
                   ? binary(n, "Mul", src, ow_floats(n->w, fresh(n, "s"), 1, (const int64_t[]){3}, factors))
                   : binary(n, "Mul", src,
                            ow_floats(n->w, fresh(n, "s"), 3, (const int64_t[]){3, 1, 1}, factors));
    default: return src;
    }
}

/* *flat: the result has rank 2; *channels_last: it is N,H,W,C. */
static const char *pool(struct net *n, const char *src, bool *flat, bool *channels_last)
{
    const enum net_pool kind = n->o->wide ? POOL_AVERAGE : n->o->pool;
    static const int64_t nchw[] = {2, 3}, negative[] = {-1, -2}, nhwc[] = {1, 2};
    const int64_t side = n->o->wide ? 2 : 4;
    *flat = kind == POOL_REDUCE_FLAT || kind == POOL_REDUCE_FLAT_NHWC;
    *channels_last = kind == POOL_REDUCE_NHWC || kind == POOL_REDUCE_FLAT_NHWC;
    if (*channels_last) {
        src = transpose(n, src, true);
    }
    switch (kind) {
    case POOL_AVERAGE:
    case POOL_AVERAGE_SAME:
        src = unary(n, "AveragePool", src);
        ow_list(n->w, last(n), "kernel_shape", 2, (const int64_t[]){side, side});
        ow_list(n->w, last(n), "strides", 2, (const int64_t[]){side, side});
        ow_string(n->w, last(n), "auto_pad", kind == POOL_AVERAGE ? "VALID" : "SAME_UPPER");
        return src;
    case POOL_REDUCE_INPUT: return binary(n, "ReduceMean", src, ow_ints(n->w, fresh(n, "axes"), 2, negative));
    case POOL_GLOBAL: return unary(n, "GlobalAveragePool", src);
    default:
        src = unary(n, "ReduceMean", src);
        ow_list(n->w, last(n), "axes", 2, *channels_last ? nhwc : nchw);
        ow_int(n->w, last(n), "keepdims", !*flat);
        return src;
    }
}

static const char *flatten(struct net *n, const char *src, bool channels_last)
{
    const int64_t features = n->o->wide ? 24 : 6;
    const int64_t *const axes = channels_last ? (const int64_t[]){1, 2} : (const int64_t[]){-2, 3};
    switch (n->o->wide && n->o->flat >= FLAT_SQUEEZE ? FLAT_FLATTEN : n->o->flat) {
    case FLAT_RESHAPE:
        return binary(n, "Reshape", src,
                      ow_ints(n->w, fresh(n, "shape"), 2, (const int64_t[]){-1, features}));
    case FLAT_RESHAPE_ZERO:
        return binary(n, "Reshape", src, ow_ints(n->w, fresh(n, "shape"), 2, (const int64_t[]){0, -1}));
    case FLAT_RESHAPE_NODE: {
        const char *const shape = fresh(n, "shape");
        ow_list(n->w, ow_node(n->w, "Constant", shape, (const char *[6]){NULL}), "value_ints", 2,
                (const int64_t[]){1, features});
        return binary(n, "Reshape", src, shape);
    }
    case FLAT_VIEW: { /* x.view(x.size(0), -1) */
        const int64_t first = 0, rest = -1, axis = 0;
        const char *const index =
            ow_tensor(n->w, fresh(n, "i"), ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 0, NULL, &first);
        const char *const size = binary(n, "Gather", unary(n, "Shape", src), index);
        const char *const list = binary(n, "Unsqueeze", size, ow_ints(n->w, fresh(n, "axes"), 1, &axis));
        const char *const shape = binary(n, "Concat", list, ow_ints(n->w, fresh(n, "rest"), 1, &rest));
        ow_int(n->w, last(n), "axis", 0);
        return binary(n, "Reshape", src, shape);
    }
    case FLAT_SQUEEZE:
        src = unary(n, "Squeeze", src);
        ow_list(n->w, last(n), "axes", 2, axes);
        return src;
    case FLAT_SQUEEZE_INPUT: return binary(n, "Squeeze", src, ow_ints(n->w, fresh(n, "axes"), 2, axes));
    default: return unary(n, "Flatten", src);
    }
}

static const char *head(struct net *n, const char *src)
{
    const int features = n->o->wide ? 24 : 6, pixels = features / 6;
    const enum net_head kind = n->o->head;
    const bool out_first = kind == HEAD_GEMM_T;
    const float factor = kind == HEAD_GEMM_ALPHA ? 2.0f : 1.0f;
    float wei[NET_CLASSES * MAX_FEATURES], bia[NET_CLASSES];
    for (int o = 0; o < NET_CLASSES; o++) {
        bia[o] = n->dense_bia[o] / factor;
        for (int i = 0; i < features; i++) { /* i counts in N,H,W,C order */
            const int listed = n->o->flat_nhwc ? i : i % 6 * pixels + i / 6;
            wei[out_first ? o * features + listed : listed * NET_CLASSES + o] =
                n->dense[o * features + i] * factor;
        }
    }
    const int64_t dims[] = {out_first ? NET_CLASSES : features, out_first ? features : NET_CLASSES};
    const char *const w = ow_floats(n->w, fresh(n, "w"), 2, dims, wei);
    const char *const b = ow_floats(n->w, fresh(n, "b"), 1, (const int64_t[]){NET_CLASSES}, bia);
    if (kind == HEAD_MATMUL_ADD || kind == HEAD_MATMUL_ADD_FIRST) {
        const char *const product = binary(n, "MatMul", src, w);
        return kind == HEAD_MATMUL_ADD ? binary(n, "Add", product, b) : binary(n, "Add", b, product);
    }
    const char *const out = fresh(n, "t");
    ow_int(n->w, ow_node(n->w, "Gemm", out, (const char *[6]){src, w, b}), "transB", out_first);
    if (kind == HEAD_GEMM_ALPHA) {
        ow_float(n->w, last(n), "alpha", 0.5f);
        ow_float(n->w, last(n), "beta", 2.0f);
    }
    return out;
}

void net_write(struct onnx_writer *w, const struct net_options *o)
{
    struct net net = {.w = w, .o = o};
    struct net *const n = &net;
    make_parameters(n);
    ow_init(w, 17);
    w->typed_data = o->typed_data;
    w->constant_nodes = o->constant_nodes;
    w->inputs_too = o->inputs_too && !o->constant_nodes;
    w->unnamed = o->unnamed;
    ow_input(w, "image", 4,
             o->nhwc ? (const int64_t[]){o->fixed_batch, NET_SIDE, NET_SIDE, NET_CHANNELS}
                     : (const int64_t[]){o->fixed_batch, NET_CHANNELS, NET_SIDE, NET_SIDE});
    const char *x = normalize_input(n, "image");
    x = o->nhwc ? transpose(n, x, false) : x;
    x = relu(n, conv(n, 0, x));
    x = residual(n, conv(n, 2, relu(n, conv(n, 1, x))), x);
    const char *shortcut = o->shortcut_first ? conv(n, 5, x) : NULL;
    const char *const branch = conv(n, 4, relu(n, conv(n, 3, x)));
    shortcut = shortcut ? shortcut : conv(n, 5, x);
    bool flat = false, channels_last = false;
    x = pool(n, residual(n, branch, shortcut), &flat, &channels_last);
    if (o->wide && o->flat_nhwc) {
        x = transpose(n, x, true);
    }
    x = head(n, flat ? x : flatten(n, x, channels_last));
    ow_output(w, o->softmax ? unary(n, "Softmax", x) : x);
}

struct qb_blob net_bytes(const struct net_options *options)
{
    struct onnx_writer w;
    net_write(&w, options);
    const struct qb_blob out = ow_pack(&w);
    ow_free(&w);
    return out;
}
