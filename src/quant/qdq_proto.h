/* Building ONNX messages in an arena, for the writer of QDQ files. The first failed allocation sticks:
 * everything after it does nothing, and qb_proto_write reports it. Returned strings are names of tensors,
 * NULL after a failure. */
#ifndef QB_QUANT_QDQ_PROTO_H
#define QB_QUANT_QDQ_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "model/graph.h"
#include "model/onnx_proto.h"

struct qb_proto {
    struct qb_arena *arena;
    Onnx__GraphProto graph;
    size_t nodes, initializers; /* capacities */
    bool failed;
};

/* Element types; the values are ONNX's. */
enum qb_proto_type {
    QB_PROTO_FLOAT = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
    QB_PROTO_UINT8 = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
    QB_PROTO_INT8 = ONNX__TENSOR_PROTO__DATA_TYPE__INT8,
    QB_PROTO_INT32 = ONNX__TENSOR_PROTO__DATA_TYPE__INT32,
};

/* Room for at most `nodes` nodes and `initializers` initializers. */
void qb_proto_begin(struct qb_proto *p, struct qb_arena *arena, size_t nodes, size_t initializers);

/* printf into the arena. */
char *qb_proto_text(struct qb_proto *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* An initializer; `data` is copied. */
const char *qb_proto_tensor(struct qb_proto *p, const char *name, enum qb_proto_type type, size_t rank,
                            const int64_t *dims, const void *data);

/* A node of `count` inputs. Its output is called `output`, "NAME:0" when that is NULL. Attributes go to the
 * node added last, at most four. */
const char *qb_proto_node(struct qb_proto *p, const char *type, const char *name, const char *output,
                          size_t count, const char *const *inputs);
void qb_proto_int(struct qb_proto *p, const char *attribute, int64_t value);
void qb_proto_ints(struct qb_proto *p, const char *attribute, size_t count, const int64_t *values);

/* The graph's one float input or output; the first dimension is the symbol "batch", the others are given. */
void qb_proto_input(struct qb_proto *p, const char *name, size_t rank, const int64_t *dims);
void qb_proto_output(struct qb_proto *p, const char *name, size_t rank, const int64_t *dims);

/* The finished model, atomically into `path`. */
enum qb_status qb_proto_write(struct qb_proto *p, const char *version, const struct qb_metadata *metadata,
                              size_t metadata_count, const char *path, struct qb_error *err);

#endif
