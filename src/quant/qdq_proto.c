/* ONNX messages in an arena: see qdq_proto.h. */
#include "quant/qdq_proto.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* DequantizeLinear has its `axis` since opset 13; files of IR version 8 are read by every runtime since 2021.
 */
enum { OPSET = 13, IR_VERSION = 8, MAX_ATTRIBUTES = 4 };

static void *array(struct qb_proto *p, size_t count, size_t size)
{
    void *const memory = p->failed ? NULL : qb_arena_array(p->arena, count, size);
    p->failed = !memory;
    return memory;
}

static char *copy_text(struct qb_proto *p, const char *text)
{
    char *const copy = p->failed || !text ? NULL : qb_arena_strdup(p->arena, text);
    p->failed = !copy;
    return copy;
}

char *qb_proto_text(struct qb_proto *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *const text = length < 0 ? NULL : array(p, (size_t)length + 1, 1);
    if (text) {
        va_start(args, format);
        vsnprintf(text, (size_t)length + 1, format, args);
        va_end(args);
    }
    p->failed = !text;
    return text;
}

void qb_proto_begin(struct qb_proto *p, struct qb_arena *arena, size_t nodes, size_t initializers)
{
    *p = (struct qb_proto){.arena = arena, .nodes = nodes, .initializers = initializers};
    onnx__graph_proto__init(&p->graph);
    p->graph.node = array(p, nodes, sizeof *p->graph.node);
    p->graph.initializer = array(p, initializers, sizeof *p->graph.initializer);
}

static size_t element_size(enum qb_proto_type type)
{
    return type == QB_PROTO_FLOAT || type == QB_PROTO_INT32 ? 4 : 1;
}

const char *qb_proto_tensor(struct qb_proto *p, const char *name, enum qb_proto_type type, size_t rank,
                            const int64_t *dims, const void *data)
{
    Onnx__TensorProto *const t = array(p, 1, sizeof *t);
    int64_t *const sizes = array(p, rank, sizeof *sizes);
    char *const label = copy_text(p, name);
    if (p->failed || p->graph.n_initializer == p->initializers) {
        p->failed = true;
        return NULL;
    }
    size_t bytes = element_size(type);
    for (size_t i = 0; i < rank; i++) {
        sizes[i] = dims[i];
        bytes *= (size_t)dims[i];
    }
    onnx__tensor_proto__init(t);
    t->name = label;
    t->n_dims = rank;
    t->dims = sizes;
    t->has_data_type = 1;
    t->data_type = (int32_t)type;
    t->has_raw_data = 1; /* little-endian, as every CPU that this program runs on */
    t->raw_data = (ProtobufCBinaryData){.len = bytes, .data = qb_arena_memdup(p->arena, data, bytes)};
    if (!t->raw_data.data) {
        p->failed = true;
        return NULL;
    }
    p->graph.initializer[p->graph.n_initializer++] = t;
    return label;
}

const char *qb_proto_node(struct qb_proto *p, const char *type, const char *name, const char *output,
                          size_t count, const char *const *inputs)
{
    Onnx__NodeProto *const n = array(p, 1, sizeof *n);
    char **const names = array(p, count + 1, sizeof *names); /* inputs, then the output */
    Onnx__AttributeProto **const attributes = array(p, MAX_ATTRIBUTES, sizeof *attributes);
    for (size_t i = 0; i < count && !p->failed; i++) {
        names[i] = copy_text(p, inputs[i]);
    }
    char *const made = output ? copy_text(p, output) : qb_proto_text(p, "%s:0", name);
    char *const type_name = copy_text(p, type), *const node_name = copy_text(p, name);
    if (p->failed || p->graph.n_node == p->nodes) {
        p->failed = true;
        return NULL;
    }
    names[count] = made;
    onnx__node_proto__init(n);
    n->n_input = count;
    n->input = names;
    n->n_output = 1;
    n->output = names + count;
    n->name = node_name;
    n->op_type = type_name;
    n->attribute = attributes;
    p->graph.node[p->graph.n_node++] = n;
    return made;
}

static Onnx__AttributeProto *add_attribute(struct qb_proto *p, const char *name)
{
    Onnx__AttributeProto *const a = array(p, 1, sizeof *a);
    char *const label = copy_text(p, name);
    Onnx__NodeProto *const n = p->failed ? NULL : p->graph.node[p->graph.n_node - 1];
    if (!n || n->n_attribute == MAX_ATTRIBUTES) {
        p->failed = true;
        return NULL;
    }
    onnx__attribute_proto__init(a);
    a->name = label;
    a->has_type = 1;
    n->attribute[n->n_attribute++] = a;
    return a;
}

void qb_proto_int(struct qb_proto *p, const char *attribute, int64_t value)
{
    Onnx__AttributeProto *const a = add_attribute(p, attribute);
    if (a) {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        a->has_i = 1;
        a->i = value;
    }
}

void qb_proto_ints(struct qb_proto *p, const char *attribute, size_t count, const int64_t *values)
{
    Onnx__AttributeProto *const a = add_attribute(p, attribute);
    int64_t *const copy = array(p, count, sizeof *copy);
    if (a && copy) {
        memcpy(copy, values, count * sizeof *copy);
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        a->n_ints = count;
        a->ints = copy;
    }
}

static Onnx__ValueInfoProto **float_value(struct qb_proto *p, const char *name, size_t rank,
                                          const int64_t *dims)
{
    Onnx__ValueInfoProto **const list = array(p, 1, sizeof *list), *const value = array(p, 1, sizeof *value);
    Onnx__TypeProto *const type = array(p, 1, sizeof *type);
    Onnx__TypeProto__Tensor *const tensor = array(p, 1, sizeof *tensor);
    Onnx__TensorShapeProto *const shape = array(p, 1, sizeof *shape);
    Onnx__TensorShapeProto__Dimension **const axes = array(p, rank, sizeof *axes), *const sizes =
                                                                                       array(p, rank,
                                                                                             sizeof *sizes);
    char *const label = copy_text(p, name), *const batch = copy_text(p, "batch");
    if (p->failed) {
        return NULL;
    }
    for (size_t i = 0; i < rank; i++) {
        axes[i] = &sizes[i];
        onnx__tensor_shape_proto__dimension__init(axes[i]);
        if (i == 0) {
            axes[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            axes[i]->dim_param = batch;
        } else {
            axes[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            axes[i]->dim_value = dims[i - 1];
        }
    }
    onnx__tensor_shape_proto__init(shape);
    shape->n_dim = rank;
    shape->dim = axes;
    onnx__type_proto__tensor__init(tensor);
    tensor->has_elem_type = 1;
    tensor->elem_type = QB_PROTO_FLOAT;
    tensor->shape = shape;
    onnx__type_proto__init(type);
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    onnx__value_info_proto__init(value);
    value->name = label;
    value->type = type;
    list[0] = value;
    return list;
}

void qb_proto_input(struct qb_proto *p, const char *name, size_t rank, const int64_t *dims)
{
    p->graph.input = float_value(p, name, rank, dims);
    p->graph.n_input = 1;
}

void qb_proto_output(struct qb_proto *p, const char *name, size_t rank, const int64_t *dims)
{
    p->graph.output = float_value(p, name, rank, dims);
    p->graph.n_output = 1;
}

static Onnx__StringStringEntryProto **copy_metadata(struct qb_proto *p, const struct qb_metadata *metadata,
                                                    size_t count)
{
    Onnx__StringStringEntryProto **const list = array(p, count, sizeof *list), *const entries = array(
                                                                                   p, count, sizeof *entries);
    for (size_t i = 0; i < count && !p->failed; i++) {
        list[i] = &entries[i];
        onnx__string_string_entry_proto__init(list[i]);
        list[i]->key = copy_text(p, metadata[i].key);
        list[i]->value = copy_text(p, metadata[i].value);
    }
    return list;
}

/* A message may come in pieces. The graph is the last one, so that no part of a file cut short is a model. */
static uint8_t *pack(const Onnx__ModelProto *head, const Onnx__ModelProto *tail, size_t *size)
{
    const size_t head_size = onnx__model_proto__get_packed_size(head);
    *size = head_size + onnx__model_proto__get_packed_size(tail);
    uint8_t *const bytes = malloc(*size);
    if (bytes) {
        onnx__model_proto__pack(head, bytes);
        onnx__model_proto__pack(tail, bytes + head_size);
    }
    return bytes;
}

enum qb_status qb_proto_write(struct qb_proto *p, const char *version, const struct qb_metadata *metadata,
                              size_t metadata_count, const char *path, struct qb_error *err)
{
    Onnx__OperatorSetIdProto opset, *opsets = &opset;
    Onnx__ModelProto head, tail;
    onnx__operator_set_id_proto__init(&opset);
    onnx__model_proto__init(&head);
    onnx__model_proto__init(&tail);
    opset.domain = copy_text(p, ""); /* the main domain */
    opset.has_version = 1;
    opset.version = OPSET;
    p->graph.name = copy_text(p, "qbench");
    head.has_ir_version = 1;
    head.ir_version = IR_VERSION;
    head.n_opset_import = 1;
    head.opset_import = &opsets;
    head.producer_name = copy_text(p, "qbench");
    head.producer_version = copy_text(p, version);
    head.n_metadata_props = metadata_count;
    head.metadata_props = copy_metadata(p, metadata, metadata_count);
    tail.graph = &p->graph;
    size_t size = 0;
    uint8_t *const bytes = p->failed ? NULL : pack(&head, &tail, &size);
    if (!bytes) {
        return qb_fail_memory(err, size);
    }
    const enum qb_status status = qb_file_write(path, bytes, size, err);
    free(bytes);
    return status;
}
