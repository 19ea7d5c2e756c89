/* See sensitivity.h. Per batch of images: one float pass whose tensors are kept, one pass a layer alone, one
 * with all layers, one a layer kept float, the integer network and the saturating one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/reference/arithmetic.h"
#include "measure/accuracy.h"
#include "measure/sensitivity_study.h"
#include "measure/stats.h"
#include "quant/origin.h"

static void switch_layer(struct qb_study *s, size_t layer, bool on)
{
    const struct qb_study_place *const p = &s->places[layer];
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
static bool is_quantized(const struct qb_study *s, size_t layer)
{
    return !s->out->layers[layer].f32;
}

/* Every layer, or only `layer`, or all but it. */
enum which { NONE, ONLY, BUT, ALL };
static void switch_layers(struct qb_study *s, enum which which, size_t layer)
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
static enum qb_status run(struct qb_study *s, struct qb_engine *engine, struct qb_effect *effect,
                          uint8_t hit[QB_STUDY_BATCH], struct qb_error *err)
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
    struct qb_study *const s = ctx;
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
    struct qb_study *const s = ctx;
    if (s->places[s->layer].tensor == node && !s->places[s->layer].again) {
        qb_deviation_add(&s->out->layers[s->layer].alone_output, s->places[s->layer].reference, data, count);
    }
}

static void compare_integer(void *ctx, int node, const void *data, size_t count)
{
    struct qb_study *const s = ctx;
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

static void tap(struct qb_study *s, struct qb_engine *engine, qb_tap_fn *fn)
{
    engine->tap = fn;
    engine->tap_ctx = s;
}

static enum qb_status run_kept(struct qb_study *s, size_t i, struct qb_error *err)
{
    struct qb_layer_sensitivity *const layer = &s->out->layers[i];
    uint8_t hit[QB_STUDY_BATCH];
    switch_layers(s, BUT, i);
    QB_TRY(run(s, s->simulated, &layer->kept, hit, err));
    for (int k = 0; k < s->n; k++) {
        layer->only_kept += hit[k] && !s->all_hit[k];
        layer->only_all += !hit[k] && s->all_hit[k];
    }
    return QB_OK;
}

static enum qb_status run_batch(struct qb_study *s, struct qb_error *err)
{
    uint8_t hit[QB_STUDY_BATCH];
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

static enum qb_status measure(struct qb_study *s, int threads, const struct qb_progress *progress,
                              struct qb_error *err)
{
    QB_TRY(qb_study_make(s, threads, err));
    while (s->done < s->out->images) {
        const size_t left = s->out->images - s->done;
        s->n = left < QB_STUDY_BATCH ? (int)left : QB_STUDY_BATCH;
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
    struct qb_study s = {
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
