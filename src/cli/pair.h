/* A float network and the integer network that a scheme makes of it, for commands that compare the two. */
#ifndef QB_CLI_PAIR_H
#define QB_CLI_PAIR_H

#include "cli/calibration_options.h"

struct pair {
    struct qb_graph *graph; /* with the scheme's equalization, if it has that */
    struct qb_qgraph *qgraph;
    struct qb_graph *file; /* what an equalized graph shares its names with, else NULL */
};

/* Loads, calibrates, quantizes. A scheme or model that cannot be quantized is an error. */
enum qb_status pair_make(const char *model, const char *scheme, const struct calibration_options *calibration,
                         struct pair *out, struct qb_error *err);
void pair_free(struct pair *pair);

#endif
