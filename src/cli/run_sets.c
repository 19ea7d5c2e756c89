/* Calibration uncertainty: a scheme on other calibration sets than the plan's first. See run.h.
 *
 * A set's answer is the scheme's, not an engine's: it is counted in the scheme's exact arithmetic, once for
 * all engines. Set 0 is the calibration that the rows themselves have. */
#include "cli/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "measure/stats.h"

/* Counts that a stored row holds, for a scheme that has fewer. */
static void adopt_stored(const struct qb_row *row, struct run_scheme *s)
{
    const char *text = row->set_correct;
    for (unsigned k = 0; k < QB_MAX_CALIBRATION_SETS; k++) {
        char *end;
        const long long correct = strtoll(text, &end, 10);
        if (end == text) {
            break;
        }
        if (k == s->set_count) {
            s->set_correct[s->set_count++] = correct;
        }
        text = end;
    }
}

static void fill_row(const struct run_scheme *s, struct qb_row *row)
{
    double accuracy[QB_MAX_CALIBRATION_SETS];
    size_t used = 0;
    row->set_correct[0] = 0;
    for (unsigned k = 0; k < s->set_count; k++) {
        accuracy[k] = (double)s->set_correct[k] / (double)row->images;
        used += (size_t)snprintf(row->set_correct + used, sizeof row->set_correct - used, "%s%lld",
                                 k ? " " : "", (long long)s->set_correct[k]);
    }
    const struct qb_mean_sd over = qb_mean_sd(accuracy, s->set_count);
    row->calibration_sets = (int)s->set_count;
    row->calibration_mean = over.mean;
    row->calibration_sd = over.sd;
}

static int64_t count_correct(const struct run *run, const struct qb_outputs *outputs)
{
    struct qb_score score;
    qb_score_compute(outputs, &run->test, &score);
    return (int64_t)score.correct;
}

static enum qb_status remember(struct run *run, const char *hash, int64_t correct, struct qb_error *err)
{
    struct run_network *const larger =
        reallocarray(run->networks, run->network_count + 1, sizeof *run->networks);
    if (!larger) {
        return qb_fail_memory(err, (run->network_count + 1) * sizeof *run->networks);
    }
    run->networks = larger;
    struct run_network *const to = &run->networks[run->network_count++];
    snprintf(to->hash, sizeof to->hash, "%s", hash);
    to->correct = correct;
    return QB_OK;
}

/* The calibration of the rows: their own count where the engine is exact. */
static enum qb_status score_first(struct run *run, const struct run_entry *entry, int64_t *correct,
                                  struct qb_error *err)
{
    if (entry->rows[0].exact[0] == '=') {
        *correct = entry->rows[0].correct;
        return QB_OK;
    }
    QB_TRY(run_scheme_qgraph(run, entry->scheme, err));
    QB_TRY(run_exact_outputs(run, entry->scheme, err));
    *correct = count_correct(run, &entry->scheme->exact);
    return QB_OK;
}

static enum qb_status score_other(struct run *run, const struct run_scheme *s, unsigned set, int64_t *correct,
                                  struct qb_error *err)
{
    struct qb_sampler sampler = run->sampler;
    sampler.seed += set;
    const struct pipeline_calibration calibration = {.sampler = &sampler,
                                                     .batch_size = (int)run->plan.calibration.batch_size,
                                                     .train = &run->train,
                                                     .cache = &run->cache,
                                                     .isa = run->onednn_isa};
    struct run_scheme other = {.scheme = s->scheme};
    QB_TRY(pipeline_quantize(run->graph, s->scheme, &calibration, &cli_progress, &other.qgraph, err));
    char hash[QB_HASH64_HEX];
    qb_qgraph_hash(other.qgraph, hash);
    for (size_t i = 0; i < run->network_count; i++) {
        if (strcmp(run->networks[i].hash, hash) == 0) {
            *correct = run->networks[i].correct;
            qb_qgraph_free(other.qgraph);
            return QB_OK;
        }
    }
    enum qb_status status = run_exact_outputs(run, &other, err);
    if (status == QB_OK) {
        *correct = count_correct(run, &other.exact);
        status = remember(run, hash, *correct, err);
    }
    qb_outputs_free(&other.exact);
    qb_qgraph_free(other.qgraph);
    return status;
}

bool run_wants_sets(const struct run *run, const struct run_entry *entry)
{
    return run->plan.calibration.repeat > 1 && !entry->scheme->scheme->fp32 &&
           entry->rows[0].status == QB_ROW_OK && entry->rows[0].correct >= 0 &&
           entry->rows[0].calibration_sets < (int)run->plan.calibration.repeat;
}

static enum qb_status add_set(struct run *run, const struct run_entry *entry, struct qb_error *err)
{
    struct run_scheme *const s = entry->scheme;
    const unsigned set = s->set_count;
    cli_step("%.24s, calibration set %u of %u", s->scheme->name, set + 1, run->plan.calibration.repeat);
    int64_t correct = 0;
    const enum qb_status status =
        set ? score_other(run, s, set, &correct, err) : score_first(run, entry, &correct, err);
    if (status != QB_OK) {
        return qb_fail_prefix(err, "calibration set %u (seed %u)", set + 1, run->plan.calibration.seed + set);
    }
    s->set_correct[s->set_count++] = correct;
    return QB_OK;
}

static enum qb_status store_sets(struct run *run, struct run_entry *entry, struct qb_error *err)
{
    for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
        fill_row(entry->scheme, &entry->rows[b]);
    }
    return run_store_entry(run, entry, err);
}

enum qb_status run_sets(struct run *run, struct run_entry *entry, struct qb_error *err)
{
    struct run_scheme *const s = entry->scheme;
    adopt_stored(&entry->rows[0], s);
    while (s->set_count < run->plan.calibration.repeat) {
        struct qb_error why = {0};
        const enum qb_status status = add_set(run, entry, &why);
        if (status == QB_EINTERRUPTED || status == QB_ENOMEM) {
            *err = why;
            return status;
        }
        if (status != QB_OK) {
            return run_entry_failed(run, entry, &why, err);
        }
        QB_TRY(store_sets(run, entry, err));
        if (qb_interrupted()) {
            return qb_fail(err, QB_EINTERRUPTED, "interrupted");
        }
    }
    return store_sets(run, entry, err);
}
