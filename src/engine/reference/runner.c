/* Images over threads, workspaces and taps of the reference engine: see runner.h. */
#include "engine/reference/runner.h"

#include <pthread.h>
#include <stdatomic.h>

#include "engine/reference/reference.h"

/* The memory one thread computes in. */
struct qb_worker {
    pthread_t thread;
    void **tensors; /* [nodes] one image's, its own */
    void **view;    /* [nodes] one image's place in the tensors of a batch */
    void *scratch;
};

/* One qb_runner_run. Threads draw image numbers from `next`. */
struct job {
    const struct qb_runner *runner;
    const uint8_t *images;
    float *logits;
    int n;
    atomic_int next, worker;
};

void *qb_runner_array(struct qb_runner *runner, size_t count, size_t size, struct qb_error *err)
{
    void *const array = qb_arena_array(runner->arena, count, size);
    if (!array) {
        size_t bytes;
        qb_fail_memory(err, __builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes);
    }
    return array;
}

enum qb_status qb_runner_create(const struct qb_engine_options *options, struct qb_runner **out,
                                struct qb_error *err)
{
    struct qb_arena *const arena = qb_arena_create();
    struct qb_runner *const runner = arena ? qb_arena_array(arena, 1, sizeof *runner) : NULL;
    if (!runner) {
        qb_arena_destroy(arena);
        return qb_fail_memory(err, sizeof *runner);
    }
    *runner = (struct qb_runner){
        .base = {.ops = &qb_reference_ops,
                 .batch = options->batch,
                 .exactness = QB_EXACT,
                 .implementation = "scalar",
                 .isa = qb_isa_name(QB_ISA_REF)},
        .arena = arena,
        .threads = options->threads < options->batch ? options->threads : options->batch,
    };
    *out = runner;
    return QB_OK;
}

/* Tensors of `images` images, node after node, in one array a node. */
static void **make_tensors(struct qb_runner *runner, size_t images, struct qb_error *err)
{
    void **const tensors = qb_runner_array(runner, (size_t)runner->nodes, sizeof *tensors, err);
    for (int i = 0; tensors && i < runner->nodes; i++) {
        size_t count;
        if (__builtin_mul_overflow(runner->bytes[i], images, &count)) {
            qb_fail_memory(err, SIZE_MAX);
            return NULL;
        }
        tensors[i] = qb_runner_array(runner, count, 1, err);
        if (!tensors[i]) {
            return NULL;
        }
    }
    return tensors;
}

enum qb_status qb_runner_prepare(struct qb_runner *runner, struct qb_error *err)
{
    runner->workers = qb_runner_array(runner, (size_t)runner->threads, sizeof *runner->workers, err);
    if (!runner->workers) {
        return err->status;
    }
    for (int i = 0; i < runner->threads; i++) {
        struct qb_worker *const worker = &runner->workers[i];
        worker->tensors = make_tensors(runner, 1, err);
        if (!worker->tensors ||
            !(worker->view = qb_runner_array(runner, (size_t)runner->nodes, sizeof *worker->view, err)) ||
            !(worker->scratch = qb_runner_array(runner, runner->scratch_bytes, 1, err))) {
            return err->status;
        }
    }
    return QB_OK;
}

static void *work(void *arg)
{
    struct job *const job = arg;
    const struct qb_runner *const runner = job->runner;
    const struct qb_worker *const worker = &runner->workers[atomic_fetch_add(&job->worker, 1)];
    void *const *const tensors = runner->base.tap ? worker->view : worker->tensors;
    for (int i; (i = atomic_fetch_add(&job->next, 1)) < job->n;) {
        for (int node = 0; runner->base.tap && node < runner->nodes; node++) {
            worker->view[node] = (uint8_t *)runner->batch[node] + (size_t)i * runner->bytes[node];
        }
        runner->forward(runner, job->images + (size_t)i * runner->image_bytes, tensors, worker->scratch,
                        job->logits + (size_t)i * (size_t)runner->base.classes);
    }
    return NULL;
}

enum qb_status qb_runner_run(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                             struct qb_error *err)
{
    struct qb_runner *const runner = (struct qb_runner *)engine;
    if (engine->tap && !runner->batch) {
        runner->batch = make_tensors(runner, (size_t)engine->batch, err);
        if (!runner->batch) {
            return err->status;
        }
    }
    runner->n = n;
    struct job job = {.runner = runner, .images = images, .logits = logits, .n = n};
    const int threads = runner->threads < n ? runner->threads : n;
    int helpers = 0;
    /* The calling thread works too, so a helper that the system refuses costs time, not the result. */
    while (helpers < threads - 1 && pthread_create(&runner->workers[helpers].thread, NULL, work, &job) == 0) {
        helpers++;
    }
    work(&job);
    for (int i = 0; i < helpers; i++) {
        pthread_join(runner->workers[i].thread, NULL);
    }
    for (int node = 0; engine->tap && node < runner->nodes; node++) {
        engine->tap(engine->tap_ctx, node, runner->batch[node], (size_t)n * runner->counts[node]);
    }
    return QB_OK;
}

void qb_runner_destroy(struct qb_engine *engine)
{
    if (engine) {
        qb_arena_destroy(((struct qb_runner *)engine)->arena);
    }
}
