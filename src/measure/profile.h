/* Where the time of one image goes: the clock is read after every step of a run (qb_engine.step). Engines
 * take turns within each round; a round of one engine is a run that is not timed, runs without a clock in
 * them, and one with. What reading the clock costs is taken off. */
#ifndef QB_MEASURE_PROFILE_H
#define QB_MEASURE_PROFILE_H

#include <stddef.h>

#include "base/progress.h"
#include "engine/engine.h"

/* Microseconds. */
struct qb_profile_time {
    double least, median;
};

struct qb_profile {
    struct qb_profile_time *layers; /* [nodes]; NAN where the engine has no step of its own for the node */
    struct qb_profile_time whole;   /* a run without a clock in it */
    size_t rounds;                  /* done */
};

/* engines: of one thread, for graphs of `nodes` nodes. Runs on the calling thread, which the caller has
 * bound, for about `seconds`, 20 rounds at least and 4,000 at most. `image` is one image. out: [count]; free
 * each with qb_profile_free. QB_EINTERRUPTED on Ctrl-C. */
enum qb_status qb_profile_measure(struct qb_engine *const *engines, size_t count, int nodes,
                                  const uint8_t *image, double seconds, const struct qb_progress *progress,
                                  struct qb_profile *out, struct qb_error *err);
void qb_profile_free(struct qb_profile *profile);

#endif
