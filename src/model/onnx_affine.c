/* ONNX operators with constants per channel: BatchNormalization, and Add, Sub, Mul, Div where one side is
 * constant. Add of two computed tensors is the residual addition. */
#include "model/onnx_import.h"

#include <string.h>

/* What a constant operand means beside a computed tensor. */
struct channel_constants {
    const float *values;
    int count;          /* 1: the same for all */
    bool channels_last; /* they run along the last axis of an image, N,H,W,C */
};

/* Constant `c` is input number `input`. */
static enum qb_status place_constants(const struct onnx_op *op, const struct onnx_constant *c, size_t input,
                                      const struct onnx_value *src, struct channel_constants *out,
                                      struct qb_error *err)
{
    *out = (struct channel_constants){.values = c->data, .count = (int)c->count};
    if (c->count == 1) {
        return QB_OK;
    }
    int axis = -1, longer = 0;
    for (int k = 0; k < c->rank; k++) {
        if (c->dims[k] != 1) {
            axis = k + src->rank - c->rank; /* shapes are aligned at their ends */
            longer++;
        }
    }
    if (longer != 1 || c->count == 0 || c->rank > src->rank || (axis != 1 && axis != src->rank - 1)) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "constant '%.200s' of %zu elements does not run along the channels; one number a channel, or one "
            "for all, is expected",
            op->node->input[input], c->count);
    }
    out->channels_last = src->rank == 4 && axis == 3;
    return QB_OK;
}

static enum qb_status read_channel_constants(const struct onnx_op *op, size_t input,
                                             const struct onnx_value *src, struct channel_constants *out,
                                             struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    QB_TRY(qb_onnx_floats(op, input, &c, err));
    return place_constants(op, c, input, src, out, err);
}

static enum qb_status emit_affine(const struct onnx_op *op, struct qb_node *node,
                                  const struct onnx_value *src, bool channels_last, struct qb_error *err)
{
    node->op = QB_OP_AFFINE;
    QB_TRY(qb_onnx_charge(op, (size_t)node->oc, err));
    return src->rank == 4 ? qb_onnx_emit_image(op, node, src, channels_last, err)
                          : qb_onnx_emit_unary(op, node, src, 2, err);
}

/* The computed and the constant side; *constant is 2 when both are computed. */
static enum qb_status operands(const struct onnx_op *op, struct onnx_value **src, size_t *constant,
                               struct qb_error *err)
{
    struct onnx_value *side[2] = {NULL, NULL};
    for (size_t i = 0; i < 2; i++) {
        QB_TRY(qb_onnx_input(op, i, &side[i], err));
    }
    const bool first = qb_onnx_is_constant(side[0]), second = qb_onnx_is_constant(side[1]);
    if (first && second) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "both inputs are constants; fold constants before exporting");
    }
    *constant = first ? 0 : second ? 1 : 2;
    return qb_onnx_tensor(op, first ? 1 : 0, src, err);
}

/* The CONSTANT node is called as the tensor that it holds. */
static enum qb_status emit_constant(const struct onnx_op *op, const struct qb_weight_codes *codes, int count,
                                    const char *name, int *index, struct qb_error *err)
{
    struct qb_node node = {.op = QB_OP_CONSTANT, .oc = count, .codes = codes};
    node.source_name = qb_arena_strdup(op->im->graph->arena, name);
    if (!node.source_name) {
        return qb_fail_memory(err, strlen(name));
    }
    return qb_graph_add(op->im->graph, &node, index, err);
}

enum qb_status qb_onnx_emit_with_constant(const struct onnx_op *op, enum qb_op kind,
                                          const struct onnx_value *src, const struct onnx_constant *c,
                                          size_t constant, int *index, struct qb_error *err)
{
    struct channel_constants place;
    struct qb_node node = {.op = kind};
    QB_TRY(place_constants(op, c, constant, src, &place, err));
    QB_TRY(qb_onnx_charge(op, c->count, err));
    if (c->codes->scale_count != 1) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "constant '%.200s' has %d scales; one is expected, as activations have",
                            op->node->input[constant], c->codes->scale_count);
    }
    QB_TRY(emit_constant(op, c->codes, place.count, op->node->input[constant], &node.src[1], err));
    if (src->rank == 4) {
        return qb_onnx_emit_on_nchw(op, &node, src, place.channels_last, index, err);
    }
    node.src[0] = src->node;
    return qb_onnx_emit(op, &node, index, err);
}

/* A quantized constant beside a quantized tensor: what a quantizer made of the two, not a factor or addend to
 * be folded. */
static enum qb_status try_quantized(const struct onnx_op *op, enum qb_op kind, const struct onnx_value *src,
                                    size_t constant, bool *done, struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    int index = 0;
    QB_TRY(qb_onnx_floats(op, constant, &c, err));
    *done = c->codes && op->im->graph->nodes[src->node].op == QB_OP_DEQUANTIZE;
    if (!*done) {
        return QB_OK;
    }
    QB_TRY(qb_onnx_emit_with_constant(op, kind, src, c, constant, &index, err));
    return qb_onnx_define_tensor(op, src, index, src->rank, err);
}

/* out[i] = function(in[i]) in new memory. */
static enum qb_status map(const struct onnx_op *op, struct channel_constants *c, float (*function)(float),
                          struct qb_error *err)
{
    float *values;
    QB_TRY(qb_onnx_charge(op, (size_t)c->count, err));
    QB_ALLOC(values, op->im->graph, (size_t)c->count, err);
    for (int i = 0; i < c->count; i++) {
        values[i] = function(c->values[i]);
    }
    c->values = values;
    return QB_OK;
}

static float negative(float x)
{
    return -x;
}

static float reciprocal(float x)
{
    return (float)(1.0 / (double)x);
}

enum qb_status qb_onnx_add(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL, *other = NULL;
    size_t constant = 2;
    QB_TRY(operands(op, &src, &constant, err));
    if (constant < 2) {
        struct channel_constants c;
        bool done = false;
        QB_TRY(try_quantized(op, QB_OP_ADD, src, constant, &done, err));
        if (done) {
            return QB_OK;
        }
        QB_TRY(read_channel_constants(op, constant, src, &c, err));
        struct qb_node node = {.bia = c.values, .oc = c.count};
        return emit_affine(op, &node, src, c.channels_last, err);
    }
    QB_TRY(qb_onnx_tensor(op, 1, &other, err));
    if (src->rank != other->rank) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "inputs of rank %d and %d; equal shapes are expected",
                            src->rank, other->rank);
    }
    struct qb_node node = {.op = QB_OP_ADD, .src = {src->node, other->node}};
    int index = 0;
    QB_TRY(qb_onnx_emit(op, &node, &index, err));
    return qb_onnx_define_tensor(op, src, index, src->rank, err);
}

enum qb_status qb_onnx_sub(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    size_t constant = 2;
    struct channel_constants c;
    QB_TRY(operands(op, &src, &constant, err));
    if (constant != 1) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "tensor - constant is expected");
    }
    QB_TRY(read_channel_constants(op, constant, src, &c, err));
    QB_TRY(map(op, &c, negative, err));
    struct qb_node node = {.bia = c.values, .oc = c.count};
    return emit_affine(op, &node, src, c.channels_last, err);
}

static enum qb_status scale(const struct onnx_op *op, bool divide, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    size_t constant = 2;
    struct channel_constants c;
    QB_TRY(operands(op, &src, &constant, err));
    if (constant == 2 || (divide && constant == 0)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "%s is expected",
                            divide ? "tensor / constant" : "a product of a tensor and a constant");
    }
    if (!divide) {
        bool done = false;
        QB_TRY(try_quantized(op, QB_OP_MUL, src, constant, &done, err));
        if (done) {
            return QB_OK;
        }
    }
    QB_TRY(read_channel_constants(op, constant, src, &c, err));
    if (divide) {
        QB_TRY(map(op, &c, reciprocal, err));
    }
    struct qb_node node = {.wei = c.values, .oc = c.count};
    return emit_affine(op, &node, src, c.channels_last, err);
}

enum qb_status qb_onnx_mul(const struct onnx_op *op, struct qb_error *err)
{
    return scale(op, false, err);
}

enum qb_status qb_onnx_div(const struct onnx_op *op, struct qb_error *err)
{
    return scale(op, true, err);
}

enum qb_status qb_onnx_batch_normalization(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qb_batchnorm *bn;
    const struct onnx_constant *c[4] = {NULL, NULL, NULL, NULL};
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    QB_TRY(qb_onnx_attr_expect(op, "training_mode", 0, 0, err));
    QB_TRY(qb_onnx_attr_expect(op, "spatial", 1, 1, err));
    QB_ALLOC(bn, op->im->graph, 1, err);
    QB_TRY(qb_onnx_attr_float(op, "epsilon", 1e-5f, &bn->eps, err));
    for (size_t i = 0; i < 4; i++) {
        QB_TRY(qb_onnx_floats(op, i + 1, &c[i], err));
        if (c[i]->count != c[0]->count || c[i]->count == 0) {
            return qb_onnx_fail(op, err, QB_EINPUT, "inputs 1 to 4 have different lengths, or none");
        }
    }
    bn->gamma = c[0]->data;
    bn->beta = c[1]->data;
    bn->mean = c[2]->data;
    bn->var = c[3]->data;
    struct qb_node node = {.bn = bn, .oc = (int)c[0]->count};
    return emit_affine(op, &node, src, false, err);
}
