/* See sensitivity.h. Per batch of images: one float pass whose tensors are kept, one pass a layer alone, one
 * with all layers, one a layer kept float, the integer network and the saturating one. */
#include "measure/sensitivity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/reference/arithmetic.h"
#include "measure/accuracy.h"
#include "measure/stats.h"
#include "quant/origin.h"

enum { BATCH = 32 };

/* A layer's place in both graphs. */
struct place {
    int node;         /* of the integer graph */
    int tensor;       /* of the float graph */
    int weights;      /* of the float graph, or -1 */
    size_t size;      /* of its tensor, one image */
    float *reference; /* [BATCH][size] the float tensor of this batch */
    bool again;       /* quantizes a tensor once more, for its readers */
};

struct study {
    const struct qb_graph *graph;
    const struct qb_qgraph *qgraph;
    const struct qb_dataset *set;
    struct qb_arena *arena;
    struct place *places; /* [out->count] */
    struct qb_fake *fake; /* [graph->count] */
    int *again; /* [graph->count]: the layer, by number, that quantizes what the node reads once more */
    struct qb_engine *simulated, *integer, *saturating;
    struct qb_qgraph saturating_graph;
    float *logits, *reference_logits;           /* [BATCH][classes] */
    uint8_t predictions[BATCH], all_hit[BATCH]; /* of float; whether all layers quantized hit */
    int classes;
    float *real; /* [BATCH][largest tensor] dequantized */
    struct qb_sensitivity *out;
    size_t quantized; /* layers */
    /* Of the pass in progress. */
    size_t done;
    int n;
    size_t layer; /* alone */
};

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

/* ---- making ---- */

static void *array(struct study *s, size_t count, size_t size, struct qb_error *err)
{
    void *const result = qb_arena_array(s->arena, count, size);
    if (!result) {
        qb_fail_memory(err, count * size);
    }
    return result;
}

/* The layer's weights as the integer network has them, in float. */
static enum qb_status fake_weights(struct study *s, const struct qb_qnode *n, const float *bia,
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
static enum qb_status addend(struct study *s, const struct qb_qnode *constant, float **out,
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
static void make_again(struct study *s, const struct qb_origin *origin, size_t layer, int node)
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

static enum qb_status make_layer(struct study *s, const struct qb_origin *origin, int node,
                                 struct qb_error *err)
{
    const struct qb_qnode *const n = &s->qgraph->nodes[node];
    const int product = qb_qgraph_product(s->qgraph, node);
    const struct qb_qnode *const weighted = product >= 0 ? &s->qgraph->nodes[product] : n;
    float *bia = NULL;
    const struct place place = {.node = node,
                                .tensor = origin[node].tensor,
                                .weights = origin[node].weights,
                                .size = qb_shape_count(n->dst)};
    if (place.tensor < 0 || (has_weights(weighted) && place.weights < 0)) {
        return qb_fail(err, QB_EUNSUPPORTED, "layer %s has no counterpart in the float network", n->name);
    }
    const size_t i = s->out->count++;
    s->places[i] = place;
    s->places[i].reference = array(s, BATCH * place.size, sizeof(float), err);
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

static enum qb_status make_layers(struct study *s, struct qb_error *err)
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
    s->real = array(s, BATCH * largest, sizeof *s->real, err);
    return s->real ? QB_OK : err->status;
}

static enum qb_status make_engines(struct study *s, int threads, struct qb_error *err)
{
    struct qb_engine_options options = {
        .isa = QB_ISA_REF, .threads = threads, .batch = BATCH, .fake = s->fake};
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
    const size_t logits = BATCH * (size_t)s->classes;
    s->logits = array(s, logits, sizeof *s->logits, err);
    s->reference_logits = s->logits ? array(s, logits, sizeof *s->logits, err) : NULL;
    return s->reference_logits ? QB_OK : err->status;
}

/* ---- passes over one batch ---- */

static void switch_layer(struct study *s, size_t layer, bool on)
{
    const struct place *const p = &s->places[layer];
    const struct qb_qnode *const n = &s->qgraph->nodes[p->node];
    if (p->again) {
        for (int i = 0; i < s->graph->count; i++) {
            if (s->again[i] == (int)layer) {
                s->fake[i].src_on = on;
            }
        }
        return;
    }
    s->fake[p->tensor].tensor_on = on;
    if (p->weights >= 0) {
        s->fake[p->weights].weights_on = on;
    }
    if (on && (n->src[0] == 0 || n->src[1] == 0)) {
        s->fake[0].tensor_on = true;
    }
}

/* Layers that are float already stay as they are. */
static bool is_quantized(const struct study *s, size_t layer)
{
    return !s->out->layers[layer].f32;
}

/* Every layer, or only `layer`, or all but it. */
enum which { NONE, ONLY, BUT, ALL };
static void switch_layers(struct study *s, enum which which, size_t layer)
{
    s->fake[0].tensor_on = false;
    for (size_t i = 0; i < s->out->count; i++) {
        switch_layer(s, i, false);
    }
    for (size_t i = 0; i < s->out->count; i++) {
        const bool meant = which == ALL || (which == ONLY && i == layer) || (which == BUT && i != layer);
        if (meant && is_quantized(s, i)) {
            switch_layer(s, i, true);
        }
    }
}

/* Runs the batch and counts its answers; hit[i]: image i was hit. */
static enum qb_status run(struct study *s, struct qb_engine *engine, struct qb_effect *effect,
                          uint8_t hit[BATCH], struct qb_error *err)
{
    const size_t classes = (size_t)s->classes;
    if (qb_interrupted()) {
        return qb_fail(err, QB_EINTERRUPTED, "interrupted after %zu of %llu images", s->done,
                       (unsigned long long)s->out->images);
    }
    QB_TRY(qb_engine_run(engine, s->set->images + s->done * QB_IMAGE_BYTES, s->n, s->logits, err));
    const bool is_float = effect == &s->out->fp32;
    if (is_float) {
        memcpy(s->reference_logits, s->logits, (size_t)s->n * classes * sizeof *s->logits);
    }
    for (int i = 0; i < s->n; i++) {
        const int best = qb_first_place(s->logits + (size_t)i * classes, s->classes);
        if (best < 0) {
            return qb_fail(err, QB_EFAILED, "engine %s gave a logit that is not a number for image %zu",
                           engine->ops->name, s->done + (size_t)i);
        }
        if (is_float) {
            s->predictions[i] = (uint8_t)best;
        }
        const uint8_t wanted = s->out->synthetic ? s->predictions[i] : s->set->labels[s->done + (size_t)i];
        hit[i] = best == wanted;
        effect->hits += hit[i];
        effect->agree += best == s->predictions[i];
    }
    qb_deviation_add(&effect->logits, s->reference_logits, s->logits, (size_t)s->n * classes);
    return QB_OK;
}

/* Taps. */
static void keep_reference(void *ctx, int node, const void *data, size_t count)
{
    struct study *const s = ctx;
    for (size_t i = 0; i < s->out->count; i++) {
        struct qb_layer_sensitivity *const layer = &s->out->layers[i];
        const float *const values = data;
        if (s->places[i].tensor != node) {
            continue;
        }
        memcpy(s->places[i].reference, values, count * sizeof *values);
        if (s->places[i].again) { /* alone, its tensor is this; no tap sees what its readers make of it */
            memcpy(s->real, values, count * sizeof *values);
            qb_simulate(&layer->q, count, s->real);
            qb_deviation_add(&layer->alone_output, values, s->real, count);
        }
        layer->values += count;
        for (size_t k = 0; k < count; k++) {
            layer->min = values[k] < layer->min ? values[k] : layer->min;
            layer->max = values[k] > layer->max ? values[k] : layer->max;
        }
        if (layer->f32) {
            continue;
        }
        int32_t first, last;
        qb_code_limits(&layer->q, &first, &last);
        const float low = ((float)(first - layer->q.zero_point) - 0.5F) * layer->q.scale;
        const float high = ((float)(last - layer->q.zero_point) + 0.5F) * layer->q.scale;
        for (size_t k = 0; k < count; k++) {
            layer->clipped += values[k] < low || values[k] > high;
        }
    }
}

static void compare_alone(void *ctx, int node, const void *data, size_t count)
{
    struct study *const s = ctx;
    if (s->places[s->layer].tensor == node && !s->places[s->layer].again) {
        qb_deviation_add(&s->out->layers[s->layer].alone_output, s->places[s->layer].reference, data, count);
    }
}

static void compare_integer(void *ctx, int node, const void *data, size_t count)
{
    struct study *const s = ctx;
    for (size_t i = 0; i < s->out->count; i++) {
        struct qb_layer_sensitivity *const layer = &s->out->layers[i];
        const uint8_t *const codes = data;
        if (s->places[i].node != node) {
            continue;
        }
        if (layer->f32) {
            qb_deviation_add(&layer->integer_output, s->places[i].reference, data, count);
            continue;
        }
        int32_t first, last;
        qb_code_limits(&layer->q, &first, &last);
        for (size_t k = 0; k < count; k++) {
            s->real[k] = qb_dequantize(&layer->q, codes[k]);
            layer->ends += (codes[k] == first || codes[k] == last) && codes[k] != layer->q.zero_point;
        }
        qb_deviation_add(&layer->integer_output, s->places[i].reference, s->real, count);
    }
}

static void tap(struct study *s, struct qb_engine *engine, qb_tap_fn *fn)
{
    engine->tap = fn;
    engine->tap_ctx = s;
}

static enum qb_status run_kept(struct study *s, size_t i, struct qb_error *err)
{
    struct qb_layer_sensitivity *const layer = &s->out->layers[i];
    uint8_t hit[BATCH];
    switch_layers(s, BUT, i);
    QB_TRY(run(s, s->simulated, &layer->kept, hit, err));
    for (int k = 0; k < s->n; k++) {
        layer->only_kept += hit[k] && !s->all_hit[k];
        layer->only_all += !hit[k] && s->all_hit[k];
    }
    return QB_OK;
}

static enum qb_status run_batch(struct study *s, struct qb_error *err)
{
    uint8_t hit[BATCH];
    switch_layers(s, NONE, 0);
    tap(s, s->simulated, keep_reference);
    QB_TRY(run(s, s->simulated, &s->out->fp32, hit, err));
    tap(s, s->simulated, compare_alone);
    for (s->layer = 0; s->layer < s->out->count; s->layer++) {
        if (!is_quantized(s, s->layer)) {
            continue;
        }
        switch_layers(s, ONLY, s->layer);
        QB_TRY(run(s, s->simulated, &s->out->layers[s->layer].alone, hit, err));
    }
    tap(s, s->simulated, NULL);
    switch_layers(s, ALL, 0);
    QB_TRY(run(s, s->simulated, &s->out->all, s->all_hit, err));
    for (size_t i = 0; i < s->out->count; i++) {
        QB_TRY(is_quantized(s, i) ? run_kept(s, i, err) : QB_OK);
    }
    tap(s, s->integer, compare_integer);
    QB_TRY(run(s, s->integer, &s->out->integer, hit, err));
    return run(s, s->saturating, &s->out->saturating, hit, err);
}

/* ---- */

static enum qb_status measure(struct study *s, int threads, const struct qb_progress *progress,
                              struct qb_error *err)
{
    QB_TRY(make_layers(s, err));
    QB_TRY(make_engines(s, threads, err));
    while (s->done < s->out->images) {
        const size_t left = s->out->images - s->done;
        s->n = left < BATCH ? (int)left : BATCH;
        QB_TRY(run_batch(s, err));
        s->done += (size_t)s->n;
        qb_progress_report(progress, "sensitivity", s->done, s->out->images);
    }
    for (size_t i = 0; i < s->out->count; i++) {
        struct qb_layer_sensitivity *const layer = &s->out->layers[i];
        const int product = qb_qgraph_product(s->qgraph, s->places[i].node);
        layer->saturation = s->saturating->saturation[product >= 0 ? product : s->places[i].node];
        layer->accumulators = layer->multiplies ? layer->values : 0;
    }
    return QB_OK;
}

enum qb_status qb_sensitivity_measure(const struct qb_graph *graph, const struct qb_qgraph *qgraph,
                                      const struct qb_dataset *set, size_t images, int threads,
                                      const struct qb_progress *progress, struct qb_sensitivity *out,
                                      struct qb_error *err)
{
    if (images < 1 || images > set->count) {
        return qb_fail(err, QB_EINPUT, "%zu images were asked for; the data set %s has 1 to %zu", images,
                       set->name, set->count);
    }
    QB_TRY(qb_check_images(graph->nodes[0].dst, set, err));
    QB_TRY(qb_check_images(qgraph->nodes[0].dst, set, err));
    struct qb_sensitivity result = {.images = images, .synthetic = set->synthetic != 0};
    struct study s = {
        .graph = graph, .qgraph = qgraph, .set = set, .arena = qb_arena_create(), .out = &result};
    const enum qb_status status =
        s.arena ? measure(&s, threads, progress, err) : qb_fail_memory(err, sizeof s);
    qb_engine_free(s.simulated);
    qb_engine_free(s.integer);
    qb_engine_free(s.saturating);
    qb_arena_destroy(s.arena);
    if (status != QB_OK) {
        qb_sensitivity_free(&result);
        return status;
    }
    *out = result;
    return QB_OK;
}

void qb_sensitivity_free(struct qb_sensitivity *sensitivity)
{
    free(sensitivity->layers);
    *sensitivity = (struct qb_sensitivity){0};
}

size_t qb_sensitivity_worst(const struct qb_sensitivity *sensitivity, bool *certain)
{
    const struct qb_layer_sensitivity *const layers = sensitivity->layers;
    size_t first = 0, quantized = 0;
    while (layers[first].f32) {
        first++;
    }
    size_t best = first, quietest = first;
    for (size_t i = first; i < sensitivity->count; i++) {
        if (layers[i].f32) {
            continue;
        }
        quantized++;
        best = layers[i].kept.hits > layers[best].kept.hits ? i : best;
        quietest = layers[i].kept.logits.noise < layers[quietest].kept.logits.noise ? i : quietest;
    }
    const double p = qb_mcnemar_exact(layers[best].only_all, layers[best].only_kept);
    *certain = layers[best].kept.hits > sensitivity->all.hits && p * (double)quantized <= 0.05;
    return *certain ? best : quietest;
}
