/* The integer network: what every engine executes, and what the reference engine gives a meaning to the bit.
 *
 * Codes inside are always u8 activations x s8 weights (the instruction's types). An s8 tensor of a scheme or
 * a file is held as code + 128 with zero point + 128, u8 weights as code - 128 with zero point - 128: exactly
 * the same arithmetic. `dtype` remembers the outside type for export and printing. Node i produces tensor i.
 */
#ifndef QB_QUANT_QGRAPH_H
#define QB_QUANT_QGRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "config/scheme.h"
#include "model/graph.h"

/* What integer graphs of an arithmetic hold beside INPUT, CONV, DENSE, ADD, and RELU and AVGPOOL with their
 * source's scale and zero point (checked by qb_check_qgraph, src/engine/check.h), and how it computes. CONV
 * may have fused_add where qb_arithmetic_fuses_add says so. */
struct qb_arithmetic_traits {
    bool bia_codes;   /* CONV and DENSE have bia_codes: the bias joins the accumulator */
    bool rescales;    /* RELU and AVGPOOL may have a scale and a zero point of their own */
    bool constants;   /* there may be MUL and CONSTANT */
    bool requantizes; /* QUANTIZE may read codes */
    bool dynamic;     /* DENSE may have `dynamic` */
    bool outside; /* results depend on the type outside, as sums in float contain zero points in outside form
                   */
    /* Whose formulas the operators follow: an arithmetic may be put together from those that have formulas of
     * their own (src/engine/reference/arithmetic.h). */
    enum qb_arithmetic conv, dense, rest;
    /* Where that is onednn: the sum is multiplied by the scale of src, then by that of wei; and these come as
     * reciprocals, that of src always, that of wei for DENSE. */
    bool scales_apart, reciprocals;
};
const struct qb_arithmetic_traits *qb_arithmetic_traits(enum qb_arithmetic arithmetic);

/* real = scale * (code - zero_point). scale is finite and > 0; zero_point is in 0..255 (inside form). */
struct qb_qparams {
    float scale;
    int32_t zero_point;
    enum qb_dtype dtype;          /* the type outside */
    int32_t quant_min, quant_max; /* the range scale and zero point were derived from, outside form; kernels
                                     clamp to 0..255 */
    int bits; /* 2..7: codes are those of so many bits (qb_code_limits), and limited to them last; 0: all 8 */
    float seen_min, seen_max; /* extremes of the calibration's values, for inspection; equal: not known */
};

/* The codes that a tensor can have, inside form. */
static inline void qb_code_limits(const struct qb_qparams *q, int32_t *low, int32_t *high)
{
    const int32_t half = q->bits ? 1 << (q->bits - 1) : 128;
    *low = q->dtype == QB_QINT8 ? 128 - half : 0;
    *high = q->dtype == QB_QINT8 ? 127 + half : 2 * half - 1;
}

/* The same scale and zero point. */
bool qb_qparams_equal(const struct qb_qparams *a, const struct qb_qparams *b);

enum qb_qop {
    QB_QOP_INPUT, /* pixels to codes */
    QB_QOP_CONV,
    QB_QOP_DENSE,
    QB_QOP_ADD,
    QB_QOP_RELU,
    QB_QOP_AVGPOOL,
    QB_QOP_MUL,        /* src[0] * src[1] */
    QB_QOP_CONSTANT,   /* codes: 1 x 1 x c, the second source of ADD and MUL, for all pixels of the first */
    QB_QOP_QUANTIZE,   /* floats to codes, where float layers end; or codes to codes of another scale or zero
                          point, as DEQUANTIZE and QUANTIZE of floats would make them */
    QB_QOP_DEQUANTIZE, /* codes to floats, scale * (code - zero point); where they begin */
    QB_QOP_AFFINE,     /* of floats only: src[0] * wei_f32[c] + bia[c], two roundings */
};
const char *qb_qop_name(enum qb_qop op);

struct qb_qnode {
    enum qb_qop op;
    /* Of the float node whose tensor this is: with a ReLU fused the conv or add, as PyTorch counts; with
     * fused_add the add, whose scale and zero point it has, while kernel, weights and bias are those of the
     * convolution merged into it. */
    const char *name;
    int src[2]; /* node indices; src[1]: second operand of ADD and MUL, or the residual of a CONV with
                   fused_add; else -1 */
    struct qb_shape dst;
    /* The tensor holds floats: q means nothing, sources (INPUT: pixels) are floats too. INPUT, CONV, DENSE,
     * ADD, RELU, AVGPOOL, AFFINE with float parameters, and DEQUANTIZE, whose source has codes. */
    bool f32;
    struct qb_qparams q;                                        /* of dst */
    bool relu;                                                  /* CONV, DENSE, ADD: fused ReLU */
    bool fused_add;                                             /* CONV: src[1] is added in the float tail */
    int kh, kw, stride_h, stride_w, pad_t, pad_l, pad_b, pad_r; /* CONV, AVGPOOL (no padding there) */
    int ic, oc;
    const int8_t *wei;              /* CONV: OIHW; DENSE: [oc][ic] */
    enum qb_dtype wei_dtype;        /* outside type */
    int wei_scale_count;            /* 1 (per tensor) or oc */
    const float *wei_scales;        /* [wei_scale_count] */
    const int32_t *wei_zero_points; /* [wei_scale_count], inside form, 0 for symmetric qint8 */
    const float *wei_seen;          /* [wei_scale_count][2], extremes of the float weights that share a scale,
                                       for inspection; NULL: not known */
    const float *bia;               /* [oc], float as in PyTorch; never NULL */
    const int32_t *bia_codes; /* [oc], in units of src scale * wei scale, or NULL (qb_arithmetic_traits);
                                 `bia` then has the products (qb_bia_of_codes) */
    const float *wei_f32;     /* f32: in place of wei, its scales and zero points; AFFINE: [oc] */
    /* DENSE of floats: 0, or it has `wei` all the same, and quantizes what it reads at run time: the range of
     * one image's tensor is laid on the codes 0 .. dynamic, 127 or 255. */
    int dynamic;
    const uint8_t *codes; /* CONSTANT: [dst.c], inside form */
};

/* How many sources the node reads: 0 to 2. */
int qb_qnode_sources(const struct qb_qnode *node);

/* The scale of accumulators of channel k: of its source, with scale `src`, times the weights'. */
static inline float qb_acc_scale(const struct qb_qnode *node, float src, int k)
{
    return src * node->wei_scales[node->wei_scale_count == 1 ? 0 : k];
}

/* bia[k] = bia_codes[k] * (src scale * wei scale), as DequantizeLinear computes it. */
void qb_bia_of_codes(const struct qb_qnode *node, float src_scale, float *bia);

struct qb_qgraph {
    struct qb_arena *arena; /* owns everything, this struct included */
    const char *scheme;     /* scheme name; "imported" when unknown */
    enum qb_arithmetic arithmetic;
    enum qb_accumulate accumulate; /* other than exact: the reference engine only */
    struct qb_qnode *nodes;
    int count;
    const char *model_sha256;     /* of the float model file; "" when unknown */
    const char *calibration_hash; /* qb_sample.hash; "" when unknown */
    const char *refinement; /* what refinements did, for people, a line each; NULL or "": nothing. Not part of
                               the identity: the weights and biases are */
};

/* CONV, DENSE: the weights are integers. */
static inline bool qb_has_integer_weights(const struct qb_qnode *node)
{
    return !node->f32 || node->dynamic;
}

/* Bytes of an element of the node's tensor. */
static inline size_t qb_qnode_element(const struct qb_qnode *node)
{
    return node->f32 ? sizeof(float) : 1;
}

/* Accepts NULL. */
void qb_qgraph_free(struct qb_qgraph *graph);

/* Appends `line`, which lives in the graph's arena, to what refinements did. NULL is QB_ENOMEM. */
enum qb_status qb_qgraph_note(struct qb_qgraph *graph, const char *line, struct qb_error *err);

/* QUANTIZE of codes. */
static inline bool qb_is_recoding(const struct qb_qgraph *graph, int node)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    return n->op == QB_QOP_QUANTIZE && !graph->nodes[n->src[0]].f32;
}

/* Index of the node that holds the logits: the last one. */
static inline int qb_qgraph_logits(const struct qb_qgraph *graph)
{
    return graph->count - 1;
}
/* Index by name, -1 if absent. */
int qb_qgraph_find(const struct qb_qgraph *graph, const char *name);

/* Multiply-accumulates of one image. */
uint64_t qb_qnode_macs(const struct qb_qnode *node);

/* Bytes that the parameters take: weights and constants one byte, biases, weight scales and weights of float
 * layers four, zero points one each. */
size_t qb_qgraph_bytes(const struct qb_qgraph *graph);

/* Identity of the integer network: first 64 bits of a SHA-256 over operators, geometry, codes, scales, zero
 * points, biases, arithmetic and accumulation (not names, and types only where results depend on them): equal
 * hash = equal results. */
void qb_qgraph_hash(const struct qb_qgraph *graph, char hex[QB_HASH64_HEX]);

#endif
