/* TensorFlow Lite files (.tflite) -> a raw graph: float networks, and int8 ones, which become QUANTIZE and
 * DEQUANTIZE nodes around float operators, weights and biases keeping their codes, with metadata entry
 * qbench.arithmetic = tflite. Without flatbuffers at build time the function says which package is missing.
 */
#ifndef QB_MODEL_TFLITE_H
#define QB_MODEL_TFLITE_H

#include "base/file.h"
#include "model/graph.h"

enum qb_status qb_tflite_import(const char *path, const struct qb_blob *file, struct qb_graph **out,
                                struct qb_error *err);

#endif
