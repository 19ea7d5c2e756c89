/* From a float graph and a scheme to an integer graph.
 *
 * Calibration is driven from outside, because running the float graph is the engine's business:
 *     qb_calibration_create, then per batch qb_calibration_observe for every float tensor (in execution
 * order), all of it again while qb_calibration_next_pass says so, then qb_quantize. Tensors that the scheme
 * does not observe are ignored by observe. */
#ifndef QB_QUANT_QUANTIZE_H
#define QB_QUANT_QUANTIZE_H

#include "config/scheme.h"
#include "model/graph.h"
#include "quant/qgraph.h"

/* Checks a scheme against the observer table and the rules of the frameworks: unknown observer, an option the
 * observer does not have, reduce_range with symmetric quint8, fuse conv_add without arithmetic onednn ...
 * What PyTorch's fbgemm refuses but our arithmetic has (quint8 weights, qint8 activations) passes. So does
 * "fp32", which the functions below refuse. */
enum qb_status qb_scheme_check(const struct qb_scheme *scheme, struct qb_error *err);

struct qb_calibration;

/* Keeps pointers to graph and scheme. */
enum qb_status qb_calibration_create(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                     struct qb_calibration **out, struct qb_error *err);
/* `count` float values of tensor `node`, one whole batch in one call. A NaN is QB_EINPUT naming the node. */
enum qb_status qb_calibration_observe(struct qb_calibration *calibration, int node, const float *values,
                                      size_t count, struct qb_error *err);
/* 1 when the scheme observes tensor `node` (so a runner need not produce the others): the input and every
 * CONV, DENSE and ADD; where a RELU is fused into it (scheme->fuse), the RELU's tensor in its place; nothing
 * for a CONV that is merged with an ADD (QB_FUSE_CONV_ADD). Other nodes inherit their source's scale and zero
 * point. Also what inner tensors of layers are made of, and pools that join (roles.h). */
int qb_calibration_wants(const struct qb_calibration *calibration, int node);
/* At the end of a pass over all batches: 1 when the scheme's observer needs the same batches once more. */
int qb_calibration_next_pass(struct qb_calibration *calibration);
void qb_calibration_free(struct qb_calibration *calibration);

/* qparams by the index of the float node whose tensor is observed (qb_calibration_wants); `set[i]` tells
 * which are there. */
struct qb_qparams_table {
    struct qb_qparams *q; /* [graph->count] */
    bool *set;            /* [graph->count] */
    /* The same of the inner tensors of layers (roles.h), by layer. */
    struct qb_qparams *inner;
    bool *inner_set;
};
/* All unset, in `arena`. */
enum qb_status qb_qparams_table_make(size_t count, struct qb_arena *arena, struct qb_qparams_table *out,
                                     struct qb_error *err);
enum qb_status qb_calibration_qparams(const struct qb_calibration *calibration, struct qb_arena *arena,
                                      struct qb_qparams_table *out, struct qb_error *err);

/* Reads activation scales and zero points from a JSON file of the form of ../shared/golden/torch manifests:
 * {"observers": {TENSOR: {"scale_hex": "0x1.8p-1" or "scale": 0.75, "zero_point": 3, ...}}}. Every tensor
 * that the scheme observes must be there. TENSOR is the canonical name of the node that produces it ("conv"
 * also where a RELU is fused into it), "input" for the image. "zero_point" and the optional "dtype", "qmin"
 * and "qmax" are in outside form. */
enum qb_status qb_qparams_read(const char *path, const struct qb_graph *graph, const struct qb_scheme *scheme,
                               struct qb_arena *arena, struct qb_qparams_table *out, struct qb_error *err);

/* Weights are observed and quantized here. `calibration_hash` may be "". */
enum qb_status qb_quantize(const struct qb_graph *graph, const struct qb_scheme *scheme,
                           const struct qb_qparams_table *activations, const char *calibration_hash,
                           struct qb_qgraph **out, struct qb_error *err);

#endif
