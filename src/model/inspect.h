/* `qbench inspect` of a float model: every layer with its operator, shape, parameters, multiply-accumulates
 * and the ranges of its weights, then the totals.
 *
 * The JSON form is stable: keys are added, never renamed or removed; what does not apply is null.
 *
 * schema_version: 1. kind: "float".
 *
 * model: path, sha256 (of the file), bytes (of the file), params, macs (of one image).
 *
 * layers, in order of execution: name, source_name (as in the file), op, src (names of the layers it reads),
 * shape [h, w, c], kernel [h, w], stride [h, w], pads [top, left, bottom, right], params, macs, weight_min,
 * weight_max, bias_min, bias_max.
 *
 * `op` is one of input, conv, dense, add, relu, avgpool, softmax. Batch normalization is folded, so it has no
 * layer. */
#ifndef QB_MODEL_INSPECT_H
#define QB_MODEL_INSPECT_H

#include <stdbool.h>

#include "model/graph.h"

/* malloc'd, NUL-terminated, ends with a newline. */
enum qb_status qb_inspect_graph(const struct qb_graph *graph, bool json, char **out, struct qb_error *err);

#endif
