/* QuantizeLinear and DequantizeLinear: on constants they are computed here and leave codes beside the float
 * values; on activations they become graph nodes. */
#include "model/onnx_import.h"

#include <math.h>
#include <string.h>

/* Scales and zero points of one node; zero points are 0 when the input is missing. */
struct qparams {
    size_t count; /* 1 or the length of the axis */
    const float *scales;
    int32_t *zero_points;
    int type; /* of the codes, as the zero point's; 0 when that is missing */
    int64_t axis;
};

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

static enum qb_status read_qparams(const struct onnx_op *op, struct qparams *out, struct qb_error *err)
{
    const struct onnx_constant *scale = NULL, *zero = NULL;
    QB_TRY(qb_onnx_attr_int(op, "axis", 1, &out->axis, err));
    QB_TRY(qb_onnx_attr_expect(op, "block_size", 0, 0, err));
    QB_TRY(qb_onnx_floats(op, 1, &scale, err));
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
    out->count = scale->count;
    out->scales = scale->data;
    out->type = 0;
    QB_TRY(qb_onnx_charge(op, scale->count, err));
    QB_ALLOC(out->zero_points, op->im->graph, scale->count, err);
    if (!qb_onnx_has_input(op, 2)) {
        return QB_OK;
    }
    QB_TRY(qb_onnx_constant(op, 2, &zero, err));
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

/* Index of the scale of element i: scales run along `axis` of the constant, `inner` elements apart. */
static enum qb_status scale_steps(const struct onnx_op *op, const struct onnx_constant *c, struct qparams *q,
                                  size_t *inner, struct qb_error *err)
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

static enum qb_status dequantize_constant(const struct onnx_op *op, struct qparams *q, struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    size_t inner = 1;
    QB_TRY(qb_onnx_constant(op, 0, &c, err));
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
    for (size_t i = 0; i < c->count; i++) {
        const size_t k = q->count == 1 ? 0 : i / inner % q->count;
        values[i] = (float)((int64_t)element(c, i) - q->zero_points[k]) * q->scales[k];
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
    }
    return qb_onnx_define_constant(op, out, err);
}

/* y = saturate(round_half_even(x / scale) + zero_point) */
static enum qb_status quantize_constant(const struct onnx_op *op, struct qparams *q, struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    size_t inner = 1;
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
    return qb_onnx_define_constant(op, out, err);
}

static enum qb_status emit_activation(const struct onnx_op *op, enum qb_op kind, const struct onnx_value *src,
                                      const struct qparams *q, struct qb_error *err)
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
    struct onnx_value out = *src;
    out.integer = kind == QB_OP_QUANTIZE;
    QB_TRY(qb_onnx_emit(op, &node, &out.node, err));
    return qb_onnx_alias(op, &out, err);
}

enum qb_status qb_onnx_quantize_linear(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qparams q = {0};
    int64_t type = 0;
    QB_TRY(qb_onnx_input(op, 0, &src, err));
    QB_TRY(read_qparams(op, &q, err));
    QB_TRY(qb_onnx_attr_int(op, "output_dtype", 0, &type, err));
    type = type ? type : q.type;
    if (q.type && type != q.type) {
        return qb_onnx_fail(op, err, QB_EINPUT,
                            "attribute output_dtype and the type of the zero point differ");
    }
    q.type = type ? (int)type : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
    if (q.type != ONNX__TENSOR_PROTO__DATA_TYPE__INT8 && q.type != ONNX__TENSOR_PROTO__DATA_TYPE__UINT8) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "the codes are of another type than int8 or uint8");
    }
    if (qb_onnx_is_constant(src)) {
        return quantize_constant(op, &q, err);
    }
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    return emit_activation(op, QB_OP_QUANTIZE, src, &q, err);
}

enum qb_status qb_onnx_dequantize_linear(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qparams q = {0};
    QB_TRY(qb_onnx_input(op, 0, &src, err));
    QB_TRY(read_qparams(op, &q, err));
    if (qb_onnx_is_constant(src)) {
        return dequantize_constant(op, &q, err);
    }
    if (!src->integer) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input '%.200s' is float; the output of a QuantizeLinear is expected", src->name);
    }
    const struct qb_node *const quantize = &op->im->graph->nodes[src->node];
    if (!q.type) {
        q.type = quantize->q.is_signed ? ONNX__TENSOR_PROTO__DATA_TYPE__INT8
                                       : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
    }
    if (quantize->q.scale != q.scales[0] || quantize->q.zero_point != q.zero_points[0] ||
        quantize->q.is_signed != (q.type == ONNX__TENSOR_PROTO__DATA_TYPE__INT8)) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "scale, zero point and type are expected to be those of the QuantizeLinear before it, '%.200s'",
            quantize->source_name);
    }
    return emit_activation(op, QB_OP_DEQUANTIZE, src, &q, err);
}
