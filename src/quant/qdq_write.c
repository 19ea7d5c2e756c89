/* qb_qdq_write: the integer graph as an ONNX model with QuantizeLinear / DequantizeLinear pairs (qdq.h).
 *
 * Every tensor of the graph becomes FLOAT OPERATOR -> QuantizeLinear -> DequantizeLinear, whatever reads it
 * reads the dequantized values. Float nodes have no pair; QUANTIZE is one, DEQUANTIZE nothing at all. The
 * operator's ONNX node has the name of the graph's node, the others are NAME/..., which keeps all names apart
 * because node names have no '/'. Images are N,C,H,W outside. */
#include "quant/qdq.h"

#include <string.h>

#include "quant/qdq_metadata.h"
#include "quant/qdq_proto.h"
#include "quant/qparams.h"

/* At most: two DequantizeLinear, Flatten + pair, operator, Add, Relu, pair, Flatten at the output. */
enum { NODES_EACH = 11, TENSORS_EACH = 10 };

struct writer {
    const struct qb_qgraph *graph;
    struct qb_proto p;
    const char **tensors; /* [count] name of each dequantized tensor */
    bool *flat;           /* [count] it has rank 2 */
};

static const char *part(struct writer *w, const struct qb_qnode *node, const char *suffix)
{
    return qb_proto_text(&w->p, "%s/%s", node->name, suffix);
}

static enum qb_proto_type code_type(enum qb_dtype dtype)
{
    return dtype == QB_QINT8 ? QB_PROTO_INT8 : QB_PROTO_UINT8;
}

/* QuantizeLinear and DequantizeLinear behind `source`, called NAME/..., with scale and zero point `q`. */
static const char *pair(struct writer *w, const char *name, const struct qb_qparams *q, const char *source,
                        const char *output)
{
    const uint8_t code = (uint8_t)(q->zero_point + qb_activation_shift(q->dtype));
    const char *const scale =
        qb_proto_tensor(&w->p, qb_proto_text(&w->p, "%s/scale", name), QB_PROTO_FLOAT, 0, NULL, &q->scale);
    const char *const zero = qb_proto_tensor(&w->p, qb_proto_text(&w->p, "%s/zero_point", name),
                                             code_type(q->dtype), 0, NULL, &code);
    const char *const codes =
        qb_proto_node(&w->p, "QuantizeLinear", qb_proto_text(&w->p, "%s/quantize", name), NULL, 3,
                      (const char *const[]){source, scale, zero});
    return qb_proto_node(&w->p, "DequantizeLinear", qb_proto_text(&w->p, "%s/dequantize", name), output, 3,
                         (const char *const[]){codes, scale, zero});
}

/* Rows of DENSE's weights, which read an image in the order H, W, C, for the file's Flatten, which lists C,
 * H, W. Elements have `size` bytes. */
static void to_chw(struct qb_shape s, size_t rows, size_t size, const void *hwc, void *chw)
{
    const size_t pixels = (size_t)s.h * (size_t)s.w, channels = (size_t)s.c;
    const unsigned char *const from = hwc;
    unsigned char *to = chw;
    for (size_t o = 0; o < rows; o++) {
        for (size_t c = 0; c < channels; c++) {
            for (size_t k = 0; k < pixels; k++, to += size) {
                memcpy(to, from + ((o * pixels + k) * channels + c) * size, size);
            }
        }
    }
}

/* Codes of the weights in outside form, DENSE in the order of the file's Flatten. */
static uint8_t *weight_codes(struct writer *w, const struct qb_qnode *node, size_t each)
{
    const size_t rows = (size_t)node->oc, count = rows * each;
    uint8_t *const codes = qb_arena_array(w->p.arena, 2 * count, 1);
    if (!codes) {
        return NULL;
    }
    uint8_t *const ordered = codes + count;
    for (size_t i = 0; i < count; i++) {
        codes[i] = (uint8_t)(node->wei[i] + qb_weight_shift(node->wei_dtype));
    }
    if (node->op != QB_QOP_DENSE) {
        return codes;
    }
    to_chw(w->graph->nodes[node->src[0]].dst, rows, 1, codes, ordered);
    return ordered;
}

/* The bias behind a DequantizeLinear of int32, as ONNX Runtime's quantizer writes it: as many scales as the
 * weights have, zero points 0. */
static const char *integer_bias(struct writer *w, const struct qb_qnode *node)
{
    const size_t scales = (size_t)node->wei_scale_count, rank = scales > 1;
    const int64_t dims[1] = {node->oc};
    float *const scale = qb_arena_array(w->p.arena, scales, sizeof *scale);
    const int32_t *const zeros = qb_arena_array(w->p.arena, scales, sizeof *zeros);
    if (!scale || !zeros) {
        w->p.failed = true;
        return NULL;
    }
    for (size_t k = 0; k < scales; k++) {
        scale[k] = qb_acc_scale(node, w->graph->nodes[node->src[0]].q.scale, (int)k);
    }
    const char *const inputs[3] = {
        qb_proto_tensor(&w->p, part(w, node, "bias"), QB_PROTO_INT32, 1, dims, node->bia_codes),
        qb_proto_tensor(&w->p, part(w, node, "bias_scale"), QB_PROTO_FLOAT, rank, dims, scale),
        qb_proto_tensor(&w->p, part(w, node, "bias_zero_point"), QB_PROTO_INT32, rank, dims, zeros),
    };
    const char *const out =
        qb_proto_node(&w->p, "DequantizeLinear", part(w, node, "bias_dequantize"), NULL, 3, inputs);
    if (scales > 1) {
        qb_proto_int(&w->p, "axis", 0);
    }
    return out;
}

/* Weights of a float layer, and its bias. */
static enum qb_status float_weights(struct writer *w, const struct qb_qnode *node, const char *out[2],
                                    struct qb_error *err)
{
    const bool conv = node->op == QB_QOP_CONV;
    const int64_t dims[4] = {node->oc, node->ic, node->kh, node->kw};
    const size_t count = (size_t)node->oc * (size_t)node->ic * (conv ? (size_t)(node->kh * node->kw) : 1);
    const float *wei = node->wei_f32;
    if (!conv) {
        float *const ordered = qb_arena_array(w->p.arena, count, sizeof *ordered);
        if (!ordered) {
            return qb_fail_memory(err, count * sizeof *ordered);
        }
        to_chw(w->graph->nodes[node->src[0]].dst, (size_t)node->oc, sizeof *wei, wei, ordered);
        wei = ordered;
    }
    out[0] = qb_proto_tensor(&w->p, part(w, node, "weight"), QB_PROTO_FLOAT, conv ? 4 : 2, dims, wei);
    out[1] = qb_proto_tensor(&w->p, part(w, node, "bias"), QB_PROTO_FLOAT, 1, dims, node->bia);
    return QB_OK;
}

/* The dequantized weights and the bias. */
static enum qb_status weights(struct writer *w, const struct qb_qnode *node, const char *out[2],
                              struct qb_error *err)
{
    if (node->f32) {
        return float_weights(w, node, out, err);
    }
    const bool conv = node->op == QB_QOP_CONV;
    const int64_t dims[4] = {node->oc, node->ic, node->kh, node->kw};
    const size_t rank = conv ? 4 : 2, each = (size_t)node->ic * (conv ? (size_t)(node->kh * node->kw) : 1);
    const size_t scales = (size_t)node->wei_scale_count;
    const int64_t scale_dims[1] = {node->wei_scale_count};
    uint8_t *const codes = weight_codes(w, node, each);
    uint8_t *const zeros = qb_arena_array(w->p.arena, scales, 1);
    if (!codes || !zeros) {
        return qb_fail_memory(err, 2 * each * (size_t)node->oc);
    }
    for (size_t k = 0; k < scales; k++) {
        zeros[k] = (uint8_t)(node->wei_zero_points[k] + qb_weight_shift(node->wei_dtype));
    }
    const enum qb_proto_type type = code_type(node->wei_dtype);
    const size_t scale_rank = scales > 1; /* a scalar is for the whole tensor */
    const char *const inputs[3] = {
        qb_proto_tensor(&w->p, part(w, node, "weight"), type, rank, dims, codes),
        qb_proto_tensor(&w->p, part(w, node, "weight_scale"), QB_PROTO_FLOAT, scale_rank, scale_dims,
                        node->wei_scales),
        qb_proto_tensor(&w->p, part(w, node, "weight_zero_point"), type, scale_rank, scale_dims, zeros),
    };
    out[0] = qb_proto_node(&w->p, "DequantizeLinear", part(w, node, "weight_dequantize"), NULL, 3, inputs);
    if (scales > 1) {
        qb_proto_int(&w->p, "axis", 0);
    }
    out[1] = node->bia_codes
                 ? integer_bias(w, node)
                 : qb_proto_tensor(&w->p, part(w, node, "bias"), QB_PROTO_FLOAT, 1, dims, node->bia);
    return QB_OK;
}

static void window(struct writer *w, const struct qb_qnode *node)
{
    qb_proto_ints(&w->p, "kernel_shape", 2, (const int64_t[]){node->kh, node->kw});
    qb_proto_ints(&w->p, "pads", 4, (const int64_t[]){node->pad_t, node->pad_l, node->pad_b, node->pad_r});
    qb_proto_ints(&w->p, "strides", 2, (const int64_t[]){node->stride_h, node->stride_w});
}

static enum qb_status conv(struct writer *w, const struct qb_qnode *node, const char **out,
                           struct qb_error *err)
{
    const char *parameters[2] = {NULL, NULL};
    QB_TRY(weights(w, node, parameters, err));
    const char *const name = node->fused_add ? part(w, node, "conv") : node->name;
    *out = qb_proto_node(&w->p, "Conv", name, NULL, 3,
                         (const char *const[]){w->tensors[node->src[0]], parameters[0], parameters[1]});
    window(w, node);
    if (node->fused_add) {
        *out = qb_proto_node(&w->p, "Add", node->name, NULL, 2,
                             (const char *const[]){*out, w->tensors[node->src[1]]});
    }
    return QB_OK;
}

static enum qb_status dense(struct writer *w, const struct qb_qnode *node, const char **out,
                            struct qb_error *err)
{
    const char *parameters[2] = {NULL, NULL}, *source = w->tensors[node->src[0]];
    QB_TRY(weights(w, node, parameters, err));
    if (!w->flat[node->src[0]]) {
        /* The pair behind Flatten repeats the one in front of it: ONNX Runtime runs what stands between pairs
         * in integers. */
        const struct qb_qparams *const q = &w->graph->nodes[node->src[0]].q;
        source = qb_proto_node(&w->p, "Flatten", part(w, node, "flatten"), NULL, 1, &source);
        qb_proto_int(&w->p, "axis", 1);
        source = node->f32 ? source : pair(w, part(w, node, "flatten"), q, source, NULL);
    }
    *out = qb_proto_node(&w->p, "Gemm", node->name, NULL, 3,
                         (const char *const[]){source, parameters[0], parameters[1]});
    qb_proto_int(&w->p, "transB", 1);
    return QB_OK;
}

/* The dequantized constant of number `i`, shaped for a reader of rank 2 or 4; its tensor has the node's name,
 * by which a reader of the file finds it again. */
static enum qb_status constant(struct writer *w, int i, bool flat, struct qb_error *err)
{
    const struct qb_qnode *const node = &w->graph->nodes[i];
    if (w->tensors[i]) {
        return w->flat[i] == flat ? QB_OK
                                  : qb_fail(err, QB_EUNSUPPORTED,
                                            "node %s: a constant beside images and beside outputs of a dense "
                                            "layer, which an ONNX file cannot hold",
                                            node->name);
    }
    const size_t channels = (size_t)node->dst.c;
    const int64_t flat_dims[1] = {node->dst.c}, image_dims[4] = {1, node->dst.c, 1, 1};
    const int shift = qb_activation_shift(node->q.dtype);
    const uint8_t zero = (uint8_t)(node->q.zero_point + shift);
    uint8_t *const codes = qb_arena_array(w->p.arena, channels, 1);
    if (!codes) {
        return qb_fail_memory(err, channels);
    }
    for (size_t k = 0; k < channels; k++) {
        codes[k] = (uint8_t)(node->codes[k] + shift);
    }
    const enum qb_proto_type type = code_type(node->q.dtype);
    const char *const inputs[3] = {
        qb_proto_tensor(&w->p, part(w, node, "codes"), type, flat ? 1 : 4, flat ? flat_dims : image_dims,
                        codes),
        qb_proto_tensor(&w->p, part(w, node, "scale"), QB_PROTO_FLOAT, 0, NULL, &node->q.scale),
        qb_proto_tensor(&w->p, part(w, node, "zero_point"), type, 0, NULL, &zero),
    };
    w->tensors[i] =
        qb_proto_node(&w->p, "DequantizeLinear", part(w, node, "dequantize"), node->name, 3, inputs);
    w->flat[i] = flat;
    return QB_OK;
}

/* The float operator of node i: its output. */
static enum qb_status operation(struct writer *w, const struct qb_qnode *node, const char **out,
                                struct qb_error *err)
{
    const char *const src[2] = {node->src[0] < 0 ? NULL : w->tensors[node->src[0]],
                                node->src[1] < 0 ? NULL : w->tensors[node->src[1]]};
    switch (node->op) {
    case QB_QOP_INPUT: *out = "input"; return QB_OK;
    case QB_QOP_CONV: return conv(w, node, out, err);
    case QB_QOP_DENSE: return dense(w, node, out, err);
    case QB_QOP_ADD: *out = qb_proto_node(&w->p, "Add", node->name, NULL, 2, src); return QB_OK;
    case QB_QOP_MUL: *out = qb_proto_node(&w->p, "Mul", node->name, NULL, 2, src); return QB_OK;
    case QB_QOP_RELU: *out = qb_proto_node(&w->p, "Relu", node->name, NULL, 1, src); return QB_OK;
    case QB_QOP_AVGPOOL:
        *out = qb_proto_node(&w->p, "AveragePool", node->name, NULL, 1, src);
        window(w, node);
        return QB_OK;
    case QB_QOP_QUANTIZE:
    case QB_QOP_DEQUANTIZE: *out = src[0]; return QB_OK; /* the pairs are enough */
    case QB_QOP_AFFINE: break;                           /* only files hold it, no scheme makes it */
    case QB_QOP_CONSTANT: break;                         /* written with its reader */
    }
    return qb_fail(err, QB_EUNSUPPORTED, "node %s: operator number %d has no ONNX form", node->name,
                   (int)node->op);
}

/* Rank 2 behind DENSE; convolutions and pools need images, additions equal ranks. */
static enum qb_status rank(struct writer *w, int i, struct qb_error *err)
{
    const struct qb_qnode *const node = &w->graph->nodes[i];
    const bool flat = node->src[0] >= 0 && w->flat[node->src[0]];
    const bool image = node->op == QB_QOP_CONV || node->op == QB_QOP_AVGPOOL;
    if (node->src[1] >= 0 && w->graph->nodes[node->src[1]].op == QB_QOP_CONSTANT) {
        QB_TRY(constant(w, node->src[1], flat, err));
    }
    if ((flat && image) || (node->src[1] >= 0 && w->flat[node->src[1]] != (image ? false : flat))) {
        return qb_fail(
            err, QB_EUNSUPPORTED,
            "node %s: it reads the output of a dense layer as an image, which an ONNX file cannot hold",
            node->name);
    }
    w->flat[i] = node->op == QB_QOP_DENSE || flat;
    return QB_OK;
}

static enum qb_status write_node(struct writer *w, int i, struct qb_error *err)
{
    const struct qb_qnode *const node = &w->graph->nodes[i];
    const char *source = NULL;
    if (node->op == QB_QOP_CONSTANT) {
        return QB_OK;
    }
    QB_TRY(rank(w, i, err));
    QB_TRY(operation(w, node, &source, err));
    if (node->relu) {
        source = qb_proto_node(&w->p, "Relu", part(w, node, "relu"), NULL, 1, &source);
    }
    const bool last = i == qb_qgraph_logits(w->graph);
    const bool direct = last && w->flat[i] && !node->f32;
    w->tensors[i] = node->f32 ? source : pair(w, node->name, &node->q, source, direct ? "logits" : NULL);
    if (last && !direct) {
        qb_proto_node(&w->p, "Flatten", part(w, node, "output"), "logits", 1, &w->tensors[i]);
        qb_proto_int(&w->p, "axis", 1);
    }
    return QB_OK;
}

static enum qb_status check_names(const struct qb_qgraph *graph, struct qb_error *err)
{
    for (int i = 0; i < graph->count; i++) {
        const char *const name = graph->nodes[i].name;
        if (!name[0] || strchr(name, '/') || qb_qgraph_find(graph, name) != i) {
            return qb_fail(
                err, QB_EINPUT,
                "node number %d is called \"%.100s\"; a QDQ file needs names that are not empty, have no '/' "
                "and are all different",
                i, name);
        }
    }
    return QB_OK;
}

static enum qb_status write_graph(struct writer *w, const char *path, struct qb_error *err)
{
    const struct qb_qgraph *const graph = w->graph;
    struct qb_metadata metadata[QB_QDQ_ENTRIES];
    size_t entries;
    for (int i = 0; i < graph->count; i++) {
        QB_TRY(write_node(w, i, err));
    }
    const struct qb_shape in = graph->nodes[0].dst, out = graph->nodes[qb_qgraph_logits(graph)].dst;
    qb_proto_input(&w->p, "input", 4, (const int64_t[]){in.c, in.h, in.w});
    qb_proto_output(&w->p, "logits", 2, (const int64_t[]){(int64_t)qb_shape_count(out)});
    QB_TRY(qb_qdq_metadata_make(graph, w->p.arena, metadata, &entries, err));
    return qb_proto_write(&w->p, QB_VERSION, metadata, entries, path, err);
}

/* DynamicQuantizeLinear has other scales, all 8 bits and no fused multiply-add. */
static enum qb_status check_dynamic(const struct qb_qgraph *graph, struct qb_error *err)
{
    for (int i = 0; i < graph->count; i++) {
        if (graph->nodes[i].dynamic) {
            return qb_fail(err, QB_EUNSUPPORTED,
                           "node \"%s\" takes the range of what it reads at run time, by a rule that no ONNX "
                           "operator has; such a scheme runs in an experiment (`qbench run`) or in `qbench "
                           "profile`, without a file",
                           graph->nodes[i].name);
        }
    }
    return QB_OK;
}

/* QuantizeLinear limits codes to those of its type. */
static enum qb_status check_bits(const struct qb_qgraph *graph, struct qb_error *err)
{
    for (int i = 0; i < graph->count; i++) {
        if (graph->nodes[i].q.bits) {
            return qb_fail(
                err, QB_EUNSUPPORTED,
                "node \"%s\" has activations of %d bits, which QuantizeLinear cannot limit to; only "
                "weights may have fewer than 8 bits in an ONNX file",
                graph->nodes[i].name, graph->nodes[i].q.bits);
        }
    }
    return QB_OK;
}

enum qb_status qb_qdq_write(const struct qb_qgraph *graph, const char *path, struct qb_error *err)
{
    if (graph->count < 1 || graph->nodes[0].op != QB_QOP_INPUT) {
        return qb_fail(err, QB_EINPUT, "%s: an integer graph starts with its input", path);
    }
    QB_TRY(check_names(graph, err));
    QB_TRY(check_bits(graph, err));
    QB_TRY(check_dynamic(graph, err));
    const size_t count = (size_t)graph->count;
    struct qb_arena *const arena = qb_arena_create();
    struct writer w = {.graph = graph};
    if (arena) {
        qb_proto_begin(&w.p, arena, count * NODES_EACH, count * TENSORS_EACH);
        w.tensors = qb_arena_array(arena, count, sizeof *w.tensors);
        w.flat = qb_arena_array(arena, count, sizeof *w.flat);
    }
    const enum qb_status status =
        w.tensors && w.flat ? write_graph(&w, path, err) : qb_fail_memory(err, count * sizeof *w.tensors);
    qb_arena_destroy(arena);
    return status;
}
