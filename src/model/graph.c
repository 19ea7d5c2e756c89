/* Graphs: life, lookup, counts, and the editing that importers and passes share (graph_build.h). */
#include "model/graph.h"

#include <stdarg.h>
#include <string.h>

#include "model/graph_build.h"

const char *qb_op_name(enum qb_op op)
{
    static const char *const names[QB_OP_COUNT] = {
        [QB_OP_INPUT] = "input",     [QB_OP_CONV] = "conv",         [QB_OP_DENSE] = "dense",
        [QB_OP_ADD] = "add",         [QB_OP_RELU] = "relu",         [QB_OP_AVGPOOL] = "avgpool",
        [QB_OP_SOFTMAX] = "softmax", [QB_OP_QUANTIZE] = "quantize", [QB_OP_DEQUANTIZE] = "dequantize",
        [QB_OP_MUL] = "mul",         [QB_OP_CONSTANT] = "constant", [QB_OP_TRANSPOSE] = "transpose",
        [QB_OP_AFFINE] = "affine",   [QB_OP_PAD] = "pad",           [QB_OP_FLATTEN] = "flatten",
    };
    return names[op];
}

int qb_op_sources(enum qb_op op)
{
    switch (op) {
    case QB_OP_INPUT:
    case QB_OP_CONSTANT: return 0;
    case QB_OP_ADD:
    case QB_OP_MUL: return 2;
    default: return 1;
    }
}

enum qb_status qb_graph_create(const char *path, const struct qb_blob *file, struct qb_graph **out,
                               struct qb_error *err)
{
    struct qb_arena *const arena = qb_arena_create();
    struct qb_graph *const graph = arena ? qb_arena_array(arena, 1, sizeof *graph) : NULL;
    char *const copy = graph ? qb_arena_strdup(arena, path) : NULL;
    if (!copy) {
        qb_arena_destroy(arena);
        return qb_fail_memory(err, sizeof *graph);
    }
    graph->arena = arena;
    graph->path = copy;
    graph->file_size = file->size;
    qb_sha256(file->data, file->size, graph->sha256);
    *out = graph;
    return QB_OK;
}

void qb_graph_free(struct qb_graph *graph)
{
    if (graph) {
        qb_arena_destroy(graph->arena); /* the graph itself lives there */
    }
}

void *qb_graph_array(struct qb_graph *graph, size_t count, size_t size, struct qb_error *err)
{
    void *const memory = qb_arena_array(graph->arena, count, size);
    if (!memory) {
        qb_fail_memory(err, count * size);
    }
    return memory;
}

enum qb_status qb_graph_add(struct qb_graph *graph, const struct qb_node *node, int *index,
                            struct qb_error *err)
{
    if (graph->count >= QB_MODEL_MAX_NODES) {
        return qb_fail(err, QB_EUNSUPPORTED, "the model has more than %d nodes", QB_MODEL_MAX_NODES);
    }
    if (graph->count == graph->capacity) {
        const int capacity = graph->capacity ? 2 * graph->capacity : 64;
        struct qb_node *nodes;
        QB_ALLOC(nodes, graph, (size_t)capacity, err);
        if (graph->count) {
            memcpy(nodes, graph->nodes, (size_t)graph->count * sizeof *nodes);
        }
        graph->nodes = nodes;
        graph->capacity = capacity;
    }
    struct qb_node *const added = &graph->nodes[graph->count];
    *added = *node;
    for (int k = qb_op_sources(node->op); k < 2; k++) {
        added->src[k] = -1;
    }
    if (!added->name) {
        added->name = node->source_name;
    }
    if (node->op == QB_OP_QUANTIZE || node->op == QB_OP_DEQUANTIZE || node->codes) {
        graph->quantized = true;
    }
    if (index) {
        *index = graph->count;
    }
    graph->count++;
    return QB_OK;
}

enum qb_status qb_graph_compact(struct qb_graph *graph, const int *alias, struct qb_error *err)
{
    struct qb_node *nodes;
    int *place;
    QB_ALLOC(nodes, graph, (size_t)graph->count, err);
    QB_ALLOC(place, graph, (size_t)graph->count, err);
    int kept = 0;
    for (int i = 0; i < graph->count; i++) {
        if (alias[i] != i) { /* aliases point backwards, so the target is resolved already */
            place[i] = place[alias[i]];
            continue;
        }
        place[i] = kept;
        nodes[kept] = graph->nodes[i];
        for (int k = 0; k < 2; k++) {
            if (nodes[kept].src[k] >= 0) {
                nodes[kept].src[k] = place[nodes[kept].src[k]];
            }
        }
        kept++;
    }
    const int output = place[graph->count - 1];
    graph->nodes = nodes;
    graph->capacity = graph->count;
    graph->count = output + 1;
    return QB_OK;
}

enum qb_status qb_fail_node(struct qb_error *err, enum qb_status status, const struct qb_node *node,
                            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    qb_vfail(err, status, format, args);
    va_end(args);
    return qb_fail_prefix(err, "node '%.200s' (%.60s)", node->source_name ? node->source_name : node->name,
                          node->source_type ? node->source_type : qb_op_name(node->op));
}

int qb_graph_logits(const struct qb_graph *graph)
{
    const struct qb_node *const last = &graph->nodes[graph->count - 1];
    return last->op == QB_OP_SOFTMAX ? last->src[0] : graph->count - 1;
}

int qb_graph_find(const struct qb_graph *graph, const char *name)
{
    for (int i = 0; i < graph->count; i++) {
        if (strcmp(graph->nodes[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *qb_graph_metadata(const struct qb_graph *graph, const char *key)
{
    for (int i = 0; i < graph->metadata_count; i++) {
        if (strcmp(graph->metadata[i].key, key) == 0) {
            return graph->metadata[i].value;
        }
    }
    return NULL;
}

static size_t weight_count(const struct qb_node *node)
{
    switch (node->op) {
    case QB_OP_CONV: return (size_t)node->oc * (size_t)node->ic * (size_t)node->kh * (size_t)node->kw;
    case QB_OP_DENSE: return (size_t)node->oc * (size_t)node->ic;
    default: return 0;
    }
}

size_t qb_node_params(const struct qb_node *node)
{
    return weight_count(node) + (weight_count(node) ? (size_t)node->oc : 0);
}

uint64_t qb_node_macs(const struct qb_graph *graph, int node)
{
    const struct qb_node *const n = &graph->nodes[node];
    return weight_count(n) * (uint64_t)n->dst.h * (uint64_t)n->dst.w;
}
