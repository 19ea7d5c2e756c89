/* Fusion and observation rules: see roles.h. */
#include "quant/roles.h"

#include <stdlib.h>

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
};

static void measure(const struct qb_graph *graph, struct shape *shape)
{
    for (int i = 0; i < graph->count; i++) {
        shape[i] = (struct shape){.depth = 0, .reader = -1};
        for (int s = 0; s < qb_op_sources(graph->nodes[i].op); s++) {
            struct shape *const from = &shape[graph->nodes[i].src[s]];
            from->reader = from->reader == -1 ? i : -2;
            shape[i].depth = from->depth + 1 > shape[i].depth ? from->depth + 1 : shape[i].depth;
        }
    }
}

/* The convolution that the addition `i` can be merged with: one that nothing else reads. Of two, the deeper
 * one (the main branch; the shortcut stays a convolution of its own), the later one if they are equally deep.
 */
static int mergeable(const struct qb_graph *graph, const struct shape *shape, int i)
{
    int best = -1;
    for (int s = 0; s < 2; s++) {
        const int c = graph->nodes[i].src[s];
        if (graph->nodes[c].op == QB_OP_CONV && shape[c].reader == i &&
            (best < 0 || shape[c].depth > shape[best].depth ||
             (shape[c].depth == shape[best].depth && c > best))) {
            best = c;
        }
    }
    return best;
}

enum qb_status qb_roles_plan(const struct qb_graph *graph, unsigned fuse, struct qb_role *roles,
                             struct qb_error *err)
{
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
        const bool observed = op == QB_OP_INPUT || op == QB_OP_CONV || op == QB_OP_DENSE || op == QB_OP_ADD;
        roles[i] =
            (struct qb_role){.emitted = op != QB_OP_SOFTMAX, .observed = observed, .tensor = i, .conv = -1};
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
            roles[reader].emitted = false;
        }
        if (op == QB_OP_ADD && (fuse & QB_FUSE_CONV_ADD)) {
            roles[i].conv = mergeable(graph, shape, i);
            if (roles[i].conv >= 0) {
                roles[roles[i].conv].emitted = roles[roles[i].conv].observed = false;
            }
        }
    }
    free(shape);
    return QB_OK;
}
