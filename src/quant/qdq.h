/* Quantized models as ONNX files with QuantizeLinear / DequantizeLinear pairs (opset 13): the only file
 * format of integer graphs, readable by ONNX Runtime, Netron and this program.
 *
 * metadata_props: qbench.version, qbench.scheme, qbench.arithmetic, qbench.accumulate (when it is not exact),
 * qbench.model_sha256, qbench.calibration_hash, qbench.refinement (what refinements did, when there are any),
 * qbench.nodes (JSON: order, names, ranges and extremes of the nodes, and which additions are of floats),
 * qbench.qgraph_hash (checksum: a file whose content does not give this hash is refused) and qbench.checksum
 * (of the other entries). A file made elsewhere needs none of them and may have qbench.arithmetic,
 * qbench.accumulate and qbench.scheme. */
#ifndef QB_QUANT_QDQ_H
#define QB_QUANT_QDQ_H

#include "quant/qgraph.h"

/* Atomic write (qb_file_write); the same graph gives the same bytes. Input "input" float [N,C,H,W] raw
 * pixels; output "logits" float [N,classes]. Names of nodes must differ, not be empty and have no '/'.
 * Activations of fewer than 8 bits, and ranges taken at run time, have no such form: QB_EUNSUPPORTED. */
enum qb_status qb_qdq_write(const struct qb_qgraph *graph, const char *path, struct qb_error *err);

/* Builds the integer graph of a loaded QDQ model (graph->quantized). Without qbench metadata the arithmetic
 * is `fallback` and the scheme "imported". What is written and read again is the same graph, to the order of
 * its nodes. A node that has no integer form, above all one whose sources are not quantized, is an error that
 * names it. */
enum qb_status qb_qdq_read(const struct qb_graph *graph, enum qb_arithmetic fallback, struct qb_qgraph **out,
                           struct qb_error *err);

#endif
