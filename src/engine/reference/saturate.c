/* See saturate.h. */
#include "engine/reference/saturate.h"

#include "quant/pairs.h"

enum { CODE_MAX = 255 };

/* Writes the pairs of output channel `oc` that can saturate; returns their number. */
static size_t list_pairs(const struct qb_qnode *node, enum qb_accumulate order, int oc,
                         struct qb_risky_pair *to)
{
    const size_t pairs = qb_pair_count(node, order);
    size_t count = 0;
    for (size_t i = 0; i < pairs; i++) {
        struct qb_risky_pair pair;
        qb_pair_at(node, order, i, pair.position);
        for (int k = 0; k < 2; k++) {
            pair.wei[k] = (int16_t)qb_pair_weight(node, oc, pair.position[k]);
        }
        if (qb_pair_saturates(pair.wei[0], pair.wei[1], CODE_MAX)) {
            to[count++] = pair;
        }
    }
    return count;
}

enum qb_status qb_saturate_init(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                                struct qb_saturate *out, struct qb_error *err)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const enum qb_accumulate order = graph->accumulate;
    *out = (struct qb_saturate){.zero_point = graph->nodes[n->src[0]].q.zero_point, .oc = (size_t)n->oc};
    if (!qb_pairs_saturate(graph, node)) {
        return QB_OK;
    }
    const size_t total = (size_t)qb_saturating_pairs(n, order, CODE_MAX);
    size_t *const first = qb_arena_array(arena, out->oc + 1, sizeof *first);
    struct qb_risky_pair *const pairs = qb_arena_array(arena, total, sizeof *pairs);
    if (!first || !pairs) {
        return qb_fail_memory(err, total * sizeof *pairs + (out->oc + 1) * sizeof *first);
    }
    for (int oc = 0; oc < n->oc; oc++) {
        first[oc + 1] = first[oc] + list_pairs(n, order, oc, pairs + first[oc]);
    }
    out->first = first;
    out->pairs = pairs;
    return QB_OK;
}

void qb_saturate_run(const struct qb_saturate *saturate, const int16_t *window, int32_t *acc,
                     struct qb_saturation *seen)
{
    for (size_t oc = 0; oc < saturate->oc; oc++) {
        uint64_t saturated = 0;
        for (size_t i = saturate->first[oc]; i < saturate->first[oc + 1]; i++) {
            const struct qb_risky_pair *const pair = &saturate->pairs[i];
            const int32_t sum = (window[pair->position[0]] + saturate->zero_point) * pair->wei[0] +
                                (window[pair->position[1]] + saturate->zero_point) * pair->wei[1];
            const int32_t clamped = sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum;
            acc[oc] += clamped - sum;
            saturated += clamped != sum;
        }
        seen->pairs += saturated;
        seen->accumulators += saturated > 0;
    }
}
