/* The reference engine: plain C, one multiplication after the other. Its int8 half defines the meaning of
 * struct qb_qgraph to the bit; its f32 half runs the float graph as PyTorch does, which makes
 * calibration PyTorch's. */
#ifndef QB_ENGINE_REFERENCE_REFERENCE_H
#define QB_ENGINE_REFERENCE_REFERENCE_H

#include "engine/engine.h"

extern const struct qb_engine_ops qb_reference_ops;

enum qb_status qb_reference_create_f32(const struct qb_graph *graph, const struct qb_engine_options *options,
                                       struct qb_engine **out, struct qb_error *err);
enum qb_status qb_reference_create_int8(const struct qb_qgraph *graph,
                                        const struct qb_engine_options *options, struct qb_engine **out,
                                        struct qb_error *err);

#endif
