/* Building and rewriting graphs: what importers and passes share. */
#ifndef QB_MODEL_GRAPH_BUILD_H
#define QB_MODEL_GRAPH_BUILD_H

#include "base/file.h"
#include "model/graph.h"

/* Bounds that keep a hostile file from costing memory or time without end; a ResNet has some hundred nodes,
 * its images some hundred pixels a side. */
enum {
    QB_MODEL_MAX_BYTES = 64 << 20, /* of a model file */
    QB_MODEL_MAX_NODES = 4096,
    QB_MODEL_MAX_DIM = 1 << 16,   /* height, width, channels, kernel, stride, padding */
    QB_MODEL_MAX_COUNT = 1 << 26, /* elements of one tensor */
};

/* An empty graph with path, SHA-256 and size of its file. Free with qb_graph_free. */
enum qb_status qb_graph_create(const char *path, const struct qb_blob *file, struct qb_graph **out,
                               struct qb_error *err);
/* `count` zeroed elements from the graph's arena; NULL with err set when memory is out. */
void *qb_graph_array(struct qb_graph *graph, size_t count, size_t size, struct qb_error *err);
/* `pointer` = count zeroed elements, or returns from the calling function. */
#define QB_ALLOC(pointer, graph, count, err)                                                                 \
    do {                                                                                                     \
        (pointer) = qb_graph_array((graph), (count), sizeof *(pointer), (err));                              \
        if (!(pointer)) {                                                                                    \
            return QB_ENOMEM;                                                                                \
        }                                                                                                    \
    } while (0)
/* Appends a copy of `node`; *index (may be NULL) is its place. A NULL name becomes source_name; sources that
 * the operator does not have become -1. */
enum qb_status qb_graph_add(struct qb_graph *graph, const struct qb_node *node, int *index,
                            struct qb_error *err);

/* Removes nodes: alias[i] is i to keep node i, or the smaller index of the node that its readers read
 * instead. What comes after the output (the last node, or what it became) is dropped. */
enum qb_status qb_graph_compact(struct qb_graph *graph, const int *alias, struct qb_error *err);

/* "node 'NAME' (TYPE): " and the text; returns status. */
enum qb_status qb_fail_node(struct qb_error *err, enum qb_status status, const struct qb_node *node,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
