/* Which layer costs the accuracy. A layer is a node of the integer graph that rounds: CONV, DENSE, ADD, MUL,
 * AVGPOOL, QUANTIZE, and a RELU that has a scale of its own; and CONV, DENSE, ADD and AVGPOOL that are float
 * already, of which there is only the range and what reaches them to tell. Quantization of a layer is
 * simulated in the float network: its weights and bias are the integer graph's, dequantized, and its tensor
 * goes to codes and back with the graph's scale and zero point; the input tensor belongs to the layers that
 * read the image. A tensor that is quantized once more is so for its reader alone. Everything else stays
 * float32. One layer is quantized alone, everything else float; or kept float, all others quantized.
 *
 * All layers together are the integer network but for the roundings of its arithmetic; that network itself,
 * exact and with vpmaddubsw's saturating sums, is measured beside them. */
#ifndef QB_MEASURE_SENSITIVITY_H
#define QB_MEASURE_SENSITIVITY_H

#include "base/progress.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "measure/deviation.h"

/* One network against the float one, on the same images. A hit is a right answer; on synthetic images, whose
 * labels mean nothing, it is the float network's answer. */
struct qb_effect {
    uint64_t hits, agree;
    struct qb_deviation logits;
};

struct qb_layer_sensitivity {
    const char *name, *op; /* the graph's */
    bool f32;              /* float already: q, clipped, ends, alone and kept are all 0 */
    struct qb_qparams q;
    float min, max;           /* of the float tensor */
    uint64_t values, clipped; /* float values of its tensor; those that no code stands for */
    uint64_t ends; /* codes of the integer network at the end of their range that do not mean zero */
    struct qb_deviation alone_output,
        integer_output; /* its tensor, quantized alone and in the integer network */
    struct qb_effect alone, kept;
    uint64_t only_kept, only_all; /* images that only one hits: kept float, or all layers quantized */
    bool multiplies;
    struct qb_saturation saturation; /* emulated */
    uint64_t accumulators;           /* that could have held a saturated pair */
};

struct qb_sensitivity {
    uint64_t images;
    bool synthetic;
    struct qb_effect fp32, all, integer, saturating; /* all: every layer quantized, simulated */
    enum qb_accumulate accumulate;                   /* of `saturating` */
    struct qb_layer_sensitivity *layers;             /* in execution order; malloc'd */
    size_t count;
};

/* On the first `images` images (1 <= images <= set->count). `graph` is the float network that `qgraph` was
 * made of; both must outlive `out`. QB_EUNSUPPORTED when no layer is quantized, QB_EINTERRUPTED on Ctrl-C. */
enum qb_status qb_sensitivity_measure(const struct qb_graph *graph, const struct qb_qgraph *qgraph,
                                      const struct qb_dataset *set, size_t images, int threads,
                                      const struct qb_progress *progress, struct qb_sensitivity *out,
                                      struct qb_error *err);
void qb_sensitivity_free(struct qb_sensitivity *sensitivity);

/* Index of the quantized layer that costs most. `certain`: it brings most hits when it is kept float, and
 * more than chance does (exact McNemar test at 5 %, times the number of those layers). Otherwise the layer
 * whose absence most quiets the logits. */
size_t qb_sensitivity_worst(const struct qb_sensitivity *sensitivity, bool *certain);

#endif
