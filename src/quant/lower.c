/* From a float graph, a scheme and the activations' scales to the integer graph: see qb_quantize in
 * quantize.h. */
#include "quant/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/qparams.h"
#include "quant/roles.h"
#include "quant/scheme_check.h"
#include "quant/weights.h"

struct lowering {
    const struct qb_graph *graph;
    const struct qb_scheme *scheme;
    const struct qb_qparams_table *activations;
    struct qb_role *roles; /* [graph->count] */
    int *node_of;          /* [graph->count] index in `out` of the node that produces each float tensor */
    struct qb_qgraph *out;
};

static enum qb_status take_qparams(const struct lowering *l, int i, struct qb_qnode *to, struct qb_error *err)
{
    const int tensor = l->roles[i].tensor;
    const char *const name = l->graph->nodes[i].name;
    if (!l->activations->set[tensor]) {
        return qb_fail(err, QB_EINPUT,
                       "tensor \"%s\" has no scale and zero point; scheme \"%s\" needs it observed", name,
                       l->scheme->name);
    }
    to->q = l->activations->q[tensor];
    if (!(to->q.scale > 0 && to->q.scale < INFINITY) || to->q.zero_point < 0 || to->q.zero_point > 255) {
        return qb_fail(err, QB_EINPUT,
                       "tensor \"%s\" has scale %g and zero point %d (inside form); a finite scale above 0 "
                       "and 0..255 are "
                       "expected",
                       name, (double)to->q.scale, (int)to->q.zero_point);
    }
    return QB_OK;
}

/* Weights and bias of the float node `i` (CONV or DENSE) into `to`. */
static enum qb_status take_weights(const struct lowering *l, int i, struct qb_qnode *to, struct qb_error *err)
{
    const struct qb_node *const node = &l->graph->nodes[i];
    const bool conv = node->op == QB_OP_CONV;
    const int64_t limit = INT32_MAX / (255 * 255);
    int64_t each = node->ic;
    if (node->ic < 1 || node->oc < 1 ||
        (conv && (node->kh < 1 || node->kw < 1 || __builtin_mul_overflow(each, node->kh, &each) ||
                  __builtin_mul_overflow(each, node->kw, &each))) ||
        each > limit) {
        return qb_fail(
            err, QB_EUNSUPPORTED,
            "%s: node \"%s\" has %d x %d kernel, %d inputs and %d outputs; 1 to %lld products an output are "
            "expected, which an int32 holds",
            l->graph->path, node->name, node->kh, node->kw, node->ic, node->oc, (long long)limit);
    }
    for (int k = 0; k < node->oc; k++) {
        if (!(fabsf(node->bia[k]) < INFINITY)) {
            return qb_fail(err, QB_EINPUT, "%s: node \"%s\": bias %d is %g; finite numbers are expected",
                           l->graph->path, node->name, k, (double)node->bia[k]);
        }
    }
    struct qb_quantized_weights wei;
    if (qb_weights_quantize(&l->scheme->weights, node->wei, node->oc, (size_t)each, l->out->arena, &wei,
                            err) != QB_OK) {
        return qb_fail_prefix(err, "%s: weights of node \"%s\"", l->graph->path, node->name);
    }
    to->ic = node->ic;
    to->oc = node->oc;
    if (conv) {
        to->kh = node->kh, to->kw = node->kw, to->stride_h = node->stride_h, to->stride_w = node->stride_w;
        to->pad_t = node->pad_t, to->pad_l = node->pad_l, to->pad_b = node->pad_b, to->pad_r = node->pad_r;
    }
    to->wei = wei.codes;
    to->wei_dtype = l->scheme->weights.dtype;
    to->wei_scale_count = wei.scale_count;
    to->wei_scales = wei.scales;
    to->wei_zero_points = wei.zero_points;
    to->bia = qb_arena_memdup(l->out->arena, node->bia, (size_t)node->oc * sizeof *node->bia);
    if (!to->bia) {
        return qb_fail_memory(err, (size_t)node->oc * sizeof *node->bia);
    }
    return qb_arithmetic_traits(l->scheme->arithmetic)->bia_codes
               ? qb_bia_quantize(to, l->out->nodes[to->src[0]].q.scale, l->out->arena, err)
               : QB_OK;
}

/* The addition `i` merged with its convolution: src[0] is the convolution's source, src[1] the other operand.
 */
static enum qb_status lower_conv_add(const struct lowering *l, int i, struct qb_qnode *to,
                                     struct qb_error *err)
{
    const struct qb_node *const node = &l->graph->nodes[i];
    const int conv = l->roles[i].conv;
    to->op = QB_QOP_CONV;
    to->fused_add = true;
    to->src[0] = l->node_of[l->graph->nodes[conv].src[0]];
    to->src[1] = l->node_of[node->src[0] == conv ? node->src[1] : node->src[0]];
    return take_weights(l, conv, to, err);
}

static enum qb_status lower_node(const struct lowering *l, int i, struct qb_qnode *to, struct qb_error *err)
{
    const struct qb_node *const node = &l->graph->nodes[i];
    const struct qb_role *const role = &l->roles[i];
    *to = (struct qb_qnode){.src = {-1, -1}, .dst = node->dst, .relu = role->tensor != i};
    to->name = qb_arena_strdup(l->out->arena, node->name);
    if (!to->name) {
        return qb_fail_memory(err, strlen(node->name));
    }
    for (int s = 0; s < 2; s++) {
        to->src[s] =
            node->op != QB_OP_INPUT && (s == 0 || node->op == QB_OP_ADD) ? l->node_of[node->src[s]] : -1;
    }
    if (role->observed) {
        QB_TRY(take_qparams(l, i, to, err));
    } else {
        to->q = l->out->nodes[to->src[0]].q;
    }
    switch (node->op) {
    case QB_OP_INPUT: to->op = QB_QOP_INPUT; break;
    case QB_OP_CONV: to->op = QB_QOP_CONV; return take_weights(l, i, to, err);
    case QB_OP_DENSE: to->op = QB_QOP_DENSE; return take_weights(l, i, to, err);
    case QB_OP_ADD: to->op = QB_QOP_ADD; return role->conv >= 0 ? lower_conv_add(l, i, to, err) : QB_OK;
    case QB_OP_RELU: to->op = QB_QOP_RELU; break;
    default: /* qb_roles_plan lets nothing else through */
        to->op = QB_QOP_AVGPOOL;
        to->kh = node->kh, to->kw = node->kw, to->stride_h = node->stride_h, to->stride_w = node->stride_w;
        break;
    }
    return QB_OK;
}

static enum qb_status lower(struct lowering *l, struct qb_error *err)
{
    QB_TRY(qb_roles_plan(l->graph, l->scheme->fuse, l->roles, err));
    for (int i = 0; i < l->graph->count; i++) {
        if (l->roles[i].emitted) {
            QB_TRY(lower_node(l, i, &l->out->nodes[l->out->count], err));
            l->node_of[i] = l->node_of[l->roles[i].tensor] = l->out->count++;
        }
    }
    return QB_OK;
}

static enum qb_status create(const struct qb_graph *graph, const struct qb_scheme *scheme,
                             const char *calibration_hash, struct qb_qgraph **out, struct qb_error *err)
{
    struct qb_arena *const arena = qb_arena_create();
    struct qb_qgraph *const q = arena ? qb_arena_array(arena, 1, sizeof *q) : NULL;
    if (q) {
        *q = (struct qb_qgraph){
            .arena = arena,
            .scheme = qb_arena_strdup(arena, scheme->name),
            .arithmetic = scheme->arithmetic,
            .accumulate = scheme->accumulate,
            .nodes = qb_arena_array(arena, (size_t)graph->count, sizeof *q->nodes),
            .model_sha256 = qb_arena_strdup(arena, graph->sha256),
            .calibration_hash = qb_arena_strdup(arena, calibration_hash),
        };
    }
    if (!q || !q->scheme || !q->nodes || !q->model_sha256 || !q->calibration_hash) {
        qb_arena_destroy(arena);
        return qb_fail_memory(err, (size_t)graph->count * sizeof *q->nodes);
    }
    *out = q;
    return QB_OK;
}

enum qb_status qb_quantize(const struct qb_graph *graph, const struct qb_scheme *scheme,
                           const struct qb_qparams_table *activations, const char *calibration_hash,
                           struct qb_qgraph **out, struct qb_error *err)
{
    QB_TRY(qb_scheme_check_integer(scheme, err));
    struct lowering l = {.graph = graph, .scheme = scheme, .activations = activations};
    QB_TRY(create(graph, scheme, calibration_hash, &l.out, err));
    const size_t count = (size_t)graph->count;
    l.roles = calloc(count + 1, sizeof *l.roles);
    l.node_of = calloc(count + 1, sizeof *l.node_of);
    const enum qb_status status = l.roles && l.node_of
                                      ? lower(&l, err)
                                      : qb_fail_memory(err, count * (sizeof *l.roles + sizeof *l.node_of));
    free(l.roles);
    free(l.node_of);
    if (status != QB_OK) {
        qb_qgraph_free(l.out);
        return status;
    }
    *out = l.out;
    return QB_OK;
}
