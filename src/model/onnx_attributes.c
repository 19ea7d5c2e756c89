/* Attributes of ONNX nodes, checked for their type. */
#include "model/onnx_import.h"

#include <string.h>

const Onnx__AttributeProto *qb_onnx_attr(const struct onnx_op *op, const char *name)
{
    for (size_t i = 0; i < op->node->n_attribute; i++) {
        const Onnx__AttributeProto *const a = op->node->attribute[i];
        if (a->name && strcmp(a->name, name) == 0) {
            return a;
        }
    }
    return NULL;
}

/* *out is NULL when the attribute is missing. Files before IR version 2 do not state the type. */
static enum qb_status find(const struct onnx_op *op, const char *name, int type, const char *expected,
                           const Onnx__AttributeProto **out, struct qb_error *err)
{
    const Onnx__AttributeProto *const a = qb_onnx_attr(op, name);
    if (a && a->has_type && (int)a->type != type) {
        return qb_onnx_fail(op, err, QB_EINPUT, "attribute %s is expected to be %s", name, expected);
    }
    *out = a;
    return QB_OK;
}

enum qb_status qb_onnx_attr_int(const struct onnx_op *op, const char *name, int64_t fallback, int64_t *out,
                                struct qb_error *err)
{
    const Onnx__AttributeProto *a = NULL;
    QB_TRY(find(op, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, "an integer", &a, err));
    *out = a ? a->i : fallback;
    return QB_OK;
}

enum qb_status qb_onnx_attr_float(const struct onnx_op *op, const char *name, float fallback, float *out,
                                  struct qb_error *err)
{
    const Onnx__AttributeProto *a = NULL;
    QB_TRY(find(op, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT, "a float", &a, err));
    *out = a ? a->f : fallback;
    return QB_OK;
}

enum qb_status qb_onnx_attr_ints(const struct onnx_op *op, const char *name, const int64_t **values,
                                 size_t *count, struct qb_error *err)
{
    const Onnx__AttributeProto *a = NULL;
    QB_TRY(find(op, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS, "a list of integers", &a, err));
    *values = a && a->n_ints ? a->ints : NULL;
    *count = a ? a->n_ints : 0;
    return QB_OK;
}

enum qb_status qb_onnx_attr_string(const struct onnx_op *op, const char *name, const char *fallback,
                                   char *out, size_t size, struct qb_error *err)
{
    const Onnx__AttributeProto *a = NULL;
    QB_TRY(find(op, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING, "a string", &a, err));
    const char *const text = a ? (const char *)a->s.data : fallback;
    const size_t length = a ? a->s.len : strlen(fallback);
    if (length >= size) {
        return qb_onnx_fail(op, err, QB_EINPUT, "attribute %s has %zu bytes, which is not one of its values",
                            name, length);
    }
    if (length) {
        memcpy(out, text, length);
    }
    out[length] = '\0';
    return QB_OK;
}

enum qb_status qb_onnx_attr_expect(const struct onnx_op *op, const char *name, int64_t fallback, int64_t want,
                                   struct qb_error *err)
{
    int64_t value = fallback;
    QB_TRY(qb_onnx_attr_int(op, name, fallback, &value, err));
    if (value != want) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "attribute %s is %lld; only %lld is supported", name,
                            (long long)value, (long long)want);
    }
    return QB_OK;
}

enum qb_status qb_onnx_axes(const struct onnx_op *op, size_t i, int rank, unsigned *mask, size_t *count,
                            struct qb_error *err)
{
    const int64_t *axes = NULL;
    size_t n = 0;
    QB_TRY(qb_onnx_attr_ints(op, "axes", &axes, &n, err));
    if (qb_onnx_has_input(op, i)) {
        const struct onnx_constant *c = NULL;
        QB_TRY(qb_onnx_int64s(op, i, &c, err));
        axes = c->data;
        n = c->count;
    }
    *mask = 0;
    *count = n;
    for (size_t k = 0; k < n; k++) {
        const int64_t axis = axes[k] < 0 ? axes[k] + rank : axes[k];
        if (axis < 0 || axis >= rank || (*mask >> axis & 1)) {
            return qb_onnx_fail(op, err, QB_EINPUT, "axes[%zu] = %lld does not fit a tensor of rank %d", k,
                                (long long)axes[k], rank);
        }
        *mask |= 1U << axis;
    }
    return QB_OK;
}
