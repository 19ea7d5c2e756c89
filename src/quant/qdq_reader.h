/* Between qdq_read.c and qdq_read_float.c only: a QDQ file on its way to an integer graph. */
#ifndef QB_QUANT_QDQ_READER_H
#define QB_QUANT_QDQ_READER_H

#include "model/graph.h"
#include "quant/qgraph.h"

struct qb_qdq_reader {
    const struct qb_graph *graph;
    struct qb_qgraph *out;
    int *node_of; /* [graph->count] integer node that a float node is part of or reads the codes of; -1: none
                   */
    /* By integer node, [3 * graph->count]: the float node of its operator (-1: none); the DEQUANTIZE of its
     * tensor (0: none); the name in the file of the operator, or of the tensor that a
     * CONSTANT holds, NULL for the input. */
    int *operators, *converted;
    const char **keys;
    bool *floats; /* [graph->count] additions that work on floats whatever they read */
    const struct qb_arithmetic_traits *traits;
};

static inline const char *qb_qdq_file_name(const struct qb_node *node)
{
    return node->source_name ? node->source_name : node->name;
}

static inline const struct qb_node *qb_qdq_source(const struct qb_qdq_reader *r, const struct qb_node *node,
                                                  int k)
{
    return &r->graph->nodes[node->src[k]];
}

/* The integer node that source k of `node` holds the codes of. */
enum qb_status qb_qdq_take_source(const struct qb_qdq_reader *r, const struct qb_node *node, int k, int *out,
                                  struct qb_error *err);
/* Scale and zero point of QUANTIZE node `quantize` in inside form. */
enum qb_status qb_qdq_take_qparams(const struct qb_node *quantize, struct qb_qparams *out,
                                   struct qb_error *err);
bool qb_qdq_same_qparams(const struct qb_qparams *a, const struct qb_qparams *b);

/* The output of float node `i`, not a QUANTIZE or DEQUANTIZE, is a tensor of floats. */
bool qb_qdq_has_floats(const struct qb_qdq_reader *r, int i);
/* Whether node `i`, no QUANTIZE or DEQUANTIZE, computes on floats, as far as it and what it reads can tell.
 */
bool qb_qdq_is_float(const struct qb_qdq_reader *r, int i);
/* Such a node. */
enum qb_status qb_qdq_take_float(struct qb_qdq_reader *r, int i, struct qb_error *err);
/* QUANTIZE number `i` of floats, or of what a DEQUANTIZE gives. */
enum qb_status qb_qdq_take_conversion(struct qb_qdq_reader *r, int i, struct qb_error *err);

#endif
