/* qb_onnx_import: an ONNX model becomes a raw graph, node by node in the file's order. */
#include "model/onnx.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/onnx_external.h"
#include "model/onnx_file.h"
#include "model/onnx_import.h"

/* Operators and the attributes they may have. */
struct operator_entry {
    const char *type;
    qb_onnx_handler *import;
    const char *attributes[8];
};

static const struct operator_entry operators[] = {
    {"Add", qb_onnx_add, {NULL}},
    {"AveragePool",
     qb_onnx_average_pool,
     {"auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"}},
    {"BatchNormalization",
     qb_onnx_batch_normalization,
     {"epsilon", "momentum", "training_mode", "spatial", "is_test"}},
    {"Cast", qb_onnx_cast, {"saturate", "to"}},
    {"Clip", qb_onnx_clip, {"min", "max"}},
    {"Concat", qb_onnx_concat, {"axis"}},
    {"Constant", qb_onnx_constant_node, {"value", "value_float", "value_floats", "value_int", "value_ints"}},
    {"ConstantOfShape", qb_onnx_constant_of_shape, {"value"}},
    {"Conv", qb_onnx_conv, {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}},
    {"DequantizeLinear", qb_onnx_dequantize_linear, {"axis", "block_size", "output_dtype"}},
    {"Div", qb_onnx_div, {NULL}},
    {"Dropout", qb_onnx_dropout, {"ratio", "seed", "is_test"}},
    {"Flatten", qb_onnx_flatten, {"axis"}},
    {"Gather", qb_onnx_gather, {"axis"}},
    {"Gemm", qb_onnx_gemm, {"alpha", "beta", "transA", "transB"}},
    {"GlobalAveragePool", qb_onnx_global_average_pool, {NULL}},
    {"Identity", qb_onnx_identity, {NULL}},
    {"MatMul", qb_onnx_matmul, {NULL}},
    {"Mul", qb_onnx_mul, {NULL}},
    {"Pad", qb_onnx_pad, {"mode", "pads", "value"}},
    {"QuantizeLinear",
     qb_onnx_quantize_linear,
     {"axis", "block_size", "output_dtype", "precision", "saturate"}},
    {"QLinearConv",
     qb_onnx_qlinear_conv,
     {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}},
    {"QLinearMatMul", qb_onnx_qlinear_matmul, {NULL}},
    {"ReduceMean", qb_onnx_reduce_mean, {"axes", "keepdims", "noop_with_empty_axes"}},
    {"Relu", qb_onnx_relu, {NULL}},
    {"Reshape", qb_onnx_reshape, {"allowzero"}},
    {"Shape", qb_onnx_shape, {"start"}},
    {"Slice", qb_onnx_slice, {NULL}},
    {"Softmax", qb_onnx_softmax, {"axis"}},
    {"Squeeze", qb_onnx_squeeze, {"axes"}},
    {"Sub", qb_onnx_sub, {NULL}},
    {"Transpose", qb_onnx_transpose, {"perm"}},
    {"Unsqueeze", qb_onnx_unsqueeze, {"axes"}},
};
enum { OPERATOR_COUNT = sizeof operators / sizeof *operators };

/* Of ONNX Runtime's own domain. */
#define CONTRIB_DOMAIN "com.microsoft"
static const struct operator_entry contrib_operators[] = {
    {"DequantizeLinear", qb_onnx_dequantize_linear, {"axis"}},
    {"QGemm", qb_onnx_qgemm, {"alpha", "transA", "transB"}},
    {"QLinearAdd", qb_onnx_qlinear_add, {NULL}},
    {"QLinearAveragePool",
     qb_onnx_qlinear_average_pool,
     {"auto_pad", "ceil_mode", "channels_last", "count_include_pad", "kernel_shape", "pads", "strides"}},
    {"QLinearConv",
     qb_onnx_qlinear_conv,
     {"auto_pad", "channels_last", "dilations", "group", "kernel_shape", "pads", "strides"}},
    {"QLinearGlobalAveragePool", qb_onnx_qlinear_global_average_pool, {"channels_last"}},
    {"QLinearMul", qb_onnx_qlinear_mul, {NULL}},
    {"QLinearSoftmax", qb_onnx_qlinear_softmax, {"axis", "opset"}},
    {"QuantizeLinear", qb_onnx_quantize_linear, {"axis"}},
};
enum { CONTRIB_COUNT = sizeof contrib_operators / sizeof *contrib_operators };

/* Oldest opset whose operators mean what the handlers expect: before it, Add and Mul broadcast by attributes.
 */
enum { OLDEST_OPSET = 7 };

enum qb_status qb_onnx_fail(const struct onnx_op *op, struct qb_error *err, enum qb_status status,
                            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    qb_vfail(err, status, format, args);
    va_end(args);
    return qb_fail_prefix(err, "node '%.200s' (%.60s)", op->name, op->type);
}

static bool is_main_domain(const char *domain)
{
    return !domain || !domain[0] || strcmp(domain, "ai.onnx") == 0;
}

static enum qb_status fail_operator(const struct onnx_op *op, struct qb_error *err)
{
    char known[512] = "";
    const char *const domain = op->node->domain;
    const bool contrib = domain && strcmp(domain, CONTRIB_DOMAIN) == 0;
    const struct operator_entry *const list = contrib ? contrib_operators : operators;
    const size_t count = contrib ? CONTRIB_COUNT : OPERATOR_COUNT;
    for (size_t i = 0, used = 0; i < count && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", list[i].type);
    }
    return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "operator %.60s%s%.60s is not supported; supported are %s",
                        is_main_domain(domain) ? "" : domain, is_main_domain(domain) ? "" : ".", op->type,
                        known);
}

static const struct operator_entry *find_operator(const char *domain, const char *type)
{
    const bool main = is_main_domain(domain), contrib = !main && strcmp(domain, CONTRIB_DOMAIN) == 0;
    const struct operator_entry *const list = main ? operators : contrib_operators;
    const size_t count = main ? OPERATOR_COUNT : contrib ? CONTRIB_COUNT : 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].type, type) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

static struct onnx_op operator_of(struct onnx_importer *im, const Onnx__NodeProto *node)
{
    return (struct onnx_op){.im = im,
                            .node = node,
                            .type = node->op_type ? node->op_type : "",
                            .name = node->name && node->name[0] ? node->name
                                    : node->n_output            ? node->output[0]
                                                                : ""};
}

/* Before anything else: an unknown operator explains more than what it does to the nodes before it. */
static enum qb_status check_operators(struct onnx_importer *im, struct qb_error *err)
{
    for (size_t i = 0; i < im->source->n_node; i++) {
        const struct onnx_op op = operator_of(im, im->source->node[i]);
        if (!find_operator(op.node->domain, op.type)) {
            return fail_operator(&op, err);
        }
    }
    return QB_OK;
}

static enum qb_status import_node(struct onnx_importer *im, const Onnx__NodeProto *node, struct qb_error *err)
{
    struct onnx_op op = operator_of(im, node);
    const struct operator_entry *const entry = find_operator(node->domain, op.type);
    for (size_t i = 0; i < node->n_attribute; i++) {
        const char *const name = node->attribute[i]->name ? node->attribute[i]->name : "";
        bool known = false;
        for (size_t k = 0; k < 8 && entry->attributes[k]; k++) {
            known = known || strcmp(entry->attributes[k], name) == 0;
        }
        if (!known) {
            return qb_onnx_fail(&op, err, QB_EUNSUPPORTED, "attribute '%.60s' is not supported", name);
        }
    }
    return entry->import(&op, err);
}

static enum qb_status check_versions(const Onnx__ModelProto *model, struct qb_error *err)
{
    bool stated = false;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *const set = model->opset_import[i];
        stated = stated || is_main_domain(set->domain);
        if (is_main_domain(set->domain) && set->version < OLDEST_OPSET) {
            return qb_fail(err, QB_EUNSUPPORTED, "the model uses opset %lld; %d or later is expected",
                           (long long)set->version, OLDEST_OPSET);
        }
    }
    if (!stated) { /* it stands behind the graph: a file cut there would look complete otherwise */
        return qb_fail(err, QB_EINPUT,
                       "the model has no opset_import; the file is cut short or not for inference");
    }
    return QB_OK;
}

static enum qb_status define_initializers(struct onnx_importer *im, struct qb_error *err)
{
    const Onnx__GraphProto *const g = im->source;
    for (size_t i = 0; i < g->n_initializer; i++) {
        const struct onnx_value value = {.name = g->initializer[i]->name ? g->initializer[i]->name : "",
                                         .initializer = g->initializer[i]};
        QB_TRY(qb_onnx_define(im, &value, err));
    }
    return QB_OK;
}

/* [batch, a, b, c]: three fixed sizes, any batch. */
static enum qb_status read_input_shape(struct onnx_importer *im, const Onnx__ValueInfoProto *input,
                                       struct qb_error *err)
{
    const char *const name = input->name;
    const Onnx__TypeProto__Tensor *const tensor =
        input->type && input->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE
            ? input->type->tensor_type
            : NULL;
    if (!tensor || tensor->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "input '%.200s' is not a tensor of float; raw pixels as float are expected", name);
    }
    if (!tensor->shape || tensor->shape->n_dim != 4) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "input '%.200s' has %zu dimensions; [N,C,H,W] or [N,H,W,C] is expected", name,
                       tensor->shape ? tensor->shape->n_dim : 0);
    }
    for (size_t i = 0; i < 4; i++) {
        const Onnx__TensorShapeProto__Dimension *const d = tensor->shape->dim[i];
        const bool fixed = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (i == 0) {
            im->batch = fixed && d->dim_value > 0 ? d->dim_value : -1;
        } else if (!fixed || d->dim_value < 1 || d->dim_value > QB_MODEL_MAX_DIM) {
            return qb_fail(err, QB_EUNSUPPORTED,
                           "input '%.200s': dimension %zu is symbolic or out of range; a size of 1 to %d is "
                           "expected (only "
                           "the batch may be symbolic)",
                           name, i, QB_MODEL_MAX_DIM);
        } else {
            im->dims[i - 1] = d->dim_value;
        }
    }
    return QB_OK;
}

/* Node 0 is the INPUT, node 1 the TRANSPOSE that a N,C,H,W model needs; both are completed when the first
 * window operator has shown what the input's axes mean. */
static enum qb_status define_input(struct onnx_importer *im, struct qb_error *err)
{
    const Onnx__GraphProto *const g = im->source;
    const Onnx__ValueInfoProto *input = NULL;
    for (size_t i = 0; i < g->n_input; i++) {
        const char *const name = g->input[i]->name ? g->input[i]->name : "";
        if (qb_onnx_find(im, name)) {
            continue; /* before IR version 4 initializers are inputs as well */
        }
        if (input) {
            return qb_fail(err, QB_EUNSUPPORTED,
                           "the model has two inputs, '%.200s' and '%.200s'; one image is expected",
                           input->name ? input->name : "", name);
        }
        input = g->input[i];
    }
    if (!input || !input->name) {
        return qb_fail(err, QB_EINPUT, "the model has no input");
    }
    QB_TRY(read_input_shape(im, input, err));
    char *const name = qb_arena_strdup(im->graph->arena, input->name);
    if (!name) {
        return qb_fail_memory(err, strlen(input->name));
    }
    struct qb_node node = {.op = QB_OP_INPUT, .source_name = name};
    QB_TRY(qb_graph_add(im->graph, &node, NULL, err));
    node.op = QB_OP_TRANSPOSE;
    node.src[0] = 0;
    struct onnx_value value = {.name = input->name, .rank = 4, .axes = {0, 1, 2, 3}};
    QB_TRY(qb_graph_add(im->graph, &node, &value.node, err));
    return qb_onnx_define(im, &value, err);
}

enum qb_status qb_onnx_see_nchw(const struct onnx_op *op, const int axes[4], struct qb_error *err)
{
    struct onnx_importer *const im = op->im;
    if (im->layout_known) {
        return QB_OK;
    }
    static const int identity[4] = {0, 1, 2, 3}, to_nchw[4] = {0, 3, 1, 2};
    struct qb_node *const nodes = im->graph->nodes;
    if (memcmp(axes, identity, sizeof identity) == 0) {
        memcpy(nodes[1].perm, to_nchw, sizeof to_nchw);
    } else if (memcmp(axes, to_nchw, sizeof to_nchw) == 0) {
        memcpy(nodes[1].perm, identity, sizeof identity);
    } else {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "it reads the input with axes %d,%d,%d,%d; an input [N,C,H,W] or [N,H,W,C] is expected", axes[0],
            axes[1], axes[2], axes[3]);
    }
    nodes[0].dst =
        (struct qb_shape){(int)im->dims[axes[2] - 1], (int)im->dims[axes[3] - 1], (int)im->dims[axes[1] - 1]};
    im->layout_known = true;
    return QB_OK;
}

static enum qb_status read_output(struct onnx_importer *im, struct qb_error *err)
{
    const Onnx__GraphProto *const g = im->source;
    if (g->n_output != 1) {
        return qb_fail(err, QB_EUNSUPPORTED, "the model has %zu outputs; one is expected", g->n_output);
    }
    const char *const name = g->output[0]->name ? g->output[0]->name : "";
    const struct onnx_value *value = qb_onnx_find(im, name);
    if (!value || qb_onnx_is_constant(value)) {
        return qb_fail(err, QB_EINPUT, "output '%.200s' is not computed by any node", name);
    }
    if (!im->layout_known) {
        return qb_fail(err, QB_EUNSUPPORTED, "no convolution or pooling leads to output '%.200s'", name);
    }
    im->graph->count = value->node + 1; /* later nodes cannot be sources of it */
    return QB_OK;
}

static enum qb_status read_metadata(struct qb_graph *graph, const Onnx__ModelProto *model,
                                    struct qb_error *err)
{
    struct qb_metadata *list;
    QB_ALLOC(list, graph, model->n_metadata_props, err);
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *const entry = model->metadata_props[i];
        list[i].key = qb_arena_strdup(graph->arena, entry->key ? entry->key : "");
        list[i].value = qb_arena_strdup(graph->arena, entry->value ? entry->value : "");
        if (!list[i].key || !list[i].value) {
            return qb_fail_memory(err, sizeof *entry);
        }
    }
    graph->metadata = list;
    graph->metadata_count = (int)model->n_metadata_props;
    return QB_OK;
}

static enum qb_status import_model(struct onnx_importer *im, const Onnx__ModelProto *model,
                                   struct qb_error *err)
{
    if (!model->graph || model->graph->n_node == 0) {
        return qb_fail(err, QB_EINPUT, "not an ONNX model: it has no nodes");
    }
    im->source = model->graph;
    if (im->source->n_node > QB_MODEL_MAX_NODES) {
        return qb_fail(err, QB_EUNSUPPORTED, "the model has %zu nodes; at most %d are supported",
                       im->source->n_node, QB_MODEL_MAX_NODES);
    }
    QB_TRY(check_versions(model, err));
    QB_TRY(check_operators(im, err));
    QB_TRY(read_metadata(im->graph, model, err));
    QB_TRY(define_initializers(im, err));
    QB_TRY(define_input(im, err));
    for (size_t i = 0; i < im->source->n_node; i++) {
        QB_TRY(import_node(im, im->source->node[i], err));
    }
    return read_output(im, err);
}

enum qb_status qb_onnx_import(const char *path, const struct qb_blob *file, struct qb_graph **out,
                              struct qb_error *err)
{
    struct onnx_importer im = {0};
    struct qb_onnx_file onnx = {0};
    QB_TRY(qb_graph_create(path, file, &im.graph, err));
    enum qb_status status = qb_onnx_open(&onnx, file, err);
    if (status == QB_OK) {
        status = import_model(&im, onnx.model, err);
    }
    if (status == QB_OK) {
        status = qb_onnx_external_identity(&im, file, err);
    }
    qb_onnx_free_external(&im);
    qb_onnx_free_values(&im);
    qb_onnx_close(&onnx);
    if (status != QB_OK) {
        qb_fail_prefix(err, "%s", path);
        qb_graph_free(im.graph);
        return status;
    }
    *out = im.graph;
    return QB_OK;
}
