/* qb_pass_layout: removes TRANSPOSE nodes by making every tensor N,H,W,C. */
#include <string.h>

#include "model/graph_build.h"
#include "model/passes.h"

/* axis[i]: which of N, H, W, C (0..3) the i-th axis of a tensor holds in the file's order. Behind a FLATTEN,
 * `flat` is set and `from` has the shape whose axes 1..3 were listed in that order. */
struct order {
    unsigned char axis[4];
    bool flat;
    struct qb_shape from;
};

static const struct order nhwc = {.axis = {0, 1, 2, 3}};

static bool same_axes(const struct order *a, const struct order *b)
{
    return memcmp(a->axis, b->axis, sizeof a->axis) == 0;
}

/* The flat index in file order of element (h, w, c). */
static size_t file_index(const struct order *order, const int at[4])
{
    const int size[4] = {1, order->from.h, order->from.w, order->from.c};
    size_t index = 0;
    for (int k = 1; k < 4; k++) {
        index = index * (size_t)size[order->axis[k]] + (size_t)at[order->axis[k]];
    }
    return index;
}

/* True when listing in file order and in N,H,W,C order is the same. */
static bool is_trivial(const struct order *order)
{
    return !order->flat || same_axes(order, &nhwc) || (order->from.h == 1 && order->from.w == 1);
}

static bool same_order(const struct order *a, const struct order *b)
{
    if (a->flat != b->flat) {
        return false;
    }
    if (a->flat && is_trivial(a) && is_trivial(b)) {
        return true;
    }
    return same_axes(a, b) && a->from.h == b->from.h && a->from.w == b->from.w && a->from.c == b->from.c;
}

/* Replaces *data, rows of elements in file order, by a copy in N,H,W,C order. NULL stays NULL. */
static enum qb_status permute(struct qb_graph *graph, const struct order *order, size_t rows, size_t size,
                              const void **data, struct qb_error *err)
{
    const unsigned char *const src = *data;
    if (!src) {
        return QB_OK;
    }
    const size_t columns = qb_shape_count(order->from);
    unsigned char *const dst = qb_graph_array(graph, rows * columns, size, err);
    if (!dst) {
        return QB_ENOMEM;
    }
    size_t column = 0;
    int at[4] = {0, 0, 0, 0};
    for (at[1] = 0; at[1] < order->from.h; at[1]++) {
        for (at[2] = 0; at[2] < order->from.w; at[2]++) {
            for (at[3] = 0; at[3] < order->from.c; at[3]++, column++) {
                const size_t from = file_index(order, at);
                for (size_t row = 0; row < rows; row++) {
                    memcpy(dst + (row * columns + column) * size, src + (row * columns + from) * size, size);
                }
            }
        }
    }
    *data = dst;
    return QB_OK;
}

static enum qb_status permute_floats(struct qb_graph *graph, const struct order *order, size_t rows,
                                     const float **values, struct qb_error *err)
{
    const void *data = *values;
    QB_TRY(permute(graph, order, rows, sizeof **values, &data, err));
    *values = data;
    return QB_OK;
}

static enum qb_status permute_codes(struct qb_graph *graph, const struct order *order, struct qb_node *node,
                                    size_t rows, struct qb_error *err)
{
    if (node->codes) {
        struct qb_weight_codes *codes;
        QB_ALLOC(codes, graph, 1, err);
        *codes = *node->codes;
        QB_TRY(permute(graph, order, rows, 1, &codes->codes, err));
        node->codes = codes;
    }
    return QB_OK;
}

static enum qb_status permute_dense(struct qb_graph *graph, const struct order *order, struct qb_node *node,
                                    struct qb_error *err)
{
    QB_TRY(permute_floats(graph, order, (size_t)node->oc, &node->wei, err));
    return permute_codes(graph, order, node, (size_t)node->oc, err);
}

static enum qb_status permute_affine(struct qb_graph *graph, const struct order *order, struct qb_node *node,
                                     struct qb_error *err)
{
    QB_TRY(permute_floats(graph, order, 1, &node->wei, err));
    QB_TRY(permute_floats(graph, order, 1, &node->bia, err));
    if (node->bn) {
        struct qb_batchnorm *bn;
        QB_ALLOC(bn, graph, 1, err);
        *bn = *node->bn;
        QB_TRY(permute_floats(graph, order, 1, &bn->gamma, err));
        QB_TRY(permute_floats(graph, order, 1, &bn->beta, err));
        QB_TRY(permute_floats(graph, order, 1, &bn->mean, err));
        QB_TRY(permute_floats(graph, order, 1, &bn->var, err));
        node->bn = bn;
    }
    return QB_OK;
}

/* The order that CONV, AVGPOOL, PAD and AFFINE of this graph work in: that of the first one, N,H,W,C or
 * N,C,H,W. */
static enum qb_status check_axes(const struct qb_node *node, const struct order *order,
                                 const struct order **graph_order, struct qb_error *err)
{
    static const struct order nchw = {.axis = {0, 3, 1, 2}};
    if (!*graph_order && same_axes(order, &nchw)) {
        *graph_order = &nchw;
    } else if (!*graph_order && same_axes(order, &nhwc)) {
        *graph_order = &nhwc;
    } else if (!*graph_order || !same_axes(order, *graph_order)) {
        const char *const names = "NHWC";
        return qb_fail_node(
            err, QB_EUNSUPPORTED, node, "the axes of its source are %c,%c,%c,%c of the image; %s is expected",
            names[order->axis[0]], names[order->axis[1]], names[order->axis[2]], names[order->axis[3]],
            !*graph_order           ? "N,C,H,W or N,H,W,C"
            : *graph_order == &nchw ? "N,C,H,W"
                                    : "N,H,W,C");
    }
    return QB_OK;
}

static enum qb_status step(struct qb_graph *graph, struct qb_node *node, const struct order *orders,
                           const struct order **graph_order, struct order *out, struct qb_error *err)
{
    const struct order *const src = &orders[node->src[0]];
    *out = *src;
    switch (node->op) {
    case QB_OP_TRANSPOSE: {
        unsigned seen = 0;
        for (int k = 0; k < 4; k++) {
            const int from = node->perm[k];
            if (from < 0 || from > 3 || (seen & (1U << from)) || src->flat) {
                return qb_fail_node(err, QB_EINPUT, node, "perm %d,%d,%d,%d does not fit its source",
                                    node->perm[0], node->perm[1], node->perm[2], node->perm[3]);
            }
            seen |= 1U << from;
            out->axis[k] = src->axis[from];
        }
        return QB_OK;
    }
    case QB_OP_CONV:
    case QB_OP_AVGPOOL:
    case QB_OP_PAD: return check_axes(node, src, graph_order, err);
    case QB_OP_AFFINE:
        if (node->oc == 1) {
            return QB_OK;
        }
        if (!src->flat) {
            return check_axes(node, src, graph_order, err);
        }
        return is_trivial(src) ? QB_OK : permute_affine(graph, src, node, err);
    case QB_OP_FLATTEN:
        if (src->axis[0] != 0) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node, "the batch is not the first axis of its source");
        }
        if (!src->flat) {
            out->flat = true;
            out->from = graph->nodes[node->src[0]].dst;
        }
        return QB_OK;
    case QB_OP_DENSE:
        *out = (struct order){.axis = {0, 1, 2, 3}, .flat = true, .from = node->dst};
        return is_trivial(src) ? QB_OK : permute_dense(graph, src, node, err);
    case QB_OP_MUL:
    case QB_OP_ADD: {
        struct qb_node *const second = &graph->nodes[node->src[1]];
        if (second->op == QB_OP_CONSTANT) {
            return second->oc == 1   ? QB_OK
                   : !src->flat      ? check_axes(node, src, graph_order, err)
                   : is_trivial(src) ? QB_OK
                                     : permute_codes(graph, src, second, 1, err);
        }
        const struct order *const other = &orders[node->src[1]];
        if (!same_order(src, other)) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node, "its sources have different orders of axes");
        }
        return QB_OK;
    }
    default: return QB_OK;
    }
}

enum qb_status qb_pass_layout(struct qb_graph *graph, struct qb_error *err)
{
    QB_TRY(qb_pass_shapes(graph, err));
    struct order *orders;
    int *alias;
    QB_ALLOC(orders, graph, (size_t)graph->count, err);
    QB_ALLOC(alias, graph, (size_t)graph->count, err);
    const struct order *graph_order = NULL;
    for (int i = 0; i < graph->count; i++) {
        struct qb_node *const node = &graph->nodes[i];
        if (qb_op_sources(node->op) == 0) {
            orders[i] = nhwc;
        } else {
            QB_TRY(step(graph, node, orders, &graph_order, &orders[i], err));
        }
        alias[i] = node->op == QB_OP_TRANSPOSE ? node->src[0] : i;
    }
    if (!is_trivial(&orders[graph->count - 1])) {
        return qb_fail_node(err, QB_EUNSUPPORTED, &graph->nodes[graph->count - 1],
                            "the output lists an image in another order than N,H,W,C");
    }
    return qb_graph_compact(graph, alias, err);
}
