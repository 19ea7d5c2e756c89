/* Which nodes are computed in the tail of a convolution: see fuse.c. */
#ifndef QB_ENGINE_NATIVE_FUSE_H
#define QB_ENGINE_NATIVE_FUSE_H

#include <stdbool.h>

#include "kernels/tail.h"
#include "quant/qgraph.h"

struct qb_native_fusion {
    bool absorbed; /* computed inside its only reader: no step, no tensor */
    int base;  /* the node whose operator the step performs; the node itself unless it is a ReLU over it */
    int conv;  /* base is an ADD in the tail of this convolution, else -1 */
    bool relu; /* dst is clamped at the zero point */
    struct qb_tail add; /* with conv, not fbgemm: qb_native_fixed_add_tail's */
};

/* fusions[graph->count]. */
void qb_native_fuse(const struct qb_qgraph *graph, bool fuse, int *readers, struct qb_native_fusion *fusions);

#endif
