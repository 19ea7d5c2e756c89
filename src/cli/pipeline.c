/* The arrows between the rooms: see pipeline.h. */
#include "cli/pipeline.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/share.h"
#include "measure/accuracy.h"
#include "quant/describe.h"
#include "quant/equalize.h"
#include "quant/qdq.h"
#include "quant/refine.h"

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

/* The calibration images of one call. */
struct images {
    struct qb_dataset own;
    const struct qb_dataset *train; /* &own, or the caller's */
    struct qb_sample sample;
    int batch_size;
};

static enum qb_status open_images(const struct pipeline_calibration *how, struct images *out,
                                  struct qb_error *err)
{
    /* Before the images are loaded, or looked for in vain. */
    if (how->sampler->kind == QB_SAMPLER_FILE && !qb_is_file(how->sampler->file)) {
        return qb_fail(err, QB_ENOTFOUND,
                       "calibration: \"%s\" is neither first nor random nor a file of training image indices",
                       how->sampler->file);
    }
    out->batch_size = how->batch_size;
    out->train = how->train;
    if (!how->train) {
        const enum qb_status status = pipeline_data(how->data_dir, QB_SPLIT_TRAIN, &out->own, err);
        pipeline_tell_synthetic();
        QB_TRY(status);
        out->train = &out->own;
    }
    return qb_sample_draw(how->sampler, out->train, &out->sample, err);
}

static void close_images(struct images *images)
{
    qb_sample_free(&images->sample);
    qb_dataset_free(&images->own);
}

/* `watched`: the status of who looks on through the engine's tap, which ends the pass; or NULL. */
static enum qb_status run_batches(struct qb_engine *engine, const enum qb_status *watched,
                                  const struct images *images, const char *what,
                                  const struct qb_progress *progress, struct qb_error *err)
{
    const size_t batch = (size_t)images->batch_size;
    const struct qb_sample *const sample = &images->sample;
    uint8_t *const pixels = malloc(batch * QB_IMAGE_BYTES);
    float *const logits = calloc(batch * (size_t)engine->classes, sizeof *logits);
    enum qb_status status = pixels && logits ? QB_OK : qb_fail_memory(err, batch * QB_IMAGE_BYTES);
    for (size_t done = 0; status == QB_OK && done < sample->count;) {
        const size_t left = sample->count - done, n = left < batch ? left : batch;
        for (size_t i = 0; i < n; i++) {
            memcpy(pixels + i * QB_IMAGE_BYTES,
                   images->train->images + (size_t)sample->indices[done + i] * QB_IMAGE_BYTES,
                   QB_IMAGE_BYTES);
        }
        status = qb_engine_run(engine, pixels, (int)n, logits, err);
        status = status == QB_OK && watched ? *watched : status;
        if (status == QB_OK && qb_interrupted()) {
            status = qb_fail(err, QB_EINTERRUPTED, "interrupted during calibration");
        }
        done += n;
        qb_progress_report(progress, what, done, sample->count);
    }
    free(logits);
    free(pixels);
    return status;
}

/* The engine whose float pass calibrates, on one thread: sums in PyTorch's order for each batch. */
static enum qb_status float_engine(const struct qb_graph *graph, const struct pipeline_calibration *how,
                                   struct qb_engine **out, struct qb_error *err)
{
    const struct qb_engine_options options = {.isa =
                                                  how->isa == QB_ISA_REF ? qb_cpu_best(QB_ISA_AMX) : how->isa,
                                              .threads = 1,
                                              .batch = how->batch_size,
                                              .pytorch_batches = true};
    return qb_engine_create(calibration_engine(), graph, NULL, &options, out, err);
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

/* Whether any tensor is: a scheme whose ranges are taken at run time needs no images. */
static enum qb_status is_observed(const struct qb_graph *graph, const struct qb_scheme *scheme, bool *out,
                                  struct qb_error *err)
{
    struct qb_calibration *calibration = NULL;
    QB_TRY(qb_calibration_create(graph, scheme, &calibration, err));
    *out = false;
    for (int i = 0; i < graph->count && !*out; i++) {
        *out = qb_calibration_wants(calibration, i);
    }
    qb_calibration_free(calibration);
    return QB_OK;
}

static enum qb_status calibrate(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                const struct pipeline_calibration *how, const struct images *images,
                                const struct qb_progress *progress, struct qb_arena *arena,
                                struct qb_qparams_table *table, struct qb_error *err)
{
    struct qb_engine *engine = NULL;
    struct observation seen = {.err = err};
    QB_TRY(qb_calibration_create(graph, scheme, &seen.calibration, err));
    enum qb_status status = float_engine(graph, how, &engine, err);
    if (status == QB_OK) {
        engine->tap = observe;
        engine->tap_ctx = &seen;
        do {
            status = run_batches(engine, &seen.status, images, "calibrating", progress, err);
        } while (status == QB_OK && qb_calibration_next_pass(seen.calibration));
    }
    if (status == QB_OK) {
        status = qb_calibration_qparams(seen.calibration, arena, table, err);
    }
    qb_engine_free(engine);
    qb_calibration_free(seen.calibration);
    return status;
}

/* ---- calibrations that were done before ---- */

struct pipeline_cached {
    char *key; /* all that the scales of activations depend on */
    struct qb_arena *arena;
    struct qb_qparams_table table;
};

void pipeline_cache_free(struct pipeline_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++) {
        free(cache->entries[i].key);
        qb_arena_destroy(cache->entries[i].arena);
    }
    free(cache->entries);
    *cache = (struct pipeline_cache){0};
}

static enum qb_status cache_key(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                const struct pipeline_calibration *how, const struct images *images,
                                char **out, struct qb_error *err)
{
    char activations[QB_SPEC_IDENTITY], layers[QB_SHA256_HEX];
    qb_spec_identity(&scheme->activations, activations);
    QB_TRY(qb_layers_identity(scheme, layers, err));
    /* ONNX Runtime's quantizer observes tensors that others do not (src/quant/roles.h). */
    const bool ort = scheme->arithmetic == QB_ARITHMETIC_ORT;
    return asprintf(out, "%s|%u|%d|%s|%s|%u|%d|%s|%d|%d", graph->sha256,
                    ort ? scheme->refine : scheme->refine & QB_REFINE_EQUALIZE, ort, activations, layers,
                    scheme->fuse, (int)scheme->prepare, images->sample.hash, images->batch_size,
                    (int)how->isa) < 0
               ? qb_fail_memory(err, sizeof activations)
               : QB_OK;
}

/* Takes over `entry` unless it fails. */
static enum qb_status cache_add(struct pipeline_cache *cache, const struct pipeline_cached *entry,
                                struct qb_error *err)
{
    struct pipeline_cached *const larger =
        reallocarray(cache->entries, cache->count + 1, sizeof *cache->entries);
    if (!larger) {
        return qb_fail_memory(err, (cache->count + 1) * sizeof *larger);
    }
    cache->entries = larger;
    larger[cache->count++] = *entry;
    return QB_OK;
}

/* calibrate(), at most once for each key; the table lives as long as the cache. */
static enum qb_status calibrate_once(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                     const struct pipeline_calibration *how, const struct images *images,
                                     const struct qb_progress *progress, struct qb_qparams_table *table,
                                     struct qb_error *err)
{
    struct pipeline_cached made = {.key = NULL};
    QB_TRY(cache_key(graph, scheme, how, images, &made.key, err));
    for (size_t i = 0; i < how->cache->count; i++) {
        if (strcmp(how->cache->entries[i].key, made.key) == 0) {
            *table = how->cache->entries[i].table;
            free(made.key);
            return QB_OK;
        }
    }
    made.arena = qb_arena_create();
    enum qb_status status =
        made.arena ? calibrate(graph, scheme, how, images, progress, made.arena, &made.table, err)
                   : qb_fail_memory(err, sizeof(void *));
    if (status == QB_OK) {
        status = cache_add(how->cache, &made, err);
    }
    if (status != QB_OK) {
        free(made.key);
        qb_arena_destroy(made.arena);
        return status;
    }
    *table = made.table;
    return QB_OK;
}

static void refine_observe(void *ctx, int node, const void *data, size_t count)
{
    qb_refinement_observe(ctx, node, data, count);
}

/* The scheme's own arithmetic, bit for bit: native kernels where they can, else the reference engine. */
static enum qb_status integer_engine(const struct qb_qgraph *qgraph, const struct pipeline_calibration *how,
                                     struct qb_engine **out, struct qb_error *err)
{
    const struct qb_engine_options options = {
        .isa = qb_cpu_best(QB_ISA_AMX), .threads = 1, .batch = how->batch_size};
    struct qb_error why = {0};
    return qb_engine_create("native", NULL, qgraph, &options, out, &why) == QB_OK
               ? QB_OK
               : qb_engine_create("reference", NULL, qgraph, &options, out, err);
}

static enum qb_status refine(const struct qb_graph *graph, const struct qb_scheme *scheme,
                             const struct pipeline_calibration *how, const struct images *images,
                             const struct qb_progress *progress, struct qb_qgraph *qgraph,
                             struct qb_error *err)
{
    struct qb_refinement *refinement = NULL;
    enum qb_refine_pass pass = QB_REFINE_PASS_DONE;
    QB_TRY(qb_refinement_create(graph, scheme, qgraph, &refinement, err));
    enum qb_status status = qb_refinement_next(refinement, &pass, err);
    while (status == QB_OK && pass != QB_REFINE_PASS_DONE) {
        struct qb_engine *engine = NULL;
        status = pass == QB_REFINE_PASS_FLOAT ? float_engine(graph, how, &engine, err)
                                              : integer_engine(qgraph, how, &engine, err);
        if (status == QB_OK) {
            engine->tap = refine_observe;
            engine->tap_ctx = refinement;
            status = run_batches(engine, NULL, images, "refining", progress, err);
        }
        qb_engine_free(engine);
        if (status == QB_OK) {
            status = qb_refinement_next(refinement, &pass, err);
        }
    }
    qb_refinement_free(refinement);
    return status;
}

/* Scales of activations from the file or from the images, the integer graph, then what the scheme refines. */
static enum qb_status quantize(const struct qb_graph *graph, const struct qb_scheme *scheme,
                               const struct pipeline_calibration *how, const char *note,
                               const struct qb_progress *progress, struct qb_arena *arena,
                               struct qb_qgraph **out, struct qb_error *err)
{
    struct qb_qparams_table table = {0};
    struct images images = {0};
    struct qb_qgraph *qgraph = NULL;
    const bool refines = (scheme->refine & ~(unsigned)QB_REFINE_EQUALIZE) != 0;
    bool observed = true;
    enum qb_status status = how->qparams ? QB_OK : is_observed(graph, scheme, &observed, err);
    if (status == QB_OK && ((!how->qparams && observed) || refines)) {
        status = open_images(how, &images, err);
        status = status == QB_OK ? qb_check_images(graph->nodes[0].dst, images.train, err) : status;
    }
    if (status == QB_OK) {
        status = !observed      ? qb_qparams_table_make((size_t)graph->count, arena, &table, err)
                 : how->qparams ? qb_qparams_read(how->qparams, graph, scheme, arena, &table, err)
                 : how->cache   ? calibrate_once(graph, scheme, how, &images, progress, &table, err)
                                : calibrate(graph, scheme, how, &images, progress, arena, &table, err);
    }
    if (status == QB_OK) {
        status = qb_quantize(graph, scheme, &table, images.sample.hash, &qgraph, err);
    }
    if (status == QB_OK && note && !(qgraph->refinement = qb_arena_strdup(qgraph->arena, note))) {
        status = qb_fail_memory(err, strlen(note));
    }
    if (status == QB_OK && refines) {
        status = refine(graph, scheme, how, &images, progress, qgraph, err);
    }
    close_images(&images);
    if (status != QB_OK) {
        qb_qgraph_free(qgraph);
        return status;
    }
    *out = qgraph;
    return QB_OK;
}

enum qb_status pipeline_quantize(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                 const struct pipeline_calibration *calibration,
                                 const struct qb_progress *progress, struct qb_qgraph **out,
                                 struct qb_error *err)
{
    QB_TRY(qb_scheme_check(scheme, err));
    struct qb_graph *equalized = NULL;
    const char *note = NULL;
    if (scheme->refine & QB_REFINE_EQUALIZE) {
        QB_TRY(qb_equalize(graph, &equalized, &note, err));
    }
    struct qb_arena *const arena = qb_arena_create();
    const enum qb_status status =
        arena ? quantize(equalized ? equalized : graph, scheme, calibration, note, progress, arena, out, err)
              : qb_fail_memory(err, sizeof(void *));
    qb_arena_destroy(arena);
    qb_graph_free(equalized);
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

/* The integer graph of a quantized file; nothing for a float one. */
static enum qb_status read_quantized(const struct pipeline_model *model, const char *arithmetic,
                                     struct qb_qgraph **out, struct qb_error *err)
{
    enum qb_arithmetic wanted = QB_ARITHMETIC_ORT;
    if (arithmetic && !qb_arithmetic_parse(arithmetic, &wanted)) {
        char names[128] = "";
        for (int i = 0, used = 0; i < QB_ARITHMETIC_COUNT && used < (int)sizeof names; i++) {
            used += snprintf(names + used, sizeof names - (size_t)used, "%s%s", i ? ", " : "",
                             qb_arithmetic_name((enum qb_arithmetic)i));
        }
        return qb_fail(err, QB_EINPUT, "--arithmetic: expected one of %s, found '%.60s'", names, arithmetic);
    }
    if (!model->graph->quantized) {
        return arithmetic ? qb_fail(err, QB_EINPUT, "%s: a float model has no integer arithmetic to choose",
                                    model->graph->path)
                          : QB_OK;
    }
    QB_TRY(qb_qdq_read(model->graph, wanted, out, err));
    if (arithmetic && (*out)->arithmetic != wanted) {
        return qb_fail(err, QB_EINPUT,
                       "%s: the file says that its arithmetic is %s; --arithmetic %s is for "
                       "files that do not say",
                       model->graph->path, qb_arithmetic_name((*out)->arithmetic), arithmetic);
    }
    return QB_OK;
}

enum qb_status pipeline_model_load(const char *path, const char *arithmetic, struct pipeline_model *out,
                                   struct qb_error *err)
{
    struct pipeline_model model = {0};
    QB_TRY(pipeline_graph_load(path, &model.graph, err));
    const enum qb_status status = read_quantized(&model, arithmetic, &model.qgraph, err);
    if (status != QB_OK) {
        pipeline_model_free(&model);
        return status;
    }
    *out = model;
    return QB_OK;
}

enum qb_status pipeline_model_quantize(const char *name, const char *path, const char *data_dir,
                                       enum qb_isa isa, const struct qb_progress *progress,
                                       struct pipeline_model *model, struct qb_error *err)
{
    if (!name) {
        return QB_OK;
    }
    if (model->qgraph) {
        return qb_fail(err, QB_EINPUT, "--scheme: %s is quantized already; give the float model", path);
    }
    struct qb_arena *const arena = qb_arena_create();
    struct qb_scheme scheme = {0};
    enum qb_status status = arena ? qb_scheme_load(name, share_scheme_dirs(), arena, &scheme, err)
                                  : qb_fail_memory(err, sizeof(void *));
    if (status == QB_OK && !scheme.fp32) {
        const struct qb_sampler sampler = {.per_class = 100};
        const struct pipeline_calibration calibration = {
            .sampler = &sampler, .batch_size = 32, .data_dir = data_dir, .isa = isa};
        status = pipeline_quantize(model->graph, &scheme, &calibration, progress, &model->qgraph, err);
    }
    qb_arena_destroy(arena);
    return status;
}

void pipeline_model_free(struct pipeline_model *model)
{
    qb_qgraph_free(model->qgraph);
    qb_graph_free(model->graph);
    *model = (struct pipeline_model){0};
}

enum qb_status pipeline_accumulate(const char *name, struct qb_qgraph *qgraph, struct qb_error *err)
{
    return !name || qb_accumulate_parse(name, qgraph->arithmetic, &qgraph->accumulate)
               ? QB_OK
               : qb_fail(err, QB_EINPUT, "--accumulate: \"%.60s\" is not one of " QB_ACCUMULATE_NAMES, name);
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
