/* QuantizeLinear and DequantizeLinear: on constants they are computed here and leave codes beside the float
 * values; on activations they become graph nodes. */
#include "model/onnx_import.h"

#include <math.h>
#include <string.h>

static int32_t element(const struct onnx_constant *c, size_t i)
{
    switch (c->type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8: return ((const int8_t *)c->data)[i];
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8: return ((const uint8_t *)c->data)[i];
    default: return ((const int32_t *)c->data)[i];
    }
}

static bool is_code_type(int type)
{
    return type == ONNX__TENSOR_PROTO__DATA_TYPE__INT8 || type == ONNX__TENSOR_PROTO__DATA_TYPE__UINT8 ||
           type == ONNX__TENSOR_PROTO__DATA_TYPE__INT32;
}

enum qb_status qb_onnx_read_qparams(const struct onnx_op *op, size_t scale_input, int64_t axis,
                                    struct onnx_qparams *out, struct qb_error *err)
{
    const struct onnx_constant *scale = NULL, *zero = NULL;
    QB_TRY(qb_onnx_floats(op, scale_input, &scale, err));
    if (scale->rank > 1 || scale->count == 0) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "the scale has rank %d; a number or a list is expected",
                            scale->rank);
    }
    for (size_t i = 0; i < scale->count; i++) {
        const float s = ((const float *)scale->data)[i];
        if (!(s > 0.0f) || isinf(s)) {
            return qb_onnx_fail(op, err, QB_EINPUT, "scale %zu is %g; a positive number is expected", i,
                                (double)s);
        }
    }
    out->axis = axis;
    out->count = scale->count;
    out->scales = scale->data;
    out->type = 0;
    QB_TRY(qb_onnx_charge(op, scale->count, err));
    QB_ALLOC(out->zero_points, op->im->graph, scale->count, err);
    if (!qb_onnx_has_input(op, scale_input + 1)) {
        return QB_OK;
    }
    QB_TRY(qb_onnx_constant(op, scale_input + 1, &zero, err));
    if (!is_code_type(zero->type) || (zero->count != 1 && zero->count != scale->count)) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "the zero point has %zu elements for %zu scales, or another type than int8, uint8 or int32",
            zero->count, scale->count);
    }
    for (size_t i = 0; i < scale->count; i++) {
        out->zero_points[i] = element(zero, zero->count == 1 ? 0 : i);
    }
    out->type = zero->type;
    return QB_OK;
}

/* Inputs 1 and 2 of QuantizeLinear and DequantizeLinear. */
static enum qb_status read_inputs(const struct onnx_op *op, struct onnx_qparams *out, struct qb_error *err)
{
    int64_t axis = 1;
    QB_TRY(qb_onnx_attr_int(op, "axis", 1, &axis, err));
    QB_TRY(qb_onnx_attr_expect(op, "block_size", 0, 0, err));
    return qb_onnx_read_qparams(op, 1, axis, out, err);
}

/* Index of the scale of element i: scales run along `axis` of the constant, `inner` elements apart. */
static enum qb_status scale_steps(const struct onnx_op *op, const struct onnx_constant *c,
                                  struct onnx_qparams *q, size_t *inner, struct qb_error *err)
{
    *inner = 1;
    if (q->count == 1) {
        return QB_OK;
    }
    const int64_t axis = q->axis < 0 ? q->axis + c->rank : q->axis;
    if (axis < 0 || axis >= c->rank || c->dims[axis] != q->count) {
        return qb_onnx_fail(op, err, QB_EINPUT,
                            "attribute axis is %lld: %zu scales do not fit that axis of its constant",
                            (long long)q->axis, q->count);
    }
    for (int k = (int)axis + 1; k < c->rank; k++) {
        *inner *= c->dims[k];
    }
    q->axis = axis;
    return QB_OK;
}

static bool all_zero(const int32_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i] != 0) {
            return false;
        }
    }
    return true;
}

enum qb_status qb_onnx_dequantized(const struct onnx_op *op, size_t i, struct onnx_qparams *q,
                                   const struct onnx_constant **result, struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    size_t inner = 1;
    QB_TRY(qb_onnx_constant(op, i, &c, err));
    if (!is_code_type(c->type) || (q->type && q->type != c->type)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "int8, uint8 or int32 codes with a zero point of the same type are expected");
    }
    QB_TRY(scale_steps(op, c, q, &inner, err));
    struct onnx_constant *out;
    float *values;
    QB_TRY(qb_onnx_charge(op, c->count, err));
    QB_ALLOC(out, op->im->graph, 1, err);
    QB_ALLOC(values, op->im->graph, c->count, err);
    for (size_t n = 0; n < c->count; n++) {
        const size_t k = q->count == 1 ? 0 : n / inner % q->count;
        values[n] = (float)((int64_t)element(c, n) - q->zero_points[k]) * q->scales[k];
    }
    *out = *c;
    out->type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    out->data = values;
    if (c->type != ONNX__TENSOR_PROTO__DATA_TYPE__INT32) {
        struct qb_weight_codes *codes;
        QB_ALLOC(codes, op->im->graph, 1, err);
        codes->codes = c->data;
        codes->is_signed = c->type == ONNX__TENSOR_PROTO__DATA_TYPE__INT8;
        codes->scale_count = (int)q->count;
        codes->scales = q->scales;
        codes->zero_points = q->zero_points;
        out->codes = codes;
        out->axis = q->count == 1 ? 0 : (int)q->axis;
    } else if (all_zero(q->zero_points, q->count)) {
        out->bia_codes = c->data;
        out->bia_scales = q->scales;
        out->bia_scale_count = (int)q->count;
    }
    *result = out;
    return QB_OK;
}

/* uint8 where nothing says a type. */
static enum qb_status settle_type(const struct onnx_op *op, struct onnx_qparams *q, struct qb_error *err)
{
    q->type = q->type ? q->type : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
    return q->type == ONNX__TENSOR_PROTO__DATA_TYPE__INT8 || q->type == ONNX__TENSOR_PROTO__DATA_TYPE__UINT8
               ? QB_OK
               : qb_onnx_fail(op, err, QB_EUNSUPPORTED, "the codes are of another type than int8 or uint8");
}

/* y = saturate(round_half_even(x / scale) + zero_point) */
static enum qb_status quantize_constant(const struct onnx_op *op, struct onnx_qparams *q,
                                        struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    size_t inner = 1;
    QB_TRY(settle_type(op, q, err));
    QB_TRY(qb_onnx_floats(op, 0, &c, err));
    QB_TRY(scale_steps(op, c, q, &inner, err));
    struct onnx_constant *out;
    uint8_t *codes;
    QB_TRY(qb_onnx_charge(op, c->count, err));
    QB_ALLOC(out, op->im->graph, 1, err);
    QB_ALLOC(codes, op->im->graph, c->count, err);
    const float low = q->type == ONNX__TENSOR_PROTO__DATA_TYPE__INT8 ? -128.0f : 0.0f;
    for (size_t i = 0; i < c->count; i++) {
        const size_t k = q->count == 1 ? 0 : i / inner % q->count;
        const float code = nearbyintf(((const float *)c->data)[i] / q->scales[k]) + (float)q->zero_points[k];
        codes[i] = (uint8_t)(int)fmaxf(low, fminf(code, low + 255.0f));
    }
    *out = *c;
    out->type = q->type;
    out->data = codes;
    out->codes = NULL;
    out->bia_codes = NULL;
    return qb_onnx_define_constant(op, out, err);
}

static enum qb_status emit(const struct onnx_op *op, enum qb_op kind, const struct onnx_value *src,
                           const struct onnx_qparams *q, struct onnx_value *out, struct qb_error *err)
{
    struct qb_node node = {.op = kind,
                           .src = {src->node, -1},
                           .q = {.scale = q->scales[0],
                                 .zero_point = q->zero_points[0],
                                 .is_signed = q->type == ONNX__TENSOR_PROTO__DATA_TYPE__INT8}};
    if (q->count != 1) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "%zu scales for an activation; one is expected",
                            q->count);
    }
    *out = *src;
    out->integer = kind == QB_OP_QUANTIZE;
    return qb_onnx_emit(op, &node, &out->node, err);
}

enum qb_status qb_onnx_quantize(const struct onnx_op *op, const struct onnx_value *src,
                                struct onnx_qparams *q, struct qb_error *err)
{
    struct onnx_value out;
    QB_TRY(settle_type(op, q, err));
    QB_TRY(emit(op, QB_OP_QUANTIZE, src, q, &out, err));
    return qb_onnx_alias(op, &out, err);
}

/* What stands between moves integers only. */
static const struct qb_node *quantize_of(const struct onnx_importer *im, const struct onnx_value *value)
{
    const struct qb_node *node = &im->graph->nodes[value->node];
    while (node->op != QB_OP_QUANTIZE) {
        node = &im->graph->nodes[node->src[0]];
    }
    return node;
}

int qb_onnx_code_type(const struct onnx_importer *im, const struct onnx_value *value)
{
    return quantize_of(im, value)->q.is_signed ? ONNX__TENSOR_PROTO__DATA_TYPE__INT8
                                               : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
}

enum qb_status qb_onnx_dequantize(const struct onnx_op *op, const struct onnx_value *src,
                                  struct onnx_qparams *q, struct onnx_value *out, struct qb_error *err)
{
    const struct qb_node *const quantize = quantize_of(op->im, src);
    const int type = qb_onnx_code_type(op->im, src);
    q->type = q->type ? q->type : type;
    if (quantize->q.scale != q->scales[0] || quantize->q.zero_point != q->zero_points[0] || q->type != type) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "scale, zero point and type of '%.200s' are expected to be those of the node that "
            "makes it, '%.200s'",
            src->name, quantize->source_name);
    }
    return emit(op, QB_OP_DEQUANTIZE, src, q, out, err);
}

enum qb_status qb_onnx_quantize_linear(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct onnx_qparams q = {0};
    int64_t type = 0;
    QB_TRY(qb_onnx_input(op, 0, &src, err));
    QB_TRY(read_inputs(op, &q, err));
    QB_TRY(qb_onnx_attr_int(op, "output_dtype", 0, &type, err));
    if (q.type && type && type != q.type) {
        return qb_onnx_fail(op, err, QB_EINPUT,
                            "attribute output_dtype and the type of the zero point differ");
    }
    q.type = q.type ? q.type : (int)type;
    if (qb_onnx_is_constant(src)) {
        return quantize_constant(op, &q, err);
    }
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    return qb_onnx_quantize(op, src, &q, err);
}

enum qb_status qb_onnx_dequantize_linear(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL, out;
    struct onnx_qparams q = {0};
    QB_TRY(qb_onnx_input(op, 0, &src, err));
    QB_TRY(read_inputs(op, &q, err));
    if (qb_onnx_is_constant(src)) {
        const struct onnx_constant *c = NULL;
        QB_TRY(qb_onnx_dequantized(op, 0, &q, &c, err));
        return qb_onnx_define_constant(op, c, err);
    }
    QB_TRY(qb_onnx_codes(op, 0, &src, err));
    QB_TRY(qb_onnx_dequantize(op, src, &q, &out, err));
    return qb_onnx_alias(op, &out, err);
}
