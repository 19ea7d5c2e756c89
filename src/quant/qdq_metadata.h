/* What a QDQ file says about itself beside the network: the qbench.* entries of its metadata (qdq.h lists
 * them). */
#ifndef QB_QUANT_QDQ_METADATA_H
#define QB_QUANT_QDQ_METADATA_H

#include "model/graph.h"
#include "quant/qgraph.h"

enum { QB_QDQ_ENTRIES = 10 };

/* The entries of a graph, *count of them, in their order; strings live in `arena`. */
enum qb_status qb_qdq_metadata_make(const struct qb_qgraph *graph, struct qb_arena *arena,
                                    struct qb_metadata entries[QB_QDQ_ENTRIES], size_t *count,
                                    struct qb_error *err);

/* Scheme, arithmetic and hashes of a file into `out` (strings are copied to its arena), `fallback` and
 * defaults where the file has none. A file of this program must have all entries (qbench.accumulate only when
 * it is not exact, qbench.refinement when there is any), and they must fit qbench.checksum. */
enum qb_status qb_qdq_metadata_read(const struct qb_graph *file, enum qb_arithmetic fallback,
                                    struct qb_qgraph *out, struct qb_error *err);

/* Sets floats[i], [file->count], of the additions that qbench.nodes says are float ones. */
enum qb_status qb_qdq_metadata_floats(const struct qb_graph *file, bool *floats, struct qb_error *err);

/* Gives the nodes of `graph` the order, names and ranges that qbench.nodes of `file` tells, if it has that
 * entry, and checks qbench.qgraph_hash, if it has that. `names[i]`: the name in the file of the operator that
 * node i was made of, NULL for the input. */
enum qb_status qb_qdq_metadata_restore(const struct qb_graph *file, const char *const *names,
                                       struct qb_qgraph *graph, struct qb_error *err);

#endif
