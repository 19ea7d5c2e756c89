/* TensorFlow Lite files -> raw graph: the frame. Tensors, constants and quantization are looked up and
 * checked here, operators are in tflite_ops.c. The file lists operators in an order of execution, all images
 * are N,H,W,C. */
#include "model/tflite.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "model/tflite_import.h"

enum { MAX_TENSORS = 4 * QB_MODEL_MAX_NODES };

enum qb_status qb_tflite_fail(const struct tflite_op *op, struct qb_error *err, enum qb_status status,
                              const char *format, ...)
{
    va_list args;
    va_start(args, format);
    qb_vfail(err, status, format, args);
    va_end(args);
    return qb_fail_prefix(err, "operator %zu '%.200s' (%.60s)", op->number, op->name, op->file.name);
}

bool qb_tflite_has_input(const struct tflite_op *op, size_t k)
{
    return k < op->file.inputs.count && op->file.inputs.values[k] >= 0;
}

static enum qb_status find_input(const struct tflite_op *op, size_t k, const struct qb_tflite_tensor **out,
                                 struct qb_error *err)
{
    if (!qb_tflite_has_input(op, k)) {
        return qb_tflite_fail(op, err, QB_EINPUT, "input %zu is missing", k);
    }
    *out = &op->im->tensors[op->file.inputs.values[k]];
    return QB_OK;
}

/* What this importer takes from a tensor of any kind. */
static enum qb_status check_plain(const struct tflite_op *op, const struct qb_tflite_tensor *tensor,
                                  struct qb_error *err)
{
    if (tensor->sparse || tensor->other_quantization) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "tensor '%.200s' is %s", tensor->name,
                              tensor->sparse ? "sparse" : "quantized in a way of its own");
    }
    return QB_OK;
}

static enum qb_status check_activation(const struct tflite_op *op, const struct qb_tflite_tensor *tensor,
                                       struct qb_error *err)
{
    QB_TRY(check_plain(op, tensor, err));
    if (tensor->type == QB_TFLITE_UINT8) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED,
                              "tensor '%.200s' is UINT8, the quantization of old TensorFlow Lite versions; "
                              "FLOAT32 or INT8 is expected: convert the model again",
                              tensor->name);
    }
    if (tensor->type != QB_TFLITE_FLOAT32 && tensor->type != QB_TFLITE_INT8) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED,
                              "tensor '%.200s' is of type %d %s; FLOAT32 or INT8 is expected", tensor->name,
                              tensor->type, tensor->type_name);
    }
    return QB_OK;
}

enum qb_status qb_tflite_source(const struct tflite_op *op, size_t k, const struct qb_tflite_tensor **tensor,
                                int *node, struct qb_error *err)
{
    QB_TRY(find_input(op, k, tensor, err));
    *node = op->im->nodes[*tensor - op->im->tensors];
    if (*node < 0) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED,
                              (*tensor)->size ? "it computes with the constant '%.200s'; the output of an "
                                                "operator is expected there"
                                              : "it reads tensor '%.200s', which no operator in front of it "
                                                "makes",
                              (*tensor)->name);
    }
    return check_activation(op, *tensor, err);
}

static size_t type_bytes(int type)
{
    return type == QB_TFLITE_INT8 ? 1 : 4; /* the others that constants are asked for as */
}

enum qb_status qb_tflite_constant(const struct tflite_op *op, size_t k, int type, size_t rank,
                                  const struct qb_tflite_tensor **out, struct qb_error *err)
{
    const struct qb_tflite_tensor *t = NULL;
    QB_TRY(find_input(op, k, &t, err));
    QB_TRY(check_plain(op, t, err));
    if (t->type != type) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED, "constant '%.200s' is of type %d %s; %s is expected",
                              t->name, t->type, t->type_name,
                              type == QB_TFLITE_INT8    ? "INT8"
                              : type == QB_TFLITE_INT32 ? "INT32"
                                                        : "FLOAT32");
    }
    size_t bytes = type_bytes(type);
    bool fits = t->shape.count == rank && t->size > 0;
    for (size_t d = 0; fits && d < rank; d++) {
        fits = t->shape.values[d] >= 1 && t->shape.values[d] <= QB_MODEL_MAX_DIM &&
               !__builtin_mul_overflow(bytes, (size_t)t->shape.values[d], &bytes);
    }
    if (!fits || bytes != t->size) {
        return qb_tflite_fail(
            op, err, QB_EINPUT,
            "input '%.200s' is expected to be a constant of %zu dimensions; it has %zu, and "
            "%zu bytes",
            t->name, rank, t->shape.count, t->size);
    }
    *out = t;
    return QB_OK;
}

void *qb_tflite_array(const struct tflite_op *op, size_t count, size_t size, struct qb_error *err)
{
    struct tflite_import *const im = op->im;
    im->parameter_bytes += count * size; /* of constants that are in the file */
    if (im->parameter_bytes > 16 * im->graph->file_size + (1U << 20)) {
        qb_tflite_fail(op, err, QB_EUNSUPPORTED,
                       "the parameters up to here take %zu bytes, out of proportion to the file's %zu",
                       im->parameter_bytes, im->graph->file_size);
        return NULL;
    }
    return qb_graph_array(im->graph, count, size, err);
}

enum qb_status qb_tflite_qparams(const struct tflite_op *op, const struct qb_tflite_tensor *tensor,
                                 struct qb_qdq *out, struct qb_error *err)
{
    int64_t zero_point = 0;
    if (tensor->scale_count != 1 || tensor->zero_point_count > 1) {
        return qb_tflite_fail(
            op, err, QB_EUNSUPPORTED,
            "INT8 tensor '%.200s' has %zu scales and %zu zero points; one of each is expected", tensor->name,
            tensor->scale_count, tensor->zero_point_count);
    }
    if (tensor->zero_point_count) {
        memcpy(&zero_point, tensor->zero_points, sizeof zero_point);
    }
    const int low = tensor->type == QB_TFLITE_INT8 ? -128 : 0;
    if (!(tensor->scales[0] > 0.0F) || isinf(tensor->scales[0]) || zero_point < low ||
        zero_point > low + 255) {
        return qb_tflite_fail(
            op, err, QB_EINPUT,
            "tensor '%.200s' has scale %g and zero point %lld; a positive number and %d to %d "
            "are expected",
            tensor->name, (double)tensor->scales[0], (long long)zero_point, low, low + 255);
    }
    *out = (struct qb_qdq){tensor->scales[0], (int)zero_point, tensor->type == QB_TFLITE_INT8};
    return QB_OK;
}

/* Appends one node and goes on behind it. */
static enum qb_status add(const struct tflite_op *op, struct qb_node node, int *last, struct qb_error *err)
{
    node.source_name = op->name;
    return qb_graph_add(op->im->graph, &node, last, err);
}

static enum qb_status add_pair(const struct tflite_op *op, const struct qb_qdq *q, int *last,
                               struct qb_error *err)
{
    QB_TRY(add(op, (struct qb_node){.op = QB_OP_QUANTIZE, .src = {*last, -1}, .q = *q}, last, err));
    return add(op, (struct qb_node){.op = QB_OP_DEQUANTIZE, .src = {*last, -1}, .q = *q}, last, err);
}

enum qb_status qb_tflite_emit(const struct tflite_op *op, const struct qb_node *node, struct qb_error *err)
{
    struct qb_qdq q;
    struct qb_node n = *node;
    int last = -1;
    n.source_type = qb_arena_strdup(op->im->graph->arena, op->file.name);
    if (!n.source_type) {
        return qb_fail_memory(err, strlen(op->file.name));
    }
    QB_TRY(check_activation(op, op->dst, err));
    QB_TRY(add(op, n, &last, err));
    if (op->file.activation == QB_TFLITE_ACTIVATION_RELU) {
        QB_TRY(add(op, (struct qb_node){.op = QB_OP_RELU, .src = {last, -1}}, &last, err));
    } else if (op->file.activation != QB_TFLITE_ACTIVATION_NONE) {
        return qb_tflite_fail(op, err, QB_EUNSUPPORTED,
                              "fused_activation_function is %d %s; NONE or RELU is expected",
                              op->file.activation, op->file.activation_name);
    }
    if (op->dst->type == QB_TFLITE_INT8 && node->op != QB_OP_SOFTMAX) { /* logits are the tensor before it */
        QB_TRY(qb_tflite_qparams(op, op->dst, &q, err));
        QB_TRY(add_pair(op, &q, &last, err));
    }
    op->im->nodes[op->dst - op->im->tensors] = last;
    return QB_OK;
}

enum qb_status qb_tflite_alias(const struct tflite_op *op, const struct qb_tflite_tensor *tensor, int node,
                               struct qb_error *err)
{
    struct qb_qdq a, b;
    QB_TRY(check_activation(op, op->dst, err));
    if (op->dst->type != tensor->type) {
        return qb_tflite_fail(op, err, QB_EINPUT, "its input and its output are of different types");
    }
    if (op->dst->type == QB_TFLITE_INT8) {
        QB_TRY(qb_tflite_qparams(op, tensor, &a, err));
        QB_TRY(qb_tflite_qparams(op, op->dst, &b, err));
        if (a.zero_point != b.zero_point || a.scale < b.scale || a.scale > b.scale) {
            return qb_tflite_fail(
                op, err, QB_EUNSUPPORTED,
                "its input has scale %.9g and zero point %d, its output %.9g and %d; the same "
                "are expected",
                (double)a.scale, a.zero_point, (double)b.scale, b.zero_point);
        }
    }
    op->im->nodes[op->dst - op->im->tensors] = node;
    return QB_OK;
}

/* The image. UINT8 pixels, which a QUANTIZE then makes INT8, are what float pixels are too. */
static enum qb_status import_input(struct tflite_import *im, struct qb_error *err)
{
    const struct qb_tflite_list inputs = qb_tflite_inputs(im->model);
    if (inputs.count != 1 || inputs.values[0] < 0 || (size_t)inputs.values[0] >= im->tensor_count) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "the model has %zu inputs; one, a tensor of its list, is expected", inputs.count);
    }
    const struct qb_tflite_tensor *const t = &im->tensors[inputs.values[0]];
    const struct tflite_op op = {
        .im = im, .file = {.name = "input"}, .dst = t, .name = qb_arena_strdup(im->graph->arena, t->name)};
    if (!op.name) {
        return qb_fail_memory(err, strlen(t->name));
    }
    if (t->type != QB_TFLITE_UINT8) {
        QB_TRY(check_activation(&op, t, err));
    }
    bool fits = t->shape.count == 4;
    for (size_t d = 1; fits && d < 4; d++) {
        fits = t->shape.values[d] >= 1 && t->shape.values[d] <= QB_MODEL_MAX_DIM;
    }
    if (!fits) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "the input '%.200s' is not [batch, height, width, channels] with known sizes",
                       t->name);
    }
    const struct qb_node input = {.op = QB_OP_INPUT,
                                  .src = {-1, -1},
                                  .dst = {t->shape.values[1], t->shape.values[2], t->shape.values[3]}};
    int last;
    QB_TRY(add(&op, input, &last, err));
    if (t->type != QB_TFLITE_FLOAT32) {
        struct qb_qdq q;
        QB_TRY(qb_tflite_qparams(&op, t, &q, err));
        QB_TRY(add_pair(&op, &q, &last, err));
    }
    im->nodes[inputs.values[0]] = last;
    return QB_OK;
}

static bool in_range(const struct tflite_import *im, struct qb_tflite_list list, int32_t low)
{
    for (size_t i = 0; i < list.count; i++) {
        if (list.values[i] < low || list.values[i] >= (int32_t)im->tensor_count) {
            return false;
        }
    }
    return true;
}

static enum qb_status import_operator(struct tflite_import *im, size_t i, struct qb_error *err)
{
    struct tflite_op op = {.im = im, .file = qb_tflite_get_operator(im->model, i), .number = i};
    if (op.file.code < 0) {
        return qb_fail(err, QB_EINPUT, "operator %zu is of a kind that the file does not list", i);
    }
    if (!in_range(im, op.file.inputs, -1) || !in_range(im, op.file.outputs, 0)) {
        return qb_fail(err, QB_EINPUT, "operator %zu reads or writes a tensor that the file does not have",
                       i);
    }
    if (op.file.outputs.count != 1) {
        return qb_fail(err, QB_EUNSUPPORTED, "operator %zu (%.60s) has %zu outputs; one is expected", i,
                       op.file.name, op.file.outputs.count);
    }
    op.dst = &im->tensors[op.file.outputs.values[0]];
    op.name = qb_arena_strdup(im->graph->arena, op.dst->name);
    if (!op.name) {
        return qb_fail_memory(err, strlen(op.dst->name));
    }
    if (im->nodes[op.file.outputs.values[0]] >= 0) {
        return qb_tflite_fail(&op, err, QB_EINPUT, "another operator writes the same tensor");
    }
    return qb_tflite_operation(&op, err);
}

static enum qb_status check_output(const struct tflite_import *im, struct qb_error *err)
{
    const struct qb_tflite_list outputs = qb_tflite_outputs(im->model);
    if (outputs.count != 1 || outputs.values[0] < 0 || (size_t)outputs.values[0] >= im->tensor_count ||
        im->nodes[outputs.values[0]] != im->graph->count - 1) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "the model has %zu outputs; one, which the last operator makes, is expected",
                       outputs.count);
    }
    return QB_OK;
}

static enum qb_status import_model(struct tflite_import *im, struct qb_error *err)
{
    if (qb_tflite_version(im->model) != 3 || qb_tflite_subgraphs(im->model) != 1) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "format version %u with %zu subgraphs; version 3 with one is expected",
                       qb_tflite_version(im->model), qb_tflite_subgraphs(im->model));
    }
    im->tensor_count = qb_tflite_tensors(im->model);
    if (im->tensor_count > MAX_TENSORS || qb_tflite_operators(im->model) > QB_MODEL_MAX_NODES) {
        return qb_fail(err, QB_EUNSUPPORTED, "%zu tensors and %zu operators; at most %d and %d are expected",
                       im->tensor_count, qb_tflite_operators(im->model), MAX_TENSORS, QB_MODEL_MAX_NODES);
    }
    QB_ALLOC(im->tensors, im->graph, im->tensor_count, err);
    QB_ALLOC(im->nodes, im->graph, im->tensor_count, err);
    for (size_t i = 0; i < im->tensor_count; i++) {
        im->tensors[i] = qb_tflite_get_tensor(im->model, i);
        im->nodes[i] = -1;
    }
    QB_TRY(import_input(im, err));
    for (size_t i = 0; i < qb_tflite_operators(im->model); i++) {
        QB_TRY(import_operator(im, i, err));
    }
    QB_TRY(check_output(im, err));
    if (im->graph->quantized) {
        QB_ALLOC(im->graph->metadata, im->graph, 1, err);
        im->graph->metadata[0] = (struct qb_metadata){"qbench.arithmetic", "tflite"};
        im->graph->metadata_count = 1;
    }
    return QB_OK;
}

enum qb_status qb_tflite_import(const char *path, const struct qb_blob *file, struct qb_graph **out,
                                struct qb_error *err)
{
    struct tflite_import im = {.model = qb_tflite_open(file->data, file->size)};
    if (!im.model) {
        return qb_fail(err, QB_EINPUT,
                       "%s: a damaged TensorFlow Lite file: its structure does not fit its %zu bytes", path,
                       file->size);
    }
    QB_TRY(qb_graph_create(path, file, &im.graph, err));
    const enum qb_status status = import_model(&im, err);
    if (status != QB_OK) {
        qb_fail_prefix(err, "%s", path);
        qb_graph_free(im.graph);
        return status;
    }
    *out = im.graph;
    return QB_OK;
}
