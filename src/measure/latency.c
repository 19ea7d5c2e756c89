/* Latency of several engines, interleaved: see latency.h. Protocol: docs/measuring.md. */
#include "measure/latency.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/rng.h"

enum { MIN_ROUNDS = 6 }; /* below that the sign test has no 95 % interval */

/* One place in the rounds: a candidate, or the control (candidate 0 once more). */
struct slot {
    const struct qb_candidate *candidate;
    size_t runs;      /* in one sample */
    double run_ns;    /* best time of one run while calibrating */
    double *us;       /* [capacity] samples */
    size_t disturbed; /* samples */
};

struct session {
    const struct qb_candidate *candidates;
    size_t count; /* candidates */
    struct slot *slots;
    size_t slot_count; /* count, plus one with a control */
    double *samples;   /* [slot_count][capacity] */
    double *sorted;    /* [capacity], scratch */
    float *logits;     /* of the largest run */
    int64_t *order;    /* [slot_count], the block's shuffled order */
    unsigned rounds, capacity;
};

static void session_free(struct session *s)
{
    free(s->slots);
    free(s->samples);
    free(s->sorted);
    free(s->logits);
    free(s->order);
}

static bool positive(double value)
{
    return isfinite(value) && value > 0;
}

static enum qb_status check(const struct qb_candidate *candidates, size_t count,
                            const struct qb_latency_options *options, struct qb_error *err)
{
    if (count == 0) {
        return qb_fail(err, QB_EINPUT, "latency: there is no candidate to time");
    }
    if (options->rounds < MIN_ROUNDS) {
        return qb_fail(err, QB_EINPUT, "latency: %u rounds; at least %d are needed for a 95 %% interval",
                       options->rounds, MIN_ROUNDS);
    }
    if (!positive(options->epoch_ms) || !positive(options->seconds)) {
        return qb_fail(err, QB_EINPUT, "latency: epoch_ms %g and seconds %g must both be above 0",
                       options->epoch_ms, options->seconds);
    }
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].batch < 1 || candidates[i].batch > candidates[i].engine->batch) {
            return qb_fail(err, QB_EINPUT,
                           "latency: candidate %zu (%s) has batch %d; its engine takes 1 to %d", i,
                           candidates[i].engine->ops->name, candidates[i].batch, candidates[i].engine->batch);
        }
    }
    return QB_OK;
}

/* Least multiple of `block` that is >= rounds. */
static size_t whole_blocks(size_t rounds, size_t block)
{
    return (rounds + block - 1) / block * block;
}

static enum qb_status session_init(struct session *s, const struct qb_candidate *candidates, size_t count,
                                   const struct qb_latency_options *options, struct qb_error *err)
{
    size_t logits = 0, samples = 0;
    *s = (struct session){.candidates = candidates, .count = count, .slot_count = count + options->control};
    const size_t capacity = whole_blocks(options->rounds, s->slot_count);
    if (capacity > UINT32_MAX || __builtin_mul_overflow(capacity, s->slot_count, &samples)) {
        return qb_fail(err, QB_EINPUT, "latency: %u rounds of %zu candidates are too many", options->rounds,
                       count);
    }
    for (size_t i = 0; i < count; i++) {
        const size_t n = (size_t)candidates[i].batch * (size_t)candidates[i].engine->classes;
        logits = n > logits ? n : logits;
    }
    s->capacity = (unsigned)capacity;
    s->slots = calloc(s->slot_count, sizeof *s->slots);
    s->samples = calloc(samples, sizeof *s->samples);
    s->sorted = calloc(capacity, sizeof *s->sorted);
    s->logits = calloc(logits, sizeof *s->logits);
    s->order = calloc(s->slot_count, sizeof *s->order);
    if (!s->slots || !s->samples || !s->sorted || !s->logits || !s->order) {
        return qb_fail_memory(err, samples * sizeof *s->samples);
    }
    for (size_t i = 0; i < s->slot_count; i++) {
        s->slots[i].candidate = &candidates[i < count ? i : 0];
        s->slots[i].us = s->samples + i * capacity;
        s->order[i] = (int64_t)i;
    }
    return QB_OK;
}

/* Runs a candidate `runs` times; *ns is the time of all of them, at least 1. */
static enum qb_status time_runs(const struct session *s, const struct qb_candidate *candidate, size_t runs,
                                uint64_t *ns, struct qb_error *err)
{
    struct qb_engine *const engine = candidate->engine;
    enum qb_status status = QB_OK;
    const uint64_t start = qb_now_ns();
    for (size_t i = 0; i < runs && status == QB_OK; i++) {
        status = qb_engine_run(engine, candidate->images, candidate->batch, s->logits, err);
    }
    const uint64_t elapsed = qb_now_ns() - start;
    *ns = elapsed > 0 ? elapsed : 1;
    return status == QB_OK ? QB_OK
                           : qb_fail_prefix(err, "latency: candidate %zu (%s)",
                                            (size_t)(candidate - s->candidates), engine->ops->name);
}

static enum qb_status fail_interrupted(const struct session *s, struct qb_error *err)
{
    return qb_fail(err, QB_EINTERRUPTED, "interrupted after %u rounds of timing", s->rounds);
}

/* Best time of one run: the number of runs is doubled until they take half an epoch, then repeated until
 * three epochs have gone by. A run that takes longer than that is timed once. The first run (page faults,
 * caches) does not count. */
static enum qb_status calibrate_slot(const struct session *s, struct slot *slot, double epoch_ns,
                                     struct qb_error *err)
{
    uint64_t ns;
    double total = 0, best = INFINITY;
    QB_TRY(time_runs(s, slot->candidate, 1, &ns, err));
    for (size_t runs = 1; total < 3 * epoch_ns;) {
        if (qb_interrupted()) {
            return fail_interrupted(s, err);
        }
        QB_TRY(time_runs(s, slot->candidate, runs, &ns, err));
        total += (double)ns;
        best = fmin(best, (double)ns / (double)runs);
        runs *= (double)ns < epoch_ns / 2 ? 2 : 1;
    }
    slot->run_ns = best;
    return QB_OK;
}

/* One number of runs for all slots of a batch size: different ones would bias their ratios (by 1.2 % in the
 * test of nanobench's authors). */
static enum qb_status calibrate(struct session *s, double epoch_ms, const struct qb_progress *progress,
                                struct qb_error *err)
{
    const double epoch_ns = epoch_ms * 1e6;
    for (size_t i = 0; i < s->count; i++) {
        QB_TRY(calibrate_slot(s, &s->slots[i], epoch_ns, err));
        qb_progress_report(progress, "calibrating epochs", i + 1, s->count);
    }
    for (size_t i = s->count; i < s->slot_count; i++) {
        s->slots[i].run_ns = s->slots[0].run_ns;
    }
    for (size_t i = 0; i < s->slot_count; i++) {
        double fastest = INFINITY;
        for (size_t j = 0; j < s->count; j++) {
            if (s->slots[j].candidate->batch == s->slots[i].candidate->batch) {
                fastest = fmin(fastest, s->slots[j].run_ns);
            }
        }
        s->slots[i].runs = (size_t)fmax(1, ceil(epoch_ns / fastest));
    }
    return QB_OK;
}

static long involuntary_switches(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

static enum qb_status take_sample(struct session *s, struct slot *slot, struct qb_error *err)
{
    uint64_t ns;
    QB_TRY(
        time_runs(s, slot->candidate, 1, &ns, err)); /* brings this candidate's data back into the caches */
    const long switches = involuntary_switches();
    const int cpu = sched_getcpu();
    QB_TRY(time_runs(s, slot->candidate, slot->runs, &ns, err));
    slot->disturbed += cpu != sched_getcpu() || switches != involuntary_switches();
    slot->us[s->rounds] = (double)ns / 1e3 / (double)slot->runs / slot->candidate->batch;
    return QB_OK;
}

/* How many rounds the next block may have; 0: stop. A whole block, or what the capacity leaves of it, when it
 * fits into the time that is left (ns), else no more than are needed to reach the least number. */
static size_t next_block(const struct session *s, double round_ns, double left_ns)
{
    const size_t slots = s->slot_count, room = s->capacity - s->rounds, block = slots < room ? slots : room;
    const size_t least = slots < MIN_ROUNDS ? whole_blocks(MIN_ROUNDS, slots) : MIN_ROUNDS;
    const double fitting = floor(left_ns / round_ns);
    if (fitting >= (double)block) { /* 0 when the capacity is used up */
        return block;
    }
    if (s->rounds >= least) {
        return 0;
    }
    const double wanted = fmax((double)(least - s->rounds), fitting);
    return wanted < (double)block ? (size_t)wanted : block;
}

static enum qb_status run_rounds(struct session *s, const struct qb_latency_options *options, uint64_t start,
                                 const struct qb_progress *progress, struct qb_error *err)
{
    struct qb_rng rng;
    qb_rng_seed(&rng, options->seed);
    double round_ns = 0;
    for (size_t i = 0; i < s->slot_count; i++) {
        round_ns += (double)(s->slots[i].runs + 1) * s->slots[i].run_ns;
    }
    const uint64_t begin = qb_now_ns();
    for (;;) {
        const size_t block = next_block(s, round_ns, options->seconds * 1e9 - (double)(qb_now_ns() - start));
        if (block == 0) {
            return QB_OK;
        }
        qb_rng_shuffle(&rng, s->order, s->slot_count);
        for (size_t round = 0; round < block; round++) {
            for (size_t position = 0; position < s->slot_count; position++) {
                if (qb_interrupted()) {
                    return fail_interrupted(s, err);
                }
                QB_TRY(take_sample(s, &s->slots[s->order[(round + position) % s->slot_count]], err));
            }
            s->rounds++;
            qb_progress_report(progress, "timing rounds", s->rounds, s->capacity);
        }
        round_ns = (double)(qb_now_ns() - begin) / s->rounds;
    }
}

static struct qb_latency describe(const struct session *s, const struct slot *slot)
{
    const size_t n = s->rounds;
    double *const sorted = s->sorted;
    memcpy(sorted, slot->us, n * sizeof *sorted);
    qb_sort_doubles(sorted, n);
    const struct qb_interval interval = qb_bootstrap_median95(sorted, n);
    return (struct qb_latency){
        .samples = n,
        .runs = slot->runs,
        .min = sorted[0],
        .p10 = qb_percentile_sorted(sorted, n, 10),
        .median = qb_percentile_sorted(sorted, n, 50),
        .p90 = qb_percentile_sorted(sorted, n, 90),
        .p99 = qb_percentile_sorted(sorted, n, 99),
        .median_low = interval.low,
        .median_high = interval.high,
        .disturbed = (double)slot->disturbed / (double)n,
    };
}

static struct qb_ratio compare(const struct session *s, const struct slot *first, const struct slot *slot)
{
    const size_t n = s->rounds;
    for (size_t i = 0; i < n; i++) {
        s->sorted[i] = log(first->us[i] / slot->us[i]);
    }
    qb_sort_doubles(s->sorted, n);
    const struct qb_interval interval = qb_sign_median95(s->sorted, n);
    return (struct qb_ratio){exp(qb_percentile_sorted(s->sorted, n, 50)), exp(interval.low),
                             exp(interval.high)};
}

static const struct slot *first_of_batch(const struct session *s, int batch)
{
    const struct slot *slot = s->slots;
    while (slot->candidate->batch != batch) {
        slot++;
    }
    return slot;
}

static enum qb_status summarize(const struct session *s, struct qb_latency_result *out, struct qb_error *err)
{
    struct qb_latency_result result = {.rounds = s->rounds};
    result.rows = calloc(s->count, sizeof *result.rows);
    result.ratios = calloc(s->count, sizeof *result.ratios);
    if (!result.rows || !result.ratios) {
        qb_latency_result_free(&result);
        return qb_fail_memory(err, s->count * (sizeof *result.rows + sizeof *result.ratios));
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct slot *const slot = &s->slots[i];
        result.rows[i] = describe(s, slot);
        result.ratios[i] = compare(s, first_of_batch(s, slot->candidate->batch), slot);
    }
    if (s->slot_count > s->count) {
        const struct qb_ratio control = compare(s, &s->slots[0], &s->slots[s->count]);
        result.noise_floor = fabs(control.median - 1) + (control.high - control.low) / 2;
        result.control_ok = control.low <= 1 && control.high >= 1;
    }
    *out = result;
    return QB_OK;
}

enum qb_status qb_latency_measure(const struct qb_candidate *candidates, size_t count,
                                  const struct qb_latency_options *options,
                                  const struct qb_progress *progress, struct qb_latency_result *out,
                                  struct qb_error *err)
{
    const uint64_t start = qb_now_ns();
    QB_TRY(check(candidates, count, options, err));
    struct session s;
    enum qb_status status = session_init(&s, candidates, count, options, err);
    if (status == QB_OK) {
        status = calibrate(&s, options->epoch_ms, progress, err);
    }
    if (status == QB_OK) {
        status = run_rounds(&s, options, start, progress, err);
    }
    if (status == QB_OK) {
        status = summarize(&s, out, err);
    }
    session_free(&s);
    return status;
}

void qb_latency_result_free(struct qb_latency_result *result)
{
    free(result->rows);
    free(result->ratios);
    memset(result, 0, sizeof *result);
}
