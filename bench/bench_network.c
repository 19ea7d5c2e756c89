/* The whole network: every engine of the engine table x FP32 and every shipped scheme x batch, one thread.
 *
 * Integer graphs are calibrated when first needed, on synthetic images whatever data is here: time hangs on
 * shapes and on which zero points are 0, not on the exact scales, and so every machine measures the same
 * work. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli/pipeline.h"
#include "cli/share.h"

enum { CALIBRATION_IMAGES = 100 };

struct bench_scheme {
    struct qb_scheme scheme;
    struct qb_qgraph *qgraph; /* NULL until needed, and for FP32 */
};

struct network {
    struct bench *bench;
    const struct qb_engine_ops *engine;
    struct bench_scheme *scheme;
    int batch;
};

static enum qb_status quantize(const struct bench *bench, struct bench_scheme *scheme, struct qb_error *err)
{
    if (scheme->scheme.fp32 || scheme->qgraph) {
        return QB_OK;
    }
    const struct qb_sampler sampler = {.kind = QB_SAMPLER_FIRST,
                                       .per_class = CALIBRATION_IMAGES / QB_CLASSES};
    struct qb_dataset train;
    QB_TRY(qb_dataset_synthetic(QB_SPLIT_TRAIN, CALIBRATION_IMAGES, &train, err));
    const struct pipeline_calibration how = {
        .sampler = &sampler, .batch_size = CALIBRATION_IMAGES / 2, .isa = bench->isa, .train = &train};
    const enum qb_status status =
        pipeline_quantize(bench->graph, &scheme->scheme, &how, NULL, &scheme->qgraph, err);
    qb_dataset_free(&train);
    return status;
}

/* Engines name the scalar code "ref" themselves; oneDNN's own names are finer than ours. */
static double roof_of(const struct bench *bench, const struct qb_engine *engine, bool fp32)
{
    if (strcmp(engine->isa, qb_isa_name(QB_ISA_REF)) == 0) {
        return 0;
    }
    return fp32 ? bench->roof.f32_gmacs[bench->isa] : bench->roof.gmacs[bench->isa];
}

static double macs_of(const struct qb_graph *graph)
{
    double macs = 0;
    for (int i = 0; i < graph->count; i++) {
        macs += (double)qb_node_macs(graph, i);
    }
    return macs;
}

static void run_network(struct gbench_run *run, void *ctx)
{
    const struct network *const n = ctx;
    const bool fp32 = n->scheme->scheme.fp32;
    const struct qb_engine_options options = {.isa = n->bench->isa, .threads = 1, .batch = n->batch};
    struct qb_dataset images = {0};
    struct qb_engine *engine = NULL;
    float *logits = NULL;
    struct qb_error err;
    enum qb_status status = quantize(n->bench, n->scheme, &err);
    if (status == QB_OK) {
        status = qb_dataset_synthetic(QB_SPLIT_TEST, (size_t)n->batch, &images, &err);
    }
    if (status == QB_OK) {
        status = qb_engine_create(n->engine->name, fp32 ? n->bench->graph : NULL, n->scheme->qgraph, &options,
                                  &engine, &err);
    }
    if (status == QB_OK) {
        logits = calloc((size_t)n->batch * (size_t)engine->classes, sizeof *logits);
        status = logits ? QB_OK : qb_fail_memory(&err, (size_t)n->batch * sizeof *logits);
    }
    while (status == QB_OK && gbench_next(run)) {
        status = qb_engine_run(engine, images.images, n->batch, logits, &err);
    }
    if (status == QB_OK) {
        gbench_label(run, engine->implementation);
        bench_count_macs(run, macs_of(n->bench->graph), n->batch, roof_of(n->bench, engine, fp32));
    } else {
        bench_stop(run, &err);
    }
    free(logits);
    qb_engine_free(engine);
    qb_dataset_free(&images);
}

static enum qb_status load_schemes(struct bench *bench, struct qb_error *err)
{
    const char *const *const dirs = share_scheme_dirs();
    const char **names;
    unsigned count;
    QB_TRY(qb_scheme_list(dirs, bench->arena, &names, &count, err));
    bench->schemes = qb_arena_array(bench->arena, count, sizeof *bench->schemes);
    if (!bench->schemes) {
        return qb_fail_memory(err, count * sizeof *bench->schemes);
    }
    bench->scheme_count = count;
    for (unsigned i = 0; i < count; i++) {
        QB_TRY(qb_scheme_load(names[i], dirs, bench->arena, &bench->schemes[i].scheme, err));
    }
    return QB_OK;
}

enum qb_status bench_network(struct bench *bench, struct qb_error *err)
{
    const struct qb_shape input = bench->graph->nodes[0].dst;
    if (input.h != QB_IMAGE_H || input.w != QB_IMAGE_W || input.c != QB_IMAGE_C) {
        return qb_fail(err, QB_EUNSUPPORTED, "%s: takes images of %d x %d x %d, wanted %d x %d x %d",
                       bench->graph->path, input.h, input.w, input.c, QB_IMAGE_H, QB_IMAGE_W, QB_IMAGE_C);
    }
    QB_TRY(load_schemes(bench, err));
    for (size_t s = 0; s < bench->scheme_count; s++) {
        struct bench_scheme *const scheme = &bench->schemes[s];
        for (size_t e = 0; qb_engines[e]; e++) {
            if (scheme->scheme.fp32 ? !qb_engines[e]->create_f32 : !qb_engines[e]->create_int8) {
                continue;
            }
            for (int b = 0; b < BENCH_BATCHES; b++) {
                const struct network network = {bench, qb_engines[e], scheme, bench_batches[b]};
                QB_TRY(bench_add(bench, run_network, &network, sizeof network, err, "network/%s/%s/mb%d",
                                 scheme->scheme.name, network.engine->name, network.batch));
            }
        }
    }
    return QB_OK;
}

void bench_network_free(struct bench *bench)
{
    for (size_t i = 0; i < bench->scheme_count; i++) {
        qb_qgraph_free(bench->schemes[i].qgraph);
    }
}
