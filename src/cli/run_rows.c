/* Rows before anything ran: what they are called, their keys, and what the store knows already. See run.h. */
#include "cli/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "engine/onednn/onednn.h"
#include "measure/machine.h"
#include "quant/describe.h"

static void describe_scheme(const struct qb_scheme *s, struct qb_row *row)
{
    snprintf(row->scheme, sizeof row->scheme, "%s", s->name);
    snprintf(row->reproduces, sizeof row->reproduces, "%s", s->reproduces ? s->reproduces : "");
    if (s->fp32) {
        snprintf(row->weights, sizeof row->weights, "f32");
        snprintf(row->activations, sizeof row->activations, "f32");
        snprintf(row->observer, sizeof row->observer, "-");
        snprintf(row->arithmetic, sizeof row->arithmetic, "f32");
        snprintf(row->accumulate, sizeof row->accumulate, "f32");
        return;
    }
    row->weight_bits = s->weights.bits ? s->weights.bits : QB_BITS_MAX;
    row->activation_bits = s->activations.bits ? s->activations.bits : QB_BITS_MAX;
    qb_spec_summary(&s->weights, row->weights, sizeof row->weights);
    qb_spec_summary(&s->activations, row->activations, sizeof row->activations);
    snprintf(row->observer, sizeof row->observer, "%s", s->activations.observer);
    snprintf(row->arithmetic, sizeof row->arithmetic, "%s", qb_arithmetic_name(s->arithmetic));
    snprintf(row->accumulate, sizeof row->accumulate, "%s", qb_accumulate_name(s->accumulate));
    qb_fuse_describe(s->fuse, row->fuse, sizeof row->fuse);
    qb_refine_names(s->refine, row->refine, sizeof row->refine);
    qb_exception_names(s, row->layers, sizeof row->layers);
}

/* The key: everything that the row's numbers depend on. */
static enum qb_status make_key(const struct run *run, const struct run_entry *entry, struct qb_row *row,
                               struct qb_error *err)
{
    const struct qb_scheme *const s = entry->scheme->scheme;
    char weights[QB_SPEC_IDENTITY] = "", activations[QB_SPEC_IDENTITY] = "", *text = NULL,
         full[QB_SHA256_HEX], layers[QB_SHA256_HEX];
    QB_TRY(qb_layers_identity(s, layers, err));
    if (!s->fp32) {
        qb_spec_identity(&s->weights, weights);
        qb_spec_identity(&s->activations, activations);
    }
    const int length = asprintf(
        &text, "%s|%s|%d|%s|%s|%u|%d|%d|%s|%s|%s|%d|%d|%s|%s|%s|%zu|%s|%u|%s|%s|%u|%a|%a|%d|%s|%u|%u|%s",
        row->experiment, s->name, s->fp32, weights, activations, s->fuse, (int)s->prepare, (int)s->arithmetic,
        row->accumulate, row->engine, row->isa, row->threads, row->batch, run->graph->sha256,
        run->test.sha256, run->sample.hash, run->images, row->calibration, run->plan.calibration.batch_size,
        row->binary, row->machine, run->plan.measure.rounds, run->plan.measure.epoch_ms,
        run->plan.measure.seconds, run->plan.measure.control, run->plan.impl ? run->plan.impl : "default",
        run->plan.calibration.repeat, s->refine, layers);
    if (length < 0) {
        return qb_fail_memory(err, 2048);
    }
    qb_sha256(text, (size_t)length, full);
    free(text);
    memcpy(row->key, full, sizeof row->key - 1);
    return QB_OK;
}

static void no_numbers(struct qb_row *row)
{
    row->images = row->correct = row->agree = row->only_fp32 = row->only_this = row->changed = -1;
    row->accuracy = row->wilson_low = row->wilson_high = row->p = NAN;
    row->min = row->p10 = row->median = row->p90 = row->p99 = row->median_low = row->median_high = NAN;
    row->disturbed = row->images_per_s = row->roof_gmacs = row->roof_share = row->speedup = row->noise_floor =
        NAN;
    row->samples = 0;
    row->calibration_mean = row->calibration_sd = row->published = NAN;
}

static enum qb_status fill_row(const struct run *run, const struct run_entry *entry, int batch,
                               const struct qb_machine *machine, const char *binary, struct qb_row *row,
                               struct qb_error *err)
{
    *row = (struct qb_row){.threads = entry->plan->threads, .batch = batch, .synthetic = run->test.synthetic};
    no_numbers(row);
    snprintf(row->experiment, sizeof row->experiment, "%s", run->plan.name);
    describe_scheme(entry->scheme->scheme, row);
    snprintf(row->engine, sizeof row->engine, "%s", entry->plan->engine);
    snprintf(row->isa, sizeof row->isa, "%s", qb_isa_name(entry->isa));
    const char *const slash = strrchr(run->plan.model, '/');
    snprintf(row->model, sizeof row->model, "%s", slash ? slash + 1 : run->plan.model);
    snprintf(row->model_sha256, sizeof row->model_sha256, "%s", run->graph->sha256);
    snprintf(row->data, sizeof row->data, "%s", run->test.name);
    snprintf(row->data_sha256, sizeof row->data_sha256, "%s", run->test.sha256);
    if (!entry->scheme->scheme->fp32) { /* a list goes by the file's name: where it lies says nothing */
        const char *const sampler = run->plan.calibration.sampler, *const last = strrchr(sampler, '/');
        snprintf(row->calibration, sizeof row->calibration, "%.24s %zu images, batch %u",
                 last ? last + 1 : sampler, run->sample.count, run->plan.calibration.batch_size);
    }
    snprintf(row->machine, sizeof row->machine, "%s", machine->id);
    snprintf(row->cpu, sizeof row->cpu, "%s", machine->cpu);
    snprintf(row->compiler, sizeof row->compiler, "%s", machine->compiler);
    snprintf(row->onednn, sizeof row->onednn, "%s", qb_onednn_version());
    snprintf(row->binary, sizeof row->binary, "%s", binary);
    snprintf(row->version, sizeof row->version, "%s", QB_VERSION);
    for (int i = 0; i < run->graph->count; i++) {
        row->macs += (double)qb_node_macs(run->graph, i);
    }
    row->fp32_bytes = (int64_t)pipeline_fp32_bytes(run->graph);
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(row->started, sizeof row->started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return make_key(run, entry, row, err);
}

/* The run's id names the plan, not the moment: a resumed run goes on in the same one. */
static enum qb_status make_run_id(struct run *run, struct qb_error *err)
{
    const size_t length = sizeof run->entries->rows->key, batches = run->plan.measure.batch_count;
    char *const keys = malloc(run->entry_count * batches * length), full[QB_SHA256_HEX];
    if (!keys) {
        return qb_fail_memory(err, run->entry_count * batches * length);
    }
    for (size_t i = 0; i < run->entry_count; i++) {
        for (size_t b = 0; b < batches; b++) {
            memcpy(keys + (i * batches + b) * length, run->entries[i].rows[b].key, length);
        }
    }
    qb_sha256(keys, run->entry_count * batches * length, full);
    free(keys);
    memcpy(run->id, full, sizeof run->id - 1);
    return QB_OK;
}

/* What the experiment says about the scheme now: not part of the key, so a stored row may have other words.
 */
static void fill_published(const struct run *run, struct qb_row *row)
{
    row->published = NAN;
    row->published_source[0] = row->published_why[0] = 0;
    for (size_t i = 0; i < run->plan.published_count; i++) {
        const struct qb_published *const p = &run->plan.published[i];
        if (strcmp(p->scheme, row->scheme) == 0) {
            row->published = p->accuracy;
            snprintf(row->published_source, sizeof row->published_source, "%s", p->source);
            snprintf(row->published_why, sizeof row->published_why, "%s", p->why);
        }
    }
}

/* Rows that are stored already; `all`: failed and skipped ones too. They become rows of this run. */
static enum qb_status take_stored(struct run *run, bool all, struct qb_error *err)
{
    for (size_t i = 0; i < run->entry_count; i++) {
        for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
            struct qb_row *const row = &run->entries[i].rows[b], stored;
            int found = 0;
            QB_TRY(qb_store_get(run->store, row->key, &stored, &found, err));
            if (found && (all || stored.status == QB_ROW_OK)) {
                memcpy(stored.run, row->run, sizeof stored.run);
                *row = stored;
                fill_published(run, row);
                QB_TRY(qb_store_put(run->store, row, err));
            }
        }
    }
    return QB_OK;
}

enum qb_status run_rows_prepare(struct run *run, struct qb_error *err)
{
    struct qb_machine machine;
    char binary[QB_SHA256_HEX];
    qb_machine_describe(&machine);
    QB_TRY(qb_sha256_file("/proc/self/exe", binary, err));
    const size_t batches = run->plan.measure.batch_count;
    for (size_t i = 0; i < run->entry_count; i++) {
        for (size_t b = 0; b < batches; b++) {
            QB_TRY(fill_row(run, &run->entries[i], run->plan.measure.batches[b], &machine, binary,
                            &run->entries[i].rows[b], err));
        }
    }
    QB_TRY(make_run_id(run, err));
    for (size_t i = 0; i < run->entry_count; i++) {
        for (size_t b = 0; b < batches; b++) {
            memcpy(run->entries[i].rows[b].run, run->id, sizeof run->id);
            fill_published(run, &run->entries[i].rows[b]);
        }
    }
    return run->fresh ? QB_OK : take_stored(run, false, err);
}

enum qb_status run_rows_collect(struct run *run, struct qb_error *err)
{
    return take_stored(run, true, err);
}

enum qb_status run_store_entry(struct run *run, struct run_entry *entry, struct qb_error *err)
{
    for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
        QB_TRY(qb_store_put(run->store, &entry->rows[b], err));
    }
    return QB_OK;
}

void run_row_failed(struct qb_row *row, enum qb_row_status status, const struct qb_error *why)
{
    row->status = status;
    snprintf(row->message, sizeof row->message, "%.255s", why->text);
    if (status == QB_ROW_FAILED) {
        row->min = row->p10 = row->median = row->p90 = row->p99 = NAN;
    }
}

enum qb_status run_entry_failed(struct run *run, struct run_entry *entry, const struct qb_error *why,
                                struct qb_error *err)
{
    const enum qb_row_status status = why->status == QB_EUNSUPPORTED ? QB_ROW_SKIPPED : QB_ROW_FAILED;
    for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
        run_row_failed(&entry->rows[b], status, why);
    }
    cli_progress_end();
    fprintf(stderr, "qbench: %s on %s: %s: %s\n", entry->plan->scheme->name, entry->plan->engine,
            qb_row_status_name(status), why->text);
    return run_store_entry(run, entry, err);
}
