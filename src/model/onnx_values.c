/* Named tensors of an ONNX file: constants are decoded when first used, graph tensors know their node. */
#include "model/onnx_external.h"

#include <search.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct onnx_value *)a)->name, ((const struct onnx_value *)b)->name);
}

static void keep(void *value)
{
    (void)value; /* lives in the arena */
}

void qb_onnx_free_values(struct onnx_importer *im)
{
    tdestroy(im->values, keep);
    im->values = NULL;
}

enum qb_status qb_onnx_define(struct onnx_importer *im, const struct onnx_value *value, struct qb_error *err)
{
    struct onnx_value *copy;
    QB_ALLOC(copy, im->graph, 1, err);
    *copy = *value;
    copy->name = qb_arena_strdup(im->graph->arena, value->name);
    struct onnx_value **const slot = copy->name ? tsearch(copy, &im->values, compare_names) : NULL;
    if (!slot) {
        return qb_fail_memory(err, sizeof *copy);
    }
    if (*slot != copy) {
        return qb_fail(err, QB_EINPUT, "tensor '%.200s' is defined twice", value->name);
    }
    return QB_OK;
}

struct onnx_value *qb_onnx_find(const struct onnx_importer *im, const char *name)
{
    const struct onnx_value key = {.name = name};
    struct onnx_value **const found = tfind(&key, &im->values, compare_names);
    return found ? *found : NULL;
}

const char *qb_onnx_type_name(int type)
{
    const ProtobufCEnumValue *const v =
        protobuf_c_enum_descriptor_get_value(&onnx__tensor_proto__data_type__descriptor, type);
    return v ? v->name : "unknown";
}

size_t qb_onnx_element_size(int type)
{
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: return 4;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: return 8;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8: return 1;
    default: return 0;
    }
}

/* The typed field that holds elements of `type` when raw_data is not used: int32_data also serves the 8-bit
 * types. */
static void typed_data(const Onnx__TensorProto *t, const void **data, size_t *count)
{
    switch (t->data_type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        *data = t->float_data;
        *count = t->n_float_data;
        break;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
        *data = t->int64_data;
        *count = t->n_int64_data;
        break;
    default:
        *data = t->int32_data;
        *count = t->n_int32_data;
        break;
    }
}

/* The data is there in full. raw_data is little-endian, as this CPU is. */
static enum qb_status copy_elements(const Onnx__TensorProto *t, const char *name, size_t size, size_t count,
                                    void *out, struct qb_error *err)
{
    const void *data;
    size_t have;
    typed_data(t, &data, &have);
    if (t->has_raw_data || size > 1) {
        if (count) {
            memcpy(out, t->has_raw_data ? t->raw_data.data : data, count * size);
        }
        return QB_OK;
    }
    const int32_t *const wide = data;
    const int low = t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT8 ? -128 : 0;
    for (size_t i = 0; i < count; i++) {
        if (wide[i] < low || wide[i] > low + 255) {
            return qb_fail(err, QB_EINPUT, "tensor '%.200s' of type %s has element %d", name,
                           qb_onnx_type_name(t->data_type), wide[i]);
        }
        ((uint8_t *)out)[i] = (uint8_t)wide[i];
    }
    return QB_OK;
}

enum qb_status qb_onnx_decode(struct onnx_importer *im, const Onnx__TensorProto *tensor,
                              struct onnx_constant **out, struct qb_error *err)
{
    const char *const name = tensor->name ? tensor->name : "";
    const int type = tensor->has_data_type ? tensor->data_type : 0;
    const size_t size = qb_onnx_element_size(type);
    Onnx__TensorProto inside;
    if (tensor->n_external_data || tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        inside = *tensor;
        inside.has_raw_data = true;
        QB_TRY(qb_onnx_external_data(im, tensor, &inside.raw_data, err));
        tensor = &inside;
    }
    if (!size || tensor->segment) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "tensor '%.200s' has type %s (number %d of ONNX); FLOAT, INT8, UINT8, INT32 or INT64 "
                       "in one piece is "
                       "expected",
                       name, qb_onnx_type_name(type), type);
    }
    if (tensor->n_dims > QB_ONNX_MAX_RANK) {
        return qb_fail(err, QB_EUNSUPPORTED, "tensor '%.200s' has %zu dimensions; at most %d are expected",
                       name, tensor->n_dims, QB_ONNX_MAX_RANK);
    }
    struct onnx_constant *c;
    QB_ALLOC(c, im->graph, 1, err);
    c->type = type;
    c->rank = (int)tensor->n_dims;
    c->count = 1;
    for (size_t i = 0; i < tensor->n_dims; i++) {
        const int64_t dim = tensor->dims[i];
        if (dim < 0 || dim > QB_MODEL_MAX_COUNT || __builtin_mul_overflow(c->count, (size_t)dim, &c->count) ||
            c->count > QB_MODEL_MAX_COUNT) {
            return qb_fail(err, QB_EINPUT, "tensor '%.200s': dims[%zu] = %lld is out of range", name, i,
                           (long long)dim);
        }
        c->dims[i] = (size_t)dim;
    }
    /* The data must be there before memory for it is taken: dims alone may promise anything. */
    const void *typed;
    size_t have;
    typed_data(tensor, &typed, &have);
    if (!tensor->has_raw_data && have != c->count) {
        return qb_fail(err, QB_EINPUT, "tensor '%.200s' has %zu elements; its dims say %zu", name, have,
                       c->count);
    }
    if (tensor->has_raw_data && tensor->raw_data.len != c->count * size) {
        return qb_fail(err, QB_EINPUT,
                       "tensor '%.200s' has %zu bytes of raw_data; its dims say %zu elements of %zu bytes",
                       name, tensor->raw_data.len, c->count, size);
    }
    void *data = qb_graph_array(im->graph, c->count, size, err);
    if (!data) {
        return QB_ENOMEM;
    }
    QB_TRY(copy_elements(tensor, name, size, c->count, data, err));
    c->data = data;
    *out = c;
    return QB_OK;
}

bool qb_onnx_is_constant(const struct onnx_value *value)
{
    return value->initializer || value->constant;
}

bool qb_onnx_has_input(const struct onnx_op *op, size_t i)
{
    return i < op->node->n_input && op->node->input[i][0];
}

/* Why a name is unknown: a node further down makes it, or nothing does. */
static enum qb_status fail_undefined(const struct onnx_op *op, const char *name, struct qb_error *err)
{
    const Onnx__GraphProto *const g = op->im->source;
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_output; k++) {
            if (strcmp(g->node[i]->output[k], name) == 0) {
                return qb_onnx_fail(
                    op, err, QB_EINPUT,
                    "input '%.200s' is made by a later node or not for inference: the nodes are not in "
                    "topological order, form a cycle, or use an optional output",
                    name);
            }
        }
    }
    return qb_onnx_fail(op, err, QB_EINPUT, "input '%.200s' is not defined", name);
}

enum qb_status qb_onnx_input(const struct onnx_op *op, size_t i, struct onnx_value **out,
                             struct qb_error *err)
{
    if (!qb_onnx_has_input(op, i)) {
        return qb_onnx_fail(op, err, QB_EINPUT, "input %zu is missing", i);
    }
    *out = qb_onnx_find(op->im, op->node->input[i]);
    return *out ? QB_OK : fail_undefined(op, op->node->input[i], err);
}

enum qb_status qb_onnx_any_tensor(const struct onnx_op *op, size_t i, struct onnx_value **out,
                                  struct qb_error *err)
{
    struct onnx_value *value = NULL;
    QB_TRY(qb_onnx_input(op, i, &value, err));
    if (qb_onnx_is_constant(value)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input '%.200s' is a constant; a computed tensor is expected", value->name);
    }
    *out = value;
    return QB_OK;
}

enum qb_status qb_onnx_tensor(const struct onnx_op *op, size_t i, struct onnx_value **out,
                              struct qb_error *err)
{
    struct onnx_value *value = NULL;
    QB_TRY(qb_onnx_any_tensor(op, i, &value, err));
    if (value->integer) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input '%.200s' holds integers, of a QuantizeLinear or QLinear operator; only "
                            "DequantizeLinear and such operators may read it",
                            value->name);
    }
    *out = value;
    return QB_OK;
}

enum qb_status qb_onnx_codes(const struct onnx_op *op, size_t i, struct onnx_value **out,
                             struct qb_error *err)
{
    struct onnx_value *value = NULL;
    QB_TRY(qb_onnx_any_tensor(op, i, &value, err));
    if (!value->integer) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input '%.200s' is float; the output of a QuantizeLinear or QLinear operator is "
                            "expected",
                            value->name);
    }
    *out = value;
    return QB_OK;
}

enum qb_status qb_onnx_constant(const struct onnx_op *op, size_t i, const struct onnx_constant **out,
                                struct qb_error *err)
{
    struct onnx_value *value = NULL;
    QB_TRY(qb_onnx_input(op, i, &value, err));
    if (!qb_onnx_is_constant(value)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input %zu, '%.200s', is computed; an initializer or Constant is expected", i,
                            value->name);
    }
    if (!value->constant) {
        struct onnx_constant *decoded = NULL;
        if (qb_onnx_decode(op->im, value->initializer, &decoded, err) != QB_OK) {
            return qb_fail_prefix(err, "node '%.200s' (%.60s)", op->name, op->type);
        }
        value->constant = decoded;
    }
    *out = value->constant;
    return QB_OK;
}

static enum qb_status typed_constant(const struct onnx_op *op, size_t i, int type,
                                     const struct onnx_constant **out, struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    QB_TRY(qb_onnx_constant(op, i, &c, err));
    if (c->type != type) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "input %zu, '%.200s', has type %s; %s is expected", i,
                            op->node->input[i], qb_onnx_type_name(c->type), qb_onnx_type_name(type));
    }
    *out = c;
    return QB_OK;
}

enum qb_status qb_onnx_floats(const struct onnx_op *op, size_t i, const struct onnx_constant **out,
                              struct qb_error *err)
{
    return typed_constant(op, i, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, out, err);
}

enum qb_status qb_onnx_int64s(const struct onnx_op *op, size_t i, const struct onnx_constant **out,
                              struct qb_error *err)
{
    return typed_constant(op, i, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, out, err);
}

enum qb_status qb_onnx_int32s(const struct onnx_op *op, size_t i, const struct onnx_constant **out,
                              struct qb_error *err)
{
    return typed_constant(op, i, ONNX__TENSOR_PROTO__DATA_TYPE__INT32, out, err);
}

static enum qb_status define_output(const struct onnx_op *op, struct onnx_value value, struct qb_error *err)
{
    if (op->node->n_output == 0 || !op->node->output[0][0]) {
        return qb_onnx_fail(op, err, QB_EINPUT, "it has no output");
    }
    value.name = op->node->output[0];
    return qb_onnx_define(op->im, &value, err);
}

enum qb_status qb_onnx_alias(const struct onnx_op *op, const struct onnx_value *value, struct qb_error *err)
{
    return define_output(op, *value, err);
}

enum qb_status qb_onnx_define_constant(const struct onnx_op *op, const struct onnx_constant *constant,
                                       struct qb_error *err)
{
    return define_output(op, (struct onnx_value){.constant = constant}, err);
}

enum qb_status qb_onnx_define_tensor(const struct onnx_op *op, const struct onnx_value *src, int index,
                                     int rank, struct qb_error *err)
{
    struct onnx_value value = *src;
    value.node = index;
    value.rank = rank;
    return define_output(op, value, err);
}

enum qb_status qb_onnx_emit(const struct onnx_op *op, struct qb_node *node, int *index, struct qb_error *err)
{
    struct qb_arena *const arena = op->im->graph->arena;
    node->source_name = qb_arena_strdup(arena, op->name);
    node->source_type = qb_arena_strdup(arena, op->type);
    if (!node->source_name || !node->source_type) {
        return qb_fail_memory(err, strlen(op->name) + strlen(op->type));
    }
    return qb_graph_add(op->im->graph, node, index, err);
}

enum qb_status qb_onnx_emit_unary(const struct onnx_op *op, struct qb_node *node,
                                  const struct onnx_value *src, int rank, struct qb_error *err)
{
    int index = 0;
    node->src[0] = src->node;
    node->src[1] = -1;
    QB_TRY(qb_onnx_emit(op, node, &index, err));
    return qb_onnx_define_tensor(op, src, index, rank, err);
}

enum qb_status qb_onnx_charge_bytes(struct onnx_importer *im, size_t bytes, struct qb_error *err)
{
    im->parameter_bytes += bytes;
    return im->parameter_bytes <= 16 * im->graph->file_size + (1U << 20)
               ? QB_OK
               : qb_fail(err, QB_EUNSUPPORTED,
                         "the parameters up to here take %zu bytes, out of proportion to the file's %zu",
                         im->parameter_bytes, im->graph->file_size);
}

enum qb_status qb_onnx_charge(const struct onnx_op *op, size_t count, struct qb_error *err)
{
    return qb_onnx_charge_bytes(op->im, count * sizeof(float), err) == QB_OK
               ? QB_OK
               : qb_fail_prefix(err, "node '%.200s' (%.60s)", op->name, op->type);
}
