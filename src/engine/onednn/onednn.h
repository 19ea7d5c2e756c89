/* The oneDNN engines: "onednn" (float graphs; integer graphs with exact accumulators and the graph's own
 * arithmetic) and "onednn_fused" (integer graphs, everything inside oneDNN's primitives). */
#ifndef QB_ENGINE_ONEDNN_ONEDNN_H
#define QB_ENGINE_ONEDNN_ONEDNN_H

#include "engine/engine.h"

extern const struct qb_engine_ops qb_onednn_ops, qb_onednn_fused_ops;

/* "3.2.0 (40112196, omp)": version, hash and CPU run time of the library that is loaded; static storage. Does
 * not fix the ISA cap of the process. */
const char *qb_onednn_version(void);

#endif
