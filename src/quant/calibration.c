/* Calibration: one observer for each tensor that the scheme observes (roles.h). See quantize.h. */
#include "quant/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/extrema.h"
#include "quant/observer.h"
#include "quant/qparams.h"
#include "quant/roles.h"
#include "quant/scheme_check.h"

struct seer {
    struct qb_observer *observer; /* NULL: none */
    const struct qb_observer_spec *spec;
    const struct qb_observer_ops *ops;
    bool twice;               /* it sees everything twice: twice_behind_fused_relu in observer.h */
    bool any;                 /* it has seen values: */
    float min, max;           /* their extremes, whatever the observer makes of them */
    char name[QB_INNER_NAME]; /* the tensor's: its producer's, not that of a RELU fused into it */
};

struct qb_calibration {
    const struct qb_graph *graph;
    const struct qb_scheme *scheme;
    /* All [graph->count]. */
    struct seer *seers; /* by the float node whose tensor is observed */
    int *seen_by;       /* by tensor: the seer's index, its own but for pools that join; -1: none */
    struct seer *inner; /* by layer: of its inner tensor */
    struct qb_role *roles;
};

static void free_seers(struct seer *seers, int count)
{
    for (int i = 0; seers && i < count; i++) {
        if (seers[i].observer) {
            seers[i].ops->destroy(seers[i].observer);
        }
    }
    free(seers);
}

void qb_calibration_free(struct qb_calibration *calibration)
{
    if (calibration) {
        free_seers(calibration->seers, calibration->graph->count);
        free_seers(calibration->inner, calibration->graph->count);
        free(calibration->seen_by);
        free(calibration->roles);
        free(calibration);
    }
}

static enum qb_status create_seer(const struct qb_role *role, struct seer *out, struct qb_error *err)
{
    out->spec = role->activations;
    out->ops = qb_observer_find(out->spec->observer);
    return out->ops->create(out->spec, 1, &out->observer, err);
}

/* A pool that joins looks for the observer that its source's scale comes from. */
static void find_seers(struct qb_calibration *c)
{
    int *const owner = c->seen_by; /* at first whose scale each tensor has */
    for (int i = 0; i < c->graph->count; i++) {
        const struct qb_node *const node = &c->graph->nodes[i];
        owner[i] = c->seers[i].observer || qb_op_sources(node->op) == 0 ? i : owner[node->src[0]];
    }
    for (int i = 0; i < c->graph->count; i++) {
        const bool seen = c->seers[i].observer || (c->roles[i].joins && c->seers[owner[i]].observer);
        owner[i] = seen ? owner[i] : -1;
    }
}

static enum qb_status create_observers(struct qb_calibration *c, struct qb_error *err)
{
    for (int i = 0; i < c->graph->count; i++) {
        const struct qb_node *const node = &c->graph->nodes[i];
        const struct qb_role *const role = &c->roles[i];
        if (qb_is_calibrated(role)) {
            struct seer *const s = &c->seers[role->tensor];
            QB_TRY(create_seer(role, s, err));
            snprintf(s->name, sizeof s->name, "%.100s", node->name);
            s->twice = s->ops->twice_behind_fused_relu && c->scheme->prepare == QB_PREPARE_EAGER &&
                       role->tensor != i && (node->op == QB_OP_CONV || node->op == QB_OP_DENSE);
        }
        if (role->inner) {
            QB_TRY(create_seer(role, &c->inner[i], err));
            qb_inner_name(node, role->inner, c->inner[i].name);
        }
    }
    find_seers(c);
    return QB_OK;
}

enum qb_status qb_calibration_create(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                     struct qb_calibration **out, struct qb_error *err)
{
    QB_TRY(qb_scheme_check_integer(scheme, err));
    const size_t count = (size_t)graph->count;
    struct qb_calibration *const c = calloc(1, sizeof *c);
    struct qb_role *const roles = calloc(count + 1, sizeof *roles);
    if (!c || !roles) {
        free(c);
        free(roles);
        return qb_fail_memory(err, count * sizeof *roles);
    }
    *c = (struct qb_calibration){.graph = graph,
                                 .scheme = scheme,
                                 .seers = calloc(count + 1, sizeof *c->seers),
                                 .seen_by = calloc(count + 1, sizeof *c->seen_by),
                                 .inner = calloc(count + 1, sizeof *c->inner),
                                 .roles = roles};
    enum qb_status status = c->seers && c->seen_by && c->inner
                                ? qb_roles_plan(graph, scheme, roles, err)
                                : qb_fail_memory(err, count * sizeof *c->seers);
    if (status == QB_OK) {
        status = create_observers(c, err);
    }
    if (status != QB_OK) {
        qb_calibration_free(c);
        return status;
    }
    *out = c;
    return QB_OK;
}

/* Whether the inner tensor of layer `i` is made of tensor `node`. */
static bool is_made_of(const struct qb_calibration *c, int i, int node)
{
    const enum qb_inner inner = c->roles[i].inner;
    return inner == QB_INNER_PRODUCT ? i == node : inner && c->graph->nodes[i].src[0] == node;
}

static bool makes_inner(const struct qb_calibration *c, int node)
{
    bool makes = false;
    for (int i = 0; i < c->graph->count && !makes; i++) {
        makes = is_made_of(c, i, node);
    }
    return makes;
}

int qb_calibration_wants(const struct qb_calibration *calibration, int node)
{
    return node >= 0 && node < calibration->graph->count &&
           (calibration->seen_by[node] >= 0 || makes_inner(calibration, node));
}

/* `values` in steps of one image or all at once, as the observer wants them. */
static enum qb_status observe(struct seer *s, const float *values, size_t count, size_t image,
                              struct qb_error *err)
{
    const size_t step = s->ops->per_image && count ? image : count;
    for (int times = s->twice ? 2 : 1; times > 0; times--) {
        for (size_t done = 0; done < count; done += step) {
            if (s->ops->observe(s->observer, values + done, step, err) != QB_OK) {
                return qb_fail_prefix(err, "calibration: tensor \"%s\"", s->name);
            }
        }
    }
    if (count) {
        float min, max;
        QB_TRY(qb_extrema(values, count, &min, &max, err));
        s->min = s->any ? fminf(s->min, min) : min;
        s->max = s->any ? fmaxf(s->max, max) : max;
        s->any = true;
    }
    return QB_OK;
}

/* `values` of a DENSE without its bias. */
static void take_product(const struct qb_node *dense, const float *values, size_t count, float *product)
{
    for (size_t i = 0; i < count; i++) {
        product[i] = values[i] - dense->bia[i % (size_t)dense->oc];
    }
}

/* Images of h x w pixels into frames of zeros. */
static void pad(const struct qb_node *conv, struct qb_shape s, const float *src, size_t images, float *dst)
{
    const size_t row = (size_t)s.w * (size_t)s.c, rows = (size_t)s.h;
    const size_t left = (size_t)conv->pad_l * (size_t)s.c, right = (size_t)conv->pad_r * (size_t)s.c;
    const size_t above = (size_t)conv->pad_t, below = (size_t)conv->pad_b, step = left + row + right;
    for (size_t n = 0; n < images; n++, dst += (above + rows + below) * step) {
        for (size_t y = 0; y < rows; y++, src += row) {
            memcpy(dst + (above + y) * step + left, src, row * sizeof *dst);
        }
    }
}

/* The inner tensor of layer `i` from `images` images of the tensor that it is made of. */
static enum qb_status observe_inner(struct qb_calibration *c, int i, const float *values, size_t images,
                                    struct qb_error *err)
{
    const struct qb_node *const layer = &c->graph->nodes[i];
    const enum qb_inner inner = c->roles[i].inner;
    struct qb_shape s = inner == QB_INNER_PRODUCT ? layer->dst : c->graph->nodes[layer->src[0]].dst;
    if (inner == QB_INNER_FLATTEN) {
        return observe(&c->inner[i], values, images * qb_shape_count(s), qb_shape_count(s), err);
    }
    const struct qb_shape src = s;
    s.h += inner == QB_INNER_PAD ? layer->pad_t + layer->pad_b : 0;
    s.w += inner == QB_INNER_PAD ? layer->pad_l + layer->pad_r : 0;
    const size_t count = images * qb_shape_count(s);
    float *const made = calloc(count + 1, sizeof *made);
    if (!made) {
        return qb_fail_memory(err, count * sizeof *made);
    }
    if (inner == QB_INNER_PAD) {
        pad(layer, src, values, images, made);
    } else {
        take_product(layer, values, count, made);
    }
    const enum qb_status status = observe(&c->inner[i], made, count, qb_shape_count(s), err);
    free(made);
    return status;
}

enum qb_status qb_calibration_observe(struct qb_calibration *calibration, int node, const float *values,
                                      size_t count, struct qb_error *err)
{
    struct qb_calibration *const c = calibration;
    if (!qb_calibration_wants(c, node)) {
        return QB_OK;
    }
    const struct qb_node *const n = &c->graph->nodes[node];
    const size_t image = qb_shape_count(n->dst);
    struct seer *const seer = c->seen_by[node] < 0 ? NULL : &c->seers[c->seen_by[node]];
    const bool by_image = (seer && seer->ops->per_image) || makes_inner(c, node);
    if (by_image && (image == 0 || count % image)) {
        return qb_fail(err, QB_EINPUT, "calibration: tensor \"%s\": %zu values are not whole images of %zu",
                       n->name, count, image);
    }
    if (seer) {
        QB_TRY(observe(seer, values, count, image, err));
    }
    for (int i = 0; i < c->graph->count; i++) {
        if (is_made_of(c, i, node)) {
            QB_TRY(observe_inner(c, i, values, count / image, err));
        }
    }
    return QB_OK;
}

static bool next_pass(const struct seer *s)
{
    return s->observer && s->ops->next_pass && s->ops->next_pass(s->observer);
}

int qb_calibration_next_pass(struct qb_calibration *calibration)
{
    int again = 0;
    for (int i = 0; i < calibration->graph->count; i++) {
        again |= next_pass(&calibration->seers[i]);
        again |= next_pass(&calibration->inner[i]);
    }
    return again;
}

enum qb_status qb_qparams_table_make(size_t count, struct qb_arena *arena, struct qb_qparams_table *out,
                                     struct qb_error *err)
{
    *out = (struct qb_qparams_table){.q = qb_arena_array(arena, count, sizeof *out->q),
                                     .set = qb_arena_array(arena, count, sizeof *out->set),
                                     .inner = qb_arena_array(arena, count, sizeof *out->inner),
                                     .inner_set = qb_arena_array(arena, count, sizeof *out->inner_set)};
    return out->q && out->set && out->inner && out->inner_set
               ? QB_OK
               : qb_fail_memory(err, 2 * count * sizeof *out->q);
}

static enum qb_status derive(const struct seer *s, struct qb_qparams *out, bool *set, struct qb_error *err)
{
    float min, max;
    if (!s->observer) {
        return QB_OK;
    }
    if (s->ops->range(s->observer, &min, &max, err) != QB_OK ||
        qb_qparams_derive(s->spec, min, max, out, err) != QB_OK) {
        return qb_fail_prefix(err, "calibration: tensor \"%s\"", s->name);
    }
    out->zero_point -= qb_activation_shift(out->dtype);
    out->seen_min = s->min;
    out->seen_max = s->max;
    *set = true;
    return QB_OK;
}

enum qb_status qb_calibration_qparams(const struct qb_calibration *calibration, struct qb_arena *arena,
                                      struct qb_qparams_table *out, struct qb_error *err)
{
    const size_t count = (size_t)calibration->graph->count;
    struct qb_qparams_table table;
    QB_TRY(qb_qparams_table_make(count, arena, &table, err));
    for (size_t i = 0; i < count; i++) {
        QB_TRY(derive(&calibration->seers[i], &table.q[i], &table.set[i], err));
        QB_TRY(derive(&calibration->inner[i], &table.inner[i], &table.inner_set[i], err));
    }
    *out = table;
    return QB_OK;
}
