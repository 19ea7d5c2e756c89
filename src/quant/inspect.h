/* `qbench inspect` of an integer network: what the float view tells (src/model/inspect.h), and every scale,
 * zero point, code range and the saturation risk of the weights.
 *
 * Zero points, quantization ranges and codes are those of the outside type (dtype), as the file and PyTorch
 * state them.
 *
 * The JSON form is stable: keys are added, never renamed or removed; what does not apply is null.
 *
 * schema_version: 1. kind: "integer".
 *
 * model: scheme, arithmetic, accumulate, model_sha256 (of the float file), calibration (hash of its images),
 * refinement (what refinements did, a line each), qgraph_hash, bytes (of all parameters), params, macs (of
 * one image).
 *
 * layers, in order of execution: name, op, src (names of the layers it reads), shape [h, w, c], kernel [h,
 * w], stride [h, w], pads [top, left, bottom, right], relu and fused_add (fused into this layer), dynamic,
 * params, macs, scale, scale_hex (C's %a, exact), zero_point, dtype, quant_min, quant_max (the range that
 * scale and zero point were derived from), range [min, max] (the values of those two codes), observed [min,
 * max] (of the calibration), clip_ratio (the part of observed that range holds), weights, bias_min, bias_max.
 *
 * weights of a layer: dtype, per_channel, scales, scales_hex, zero_points (one, or one for each output
 * channel), ranges (of each scale [min, max], the least and greatest dequantized weight), clip_ratios (the
 * part of the float weights' interval that it holds), code_min, code_max, pairs, saturating_pairs,
 * saturating_pairs_any_code, pairs_khwc, saturating_pairs_khwc, saturating_pairs_khwc_any_code.
 *
 * What was observed is in the metadata of files written here, and null for others.
 *
 * pairs counts neighbouring input channels of one tap (two weights that vpmaddubsw multiplies and adds to 16
 * bits; an odd last channel is alone and cannot saturate). saturating_pairs can exceed 16 bits with source
 * codes up to the source's quant_max, saturating_pairs_any_code with codes up to 255, which reduced ranges
 * reach too, though rarely. That is oneDNN's order; the khwc counts are those of fbgemm and ONNX Runtime,
 * other only where a layer has an odd number of input channels (pairs.h). VNNI never saturates. */
#ifndef QB_QUANT_INSPECT_H
#define QB_QUANT_INSPECT_H

#include <stdbool.h>

#include "quant/qgraph.h"

/* malloc'd, NUL-terminated, ends with a newline. */
enum qb_status qb_inspect_qgraph(const struct qb_qgraph *graph, bool json, char **out, struct qb_error *err);

#endif
