/* ONNX files: the importer, and what the exporter of QDQ models (src/quant) needs to write one. */
#ifndef QB_MODEL_ONNX_H
#define QB_MODEL_ONNX_H

#include "base/file.h"
#include "model/graph.h"

/* Imports one model from memory into a raw (not canonical) graph. `path` is for messages and graph->path. */
enum qb_status qb_onnx_import(const char *path, const struct qb_blob *file, struct qb_graph **out,
                              struct qb_error *err);

#endif
