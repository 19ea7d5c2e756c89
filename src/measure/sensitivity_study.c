/* Which layers there are, where they stand in both graphs, and how each is simulated: see
 * sensitivity_study.h.
 */
#include "measure/sensitivity_study.h"

#include <math.h>
#include <stdlib.h>

#include "engine/reference/arithmetic.h"
#include "quant/origin.h"

static bool has_weights(const struct qb_qnode *node)
{
    return node->op == QB_QOP_CONV || node->op == QB_QOP_DENSE;
}

/* CONSTANT is part of the MUL and ADD that read it, the product of a dense layer of the addition of its bias.
 */
static bool is_layer(const struct qb_qgraph *graph, int i)
{
    const struct qb_qnode *const n = &graph->nodes[i];
    for (int k = i + 1; k < graph->count; k++) {
        if (qb_qgraph_product(graph, k) == i) {
            return false;
        }
    }
    switch (n->op) {
    case QB_QOP_INPUT:
    case QB_QOP_CONSTANT:
    case QB_QOP_DEQUANTIZE: return false;
    case QB_QOP_RELU: return !n->f32 && !qb_qparams_equal(&n->q, &graph->nodes[n->src[0]].q);
    default: return true;
    }
}

static void *array(struct qb_study *s, size_t count, size_t size, struct qb_error *err)
{
    void *const result = qb_arena_array(s->arena, count, size);
    if (!result) {
        qb_fail_memory(err, count * size);
    }
    return result;
}

/* The layer's weights as the integer network has them, in float. */
static enum qb_status fake_weights(struct qb_study *s, const struct qb_qnode *n, const float *bia,
                                   struct qb_fake *fake, struct qb_error *err)
{
    const size_t each = (size_t)n->ic * (n->op == QB_QOP_CONV ? (size_t)(n->kh * n->kw) : 1);
    float *const wei = array(s, each * (size_t)n->oc, sizeof *wei, err);
    if (!wei) {
        return err->status;
    }
    for (size_t k = 0; k < (size_t)n->oc; k++) {
        const size_t channel = n->wei_scale_count == 1 ? 0 : k;
        for (size_t i = 0; i < each; i++) {
            wei[k * each + i] =
                n->wei_scales[channel] * (float)(n->wei[k * each + i] - n->wei_zero_points[channel]);
        }
    }
    fake->wei = wei;
    fake->bia = bia;
    return QB_OK;
}

/* What a dense layer adds to its product. */
static enum qb_status addend(struct qb_study *s, const struct qb_qnode *constant, float **out,
                             struct qb_error *err)
{
    *out = array(s, (size_t)constant->dst.c, sizeof **out, err);
    for (int k = 0; *out && k < constant->dst.c; k++) {
        (*out)[k] = qb_dequantize(&constant->q, constant->codes[k]);
    }
    return *out ? QB_OK : err->status;
}

/* A tensor with two scales: node `node` makes codes of what is codes already, or another node makes others of
 * the same floats. */
static bool is_again(const struct qb_qgraph *graph, int node)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    bool again = qb_is_recoding(graph, node);
    for (int i = 0; i < graph->count; i++) {
        again |= i != node && n->op == QB_QOP_QUANTIZE && graph->nodes[i].op == QB_QOP_QUANTIZE &&
                 graph->nodes[i].src[0] == n->src[0];
    }
    return again;
}

static bool is_read_by(const struct qb_qgraph *graph, int reader, int node)
{
    const struct qb_qnode *const n = &graph->nodes[reader];
    for (int s = 0; s < qb_qnode_sources(n); s++) {
        if (n->src[s] == node) {
            return true;
        }
    }
    return false;
}

/* Whether only convolutions and dense layers read node `node`, as what they multiply. */
static bool is_only_multiplied(const struct qb_qgraph *graph, int node)
{
    for (int i = node + 1; i < graph->count; i++) {
        const struct qb_qnode *const n = &graph->nodes[i];
        if (is_read_by(graph, i, node) &&
            (!has_weights(n) || n->f32 || (n->fused_add && n->src[1] == node))) {
            return false;
        }
    }
    return true;
}

/* Layer number `layer`, node `node`, is simulated where its readers read. */
static void make_again(struct qb_study *s, const struct qb_origin *origin, size_t layer, int node)
{
    const struct qb_qnode *const n = &s->qgraph->nodes[node];
    s->places[layer].again = true;
    for (int i = node + 1; i < s->qgraph->count; i++) {
        if (is_read_by(s->qgraph, i, node) && origin[i].weights >= 0) {
            struct qb_fake *const fake = &s->fake[origin[i].weights];
            fake->src = n->q;
            fake->floats |= s->qgraph->nodes[n->src[0]].f32;
            s->again[origin[i].weights] = (int)layer;
        }
    }
}

static enum qb_status make_layer(struct qb_study *s, const struct qb_origin *origin, int node,
                                 struct qb_error *err)
{
    const struct qb_qnode *const n = &s->qgraph->nodes[node];
    const int product = qb_qgraph_product(s->qgraph, node);
    const struct qb_qnode *const weighted = product >= 0 ? &s->qgraph->nodes[product] : n;
    float *bia = NULL;
    const struct qb_study_place place = {.node = node,
                                         .tensor = origin[node].tensor,
                                         .weights = origin[node].weights,
                                         .size = qb_shape_count(n->dst)};
    if (place.tensor < 0 || (has_weights(weighted) && place.weights < 0)) {
        return qb_fail(err, QB_EUNSUPPORTED, "layer %s has no counterpart in the float network", n->name);
    }
    const size_t i = s->out->count++;
    s->places[i] = place;
    s->places[i].reference = array(s, QB_STUDY_BATCH * place.size, sizeof(float), err);
    if (!s->places[i].reference) {
        return err->status;
    }
    s->out->layers[i] = (struct qb_layer_sensitivity){
        .name = n->name, .op = qb_qop_name(n->op), .f32 = n->f32, .min = INFINITY, .max = -INFINITY};
    if (n->f32) {
        return QB_OK;
    }
    s->quantized++;
    s->out->layers[i].q = n->q;
    if (is_again(s->qgraph, node) && is_only_multiplied(s->qgraph, node)) {
        make_again(s, origin, i, node);
        return QB_OK;
    }
    if (s->fake[place.tensor].q.scale > 0.0F) {
        return qb_fail(
            err, QB_EUNSUPPORTED,
            "node %s quantizes %s once more for a node that does not multiply, which is not simulated",
            n->name, s->graph->nodes[place.tensor].name);
    }
    s->out->layers[i].multiplies = has_weights(weighted);
    s->fake[place.tensor].q = n->q;
    s->fake[place.tensor].beside = n->op == QB_QOP_QUANTIZE;
    if (product >= 0) {
        QB_TRY(addend(s, &s->qgraph->nodes[n->src[1]], &bia, err));
    }
    return has_weights(weighted)
               ? fake_weights(s, weighted, bia ? bia : weighted->bia, &s->fake[place.weights], err)
               : QB_OK;
}

static enum qb_status make_layers(struct qb_study *s, struct qb_error *err)
{
    const size_t count = (size_t)s->qgraph->count;
    struct qb_origin *const origin = array(s, count, sizeof *origin, err);
    s->places = origin ? array(s, count, sizeof *s->places, err) : NULL;
    s->fake = s->places ? array(s, (size_t)s->graph->count, sizeof *s->fake, err) : NULL;
    s->again = s->fake ? array(s, (size_t)s->graph->count, sizeof *s->again, err) : NULL;
    s->out->layers = calloc(count, sizeof *s->out->layers);
    if (!s->again || !s->out->layers) {
        return qb_fail_memory(err, count * sizeof *s->out->layers);
    }
    for (int i = 0; i < s->graph->count; i++) {
        s->again[i] = -1;
    }
    qb_qgraph_origin(s->qgraph, s->graph, origin);
    if (!s->qgraph->nodes[0].f32) {
        s->fake[0].q = s->qgraph->nodes[0].q;
    }
    size_t largest = 1;
    for (int i = 0; i < s->qgraph->count; i++) {
        const int named = s->qgraph->nodes[i].f32 ? qb_graph_find(s->graph, s->qgraph->nodes[i].name) : -1;
        if (named >= 0) {
            s->fake[named].floats = true;
        }
        if (is_layer(s->qgraph, i)) {
            QB_TRY(make_layer(s, origin, i, err));
            const size_t size = s->places[s->out->count - 1].size;
            largest = size > largest ? size : largest;
        }
    }
    if (s->quantized == 0) {
        return qb_fail(err, QB_EUNSUPPORTED, "scheme %s quantizes no layer; there is nothing to compare",
                       s->qgraph->scheme);
    }
    s->real = array(s, QB_STUDY_BATCH * largest, sizeof *s->real, err);
    return s->real ? QB_OK : err->status;
}

static enum qb_status make_engines(struct qb_study *s, int threads, struct qb_error *err)
{
    struct qb_engine_options options = {
        .isa = QB_ISA_REF, .threads = threads, .batch = QB_STUDY_BATCH, .fake = s->fake};
    QB_TRY(qb_engine_create("reference", s->graph, NULL, &options, &s->simulated, err));
    options.fake = NULL;
    QB_TRY(qb_engine_create("reference", NULL, s->qgraph, &options, &s->integer, err));
    s->saturating_graph = *s->qgraph;
    if (s->qgraph->accumulate == QB_ACCUMULATE_EXACT) {
        qb_accumulate_parse("maddubs", s->qgraph->arithmetic, &s->saturating_graph.accumulate);
    }
    s->out->accumulate = s->saturating_graph.accumulate;
    QB_TRY(qb_engine_create("reference", NULL, &s->saturating_graph, &options, &s->saturating, err));
    s->classes = s->simulated->classes;
    if (s->classes != s->integer->classes || s->classes != QB_CLASSES) {
        return qb_fail(err, QB_EINPUT,
                       "the float network has %d outputs, the integer network %d, %s %d classes", s->classes,
                       s->integer->classes, s->set->name, QB_CLASSES);
    }
    const size_t logits = QB_STUDY_BATCH * (size_t)s->classes;
    s->logits = array(s, logits, sizeof *s->logits, err);
    s->reference_logits = s->logits ? array(s, logits, sizeof *s->logits, err) : NULL;
    return s->reference_logits ? QB_OK : err->status;
}

enum qb_status qb_study_make(struct qb_study *s, int threads, struct qb_error *err)
{
    QB_TRY(make_layers(s, err));
    return make_engines(s, threads, err);
}
