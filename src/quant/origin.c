/* See origin.h. */
#include "quant/origin.h"

/* The RELU that reads `node`, -1 if none does. */
static int relu_of(const struct qb_graph *graph, int node)
{
    for (int i = node + 1; i < graph->count; i++) {
        if (graph->nodes[i].op == QB_OP_RELU && graph->nodes[i].src[0] == node) {
            return i;
        }
    }
    return -1;
}

static bool is_of_shape(const struct qb_graph *graph, int node, struct qb_shape shape)
{
    return node >= 0 && qb_shape_count(graph->nodes[node].dst) == qb_shape_count(shape) &&
           graph->nodes[node].dst.c == shape.c;
}

static bool fits(const struct qb_qnode *q, const struct qb_node *node)
{
    const enum qb_op op = q->op == QB_QOP_CONV ? QB_OP_CONV : QB_OP_DENSE;
    return node->op == op && node->ic == q->ic && node->oc == q->oc && node->kh == q->kh && node->kw == q->kw;
}

/* The convolution that addition `add` adds to the tensor `residual`. */
static int merged_conv(const struct qb_graph *graph, int add, int residual)
{
    const struct qb_node *const node = &graph->nodes[add];
    return node->op != QB_OP_ADD ? -1 : node->src[0] == residual ? node->src[1] : node->src[0];
}

int qb_qgraph_product(const struct qb_qgraph *qgraph, int i)
{
    const struct qb_qnode *const n = &qgraph->nodes[i];
    return n->op == QB_QOP_ADD && qgraph->nodes[n->src[0]].op == QB_QOP_DENSE &&
                   qgraph->nodes[n->src[1]].op == QB_QOP_CONSTANT
               ? n->src[0]
               : -1;
}

void qb_qgraph_origin(const struct qb_qgraph *qgraph, const struct qb_graph *graph, struct qb_origin *origin)
{
    for (int i = 0; i < qgraph->count; i++) {
        const struct qb_qnode *const q = &qgraph->nodes[i];
        const int named = qb_graph_find(graph, q->name);
        const int tensor = named >= 0 && q->relu ? relu_of(graph, named) : named;
        origin[i] = (struct qb_origin){is_of_shape(graph, tensor, q->dst) ? tensor : -1, -1};
        if (q->op == QB_QOP_QUANTIZE || q->op == QB_QOP_DEQUANTIZE) {
            origin[i].tensor = origin[q->src[0]].tensor;
        }
        if (named >= 0 && (q->op == QB_QOP_CONV || q->op == QB_QOP_DENSE)) {
            const int weights = q->fused_add ? merged_conv(graph, named, origin[q->src[1]].tensor) : named;
            origin[i].weights = weights >= 0 && fits(q, &graph->nodes[weights]) ? weights : -1;
        }
        const int product = qb_qgraph_product(qgraph, i);
        if (named >= 0 && product >= 0 && fits(&qgraph->nodes[product], &graph->nodes[named])) {
            origin[product].weights = origin[i].weights = named;
        }
    }
}
