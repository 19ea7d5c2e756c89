/* Which tensors a search sees, and what becomes of its choices: see scale_search.h. */
#include "quant/scale_search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/similarity.h"
#include "quant/weights.h"

enum { IMAGES = 50 };

struct layer {
    struct qb_qnode *node;
    const struct qb_node *conv; /* CONV or DENSE of the float graph */
    int number;                 /* its index there */
    float *src, *dst;           /* [IMAGES] of each */
    size_t src_images, dst_images;
    struct qb_similar similar;
    bool done;
};

struct qb_scale_search {
    const struct qb_graph *graph;
    struct qb_qgraph *qgraph;
    struct layer *layers;
    int count;
};

void qb_scale_search_free(struct qb_scale_search *s)
{
    if (s) {
        for (int i = 0; s->layers && i < s->count; i++) {
            free(s->layers[i].src);
            free(s->layers[i].dst);
        }
        free(s->layers);
        free(s);
    }
}

static enum qb_status add_layer(struct qb_scale_search *s, struct qb_qnode *node, int conv,
                                const struct qb_observer_spec *how, struct qb_error *err)
{
    const struct qb_node *const float_node = &s->graph->nodes[conv];
    const struct qb_shape src = s->graph->nodes[float_node->src[0]].dst;
    struct layer *const l = &s->layers[s->count++];
    *l = (struct layer){
        .node = node,
        .conv = float_node,
        .number = conv,
        .similar = {.windows = qb_windows_of(float_node, src),
                    .positions = qb_shape_count(src),
                    .outputs = qb_shape_count(float_node->dst),
                    .wei = float_node->wei,
                    .bia = float_node->bia,
                    .relu = node->relu && !node->fused_add,
                    .how = how,
                    .channels = node->oc,
                    .scale_count = node->wei_scale_count,
                    .scales = qb_arena_memdup(s->qgraph->arena, node->wei_scales,
                                              (size_t)node->wei_scale_count * sizeof *node->wei_scales),
                    .zero_points = node->wei_zero_points},
    };
    l->src = calloc(IMAGES * l->similar.positions, sizeof *l->src);
    l->dst = calloc(IMAGES * l->similar.outputs, sizeof *l->dst);
    l->similar.src = l->src;
    l->similar.dst = l->dst;
    return l->src && l->dst && l->similar.scales
               ? QB_OK
               : qb_fail_memory(err, IMAGES * (l->similar.positions + l->similar.outputs) * sizeof(float));
}

enum qb_status qb_scale_search_create(const struct qb_graph *graph, const struct qb_role *roles,
                                      struct qb_qgraph *qgraph, struct qb_scale_search **out,
                                      struct qb_error *err)
{
    struct qb_scale_search *const s = calloc(1, sizeof *s);
    if (!s) {
        return qb_fail_memory(err, sizeof *s);
    }
    *s = (struct qb_scale_search){
        .graph = graph, .qgraph = qgraph, .layers = calloc((size_t)qgraph->count, sizeof *s->layers)};
    enum qb_status status =
        s->layers ? QB_OK : qb_fail_memory(err, (size_t)qgraph->count * sizeof *s->layers);
    for (int i = 0; i < qgraph->count && status == QB_OK; i++) {
        struct qb_qnode *const node = &qgraph->nodes[i];
        if (!node->f32 && (node->op == QB_QOP_CONV || node->op == QB_QOP_DENSE)) {
            const int conv = qb_role_layer(graph, roles, node->name, node->fused_add);
            status = add_layer(s, node, conv, roles[conv].weights, err);
        }
    }
    if (status != QB_OK) {
        qb_scale_search_free(s);
        return status;
    }
    *out = s;
    return QB_OK;
}

/* The images in `values` that are still wanted, behind those in `to`. */
static void keep(float *to, size_t *images, size_t each, const float *values, size_t count)
{
    const size_t left = IMAGES - *images, new = count / each < left ? count / each : left;
    memcpy(to + *images * each, values, new *each * sizeof *to);
    *images += new;
}

void qb_scale_search_observe(struct qb_scale_search *s, int node, const float *values, size_t count)
{
    for (int i = 0; i < s->count; i++) {
        struct layer *const l = &s->layers[i];
        if (l->conv->src[0] == node) {
            keep(l->src, &l->src_images, l->similar.positions, values, count);
        }
        if (l->number == node) {
            keep(l->dst, &l->dst_images, l->similar.outputs, values, count);
        }
    }
}

static bool shares_scale(const struct qb_qgraph *graph, const struct qb_qnode *node)
{
    return node->op == QB_QOP_AVGPOOL ||
           (node->op == QB_QOP_RELU && !qb_arithmetic_traits(graph->arithmetic)->rescales);
}

static enum qb_status search_weights(struct qb_scale_search *s, struct layer *l, struct qb_error *err)
{
    struct qb_similar *const similar = &l->similar;
    const size_t depth = similar->windows.depth, channels = (size_t)l->node->oc;
    int8_t *const codes = qb_arena_array(s->qgraph->arena, channels, depth);
    if (!codes) {
        return qb_fail_memory(err, channels * depth);
    }
    similar->images = l->src_images;
    similar->q = s->qgraph->nodes[l->node->src[0]].q;
    for (size_t k = 0; similar->relu && k < similar->images * similar->outputs; k++) {
        l->dst[k] = l->dst[k] > 0 ? l->dst[k] : 0;
    }
    QB_TRY(qb_similar_weights(similar, err));
    float low = INFINITY, high = 0;
    for (size_t k = 0; k < channels; k++) {
        const size_t scale = similar->scale_count == 1 ? 0 : k;
        const float ratio = similar->scales[scale] / l->node->wei_scales[scale];
        low = fminf(low, ratio);
        high = fmaxf(high, ratio);
        qb_weights_requantize(similar->how, similar->wei + k * depth, depth, similar->scales[scale],
                              similar->zero_points[scale], codes + k * depth);
    }
    l->node->wei = codes;
    l->node->wei_scales = similar->scales;
    l->done = true;
    return qb_qgraph_note(
        s->qgraph,
        qb_arena_printf(s->qgraph->arena,
                        "scale_search %s: weight scales times %.3g to %.3g, similarity %.6f -> "
                        "%.6f",
                        l->conv->name, (double)low, (double)high, similar->before, similar->after),
        err);
}

/* The scale of integer node `src`, for all layers that read it. */
static enum qb_status search_source(struct qb_scale_search *s, int src, struct qb_error *err)
{
    struct qb_qnode *const node = &s->qgraph->nodes[src];
    double sums[QB_CANDIDATES] = {0}, before = 0;
    size_t images = 0;
    for (int i = 0; i < s->count; i++) {
        if (s->layers[i].node->src[0] == src) {
            QB_TRY(qb_similar_sources(&s->layers[i].similar, sums, err));
            before += s->layers[i].similar.after * (double)s->layers[i].similar.images;
            images += s->layers[i].similar.images;
        }
    }
    const int best = qb_similar_best(sums);
    const float scale = qb_similar_candidate(node->q.scale, best);
    QB_TRY(qb_qgraph_note(
        s->qgraph,
        qb_arena_printf(s->qgraph->arena,
                        "scale_search %s: scale %.6g -> %.6g, similarity behind it %.6f -> %.6f", node->name,
                        (double)node->q.scale, (double)scale, before / (double)images,
                        sums[best] / (double)images),
        err));
    node->q.scale = scale;
    for (int i = src + 1; i < s->qgraph->count; i++) {
        struct qb_qnode *const other = &s->qgraph->nodes[i];
        if (!other->f32 && shares_scale(s->qgraph, other)) {
            other->q = s->qgraph->nodes[other->src[0]].q;
        }
    }
    return QB_OK;
}

enum qb_status qb_scale_search_finish(struct qb_scale_search *s, struct qb_error *err)
{
    for (int i = 0; i < s->count; i++) {
        const int src = s->layers[i].node->src[0];
        if (s->layers[i].done) {
            continue;
        }
        for (int k = i; k < s->count; k++) {
            if (s->layers[k].node->src[0] == src) {
                QB_TRY(search_weights(s, &s->layers[k], err));
            }
        }
        if (!shares_scale(s->qgraph, &s->qgraph->nodes[src])) {
            QB_TRY(search_source(s, src, err));
        }
    }
    for (int i = 0; i < s->count && qb_arithmetic_traits(s->qgraph->arithmetic)->bia_codes; i++) {
        struct qb_qnode *const node = s->layers[i].node;
        const size_t size = (size_t)node->oc * sizeof *node->bia;
        node->bia = qb_arena_memdup(s->qgraph->arena, s->layers[i].conv->bia, size);
        if (!node->bia) {
            return qb_fail_memory(err, size);
        }
        QB_TRY(qb_bia_quantize(node, s->qgraph->nodes[node->src[0]].q.scale, s->qgraph->arithmetic,
                               s->qgraph->arena, err));
    }
    return QB_OK;
}
