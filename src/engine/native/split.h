/* One image on several threads: each step of a plan in parts, one a worker. A part is a range of the rows of
 * its tensor, or of the blocks of its channels where it has few rows, made at load as a kernel call of its
 * own. Steps that are too small stay whole and belong to worker 0. All workers compute in one workspace, each
 * with scratch memory of its own, and meet between steps. */
#ifndef QB_ENGINE_NATIVE_SPLIT_H
#define QB_ENGINE_NATIVE_SPLIT_H

#include "engine/native/plan.h"

struct qb_native_split {
    int threads;
    int divided;                  /* steps in parts */
    struct qb_native_step *parts; /* [plan->count][threads]; run is NULL where a worker has nothing to do */
    bool *meet;                   /* [plan->count]: before the step, the one before is done everywhere */
    bool meet_logits;             /* the same of the logits */
};

/* May enlarge the plan's scratch memory. Memory from `arena`. */
enum qb_status qb_native_split_make(struct qb_native_plan *plan, int threads, struct qb_arena *arena,
                                    struct qb_native_split *out, struct qb_error *err);

#endif
