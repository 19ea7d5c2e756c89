/* Latency of several engines, interleaved in one run (docs/measuring.md).
 *
 * Rounds are blocks of a randomly started cyclic Latin square: every candidate takes every position equally often. One
 * sample = one epoch of the same number of runs for all candidates of a batch size (calibrated so that the fastest takes
 * at least epoch_ms), divided by runs and images. Samples are tagged, not dropped, when the thread was preempted. */
#ifndef QB_MEASURE_LATENCY_H
#define QB_MEASURE_LATENCY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/progress.h"
#include "engine/engine.h"

struct qb_latency_options {
    unsigned rounds;  /* >= 6 */
    double epoch_ms;  /* > 0 */
    double seconds;   /* cap of the whole call; rounds are cut (never below 6) to keep it */
    uint32_t seed;
    bool control;     /* time candidate 0 twice as an A/A control */
};

struct qb_candidate {
    struct qb_engine *engine;
    int batch; /* images a run */
    const uint8_t *images; /* at least `batch` of them */
};

/* Microseconds an image. */
struct qb_latency {
    size_t samples;
    double min, p10, median, p90, p99;
    double median_low, median_high; /* 95 % bootstrap interval of the median */
    double disturbed; /* share of samples with an involuntary context switch or a changed CPU */
};

struct qb_latency_result {
    struct qb_latency *rows; /* [count], malloc'd */
    double **ratio;          /* reserved for paired ratios against candidate 0: ratio[i][0..2] = median, low, high */
    double noise_floor;      /* |median of the A/A ratio - 1| plus its interval's half width; 0 when no control ran */
    bool control_ok;         /* the A/A interval contains 1 */
    unsigned rounds;         /* done */
};

enum qb_status qb_latency_measure(const struct qb_candidate *candidates, size_t count,
                                  const struct qb_latency_options *options, const struct qb_progress *progress,
                                  struct qb_latency_result *out, struct qb_error *err);
void qb_latency_result_free(struct qb_latency_result *result, size_t count);

#endif
