/* How near a layer of integers comes to the float layer: the cosine of the angle between the two outputs, for
 * one image, and which scale brings it nearest to 1. The numbers behind scale_search.h. */
#ifndef QB_QUANT_SIMILARITY_H
#define QB_QUANT_SIMILARITY_H

#include "base/status.h"
#include "config/scheme.h"
#include "quant/qgraph.h"
#include "quant/windows.h"

/* The candidates for a scale s: s / f, f = 0.5, 0.515 .. 1.985. */
enum { QB_CANDIDATES = 100 };

/* A layer and what it reads and makes in the float network. */
struct qb_similar {
    struct qb_windows windows;
    size_t images, positions, outputs; /* values of an image of its source, and of what it makes (NHWC) */
    const float *src, *dst;            /* [images] of those; dst behind the ReLU */
    const float *wei, *bia;            /* as in struct qb_node */
    bool relu;
    struct qb_qparams q;                /* of the source */
    const struct qb_observer_spec *how; /* its weights become codes (qb_weights_requantize) */
    int channels, scale_count;
    float *scales;              /* [scale_count], 1 or channels */
    const int32_t *zero_points; /* [scale_count], inside form */
    double before, after;       /* mean similarity over the images, as it was and with the latest choice */
};

/* Chooses each weight scale in turn, those before it chosen already: the candidate with the greatest sum of
 * similarities over the images. */
enum qb_status qb_similar_weights(struct qb_similar *layer, struct qb_error *err);
/* The sum of similarities over the images for each candidate of the source's scale is added to sums. */
enum qb_status qb_similar_sources(struct qb_similar *layer, double sums[QB_CANDIDATES], struct qb_error *err);
/* Candidate k of a scale. */
float qb_similar_candidate(float scale, int k);
/* The first of the greatest sums. */
int qb_similar_best(const double sums[QB_CANDIDATES]);
#endif
