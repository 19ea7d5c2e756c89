/* The engine table, and the checks that every engine is spared: see engine.h. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "engine/check.h"
#include "engine/native/native.h"
#include "engine/onednn/onednn.h"
#include "engine/reference/reference.h"

const struct qb_engine_ops *const qb_engines[] = {
    &qb_reference_ops, &qb_onednn_ops, &qb_onednn_fused_ops, &qb_native_ops, NULL,
};

/* More threads than any machine of today has; a larger number is a slip of the pen. */
enum { MAX_THREADS = 4096, MAX_BATCH = 1 << 20 };

static void fail_unknown(const char *name, struct qb_error *err)
{
    char names[256] = "";
    for (size_t i = 0, used = 0; qb_engines[i] && used < sizeof names; i++) {
        used +=
            (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", qb_engines[i]->name);
    }
    qb_fail(err, QB_EINPUT, "unknown engine '%s'; there are: %s", name, names);
}

const struct qb_engine_ops *qb_engine_find(const char *name, struct qb_error *err)
{
    for (size_t i = 0; qb_engines[i]; i++) {
        if (strcmp(qb_engines[i]->name, name) == 0) {
            return qb_engines[i];
        }
    }
    fail_unknown(name, err);
    return NULL;
}

enum qb_status qb_engine_create(const char *name, const struct qb_graph *graph,
                                const struct qb_qgraph *qgraph, const struct qb_engine_options *options,
                                struct qb_engine **out, struct qb_error *err)
{
    const struct qb_engine_ops *const ops = qb_engine_find(name, err);
    if (!ops) {
        return err->status;
    }
    if (!graph == !qgraph) {
        return qb_fail(err, QB_EINPUT, "engine %s: wanted either a float graph or an integer graph, got %s",
                       name, graph ? "both" : "none");
    }
    if (options->threads < 1 || options->threads > MAX_THREADS) {
        return qb_fail(err, QB_EINPUT, "engine %s: threads = %d, wanted 1..%d", name, options->threads,
                       MAX_THREADS);
    }
    if (options->batch < 1 || options->batch > MAX_BATCH) {
        return qb_fail(err, QB_EINPUT, "engine %s: batch = %d, wanted 1..%d", name, options->batch,
                       MAX_BATCH);
    }
    if (graph && !ops->create_f32) {
        return qb_fail(err, QB_EUNSUPPORTED, "engine %s runs integer graphs only; quantize the model first",
                       name);
    }
    if (graph) {
        QB_TRY(qb_check_graph(graph, err));
        QB_TRY(ops->create_f32(graph, options, out, err));
        (*out)->image = graph->nodes[0].dst;
        return QB_OK;
    }
    QB_TRY(qb_check_qgraph(qgraph, err));
    if (qgraph->accumulate != QB_ACCUMULATE_EXACT && !ops->emulates) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "engine %s does not emulate saturating sums (accumulate %s); use the reference engine",
                       name, qb_accumulate_name(qgraph->accumulate));
    }
    QB_TRY(ops->create_int8(qgraph, options, out, err));
    (*out)->image = qgraph->nodes[0].dst;
    return QB_OK;
}

enum qb_status qb_engine_run(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                             struct qb_error *err)
{
    if (n < 1 || n > engine->batch) {
        return qb_fail(err, QB_EINPUT,
                       "engine %s: %d images in one run, wanted 1..%d (the batch it was made for)",
                       engine->ops->name, n, engine->batch);
    }
    return engine->ops->run(engine, images, n, logits, err);
}

void qb_engine_free(struct qb_engine *engine)
{
    if (engine) {
        engine->ops->destroy(engine);
    }
}
