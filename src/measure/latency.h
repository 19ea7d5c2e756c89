/* Latency of several engines, interleaved in one run (docs/measuring.md).
 *
 * Rounds come in blocks of one round a candidate (and control): a cyclic Latin square over a freshly shuffled
 * order, so that every candidate takes every position once a block, with changing neighbours. One sample =
 * one epoch of the same number of runs for all candidates of a batch size (calibrated so that the fastest
 * takes epoch_ms), behind one run that is not timed, divided by runs and images. Samples are tagged, not
 * dropped, when the thread was preempted. */
#ifndef QB_MEASURE_LATENCY_H
#define QB_MEASURE_LATENCY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/progress.h"
#include "engine/engine.h"
#include "measure/stats.h"

struct qb_latency_options {
    unsigned rounds; /* >= 6; raised to whole blocks */
    double epoch_ms; /* > 0 */
    double
        seconds; /* > 0; cap of the whole call: blocks are left out to keep it, but never below the least
                  * number of rounds, which is 6, or the whole blocks that hold 6 when a block is shorter */
    uint32_t seed;
    bool control; /* time candidate 0 twice as an A/A control */
};

struct qb_candidate {
    struct qb_engine *engine;
    int batch;             /* images a run, 1..engine->batch */
    const uint8_t *images; /* at least `batch` of them */
};

/* Microseconds an image. */
struct qb_latency {
    size_t samples;
    size_t runs; /* timed runs in one sample */
    double min, p10, median, p90, p99;
    double median_low, median_high; /* qb_bootstrap_median95 */
    double disturbed; /* share of samples with an involuntary context switch or a changed CPU of the calling
                         thread */
};

/* How many times faster a candidate is than the first candidate of its batch size (candidate 0, where all
 * have the same): the median over rounds of time(first) / time(this), each pair of one round, and
 * qb_sign_median95 of it (on logarithms). Exactly 1, 1, 1 for the first itself. */
struct qb_ratio {
    double median, low, high;
};

struct qb_latency_result {
    struct qb_latency *rows; /* [count] in the order of the candidates */
    struct qb_ratio *ratios; /* [count] */
    double
        noise_floor; /* |median of the A/A ratio - 1| plus its interval's half width; 0 when no control ran */
    bool control_ok; /* the A/A interval contains 1; false when no control ran */
    unsigned rounds; /* done */
};

/* Runs on the calling thread, which the caller has bound (qb_bind_thread). QB_EINTERRUPTED on Ctrl-C. Free
 * the result with qb_latency_result_free. */
enum qb_status qb_latency_measure(const struct qb_candidate *candidates, size_t count,
                                  const struct qb_latency_options *options,
                                  const struct qb_progress *progress, struct qb_latency_result *out,
                                  struct qb_error *err);
void qb_latency_result_free(struct qb_latency_result *result);

#endif
