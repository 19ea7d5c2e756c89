/* Worker threads: see workers.h. A job is announced by a new number; workers draw items from one counter. */
#include "engine/native/workers.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>

/* Looks at the number before a thread gives up its CPU: some tens of microseconds. */
enum { SPINS = 1000 };

struct qb_workers {
    int threads; /* the caller included */
    qb_workers_fn *fn;
    void *ctx;
    int count;
    atomic_int next;    /* item */
    atomic_int working; /* workers that have not finished the job */
    atomic_uint job;    /* its number */
    atomic_int asleep;
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int started;
    struct worker {
        struct qb_workers *workers;
        pthread_t thread;
        int number;
    } list[];
};

static void pause_cpu(void)
{
    __builtin_ia32_pause();
}

static void work(struct qb_workers *w, int number)
{
    for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->count;) {
        w->fn(w->ctx, number, i);
    }
}

/* Until the job's number is not `seen`. The sleeper counts itself before it looks again, the caller changes
 * the number before it counts sleepers: one of them sees the other. */
static void await_job(struct qb_workers *w, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&w->job, memory_order_acquire) != seen) {
            return;
        }
        pause_cpu();
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
    const struct worker *const me = arg;
    struct qb_workers *const w = me->workers;
    for (unsigned seen = 0;; seen++) {
        await_job(w, seen);
        if (atomic_load(&w->stop)) {
            return NULL;
        }
        work(w, me->number);
        atomic_fetch_sub(&w->working, 1);
    }
}

enum qb_status qb_workers_create(int threads, struct qb_workers **out, struct qb_error *err)
{
    const size_t bytes = sizeof(struct qb_workers) + (size_t)(threads - 1) * sizeof(struct worker);
    struct qb_workers *const w = calloc(1, bytes);
    if (!w) {
        return qb_fail_memory(err, bytes);
    }
    w->threads = threads;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
    for (int i = 0; i < threads - 1; i++) {
        w->list[i] = (struct worker){.workers = w, .number = i + 1};
        const int error = pthread_create(&w->list[i].thread, NULL, worker_main, &w->list[i]);
        if (error) {
            qb_workers_free(w);
            return qb_fail(err, QB_EIO,
                           "engine native: thread %d of %d could not be started: %s; ask for fewer threads",
                           i + 2, threads, strerror(error));
        }
        w->started++;
    }
    *out = w;
    return QB_OK;
}

void qb_workers_run(struct qb_workers *w, qb_workers_fn *fn, void *ctx, int count)
{
    if (count == 1 || w->started == 0) {
        for (int i = 0; i < count; i++) {
            fn(ctx, 0, i);
        }
        return;
    }
    w->fn = fn;
    w->ctx = ctx;
    w->count = count;
    atomic_store(&w->next, 0);
    atomic_store(&w->working, w->started);
    announce(w);
    work(w, 0);
    for (int i = 0; atomic_load_explicit(&w->working, memory_order_acquire) > 0; i++) {
        if (i < SPINS) {
            pause_cpu();
        } else {
            sched_yield();
        }
    }
}

void qb_workers_free(struct qb_workers *w)
{
    if (!w) {
        return;
    }
    atomic_store(&w->stop, true);
    announce(w);
    for (int i = 0; i < w->started; i++) {
        pthread_join(w->list[i].thread, NULL);
    }
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}
