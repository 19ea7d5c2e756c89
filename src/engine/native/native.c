/* The native engine's entry in the engine table: plan, workspaces, threads, taps. See native.h. */
#include "engine/native/native.h"

#include <stdatomic.h>

#include "base/cores.h"
#include "engine/native/plan.h"
#include "engine/native/split.h"
#include "engine/native/workers.h"

struct native {
    struct qb_engine base;
    struct qb_arena *arena; /* owns this struct and all memory that belongs to it */
    const struct qb_qgraph *graph;
    struct qb_native_plan plan;
    struct qb_native_split split; /* divided == 0: an image stays in one thread */
    int threads;
    uint8_t **workspaces; /* [threads] */
    size_t image_bytes;
    struct qb_workers *workers;
    /* For taps: a plan without fusion, its workspace, and every tensor of a batch. Made when first asked for.
     */
    struct qb_native_plan plain;
    uint8_t *plain_workspace;
    uint8_t **batch; /* [nodes]; NULL until then */
};

static uint8_t *make_workspace(struct native *e, const struct qb_native_plan *plan, struct qb_error *err)
{
    uint8_t *const workspace = qb_native_array(e->arena, qb_native_plan_bytes(plan), 1, err);
    if (workspace) {
        qb_native_plan_prepare(plan, workspace);
    }
    return workspace;
}

static void destroy(struct qb_engine *engine)
{
    struct native *const e = (struct native *)engine;
    if (e) {
        qb_workers_free(e->workers);
        qb_arena_destroy(e->arena);
    }
}

/* An image is divided only where every worker has a CPU to itself: they wait for each other a dozen times.
 * More threads than images at a time are of use only then. */
static enum qb_status choose_threads(struct native *e, const struct qb_engine_options *options,
                                     struct qb_error *err)
{
    if (options->threads > 1 && options->threads <= qb_cores_count()) {
        QB_TRY(qb_native_split_make(&e->plan, options->threads, e->arena, &e->split, err));
    }
    e->threads = e->split.divided || options->threads < options->batch ? options->threads : options->batch;
    return QB_OK;
}

/* "avx512vnni, 2 threads bound to cores (an image each, or 10 of 12 steps of one image divided): conv:3x3
 * ..."
 */
static enum qb_status describe(struct native *e, const char *isa, int wanted, struct qb_error *err)
{
    const char *threads = "";
    if (e->threads > 1) {
        const bool many = e->base.batch > 1;
        const char *const bound = qb_workers_bound(e->workers) ? "bound to cores" : "not bound",
                          *const images = many ? "an image each" : "";
        threads =
            e->split.divided
                ? qb_arena_printf(e->arena,
                                  ", %d threads %s (%s%s%d of %d steps of one image divided):", e->threads,
                                  bound, images, many ? ", or " : "", e->split.divided, e->plan.count)
                : qb_arena_printf(e->arena, ", %d threads %s (%s):", e->threads, bound, images);
    } else if (wanted > 1) {
        threads = qb_arena_printf(e->arena, ", 1 of %d threads:", wanted);
    }
    e->base.implementation =
        threads ? qb_arena_printf(e->arena, "%s%s %s", isa, threads, e->plan.text) : NULL;
    return e->base.implementation ? QB_OK : qb_fail_memory(err, 4096);
}

static enum qb_status fill(struct native *e, const struct qb_engine_options *options, struct qb_error *err)
{
    const struct qb_qgraph *const graph = e->graph;
    const struct qb_conv_impl *const best = qb_conv_select(options->isa);
    QB_TRY(qb_native_plan_make(graph, options->isa, true, e->arena, &e->plan, err));
    QB_TRY(choose_threads(e, options, err));
    e->workspaces = qb_native_array(e->arena, (size_t)e->threads, sizeof *e->workspaces, err);
    if (!e->workspaces) {
        return err->status;
    }
    for (int i = 0; i < e->threads; i++) {
        e->workspaces[i] = make_workspace(e, &e->plan, err);
        if (!e->workspaces[i]) {
            return err->status;
        }
    }
    QB_TRY(qb_workers_create(e->threads, &e->workers, err));
    e->image_bytes = qb_shape_count(graph->nodes[0].dst);
    e->base.classes = (int)qb_shape_count(graph->nodes[qb_qgraph_logits(graph)].dst);
    e->base.isa = best->name;
    return describe(e, best->name, options->threads, err);
}

static enum qb_status create(const struct qb_qgraph *graph, const struct qb_engine_options *options,
                             struct qb_engine **out, struct qb_error *err)
{
    struct qb_arena *const arena = qb_arena_create();
    struct native *const e = arena ? qb_arena_array(arena, 1, sizeof *e) : NULL;
    if (!e) {
        qb_arena_destroy(arena);
        return qb_fail_memory(err, sizeof *e);
    }
    e->base = (struct qb_engine){.ops = &qb_native_ops, .batch = options->batch, .exactness = QB_EXACT};
    e->arena = arena;
    e->graph = graph;
    const enum qb_status status = fill(e, options, err);
    if (status != QB_OK) {
        destroy(&e->base);
        return status;
    }
    *out = &e->base;
    return QB_OK;
}

struct job {
    const struct native *engine;
    const uint8_t *images;
    float *logits;
    int n;
    /* Image, where each has a worker of its own; what is only read stays out of the line that all write. */
    _Alignas(64) atomic_int next;
};

static void run_image(const struct job *job, int worker, int index)
{
    const struct native *const e = job->engine;
    qb_native_plan_run(&e->plan, e->workspaces[worker], job->images + (size_t)index * e->image_bytes,
                       job->logits + (size_t)index * (size_t)e->base.classes);
}

/* The same, telling after every step. */
static void run_watched(struct native *e, const struct job *job)
{
    for (int i = 0; i < e->plan.count; i++) {
        qb_native_plan_step(&e->plan, &e->plan.steps[i], e->workspaces[0], e->workspaces[0] + e->plan.scratch,
                            job->images);
        e->base.step(e->base.step_ctx, e->plan.steps[i].node);
    }
    qb_native_plan_logits(&e->plan, e->workspaces[0], job->logits);
}

static void run_images(void *ctx, int worker)
{
    struct job *const job = ctx;
    for (int i; (i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->n;) {
        run_image(job, worker, i);
    }
}

/* One image after the other, each on all workers. */
static void run_divided(void *ctx, int worker)
{
    const struct job *const job = ctx;
    const struct native *const e = job->engine;
    const struct qb_native_split *const split = &e->split;
    uint8_t *const workspace = e->workspaces[0], *const scratch = e->workspaces[worker] + e->plan.scratch;
    for (int i = 0; i < job->n; i++) {
        const uint8_t *const image = job->images + (size_t)i * e->image_bytes;
        const struct qb_native_step *part = split->parts + worker;
        for (int step = 0; step < e->plan.count; step++, part += split->threads) {
            if (split->meet[step] || (step == 0 && i > 0)) {
                qb_workers_meet(e->workers, worker);
            }
            if (part->run) {
                qb_native_plan_step(&e->plan, part, workspace, scratch, image);
            }
        }
        if (split->meet_logits) {
            qb_workers_meet(e->workers, worker);
        }
        if (worker == 0) {
            qb_native_plan_logits(&e->plan, workspace, job->logits + (size_t)i * (size_t)e->base.classes);
        }
    }
}

/* Of one image, as a tap sees it. */
static size_t tensor_bytes(const struct native *e, int node)
{
    return qb_shape_count(e->graph->nodes[node].dst) * qb_qnode_element(&e->graph->nodes[node]);
}

static enum qb_status prepare_taps(struct native *e, struct qb_error *err)
{
    const int count = e->graph->count;
    QB_TRY(qb_native_plan_make(e->graph, e->plan.isa, false, e->arena, &e->plain, err));
    uint8_t **const batch = qb_native_array(e->arena, (size_t)count, sizeof *batch, err);
    e->plain_workspace = batch ? make_workspace(e, &e->plain, err) : NULL;
    if (!e->plain_workspace) {
        return err->status;
    }
    for (int i = 0; i < count; i++) {
        batch[i] = qb_native_array(e->arena, (size_t)e->base.batch, tensor_bytes(e, i), err);
        if (!batch[i]) {
            return err->status;
        }
    }
    e->batch = batch;
    return QB_OK;
}

/* The fused plan computes the same bits, but does not have every tensor. */
static enum qb_status run_with_taps(struct native *e, const struct job *job, int n, struct qb_error *err)
{
    const int count = e->graph->count;
    if (!e->batch) {
        QB_TRY(prepare_taps(e, err));
    }
    for (int i = 0; i < n; i++) {
        qb_native_plan_run(&e->plain, e->plain_workspace, job->images + (size_t)i * e->image_bytes,
                           job->logits + (size_t)i * (size_t)e->base.classes);
        for (int node = 0; node < count; node++) {
            qb_native_plan_tensor(&e->plain, e->plain_workspace, node,
                                  e->batch[node] + (size_t)i * tensor_bytes(e, node));
        }
    }
    for (int node = 0; node < count; node++) {
        e->base.tap(e->base.tap_ctx, node, e->batch[node],
                    (size_t)n * qb_shape_count(e->graph->nodes[node].dst));
    }
    return QB_OK;
}

static enum qb_status run(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                          struct qb_error *err)
{
    struct native *const e = (struct native *)engine;
    struct job job = {.engine = e, .images = images, .logits = logits, .n = n};
    if (engine->tap) {
        return run_with_taps(e, &job, n, err);
    }
    if (engine->step) {
        run_watched(e, &job);
        return QB_OK;
    }
    const bool divided = n < e->threads && e->split.divided;
    if (divided) {
        qb_workers_run(e->workers, run_divided, &job);
    } else if (n == 1) {
        run_image(&job, 0, 0);
    } else {
        qb_workers_run(e->workers, run_images, &job);
    }
    return QB_OK;
}

const struct qb_engine_ops qb_native_ops = {
    .name = "native",
    .summary = "own kernels (AVX2, AVX-VNNI, AVX512-VNNI, AMX), equal to the reference engine bit for bit",
    .create_f32 = NULL,
    .create_int8 = create,
    .run = run,
    .destroy = destroy,
    .free_threads = true,
};
