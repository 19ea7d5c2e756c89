/* The arrows between the rooms: see pipeline.h. */
#include "cli/pipeline.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/share.h"
#include "quant/qdq.h"

/* Size of the synthetic splits: enough for ten per class of everything, quick to run. */
enum { SYNTHETIC_IMAGES = 2000 };

/* The engine whose float pass calibrates: the one that adds in PyTorch's order, if this CPU has the FMA it
 * takes. */
static const char *calibration_engine(void)
{
    return qb_cpu_has(QB_ISA_AVX2) ? "reference" : "onednn";
}

/* Why synthetic images had to be made, until it has been told. */
static char no_data[sizeof((struct qb_error *)NULL)->text];

enum qb_status pipeline_data(const char *dir, enum qb_split split, struct qb_dataset *out,
                             struct qb_error *err)
{
    char *found = NULL;
    enum qb_status status = qb_data_locate(dir, &found, err);
    if (status == QB_OK) {
        status = qb_dataset_load(found, split, out, err);
        free(found);
        return status;
    }
    if (dir || status != QB_ENOTFOUND) {
        return status;
    }
    snprintf(no_data, sizeof no_data, "%s", err->text);
    return qb_dataset_synthetic(split, SYNTHETIC_IMAGES, out, err);
}

void pipeline_tell_synthetic(void)
{
    if (no_data[0]) {
        fprintf(stderr,
                "qbench: no CIFAR-10 here (%s); using labelled synthetic images: the tables show agreement "
                "with FP32, not accuracy\n",
                no_data);
        no_data[0] = 0;
    }
}

enum qb_status pipeline_sampler_check(const struct qb_sampler *sampler, struct qb_error *err)
{
    return sampler->kind == QB_SAMPLER_FILE && !qb_is_file(sampler->file)
               ? qb_fail(err, QB_ENOTFOUND, "calibration \"%s\" is neither first nor random nor a file",
                         sampler->file)
               : QB_OK;
}

struct observation {
    struct qb_calibration *calibration;
    enum qb_status status;
    struct qb_error *err;
};

static void observe(void *ctx, int node, const void *data, size_t count)
{
    struct observation *const o = ctx;
    if (o->status == QB_OK && qb_calibration_wants(o->calibration, node)) {
        o->status = qb_calibration_observe(o->calibration, node, data, count, o->err);
    }
}

static enum qb_status run_batches(struct qb_engine *engine, struct observation *seen,
                                  const struct qb_dataset *train, const struct qb_sample *sample,
                                  int batch_size, const struct qb_progress *progress, struct qb_error *err)
{
    uint8_t *const images = malloc((size_t)batch_size * QB_IMAGE_BYTES);
    float *const logits = calloc((size_t)batch_size * (size_t)engine->classes, sizeof *logits);
    enum qb_status status =
        images && logits ? QB_OK : qb_fail_memory(err, (size_t)batch_size * QB_IMAGE_BYTES);
    for (size_t done = 0; status == QB_OK && done < sample->count;) {
        const size_t left = sample->count - done;
        const int n = left < (size_t)batch_size ? (int)left : batch_size;
        for (int i = 0; i < n; i++) {
            memcpy(images + (size_t)i * QB_IMAGE_BYTES,
                   train->images + (size_t)sample->indices[done + (size_t)i] * QB_IMAGE_BYTES,
                   QB_IMAGE_BYTES);
        }
        status = qb_engine_run(engine, images, n, logits, err);
        status = status == QB_OK ? seen->status : status;
        if (status == QB_OK && qb_interrupted()) {
            status = qb_fail(err, QB_EINTERRUPTED, "interrupted during calibration");
        }
        done += (size_t)n;
        qb_progress_report(progress, "calibrating", done, sample->count);
    }
    free(logits);
    free(images);
    return status;
}

static enum qb_status calibrate(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                const struct pipeline_calibration *how, const struct qb_progress *progress,
                                struct qb_arena *arena, struct qb_qparams_table *table,
                                char hash[QB_HASH64_HEX], struct qb_error *err)
{
    struct qb_dataset own = {0};
    struct qb_sample sample = {0};
    struct qb_engine *engine = NULL;
    struct observation seen = {.err = err};
    const struct qb_engine_options options = {.isa =
                                                  how->isa == QB_ISA_REF ? qb_cpu_best(QB_ISA_AMX) : how->isa,
                                              .threads = 1,
                                              .batch = how->batch_size,
                                              .pytorch_batches = true};
    enum qb_status status = QB_OK;
    const struct qb_dataset *train = how->train;
    QB_TRY(pipeline_sampler_check(how->sampler, err));
    if (!train) {
        status = pipeline_data(how->data_dir, QB_SPLIT_TRAIN, &own, err);
        pipeline_tell_synthetic();
        train = &own;
    }
    if (status == QB_OK) {
        status = qb_sample_draw(how->sampler, train, &sample, err);
    }
    if (status == QB_OK) {
        status = qb_calibration_create(graph, scheme, &seen.calibration, err);
    }
    if (status == QB_OK) {
        status = qb_engine_create(calibration_engine(), graph, NULL, &options, &engine, err);
    }
    if (status == QB_OK) {
        engine->tap = observe;
        engine->tap_ctx = &seen;
        do {
            status = run_batches(engine, &seen, train, &sample, how->batch_size, progress, err);
        } while (status == QB_OK && qb_calibration_next_pass(seen.calibration));
    }
    if (status == QB_OK) {
        status = qb_calibration_qparams(seen.calibration, arena, table, err);
        memcpy(hash, sample.hash, sizeof sample.hash);
    }
    qb_engine_free(engine);
    qb_calibration_free(seen.calibration);
    qb_sample_free(&sample);
    qb_dataset_free(&own);
    return status;
}

enum qb_status pipeline_quantize(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                 const struct pipeline_calibration *calibration,
                                 const struct qb_progress *progress, struct qb_qgraph **out,
                                 struct qb_error *err)
{
    QB_TRY(qb_scheme_check(scheme, err));
    struct qb_arena *const arena = qb_arena_create();
    if (!arena) {
        return qb_fail_memory(err, sizeof(void *));
    }
    struct qb_qparams_table table = {0};
    char hash[QB_HASH64_HEX] = "";
    enum qb_status status = calibration->qparams
                                ? qb_qparams_read(calibration->qparams, graph, scheme, arena, &table, err)
                                : calibrate(graph, scheme, calibration, progress, arena, &table, hash, err);
    if (status == QB_OK) {
        status = qb_quantize(graph, scheme, &table, hash, out, err);
    }
    qb_arena_destroy(arena);
    return status;
}

enum qb_status pipeline_graph_load(const char *path, struct qb_graph **out, struct qb_error *err)
{
    char *found = NULL;
    QB_TRY(share_resolve("model", path, &found, err));
    const enum qb_status status = qb_model_load(found, out, err);
    free(found);
    return status;
}

enum qb_status pipeline_model_load(const char *path, struct pipeline_model *out, struct qb_error *err)
{
    struct pipeline_model model = {0};
    QB_TRY(pipeline_graph_load(path, &model.graph, err));
    if (model.graph->quantized) {
        const enum qb_status status = qb_qdq_read(model.graph, QB_ARITHMETIC_FBGEMM, &model.qgraph, err);
        if (status != QB_OK) {
            pipeline_model_free(&model);
            return status;
        }
    }
    *out = model;
    return QB_OK;
}

void pipeline_model_free(struct pipeline_model *model)
{
    qb_qgraph_free(model->qgraph);
    qb_graph_free(model->graph);
    *model = (struct pipeline_model){0};
}

size_t pipeline_fp32_bytes(const struct qb_graph *graph)
{
    size_t params = 0;
    for (int i = 0; i < graph->count; i++) {
        params += qb_node_params(&graph->nodes[i]);
    }
    return params * sizeof(float);
}

size_t pipeline_model_bytes(const struct pipeline_model *model)
{
    return model->qgraph ? qb_qgraph_bytes(model->qgraph) : pipeline_fp32_bytes(model->graph);
}

int pipeline_cpus(void)
{
    cpu_set_t set;
    const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? n : 1;
}
