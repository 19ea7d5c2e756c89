/* The native engine's entry in the engine table: plan, workspaces, threads, taps. See native.h. */
#include "engine/native/native.h"

#include "engine/native/plan.h"
#include "engine/native/workers.h"

struct native {
    struct qb_engine base;
    struct qb_arena *arena; /* owns this struct and all memory that belongs to it */
    const struct qb_qgraph *graph;
    struct qb_native_plan plan;
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
    uint8_t *const workspace = qb_native_array(e->arena, plan->workspace_bytes, 1, err);
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

static enum qb_status fill(struct native *e, const struct qb_engine_options *options, struct qb_error *err)
{
    const int threads = options->threads < options->batch ? options->threads : options->batch;
    const struct qb_qgraph *const graph = e->graph;
    const struct qb_conv_impl *const best = qb_conv_select(options->isa);
    QB_TRY(qb_native_plan_make(graph, options->isa, true, e->arena, &e->plan, err));
    e->workspaces = qb_native_array(e->arena, (size_t)threads, sizeof *e->workspaces, err);
    if (!e->workspaces) {
        return err->status;
    }
    for (int i = 0; i < threads; i++) {
        e->workspaces[i] = make_workspace(e, &e->plan, err);
        if (!e->workspaces[i]) {
            return err->status;
        }
    }
    QB_TRY(qb_workers_create(threads, &e->workers, err));
    e->image_bytes = qb_shape_count(graph->nodes[0].dst);
    e->base.classes = (int)qb_shape_count(graph->nodes[qb_qgraph_logits(graph)].dst);
    e->base.isa = best->name;
    e->base.implementation = qb_arena_printf(e->arena, "%s %s%s", best->name, e->plan.text,
                                             options->threads > 1 ? "; one image a thread" : "");
    return e->base.implementation ? QB_OK : qb_fail_memory(err, 4096);
}

static enum qb_status create(const struct qb_qgraph *graph, const struct qb_engine_options *options,
                             struct qb_engine **out, struct qb_error *err)
{
    if (graph->arithmetic != QB_ARITHMETIC_FBGEMM && graph->arithmetic != QB_ARITHMETIC_ONEDNN) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "the native engine has the arithmetics fbgemm and onednn, the network's is %s; take "
                       "engine reference",
                       qb_arithmetic_name(graph->arithmetic));
    }
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
};

static void run_image(void *ctx, int worker, int index)
{
    const struct job *const job = ctx;
    const struct native *const e = job->engine;
    qb_native_plan_run(&e->plan, e->workspaces[worker], job->images + (size_t)index * e->image_bytes,
                       job->logits + (size_t)index * (size_t)e->base.classes);
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
        batch[i] =
            qb_native_array(e->arena, (size_t)e->base.batch, qb_shape_count(e->graph->nodes[i].dst), err);
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
                                  e->batch[node] + (size_t)i * qb_shape_count(e->graph->nodes[node].dst));
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
    struct job job = {.engine = e, .images = images, .logits = logits};
    if (engine->tap) {
        return run_with_taps(e, &job, n, err);
    }
    qb_workers_run(e->workers, run_image, &job, n);
    return QB_OK;
}

const struct qb_engine_ops qb_native_ops = {
    .name = "native",
    .summary = "own kernels (AVX2, AVX-VNNI, AVX512-VNNI), equal to the reference engine bit for bit",
    .create_f32 = NULL,
    .create_int8 = create,
    .run = run,
    .destroy = destroy,
};
