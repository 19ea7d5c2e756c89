/* The oneDNN engines behind engine.h: creation, runs, and what a row says about them.
 *
 * A float engine is made with ReLU and additions fused, for timing. The first run with a tap builds a second
 * list without fusion, so that calibration sees every tensor; its results differ from the fused list's in the
 * last bits of a float. */
#include "engine/onednn/onednn.h"

#include <stdlib.h>
#include <string.h>

#include "engine/onednn/build.h"
#include "engine/onednn/choose.h"
#include "engine/onednn/library.h"

struct onednn_engine {
    struct qb_engine base;
    const struct qb_graph *graph;     /* float engines */
    struct qb_engine_options options; /* impl: the list's copy */
    struct qb_dnnl_list *list;
    const float *logits;
    struct qb_dnnl_list *unfused; /* float engines, once a tap asked for it */
    const float *unfused_logits;
};

static void destroy(struct qb_engine *base)
{
    struct onednn_engine *engine = (struct onednn_engine *)base;
    qb_dnnl_list_free(engine->list);
    qb_dnnl_list_free(engine->unfused);
    free(engine);
}

static enum qb_status build_unfused(struct onednn_engine *engine, struct qb_error *err)
{
    struct qb_dnnl_list *list;
    struct qb_engine_options options = engine->options;
    options.impl = "default"; /* not timed, so not chosen */
    QB_TRY(qb_dnnl_list_create(&options, &list, err));
    qb_dnnl_build_f32(list, engine->graph, false, &engine->unfused_logits);
    const enum qb_status status = qb_dnnl_list_finish(list, err);
    if (status != QB_OK) {
        qb_dnnl_list_free(list);
        return status;
    }
    engine->unfused = list;
    return QB_OK;
}

static enum qb_status run(struct qb_engine *base, const uint8_t *images, int n, float *logits,
                          struct qb_error *err)
{
    struct onednn_engine *engine = (struct onednn_engine *)base;
    struct qb_dnnl_list *list = engine->list;
    const float *result = engine->logits;
    if (base->tap && engine->graph) {
        if (!engine->unfused) {
            QB_TRY(build_unfused(engine, err));
        }
        list = engine->unfused;
        result = engine->unfused_logits;
    }
    QB_TRY(qb_dnnl_list_run(list, images, n, base, err));
    memcpy(logits, result, (size_t)n * (size_t)base->classes * sizeof *logits);
    return QB_OK;
}

/* Exactly one of the graphs is not NULL. */
static enum qb_status create(const struct qb_engine_ops *ops, const struct qb_graph *graph,
                             const struct qb_qgraph *qgraph, const struct qb_engine_options *options,
                             struct qb_engine **out, struct qb_error *err)
{
    QB_TRY(qb_dnnl_check_threads(options->threads, err));
    QB_TRY(qb_dnnl_cap_isa(options->isa, err));
    struct onednn_engine *engine = calloc(1, sizeof *engine);
    if (!engine) {
        return qb_fail_memory(err, sizeof *engine);
    }
    engine->graph = graph;
    engine->options = *options;
    enum qb_status status = qb_dnnl_list_create(options, &engine->list, err);
    if (status == QB_OK) {
        engine->base = (struct qb_engine){.ops = ops, .batch = options->batch, .isa = qb_dnnl_isa()};
        if (graph) {
            engine->base.exactness = QB_APPROXIMATE;
            engine->base.classes = (int)qb_shape_count(graph->nodes[qb_graph_logits(graph)].dst);
            qb_dnnl_build_f32(engine->list, graph, true, &engine->logits);
        } else {
            engine->base.classes = (int)qb_shape_count(qgraph->nodes[qb_qgraph_logits(qgraph)].dst);
            qb_dnnl_build_int8(engine->list, qgraph, ops == &qb_onednn_fused_ops, &engine->logits,
                               &engine->base.exactness);
        }
        engine->options.impl = engine->list->impl;
        status = qb_dnnl_list_finish(engine->list, err);
    }
    if (status == QB_OK) {
        engine->base.implementation = qb_dnnl_implementation(engine->list);
        status =
            engine->base.implementation ? QB_OK : qb_fail(err, QB_ENOMEM, "out of memory for a line of text");
    }
    if (status != QB_OK) {
        destroy(&engine->base);
        return status;
    }
    *out = &engine->base;
    return QB_OK;
}

static enum qb_status create_f32(const struct qb_graph *graph, const struct qb_engine_options *options,
                                 struct qb_engine **out, struct qb_error *err)
{
    return create(&qb_onednn_ops, graph, NULL, options, out, err);
}

/* Tails and additions of these arithmetics exist here. */
static enum qb_status check_arithmetic(const struct qb_qgraph *graph, struct qb_error *err)
{
    const enum qb_arithmetic rest = qb_arithmetic_traits(graph->arithmetic)->rest;
    if (rest == QB_ARITHMETIC_FBGEMM || rest == QB_ARITHMETIC_ONEDNN) {
        return QB_OK;
    }
    return qb_fail(err, QB_EUNSUPPORTED,
                   "the oneDNN engines have the arithmetics of oneDNN and PyTorch, the network's is %s; take "
                   "engine native "
                   "or reference",
                   qb_arithmetic_name(graph->arithmetic));
}

static enum qb_status create_exact(const struct qb_qgraph *graph, const struct qb_engine_options *options,
                                   struct qb_engine **out, struct qb_error *err)
{
    QB_TRY(check_arithmetic(graph, err));
    return create(&qb_onednn_ops, NULL, graph, options, out, err);
}

static enum qb_status create_fused(const struct qb_qgraph *graph, const struct qb_engine_options *options,
                                   struct qb_engine **out, struct qb_error *err)
{
    QB_TRY(check_arithmetic(graph, err));
    return create(&qb_onednn_fused_ops, NULL, graph, options, out, err);
}

const struct qb_engine_ops qb_onednn_ops = {
    .name = "onednn",
    .summary = "oneDNN: float graphs; integer graphs with exact accumulators and the scheme's own arithmetic",
    .create_f32 = create_f32,
    .create_int8 = create_exact,
    .run = run,
    .destroy = destroy,
};

const struct qb_engine_ops qb_onednn_fused_ops = {
    .name = "onednn_fused",
    .summary = "oneDNN: integer graphs with requantization, ReLU and additions inside its primitives",
    .create_int8 = create_fused,
    .run = run,
    .destroy = destroy,
};
