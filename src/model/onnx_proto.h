/* The ONNX messages as protobuf-c generates them from the system's onnx.proto at build time (target
 * qb_onnx_proto). */
#ifndef QB_MODEL_ONNX_PROTO_H
#define QB_MODEL_ONNX_PROTO_H

#include "onnx/onnx.pb-c.h"

#endif
