/* The accuracy half of a run: see run.h. Each entry is scored on all images, compared with FP32, and its
 * first images with the reference engine: a wrong answer never gets a latency. */
#include "cli/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "measure/stats.h"

#define NATIVE "native"
#define REFERENCE "reference"

enum {
    SCORE_BATCH = 50,
    CHECK_IMAGES = 64,
};

size_t run_check_images(const struct run *run)
{
    return run->images < CHECK_IMAGES ? run->images : CHECK_IMAGES;
}

/* One engine over the first images. */
struct pass {
    const char *engine, *impl;
    const struct qb_qgraph *qgraph; /* NULL: the float graph */
    enum qb_isa isa;
    int threads;
    size_t images;
    const char *what; /* for the progress line */
};

/* What the engine says about itself. */
struct facts {
    enum qb_exactness exactness;
    char implementation[256];
    char isa[16]; /* in effect, when it is one of ours: engines may use less than they are allowed to */
};

static void take_facts(const struct qb_engine *engine, struct facts *out)
{
    *out = (struct facts){.exactness = engine->exactness};
    snprintf(out->implementation, sizeof out->implementation, "%s", engine->implementation);
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        if (strcmp(engine->isa, qb_isa_name((enum qb_isa)i)) == 0) {
            snprintf(out->isa, sizeof out->isa, "%s", engine->isa);
        }
    }
}

/* Progress under the name of the pass. */
static void report(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    const struct pass *const *const pass = ctx;
    (void)what;
    qb_progress_report(&cli_progress, (*pass)->what, done, total);
}

static enum qb_status make_engine(const struct run *run, const struct pass *pass, struct qb_engine **out,
                                  struct qb_error *err)
{
    const struct qb_engine_options options = {
        .isa = pass->isa, .threads = pass->threads, .batch = SCORE_BATCH, .impl = pass->impl};
    return qb_engine_create(pass->engine, pass->qgraph ? NULL : run->graph, pass->qgraph, &options, out, err);
}

static enum qb_status compute(const struct run *run, const struct pass *pass, struct qb_outputs *out,
                              struct facts *facts, struct qb_error *err)
{
    struct qb_engine *engine = NULL;
    QB_TRY(make_engine(run, pass, &engine, err));
    take_facts(engine, facts);
    const struct qb_progress progress = {report, &pass};
    const enum qb_status status = qb_outputs_compute(engine, &run->test, pass->images, &progress, out, err);
    qb_engine_free(engine);
    return status;
}

/* The first `images` images by the engine and instruction set of an entry. The number of threads is the
 * entry's where answers may depend on it; our own engines have all CPUs, and what they say of themselves they
 * say with the entry's. */
static enum qb_status compute_entry(const struct run *run, const struct run_entry *entry, size_t images,
                                    const char *what, struct qb_outputs *out, struct facts *facts,
                                    struct qb_error *err)
{
    const bool own = strcmp(entry->plan->engine, NATIVE) == 0 || strcmp(entry->plan->engine, REFERENCE) == 0;
    struct pass pass = {.engine = entry->plan->engine,
                        .impl = run->plan.impl,
                        .qgraph = entry->scheme->qgraph,
                        .isa = entry->isa,
                        .threads = own ? pipeline_cpus() : entry->plan->threads,
                        .images = images,
                        .what = what};
    QB_TRY(compute(run, &pass, out, facts, err));
    if (pass.threads == entry->plan->threads) {
        return QB_OK;
    }
    struct qb_engine *engine = NULL;
    pass.threads = entry->plan->threads;
    QB_TRY(make_engine(run, &pass, &engine, err));
    take_facts(engine, facts);
    qb_engine_free(engine);
    return QB_OK;
}

static enum qb_status compute_reference(const struct run *run, const struct run_scheme *s, size_t images,
                                        const char *what, struct qb_outputs *out, struct qb_error *err)
{
    const struct pass pass = {.engine = REFERENCE,
                              .qgraph = s->qgraph,
                              .isa = QB_ISA_REF,
                              .threads = pipeline_cpus(),
                              .images = images,
                              .what = what};
    struct facts facts;
    return compute(run, &pass, out, &facts, err);
}

enum qb_status run_scheme_qgraph(struct run *run, struct run_scheme *s, struct qb_error *err)
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
                                                     .train = &run->train,
                                                     .cache = &run->cache,
                                                     .isa = run->onednn_isa};
    const enum qb_status status =
        pipeline_quantize(run->graph, s->scheme, &calibration, &cli_progress, &s->qgraph, err);
    if (status != QB_OK) {
        s->failure = *err;
    }
    return status;
}

/* FAILED text when the first images differ from the reference engine's. */
static enum qb_status check_reference(const struct run *run, const struct run_scheme *s,
                                      const struct qb_outputs *outputs, struct qb_error *err)
{
    struct qb_outputs reference = {0};
    const size_t n = run_check_images(run);
    QB_TRY(compute_reference(run, s, n, "checking", &reference, err));
    enum qb_status status = QB_OK;
    const size_t width = (size_t)reference.classes;
    for (size_t i = 0; status == QB_OK && i < n; i++) {
        if (memcmp(reference.logits + i * width, outputs->logits + i * width, width * sizeof(float)) != 0) {
            status = qb_fail(err, QB_EFAILED,
                             "logits of test image %zu differ from the reference engine's; no latency is "
                             "shown for a wrong answer",
                             i);
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

/* An entry of the scheme that the native engine has scored: it is exact. NULL when there is none. */
static const struct run_entry *find_native(const struct run *run, const struct run_scheme *s)
{
    for (size_t i = 0; i < run->entry_count; i++) {
        const struct run_entry *const e = &run->entries[i];
        if (e->scheme == s && strcmp(e->plan->engine, NATIVE) == 0 && e->outputs.count == run->images) {
            return e;
        }
    }
    return NULL;
}

/* By the native engine where it can, else by the reference. */
enum qb_status run_exact_outputs(struct run *run, struct run_scheme *s, struct qb_error *err)
{
    if (s->exact.count) {
        return QB_OK;
    }
    const struct run_entry *const scored = find_native(run, s);
    if (scored) {
        return qb_outputs_copy(&scored->outputs, &s->exact, err);
    }
    const struct pass native = {.engine = NATIVE,
                                .qgraph = s->qgraph,
                                .isa = run->onednn_isa,
                                .threads = pipeline_cpus(),
                                .images = run->images,
                                .what = "exact answers"};
    struct facts facts;
    enum qb_status status = compute(run, &native, &s->exact, &facts, err);
    if (status == QB_OK) {
        status = check_reference(run, s, &s->exact, err);
    }
    if (status == QB_OK || status == QB_EINTERRUPTED) {
        return status;
    }
    qb_outputs_free(&s->exact);
    return compute_reference(run, s, run->images, "exact answers", &s->exact, err);
}

/* What `vs FP32` and `agree` compare with. oneDNN's first choice, whatever `impl` says: `fastest` may differ
 * from run to run, and a name need not fit a float layer. */
static enum qb_status compute_baseline(struct run *run, struct qb_error *err)
{
    const struct pass pass = {
        .engine = "onednn", .isa = run->onednn_isa, .threads = 1, .images = run->images, .what = "accuracy"};
    struct facts facts;
    return compute(run, &pass, &run->fp32, &facts, err);
}

/* An entry that was scored with the same integer network on the same engine; NULL when there is none. */
static const struct run_entry *find_twin(const struct run *run, const struct run_entry *entry,
                                         const char *qgraph_hash)
{
    for (size_t i = 0; i < run->entry_count; i++) {
        const struct run_entry *const e = &run->entries[i];
        if (e != entry && e->outputs.count == run->images && e->isa == entry->isa &&
            e->plan->threads == entry->plan->threads && strcmp(e->plan->engine, entry->plan->engine) == 0 &&
            strcmp(e->rows[0].qgraph_hash, qgraph_hash) == 0) {
            return e;
        }
    }
    return NULL;
}

/* What was measured of the twin holds for this entry: equal hash, equal results. */
static enum qb_status copy_twin(const struct run *run, const struct run_entry *twin, struct run_entry *entry,
                                struct qb_error *err)
{
    cli_step("%.24s has the integer network of %.24s", entry->plan->scheme->name, twin->plan->scheme->name);
    QB_TRY(qb_outputs_copy(&twin->outputs, &entry->outputs, err));
    const struct qb_row *const from = &twin->rows[0];
    for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
        struct qb_row *const row = &entry->rows[b];
        copy_score(run, entry, row);
        row->status = QB_ROW_OK;
        row->message[0] = 0;
        row->changed = from->changed;
        row->bytes = from->bytes;
        memcpy(row->exact, from->exact, sizeof row->exact);
        memcpy(row->implementation, from->implementation, sizeof row->implementation);
        memcpy(row->isa, from->isa, sizeof row->isa);
        memcpy(row->qgraph_hash, from->qgraph_hash, sizeof row->qgraph_hash);
    }
    return QB_OK;
}

static enum qb_status score_entry(struct run *run, struct run_entry *entry, struct qb_error *err)
{
    struct run_scheme *const s = entry->scheme;
    char hash[QB_HASH64_HEX] = "";
    struct facts facts;
    QB_TRY(run_scheme_qgraph(run, s, err));
    if (s->qgraph) {
        qb_qgraph_hash(s->qgraph, hash);
        const struct run_entry *const twin = find_twin(run, entry, hash);
        if (twin) {
            return copy_twin(run, twin, entry, err);
        }
    }
    QB_TRY(compute_entry(run, entry, run->images, "accuracy", &entry->outputs, &facts, err));
    int64_t changed = -1;
    if (s->qgraph) {
        if (facts.exactness == QB_EXACT) {
            QB_TRY(check_reference(run, s, &entry->outputs, err));
            changed = 0;
        } else {
            QB_TRY(run_exact_outputs(run, s, err));
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
        snprintf(row->exact, sizeof row->exact, "%s",
                 !s->qgraph                    ? ""
                 : facts.exactness == QB_EXACT ? "="
                                               : "~");
        snprintf(row->implementation, sizeof row->implementation, "%s", facts.implementation);
        if (facts.isa[0]) {
            snprintf(row->isa, sizeof row->isa, "%s", facts.isa);
        }
        snprintf(row->qgraph_hash, sizeof row->qgraph_hash, "%s", hash);
    }
    return QB_OK;
}

enum qb_status run_accuracy_head(struct run *run, struct run_entry *entry, struct qb_error *err)
{
    if (entry->outputs.count) {
        return QB_OK;
    }
    struct facts facts;
    const size_t n = run_check_images(run);
    QB_TRY(run_scheme_qgraph(run, entry->scheme, err));
    QB_TRY(compute_entry(run, entry, n, "checking stored rows", &entry->outputs, &facts, err));
    return entry->scheme->qgraph && facts.exactness == QB_EXACT
               ? check_reference(run, entry->scheme, &entry->outputs, err)
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

static bool wants_score(const struct run *run, const struct run_entry *entry)
{
    return entry->unavailable.status == QB_OK && !has_accuracy(run, entry);
}

/* Scores and stores one entry. A failure of its own is a FAILED row, not the end of the run. */
static enum qb_status score_and_store(struct run *run, struct run_entry *entry, struct qb_error *err)
{
    struct qb_error why = {0};
    const enum qb_status status = score_entry(run, entry, &why);
    if (status == QB_EINTERRUPTED || status == QB_ENOMEM) {
        *err = why;
        return status;
    }
    QB_TRY(status == QB_OK ? run_store_entry(run, entry, err) : run_entry_failed(run, entry, &why, err));
    return qb_interrupted() ? qb_fail(err, QB_EINTERRUPTED, "interrupted") : QB_OK;
}

/* The other calibration sets come when every row has its accuracy. */
static enum qb_status score_sets(struct run *run, struct qb_error *err)
{
    for (size_t i = 0; i < run->entry_count; i++) {
        if (run_wants_sets(run, &run->entries[i])) {
            QB_TRY(run_sets(run, &run->entries[i], err));
        }
    }
    return QB_OK;
}

enum qb_status run_accuracy(struct run *run, struct qb_error *err)
{
    size_t wanted = 0, done = 0;
    for (size_t i = 0; i < run->entry_count; i++) {
        wanted += wants_score(run, &run->entries[i]);
    }
    if (!wanted) {
        return score_sets(run, err);
    }
    cli_step("FP32 baseline on %zu images", run->images);
    QB_TRY(compute_baseline(run, err));
    const uint64_t start = qb_now_ns();
    for (size_t i = 0; i < run->entry_count; i++) {
        struct run_entry *const entry = &run->entries[i];
        if (wants_score(run, entry)) {
            const double elapsed = (double)(qb_now_ns() - start) / 1e9;
            cli_time_left(done ? elapsed / (double)done * (double)(wanted - done) + run->plan.measure.seconds
                               : -1);
            cli_step("%zu/%zu %.24s on %.16s %.12s", ++done, wanted, entry->plan->scheme->name,
                     entry->plan->engine, qb_isa_name(entry->isa));
            QB_TRY(score_and_store(run, entry, err));
        }
    }
    return score_sets(run, err);
}
