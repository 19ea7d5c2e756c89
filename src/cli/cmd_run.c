/* qbench run: the sweep. Loads the experiment, fills the store row by row, writes the views and prints the
 * main table. */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/run.h"
#include "cli/share.h"
#include "report/report.h"

enum { OPT_DRY_RUN = 256, OPT_FRESH, OPT_RESULTS, OPT_ISA, OPT_MODEL, OPT_QUIET, OPT_PART };

struct options {
    const char *config, *results, *model, *data_dir, *isa;
    bool dry_run, fresh, markdown, quiet, part;
    long images;
};

static const struct argp_option option_list[] = {
    {"results", OPT_RESULTS, "DIR", 0, "folder of the results: database and views (default: results)", 0},
    {"model", OPT_MODEL, "FILE", 0, "another model than the experiment's", 0},
    {"data-dir", 'd', "DIR", 0, "folder with CIFAR-10", 0},
    {"images", 'n', "N", 0, "score the first N test images only", 0},
    {"isa", OPT_ISA, "NAME", 0, "only the combinations of this instruction set", 0},
    {"fresh", OPT_FRESH, NULL, 0,
     "measure again what is stored (the default resumes: finished rows are kept)", 0},
    {"dry-run", OPT_DRY_RUN, NULL, 0, "print the plan and stop", 0},
    {"format", 'f', "FORMAT", 0, "how to print the table: text (default) or md", 0},
    {"quiet", OPT_QUIET, NULL, 0, "measure and store, print no table", 0},
    {RUN_PART_OPTION, OPT_PART, NULL, OPTION_HIDDEN, NULL, 0}, /* this process is one ISA's part of a sweep */
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case OPT_RESULTS:
        if (!*arg) {
            argp_error(state, "--results: the name of the folder is empty");
        }
        o->results = arg;
        return 0;
    case OPT_MODEL: o->model = arg; return 0;
    case 'd': o->data_dir = arg; return 0;
    case 'n': o->images = cli_number(state, "--images", arg, 1, 10000); return 0;
    case OPT_ISA: o->isa = arg; return 0;
    case OPT_FRESH: o->fresh = true; return 0;
    case OPT_DRY_RUN: o->dry_run = true; return 0;
    case OPT_QUIET: o->quiet = true; return 0;
    case OPT_PART: o->part = o->quiet = true; return 0;
    case 'f':
        if (strcmp(arg, "text") != 0 && strcmp(arg, "md") != 0) {
            argp_error(state, "--format: \"%s\" is not one of text, md", arg);
        }
        o->markdown = strcmp(arg, "md") == 0;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            argp_error(state, "one experiment at a time; \"%s\" is too much", arg);
        }
        o->config = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void print_plan(const struct qb_plan *plan)
{
    struct qb_sampler sampler;
    char per_class[32] = "";
    qb_sampler_parse(plan->calibration.sampler, &sampler);
    if (sampler.kind != QB_SAMPLER_FILE) {
        snprintf(per_class, sizeof per_class, " %u per class", plan->calibration.per_class);
    }
    printf("%s (%s): model %s, calibration %s%s, batch %u\n", plan->name, plan->path, plan->model,
           plan->calibration.sampler, per_class, plan->calibration.batch_size);
    if (plan->calibration.repeat > 1) {
        printf("each scheme on %u calibration sets, seeds %u to %u\n", plan->calibration.repeat,
               plan->calibration.seed, plan->calibration.seed + plan->calibration.repeat - 1);
    }
    printf("%-20s %-14s %-12s %s\n", "scheme", "engine", "isa", "threads");
    for (size_t i = 0; i < plan->entry_count; i++) {
        const struct qb_plan_entry *const e = &plan->entries[i];
        printf("%-20s %-14s %-12s %d\n", e->scheme->name, e->engine, e->isa, e->threads);
    }
    printf("%zu combinations, each timed at batch", plan->entry_count);
    for (size_t i = 0; i < plan->measure.batch_count; i++) {
        printf("%s %d", i ? "," : "", plan->measure.batches[i]);
    }
    putchar('\n');
}

static enum qb_status write_view(const struct run *run, const struct options *o, const struct qb_row *rows,
                                 size_t count, enum qb_report_format format, const char *suffix,
                                 struct qb_error *err)
{
    char *text = NULL, path[4096];
    QB_TRY(qb_report_render(rows, count, format, &text, err));
    snprintf(path, sizeof path, "%s/%s.%s", o->results, run->plan.name, suffix);
    const enum qb_status status = qb_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}

/* CSV, Markdown and the page of all rows of the plan beside the database, a plot when gnuplot is there; then
 * the table: whoever reads only its first lines (`| head`) must not lose the files. */
static enum qb_status write_and_print(struct run *run, const struct options *o, struct qb_error *err)
{
    const size_t batches = run->plan.measure.batch_count, most = run->entry_count * batches;
    struct qb_row *const rows = calloc(most, sizeof *rows);
    if (!rows) {
        return qb_fail_memory(err, most * sizeof *rows);
    }
    size_t count = 0;
    for (size_t i = 0; i < run->entry_count; i++) {
        memcpy(rows + count, run->entries[i].rows, batches * sizeof *rows);
        count += batches;
    }
    struct qb_error plot = {0};
    char *text = NULL;
    enum qb_status status = write_view(run, o, rows, count, QB_REPORT_CSV, "csv", err);
    if (status == QB_OK) {
        status = write_view(run, o, rows, count, QB_REPORT_MARKDOWN, "md", err);
    }
    if (status == QB_OK) {
        status = write_view(run, o, rows, count, QB_REPORT_HTML, "html", err);
    }
    const bool plotted =
        status == QB_OK && write_view(run, o, rows, count, QB_REPORT_SVG, "svg", &plot) == QB_OK;
    const bool mapped = status == QB_OK && run->plan.crossed &&
                        write_view(run, o, rows, count, QB_REPORT_BITS, "bits.svg", &plot) == QB_OK;
    if (status == QB_OK) {
        status = qb_report_render(rows, count, o->markdown ? QB_REPORT_MARKDOWN : QB_REPORT_TEXT, &text, err);
    }
    if (status == QB_OK) {
        status = cli_print(text, err);
    }
    free(text);
    if (status == QB_OK) {
        printf("\nWritten: %s/%s.csv, .md, .html%s%s; rows are in %s/qbench.db\n", o->results, run->plan.name,
               plotted ? ", .svg" : "", mapped ? ", .bits.svg" : "", o->results);
        if (!plotted || (run->plan.crossed && !mapped)) {
            fprintf(stderr, "qbench: no plot: %s\n", plot.text);
        }
    }
    free(rows);
    return status;
}

static enum qb_status load_model(struct run *run, struct qb_error *err)
{
    QB_TRY(pipeline_graph_load(run->plan.model, &run->graph, err));
    return run->graph->quantized
               ? qb_fail(err, QB_EINPUT,
                         "%s: is quantized; an experiment starts from a float model (`qbench evaluate` runs "
                         "quantized ones)",
                         run->plan.model)
               : QB_OK;
}

static enum qb_status check_batches(const struct run *run, struct qb_error *err)
{
    for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
        if ((size_t)run->plan.measure.batches[b] > run->test.count) {
            return qb_fail(err, QB_EINPUT, "%s: batches: %d is more than the %zu test images there are",
                           run->plan.path, run->plan.measure.batches[b], run->test.count);
        }
    }
    return QB_OK;
}

static enum qb_status load(struct run *run, struct qb_error *err)
{
    run->sampler =
        (struct qb_sampler){.per_class = run->plan.calibration.per_class, .seed = run->plan.calibration.seed};
    qb_sampler_parse(run->plan.calibration.sampler, &run->sampler);
    QB_TRY(load_model(run, err));
    QB_TRY(pipeline_data(run->plan.data.dir, QB_SPLIT_TEST, &run->test, err));
    QB_TRY(pipeline_data(run->plan.data.dir, QB_SPLIT_TRAIN, &run->train, err));
    if (qb_check_images(run->graph->nodes[0].dst, &run->test, err) != QB_OK) {
        return qb_fail_prefix(err, "%s", run->plan.model);
    }
    QB_TRY(check_batches(run, err));
    const size_t wanted = run->plan.data.images;
    run->images = wanted && wanted < run->test.count ? wanted : run->test.count;
    return qb_sample_draw(&run->sampler, &run->train, &run->sample, err);
}

static enum qb_status open_store(struct run *run, const struct options *o, struct qb_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/qbench.db", o->results);
    return qb_store_open(path, &run->store, err);
}

/* Everything that the user can have got wrong is read before the results folder is touched. */
static enum qb_status measure(struct run *run, const struct options *o, int argc, char **argv,
                              struct qb_error *err)
{
    QB_TRY(run_entries_make(run, o->isa, err));
    QB_TRY(load(run, err));
    QB_TRY(open_store(run, o, err));
    if (!o->part) {
        pipeline_tell_synthetic();
    }
    if (o->part) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* without its parent nobody reads what it measures */
    } else {
        QB_TRY(run_lock(run, o->results, err));
    }
    QB_TRY(run_rows_prepare(run, err));
    for (size_t i = 0; i < run->entry_count; i++) {
        if (run->entries[i].unavailable.status != QB_OK) {
            QB_TRY(run_entry_failed(run, &run->entries[i], &run->entries[i].unavailable, err));
        }
    }
    if (run_wants_children(run)) {
        QB_TRY(run_children(run, argc, argv, err));
    } else {
        QB_TRY(run_accuracy(run, err));
        QB_TRY(run_latency(run, err));
    }
    cli_progress_end();
    return o->quiet ? QB_OK : write_and_print(run, o, err);
}

static void run_free(struct run *run)
{
    for (size_t i = 0; i < run->entry_count; i++) {
        qb_outputs_free(&run->entries[i].outputs);
        free(run->entries[i].rows);
    }
    for (size_t i = 0; run->schemes && i < run->plan.scheme_count; i++) {
        qb_qgraph_free(run->schemes[i].qgraph);
        qb_outputs_free(&run->schemes[i].exact);
    }
    free(run->networks);
    pipeline_cache_free(&run->cache);
    qb_outputs_free(&run->fp32);
    qb_sample_free(&run->sample);
    qb_dataset_free(&run->train);
    qb_dataset_free(&run->test);
    qb_graph_free(run->graph);
    qb_store_close(run->store);
    if (run->lock >= 0) {
        close(run->lock);
    }
    free(run->entries);
    free(run->schemes);
    qb_plan_free(&run->plan);
}

static size_t count_scored(const struct run *run)
{
    size_t n = 0;
    for (size_t i = 0; i < run->entry_count; i++) {
        n += run->entries[i].rows && run->entries[i].rows[0].correct >= 0;
    }
    return n;
}

static const char *const *engine_names(void)
{
    static const char *names[16];
    for (int i = 0; qb_engines[i] && i < 15; i++) {
        names[i] = qb_engines[i]->name;
    }
    return names;
}

static size_t count_failed(const struct run *run)
{
    size_t n = 0;
    for (size_t i = 0; i < run->entry_count; i++) {
        bool failed = false;
        for (size_t b = 0; b < run->plan.measure.batch_count; b++) {
            failed |= run->entries[i].rows[b].status == QB_ROW_FAILED;
        }
        n += failed;
    }
    return n;
}

/* The last words on stderr, which the parts of a sweep leave to their parent, and the exit code. */
static int conclude(const struct run *run, const struct options *o, enum qb_status status,
                    const struct qb_error *err)
{
    cli_progress_end();
    if (status == QB_EINTERRUPTED) {
        if (!o->part) {
            fprintf(
                stderr,
                "qbench: interrupted; %zu of %zu combinations are scored and kept in %s/qbench.db; the same "
                "command goes on from there\n",
                count_scored(run), run->entry_count, o->results);
        }
        return qb_status_exit_code(status);
    }
    if (status != QB_OK) {
        return cli_error(err);
    }
    const size_t failed = count_failed(run);
    if (failed && !o->part) {
        fprintf(stderr, "qbench: %zu combination%s failed\n", failed, failed == 1 ? "" : "s");
    }
    return failed ? 1 : 0;
}

int cmd_run(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse,
        "[CONFIG]",
        "Calibrates, quantizes, scores and times every combination of an experiment file "
        "(default: configs/default.yaml) and prints the main table. Finished rows are kept in "
        "the results folder; the same command goes on where it stopped.",
        NULL,
        NULL,
        NULL};
    struct options o = {.config = "configs/default.yaml", .results = "results"};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    struct run run = {.fresh = o.fresh, .lock = -1};
    char *path = NULL;
    enum qb_status status = share_resolve("experiment", o.config, &path, &err);
    if (status == QB_OK) {
        status = qb_plan_load(path, share_scheme_dirs(), engine_names(), &run.plan, &err);
    }
    if (status == QB_OK) {
        run.plan.data.images = o.images ? (size_t)o.images : run.plan.data.images;
        run.plan.data.dir = o.data_dir ? o.data_dir : run.plan.data.dir;
        run.plan.model = o.model ? o.model : run.plan.model;
        if (o.dry_run) {
            print_plan(&run.plan);
        } else {
            status = measure(&run, &o, argc, argv, &err);
        }
    }
    const int code = conclude(&run, &o, status, &err);
    run_free(&run);
    free(path);
    return code;
}
