/* Time by layer: see profile.h. */
#include "measure/profile.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "measure/stats.h"

enum { LEAST_ROUNDS = 20, MOST_ROUNDS = 4000, PLAIN_RUNS = 8 };

/* What the steps of one run are written to. */
struct watch {
    uint64_t last, overhead; /* ns */
    double *times;           /* [nodes], ns of this run; NAN: not called */
};

static void on_step(void *ctx, int node)
{
    struct watch *const w = ctx;
    const uint64_t now = qb_now_ns(), passed = now - w->last;
    const double spent = passed > w->overhead ? (double)(passed - w->overhead) : 0;
    w->times[node] = isnan(w->times[node]) ? spent : w->times[node] + spent;
    w->last = qb_now_ns(); /* the bookkeeping above belongs to nobody */
}

/* The least that two readings lie apart. */
static uint64_t clock_overhead(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 1000; i++) {
        const uint64_t begin = qb_now_ns(), passed = qb_now_ns() - begin;
        least = passed < least ? passed : least;
    }
    return least;
}

/* Samples of one engine: [nodes + 1][MOST_ROUNDS], the last series for whole runs. */
struct series {
    double *samples;
    double *times; /* [nodes] */
    float *logits;
};

static enum qb_status run_once(struct qb_engine *engine, const uint8_t *image, float *logits,
                               struct qb_error *err)
{
    return qb_engine_run(engine, image, 1, logits, err);
}

static enum qb_status take_round(struct qb_engine *engine, int nodes, const uint8_t *image, size_t round,
                                 uint64_t overhead, struct series *s, struct qb_error *err)
{
    QB_TRY(run_once(engine, image, s->logits, err));
    const uint64_t begin = qb_now_ns();
    for (int i = 0; i < PLAIN_RUNS; i++) {
        QB_TRY(run_once(engine, image, s->logits, err));
    }
    s->samples[(size_t)nodes * MOST_ROUNDS + round] = (double)(qb_now_ns() - begin) / PLAIN_RUNS / 1e3;
    for (int i = 0; i < nodes; i++) {
        s->times[i] = NAN;
    }
    struct watch watch = {.overhead = overhead, .times = s->times};
    engine->step_ctx = &watch;
    engine->step = on_step;
    watch.last = qb_now_ns();
    const enum qb_status status = run_once(engine, image, s->logits, err);
    engine->step = NULL;
    engine->step_ctx = NULL;
    for (int i = 0; i < nodes; i++) {
        s->samples[(size_t)i * MOST_ROUNDS + round] = s->times[i] / 1e3;
    }
    return status;
}

static struct qb_profile_time summarize(double *samples, size_t count)
{
    if (isnan(samples[0])) {
        return (struct qb_profile_time){NAN, NAN};
    }
    qb_sort_doubles(samples, count);
    return (struct qb_profile_time){samples[0], qb_percentile_sorted(samples, count, 50)};
}

static void series_free(struct series *series, size_t count)
{
    for (size_t e = 0; series && e < count; e++) {
        free(series[e].samples);
        free(series[e].times);
        free(series[e].logits);
    }
    free(series);
}

static struct series *series_create(struct qb_engine *const *engines, size_t count, int nodes)
{
    struct series *const series = calloc(count, sizeof *series);
    for (size_t e = 0; series && e < count; e++) {
        struct series *const s = &series[e];
        s->samples = calloc((size_t)(nodes + 1) * MOST_ROUNDS, sizeof *s->samples);
        s->times = calloc((size_t)nodes, sizeof *s->times);
        s->logits = calloc((size_t)engines[e]->classes, sizeof *s->logits);
        if (!s->samples || !s->times || !s->logits) {
            series_free(series, count);
            return NULL;
        }
    }
    return series;
}

enum qb_status qb_profile_measure(struct qb_engine *const *engines, size_t count, int nodes,
                                  const uint8_t *image, double seconds, const struct qb_progress *progress,
                                  struct qb_profile *out, struct qb_error *err)
{
    struct series *const series = series_create(engines, count, nodes);
    if (!series) {
        return qb_fail_memory(err, count * (size_t)(nodes + 1) * MOST_ROUNDS * sizeof(double));
    }
    const uint64_t overhead = clock_overhead(), begin = qb_now_ns();
    enum qb_status status = QB_OK;
    size_t rounds = 0;
    for (double passed = 0;
         status == QB_OK && rounds < MOST_ROUNDS && (rounds < LEAST_ROUNDS || passed < seconds); rounds++) {
        for (size_t e = 0; status == QB_OK && e < count; e++) {
            status = take_round(engines[e], nodes, image, rounds, overhead, &series[e], err);
        }
        if (status == QB_OK && qb_interrupted()) {
            status = qb_fail(err, QB_EINTERRUPTED, "interrupted");
        }
        passed = (double)(qb_now_ns() - begin) / 1e9;
        qb_progress_report(progress, "profile", (uint64_t)(fmin(passed, seconds) * 1e3),
                           (uint64_t)(seconds * 1e3));
    }
    for (size_t e = 0; status == QB_OK && e < count; e++) {
        out[e] =
            (struct qb_profile){.layers = calloc((size_t)nodes, sizeof *out[e].layers), .rounds = rounds};
        if (!out[e].layers) {
            status = qb_fail_memory(err, (size_t)nodes * sizeof *out[e].layers);
        }
        for (int i = 0; status == QB_OK && i < nodes; i++) {
            out[e].layers[i] = summarize(series[e].samples + (size_t)i * MOST_ROUNDS, rounds);
        }
        if (status == QB_OK) {
            out[e].whole = summarize(series[e].samples + (size_t)nodes * MOST_ROUNDS, rounds);
        }
    }
    for (size_t e = 0; status != QB_OK && e < count; e++) {
        qb_profile_free(&out[e]);
    }
    series_free(series, count);
    return status;
}

void qb_profile_free(struct qb_profile *profile)
{
    free(profile->layers);
    *profile = (struct qb_profile){0};
}
