/* TensorFlow Lite's operators, one function each; what they mean: tensorflow/lite/kernels. An operator over
 * INT8 tensors becomes the float operator between the DEQUANTIZE of its inputs and the QUANTIZE of its
 * output; what integers it computes is the arithmetic's business (src/engine/reference/arithmetic.h). */
#include <math.h>
#include <string.h>

#include "model/tflite_import.h"

static enum qb_status need_options(const struct tflite_op *op, struct qb_error *err)
{
    return op->file.has_options
               ? QB_OK
               : qb_tflite_fail(op, err, QB_EINPUT, "its options are missing or another operator's");
}

/* Strides and padding. */
static enum qb_status read_window(const struct tflite_op *op, struct qb_node *node, struct qb_error *err)
{
    QB_TRY(need_options(op, err));
    if (op->file.padding != QB_TFLITE_PADDING_SAME && op->file.padding != QB_TFLITE_PADDING_VALID) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "padding is %d; SAME or VALID is expected",
                              op->file.padding);
    }
    node->stride_h = op->file.stride_h;
    node->stride_w = op->file.stride_w;
    node->pad_mode = op->file.padding == QB_TFLITE_PADDING_SAME ? QB_PAD_SAME_UPPER : QB_PAD_EXPLICIT;
    return QB_OK;
}

static int64_t zero_point_of(const struct qb_tflite_tensor *t, size_t k)
{
    int64_t value;
    memcpy(&value, (const unsigned char *)t->zero_points + k * sizeof value, sizeof value);
    return value;
}

/* Scales of INT8 weights: one, or one an output channel, without zero points. */
static enum qb_status weight_scales(const struct tflite_op *op, const struct qb_tflite_tensor *wei, int oc,
                                    struct qb_weight_codes *codes, struct qb_error *err)
{
    if ((wei->scale_count != 1 && wei->scale_count != (size_t)oc) ||
        (wei->scale_count > 1 && wei->axis != 0)) {
        return qb_tflite_fail(
            op, err, QB_EUNSUPPORTED,
            "weights '%.200s' have %zu scales along axis %d; one, or one an output channel, is "
            "expected",
            wei->name, wei->scale_count, wei->axis);
    }
    for (size_t k = 0; k < wei->zero_point_count; k++) {
        if (zero_point_of(wei, k) != 0) {
            return qb_tflite_fail(op, err, QB_EUNSUPPORTED,
                                  "weights '%.200s' have zero point %lld; 0 is expected", wei->name,
                                  (long long)zero_point_of(wei, k));
        }
    }
    float *const scales = qb_tflite_array(op, wei->scale_count, sizeof *scales, err);
    int32_t *const zeros = qb_tflite_array(op, wei->scale_count, sizeof *zeros, err);
    if (!scales || !zeros) {
        return err->status;
    }
    for (size_t k = 0; k < wei->scale_count; k++) {
        scales[k] = wei->scales[k];
        if (!(scales[k] > 0.0F) || isinf(scales[k])) {
            return qb_tflite_fail(
                op, err, QB_EINPUT,
                "weights '%.200s' have scale %g in channel %zu; a positive number is expected", wei->name,
                (double)scales[k], k);
        }
    }
    codes->is_signed = true;
    codes->scale_count = (int)wei->scale_count;
    codes->scales = scales;
    codes->zero_points = zeros;
    return QB_OK;
}

/* [oc][taps][ic], as the file has them, to our [oc][ic][taps]; DENSE is the case of one tap. */
static void reorder(const struct qb_node *node, size_t taps, size_t size, const void *from, void *to)
{
    const size_t ic = (size_t)node->ic, count = (size_t)node->oc * taps * ic;
    for (size_t n = 0; n < count; n++) {
        const size_t i = n % ic, t = n / ic % taps, o = n / ic / taps;
        memcpy((unsigned char *)to + ((o * ic + i) * taps + t) * size, (const unsigned char *)from + n * size,
               size);
    }
}

static enum qb_status float_weights(const struct tflite_op *op, const struct qb_tflite_tensor *wei,
                                    size_t taps, struct qb_node *node, struct qb_error *err)
{
    float *const values = qb_tflite_array(op, wei->size / sizeof *values, sizeof *values, err);
    if (!values) {
        return err->status;
    }
    reorder(node, taps, sizeof *values, wei->data, values);
    node->wei = values;
    if (qb_tflite_has_input(op, 2)) {
        const struct qb_tflite_tensor *bia = NULL;
        QB_TRY(qb_tflite_constant(op, 2, QB_TFLITE_FLOAT32, 1, &bia, err));
        float *const to = qb_tflite_array(op, bia->size / sizeof *to, sizeof *to, err);
        if (!to) {
            return err->status;
        }
        memcpy(to, bia->data, bia->size);
        node->bia = to;
        if (bia->shape.values[0] != node->oc) {
            return qb_tflite_fail(op, err, QB_EINPUT, "bias '%.200s' has %d elements; %d are expected",
                                  bia->name, bia->shape.values[0], node->oc);
        }
    }
    return QB_OK;
}

/* INT32 with scale src * wei[k], which the file repeats. */
static enum qb_status int32_bias(const struct tflite_op *op, float src_scale, struct qb_weight_codes *codes,
                                 struct qb_node *node, struct qb_error *err)
{
    const size_t oc = (size_t)node->oc;
    int32_t *const bia = qb_tflite_array(op, oc, sizeof *bia, err);
    float *const values = qb_tflite_array(op, oc, sizeof *values, err);
    if (!bia || !values) {
        return err->status;
    }
    if (qb_tflite_has_input(op, 2)) {
        const struct qb_tflite_tensor *t = NULL;
        QB_TRY(qb_tflite_constant(op, 2, QB_TFLITE_INT32, 1, &t, err));
        if (t->size != oc * sizeof *bia || (t->scale_count != 1 && t->scale_count != oc)) {
            return qb_tflite_fail(op, err, QB_EINPUT,
                                  "bias '%.200s' has %zu bytes and %zu scales; %zu are expected", t->name,
                                  t->size, t->scale_count, oc);
        }
        memcpy(bia, t->data, t->size);
        for (size_t k = 0; k < oc; k++) {
            const float want = src_scale * codes->scales[codes->scale_count == 1 ? 0 : k],
                        have = t->scales[t->scale_count == 1 ? 0 : k];
            if (!(fabsf(have - want) <= 0.01F * want)) {
                return qb_tflite_fail(op, err, QB_EUNSUPPORTED,
                                      "bias '%.200s' has scale %g in channel %zu; %g, that of source times "
                                      "weights, is expected",
                                      t->name, (double)have, k, (double)want);
            }
        }
    }
    for (size_t k = 0; k < oc; k++) {
        values[k] = (float)bia[k] * (src_scale * codes->scales[codes->scale_count == 1 ? 0 : k]);
    }
    node->bia = values;
    node->bia_codes = bia;
    return QB_OK;
}

static enum qb_status int8_weights(const struct tflite_op *op, const struct qb_tflite_tensor *src,
                                   const struct qb_tflite_tensor *wei, size_t taps, struct qb_node *node,
                                   struct qb_error *err)
{
    struct qb_qdq q;
    struct qb_weight_codes *codes;
    QB_TRY(qb_tflite_qparams(op, src, &q, err));
    QB_ALLOC(codes, op->im->graph, 1, err);
    QB_TRY(weight_scales(op, wei, node->oc, codes, err));
    int8_t *const to = qb_tflite_array(op, wei->size, sizeof *to, err);
    float *const values = qb_tflite_array(op, wei->size, sizeof *values, err);
    if (!to || !values) {
        return err->status;
    }
    reorder(node, taps, 1, wei->data, to);
    const size_t each = wei->size / (size_t)node->oc;
    for (size_t i = 0; i < wei->size; i++) {
        values[i] = (float)to[i] * codes->scales[codes->scale_count == 1 ? 0 : i / each];
    }
    codes->codes = to;
    node->codes = codes;
    node->wei = values;
    return int32_bias(op, q.scale, codes, node, err);
}

/* Weights [oc][taps][ic] and bias of CONV and DENSE, FLOAT32 or INT8 as the source is. */
static enum qb_status take_weights(const struct tflite_op *op, const struct qb_tflite_tensor *src,
                                   const struct qb_tflite_tensor *wei, struct qb_node *node,
                                   struct qb_error *err)
{
    const size_t taps = node->op == QB_OP_CONV ? (size_t)node->kh * (size_t)node->kw : 1;
    return src->type == QB_TFLITE_INT8 ? int8_weights(op, src, wei, taps, node, err)
                                       : float_weights(op, wei, taps, node, err);
}

static enum qb_status import_conv(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL, *wei = NULL;
    struct qb_node conv = {.op = QB_OP_CONV, .src = {-1, -1}};
    QB_TRY(qb_tflite_source(op, 0, &src, &conv.src[0], err));
    QB_TRY(read_window(op, &conv, err));
    if (op->file.dilation_h != 1 || op->file.dilation_w != 1) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "dilation is %dx%d; 1x1 is expected",
                              op->file.dilation_h, op->file.dilation_w);
    }
    QB_TRY(qb_tflite_constant(op, 1, src->type, 4, &wei, err)); /* [oc][kh][kw][ic] */
    conv.oc = wei->shape.values[0];
    conv.kh = wei->shape.values[1];
    conv.kw = wei->shape.values[2];
    conv.ic = wei->shape.values[3];
    QB_TRY(take_weights(op, src, wei, &conv, err));
    return qb_tflite_emit(op, &conv, err);
}

static enum qb_status import_dense(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL, *wei = NULL;
    struct qb_node dense = {.op = QB_OP_DENSE, .src = {-1, -1}};
    QB_TRY(qb_tflite_source(op, 0, &src, &dense.src[0], err));
    QB_TRY(need_options(op, err));
    if (op->file.weights_format != 0) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "weights_format is %d; DEFAULT is expected",
                              op->file.weights_format);
    }
    QB_TRY(qb_tflite_constant(op, 1, src->type, 2, &wei, err)); /* [oc][ic] */
    dense.oc = wei->shape.values[0];
    dense.ic = wei->shape.values[1];
    QB_TRY(take_weights(op, src, wei, &dense, err));
    return qb_tflite_emit(op, &dense, err);
}

static enum qb_status import_add(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL;
    struct qb_node add = {.op = QB_OP_ADD};
    for (size_t k = 0; k < 2; k++) {
        QB_TRY(qb_tflite_source(op, k, &src, &add.src[k], err));
        if (src->type != op->dst->type) {
            return qb_tflite_fail(op, err, QB_EINPUT, "its inputs and its output are of different types");
        }
    }
    return qb_tflite_emit(op, &add, err);
}

static enum qb_status import_pool(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL;
    struct qb_node pool = {.op = QB_OP_AVGPOOL, .src = {-1, -1}};
    QB_TRY(qb_tflite_source(op, 0, &src, &pool.src[0], err));
    QB_TRY(read_window(op, &pool, err));
    pool.kh = op->file.kernel_h;
    pool.kw = op->file.kernel_w;
    if (pool.kh < 1 || pool.kw < 1) {
        return qb_tflite_fail(op, err, QB_EINPUT, "filter is %dx%d; positive numbers are expected", pool.kh,
                              pool.kw);
    }
    return qb_tflite_emit(op, &pool, err);
}

static enum qb_status import_relu(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL;
    struct qb_node relu = {.op = QB_OP_RELU, .src = {-1, -1}};
    QB_TRY(qb_tflite_source(op, 0, &src, &relu.src[0], err));
    return qb_tflite_emit(op, &relu, err);
}

static enum qb_status import_softmax(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL;
    struct qb_node softmax = {.op = QB_OP_SOFTMAX, .src = {-1, -1}};
    QB_TRY(qb_tflite_source(op, 0, &src, &softmax.src[0], err));
    QB_TRY(need_options(op, err));
    if (op->file.beta < 1.0F || op->file.beta > 1.0F) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "beta is %g; 1 is expected", (double)op->file.beta);
    }
    return qb_tflite_emit(op, &softmax, err);
}

static bool same_shape(struct qb_tflite_list a, struct qb_tflite_list b)
{
    return a.count == b.count && memcmp(a.values, b.values, a.count * sizeof *a.values) == 0;
}

/* What a Flatten of Keras 3 computes its RESHAPE's second input from. The shape stands at the RESHAPE's
 * output too, where it is read. */
static enum qb_status import_sizes(const struct tflite_op *op, struct qb_error *err)
{
    return op->dst->type == QB_TFLITE_INT32
               ? QB_OK
               : qb_tflite_fail(op, err, QB_EUNSUPPORTED, "it makes a tensor of type %s; INT32 is expected",
                                op->dst->type_name);
}

/* To [N, features], or to what it is already. Codes pass through. */
static enum qb_status import_reshape(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL;
    struct qb_node flatten = {.op = QB_OP_FLATTEN, .src = {-1, -1}};
    const struct qb_tflite_list shape = op->dst->shape;
    QB_TRY(qb_tflite_source(op, 0, &src, &flatten.src[0], err));
    int node = flatten.src[0];
    if (shape.count == 0 || !same_shape(src->shape, shape)) {
        if (shape.count != 2 || shape.values[1] < 1) {
            return qb_tflite_fail(op, err, QB_EUNSUPPORTED,
                                  "its output has %zu dimensions; [batch, features] is expected",
                                  shape.count);
        }
        flatten.oc = op->file.code == QB_TFLITE_SQUEEZE ? QB_FLATTEN_SQUEEZE : shape.values[1];
        flatten.source_name = op->name;
        flatten.source_type = op->file.code == QB_TFLITE_SQUEEZE ? "SQUEEZE" : "RESHAPE";
        QB_TRY(qb_graph_add(op->im->graph, &flatten, &node, err));
    }
    return qb_tflite_alias(op, src, node, err);
}

/* Rows of [dims][2] paddings that are not 0 for height and width only. */
static enum qb_status import_pad(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL, *constant = NULL;
    struct qb_node pad = {.op = QB_OP_PAD, .src = {-1, -1}};
    int32_t at[8];
    QB_TRY(qb_tflite_source(op, 0, &src, &pad.src[0], err));
    QB_TRY(qb_tflite_constant(op, 1, QB_TFLITE_INT32, 2, &constant, err));
    if (constant->size != sizeof at) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "paddings '%.200s' are not of shape [4, 2]",
                              constant->name);
    }
    memcpy(at, constant->data, sizeof at);
    if (at[0] || at[1] || at[6] || at[7]) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "it pads the batch or the channels");
    }
    pad.pad_t = at[2], pad.pad_b = at[3], pad.pad_l = at[4], pad.pad_r = at[5];
    return qb_tflite_emit(op, &pad, err);
}

/* Over height and width: an average pool of the whole image. */
static enum qb_status import_mean(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL, *constant = NULL;
    struct qb_node pool = {.op = QB_OP_AVGPOOL, .src = {-1, -1}};
    int32_t axes[2] = {0, 0};
    QB_TRY(qb_tflite_source(op, 0, &src, &pool.src[0], err));
    QB_TRY(qb_tflite_constant(op, 1, QB_TFLITE_INT32, 1, &constant, err));
    if (constant->size == sizeof axes) {
        memcpy(axes, constant->data, sizeof axes);
    }
    if (src->shape.count != 4 || !((axes[0] == 1 && axes[1] == 2) || (axes[0] == 2 && axes[1] == 1))) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "axes 1 and 2 of an image are expected");
    }
    if (src->type != QB_TFLITE_FLOAT32) {
        return qb_tflite_fail(
            op, err, QB_EUNSUPPORTED,
            "the mean of INT8 codes, which rounds in a way of its own; an AVERAGE_POOL_2D is "
            "expected (in Keras: AveragePooling2D in place of GlobalAveragePooling2D)");
    }
    QB_TRY(qb_tflite_emit(op, &pool, err));
    return QB_OK; /* DENSE reads it as it is, [N, channels] or [N, 1, 1, channels] */
}

static enum qb_status import_quantize(const struct tflite_op *op, struct qb_error *err)
{
    const struct tflite_import *const im = op->im;
    if (!qb_tflite_has_input(op, 0)) {
        return qb_tflite_fail(op, err, QB_EINPUT, "input 0 is missing");
    }
    const struct qb_tflite_tensor *src = &im->tensors[op->file.inputs.values[0]];
    int node = im->nodes[src - im->tensors];
    /* UINT8 pixels with zero point z + 128 to INT8 with z: the same codes, counted from elsewhere. */
    if (src->type == QB_TFLITE_UINT8 && node >= 0 && op->dst->type == QB_TFLITE_INT8) {
        struct qb_qdq a, b;
        QB_TRY(qb_tflite_qparams(op, src, &a, err));
        QB_TRY(qb_tflite_qparams(op, op->dst, &b, err));
        if (a.zero_point == b.zero_point + 128 && !(a.scale < b.scale) && !(a.scale > b.scale)) {
            im->nodes[op->dst - im->tensors] = node;
            return QB_OK;
        }
    }
    QB_TRY(qb_tflite_source(op, 0, &src, &node, err));
    struct qb_node quantize = {.op = QB_OP_QUANTIZE, .source_name = op->name, .src = {node, -1}};
    if (op->dst->type != QB_TFLITE_INT8) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "it makes codes of type %s; INT8 is expected",
                              op->dst->type_name);
    }
    QB_TRY(qb_tflite_qparams(op, op->dst, &quantize.q, err));
    QB_TRY(qb_graph_add(im->graph, &quantize, &node, err));
    quantize.op = QB_OP_DEQUANTIZE;
    quantize.src[0] = node;
    return qb_graph_add(im->graph, &quantize, &im->nodes[op->dst - im->tensors], err);
}

/* Tensors are looked up by their real values, which dequantizing does not change. */
static enum qb_status import_dequantize(const struct tflite_op *op, struct qb_error *err)
{
    const struct qb_tflite_tensor *src = NULL;
    int node;
    QB_TRY(qb_tflite_source(op, 0, &src, &node, err));
    if (src->type != QB_TFLITE_INT8 || op->dst->type != QB_TFLITE_FLOAT32) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "INT8 to FLOAT32 is expected");
    }
    op->im->nodes[op->dst - op->im->tensors] = node;
    return QB_OK;
}

static const struct {
    int code;
    enum qb_status (*import)(const struct tflite_op *op, struct qb_error *err);
} operators[] = {
    {QB_TFLITE_CONV_2D, import_conv},
    {QB_TFLITE_FULLY_CONNECTED, import_dense},
    {QB_TFLITE_ADD, import_add},
    {QB_TFLITE_RELU, import_relu},
    {QB_TFLITE_AVERAGE_POOL_2D, import_pool},
    {QB_TFLITE_MEAN, import_mean},
    {QB_TFLITE_PAD, import_pad},
    {QB_TFLITE_RESHAPE, import_reshape},
    {QB_TFLITE_SQUEEZE, import_reshape},
    {QB_TFLITE_SHAPE, import_sizes},
    {QB_TFLITE_STRIDED_SLICE, import_sizes},
    {QB_TFLITE_PACK, import_sizes},
    {QB_TFLITE_SOFTMAX, import_softmax},
    {QB_TFLITE_QUANTIZE, import_quantize},
    {QB_TFLITE_DEQUANTIZE, import_dequantize},
};

enum qb_status qb_tflite_operation(const struct tflite_op *op, struct qb_error *err)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (operators[i].code == op->file.code) {
            return operators[i].import(op, err);
        }
    }
    return op->file.name[0]
               ? qb_tflite_fail(op, err, QB_EUNSUPPORTED, "this operator is not supported%s%.60s",
                                op->file.custom[0] ? ": " : "", op->file.custom)
               : qb_tflite_fail(op, err, QB_EUNSUPPORTED, "operator number %d is not supported",
                                op->file.code);
}
