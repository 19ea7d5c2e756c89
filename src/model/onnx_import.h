/* Inside of the ONNX importer: the state of one import, named values, attributes, and the operators'
 * handlers. */
#ifndef QB_MODEL_ONNX_IMPORT_H
#define QB_MODEL_ONNX_IMPORT_H

#include "model/graph_build.h"
#include "model/onnx_proto.h"

enum { QB_ONNX_MAX_RANK = 8 };

/* A tensor known at import time: an initializer, the result of a Constant node, or of an operator on such. */
struct onnx_constant {
    int type; /* ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, INT8, UINT8, INT32 or INT64 */
    int rank;
    size_t dims[QB_ONNX_MAX_RANK];
    size_t count;
    const void *data; /* elements of that type, in the graph's arena */
    /* Of a FLOAT made by DequantizeLinear of int8 or uint8, in the order of `data`; scales run along `axis`.
     */
    const struct qb_weight_codes *codes;
    int axis;
    /* Of a FLOAT made by DequantizeLinear of int32 with zero points 0; else NULL. */
    const int32_t *bia_codes;
    const float *bia_scales; /* [bia_scale_count] */
    int bia_scale_count;
};

/* What a tensor name stands for. */
struct onnx_value {
    const char *name;
    const Onnx__TensorProto *initializer; /* not decoded yet */
    const struct onnx_constant *constant; /* decoded; both NULL: a tensor of the graph */
    int node;                             /* graph tensor: its node */
    int rank;                             /* graph tensor: 4 or 2 */
    bool integer; /* graph tensor: the codes that a QuantizeLinear or QLinear operator makes */
    int axes[4];  /* rank 4: the input's axis that each axis holds, until a window operator is met */
};

struct onnx_importer {
    struct qb_graph *graph;
    const Onnx__GraphProto *source;
    void *values;                    /* tsearch tree of struct onnx_value by name */
    int64_t batch;                   /* of the input; -1 when symbolic */
    int64_t dims[3];                 /* of the input, behind the batch */
    bool layout_known;               /* a window operator told which of the input's axes are C, H, W */
    size_t parameter_bytes;          /* so far (qb_onnx_charge) */
    struct onnx_external *externals; /* files of data that were read (onnx_external.h) */
};

/* One node of the file being imported. */
struct onnx_op {
    struct onnx_importer *im;
    const Onnx__NodeProto *node;
    const char *name, *type;
};

/* Fails with "node 'NAME' (TYPE): ...". */
enum qb_status qb_onnx_fail(const struct onnx_op *op, struct qb_error *err, enum qb_status status,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Values (onnx_values.c). A defined name may not be defined again. */
enum qb_status qb_onnx_define(struct onnx_importer *im, const struct onnx_value *value, struct qb_error *err);
void qb_onnx_free_values(struct onnx_importer *im);
/* NULL when the name is not defined (yet). */
struct onnx_value *qb_onnx_find(const struct onnx_importer *im, const char *name);
/* Of a type number: its name, "unknown" where the system's onnx.proto is older; bytes of an element, 0: not
 * supported. */
const char *qb_onnx_type_name(int type);
size_t qb_onnx_element_size(int type);
/* Decodes a TensorProto into the graph's arena. */
enum qb_status qb_onnx_decode(struct onnx_importer *im, const Onnx__TensorProto *tensor,
                              struct onnx_constant **out, struct qb_error *err);
/* Looks up input `i`, which must be there. */
enum qb_status qb_onnx_input(const struct onnx_op *op, size_t i, struct onnx_value **out,
                             struct qb_error *err);
bool qb_onnx_has_input(const struct onnx_op *op, size_t i);
bool qb_onnx_is_constant(const struct onnx_value *value);
/* Input `i` as a tensor of the graph, of floats or codes / of floats / of codes / as a constant / as a
 * constant of one type. */
enum qb_status qb_onnx_any_tensor(const struct onnx_op *op, size_t i, struct onnx_value **out,
                                  struct qb_error *err);
enum qb_status qb_onnx_tensor(const struct onnx_op *op, size_t i, struct onnx_value **out,
                              struct qb_error *err);
enum qb_status qb_onnx_codes(const struct onnx_op *op, size_t i, struct onnx_value **out,
                             struct qb_error *err);
enum qb_status qb_onnx_constant(const struct onnx_op *op, size_t i, const struct onnx_constant **out,
                                struct qb_error *err);
enum qb_status qb_onnx_floats(const struct onnx_op *op, size_t i, const struct onnx_constant **out,
                              struct qb_error *err);
enum qb_status qb_onnx_int64s(const struct onnx_op *op, size_t i, const struct onnx_constant **out,
                              struct qb_error *err);
enum qb_status qb_onnx_int32s(const struct onnx_op *op, size_t i, const struct onnx_constant **out,
                              struct qb_error *err);
/* Makes the node's first output a constant / the same as `value`. */
enum qb_status qb_onnx_define_constant(const struct onnx_op *op, const struct onnx_constant *constant,
                                       struct qb_error *err);
enum qb_status qb_onnx_alias(const struct onnx_op *op, const struct onnx_value *value, struct qb_error *err);
/* Appends graph node `node`, which reads node->src. Name and type come from `op`. */
enum qb_status qb_onnx_emit(const struct onnx_op *op, struct qb_node *node, int *index, struct qb_error *err);
/* Makes graph node `index`, which reads `src`, the node's first output; the rank may differ from src's. */
enum qb_status qb_onnx_define_tensor(const struct onnx_op *op, const struct onnx_value *src, int index,
                                     int rank, struct qb_error *err);
/* qb_onnx_emit and qb_onnx_define_tensor for an operator of one source. */
enum qb_status qb_onnx_emit_unary(const struct onnx_op *op, struct qb_node *node,
                                  const struct onnx_value *src, int rank, struct qb_error *err);

/* Counts `bytes` more of memory, or `count` more float parameters. One initializer may feed any number of
 * nodes, each of which gets memory of its own sooner or later, and any number of tensors may keep their data
 * in the same bytes of another file: the sum is kept in proportion to the files. */
enum qb_status qb_onnx_charge_bytes(struct onnx_importer *im, size_t bytes, struct qb_error *err);
enum qb_status qb_onnx_charge(const struct onnx_op *op, size_t count, struct qb_error *err);

/* Attributes (onnx_attributes.c). A missing one gives the default; a wrong type is an error. */
enum qb_status qb_onnx_attr_int(const struct onnx_op *op, const char *name, int64_t fallback, int64_t *out,
                                struct qb_error *err);
enum qb_status qb_onnx_attr_float(const struct onnx_op *op, const char *name, float fallback, float *out,
                                  struct qb_error *err);
/* *values is NULL and *count 0 when it is missing. */
enum qb_status qb_onnx_attr_ints(const struct onnx_op *op, const char *name, const int64_t **values,
                                 size_t *count, struct qb_error *err);
/* Copies at most size - 1 bytes; a longer one is an error. */
enum qb_status qb_onnx_attr_string(const struct onnx_op *op, const char *name, const char *fallback,
                                   char *out, size_t size, struct qb_error *err);
const Onnx__AttributeProto *qb_onnx_attr(const struct onnx_op *op, const char *name);
/* An integer attribute that must have the one value that this program supports. */
enum qb_status qb_onnx_attr_expect(const struct onnx_op *op, const char *name, int64_t fallback, int64_t want,
                                   struct qb_error *err);
/* Axes as attribute `axes` or as input `i` (newer opsets); *count is 0 when there are none. */
enum qb_status qb_onnx_axes(const struct onnx_op *op, size_t i, int rank, unsigned *mask, size_t *count,
                            struct qb_error *err);

/* Nodes on images (onnx_window.c). Emits `node` on src seen as N,C,H,W: as it is, or transposed there and
 * back when `channels_last`; the result is the node's first output. The first window operator also settles
 * what the axes of the model's input mean. */
enum qb_status qb_onnx_emit_image(const struct onnx_op *op, struct qb_node *node,
                                  const struct onnx_value *src, bool channels_last, struct qb_error *err);
enum qb_status qb_onnx_emit_transpose(const struct onnx_op *op, int src, const int perm[4], int *index,
                                      struct qb_error *err);
/* `axes` (of the input) are read as N, C, H, W. */
enum qb_status qb_onnx_see_nchw(const struct onnx_op *op, const int axes[4], struct qb_error *err);

/* The same, but for what becomes of the result: its index. */
enum qb_status qb_onnx_emit_on_nchw(const struct onnx_op *op, struct qb_node *node,
                                    const struct onnx_value *src, bool channels_last, int *index,
                                    struct qb_error *err);
/* CONV of weights `w` and AVGPOOL with the attributes of the node, but for sources and bias. */
enum qb_status qb_onnx_conv_node(const struct onnx_op *op, const struct onnx_constant *w,
                                 struct qb_node *node, struct qb_error *err);
enum qb_status qb_onnx_average_pool_node(const struct onnx_op *op, struct qb_node *node,
                                         struct qb_error *err);

/* Parameters (onnx_dense.c). Weights with oc as first axis: node->wei and codes. */
enum qb_status qb_onnx_weights(const struct onnx_op *op, const struct onnx_constant *c, struct qb_node *node,
                               struct qb_error *err);
/* DENSE of weights `w`, [oc, ic] when `out_first`, else [ic, oc], on [N, features] `src`, but for sources and
 * bias. */
enum qb_status qb_onnx_dense_node(const struct onnx_op *op, const struct onnx_constant *w, bool out_first,
                                  const struct onnx_value *src, struct qb_node *node, struct qb_error *err);
/* A matrix of weights with its codes, transposed. */
enum qb_status qb_onnx_transpose_matrix(const struct onnx_op *op, const struct onnx_constant *c,
                                        const struct onnx_constant **out, struct qb_error *err);
/* The node's first output becomes matrix `c`, transposed; without codes (onnx_fold.c). */
enum qb_status qb_onnx_fold_transpose(const struct onnx_op *op, const struct onnx_constant *c,
                                      struct qb_error *err);
/* Optional input `i` times `factor`: node->bia. */
enum qb_status qb_onnx_bias(const struct onnx_op *op, size_t i, float factor, struct qb_node *node,
                            struct qb_error *err);

/* Scales and zero points (onnx_quantize.c); zero points are 0 when the input is missing. */
struct onnx_qparams {
    size_t count; /* 1 or the length of the axis */
    const float *scales;
    int32_t *zero_points;
    int type; /* of the codes, as the zero point's; 0 when that is missing */
    int64_t axis;
};
/* Input `scale`, and the zero point behind it. */
enum qb_status qb_onnx_read_qparams(const struct onnx_op *op, size_t scale, int64_t axis,
                                    struct onnx_qparams *out, struct qb_error *err);
/* The values of input 0 <= i, a constant of codes; remembers the codes (onnx_constant.codes, bia_codes). */
enum qb_status qb_onnx_dequantized(const struct onnx_op *op, size_t i, struct onnx_qparams *q,
                                   const struct onnx_constant **out, struct qb_error *err);
/* Of the codes that `value`, integer, holds: INT8 or UINT8. */
int qb_onnx_code_type(const struct onnx_importer *im, const struct onnx_value *value);
/* A DEQUANTIZE node of codes `src`, whose QUANTIZE must have the same scale, zero point and type. */
enum qb_status qb_onnx_dequantize(const struct onnx_op *op, const struct onnx_value *src,
                                  struct onnx_qparams *q, struct onnx_value *out, struct qb_error *err);
/* A QUANTIZE node of floats `src`: the node's first output. */
enum qb_status qb_onnx_quantize(const struct onnx_op *op, const struct onnx_value *src,
                                struct onnx_qparams *q, struct qb_error *err);

/* ADD or MUL of a tensor and a constant of one number a channel or one for all (onnx_affine.c): the result's
 * index. `constant`: the input that it is, for messages. */
enum qb_status qb_onnx_emit_with_constant(const struct onnx_op *op, enum qb_op kind,
                                          const struct onnx_value *src, const struct onnx_constant *c,
                                          size_t constant, int *index, struct qb_error *err);

/* Handlers. */
typedef enum qb_status qb_onnx_handler(const struct onnx_op *op, struct qb_error *err);
/* onnx_window.c */
qb_onnx_handler qb_onnx_conv, qb_onnx_average_pool, qb_onnx_global_average_pool, qb_onnx_reduce_mean,
    qb_onnx_pad;
/* onnx_affine.c */
qb_onnx_handler qb_onnx_batch_normalization, qb_onnx_add, qb_onnx_sub, qb_onnx_mul, qb_onnx_div;
/* onnx_dense.c */
qb_onnx_handler qb_onnx_gemm, qb_onnx_matmul;
/* onnx_simple.c */
qb_onnx_handler qb_onnx_relu, qb_onnx_clip, qb_onnx_softmax, qb_onnx_identity, qb_onnx_dropout,
    qb_onnx_constant_node;
/* onnx_shape.c */
qb_onnx_handler qb_onnx_transpose, qb_onnx_reshape, qb_onnx_flatten, qb_onnx_squeeze;
qb_onnx_handler qb_onnx_shape, qb_onnx_gather, qb_onnx_unsqueeze, qb_onnx_concat;
/* onnx_fold.c: Slice is for constants only; Reshape and Transpose have a half for them. */
qb_onnx_handler qb_onnx_slice, qb_onnx_fold_reshape;
/* onnx_cast.c */
qb_onnx_handler qb_onnx_cast, qb_onnx_constant_of_shape;
/* onnx_quantize.c */
qb_onnx_handler qb_onnx_quantize_linear, qb_onnx_dequantize_linear;
/* onnx_qlinear.c */
qb_onnx_handler qb_onnx_qlinear_conv, qb_onnx_qlinear_matmul, qb_onnx_qgemm, qb_onnx_qlinear_add,
    qb_onnx_qlinear_mul, qb_onnx_qlinear_average_pool, qb_onnx_qlinear_global_average_pool,
    qb_onnx_qlinear_softmax;

#endif
