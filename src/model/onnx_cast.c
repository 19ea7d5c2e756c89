/* Cast and ConstantOfShape, as far as exporters of quantized models need them: PyTorch's writes casts that
 * change nothing, and the zero points of biases as zeros of a computed shape. */
#include "model/onnx_import.h"

#include <string.h>

static int64_t integer_at(const struct onnx_constant *c, size_t i)
{
    switch (c->type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8: return ((const int8_t *)c->data)[i];
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8: return ((const uint8_t *)c->data)[i];
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: return ((const int32_t *)c->data)[i];
    default: return ((const int64_t *)c->data)[i];
    }
}

/* Element i becomes `value`; false where the type has no such number. */
static bool put(int type, void *data, size_t i, int64_t value)
{
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8: return (((int8_t *)data)[i] = (int8_t)value) == value;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8: return (((uint8_t *)data)[i] = (uint8_t)value) == value;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: return (((int32_t *)data)[i] = (int32_t)value) == value;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: ((int64_t *)data)[i] = value; return true;
    default: ((float *)data)[i] = (float)value; return true;
    }
}

static enum qb_status cast_constant(const struct onnx_op *op, int to, struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    struct onnx_constant *out;
    const size_t size = qb_onnx_element_size(to);
    QB_TRY(qb_onnx_constant(op, 0, &c, err));
    if (to == c->type) {
        return qb_onnx_define_constant(op, c, err);
    }
    if (size == 0 || c->type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "a constant of type %s is cast to %s; int to int or float is expected",
                            qb_onnx_type_name(c->type), qb_onnx_type_name(to));
    }
    QB_TRY(qb_onnx_charge(op, c->count, err));
    QB_ALLOC(out, op->im->graph, 1, err);
    void *const data = qb_graph_array(op->im->graph, c->count, size, err);
    if (!data) {
        return QB_ENOMEM;
    }
    for (size_t i = 0; i < c->count; i++) {
        const int64_t value = integer_at(c, i);
        if (!put(to, data, i, value)) {
            return qb_onnx_fail(op, err, QB_EINPUT,
                                "element %zu of its constant is %lld, which %s does not have", i,
                                (long long)value, qb_onnx_type_name(to));
        }
    }
    *out = *c;
    out->type = to;
    out->data = data;
    return qb_onnx_define_constant(op, out, err);
}

enum qb_status qb_onnx_cast(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    int64_t to = 0;
    QB_TRY(qb_onnx_input(op, 0, &src, err));
    QB_TRY(qb_onnx_attr_int(op, "to", 0, &to, err));
    if (to < 1 || to > INT16_MAX) {
        return qb_onnx_fail(op, err, QB_EINPUT, "attribute to is %lld; a type of ONNX is expected",
                            (long long)to);
    }
    if (qb_onnx_is_constant(src)) {
        return cast_constant(op, (int)to, err);
    }
    const int type = src->integer ? qb_onnx_code_type(op->im, src) : ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    if (to != type) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "it makes %s of a tensor of %s; a cast that changes nothing is expected",
                            qb_onnx_type_name((int)to), qb_onnx_type_name(type));
    }
    return qb_onnx_alias(op, src, err);
}

/* One element for all: attribute `value`, a tensor of one; 0.0 without it. */
static enum qb_status fill_value(const struct onnx_op *op, struct onnx_constant **out, struct qb_error *err)
{
    const Onnx__AttributeProto *const value = qb_onnx_attr(op, "value");
    if (value && value->t) {
        if (qb_onnx_decode(op->im, value->t, out, err) != QB_OK) {
            return qb_fail_prefix(err, "node '%.200s' (%.60s)", op->name, op->type);
        }
        return (*out)->count == 1
                   ? QB_OK
                   : qb_onnx_fail(op, err, QB_EINPUT, "attribute value has %zu elements; one is expected",
                                  (*out)->count);
    }
    QB_ALLOC(*out, op->im->graph, 1, err);
    (*out)->type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    (*out)->count = 1;
    (*out)->data = qb_graph_array(op->im->graph, 1, sizeof(float), err);
    return (*out)->data ? QB_OK : QB_ENOMEM;
}

enum qb_status qb_onnx_constant_of_shape(const struct onnx_op *op, struct qb_error *err)
{
    const struct onnx_constant *shape = NULL;
    struct onnx_constant *out = NULL;
    QB_TRY(qb_onnx_int64s(op, 0, &shape, err));
    QB_TRY(fill_value(op, &out, err));
    if (shape->count > QB_ONNX_MAX_RANK) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "a shape of %zu sizes; at most %d are expected",
                            shape->count, QB_ONNX_MAX_RANK);
    }
    for (size_t i = 0; i < shape->count; i++) {
        const int64_t dim = ((const int64_t *)shape->data)[i];
        if (dim < 0 || dim > QB_MODEL_MAX_COUNT ||
            __builtin_mul_overflow(out->count, (size_t)dim, &out->count) || out->count > QB_MODEL_MAX_COUNT) {
            return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                                "size %zu of its shape is %lld, or not known, or too large", i,
                                (long long)dim);
        }
        out->dims[i] = (size_t)dim;
    }
    out->rank = (int)shape->count;
    QB_TRY(qb_onnx_charge(op, out->count, err));
    const size_t size = qb_onnx_element_size(out->type);
    char *const data = qb_graph_array(op->im->graph, out->count, size, err);
    if (!data) {
        return QB_ENOMEM;
    }
    for (size_t i = 0; i < out->count; i++) {
        memcpy(data + i * size, out->data, size);
    }
    out->data = data;
    return qb_onnx_define_constant(op, out, err);
}
