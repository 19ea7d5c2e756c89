/* Tensors whose data lies in a file beside the model, as PyTorch's exporter and large models have it. */
#ifndef QB_MODEL_ONNX_EXTERNAL_H
#define QB_MODEL_ONNX_EXTERNAL_H

#include "model/onnx_import.h"

/* The bytes of `tensor`, valid until the import ends. The model's folder and folders below it are read,
 * nothing else; all files of a model together have at most QB_MODEL_MAX_BYTES. */
enum qb_status qb_onnx_external_data(struct onnx_importer *im, const Onnx__TensorProto *tensor,
                                     ProtobufCBinaryData *out, struct qb_error *err);
/* Makes graph->sha256 that of the model and of the data files behind it, in the order in which tensors need
 * them. */
enum qb_status qb_onnx_external_identity(struct onnx_importer *im, const struct qb_blob *model,
                                         struct qb_error *err);
void qb_onnx_free_external(struct onnx_importer *im);

#endif
