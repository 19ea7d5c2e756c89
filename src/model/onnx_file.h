/* Bytes -> ONNX messages, safely: protobuf-c alone recurses as deep as its input nests and allocates many
 * times its size. */
#ifndef QB_MODEL_ONNX_FILE_H
#define QB_MODEL_ONNX_FILE_H

#include "base/file.h"
#include "model/onnx_proto.h"

/* A parsed file. Set to zero before the first use; close with qb_onnx_close, also after a failure. */
struct qb_onnx_file {
    Onnx__ModelProto *model;
    size_t used, budget; /* bytes that the messages take, and may take */
};

enum qb_status qb_onnx_open(struct qb_onnx_file *file, const struct qb_blob *bytes, struct qb_error *err);
void qb_onnx_close(struct qb_onnx_file *file);

#endif
