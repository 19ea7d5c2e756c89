/* Refinements of what qb_quantize made (QB_REFINE_SCALE_SEARCH, _ADAROUND, _BIAS_CORRECTION,
 * _FAST_BIAS_CORRECTION in config/scheme.h; equalization happens before, in equalize.h).
 *
 * Scales come first, of all layers (scale_search.h); with what follows, every scale is known.
 *
 * Then layers are taken in the order of execution, and each sees the quantized network as corrected so far.
 * W, b are the float network's; Wq the dequantized weights; m the mean window (windows.h) of a layer's source
 * in the float network, mq in the quantized one, both over the calibration images:
 *
 *   adaround              Wq so that sum over windows (Wq x - W x)^2 is least, x of the quantized network
 *                         (adaround.h); less the mean of that error when a bias correction follows
 *   bias_correction       b' = b + W m - Wq mq: the means of the layer's output become the float network's
 *                         (Nagel et al. 2019, arXiv 1906.04721, 4.2, empirical; before activation)
 *   fast_bias_correction  b' = b + W m - Wq p: p is the window of a source that has the float network's mean
 * of each channel everywhere. Only where max|b' - b| / |b| < 2 and no bias is 0 (openvinotoolkit/nncf,
 * fast_bias_correction/algorithm.py)
 *
 * As with calibration, running networks is the engine's business:
 *     qb_refinement_create, then as long as qb_refinement_next says FLOAT or INTEGER the calibration images
 *     through the float graph or the integer graph *as it is at that moment*, every tensor to
 *     qb_refinement_observe in the order of the images. */
#ifndef QB_QUANT_REFINE_H
#define QB_QUANT_REFINE_H

#include "config/scheme.h"
#include "model/graph.h"
#include "quant/qgraph.h"

struct qb_refinement;
enum qb_refine_pass { QB_REFINE_PASS_DONE, QB_REFINE_PASS_FLOAT, QB_REFINE_PASS_INTEGER };

/* Keeps pointers to all three; writes weights, scales, biases and `refinement` of `qgraph`, which was made
 * from `graph` and `scheme` by qb_quantize. */
enum qb_status qb_refinement_create(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                    struct qb_qgraph *qgraph, struct qb_refinement **out,
                                    struct qb_error *err);
/* Ends the pass in progress and says which one is next. */
enum qb_status qb_refinement_next(struct qb_refinement *refinement, enum qb_refine_pass *pass,
                                  struct qb_error *err);
/* `count` values of tensor `node` of the graph of this pass, whole images: floats, or codes in inside form.
 */
void qb_refinement_observe(struct qb_refinement *refinement, int node, const void *values, size_t count);
/* Accepts NULL. */
void qb_refinement_free(struct qb_refinement *refinement);

#endif
