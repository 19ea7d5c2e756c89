/* Enumeration of vpmaddubsw's pairs: see pairs.h. */
#include "quant/pairs.h"

static size_t taps_of(const struct qb_qnode *node)
{
    return node->op == QB_QOP_CONV ? (size_t)node->kh * (size_t)node->kw : 1;
}

bool qb_pairs_saturate(const struct qb_qgraph *graph, int node)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const bool u8s8 = graph->nodes[n->src[0]].q.dtype == QB_QUINT8 && n->wei_dtype == QB_QINT8;
    return graph->accumulate != QB_ACCUMULATE_EXACT && (u8s8 || graph->arithmetic != QB_ARITHMETIC_ORT);
}

size_t qb_pair_count(const struct qb_qnode *node, enum qb_accumulate order)
{
    const size_t taps = taps_of(node), ic = (size_t)node->ic;
    return order == QB_ACCUMULATE_MADDUBS_PAD4 ? taps * (ic / 2) : taps * ic / 2;
}

void qb_pair_at(const struct qb_qnode *node, enum qb_accumulate order, size_t index, size_t position[2])
{
    const size_t ic = (size_t)node->ic;
    position[0] =
        order == QB_ACCUMULATE_MADDUBS_PAD4 ? index / (ic / 2) * ic + index % (ic / 2) * 2 : 2 * index;
    position[1] = position[0] + 1;
}

int qb_pair_weight(const struct qb_qnode *node, int oc, size_t position)
{
    const size_t taps = taps_of(node), ic = (size_t)node->ic; /* OIHW */
    return node->wei[((size_t)oc * ic + position % ic) * taps + position / ic];
}

bool qb_pair_saturates(int weight0, int weight1, int code_max)
{
    /* The extreme sums take the largest code where a weight helps, and 0 where it does not. */
    const int top = (weight0 > 0 ? weight0 : 0) + (weight1 > 0 ? weight1 : 0);
    const int bottom = (weight0 < 0 ? weight0 : 0) + (weight1 < 0 ? weight1 : 0);
    return top * code_max > INT16_MAX || bottom * code_max < INT16_MIN;
}

int64_t qb_saturating_pairs(const struct qb_qnode *node, enum qb_accumulate order, int code_max)
{
    const size_t pairs = qb_pair_count(node, order);
    int64_t count = 0;
    for (int oc = 0; oc < node->oc; oc++) {
        for (size_t i = 0; i < pairs; i++) {
            size_t at[2];
            qb_pair_at(node, order, i, at);
            count +=
                qb_pair_saturates(qb_pair_weight(node, oc, at[0]), qb_pair_weight(node, oc, at[1]), code_max);
        }
    }
    return count;
}
