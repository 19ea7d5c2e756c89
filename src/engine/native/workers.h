/* Worker threads of one engine: they wait spinning for the next job for a moment (a hand-off takes about 0.1
 * us), then sleep, so that an idle engine disturbs nobody. The calling thread works too. */
#ifndef QB_ENGINE_NATIVE_WORKERS_H
#define QB_ENGINE_NATIVE_WORKERS_H

#include "base/status.h"

/* Item `index` of a job, on worker `worker` (0 is the caller). */
typedef void qb_workers_fn(void *ctx, int worker, int index);

struct qb_workers;

/* threads >= 1, the caller included. */
enum qb_status qb_workers_create(int threads, struct qb_workers **out, struct qb_error *err);
/* Returns when items 0 .. count - 1 are done. One call at a time. */
void qb_workers_run(struct qb_workers *workers, qb_workers_fn *fn, void *ctx, int count);
/* Accepts NULL. */
void qb_workers_free(struct qb_workers *workers);

#endif
