/* The latency half of a run: see run.h. All entries are timed in one interleaved block a batch size, so that
 * they share the machine's good and bad moments. */
#include "cli/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "measure/latency.h"
#include "measure/machine.h"
#include "measure/roof.h"

static bool is_ok(const struct run_entry *entry)
{
    return entry->rows[0].status == QB_ROW_OK && entry->rows[0].correct >= 0;
}

static bool is_timed(const struct run *run, size_t batch_index)
{
    for (size_t i = 0; i < run->entry_count; i++) {
        if (is_ok(&run->entries[i]) && isnan(run->entries[i].rows[batch_index].median)) {
            return false;
        }
    }
    return true;
}

/* The engine that is timed must give the answers that were scored: runs the first images, at least one batch,
 * and compares. FP32 is only run, as its sums may come in another order. */
static enum qb_status check_outputs(const struct run *run, const struct run_entry *entry,
                                    struct qb_engine *engine, struct qb_error *err)
{
    struct qb_outputs outputs = {0};
    const size_t checked = run_check_images(run), batch = (size_t)engine->batch;
    QB_TRY(qb_outputs_compute(engine, &run->test, batch > checked ? batch : checked, NULL, &outputs, err));
    enum qb_status status = QB_OK;
    const size_t width = (size_t)outputs.classes;
    const bool integer = entry->scheme->qgraph != NULL;
    for (size_t i = 0; status == QB_OK && integer && i < outputs.count && i < entry->outputs.count; i++) {
        if (memcmp(outputs.logits + i * width, entry->outputs.logits + i * width,
                   width * sizeof *outputs.logits) != 0) {
            status = qb_fail(err, QB_EFAILED,
                             "the engine to be timed (batch %zu) gives other logits for test image %zu than "
                             "the one that was scored",
                             batch, i);
        }
    }
    qb_outputs_free(&outputs);
    return status;
}

static enum qb_status make_engine(struct run *run, struct run_entry *entry, int batch, struct qb_engine **out,
                                  struct qb_error *err)
{
    const struct qb_engine_options options = {
        .isa = entry->isa, .threads = entry->plan->threads, .batch = batch, .impl = run->plan.impl};
    QB_TRY(run_accuracy_head(run, entry, err));
    QB_TRY(qb_engine_create(entry->plan->engine, entry->scheme->qgraph ? NULL : run->graph,
                            entry->scheme->qgraph, &options, out, err));
    const enum qb_status status = check_outputs(run, entry, *out, err);
    if (status != QB_OK) {
        qb_engine_free(*out);
        *out = NULL;
    }
    return status;
}

/* The best rate of what the row ran on; NAN for scalar code, which has no probe. */
static double roof_of(const struct qb_row *row, const struct qb_roof *roof)
{
    const double *const rates = strcmp(row->scheme, "fp32") == 0 ? roof->f32_gmacs : roof->gmacs;
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        if (strcmp(row->isa, qb_isa_name((enum qb_isa)i)) == 0 && rates[i] > 0) {
            return rates[i] * row->threads;
        }
    }
    return NAN;
}

static void copy_latency(const struct qb_latency *from, const struct qb_roof *roof, double noise_floor,
                         struct qb_row *row)
{
    row->min = from->min;
    row->p10 = from->p10;
    row->median = from->median;
    row->p90 = from->p90;
    row->p99 = from->p99;
    row->median_low = from->median_low;
    row->median_high = from->median_high;
    row->disturbed = from->disturbed;
    row->samples = (int64_t)from->samples;
    row->noise_floor = noise_floor;
    row->images_per_s = 1e6 / from->median;
    row->roof_gmacs = roof_of(row, roof);
    row->roof_share = qb_roof_share(row->roof_gmacs, row->macs, from->min);
}

/* How many times faster than the fastest FP32 of the same threads, from the paired ratios; NAN when there is
 * none. */
static void fill_speedups(struct qb_row *const *list, const struct qb_ratio *ratios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double fp32 = NAN;
        for (size_t j = 0; j < count; j++) {
            if (strcmp(list[j]->scheme, "fp32") == 0 && list[j]->threads == list[i]->threads) {
                fp32 = fmax(fp32, ratios[j].median); /* fmax(NAN, x) is x */
            }
        }
        list[i]->speedup = ratios[i].median / fp32;
    }
}

/* Times the candidates, and stores their rows. */
static enum qb_status time_rows(struct run *run, double seconds, const struct qb_roof *roof,
                                struct qb_row **list, const struct qb_candidate *candidates, size_t count,
                                struct qb_error *err)
{
    const struct qb_latency_options options = {.rounds = run->plan.measure.rounds,
                                               .epoch_ms = run->plan.measure.epoch_ms,
                                               .seconds = seconds,
                                               .seed = run->plan.calibration.seed,
                                               .control = run->plan.measure.control};
    struct qb_latency_result result = {0};
    QB_TRY(qb_latency_measure(candidates, count, &options, &cli_progress, &result, err));
    for (size_t i = 0; i < count; i++) {
        copy_latency(&result.rows[i], roof, options.control ? result.noise_floor : (double)NAN, list[i]);
    }
    fill_speedups(list, result.ratios, count);
    qb_latency_result_free(&result);
    enum qb_status status = QB_OK;
    for (size_t i = 0; status == QB_OK && i < count; i++) {
        status = qb_store_put(run->store, list[i], err);
    }
    return status;
}

static enum qb_status measure_batch(struct run *run, size_t batch_index, double seconds,
                                    const struct qb_roof *roof, struct qb_row **list,
                                    struct qb_candidate *candidates, struct qb_error *err)
{
    const int batch = run->plan.measure.batches[batch_index];
    size_t count = 0;
    enum qb_status status = QB_OK;
    cli_step("timing at batch %d, up to %.0f s", batch, seconds);
    for (size_t i = 0; status == QB_OK && i < run->entry_count; i++) {
        struct run_entry *const entry = &run->entries[i];
        if (!is_ok(entry)) {
            continue;
        }
        struct qb_error why = {0};
        struct qb_engine *engine = NULL;
        status = make_engine(run, entry, batch, &engine, &why);
        if (status == QB_OK) {
            list[count] = &entry->rows[batch_index];
            candidates[count++] = (struct qb_candidate){engine, batch, run->test.images};
        } else if (status == QB_EINTERRUPTED || status == QB_ENOMEM) {
            *err = why;
        } else {
            status = run_entry_failed(run, entry, &why, err);
        }
    }
    if (status == QB_OK && count) {
        status = time_rows(run, seconds, roof, list, candidates, count, err);
    }
    for (size_t i = 0; i < count; i++) {
        qb_engine_free(candidates[i].engine);
    }
    return status;
}

/* Threads that an engine starts commonly inherit the binding of the thread that starts them: then that one
 * stays free. */
static bool may_bind(const struct run *run)
{
    struct qb_error err;
    for (size_t i = 0; i < run->entry_count; i++) {
        const struct qb_engine_ops *const ops = qb_engine_find(run->entries[i].plan->engine, &err);
        if (run->entries[i].plan->threads > 1 && !(ops && ops->free_threads)) {
            return false;
        }
    }
    return true;
}

enum qb_status run_latency(struct run *run, struct qb_error *err)
{
    const size_t batches = run->plan.measure.batch_count;
    size_t left = 0;
    for (size_t b = 0; b < batches; b++) {
        left += !is_timed(run, b);
    }
    if (!left) {
        return QB_OK;
    }
    struct qb_row **const list = calloc(run->entry_count, sizeof *list);
    struct qb_candidate *const candidates = calloc(run->entry_count, sizeof *candidates);
    enum qb_status status = list && candidates ? QB_OK : qb_fail_memory(err, run->entry_count * sizeof *list);
    struct qb_roof roof = {0};
    if (status == QB_OK) {
        if (may_bind(run)) {
            qb_bind_thread();
        }
        qb_roof_measure(&roof);
    }
    const double seconds = run->plan.measure.seconds / (double)batches;
    for (size_t b = 0; status == QB_OK && b < batches; b++) {
        if (!is_timed(run, b)) {
            cli_time_left(seconds * (double)left--);
            status = measure_batch(run, b, seconds, &roof, list, candidates, err);
        }
    }
    free(candidates);
    free(list);
    return status;
}
