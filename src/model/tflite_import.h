/* Between the files of the TensorFlow Lite importer: the state of one import, and what operators are made
 * with. */
#ifndef QB_MODEL_TFLITE_IMPORT_H
#define QB_MODEL_TFLITE_IMPORT_H

#include "model/graph_build.h"
#include "model/tflite_file.h"

struct tflite_import {
    struct qb_graph *graph;
    const struct qb_tflite_model *model;
    struct qb_tflite_tensor *tensors; /* [tensor_count] */
    int *nodes; /* [tensor_count] the graph node with the tensor's real values; -1: no operator made it yet */
    size_t tensor_count;
    size_t parameter_bytes; /* taken so far */
};

/* One operator, its indices checked: inputs may be -1 (left out), outputs is one. */
struct tflite_op {
    struct tflite_import *im;
    struct qb_tflite_operator file;
    size_t number;
    const struct qb_tflite_tensor *dst;
    const char *name; /* dst's, in the arena */
};

/* One sentence about the operator; returns `status`. */
enum qb_status qb_tflite_fail(const struct tflite_op *op, struct qb_error *err, enum qb_status status,
                              const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Input k as an activation: a tensor some operator made, FLOAT32 or INT8. */
enum qb_status qb_tflite_source(const struct tflite_op *op, size_t k, const struct qb_tflite_tensor **tensor,
                                int *node, struct qb_error *err);
/* Input k as a constant of `type` whose bytes are as many as its shape says; `rank` dimensions of 1 to
 * QB_MODEL_MAX_DIM. */
enum qb_status qb_tflite_constant(const struct tflite_op *op, size_t k, int type, size_t rank,
                                  const struct qb_tflite_tensor **out, struct qb_error *err);
bool qb_tflite_has_input(const struct tflite_op *op, size_t k);
/* `count` elements of parameters, within proportion to the file. */
void *qb_tflite_array(const struct tflite_op *op, size_t count, size_t size, struct qb_error *err);

/* Scale and zero point of an INT8 activation. */
enum qb_status qb_tflite_qparams(const struct tflite_op *op, const struct qb_tflite_tensor *tensor,
                                 struct qb_qdq *out, struct qb_error *err);

/* Appends `node`, the activation that the file fuses into the operator, and where dst is INT8 QUANTIZE and
 * DEQUANTIZE: dst's values are those of the last of them. Fills in the names. */
enum qb_status qb_tflite_emit(const struct tflite_op *op, const struct qb_node *node, struct qb_error *err);
/* dst's values are those of `node`; an INT8 dst must have the codes of `tensor`. */
enum qb_status qb_tflite_alias(const struct tflite_op *op, const struct qb_tflite_tensor *tensor, int node,
                               struct qb_error *err);

/* The operator's own importer (tflite_ops.c). */
enum qb_status qb_tflite_operation(const struct tflite_op *op, struct qb_error *err);

#endif
