/* The accuracy half of a run: see run.h. Each entry is scored on all images, compared with FP32, and its first images with
 * the reference engine: a wrong answer never gets a latency. */
#include "cli/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "measure/stats.h"

enum {
    SCORE_BATCH = 50,
    CHECK_IMAGES = 64, /* compared with the reference engine, byte for byte */
};

static enum qb_status compute(const char *engine_name, const struct run *run, const struct qb_qgraph *qgraph,
                              enum qb_isa isa, int threads, size_t images, const char *what, struct qb_outputs *out,
                              enum qb_exactness *exactness, char implementation[256], struct qb_error *err)
{
    const struct qb_engine_options options = {
        .isa = isa, .threads = threads, .batch = SCORE_BATCH, .impl = run->plan.impl};
    struct qb_engine *engine = NULL;
    QB_TRY(qb_engine_create(engine_name, qgraph ? NULL : run->graph, qgraph, &options, &engine, err));
    if (implementation) {
        snprintf(implementation, 256, "%s", engine->implementation);
    }
    if (exactness) {
        *exactness = engine->exactness;
    }
    qb_progress_report(&cli_progress, what, 0, images);
    const enum qb_status status = qb_outputs_compute(engine, &run->test, images, &cli_progress, out, err);
    qb_engine_free(engine);
    return status;
}

static enum qb_status scheme_qgraph(struct run *run, struct run_scheme *s, struct qb_error *err)
{
    if (s->qgraph || s->scheme->fp32) {
        return QB_OK;
    }
    if (s->failure.status != QB_OK) {
        *err = s->failure;
        return err->status;
    }
    const struct pipeline_calibration calibration = {.sampler = &run->sampler,
                                                     .batch_size = (int)run->plan.calibration.batch_size,
                                                     .isa = run->onednn_isa,
                                                     .train = &run->train};
    const enum qb_status status = pipeline_quantize(run->graph, s->scheme, &calibration, &cli_progress, &s->qgraph, err);
    if (status != QB_OK) {
        s->failure = *err;
    }
    return status;
}

/* FAILED text when the first images differ from the reference engine's. */
static enum qb_status check_reference(const struct run *run, const struct run_scheme *s, const struct qb_outputs *outputs,
                                      struct qb_error *err)
{
    struct qb_outputs reference = {0};
    const size_t n = run->images < CHECK_IMAGES ? run->images : CHECK_IMAGES;
    QB_TRY(compute("reference", run, s->qgraph, QB_ISA_REF, pipeline_cpus(), n, "checking against the reference engine", &reference, NULL,
                   NULL, err));
    enum qb_status status = QB_OK;
    const size_t width = (size_t)reference.classes;
    for (size_t i = 0; status == QB_OK && i < n; i++) {
        if (memcmp(reference.logits + i * width, outputs->logits + i * width, width * sizeof(float)) != 0) {
            status = qb_fail(err, QB_EFAILED, "logits of test image %zu differ from the reference engine's; no latency is "
                             "shown for a wrong answer", i);
        }
    }
    qb_outputs_free(&reference);
    return status;
}

static void copy_score(const struct run *run, const struct run_entry *entry, struct qb_row *row)
{
    struct qb_score score;
    struct qb_paired paired;
    qb_score_compute(&entry->outputs, &run->test, &score);
    row->images = (int64_t)score.total;
    row->correct = (int64_t)score.correct;
    for (int c = 0; c < QB_CLASSES; c++) {
        row->class_correct[c] = (int64_t)score.class_correct[c];
        row->class_total[c] = (int64_t)score.class_total[c];
    }
    const struct qb_interval wilson = qb_wilson95(score.correct, score.total);
    row->accuracy = (double)score.correct / (double)score.total;
    row->wilson_low = wilson.low;
    row->wilson_high = wilson.high;
    qb_paired_compute(&entry->outputs, &run->fp32, &run->test, &paired);
    row->agree = (int64_t)paired.agree;
    if (!entry->scheme->scheme->fp32) {
        row->only_fp32 = (int64_t)paired.only_baseline;
        row->only_this = (int64_t)paired.only_this;
        row->p = paired.p;
    }
    memcpy(row->logits_hash, entry->outputs.logits_hash, sizeof row->logits_hash);
}

static int64_t count_changed(const struct qb_outputs *a, const struct qb_outputs *b)
{
    int64_t changed = 0;
    for (size_t i = 0; i < a->count; i++) {
        changed += a->predictions[i] != b->predictions[i];
    }
    return changed;
}

/* Outputs of the scheme's own arithmetic on all images, by the exact engine where it is exact here, else the reference. */
static enum qb_status exact_outputs(struct run *run, struct run_scheme *s, struct qb_error *err)
{
    if (s->exact.count) {
        return QB_OK;
    }
    enum qb_exactness exactness;
    QB_TRY(compute("onednn", run, s->qgraph, run->onednn_isa, 1, run->images, "exact predictions to compare with",
                   &s->exact, &exactness, NULL, err));
    if (exactness == QB_EXACT) {
        return QB_OK;
    }
    qb_outputs_free(&s->exact);
    return compute("reference", run, s->qgraph, QB_ISA_REF, pipeline_cpus(), run->images, "exact predictions (reference engine)", &s->exact,
                   NULL, NULL, err);
}

static enum qb_status score_entry(struct run *run, struct run_entry *entry, struct qb_error *err)
{
    struct run_scheme *const s = entry->scheme;
    char what[64], implementation[256], hash[QB_HASH64_HEX] = "";
    enum qb_exactness exactness;
    QB_TRY(scheme_qgraph(run, s, err));
    snprintf(what, sizeof what, "accuracy: %.24s, %.16s", s->scheme->name, entry->plan->engine);
    QB_TRY(compute(entry->plan->engine, run, s->qgraph, entry->isa, entry->plan->threads, run->images, what, &entry->outputs, &exactness,
                   implementation, err));
    int64_t changed = -1;
    if (s->qgraph) {
        qb_qgraph_hash(s->qgraph, hash);
        if (exactness == QB_EXACT) {
            QB_TRY(check_reference(run, s, &entry->outputs, err));
            changed = 0;
        } else {
            QB_TRY(exact_outputs(run, s, err));
            changed = count_changed(&entry->outputs, &s->exact);
        }
    }
    for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
        struct qb_row *const row = &entry->rows[b];
        copy_score(run, entry, row);
        row->status = QB_ROW_OK;
        row->message[0] = 0;
        row->changed = changed;
        row->bytes = s->qgraph ? (int64_t)qb_qgraph_bytes(s->qgraph) : row->fp32_bytes;
        snprintf(row->exact, sizeof row->exact, "%s", !s->qgraph ? "" : exactness == QB_EXACT ? "=" : "~");
        snprintf(row->implementation, sizeof row->implementation, "%s", implementation);
        snprintf(row->qgraph_hash, sizeof row->qgraph_hash, "%s", hash);
    }
    return QB_OK;
}

enum qb_status run_accuracy_head(struct run *run, struct run_entry *entry, struct qb_error *err)
{
    if (entry->outputs.count) {
        return QB_OK;
    }
    enum qb_exactness exactness;
    const size_t n = run->images < CHECK_IMAGES ? run->images : CHECK_IMAGES;
    QB_TRY(scheme_qgraph(run, entry->scheme, err));
    QB_TRY(compute(entry->plan->engine, run, entry->scheme->qgraph, entry->isa, entry->plan->threads, n, "checking stored rows", &entry->outputs,
                   &exactness, NULL, err));
    return entry->scheme->qgraph && exactness == QB_EXACT ? check_reference(run, entry->scheme, &entry->outputs, err)
                                                          : QB_OK;
}

static bool has_accuracy(const struct run *run, const struct run_entry *entry)
{
    for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
        if (entry->rows[b].correct < 0) {
            return false;
        }
    }
    return true;
}

enum qb_status run_accuracy(struct run *run, struct qb_error *err)
{
    for (size_t i = 0; i < run->entry_count; i++) {
        struct run_entry *const entry = &run->entries[i];
        if (entry->unavailable.status != QB_OK || has_accuracy(run, entry)) {
            continue;
        }
        enum qb_status status = QB_OK;
        if (!run->fp32.count) {
            status = compute("onednn", run, NULL, run->onednn_isa, 1, run->images, "accuracy: fp32 baseline",
                             &run->fp32, NULL, NULL, err);
        }
        if (status == QB_OK) {
            struct qb_error why = {0};
            status = score_entry(run, entry, &why);
            if (status == QB_EINTERRUPTED || status == QB_ENOMEM) {
                *err = why;
            } else {
                status = status == QB_OK ? run_store_entry(run, entry, err) : run_entry_failed(run, entry, &why, err);
            }
        }
        if (status == QB_OK && qb_interrupted()) {
            status = qb_fail(err, QB_EINTERRUPTED, "interrupted");
        }
        QB_TRY(status);
    }
    return QB_OK;
}
