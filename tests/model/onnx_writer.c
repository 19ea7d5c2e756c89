/* See onnx_writer.h. */
#include "onnx_writer.h"

#include <stdlib.h>
#include <string.h>

#include "testing.h"

static void *take(struct onnx_writer *w, size_t count, size_t size)
{
    void *const memory = qb_arena_array(w->arena, count, size);
    assert_non_null(memory);
    return memory;
}

static char *text(struct onnx_writer *w, const char *s)
{
    char *const copy = qb_arena_strdup(w->arena, s);
    assert_non_null(copy);
    return copy;
}

/* Appends a pointer to a protobuf-c array. */
static void append(struct onnx_writer *w, void *array, size_t *count, void *item)
{
    void **const grown = take(w, *count + 1, sizeof *grown);
    void **old;
    memcpy(&old, array, sizeof old);
    if (*count) {
        memcpy(grown, old, *count * sizeof *grown);
    }
    grown[(*count)++] = item;
    memcpy(array, &grown, sizeof grown);
}

#define NEW(w, variable, Type, init)                                                                         \
    Type *const variable = take((w), 1, sizeof(Type));                                                       \
    init(variable)

void ow_init(struct onnx_writer *w, int opset)
{
    memset(w, 0, sizeof *w);
    w->arena = qb_arena_create();
    assert_non_null(w->arena);
    onnx__model_proto__init(&w->model);
    onnx__graph_proto__init(&w->graph);
    w->model.graph = &w->graph;
    w->model.has_ir_version = 1;
    w->model.ir_version = 8;
    NEW(w, set, Onnx__OperatorSetIdProto, onnx__operator_set_id_proto__init);
    set->has_version = 1;
    set->version = opset;
    append(w, &w->model.opset_import, &w->model.n_opset_import, set);
}

void ow_free(struct onnx_writer *w)
{
    qb_arena_destroy(w->arena);
    w->arena = NULL;
}

static Onnx__ValueInfoProto *value_info(struct onnx_writer *w, const char *name, int rank,
                                        const int64_t *dims)
{
    NEW(w, info, Onnx__ValueInfoProto, onnx__value_info_proto__init);
    NEW(w, type, Onnx__TypeProto, onnx__type_proto__init);
    NEW(w, tensor, Onnx__TypeProto__Tensor, onnx__type_proto__tensor__init);
    NEW(w, shape, Onnx__TensorShapeProto, onnx__tensor_shape_proto__init);
    info->name = text(w, name);
    info->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    for (int i = 0; i < rank; i++) {
        NEW(w, dim, Onnx__TensorShapeProto__Dimension, onnx__tensor_shape_proto__dimension__init);
        if (dims[i]) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = dims[i];
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = text(w, "batch");
        }
        append(w, &shape->dim, &shape->n_dim, dim);
    }
    return info;
}

void ow_input(struct onnx_writer *w, const char *name, int rank, const int64_t *dims)
{
    append(w, &w->graph.input, &w->graph.n_input, value_info(w, name, rank, dims));
}

void ow_output(struct onnx_writer *w, const char *name)
{
    append(w, &w->graph.output, &w->graph.n_output, value_info(w, name, 0, NULL));
}

void ow_metadata(struct onnx_writer *w, const char *key, const char *value)
{
    NEW(w, entry, Onnx__StringStringEntryProto, onnx__string_string_entry_proto__init);
    entry->key = text(w, key);
    entry->value = text(w, value);
    append(w, &w->model.metadata_props, &w->model.n_metadata_props, entry);
}

static void set_typed_data(struct onnx_writer *w, Onnx__TensorProto *t, size_t count, const void *data)
{
    switch (t->data_type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        t->n_float_data = count;
        t->float_data = qb_arena_memdup(w->arena, data, count * sizeof(float));
        break;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
        t->n_int64_data = count;
        t->int64_data = qb_arena_memdup(w->arena, data, count * sizeof(int64_t));
        break;
    default:
        t->n_int32_data = count;
        t->int32_data = take(w, count, sizeof(int32_t));
        for (size_t i = 0; i < count; i++) {
            t->int32_data[i] = t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT8 ? ((const int8_t *)data)[i]
                               : t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__UINT8
                                   ? ((const uint8_t *)data)[i]
                                   : ((const int32_t *)data)[i];
        }
    }
}

const char *ow_tensor(struct onnx_writer *w, const char *name, int type, int rank, const int64_t *dims,
                      const void *data)
{
    NEW(w, t, Onnx__TensorProto, onnx__tensor_proto__init);
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        count *= (size_t)dims[i];
    }
    t->has_data_type = 1;
    t->data_type = type;
    t->n_dims = (size_t)rank;
    t->dims = rank ? qb_arena_memdup(w->arena, dims, (size_t)rank * sizeof *dims) : NULL;
    if (w->typed_data) {
        set_typed_data(w, t, count, data);
    } else {
        const size_t size = type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64   ? 8
                            : type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ? 4
                            : type == ONNX__TENSOR_PROTO__DATA_TYPE__INT32 ? 4
                                                                           : 1;
        t->has_raw_data = 1;
        t->raw_data.len = count * size;
        t->raw_data.data = qb_arena_memdup(w->arena, data, count * size);
    }
    if (w->constant_nodes) {
        Onnx__NodeProto *const node = ow_node(w, "Constant", name, (const char *[6]){NULL});
        NEW(w, a, Onnx__AttributeProto, onnx__attribute_proto__init);
        a->name = text(w, "value");
        a->has_type = 1;
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
        a->t = t;
        append(w, &node->attribute, &node->n_attribute, a);
        return name;
    }
    t->name = text(w, name);
    append(w, &w->graph.initializer, &w->graph.n_initializer, t);
    if (w->inputs_too) {
        ow_input(w, name, rank, dims);
    }
    return name;
}

const char *ow_floats(struct onnx_writer *w, const char *name, int rank, const int64_t *dims,
                      const float *data)
{
    return ow_tensor(w, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rank, dims, data);
}

const char *ow_ints(struct onnx_writer *w, const char *name, int64_t count, const int64_t *data)
{
    return ow_tensor(w, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, &count, data);
}

Onnx__NodeProto *ow_node(struct onnx_writer *w, const char *type, const char *output,
                         const char *const inputs[6])
{
    NEW(w, node, Onnx__NodeProto, onnx__node_proto__init);
    node->op_type = text(w, type);
    if (!w->unnamed) {
        node->name = qb_arena_printf(w->arena, "node_%s", output);
    }
    append(w, &node->output, &node->n_output, text(w, output));
    for (int i = 0; inputs[i]; i++) {
        append(w, &node->input, &node->n_input, text(w, inputs[i]));
    }
    append(w, &w->graph.node, &w->graph.n_node, node);
    return node;
}

static Onnx__AttributeProto *attribute(struct onnx_writer *w, Onnx__NodeProto *node, const char *name,
                                       Onnx__AttributeProto__AttributeType type)
{
    Onnx__AttributeProto *a = ow_find_attr(node, name);
    if (!a) {
        a = take(w, 1, sizeof *a);
        onnx__attribute_proto__init(a);
        a->name = text(w, name);
        append(w, &node->attribute, &node->n_attribute, a);
    }
    a->has_type = 1;
    a->type = type;
    return a;
}

void ow_int(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *const a = attribute(w, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = value;
}

void ow_float(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, float value)
{
    Onnx__AttributeProto *const a = attribute(w, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = 1;
    a->f = value;
}

void ow_string(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, const char *value)
{
    Onnx__AttributeProto *const a = attribute(w, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s.len = strlen(value);
    a->s.data = (uint8_t *)text(w, value);
}

void ow_list(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, size_t count,
             const int64_t *values)
{
    Onnx__AttributeProto *const a = attribute(w, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    a->n_ints = count;
    a->ints = qb_arena_memdup(w->arena, values, count * sizeof *values);
    assert_non_null(a->ints);
}

void ow_tensor_of_ints(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, int64_t count,
                       const int64_t *values)
{
    NEW(w, t, Onnx__TensorProto, onnx__tensor_proto__init);
    t->has_data_type = 1;
    t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    t->n_dims = 1;
    t->dims = qb_arena_memdup(w->arena, &count, sizeof count);
    t->n_int64_data = (size_t)count;
    t->int64_data = qb_arena_memdup(w->arena, values, (size_t)count * sizeof *values);
    assert_true(t->dims && t->int64_data);
    attribute(w, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = t;
}

Onnx__NodeProto *ow_find(struct onnx_writer *w, const char *type, int nth)
{
    for (size_t i = 0; i < w->graph.n_node; i++) {
        if (strcmp(w->graph.node[i]->op_type, type) == 0 && nth-- == 0) {
            return w->graph.node[i];
        }
    }
    fail_msg("the model under test has no such %s", type);
    return NULL;
}

Onnx__TensorProto *ow_find_tensor(struct onnx_writer *w, const char *name)
{
    for (size_t i = 0; i < w->graph.n_initializer; i++) {
        if (strcmp(w->graph.initializer[i]->name, name) == 0) {
            return w->graph.initializer[i];
        }
    }
    fail_msg("the model under test has no initializer %s", name);
    return NULL;
}

Onnx__AttributeProto *ow_find_attr(Onnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (strcmp(node->attribute[i]->name, name) == 0) {
            return node->attribute[i];
        }
    }
    return NULL;
}

struct qb_blob ow_pack(const struct onnx_writer *w)
{
    struct qb_blob out = {.size = onnx__model_proto__get_packed_size(&w->model)};
    out.data = malloc(out.size + 1);
    assert_non_null(out.data);
    onnx__model_proto__pack(&w->model, out.data);
    out.data[out.size] = 0;
    return out;
}
