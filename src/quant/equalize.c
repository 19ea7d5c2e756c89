/* Cross-layer equalization: see equalize.h. */
#include "quant/equalize.h"

#include <math.h>
#include <stdbool.h>

/* Chains a -> b -> c share b's weights, so pairs are done in turns until no scale moves any more. One turn
 * does it when no two pairs meet. */
enum { MAX_TURNS = 20 };
static const float settled = 1e-6f;

struct pair {
    int first, second; /* convolutions */
    float low, high;   /* smallest and largest scale of the first turn */
};

/* Parameters of a node that the copy may write; NULL until it has them. */
struct owned {
    float *wei, *bia;
};

/* The only reader of each node, -1 for none, -2 for several. */
static void find_readers(const struct qb_graph *graph, int *reader)
{
    for (int i = 0; i < graph->count; i++) {
        reader[i] = -1;
        for (int s = 0; s < qb_op_sources(graph->nodes[i].op); s++) {
            int *const of = &reader[graph->nodes[i].src[s]];
            *of = *of == -1 ? i : -2;
        }
    }
}

static size_t find_pairs(const struct qb_graph *graph, const int *reader, struct pair *pairs)
{
    size_t count = 0;
    for (int i = 0; i < graph->count; i++) {
        int next = graph->nodes[i].op == QB_OP_CONV ? reader[i] : -1;
        if (next >= 0 && graph->nodes[next].op == QB_OP_RELU) {
            next = reader[next];
        }
        if (next >= 0 && graph->nodes[next].op == QB_OP_CONV) {
            pairs[count++] = (struct pair){.first = i, .second = next};
        }
    }
    return count;
}

static float largest(const float *values, size_t count, float so_far)
{
    for (size_t i = 0; i < count; i++) {
        so_far = fmaxf(so_far, fabsf(values[i]));
    }
    return so_far;
}

/* One pair: the scale furthest from 1, as |ln s|. */
static float equalize_pair(const struct qb_graph *graph, const struct owned *owned, struct pair *p,
                           bool first_turn)
{
    const struct qb_node *const a = &graph->nodes[p->first], *const b = &graph->nodes[p->second];
    const size_t each = (size_t)(a->ic * a->kh * a->kw), taps = (size_t)(b->kh * b->kw);
    float *const wa = owned[p->first].wei, *const ba = owned[p->first].bia, *const wb = owned[p->second].wei;
    float moved = 0;
    for (size_t c = 0; c < (size_t)a->oc; c++) {
        const float r1 = largest(wa + c * each, each, 0);
        float r2 = 0;
        for (size_t k = 0; k < (size_t)b->oc; k++) {
            r2 = largest(wb + (k * (size_t)b->ic + c) * taps, taps, r2);
        }
        const float s = sqrtf(r1 / r2);
        if (!(s > 0 && s < INFINITY)) { /* a channel that is zero on one side stays as it is */
            continue;
        }
        for (size_t i = 0; i < each; i++) {
            wa[c * each + i] /= s;
        }
        ba[c] /= s;
        for (size_t k = 0; k < (size_t)b->oc; k++) {
            for (size_t t = 0; t < taps; t++) {
                wb[(k * (size_t)b->ic + c) * taps + t] *= s;
            }
        }
        if (first_turn) {
            p->low = fminf(p->low, s);
            p->high = fmaxf(p->high, s);
        }
        moved = fmaxf(moved, fabsf(logf(s)));
    }
    return moved;
}

static bool own_parameters(struct qb_graph *copy, struct owned *owned, int i)
{
    struct qb_node *const node = &copy->nodes[i];
    if (!owned[i].wei) {
        const size_t biases = (size_t)node->oc, weights = qb_node_params(node) - biases;
        node->wei = owned[i].wei = qb_arena_memdup(copy->arena, node->wei, weights * sizeof *node->wei);
        node->bia = owned[i].bia = qb_arena_memdup(copy->arena, node->bia, biases * sizeof *node->bia);
    }
    return owned[i].wei && owned[i].bia;
}

static const char *describe(const struct qb_graph *graph, const struct pair *pairs, size_t count)
{
    const char *text = "equalize:";
    for (size_t i = 0; text && i < count; i++) {
        text =
            qb_arena_printf(graph->arena, "%s%s %s > %s (channels divided by %.3g .. %.3g)", text,
                            i ? "," : "", graph->nodes[pairs[i].first].name,
                            graph->nodes[pairs[i].second].name, (double)pairs[i].low, (double)pairs[i].high);
    }
    return text;
}

static enum qb_status copy_graph(const struct qb_graph *graph, struct qb_graph **out, struct qb_error *err)
{
    struct qb_arena *const arena = qb_arena_create();
    struct qb_graph *const copy = arena ? qb_arena_array(arena, 1, sizeof *copy) : NULL;
    struct qb_node *const nodes =
        copy ? qb_arena_memdup(arena, graph->nodes, (size_t)graph->count * sizeof *nodes) : NULL;
    if (!nodes) {
        qb_arena_destroy(arena);
        return qb_fail_memory(err, (size_t)graph->count * sizeof *nodes);
    }
    *copy = *graph;
    copy->arena = arena;
    copy->nodes = nodes;
    copy->capacity = graph->count;
    *out = copy;
    return QB_OK;
}

/* What qb_equalize works with; arrays have one entry a node. */
struct work {
    struct pair *pairs;
    struct owned *owned;
    int *reader;
};

static enum qb_status equalize(struct qb_graph *copy, const struct work *w, const char **note,
                               struct qb_error *err)
{
    find_readers(copy, w->reader);
    const size_t count = find_pairs(copy, w->reader, w->pairs);
    if (count == 0) {
        return qb_fail(err, QB_EINPUT,
                       "%s: refine: equalize does not apply: no convolution feeds another one alone, through "
                       "nothing but a ReLU",
                       copy->path);
    }
    for (size_t i = 0; i < count; i++) {
        struct pair *const p = &w->pairs[i];
        p->low = INFINITY;
        if (!own_parameters(copy, w->owned, p->first) || !own_parameters(copy, w->owned, p->second)) {
            return qb_fail_memory(err, qb_node_params(&copy->nodes[p->first]) * sizeof(float));
        }
    }
    float moved = 1;
    for (int turn = 0; turn < MAX_TURNS && moved > settled; turn++) {
        moved = 0;
        for (size_t i = 0; i < count; i++) {
            moved = fmaxf(moved, equalize_pair(copy, w->owned, &w->pairs[i], turn == 0));
        }
    }
    *note = describe(copy, w->pairs, count);
    return *note ? QB_OK : qb_fail_memory(err, count);
}

enum qb_status qb_equalize(const struct qb_graph *graph, struct qb_graph **out, const char **note,
                           struct qb_error *err)
{
    struct qb_graph *copy = NULL;
    QB_TRY(copy_graph(graph, &copy, err));
    const size_t count = (size_t)graph->count;
    const struct work w = {.pairs = qb_arena_array(copy->arena, count, sizeof *w.pairs),
                           .owned = qb_arena_array(copy->arena, count, sizeof *w.owned),
                           .reader = qb_arena_array(copy->arena, count, sizeof *w.reader)};
    const enum qb_status status = w.pairs && w.owned && w.reader
                                      ? equalize(copy, &w, note, err)
                                      : qb_fail_memory(err, count * sizeof *w.pairs);
    if (status != QB_OK) {
        qb_graph_free(copy);
        return status;
    }
    *out = copy;
    return QB_OK;
}
