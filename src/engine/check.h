/* Is a graph fit to be executed? Run by qb_engine_create, so that no engine need check indices, shapes or
 * numbers again: every source precedes its reader, shapes follow from sources and geometry, weights are there
 * and finite, scales are usable, and no int32 accumulator can overflow. The error names the node. */
#ifndef QB_ENGINE_CHECK_H
#define QB_ENGINE_CHECK_H

#include "model/graph.h"
#include "quant/qgraph.h"

enum qb_status qb_check_graph(const struct qb_graph *graph, struct qb_error *err);
enum qb_status qb_check_qgraph(const struct qb_qgraph *graph, struct qb_error *err);

#endif
