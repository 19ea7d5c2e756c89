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
    /* [graph->count], by float tensor: index in `out` of the node that produces it, and of its conversion to
     * the other type (0: none yet); the float node that makes it. */
    int *node_of, *converted, *maker;
    struct qb_qgraph *out;
};

/* `q` when `set`: scale and zero point of the tensor `name`. */
static enum qb_status take_checked(const struct lowering *l, const char *name, bool set,
                                   const struct qb_qparams *q, struct qb_qnode *to, struct qb_error *err)
{
    if (!set) {
        return qb_fail(err, QB_EINPUT,
                       "tensor \"%s\" has no scale and zero point; scheme \"%s\" needs it observed", name,
                       l->scheme->name);
    }
    to->q = *q;
    if (!(to->q.scale > 0 && to->q.scale < INFINITY) || to->q.zero_point < 0 || to->q.zero_point > 255) {
        return qb_fail(err, QB_EINPUT,
                       "tensor \"%s\" has scale %g and zero point %d (inside form); a finite scale above 0 "
                       "and 0..255 are "
                       "expected",
                       name, (double)to->q.scale, (int)to->q.zero_point);
    }
    return QB_OK;
}

static enum qb_status take_qparams(const struct lowering *l, int i, struct qb_qnode *to, struct qb_error *err)
{
    const int tensor = l->roles[i].tensor;
    return take_checked(l, l->graph->nodes[i].name, l->activations->set[tensor], &l->activations->q[tensor],
                        to, err);
}

static void take_geometry(const struct qb_node *node, struct qb_qnode *to)
{
    to->ic = node->ic;
    to->oc = node->oc;
    if (node->op == QB_OP_CONV) {
        to->kh = node->kh, to->kw = node->kw, to->stride_h = node->stride_h, to->stride_w = node->stride_w;
        to->pad_t = node->pad_t, to->pad_l = node->pad_l, to->pad_b = node->pad_b, to->pad_r = node->pad_r;
    }
}

/* Weights of the node as they are. */
static enum qb_status take_floats(const struct lowering *l, const struct qb_node *node, size_t count,
                                  struct qb_qnode *to, struct qb_error *err)
{
    for (size_t k = 0; k < count; k++) {
        if (!(fabsf(node->wei[k]) < INFINITY)) {
            return qb_fail(err, QB_EINPUT,
                           "%s: weights of node \"%s\": value %zu is %g; finite numbers are expected",
                           l->graph->path, node->name, k, (double)node->wei[k]);
        }
    }
    to->wei_f32 = qb_arena_memdup(l->out->arena, node->wei, count * sizeof *node->wei);
    return to->wei_f32 ? QB_OK : qb_fail_memory(err, count * sizeof *node->wei);
}

static enum qb_status take_codes(const struct lowering *l, int i, size_t each, struct qb_qnode *to,
                                 struct qb_error *err)
{
    const struct qb_node *const node = &l->graph->nodes[i];
    const struct qb_observer_spec *const spec = l->roles[i].weights;
    struct qb_quantized_weights wei;
    if (qb_weights_quantize(spec, node->wei, node->oc, each, l->out->arena, &wei, err) != QB_OK) {
        return qb_fail_prefix(err, "%s: weights of node \"%s\"", l->graph->path, node->name);
    }
    const float src_scale = l->out->nodes[to->src[0]].q.scale;
    if (l->roles[i].inner != QB_INNER_PRODUCT) { /* whose bias is none of its own: split_dense */
        QB_TRY(qb_weights_widen(spec, node->wei, node->oc, each, to->bia, src_scale, l->out->arithmetic,
                                l->out->arena, &wei, err));
    }
    to->wei = wei.codes;
    to->wei_dtype = spec->dtype;
    to->wei_scale_count = wei.scale_count;
    to->wei_scales = wei.scales;
    to->wei_zero_points = wei.zero_points;
    to->wei_seen = wei.seen;
    return qb_arithmetic_traits(l->scheme->arithmetic)->bia_codes
               ? qb_bia_quantize(to, src_scale, l->out->arithmetic, l->out->arena, err)
               : QB_OK;
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
    take_geometry(node, to);
    to->bia = qb_arena_memdup(l->out->arena, node->bia, (size_t)node->oc * sizeof *node->bia);
    if (!to->bia) {
        return qb_fail_memory(err, (size_t)node->oc * sizeof *node->bia);
    }
    if (l->roles[i].dynamic) {
        int low;
        qb_spec_quant_range(l->roles[i].activations, &low, &to->dynamic);
    }
    return !qb_has_integer_weights(to) ? take_floats(l, node, (size_t)each * (size_t)node->oc, to, err)
                                       : take_codes(l, i, (size_t)each, to, err);
}

/* Tensor `t` as floats or as codes: the node that has it, behind a conversion where its maker has the other
 * type. */
static enum qb_status take_source(struct lowering *l, int t, bool f32, int *out, struct qb_error *err)
{
    const int node = l->node_of[t];
    if (l->out->nodes[node].f32 == f32) {
        *out = node;
        return QB_OK;
    }
    if (!l->converted[t]) {
        struct qb_qnode *const to = &l->out->nodes[l->out->count];
        *to = (struct qb_qnode){.op = f32 ? QB_QOP_DEQUANTIZE : QB_QOP_QUANTIZE,
                                .src = {node, -1},
                                .dst = l->out->nodes[node].dst,
                                .f32 = f32};
        to->name = qb_arena_printf(l->out->arena, "%s_%s", qb_qop_name(to->op), l->out->nodes[node].name);
        if (!to->name) {
            return qb_fail_memory(err, 64);
        }
        if (!f32) {
            QB_TRY(take_qparams(l, l->maker[t], to, err));
        }
        l->converted[t] = l->out->count++;
    }
    *out = l->converted[t];
    return QB_OK;
}

static const char *inner_name(const struct lowering *l, int i)
{
    char name[QB_INNER_NAME];
    qb_inner_name(&l->graph->nodes[i], l->roles[i].inner, name);
    return qb_arena_strdup(l->out->arena, name);
}

/* Layer `i` reads the node *src through an inner tensor: quantized again, where that changes anything. */
static enum qb_status requantize(struct lowering *l, int i, int *src, struct qb_error *err)
{
    const struct qb_qnode *const from = &l->out->nodes[*src];
    struct qb_qnode *const to = &l->out->nodes[l->out->count];
    *to = (struct qb_qnode){
        .op = QB_QOP_QUANTIZE, .name = inner_name(l, i), .src = {*src, -1}, .dst = from->dst};
    if (!to->name) {
        return qb_fail_memory(err, QB_INNER_NAME);
    }
    QB_TRY(take_checked(l, to->name, l->activations->inner_set[i], &l->activations->inner[i], to, err));
    if (from->f32 || !qb_qparams_equal(&from->q, &to->q) || from->q.dtype != to->q.dtype) {
        *src = l->out->count++;
    }
    return QB_OK;
}

/* What the integer node of float node `i` reads. Merged with its convolution (role->conv) the addition reads
 * the convolution's source, then its own other operand. */
static enum qb_status take_sources(struct lowering *l, int i, int src[2], struct qb_error *err)
{
    const struct qb_node *const node = &l->graph->nodes[i];
    const struct qb_role *const role = &l->roles[i];
    int tensors[2] = {node->op == QB_OP_INPUT ? -1 : node->src[0], node->op == QB_OP_ADD ? node->src[1] : -1};
    if (role->conv >= 0) {
        tensors[1] = node->src[0] == role->conv ? node->src[1] : node->src[0];
        tensors[0] = l->graph->nodes[role->conv].src[0];
    }
    const int layer = role->conv >= 0 ? role->conv : i;
    const enum qb_inner inner = l->roles[layer].inner;
    const bool again = inner == QB_INNER_PAD || inner == QB_INNER_FLATTEN;
    for (int s = 0; s < 2; s++) {
        src[s] = -1;
        if (tensors[s] >= 0 && s == 0 && again) {
            src[s] = l->node_of[tensors[s]];
            QB_TRY(requantize(l, layer, &src[s], err));
        } else if (tensors[s] >= 0) {
            QB_TRY(take_source(l, tensors[s], role->f32, &src[s], err));
        }
    }
    return QB_OK;
}

/* The bias of DENSE `i` as ONNX Runtime's quantizer treats an initializer that is added: 8 bits of the
 * activations' type, by its own smallest and largest value; 7 where the weights have 7 (reduce_range). */
static enum qb_status take_addend(const struct lowering *l, int i, struct qb_qnode *to, struct qb_error *err)
{
    const struct qb_node *const node = &l->graph->nodes[i];
    struct qb_observer_spec spec = *l->roles[i].activations;
    uint8_t *const codes = qb_arena_array(l->out->arena, (size_t)node->oc, sizeof *codes);
    int low, high;
    float min = 0, max = 0;
    qb_spec_quant_range(l->roles[i].weights, &low, &high);
    if (high - low <= 128) {
        spec.has_quant_range = true;
        spec.quant_min = spec.dtype == QB_QINT8 ? -64 : 0;
        spec.quant_max = spec.dtype == QB_QINT8 ? 64 : 127;
    }
    for (int k = 0; k < node->oc; k++) {
        min = fminf(min, node->bia[k]);
        max = fmaxf(max, node->bia[k]);
    }
    *to = (struct qb_qnode){.op = QB_QOP_CONSTANT,
                            .name = qb_arena_printf(l->out->arena, "%s_bias", node->name),
                            .src = {-1, -1},
                            .dst = {1, 1, node->oc},
                            .codes = codes};
    if (!codes || !to->name) {
        return qb_fail_memory(err, (size_t)node->oc);
    }
    QB_TRY(qb_qparams_derive(&spec, min, max, &to->q, err));
    qb_dtype_range(spec.dtype, &low, &high);
    const int shift = qb_activation_shift(spec.dtype);
    for (int k = 0; k < node->oc; k++) {
        const float code = nearbyintf(node->bia[k] / to->q.scale) + (float)to->q.zero_point;
        codes[k] = (uint8_t)((int)fminf(fmaxf(code, (float)low), (float)high) - shift);
    }
    to->q.zero_point -= shift;
    return QB_OK;
}

/* DENSE `i`, which `to` is about to become, in front of its bias: a product and a constant of their own, and
 * their sum. */
static enum qb_status split_dense(struct lowering *l, int i, struct qb_qnode **to, struct qb_error *err)
{
    struct qb_qnode sum = **to, *const product = *to;
    const int first = l->out->count;
    float *const no_bia = qb_arena_array(l->out->arena, (size_t)product->oc, sizeof *no_bia);
    int32_t *const no_codes = qb_arena_array(l->out->arena, (size_t)product->oc, sizeof *no_codes);
    product->name = inner_name(l, i);
    if (!no_bia || !no_codes || !product->name) {
        return qb_fail_memory(err, (size_t)product->oc * sizeof *no_bia);
    }
    product->bia = no_bia;
    product->bia_codes = no_codes;
    product->relu = false;
    QB_TRY(take_checked(l, product->name, l->activations->inner_set[i], &l->activations->inner[i], product,
                        err));
    QB_TRY(take_addend(l, i, product + 1, err));
    *to = product + 2;
    **to = (struct qb_qnode){.op = QB_QOP_ADD,
                             .name = sum.name,
                             .src = {first, first + 1},
                             .dst = sum.dst,
                             .q = sum.q,
                             .relu = sum.relu};
    l->out->count = first + 2;
    return QB_OK;
}

static enum qb_status lower_node(struct lowering *l, int i, struct qb_error *err)
{
    const struct qb_node *const node = &l->graph->nodes[i];
    const struct qb_role *const role = &l->roles[i];
    int src[2];
    QB_TRY(take_sources(l, i, src, err)); /* may append conversions */
    struct qb_qnode *to = &l->out->nodes[l->out->count];
    *to = (struct qb_qnode){
        .src = {src[0], src[1]}, .dst = node->dst, .relu = role->tensor != i, .f32 = role->f32};
    to->name = qb_arena_strdup(l->out->arena, node->name);
    if (!to->name) {
        return qb_fail_memory(err, strlen(node->name));
    }
    if (role->observed && !role->f32) {
        QB_TRY(take_qparams(l, i, to, err));
    } else if (!role->f32) {
        to->q = l->out->nodes[to->src[0]].q;
    }
    switch (node->op) {
    case QB_OP_INPUT: to->op = QB_QOP_INPUT; break;
    case QB_OP_CONV:
        to->op = QB_QOP_CONV;
        QB_TRY(take_weights(l, i, to, err));
        break;
    case QB_OP_DENSE:
        to->op = QB_QOP_DENSE;
        QB_TRY(take_weights(l, i, to, err));
        if (role->inner == QB_INNER_PRODUCT) {
            QB_TRY(split_dense(l, i, &to, err));
        }
        break;
    case QB_OP_ADD:
        to->op = role->conv >= 0 ? QB_QOP_CONV : QB_QOP_ADD;
        to->fused_add = role->conv >= 0;
        if (role->conv >= 0) {
            QB_TRY(take_weights(l, role->conv, to, err));
        }
        break;
    case QB_OP_RELU: to->op = QB_QOP_RELU; break;
    default: /* qb_roles_plan lets nothing else through */
        to->op = QB_QOP_AVGPOOL;
        to->kh = node->kh, to->kw = node->kw, to->stride_h = node->stride_h, to->stride_w = node->stride_w;
        break;
    }
    l->node_of[i] = l->node_of[role->tensor] = l->out->count++;
    l->maker[i] = l->maker[role->tensor] = i;
    return QB_OK;
}

static enum qb_status lower(struct lowering *l, struct qb_error *err)
{
    QB_TRY(qb_roles_plan(l->graph, l->scheme, l->roles, err));
    for (int i = 0; i < l->graph->count; i++) {
        if (l->roles[i].emitted) {
            QB_TRY(lower_node(l, i, err));
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
            /* and conversions, products and constants */
            .nodes = qb_arena_array(arena, 4 * (size_t)graph->count, sizeof *q->nodes),
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
    l.node_of = calloc(3 * count + 1, sizeof *l.node_of);
    l.converted = l.node_of + count;
    l.maker = l.converted + count;
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
