/* Worker threads: see workers.h. A job is announced by a new number. Meetings and ends of jobs are counters,
 * one cache line a worker, written by that worker alone: no read-modify-write, one line to fetch from each
 * of the others. */
#include "engine/native/workers.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cores.h"

/* Looks at a number before a thread gives up its CPU: some tens of microseconds. */
enum { SPINS = 1000, LINE = 64 };

struct worker {
    _Alignas(LINE) atomic_uint met; /* meetings */
    atomic_uint finished;           /* number of its last job */
    struct qb_workers *workers;
    pthread_t thread;
    int number;
};

struct qb_workers {
    atomic_uint job; /* its number */
    atomic_bool stop;
    qb_workers_fn *fn;
    void *ctx;
    int threads; /* the caller included */
    int spins;   /* 0: more threads than CPUs */
    int started; /* workers, the caller included */
    bool bound, may_move;
    _Alignas(LINE) atomic_int asleep;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct worker list[];
};

/* The i-th look at something that another thread will write. */
static void wait_a_bit(const struct qb_workers *w, int i)
{
    if (i < w->spins) {
        __builtin_ia32_pause();
    } else {
        sched_yield();
    }
}

/* Until the job's number is not `seen`. The sleeper counts itself before it looks again, the caller changes
 * the number before it counts sleepers: one of them sees the other. */
static void await_job(struct qb_workers *w, unsigned seen)
{
    for (int i = 0; i < w->spins; i++) {
        if (atomic_load_explicit(&w->job, memory_order_acquire) != seen) {
            return;
        }
        __builtin_ia32_pause();
    }
    pthread_mutex_lock(&w->mutex);
    atomic_fetch_add(&w->asleep, 1);
    while (atomic_load(&w->job) == seen) {
        pthread_cond_wait(&w->wake, &w->mutex);
    }
    atomic_fetch_sub(&w->asleep, 1);
    pthread_mutex_unlock(&w->mutex);
}

static void announce(struct qb_workers *w)
{
    atomic_fetch_add(&w->job, 1);
    if (atomic_load(&w->asleep) > 0) {
        pthread_mutex_lock(&w->mutex);
        pthread_cond_broadcast(&w->wake);
        pthread_mutex_unlock(&w->mutex);
    }
}

static void *worker_main(void *arg)
{
    struct worker *const me = arg;
    struct qb_workers *const w = me->workers;
    for (unsigned seen = 0;; seen++) {
        await_job(w, seen);
        if (atomic_load_explicit(&w->stop, memory_order_acquire)) {
            return NULL;
        }
        w->fn(w->ctx, me->number);
        atomic_store_explicit(&me->finished, seen + 1, memory_order_release);
    }
}

/* Place 0 is left to the caller. */
static void bind(struct qb_workers *w)
{
    w->bound = w->threads > 1 && w->threads <= qb_cores_distinct();
    for (int i = 1; w->bound && i < w->threads; i++) {
        w->bound = qb_cores_bind(w->list[i].thread, i);
    }
    w->may_move = w->bound;
}

enum qb_status qb_workers_create(int threads, struct qb_workers **out, struct qb_error *err)
{
    const size_t bytes = sizeof(struct qb_workers) + (size_t)threads * sizeof(struct worker);
    struct qb_workers *const w = aligned_alloc(LINE, bytes);
    if (!w) {
        return qb_fail_memory(err, bytes);
    }
    memset(w, 0, bytes);
    w->threads = threads;
    w->started = 1;
    w->spins = threads <= qb_cores_count() ? SPINS : 0;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
    for (int i = 1; i < threads; i++) {
        w->list[i].workers = w;
        w->list[i].number = i;
        const int error = pthread_create(&w->list[i].thread, NULL, worker_main, &w->list[i]);
        if (error) {
            qb_workers_free(w);
            return qb_fail(err, QB_EIO,
                           "engine native: thread %d of %d could not be started: %s; ask for fewer threads",
                           i + 1, threads, strerror(error));
        }
        w->started++;
    }
    bind(w);
    *out = w;
    return QB_OK;
}

bool qb_workers_bound(const struct qb_workers *w)
{
    return w->bound;
}

/* The system may have put the caller where a worker is bound. */
static void step_aside(struct qb_workers *w)
{
    const int cpu = sched_getcpu();
    for (int i = 1; w->may_move && i < w->threads; i++) {
        if (qb_cores_cpu(i) == cpu) {
            w->may_move = qb_cores_move(0);
            return;
        }
    }
}

void qb_workers_run(struct qb_workers *w, qb_workers_fn *fn, void *ctx)
{
    if (w->threads == 1) {
        fn(ctx, 0);
        return;
    }
    step_aside(w);
    w->fn = fn;
    w->ctx = ctx;
    announce(w);
    fn(ctx, 0);
    const unsigned job = atomic_load_explicit(&w->job, memory_order_relaxed);
    for (int i = 1; i < w->threads; i++) {
        for (int look = 0; atomic_load_explicit(&w->list[i].finished, memory_order_acquire) != job; look++) {
            wait_a_bit(w, look);
        }
    }
}

void qb_workers_meet(struct qb_workers *w, int worker)
{
    atomic_uint *const mine = &w->list[worker].met;
    const unsigned met = atomic_load_explicit(mine, memory_order_relaxed) + 1;
    atomic_store_explicit(mine, met, memory_order_release);
    for (int i = 0; i < w->threads; i++) {
        const atomic_uint *const theirs = &w->list[i].met;
        /* Another may be one meeting ahead, never more: the difference survives the wrap. */
        for (int look = 0; atomic_load_explicit(theirs, memory_order_acquire) - met > 1; look++) {
            wait_a_bit(w, look);
        }
    }
}

void qb_workers_free(struct qb_workers *w)
{
    if (!w) {
        return;
    }
    atomic_store_explicit(&w->stop, true, memory_order_release);
    announce(w);
    for (int i = 1; i < w->started; i++) {
        pthread_join(w->list[i].thread, NULL);
    }
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}
