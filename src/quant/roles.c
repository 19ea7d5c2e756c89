/* Fusion and observation rules: see roles.h. */
#include "quant/roles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/qgraph.h"

static enum qb_status check_node(const struct qb_graph *graph, int i, struct qb_error *err)
{
    const struct qb_node *const node = &graph->nodes[i];
    switch (node->op) {
    case QB_OP_INPUT:
        if (i != 0) {
            return qb_fail(err, QB_EUNSUPPORTED,
                           "%s: node \"%s\" is a second input; one image input is expected", graph->path,
                           node->name);
        }
        break;
    case QB_OP_CONV:
    case QB_OP_DENSE:
    case QB_OP_ADD:
    case QB_OP_RELU:
    case QB_OP_AVGPOOL: break;
    case QB_OP_SOFTMAX:
        if (i == graph->count - 1) {
            break;
        }
        return qb_fail(err, QB_EUNSUPPORTED,
                       "%s: node \"%s\" is a softmax inside the network; it is expected only at the end",
                       graph->path, node->name);
    default:
        return qb_fail(err, QB_EUNSUPPORTED,
                       "%s: node \"%s\" (%s) has no integer form; convolution, dense, add, relu and average "
                       "pool are expected",
                       graph->path, node->name, qb_op_name(node->op));
    }
    for (int s = 0; s < qb_op_sources(node->op); s++) {
        if (node->src[s] < 0 || node->src[s] >= i) {
            return qb_fail(err, QB_EINPUT,
                           "%s: node \"%s\" reads node %d; a node before its own number %d is expected",
                           graph->path, node->name, node->src[s], i);
        }
    }
    return QB_OK;
}

/* Longest way from the input to each node, and who reads it: the only reader, -1 for none, -2 for several. */
struct shape {
    int depth, reader;
    bool flat;          /* behind a dense layer */
    int maker;          /* of the tensor in the integer graph: the node that the RELU is fused into */
    bool named_float;   /* the scheme says that it is one of floats */
    bool float_readers; /* everything that reads it works on floats, or quantizes the image for itself */
};

static void measure(const struct qb_graph *graph, struct shape *shape)
{
    for (int i = 0; i < graph->count; i++) {
        shape[i] = (struct shape){.reader = -1, .flat = graph->nodes[i].op == QB_OP_DENSE};
        for (int s = 0; s < qb_op_sources(graph->nodes[i].op); s++) {
            struct shape *const from = &shape[graph->nodes[i].src[s]];
            from->reader = from->reader == -1 ? i : -2;
            shape[i].flat |= from->flat;
            shape[i].depth = from->depth + 1 > shape[i].depth ? from->depth + 1 : shape[i].depth;
        }
    }
}

/* The convolution that the addition `i` can be merged with: one that nothing else reads. Of two, the deeper
 * one (the main branch; the shortcut stays a convolution of its own), the later one if they are equally deep.
 */
static int mergeable(const struct qb_graph *graph, const struct shape *shape, const struct qb_role *roles,
                     int i)
{
    int best = -1;
    for (int s = 0; s < 2 && !roles[i].f32; s++) {
        const int c = graph->nodes[i].src[s];
        if (graph->nodes[c].op == QB_OP_CONV && !roles[c].f32 && shape[c].reader == i &&
            (best < 0 || shape[c].depth > shape[best].depth ||
             (shape[c].depth == shape[best].depth && c > best))) {
            best = c;
        }
    }
    return best;
}

static bool has_weights(enum qb_op op)
{
    return op == QB_OP_CONV || op == QB_OP_DENSE;
}

static bool may_differ(enum qb_op op)
{
    return has_weights(op) || op == QB_OP_ADD;
}

/* "FILE:LINE", where the line is known. */
enum { PLACE = 320 };
static const char *place_of(const struct qb_scheme *scheme, const char *path, int line, char out[PLACE])
{
    char number[16] = "";
    if (line) {
        snprintf(number, sizeof number, ":%d", line);
    }
    snprintf(out, PLACE, "%.300s%s", path ? path : scheme->path ? scheme->path : scheme->name, number);
    return out;
}

static enum qb_status fail_layer(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                 const struct qb_exception *e, struct qb_error *err)
{
    char names[512] = "", place[PLACE];
    for (int i = 0; i < graph->count; i++) {
        const size_t used = strlen(names);
        if (may_differ(graph->nodes[i].op)) {
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", graph->nodes[i].name);
        }
    }
    return qb_fail(err, QB_EINPUT,
                   "%s: layers: \"%.63s\" is no layer with scales of its own of %.200s; there are %s",
                   place_of(scheme, NULL, e->line, place), e->layer, graph->path, names);
}

/* What the scheme says about single layers. */
static enum qb_status take_exceptions(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                      struct shape *shape, struct qb_role *roles, struct qb_error *err)
{
    for (size_t k = 0; k < scheme->layer_count; k++) {
        const struct qb_exception *const e = &scheme->layers[k];
        const int i = qb_graph_find(graph, e->layer);
        if (i < 0 || !may_differ(graph->nodes[i].op)) {
            return fail_layer(graph, scheme, e, err);
        }
        if (e->weights && !*e->name && !has_weights(graph->nodes[i].op)) {
            char place[PLACE];
            return qb_fail(err, QB_EINPUT,
                           "%s: layers.%.63s.weights: an addition has no weights; leave the block out",
                           place_of(scheme, e->path, e->weights->line, place), e->layer);
        }
        roles[i].f32 = shape[i].named_float = e->fp32;
        roles[i].weights = e->weights ? e->weights : roles[i].weights;
        roles[i].activations = e->activations ? e->activations : roles[i].activations;
    }
    return QB_OK;
}

/* Layers whose ranges are taken at run time: floats, with integer weights where dense. */
static void take_dynamic(const struct qb_graph *graph, struct shape *shape, struct qb_role *roles)
{
    for (int i = 0; i < graph->count; i++) {
        const enum qb_op op = graph->nodes[i].op;
        if (!qb_spec_is_dynamic(roles[i].activations)) {
            continue;
        }
        roles[i].dynamic = op == QB_OP_DENSE && !roles[i].f32;
        roles[i].f32 |= may_differ(op);
        shape[i].named_float |= may_differ(op);
    }
}

static bool is_requantized(const struct qb_role *role)
{
    return role->inner == QB_INNER_PAD || role->inner == QB_INNER_FLATTEN;
}

/* Whether everything that reads a tensor of an emitted node works on floats. */
static void find_float_readers(const struct qb_graph *graph, const struct qb_role *roles, struct shape *shape)
{
    for (int i = 0; i < graph->count; i++) {
        shape[i].float_readers = true;
    }
    for (int i = 0; i < graph->count; i++) {
        const bool merged =
            !roles[i].emitted && graph->nodes[i].op == QB_OP_CONV; /* its addition reads for it */
        for (int s = 0; (roles[i].emitted || merged) && s < qb_op_sources(graph->nodes[i].op); s++) {
            const int maker = shape[graph->nodes[i].src[s]].maker;
            shape[maker].float_readers &=
                roles[i].f32 || (is_requantized(&roles[i]) && graph->nodes[maker].op == QB_OP_INPUT);
        }
    }
}

/* From the nodes that the scheme names to the other ones without weights: as many as possible at first, then
 * without those whose reason turns out to be gone, until nothing changes. */
static void spread_floats(const struct qb_graph *graph, struct shape *shape, struct qb_role *roles)
{
    for (int i = 0; i < graph->count; i++) {
        shape[i].maker = i;
        roles[i].f32 |= roles[i].emitted && !has_weights(graph->nodes[i].op);
    }
    for (int i = 0; i < graph->count; i++) {
        if (roles[i].emitted) {
            shape[roles[i].tensor].maker = i;
        }
    }
    for (bool changed = true; changed;) {
        changed = false;
        find_float_readers(graph, roles, shape);
        for (int i = 0; i < graph->count; i++) {
            const struct qb_node *const node = &graph->nodes[i];
            bool sources = roles[i].conv < 0;
            for (int s = 0; s < qb_op_sources(node->op); s++) {
                sources = sources && roles[shape[node->src[s]].maker].f32;
            }
            if (roles[i].f32 && !shape[i].named_float &&
                !(sources && (node->op == QB_OP_ADD || shape[i].float_readers))) {
                roles[i].f32 = false;
                changed = true;
            }
        }
    }
}

/* An integer layer `reader` reads what node `i` makes, which gets no scale before run time. */
static enum qb_status fail_dynamic(const struct qb_graph *graph, const struct qb_scheme *scheme, int i,
                                   int reader, struct qb_error *err)
{
    const char *const name = graph->nodes[i].name;
    char key[96] = "activations", place[PLACE];
    int line = scheme->activations.line;
    for (size_t k = 0; k < scheme->layer_count; k++) {
        if (strcmp(scheme->layers[k].layer, name) == 0) {
            line = scheme->layers[k].line;
            snprintf(key, sizeof key, "layers.%.63s", name);
        }
    }
    return qb_fail(
        err, QB_EINPUT,
        "%s: %s: tensor \"%s\" has no scale before run time (observer \"dynamic\"), but the integer "
        "layer \"%s\" reads it; leave that layer float, or take another observer here",
        place_of(scheme, NULL, line, place), key, name, graph->nodes[reader].name);
}

/* Layers that read codes need scales that calibration gives. */
static enum qb_status check_dynamic_readers(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                            const struct shape *shape, const struct qb_role *roles,
                                            struct qb_error *err)
{
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const node = &graph->nodes[i];
        const bool merged = !roles[i].emitted && node->op == QB_OP_CONV;
        if (roles[i].f32 || !(roles[i].emitted || merged) || is_requantized(&roles[i])) {
            continue;
        }
        for (int s = 0; s < qb_op_sources(node->op); s++) {
            const int maker = shape[node->src[s]].maker;
            if (qb_spec_is_dynamic(roles[maker].activations) &&
                (roles[maker].f32 || graph->nodes[maker].op == QB_OP_INPUT)) {
                return fail_dynamic(graph, scheme, maker, i, err);
            }
        }
    }
    return QB_OK;
}

/* Refinements write biases, which have to be the layer's own then. */
static bool is_split(const struct qb_scheme *scheme, const struct qb_node *node)
{
    const char *const type = node->source_type ? node->source_type : "";
    if (scheme->arithmetic != QB_ARITHMETIC_ORT || scheme->refine || node->op != QB_OP_DENSE ||
        (strcmp(type, "MatMul") != 0 && strcmp(type, "Dense") != 0)) {
        return false;
    }
    for (int k = 0; k < node->oc; k++) {
        if (node->bia[k] < 0 || node->bia[k] > 0) {
            return true;
        }
    }
    return false;
}

/* What prepare_fx adds. */
static void prepare_fx(const struct qb_graph *graph, const struct shape *shape, struct qb_role *roles)
{
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const node = &graph->nodes[i];
        const bool unequal = node->pad_t != node->pad_b || node->pad_l != node->pad_r;
        if (node->op == QB_OP_CONV && unequal && !roles[i].f32) {
            roles[i].inner = QB_INNER_PAD;
        } else if (node->op == QB_OP_DENSE && !shape[node->src[0]].flat && !roles[i].f32) {
            roles[i].inner = QB_INNER_FLATTEN;
        }
        roles[i].joins = node->op == QB_OP_AVGPOOL;
    }
}

void qb_inner_name(const struct qb_node *layer, enum qb_inner inner, char out[QB_INNER_NAME])
{
    static const char *const suffixes[] = {
        [QB_INNER_PRODUCT] = "matmul", [QB_INNER_PAD] = "pad", [QB_INNER_FLATTEN] = "flatten"};
    snprintf(out, QB_INNER_NAME, "%.100s_%s", layer->name, suffixes[inner]);
}

/* Is there anything that floats could spread from, or that has no scale? */
static bool any_float(const struct qb_graph *graph, const struct qb_role *roles)
{
    for (int i = 0; i < graph->count; i++) {
        if (roles[i].f32 || is_requantized(&roles[i]) || qb_spec_is_dynamic(roles[i].activations)) {
            return true;
        }
    }
    return false;
}

enum qb_status qb_roles_plan(const struct qb_graph *graph, const struct qb_scheme *scheme,
                             struct qb_role *roles, struct qb_error *err)
{
    const unsigned fuse = scheme->fuse;
    if (graph->quantized) {
        return qb_fail(err, QB_EINPUT, "%s: the model is quantized already; a float model is expected",
                       graph->path);
    }
    if (graph->count < 1 || graph->nodes[0].op != QB_OP_INPUT) {
        return qb_fail(err, QB_EINPUT, "%s: the network does not start with its input", graph->path);
    }
    for (int i = 0; i < graph->count; i++) {
        QB_TRY(check_node(graph, i, err));
    }
    struct shape *const shape = calloc((size_t)graph->count, sizeof *shape);
    if (!shape) {
        return qb_fail_memory(err, (size_t)graph->count * sizeof *shape);
    }
    measure(graph, shape);
    for (int i = 0; i < graph->count; i++) {
        const enum qb_op op = graph->nodes[i].op;
        const bool observed = op == QB_OP_INPUT || op == QB_OP_CONV || op == QB_OP_DENSE || op == QB_OP_ADD ||
                              (op == QB_OP_RELU && qb_arithmetic_traits(scheme->arithmetic)->rescales);
        roles[i] = (struct qb_role){.emitted = op != QB_OP_SOFTMAX,
                                    .observed = observed,
                                    .tensor = i,
                                    .conv = -1,
                                    .weights = &scheme->weights,
                                    .activations = &scheme->activations};
    }
    enum qb_status status = take_exceptions(graph, scheme, shape, roles, err);
    if (status != QB_OK) {
        free(shape);
        return status;
    }
    take_dynamic(graph, shape, roles);
    if (scheme->prepare == QB_PREPARE_FX) {
        prepare_fx(graph, shape, roles);
    }
    for (int i = 0; i < graph->count; i++) {
        const enum qb_op op = graph->nodes[i].op;
        /* linear + relu is in PyTorch's fusable list beside conv + relu. */
        const unsigned with_relu = op == QB_OP_CONV || op == QB_OP_DENSE ? QB_FUSE_CONV_RELU
                                   : op == QB_OP_ADD                     ? QB_FUSE_ADD_RELU
                                                                         : 0;
        const int reader = shape[i].reader;
        if ((fuse & with_relu) && reader >= 0 && graph->nodes[reader].op == QB_OP_RELU) {
            roles[i].tensor = reader;
            roles[reader].emitted = roles[reader].observed = false;
        }
        if (op == QB_OP_ADD && (fuse & QB_FUSE_CONV_ADD)) {
            roles[i].conv = mergeable(graph, shape, roles, i);
            if (roles[i].conv >= 0) {
                roles[roles[i].conv].emitted = roles[roles[i].conv].observed = false;
            }
        }
    }
    for (int i = 0; i < graph->count; i++) {
        if (!roles[i].f32 && is_split(scheme, &graph->nodes[i])) {
            roles[i].inner = QB_INNER_PRODUCT;
        }
    }
    if (any_float(graph, roles)) {
        spread_floats(graph, shape, roles);
        status = check_dynamic_readers(graph, scheme, shape, roles, err);
    }
    for (int i = 0; i < graph->count; i++) {
        roles[i].joins = roles[i].joins && !roles[i].f32;
    }
    free(shape);
    return status;
}

int qb_role_layer(const struct qb_graph *graph, const struct qb_role *roles, const char *name, bool fused_add)
{
    const int i = qb_graph_find(graph, name);
    return fused_add ? roles[i].conv : i;
}
