/* Which statistics each refinement needs, and what it makes of them: see refine.h. */
#include "quant/refine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/adaround.h"
#include "quant/qparams.h"
#include "quant/roles.h"
#include "quant/scale_search.h"
#include "quant/weights.h"
#include "quant/windows.h"

/* A Gram matrix of this many rows takes 170 MB, and each turn of flips as many products. */
enum { MAX_DEPTH = 4608 };
static const double fast_limit = 2; /* FAST_BIAS_CORRECTION_THRESHOLD of NNCF */

struct layer {
    struct qb_qnode *node;
    const struct qb_node *conv;         /* CONV or DENSE of the float graph */
    const struct qb_observer_spec *wei; /* how its weights are quantized */
    struct qb_windows windows;
    size_t positions;           /* of the source */
    double *sums, float_images; /* [positions] over images, of the float network */
    int64_t *codes;             /* the same of codes */
    int64_t images;
};

struct qb_refinement {
    const struct qb_graph *graph;
    const struct qb_scheme *scheme;
    struct qb_qgraph *qgraph;
    struct layer *layers;
    int count, next; /* layers; the one that the integer pass in progress is for */
    enum qb_refine_pass pass;
    bool float_done;
    struct qb_gram *gram;
    struct qb_scale_search *search; /* NULL: none wanted, or done */
};

static bool wants(const struct qb_refinement *r, unsigned bits)
{
    return (r->scheme->refine & bits) != 0;
}

void qb_refinement_free(struct qb_refinement *r)
{
    if (!r) {
        return;
    }
    for (int i = 0; r->layers && i < r->count; i++) {
        free(r->layers[i].sums);
        free(r->layers[i].codes);
    }
    free(r->layers);
    qb_gram_free(r->gram);
    qb_scale_search_free(r->search);
    free(r);
}

static enum qb_status add_layer(struct qb_refinement *r, struct qb_qnode *node, const struct qb_node *conv,
                                const struct qb_observer_spec *wei, struct qb_error *err)
{
    const struct qb_shape src = r->graph->nodes[conv->src[0]].dst;
    struct layer *const l = &r->layers[r->count++];
    *l = (struct layer){.node = node,
                        .conv = conv,
                        .wei = wei,
                        .windows = qb_windows_of(conv, src),
                        .positions = qb_shape_count(src)};
    if (wants(r, QB_REFINE_ADAROUND) && l->windows.depth > MAX_DEPTH) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "%s: refine: adaround: node \"%s\" has %zu weights an output channel; at most %d are "
                       "expected",
                       r->graph->path, conv->name, l->windows.depth, MAX_DEPTH);
    }
    l->sums = calloc(l->positions, sizeof *l->sums);
    l->codes = calloc(l->positions, sizeof *l->codes);
    return l->sums && l->codes ? QB_OK : qb_fail_memory(err, l->positions * sizeof *l->sums);
}

/* The layers of the integer graph, whose node names are those of the float graph. */
static enum qb_status find_layers(struct qb_refinement *r, const struct qb_role *roles, struct qb_error *err)
{
    for (int i = 0; i < r->qgraph->count; i++) {
        struct qb_qnode *const node = &r->qgraph->nodes[i];
        if (!node->f32 && (node->op == QB_QOP_CONV || node->op == QB_QOP_DENSE)) {
            const int conv = qb_role_layer(r->graph, roles, node->name, node->fused_add);
            QB_TRY(add_layer(r, node, &r->graph->nodes[conv], roles[conv].weights, err));
        }
    }
    return QB_OK;
}

enum qb_status qb_refinement_create(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                    struct qb_qgraph *qgraph, struct qb_refinement **out,
                                    struct qb_error *err)
{
    const size_t count = (size_t)graph->count;
    struct qb_role *const roles = calloc(count + 1, sizeof *roles);
    struct qb_refinement *const r = calloc(1, sizeof *r);
    if (r) {
        *r = (struct qb_refinement){.graph = graph,
                                    .scheme = scheme,
                                    .qgraph = qgraph,
                                    .layers = calloc(count + 1, sizeof *r->layers)};
    }
    enum qb_status status = roles && r && r->layers ? qb_roles_plan(graph, scheme, roles, err)
                                                    : qb_fail_memory(err, count * sizeof *roles);
    if (status == QB_OK) {
        status = find_layers(r, roles, err);
    }
    if (status == QB_OK && wants(r, QB_REFINE_SCALE_SEARCH)) {
        status = qb_scale_search_create(graph, roles, qgraph, &r->search, err);
    }
    free(roles);
    if (status != QB_OK) {
        qb_refinement_free(r);
        return status;
    }
    *out = r;
    return QB_OK;
}

void qb_refinement_observe(struct qb_refinement *r, int node, const void *values, size_t count)
{
    if (r->pass == QB_REFINE_PASS_FLOAT && r->search) {
        qb_scale_search_observe(r->search, node, values, count);
    }
    for (int i = 0; r->pass == QB_REFINE_PASS_FLOAT && i < r->count; i++) {
        struct layer *const l = &r->layers[i];
        const float *from = values;
        for (size_t done = 0; l->conv->src[0] == node && done < count; done += l->positions) {
            for (size_t k = 0; k < l->positions; k++) {
                l->sums[k] += (double)*from++;
            }
            l->float_images += 1;
        }
    }
    if (r->pass != QB_REFINE_PASS_INTEGER || r->layers[r->next].node->src[0] != node) {
        return;
    }
    struct layer *const l = &r->layers[r->next];
    const uint8_t *from = values;
    for (size_t done = 0; done < count; done += l->positions, from += l->positions) {
        for (size_t k = 0; k < l->positions; k++) {
            l->codes[k] += from[k];
        }
        l->images++;
        if (r->gram) {
            qb_gram_add(r->gram, from, r->qgraph->nodes[node].q.zero_point);
        }
    }
}

/* ---- at the end of a layer's pass ---- */

static double wei_at(const struct qb_qnode *node, size_t k, size_t depth, size_t i)
{
    const size_t q = node->wei_scale_count == 1 ? 0 : k;
    return (double)node->wei_scales[q] * (double)(node->wei[k * depth + i] - node->wei_zero_points[q]);
}

/* Means of the windows of codes minus zero point. */
static enum qb_status code_means(const struct qb_refinement *r, const struct layer *l, double *mean,
                                 struct qb_error *err)
{
    const int64_t zero = l->images * r->qgraph->nodes[l->node->src[0]].q.zero_point;
    double *const sums = malloc(l->positions * sizeof *sums);
    if (!sums) {
        return qb_fail_memory(err, l->positions * sizeof *sums);
    }
    for (size_t k = 0; k < l->positions; k++) {
        sums[k] = (double)(l->codes[k] - zero);
    }
    qb_windows_mean(&l->windows, sums, (double)l->images, mean);
    free(sums);
    return QB_OK;
}

/* `mean`: of the windows of codes. */
static enum qb_status round_layer(struct qb_refinement *r, struct layer *l, const double *mean,
                                  struct qb_error *err)
{
    const size_t depth = l->windows.depth, channels = (size_t)l->node->oc;
    int low, high;
    qb_spec_quant_range(l->wei, &low, &high);
    const int shift = qb_weight_shift(l->wei->dtype);
    int8_t *const codes = qb_arena_array(r->qgraph->arena, channels, depth);
    double *const gram = malloc((depth + 3) * depth * sizeof *gram);
    if (!codes || !gram) {
        free(gram);
        return qb_fail_memory(err, (depth + 3) * depth * sizeof *gram);
    }
    const bool centred = wants(r, QB_REFINE_BIAS_CORRECTION | QB_REFINE_FAST_BIAS_CORRECTION);
    qb_gram_matrix(r->gram, mean, centred, gram);
    const struct qb_rounding rounding = {.channels = channels,
                                         .depth = depth,
                                         .wei = l->conv->wei,
                                         .nearest = l->node->wei,
                                         .codes = codes,
                                         .scale_count = l->node->wei_scale_count,
                                         .scales = l->node->wei_scales,
                                         .zero_points = l->node->wei_zero_points,
                                         .low = low - shift,
                                         .high = high - shift,
                                         .gram = gram};
    struct qb_rounding_result result;
    qb_adaround(&rounding, gram + depth * depth, &result);
    free(gram);
    l->node->wei = codes;
    const double scale = (double)r->qgraph->nodes[l->node->src[0]].q.scale;
    const double unit = scale / sqrt(qb_gram_rows(r->gram) * (double)channels);
    return qb_qgraph_note(
        r->qgraph,
        qb_arena_printf(r->qgraph->arena,
                        "adaround %s: %zu of %zu weights rounded the other way, output error (RMS) "
                        "%.4g -> %.4g",
                        l->conv->name, result.flips, channels * depth, sqrt(result.before) * unit,
                        sqrt(fmax(result.after, 0)) * unit),
        err);
}

/* What the fast form puts in every window: the float network's mean of the channel where the tap is inside.
 */
static void constant_window(const struct layer *l, double *window)
{
    const struct qb_windows *const w = &l->windows;
    const size_t channels = (size_t)w->src.c, taps = (size_t)w->kh * (size_t)w->kw;
    const size_t pixels = l->positions / channels;
    for (size_t c = 0; c < channels; c++) {
        double sum = 0;
        for (size_t p = 0; p < pixels; p++) {
            sum += l->sums[p * channels + c];
        }
        for (size_t t = 0; t < taps; t++) {
            window[c * taps + t] = sum / ((double)pixels * l->float_images);
        }
    }
}

/* `real`: mean windows of the float network, `quantized`: what the quantized weights see. */
static enum qb_status correct_bias(struct qb_refinement *r, struct layer *l, const double *real,
                                   const double *quantized, struct qb_error *err)
{
    const size_t depth = l->windows.depth, channels = (size_t)l->node->oc;
    const bool fast = wants(r, QB_REFINE_FAST_BIAS_CORRECTION);
    float *const bia = qb_arena_array(r->qgraph->arena, channels, sizeof *bia);
    if (!bia) {
        return qb_fail_memory(err, channels * sizeof *bia);
    }
    double squares = 0, most = 0, ratio = 0;
    for (size_t k = 0; k < channels; k++) {
        double shift = 0;
        for (size_t i = 0; i < depth; i++) {
            shift +=
                (double)l->conv->wei[k * depth + i] * real[i] - wei_at(l->node, k, depth, i) * quantized[i];
        }
        bia[k] = (float)((double)l->conv->bia[k] + shift);
        squares += shift * shift;
        most = fmax(most, fabs(shift));
        ratio = fmax(ratio, fabs(shift / (double)l->conv->bia[k])); /* infinite where the bias is 0 */
        if (!(fabsf(bia[k]) < INFINITY)) {
            return qb_fail(err, QB_EINPUT, "%s: refine: bias %zu of node \"%s\" would become %g",
                           r->graph->path, k, l->conv->name, (double)bia[k]);
        }
    }
    const char *const name = fast ? "fast_bias_correction" : "bias_correction";
    if (fast && !(ratio < fast_limit)) {
        return qb_qgraph_note(
            r->qgraph,
            qb_arena_printf(r->qgraph->arena,
                            "%s %s: left alone, a bias would move by %.3g times itself (limit %g)", name,
                            l->conv->name, ratio, fast_limit),
            err);
    }
    l->node->bia = bia;
    if (l->node->bia_codes) {
        QB_TRY(qb_bia_quantize(l->node, r->qgraph->nodes[l->node->src[0]].q.scale, r->qgraph->arithmetic,
                               r->qgraph->arena, err));
    }
    return qb_qgraph_note(r->qgraph,
                          qb_arena_printf(r->qgraph->arena, "%s %s: biases moved by %.4g (RMS), %.4g at most",
                                          name, l->conv->name, sqrt(squares / (double)channels), most),
                          err);
}

static enum qb_status refine_layer(struct qb_refinement *r, struct layer *l, double *windows,
                                   struct qb_error *err)
{
    const size_t depth = l->windows.depth;
    double *const real = windows, *const quantized = windows + depth;
    if (wants(r, QB_REFINE_ADAROUND | QB_REFINE_BIAS_CORRECTION)) {
        QB_TRY(code_means(r, l, quantized, err));
    }
    if (wants(r, QB_REFINE_ADAROUND)) {
        QB_TRY(round_layer(r, l, quantized, err));
    }
    if (!wants(r, QB_REFINE_BIAS_CORRECTION | QB_REFINE_FAST_BIAS_CORRECTION)) {
        return QB_OK;
    }
    qb_windows_mean(&l->windows, l->sums, l->float_images, real);
    const double scale = (double)r->qgraph->nodes[l->node->src[0]].q.scale;
    for (size_t i = 0; i < depth; i++) {
        quantized[i] *= scale;
    }
    if (wants(r, QB_REFINE_FAST_BIAS_CORRECTION)) {
        const size_t taps = (size_t)l->windows.kh * (size_t)l->windows.kw;
        double *const coverage = windows + 2 * depth;
        qb_windows_coverage(&l->windows, coverage);
        constant_window(l, quantized);
        for (size_t i = 0; i < depth; i++) {
            quantized[i] *= coverage[i % taps];
        }
    }
    return correct_bias(r, l, real, quantized, err);
}

static enum qb_status finish_layer(struct qb_refinement *r, struct layer *l, struct qb_error *err)
{
    double *const windows = calloc(3 * l->windows.depth, sizeof *windows);
    const enum qb_status status = windows ? refine_layer(r, l, windows, err)
                                          : qb_fail_memory(err, 3 * l->windows.depth * sizeof *windows);
    free(windows);
    qb_gram_free(r->gram);
    r->gram = NULL;
    return status;
}

static bool seen_nothing(const struct qb_refinement *r)
{
    return r->pass == QB_REFINE_PASS_FLOAT
               ? r->count > 0 && !(r->layers[0].float_images > 0)
               : r->pass == QB_REFINE_PASS_INTEGER && r->layers[r->next].images == 0;
}

enum qb_status qb_refinement_next(struct qb_refinement *r, enum qb_refine_pass *pass, struct qb_error *err)
{
    const bool biases = wants(r, QB_REFINE_BIAS_CORRECTION | QB_REFINE_FAST_BIAS_CORRECTION);
    const bool integers = wants(r, QB_REFINE_ADAROUND | QB_REFINE_BIAS_CORRECTION);
    if (seen_nothing(r)) {
        return qb_fail(err, QB_EINPUT, "refine: no image was shown; calibration images are expected");
    }
    if (r->pass == QB_REFINE_PASS_INTEGER) {
        QB_TRY(finish_layer(r, &r->layers[r->next], err));
        r->next++;
    }
    if (r->pass == QB_REFINE_PASS_FLOAT && r->search) {
        QB_TRY(qb_scale_search_finish(r->search, err));
        qb_scale_search_free(r->search);
        r->search = NULL;
    }
    if ((biases || r->search) && !r->float_done) {
        r->float_done = true;
        *pass = r->pass = QB_REFINE_PASS_FLOAT;
        return QB_OK;
    }
    for (; !integers && biases && r->next < r->count; r->next++) {
        QB_TRY(finish_layer(r, &r->layers[r->next], err));
    }
    *pass = r->pass = integers && r->next < r->count ? QB_REFINE_PASS_INTEGER : QB_REFINE_PASS_DONE;
    if (r->pass == QB_REFINE_PASS_INTEGER && wants(r, QB_REFINE_ADAROUND)) {
        r->gram = qb_gram_create(&r->layers[r->next].windows);
        if (!r->gram) {
            return qb_fail_memory(err, r->layers[r->next].windows.depth * r->layers[r->next].windows.depth);
        }
    }
    return QB_OK;
}
