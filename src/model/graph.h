/* The float network: a list of nodes in execution order. Node i produces tensor i; a tensor is named by its
 * node.
 *
 * After qb_graph_canonicalize every tensor is h x w x c, stored NHWC, the batch is not part of the graph, and
 * only INPUT, CONV, DENSE, ADD, RELU, AVGPOOL and (last) SOFTMAX remain. QUANTIZE, DEQUANTIZE, MUL, CONSTANT
 * and AFFINE remain only in quantized models.
 *
 * A raw graph, as importers make it, may also hold the kinds behind QB_OP_IMPORT_ONLY; the passes of passes.h
 * remove them. Its rules: node 0 is the INPUT and has its dst, in memory N,H,W,C; every other dst is left to
 * qb_pass_shapes; sources have smaller indices; the last node is the output. CONV, AVGPOOL, PAD and AFFINE
 * work either all on N,H,W,C (Keras, TFLite) or all on N,C,H,W (ONNX), and TRANSPOSE nodes stand where the
 * order of axes changes: a model that takes N,C,H,W has one with perm 0,3,1,2 behind its INPUT. FLATTEN lists
 * its source in the order of axes in effect there. */
#ifndef QB_MODEL_GRAPH_H
#define QB_MODEL_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/status.h"

enum qb_op {
    QB_OP_INPUT, /* the image: raw pixels 0..255 as float */
    QB_OP_CONV,  /* wei OIHW, bia [oc] */
    QB_OP_DENSE, /* wei [oc][ic], bia [oc]; ic counts the flattened source in NHWC order */
    QB_OP_ADD,   /* src[0] + src[1], equal shapes */
    QB_OP_RELU,
    QB_OP_AVGPOOL,    /* kh x kw, stride, no padding */
    QB_OP_SOFTMAX,    /* over c; only as the last node. Logits are the tensor before it */
    QB_OP_QUANTIZE,   /* q (scale, zero point, dtype) */
    QB_OP_DEQUANTIZE, /* q */
    QB_OP_MUL,        /* src[0] * src[1], equal shapes, or src[1] a CONSTANT */
    QB_OP_CONSTANT,   /* constant: one number a channel, 1 x 1 x oc */
    QB_OP_AFFINE,     /* per channel: bn, else x * wei[c] + bia[c] with oc constants each (1 = for all
                       * channels); wei NULL is 1, bia NULL is 0 (BatchNormalization; Mul, Add ... with
                       * constants). After canonicalization there is no bn, and neither is NULL */
    QB_OP_IMPORT_ONLY,
    QB_OP_TRANSPOSE = QB_OP_IMPORT_ONLY, /* perm */
    QB_OP_PAD,                           /* zeros: pad_t .. pad_r */
    QB_OP_FLATTEN, /* Reshape, Flatten, Squeeze to [N, features]; oc: features that the file states, 0 when it
                    * does not, QB_FLATTEN_SQUEEZE when only axes of length 1 may go */
    QB_OP_COUNT
};
enum { QB_FLATTEN_SQUEEZE = -1 };
/* "conv", "dense", "avgpool" ... */
const char *qb_op_name(enum qb_op op);

/* How many sources a node has: 0 to 2. */
int qb_op_sources(enum qb_op op);

/* How the padding of a raw CONV or AVGPOOL is given: as numbers, or as ONNX's and TensorFlow's SAME: output
 * size = ceil(input / stride), the odd row or column at the end (UPPER) or at the start (LOWER).
 * qb_pass_shapes makes numbers. */
enum qb_pad_mode { QB_PAD_EXPLICIT, QB_PAD_SAME_UPPER, QB_PAD_SAME_LOWER };

/* Batch normalization with running statistics, [oc] each; gamma NULL is 1, beta NULL is 0. */
struct qb_batchnorm {
    const float *gamma, *beta, *mean, *var;
    float eps;
};

struct qb_shape {
    int h, w, c; /* a flat tensor is 1 x 1 x c */
};
static inline size_t qb_shape_count(struct qb_shape s)
{
    return (size_t)s.h * (size_t)s.w * (size_t)s.c;
}

/* Scale and zero point of a per-tensor Q/DQ node, codes as in the file (s8: -128..127). */
struct qb_qdq {
    float scale;
    int zero_point;
    bool is_signed;
};

/* Integer weights as a QDQ file holds them, in the order of `wei`. */
struct qb_weight_codes {
    const void *codes; /* int8_t or uint8_t */
    bool is_signed;
    int scale_count;            /* 1 or oc */
    const float *scales;        /* [scale_count] */
    const int32_t *zero_points; /* [scale_count] */
};

struct qb_node {
    enum qb_op op;
    const char *name;        /* canonical: conv, conv_1, relu, add, avgpool, dense ...; unique */
    const char *source_name; /* as in the file */
    const char
        *source_type; /* operator or layer type in the file ("BatchNormalization"); NULL when there is none */
    int src[2];   /* node indices < own; -1 when absent. ADD: src[0] is the longer branch (qb_pass_order) */
    bool swapped; /* ADD: the file has src[1] first */
    struct qb_shape dst;
    /* CONV, AVGPOOL: kernel and stride; CONV, PAD: padding (top, left, bottom, right). */
    int kh, kw, stride_h, stride_w, pad_t, pad_l, pad_b,
        pad_r;                 /* raw AVGPOOL with kh 0: over the whole image */
    enum qb_pad_mode pad_mode; /* raw CONV, AVGPOOL; EXPLICIT after qb_pass_shapes */
    int ic, oc;                /* CONV, DENSE */
    const float *wei, *bia;    /* bia is never NULL on CONV and DENSE after canonicalization */
    const int32_t *bia_codes; /* CONV, DENSE with codes, [oc]: the file's bias, in units of the source's scale
                               * times the weights'; NULL when its bias is float */
    const float
        *bia_scales; /* the units that the file states, [bia_scale_count]: 1 or oc; NULL: it does not */
    int bia_scale_count;
    const struct qb_weight_codes
        *codes; /* CONV, DENSE of a QDQ model, else NULL; wei then holds the dequantized values. CONSTANT */
    const struct qb_batchnorm *bn; /* AFFINE */
    struct qb_qdq q;               /* QUANTIZE, DEQUANTIZE */
    int perm[4];                   /* TRANSPOSE */
};

struct qb_metadata {
    const char *key, *value;
};

struct qb_graph {
    struct qb_arena *arena;     /* owns everything below */
    const char *path;           /* file it came from */
    char sha256[QB_SHA256_HEX]; /* of the file; of ONNX, with its files of data behind it */
    size_t file_size;
    struct qb_node *nodes;
    int count;
    int capacity;   /* of nodes (qb_graph_add) */
    bool quantized; /* holds Q/DQ nodes */
    bool qlinear;   /* the file has ONNX's integer operators (QLinearConv ...), read as Q/DQ pairs
                       around the float ones: their arithmetic is ONNX Runtime's */
    struct qb_metadata *metadata; /* of the file (ONNX metadata_props) */
    int metadata_count;
};

/* Loads .onnx, .h5 or .tflite (by content, not by name) and canonicalizes it. Bad files: one sentence naming
 * node and attribute. */
enum qb_status qb_model_load(const char *path, struct qb_graph **out, struct qb_error *err);
void qb_graph_free(struct qb_graph *graph);

/* Index of the node whose tensor holds the logits (the last one, or the one before a SOFTMAX). */
int qb_graph_logits(const struct qb_graph *graph);
/* Index by canonical name, -1 if absent. Value for a metadata key, NULL if absent. */
int qb_graph_find(const struct qb_graph *graph, const char *name);
const char *qb_graph_metadata(const struct qb_graph *graph, const char *key);
/* Parameters (weights + biases) and multiply-accumulates of one image, of one node. */
size_t qb_node_params(const struct qb_node *node);
uint64_t qb_node_macs(const struct qb_graph *graph, int node);

#endif
