/* ONNX operators without parameters, those that do nothing at inference, and Constant. */
#include "model/onnx_import.h"

#include <float.h>
#include <string.h>

static enum qb_status emit_relu(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qb_node node = {.op = QB_OP_RELU};
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    return qb_onnx_emit_unary(op, &node, src, src->rank, err);
}

enum qb_status qb_onnx_relu(const struct onnx_op *op, struct qb_error *err)
{
    return emit_relu(op, err);
}

/* A bound of Clip: an attribute before opset 11, an optional input since. */
static enum qb_status bound(const struct onnx_op *op, const char *name, size_t input, float *out,
                            struct qb_error *err)
{
    QB_TRY(qb_onnx_attr_float(op, name, *out, out, err));
    if (qb_onnx_has_input(op, input)) {
        const struct onnx_constant *c = NULL;
        QB_TRY(qb_onnx_floats(op, input, &c, err));
        if (c->count != 1) {
            return qb_onnx_fail(op, err, QB_EINPUT, "input %s has %zu elements; 1 is expected", name,
                                c->count);
        }
        *out = *(const float *)c->data;
    }
    return QB_OK;
}

enum qb_status qb_onnx_clip(const struct onnx_op *op, struct qb_error *err)
{
    float low = -FLT_MAX, high = FLT_MAX;
    QB_TRY(bound(op, "min", 1, &low, err));
    QB_TRY(bound(op, "max", 2, &high, err));
    if (low != 0.0f || !(high >= FLT_MAX)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "min is %g, max %g; only 0 and no maximum (a ReLU) is supported", (double)low,
                            (double)high);
    }
    return emit_relu(op, err);
}

enum qb_status qb_onnx_softmax(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qb_node node = {.op = QB_OP_SOFTMAX};
    int64_t axis = -1;
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    QB_TRY(qb_onnx_attr_int(op, "axis", -1, &axis, err));
    if (src->rank != 2 || (axis != 1 && axis != -1)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "attribute axis is %lld, its source has rank %d; classes of [N, classes] "
                            "are expected",
                            (long long)axis, src->rank);
    }
    return qb_onnx_emit_unary(op, &node, src, 2, err);
}

enum qb_status qb_onnx_identity(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    QB_TRY(qb_onnx_input(op, 0, &src, err));
    return qb_onnx_alias(op, src, err);
}

/* At inference it does nothing; its second output, the mask, stays undefined. */
enum qb_status qb_onnx_dropout(const struct onnx_op *op, struct qb_error *err)
{
    if (qb_onnx_has_input(op, 2)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input training_mode is not supported; an inference model is expected");
    }
    return qb_onnx_identity(op, err);
}

enum qb_status qb_onnx_constant_node(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_constant *c = NULL;
    const Onnx__AttributeProto *const value = qb_onnx_attr(op, "value");
    if (value && value->t) {
        if (qb_onnx_decode(op->im, value->t, &c, err) != QB_OK) {
            return qb_fail_prefix(err, "node '%.200s' (Constant)", op->name);
        }
        return qb_onnx_define_constant(op, c, err);
    }
    QB_ALLOC(c, op->im->graph, 1, err);
    const Onnx__AttributeProto *a;
    if ((a = qb_onnx_attr(op, "value_ints")) || (a = qb_onnx_attr(op, "value_int"))) {
        const bool list = strcmp(a->name, "value_ints") == 0;
        c->type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
        c->rank = list;
        c->dims[0] = c->count = list ? a->n_ints : 1;
        c->data = qb_arena_memdup(op->im->graph->arena, list ? a->ints : &a->i, c->count * sizeof(int64_t));
    } else if ((a = qb_onnx_attr(op, "value_floats")) || (a = qb_onnx_attr(op, "value_float"))) {
        const bool list = strcmp(a->name, "value_floats") == 0;
        c->type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
        c->rank = list;
        c->dims[0] = c->count = list ? a->n_floats : 1;
        c->data = qb_arena_memdup(op->im->graph->arena, list ? a->floats : &a->f, c->count * sizeof(float));
    } else {
        return qb_onnx_fail(op, err, QB_EINPUT, "it has no attribute value, value_int(s) or value_float(s)");
    }
    if (!c->data) {
        return qb_fail_memory(err, c->count * sizeof(int64_t));
    }
    return qb_onnx_define_constant(op, c, err);
}
