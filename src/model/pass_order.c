/* qb_pass_order: execution order and canonical names. */
#include <stdio.h>

#include "model/graph_build.h"
#include "model/passes.h"

static bool is_qdq(const struct qb_node *node)
{
    return node->op == QB_OP_QUANTIZE || node->op == QB_OP_DEQUANTIZE;
}

/* Nodes on the longest way from the input to each node, Q/DQ not counted: a branch is as long in a QDQ file.
 */
static void measure_branches(const struct qb_graph *graph, int *length)
{
    for (int i = 0; i < graph->count; i++) {
        const struct qb_node *const node = &graph->nodes[i];
        int longest = 0;
        for (int k = 0; k < 2; k++) {
            if (node->src[k] >= 0 && length[node->src[k]] > longest) {
                longest = length[node->src[k]];
            }
        }
        length[i] = longest + !is_qdq(node);
    }
}

/* Post-order from the output with an explicit stack. place[old] becomes the new index + 1, 0 where not
 * needed. */
static enum qb_status sort(struct qb_graph *graph, const int *length, struct qb_error *err)
{
    const size_t count = (size_t)graph->count;
    struct qb_node *nodes;
    int *place, *stack;
    QB_ALLOC(nodes, graph, count, err);
    QB_ALLOC(place, graph, count, err);
    QB_ALLOC(stack, graph, count, err);
    for (int i = 0; i < graph->count; i++) {
        struct qb_node *const node = &graph->nodes[i];
        if (node->op == QB_OP_ADD && length[node->src[1]] > length[node->src[0]]) {
            const int longer = node->src[1];
            node->src[1] = node->src[0];
            node->src[0] = longer;
            node->swapped = !node->swapped;
        }
    }
    int depth = 0, placed = 0;
    stack[depth++] = graph->count - 1;
    while (depth > 0) {
        const int i = stack[depth - 1];
        const struct qb_node *const node = &graph->nodes[i];
        int next = -1;
        for (int k = 0; k < 2 && next < 0; k++) {
            if (node->src[k] >= 0 && !place[node->src[k]]) {
                next = node->src[k];
            }
        }
        if (next >= 0) {
            stack[depth++] = next; /* sources have smaller indices: the stack never exceeds the node count */
            continue;
        }
        depth--;
        nodes[placed] = *node;
        for (int k = 0; k < 2; k++) {
            nodes[placed].src[k] = node->src[k] >= 0 ? place[node->src[k]] - 1 : -1;
        }
        place[i] = ++placed;
    }
    graph->nodes = nodes;
    graph->capacity = graph->count;
    graph->count = placed;
    return QB_OK;
}

/* Names of passes.h; a second RELU behind the same node gets ".1" and so on. */
static enum qb_status name_nodes(struct qb_graph *graph, struct qb_error *err)
{
    int seen[QB_OP_COUNT] = {0};
    int *number, *relus;
    QB_ALLOC(number, graph, (size_t)graph->count, err);
    QB_ALLOC(relus, graph, (size_t)graph->count, err);
    for (int i = 0; i < graph->count; i++) {
        struct qb_node *const node = &graph->nodes[i];
        number[i] = seen[node->op]++;
        char base[32], running[16] = "", copy[16] = "";
        int suffix = number[i];
        snprintf(base, sizeof base, "%s", qb_op_name(node->op));
        if (node->op == QB_OP_RELU) {
            int src = node->src[0];
            while (is_qdq(&graph->nodes[src])) {
                src = graph->nodes[src].src[0];
            }
            if (graph->nodes[src].op != QB_OP_CONV) {
                snprintf(base, sizeof base, "relu_%s", qb_op_name(graph->nodes[src].op));
            }
            suffix = number[src];
            if (relus[src]++) {
                snprintf(copy, sizeof copy, ".%d", relus[src] - 1);
            }
        }
        if (suffix) {
            snprintf(running, sizeof running, "_%d", suffix);
        }
        node->name = qb_arena_printf(graph->arena, "%s%s%s", base, running, copy);
        if (!node->name) {
            return qb_fail_memory(err, sizeof base);
        }
    }
    return QB_OK;
}

enum qb_status qb_pass_order(struct qb_graph *graph, struct qb_error *err)
{
    int *length;
    QB_ALLOC(length, graph, (size_t)graph->count, err);
    measure_branches(graph, length);
    QB_TRY(sort(graph, length, err));
    return name_nodes(graph, err);
}
