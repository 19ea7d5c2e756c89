/* qb_pass_redundant: removes nodes that change no value that counts. */
#include "model/graph_build.h"
#include "model/passes.h"

static bool same_qparams(const struct qb_node *a, const struct qb_node *b)
{
    return a->q.scale == b->q.scale && a->q.zero_point == b->q.zero_point && a->q.is_signed == b->q.is_signed;
}

/* The node that the readers of `node`, which is number i, can read instead; i when there is none. `alias` is
 * final for smaller indices. */
static int stand_in(const struct qb_graph *graph, const int *alias, const bool *behind_softmax, int i)
{
    const struct qb_node *const node = &graph->nodes[i];
    if (qb_op_sources(node->op) == 0) {
        return i;
    }
    const int src = alias[node->src[0]];
    const struct qb_node *const source = &graph->nodes[src];
    switch (node->op) {
    case QB_OP_RELU: return source->op == QB_OP_RELU ? src : i;
    case QB_OP_QUANTIZE:
        if (behind_softmax[src]) {
            return src;
        }
        /* s * (q - z) / s + z rounds back to q: the difference to q is far below one half. */
        return source->op == QB_OP_DEQUANTIZE && same_qparams(source, node) ? alias[source->src[0]] : i;
    case QB_OP_DEQUANTIZE: return behind_softmax[src] ? src : i;
    default: return i;
    }
}

enum qb_status qb_pass_redundant(struct qb_graph *graph, struct qb_error *err)
{
    int *alias;
    bool *behind_softmax;
    QB_ALLOC(alias, graph, (size_t)graph->count, err);
    QB_ALLOC(behind_softmax, graph, (size_t)graph->count, err);
    for (int i = 0; i < graph->count; i++) {
        behind_softmax[i] = graph->nodes[i].op == QB_OP_SOFTMAX;
        alias[i] = stand_in(graph, alias, behind_softmax, i);
    }
    return qb_graph_compact(graph, alias, err);
}
