/* The table of `qbench profile`: a line a node, engines side by side. */
#ifndef QB_REPORT_PROFILE_H
#define QB_REPORT_PROFILE_H

#include "base/status.h"
#include "measure/profile.h"
#include "model/graph.h"

struct qb_profile_node {
    const char *name, *op;
    struct qb_shape dst;
    uint64_t macs;
    int src[2]; /* -1: none */
};

struct qb_profile_column {
    const char *engine, *isa, *implementation;
    const struct qb_profile *profile;
    double roof_gmacs; /* of what the engine runs on; NAN: no probe */
};

/* Where the work of `node` was counted: the node itself, or the one that it was fused into; -1: nowhere. */
int qb_profile_home(const struct qb_profile_node *nodes, int count, const struct qb_profile *profile,
                    int node);

/* TEXT: name, operator, output, MACs; for each engine the least time, its share of the layers' sum and of the
 * roof, or the layer that a node was fused into; with two engines or more how many times the first is faster
 * than each other one where both have the layer to themselves; then sums and whole runs. JSON: the same with
 * medians; what does not apply is null. malloc'd text. */
enum qb_status qb_profile_render(const struct qb_profile_node *nodes, int count,
                                 const struct qb_profile_column *columns, int column_count, int json,
                                 char **out, struct qb_error *err);

#endif
