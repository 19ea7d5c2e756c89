/* Between sensitivity.c and sensitivity_study.c only: what is made once before the images are shown. */
#ifndef QB_MEASURE_SENSITIVITY_STUDY_H
#define QB_MEASURE_SENSITIVITY_STUDY_H

#include "measure/sensitivity.h"

enum { QB_STUDY_BATCH = 32 };

/* A layer's place in both graphs. */
struct qb_study_place {
    int node;         /* of the integer graph */
    int tensor;       /* of the float graph */
    int weights;      /* of the float graph, or -1 */
    size_t size;      /* of its tensor, one image */
    float *reference; /* [QB_STUDY_BATCH][size] the float tensor of this batch */
    bool again;       /* quantizes a tensor once more, for its readers */
};

struct qb_study {
    const struct qb_graph *graph;
    const struct qb_qgraph *qgraph;
    const struct qb_dataset *set;
    struct qb_arena *arena;
    struct qb_study_place *places; /* [out->count] */
    struct qb_fake *fake;          /* [graph->count] */
    int *again; /* [graph->count]: the layer, by number, that quantizes what the node reads once more */
    struct qb_engine *simulated, *integer, *saturating;
    struct qb_qgraph saturating_graph;
    float *logits, *reference_logits;    /* [QB_STUDY_BATCH][classes] */
    uint8_t predictions[QB_STUDY_BATCH]; /* of the float network */
    uint8_t all_hit[QB_STUDY_BATCH];     /* whether all layers quantized hit */
    int classes;
    float *real; /* [QB_STUDY_BATCH][largest tensor] dequantized */
    struct qb_sensitivity *out;
    size_t quantized; /* layers */
    /* Of the pass in progress. */
    size_t done;
    int n;
    size_t layer; /* alone */
};

/* The layers of s->out and their places in both graphs, the simulated weights, three engines, and room for a
 * batch. graph, qgraph, set, arena and out (images, synthetic) are there before; the engines are the caller's
 * to free, also after a failure, and so are s->out's layers. */
enum qb_status qb_study_make(struct qb_study *s, int threads, struct qb_error *err);

#endif
