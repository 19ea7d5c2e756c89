/* qb_pass_shapes: sizes of all tensors, and numbers for SAME padding and whole-image pools. */
#include "model/graph_build.h"
#include "model/passes.h"

/* One axis of a window operator. Rule of SAME: TensorFlow's "SAME", ONNX's auto_pad. */
static int resolve_window(int64_t in, int64_t kernel, int64_t stride, enum qb_pad_mode mode, int *begin,
                          int *end, int *out)
{
    if (mode != QB_PAD_EXPLICIT) {
        const int64_t same = (in + stride - 1) / stride;
        const int64_t need = (same - 1) * stride + kernel - in;
        const int64_t total = need > 0 ? need : 0;
        const int64_t small = total / 2;
        *begin = (int)(mode == QB_PAD_SAME_UPPER ? small : total - small);
        *end = (int)(total - *begin);
    }
    const int64_t padded = in + *begin + *end;
    if (padded < kernel) {
        return 0;
    }
    *out = (int)((padded - kernel) / stride + 1);
    return 1;
}

static enum qb_status window(struct qb_node *node, struct qb_shape src, struct qb_error *err)
{
    const int numbers[] = {node->kh,        node->kw,        node->stride_h,  node->stride_w,
                           node->pad_t + 1, node->pad_l + 1, node->pad_b + 1, node->pad_r + 1};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] < 1 || numbers[i] > QB_MODEL_MAX_DIM) {
            return qb_fail_node(err, QB_EINPUT, node,
                                "kernel %dx%d, strides %dx%d or pads %d,%d,%d,%d are out of range", node->kh,
                                node->kw, node->stride_h, node->stride_w, node->pad_t, node->pad_l,
                                node->pad_b, node->pad_r);
        }
    }
    if (!resolve_window(src.h, node->kh, node->stride_h, node->pad_mode, &node->pad_t, &node->pad_b,
                        &node->dst.h) ||
        !resolve_window(src.w, node->kw, node->stride_w, node->pad_mode, &node->pad_l, &node->pad_r,
                        &node->dst.w)) {
        return qb_fail_node(err, QB_EINPUT, node,
                            "kernel_shape %dx%d is larger than its padded source of %dx%d pixels", node->kh,
                            node->kw, src.h + node->pad_t + node->pad_b, src.w + node->pad_l + node->pad_r);
    }
    node->pad_mode = QB_PAD_EXPLICIT;
    return QB_OK;
}

static enum qb_status infer(struct qb_graph *graph, struct qb_node *node, struct qb_error *err)
{
    const struct qb_shape src =
        node->src[0] >= 0 ? graph->nodes[node->src[0]].dst : (struct qb_shape){0, 0, 0};
    node->dst = src;
    switch (node->op) {
    case QB_OP_CONV:
        if (src.c != node->ic) {
            return qb_fail_node(err, QB_EINPUT, node, "weights are for %d input channels, its source has %d",
                                node->ic, src.c);
        }
        node->dst.c = node->oc;
        return window(node, src, err);
    case QB_OP_DENSE:
        if (qb_shape_count(src) != (size_t)node->ic) {
            return qb_fail_node(err, QB_EINPUT, node,
                                "weights are for %d input features, its source has %dx%dx%d", node->ic, src.h,
                                src.w, src.c);
        }
        node->dst = (struct qb_shape){1, 1, node->oc};
        return QB_OK;
    case QB_OP_CONSTANT: node->dst = (struct qb_shape){1, 1, node->oc}; return QB_OK;
    case QB_OP_ADD:
    case QB_OP_MUL: {
        const struct qb_node *const second = &graph->nodes[node->src[1]];
        const struct qb_shape other = second->dst;
        if (second->op == QB_OP_CONSTANT) {
            if (second->oc != 1 && second->oc != src.c) {
                return qb_fail_node(err, QB_EINPUT, node, "%d constants for a tensor of %d channels",
                                    second->oc, src.c);
            }
        } else if (src.h != other.h || src.w != other.w || src.c != other.c) {
            return qb_fail_node(err, QB_EINPUT, node,
                                "its sources have different shapes, %dx%dx%d and %dx%dx%d", src.h, src.w,
                                src.c, other.h, other.w, other.c);
        }
        return QB_OK;
    }
    case QB_OP_AVGPOOL:
        if (node->kh == 0) {
            node->kh = node->stride_h = src.h;
            node->kw = node->stride_w = src.w;
        }
        QB_TRY(window(node, src, err));
        if (node->pad_t || node->pad_l || node->pad_b || node->pad_r) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node,
                                "pads %d,%d,%d,%d: average pooling without padding is expected", node->pad_t,
                                node->pad_l, node->pad_b, node->pad_r);
        }
        return QB_OK;
    case QB_OP_AFFINE:
        if (node->oc != 1 && node->oc != src.c) {
            return qb_fail_node(err, QB_EINPUT, node, "%d constants for a tensor of %d channels", node->oc,
                                src.c);
        }
        return QB_OK;
    case QB_OP_PAD:
        if (node->pad_t < 0 || node->pad_l < 0 || node->pad_b < 0 || node->pad_r < 0 ||
            node->pad_t > QB_MODEL_MAX_DIM || node->pad_l > QB_MODEL_MAX_DIM ||
            node->pad_b > QB_MODEL_MAX_DIM || node->pad_r > QB_MODEL_MAX_DIM) {
            return qb_fail_node(err, QB_EINPUT, node, "pads %d,%d,%d,%d are out of range", node->pad_t,
                                node->pad_l, node->pad_b, node->pad_r);
        }
        node->dst.h = src.h + node->pad_t + node->pad_b;
        node->dst.w = src.w + node->pad_l + node->pad_r;
        return QB_OK;
    case QB_OP_FLATTEN:
        if (node->oc == QB_FLATTEN_SQUEEZE ? src.h != 1 || src.w != 1
                                           : node->oc > 0 && (size_t)node->oc != qb_shape_count(src)) {
            return qb_fail_node(err, QB_EINPUT, node, "a tensor of %dx%dx%d cannot become [N, %d]", src.h,
                                src.w, src.c, node->oc > 0 ? node->oc : src.c);
        }
        node->dst = (struct qb_shape){1, 1, (int)qb_shape_count(src)};
        return QB_OK;
    case QB_OP_SOFTMAX:
        if (src.h != 1 || src.w != 1) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node,
                                "its source is %dx%dx%d; [N, classes] is expected", src.h, src.w, src.c);
        }
        return QB_OK;
    default: return QB_OK; /* same shape */
    }
}

static enum qb_status check_range(const struct qb_node *node, struct qb_error *err)
{
    const struct qb_shape s = node->dst;
    size_t count;
    if (s.h < 1 || s.w < 1 || s.c < 1 || s.h > QB_MODEL_MAX_DIM || s.w > QB_MODEL_MAX_DIM ||
        s.c > QB_MODEL_MAX_COUNT || __builtin_mul_overflow((size_t)s.h * (size_t)s.w, (size_t)s.c, &count) ||
        count > QB_MODEL_MAX_COUNT) {
        return qb_fail_node(err, QB_EINPUT, node,
                            "a tensor of %dx%dx%d is out of range (largest side %d, %d elements)", s.h, s.w,
                            s.c, QB_MODEL_MAX_DIM, QB_MODEL_MAX_COUNT);
    }
    return QB_OK;
}

enum qb_status qb_pass_shapes(struct qb_graph *graph, struct qb_error *err)
{
    for (int i = 0; i < graph->count; i++) {
        struct qb_node *const node = &graph->nodes[i];
        if (node->op != QB_OP_INPUT) {
            QB_TRY(infer(graph, node, err));
        }
        QB_TRY(check_range(node, err));
    }
    return QB_OK;
}
