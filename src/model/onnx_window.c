/* ONNX operators that look at a neighbourhood of pixels: Conv, the average pools, ReduceMean, Pad. All work
 * on N,C,H,W; one that names other axes gets a TRANSPOSE before and behind, which qb_pass_layout checks and
 * resolves. */
#include "model/onnx_import.h"

#include <string.h>

static const int identity[4] = {0, 1, 2, 3};
static const int nhwc_to_nchw[4] = {0, 3, 1, 2}, nchw_to_nhwc[4] = {0, 2, 3, 1};

enum qb_status qb_onnx_emit_transpose(const struct onnx_op *op, int src, const int perm[4], int *index,
                                      struct qb_error *err)
{
    struct qb_node node = {.op = QB_OP_TRANSPOSE, .src = {src, -1}};
    memcpy(node.perm, perm, sizeof node.perm);
    return qb_onnx_emit(op, &node, index, err);
}

enum qb_status qb_onnx_emit_on_nchw(const struct onnx_op *op, struct qb_node *node,
                                    const struct onnx_value *src, bool channels_last, int *index,
                                    struct qb_error *err)
{
    const int *const perm = channels_last ? nhwc_to_nchw : identity;
    int axes[4], before = src->node;
    for (int k = 0; k < 4; k++) {
        axes[k] = src->axes[perm[k]];
    }
    if (node->op == QB_OP_CONV || node->op == QB_OP_AVGPOOL) {
        QB_TRY(qb_onnx_see_nchw(op, axes, err));
    }
    if (channels_last) {
        QB_TRY(qb_onnx_emit_transpose(op, before, nhwc_to_nchw, &before, err));
    }
    node->src[0] = before;
    QB_TRY(qb_onnx_emit(op, node, index, err));
    return channels_last ? qb_onnx_emit_transpose(op, *index, nchw_to_nhwc, index, err) : QB_OK;
}

enum qb_status qb_onnx_emit_image(const struct onnx_op *op, struct qb_node *node,
                                  const struct onnx_value *src, bool channels_last, struct qb_error *err)
{
    int index = 0;
    QB_TRY(qb_onnx_emit_on_nchw(op, node, src, channels_last, &index, err));
    return qb_onnx_define_tensor(op, src, index, 4, err);
}

/* Input 0 as an image. */
static enum qb_status image(const struct onnx_op *op, struct onnx_value **out, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    if (src->rank != 4) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input '%.200s' has rank %d; an image of rank 4 is expected", src->name,
                            src->rank);
    }
    *out = src;
    return QB_OK;
}

/* Two or four numbers of a list attribute, within low .. QB_MODEL_MAX_DIM; the defaults are kept when it is
 * missing. */
static enum qb_status read_sizes(const struct onnx_op *op, const char *name, int64_t low, size_t want,
                                 int *out, struct qb_error *err)
{
    const int64_t *values = NULL;
    size_t count = 0;
    QB_TRY(qb_onnx_attr_ints(op, name, &values, &count, err));
    if (!values) {
        return QB_OK;
    }
    if (count != want) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "attribute %s has %zu numbers; %zu are expected (two dimensions)", name, count,
                            want);
    }
    for (size_t i = 0; i < want; i++) {
        if (values[i] < low || values[i] > QB_MODEL_MAX_DIM) {
            return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "attribute %s[%zu] is %lld; %lld to %d is expected",
                                name, i, (long long)values[i], (long long)low, QB_MODEL_MAX_DIM);
        }
        out[i] = (int)values[i];
    }
    return QB_OK;
}

/* kernel_shape (kh, kw keep their values when it is missing), strides, dilations, auto_pad, pads. */
static enum qb_status read_window(const struct onnx_op *op, struct qb_node *node, struct qb_error *err)
{
    int kernel[2] = {node->kh, node->kw}, strides[2] = {1, 1}, dilations[2] = {1, 1}, pads[4] = {0, 0, 0, 0};
    char mode[16] = "";
    QB_TRY(read_sizes(op, "kernel_shape", 1, 2, kernel, err));
    QB_TRY(read_sizes(op, "strides", 1, 2, strides, err));
    QB_TRY(read_sizes(op, "dilations", 1, 2, dilations, err));
    QB_TRY(read_sizes(op, "pads", 0, 4, pads, err));
    QB_TRY(qb_onnx_attr_string(op, "auto_pad", "NOTSET", mode, sizeof mode, err));
    if (dilations[0] != 1 || dilations[1] != 1) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "attribute dilations is %d,%d; only 1,1 is supported",
                            dilations[0], dilations[1]);
    }
    if (strcmp(mode, "SAME_UPPER") == 0) {
        node->pad_mode = QB_PAD_SAME_UPPER;
    } else if (strcmp(mode, "SAME_LOWER") == 0) {
        node->pad_mode = QB_PAD_SAME_LOWER;
    } else if (strcmp(mode, "NOTSET") != 0 && strcmp(mode, "VALID") != 0) {
        return qb_onnx_fail(op, err, QB_EINPUT,
                            "attribute auto_pad is '%s'; NOTSET, SAME_UPPER, SAME_LOWER or VALID is expected",
                            mode);
    }
    node->kh = kernel[0];
    node->kw = kernel[1];
    node->stride_h = strides[0];
    node->stride_w = strides[1];
    if (strcmp(mode, "NOTSET") == 0) { /* pads count only then */
        node->pad_t = pads[0];
        node->pad_l = pads[1];
        node->pad_b = pads[2];
        node->pad_r = pads[3];
    }
    return QB_OK;
}

enum qb_status qb_onnx_conv_node(const struct onnx_op *op, const struct onnx_constant *w,
                                 struct qb_node *node, struct qb_error *err)
{
    if (w->rank != 4 || w->count == 0) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "weights of rank %d; [out, in, height, width] is expected", w->rank);
    }
    QB_TRY(qb_onnx_attr_expect(op, "group", 1, 1, err));
    *node = (struct qb_node){.op = QB_OP_CONV,
                             .oc = (int)w->dims[0],
                             .ic = (int)w->dims[1],
                             .kh = (int)w->dims[2],
                             .kw = (int)w->dims[3]};
    QB_TRY(read_window(op, node, err));
    if (node->kh != (int)w->dims[2] || node->kw != (int)w->dims[3]) {
        return qb_onnx_fail(op, err, QB_EINPUT, "attribute kernel_shape is %d,%d; the weights are %zux%zu",
                            node->kh, node->kw, w->dims[2], w->dims[3]);
    }
    return qb_onnx_weights(op, w, node, err);
}

enum qb_status qb_onnx_conv(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    const struct onnx_constant *w = NULL;
    struct qb_node node;
    QB_TRY(image(op, &src, err));
    QB_TRY(qb_onnx_floats(op, 1, &w, err));
    QB_TRY(qb_onnx_conv_node(op, w, &node, err));
    QB_TRY(qb_onnx_bias(op, 2, 1.0f, &node, err));
    return qb_onnx_emit_image(op, &node, src, false, err);
}

enum qb_status qb_onnx_average_pool_node(const struct onnx_op *op, struct qb_node *node, struct qb_error *err)
{
    *node = (struct qb_node){.op = QB_OP_AVGPOOL};
    QB_TRY(qb_onnx_attr_expect(op, "ceil_mode", 0, 0, err));
    QB_TRY(read_window(op, node, err));
    return node->kh == 0 ? qb_onnx_fail(op, err, QB_EINPUT, "attribute kernel_shape is missing") : QB_OK;
}

enum qb_status qb_onnx_average_pool(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qb_node node;
    QB_TRY(image(op, &src, err));
    QB_TRY(qb_onnx_average_pool_node(op, &node, err));
    return qb_onnx_emit_image(op, &node, src, false, err);
}

enum qb_status qb_onnx_global_average_pool(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qb_node node = {.op = QB_OP_AVGPOOL};
    QB_TRY(image(op, &src, err));
    return qb_onnx_emit_image(op, &node, src, false, err);
}

enum qb_status qb_onnx_reduce_mean(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    unsigned mask = 0;
    size_t count = 0;
    int64_t keepdims = 1;
    QB_TRY(image(op, &src, err));
    QB_TRY(qb_onnx_axes(op, 1, 4, &mask, &count, err));
    QB_TRY(qb_onnx_attr_int(op, "keepdims", 1, &keepdims, err));
    if (mask != 0xc && mask != 0x6) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "attribute axes: the mean over height and width (2,3 of N,C,H,W or 1,2 of N,H,W,C) is expected");
    }
    struct qb_node node = {.op = QB_OP_AVGPOOL};
    const bool channels_last = mask == 0x6;
    if (keepdims) {
        return qb_onnx_emit_image(op, &node, src, channels_last, err);
    }
    struct onnx_value pooled = *src;
    QB_TRY(qb_onnx_emit_on_nchw(op, &node, src, channels_last, &pooled.node, err));
    struct qb_node flatten = {.op = QB_OP_FLATTEN, .oc = QB_FLATTEN_SQUEEZE};
    return qb_onnx_emit_unary(op, &flatten, &pooled, 2, err);
}

/* Pads of all axes, first the starts, then the ends. */
static enum qb_status read_pads(const struct onnx_op *op, const int64_t **pads, struct qb_error *err)
{
    size_t count = 0;
    QB_TRY(qb_onnx_attr_ints(op, "pads", pads, &count, err));
    if (qb_onnx_has_input(op, 1)) {
        const struct onnx_constant *c = NULL;
        QB_TRY(qb_onnx_int64s(op, 1, &c, err));
        *pads = c->data;
        count = c->count;
    }
    if (count != 8) {
        return qb_onnx_fail(op, err, QB_EINPUT, "pads has %zu numbers; 8 are expected for an image", count);
    }
    return QB_OK;
}

enum qb_status qb_onnx_pad(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    const int64_t *pads = NULL;
    char mode[16] = "";
    float value = 0.0f;
    QB_TRY(image(op, &src, err));
    QB_TRY(qb_onnx_attr_string(op, "mode", "constant", mode, sizeof mode, err));
    QB_TRY(qb_onnx_attr_float(op, "value", 0.0f, &value, err));
    QB_TRY(read_pads(op, &pads, err));
    if (qb_onnx_has_input(op, 2)) {
        const struct onnx_constant *c = NULL;
        QB_TRY(qb_onnx_floats(op, 2, &c, err));
        value = c->count == 1 ? *(const float *)c->data : 1.0f;
    }
    if (strcmp(mode, "constant") != 0 || value != 0.0f) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "attribute mode is '%s', value %g; constant zeros are expected", mode,
                            (double)value);
    }
    if (qb_onnx_has_input(op, 3)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input axes is not supported; pads of all axes are expected");
    }
    unsigned padded = 0;
    for (int k = 0; k < 8; k++) {
        if (pads[k] < 0 || pads[k] > QB_MODEL_MAX_DIM) {
            return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "pads[%d] is %lld; 0 to %d is expected", k,
                                (long long)pads[k], QB_MODEL_MAX_DIM);
        }
        padded |= pads[k] ? 1U << (k % 4) : 0;
    }
    if (padded == 0) {
        return qb_onnx_alias(op, src, err);
    }
    const bool channels_last = padded & 2; /* axis 1 is the height of N,H,W,C */
    if ((padded & 1) || (channels_last && (padded & 8))) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "pads: only height and width may be padded");
    }
    const int h = channels_last ? 1 : 2, w = h + 1;
    struct qb_node node = {.op = QB_OP_PAD,
                           .pad_t = (int)pads[h],
                           .pad_l = (int)pads[w],
                           .pad_b = (int)pads[4 + h],
                           .pad_r = (int)pads[4 + w]};
    return qb_onnx_emit_image(op, &node, src, channels_last, err);
}
