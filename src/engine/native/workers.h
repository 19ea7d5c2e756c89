/* The threads of one engine. A worker waits spinning for the next job for a moment (a hand-off takes about
 * 0.1 us), then sleeps, so that an idle engine disturbs nobody. The calling thread is worker 0.
 *
 * Workers other than the caller are bound to cores of their own, the caller is not: a run that begins on the
 * CPU of another worker moves it aside and leaves its affinity as it was. Where there are fewer cores than
 * threads, or the system refuses, nothing is bound. */
#ifndef QB_ENGINE_NATIVE_WORKERS_H
#define QB_ENGINE_NATIVE_WORKERS_H

#include <stdbool.h>

#include "base/status.h"

/* A job: every worker calls it once, all at the same time. */
typedef void qb_workers_fn(void *ctx, int worker);

struct qb_workers;

/* threads >= 1, the caller included. */
enum qb_status qb_workers_create(int threads, struct qb_workers **out, struct qb_error *err);
bool qb_workers_bound(const struct qb_workers *workers);
/* Returns when all workers have done their share. One call at a time. */
void qb_workers_run(struct qb_workers *workers, qb_workers_fn *fn, void *ctx);
/* Inside a job: returns when every worker has called it as often as this one. What they wrote before is
 * there. */
void qb_workers_meet(struct qb_workers *workers, int worker);
/* Accepts NULL. */
void qb_workers_free(struct qb_workers *workers);

#endif
