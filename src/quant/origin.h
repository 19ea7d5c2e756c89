/* Which nodes of the float graph an integer graph's nodes come from. Both graphs carry the canonical names,
 * so this also finds the origin of a graph that was read from a file. */
#ifndef QB_QUANT_ORIGIN_H
#define QB_QUANT_ORIGIN_H

#include "model/graph.h"
#include "quant/qgraph.h"

struct qb_origin {
    int tensor;  /* the float node whose tensor the integer node approximates, of a conversion that of its
                    source; -1: there is none of this name and shape */
    int weights; /* the CONV or DENSE that its weights come from; -1: it has none, or they are not found */
};

/* The product that addition `i` completes to a dense layer by adding its bias as a constant (arithmetic ort);
 * -1 when node `i` is no such addition. Product and addition have the layer's weights for origin, the
 * addition its tensor. */
int qb_qgraph_product(const struct qb_qgraph *qgraph, int i);

/* origin [qgraph->count] */
void qb_qgraph_origin(const struct qb_qgraph *qgraph, const struct qb_graph *graph, struct qb_origin *origin);

#endif
