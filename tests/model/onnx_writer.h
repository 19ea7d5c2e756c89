/* Writes ONNX files for tests: a thin builder over the protobuf-c messages. Everything lives in one arena;
 * running out of memory fails the test. */
#ifndef QB_TESTS_MODEL_ONNX_WRITER_H
#define QB_TESTS_MODEL_ONNX_WRITER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/file.h"
#include "model/onnx_proto.h"

struct onnx_writer {
    struct qb_arena *arena;
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    bool typed_data;     /* float_data, int64_data, int32_data instead of raw_data */
    bool constant_nodes; /* Constant nodes instead of initializers */
    bool inputs_too;     /* initializers are listed as graph inputs as well */
    bool unnamed;        /* nodes have no name */
};

void ow_init(struct onnx_writer *w, int opset);
void ow_free(struct onnx_writer *w);
/* A float input; a dimension of 0 is symbolic. */
void ow_input(struct onnx_writer *w, const char *name, int rank, const int64_t *dims);
void ow_output(struct onnx_writer *w, const char *name);
void ow_metadata(struct onnx_writer *w, const char *key, const char *value);
/* A constant of ONNX data type `type`. Returns `name`. */
const char *ow_tensor(struct onnx_writer *w, const char *name, int type, int rank, const int64_t *dims,
                      const void *data);
const char *ow_floats(struct onnx_writer *w, const char *name, int rank, const int64_t *dims,
                      const float *data);
/* A list / a scalar of int64. */
const char *ow_ints(struct onnx_writer *w, const char *name, int64_t count, const int64_t *data);
/* A node of up to five inputs; NULL ends the list, "" is an absent optional input. */
Onnx__NodeProto *ow_node(struct onnx_writer *w, const char *type, const char *output,
                         const char *const inputs[6]);
void ow_int(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, int64_t value);
void ow_float(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, float value);
void ow_string(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, const char *value);
void ow_list(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, size_t count,
             const int64_t *values);
/* A tensor, a list of int64. */
void ow_tensor_of_ints(struct onnx_writer *w, Onnx__NodeProto *node, const char *name, int64_t count,
                       const int64_t *values);
/* The `nth` node of an operator type, the initializer of a name. */
Onnx__NodeProto *ow_find(struct onnx_writer *w, const char *type, int nth);
Onnx__TensorProto *ow_find_tensor(struct onnx_writer *w, const char *name);
Onnx__AttributeProto *ow_find_attr(Onnx__NodeProto *node, const char *name);
/* The file, to be freed with qb_blob_free. */
struct qb_blob ow_pack(const struct onnx_writer *w);

#endif
