/* qbench run: the sweep. Loads the experiment, fills the store row by row, prints the main table and writes its views. */
#include "cli/cli.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/run.h"
#include "cli/share.h"
#include "report/report.h"

enum { OPT_DRY_RUN = 256, OPT_FRESH, OPT_RESULTS, OPT_ISA, OPT_MODEL, OPT_QUIET };

struct options {
    const char *config, *results, *model, *data_dir, *isa;
    bool dry_run, fresh, markdown, quiet;
    long images;
};

static const struct argp_option option_list[] = {
    {"results", OPT_RESULTS, "DIR", 0, "folder of the results: database and views (default: results)", 0},
    {"model", OPT_MODEL, "FILE", 0, "another model than the experiment's", 0},
    {"data-dir", 'd', "DIR", 0, "folder with CIFAR-10", 0},
    {"images", 'n', "N", 0, "score the first N test images only", 0},
    {"isa", OPT_ISA, "NAME", 0, "only the combinations of this instruction set", 0},
    {"fresh", OPT_FRESH, NULL, 0, "measure again what is stored (the default resumes: finished rows are kept)", 0},
    {"dry-run", OPT_DRY_RUN, NULL, 0, "print the plan and stop", 0},
    {"format", 'f', "FORMAT", 0, "how to print the table: text (default) or md", 0},
    {"quiet", OPT_QUIET, NULL, 0, "measure and store, print no table", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case OPT_RESULTS: o->results = arg; return 0;
    case OPT_MODEL: o->model = arg; return 0;
    case 'd': o->data_dir = arg; return 0;
    case 'n': o->images = cli_number(state, "--images", arg, 1, 10000); return 0;
    case OPT_ISA: o->isa = arg; return 0;
    case OPT_FRESH: o->fresh = true; return 0;
    case OPT_DRY_RUN: o->dry_run = true; return 0;
    case OPT_QUIET: o->quiet = true; return 0;
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
    printf("%s (%s): model %s, calibration %s %u per class, batch %u\n", plan->name, plan->path, plan->model,
           plan->calibration.sampler, plan->calibration.per_class, plan->calibration.batch_size);
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

/* "best" can be unavailable too: through QB_ISA. */
static enum qb_isa isa_named(const char *name)
{
    const char *const set = getenv("QB_ISA");
    for (int i = 0; i < QB_ISA_COUNT; i++) {
        if (strcmp(qb_isa_name((enum qb_isa)i), strcmp(name, "best") == 0 && set ? set : name) == 0) {
            return (enum qb_isa)i;
        }
    }
    return QB_ISA_REF;
}

static enum qb_status make_entries(struct run *run, const struct options *o, struct qb_error *err)
{
    enum qb_isa only = QB_ISA_COUNT;
    if (o->isa) {
        QB_TRY(qb_cpu_select(o->isa, &only, err));
    }
    run->schemes = calloc(run->plan.scheme_count, sizeof *run->schemes);
    run->entries = calloc(run->plan.entry_count, sizeof *run->entries);
    if (!run->schemes || !run->entries) {
        return qb_fail_memory(err, run->plan.entry_count * sizeof *run->entries);
    }
    for (size_t i = 0; i < run->plan.scheme_count; i++) {
        run->schemes[i].scheme = &run->plan.schemes[i];
    }
    for (size_t i = 0; i < run->plan.entry_count; i++) {
        const struct qb_plan_entry *const p = &run->plan.entries[i];
        struct run_entry entry = {.plan = p, .scheme = &run->schemes[p->scheme - run->plan.schemes]};
        const enum qb_status status = qb_cpu_select(p->isa, &entry.isa, &entry.unavailable);
        if (status == QB_EUNSUPPORTED) {
            entry.isa = isa_named(p->isa);
        } else if (status != QB_OK) {
            *err = entry.unavailable;
            return status;
        }
        if (only != QB_ISA_COUNT && entry.isa != only) {
            continue;
        }
        struct run_entry *const e = &run->entries[run->entry_count++];
        *e = entry;
        e->rows = calloc(run->plan.measure.batch_count, sizeof *e->rows);
        if (!e->rows) {
            return qb_fail_memory(err, run->plan.measure.batch_count * sizeof *e->rows);
        }
    }
    return run->entry_count ? QB_OK : qb_fail(err, QB_EINPUT, "%s: no combination is left for --isa %s", run->plan.path, o->isa);
}

static bool is_onednn(const struct run_entry *entry)
{
    return strncmp(entry->plan->engine, "onednn", 6) == 0;
}

/* oneDNN reads its ISA cap once a process. Says whether the oneDNN entries want several; sets the cap for this process, which
 * is none when no entry runs oneDNN: its float pass then calibrates every ISA's rows alike. */
static bool several_onednn_isas(struct run *run)
{
    bool any = false, several = false;
    run->onednn_isa = qb_cpu_best(QB_ISA_AMX);
    for (size_t i = 0; i < run->entry_count; i++) {
        if (is_onednn(&run->entries[i]) && run->entries[i].unavailable.status == QB_OK) {
            several |= any && run->entries[i].isa != run->onednn_isa;
            run->onednn_isa = run->entries[i].isa;
            any = true;
        }
    }
    return several;
}

/* Each ISA in a child: this program again, with --isa. */
static enum qb_status run_children(const struct run *run, char **argv, int argc, struct qb_error *err)
{
    extern char **environ;
    char **const child = calloc((size_t)argc + 6, sizeof *child);
    if (!child) {
        return qb_fail_memory(err, (size_t)argc * sizeof *child);
    }
    enum qb_status status = QB_OK;
    for (int isa = 0; status == QB_OK && isa < QB_ISA_COUNT; isa++) {
        bool wanted = false;
        for (size_t i = 0; i < run->entry_count; i++) {
            wanted |= (int)run->entries[i].isa == isa && run->entries[i].unavailable.status == QB_OK;
        }
        if (!wanted) {
            continue;
        }
        char name[] = "qbench", command[] = "run", quiet[] = "--quiet", option[] = "--isa", value[16];
        snprintf(value, sizeof value, "%s", qb_isa_name((enum qb_isa)isa));
        int n = 0;
        child[n++] = name;
        child[n++] = command;
        for (int i = 1; i < argc; i++) {
            child[n++] = argv[i];
        }
        child[n++] = quiet;
        child[n++] = option;
        child[n++] = value;
        child[n] = NULL;
        fprintf(stderr, "qbench: isa %s, in a process of its own\n", value);
        pid_t pid;
        int result = 0;
        if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, child, environ) != 0) {
            status = qb_fail(err, QB_EIO, "the process for isa %s could not be started", value);
            break;
        }
        while (waitpid(pid, &result, 0) < 0) {
        }
        if (WIFEXITED(result) && WEXITSTATUS(result) == 130) {
            status = qb_fail(err, QB_EINTERRUPTED, "interrupted");
        } else if (!WIFEXITED(result) || WEXITSTATUS(result) > 1) {
            status = qb_fail(err, QB_EFAILED, "the process for isa %s ended with %s %d", value,
                             WIFEXITED(result) ? "exit code" : "signal",
                             WIFEXITED(result) ? WEXITSTATUS(result) : WTERMSIG(result));
        }
    }
    free(child);
    return status;
}

static enum qb_status write_view(const struct run *run, const struct options *o, const struct qb_row *rows, size_t count,
                                 enum qb_report_format format, const char *suffix, struct qb_error *err)
{
    char *text = NULL, path[4096];
    QB_TRY(qb_report_render(rows, count, format, &text, err));
    snprintf(path, sizeof path, "%s/%s.%s", o->results, run->plan.name, suffix);
    const enum qb_status status = qb_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}

/* The table of all rows of the plan, from the store; CSV and Markdown beside the database, a plot when gnuplot is there. */
static enum qb_status print_and_write(struct run *run, const struct options *o, struct qb_error *err)
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
    char *text = NULL;
    enum qb_status status =
        qb_report_render(rows, count, o->markdown ? QB_REPORT_MARKDOWN : QB_REPORT_TEXT, &text, err);
    if (status == QB_OK) {
        status = cli_print(text, err);
    }
    free(text);
    if (status == QB_OK) {
        status = write_view(run, o, rows, count, QB_REPORT_CSV, "csv", err);
    }
    if (status == QB_OK) {
        status = write_view(run, o, rows, count, QB_REPORT_MARKDOWN, "md", err);
    }
    struct qb_error plot = {0};
    const bool plotted = status == QB_OK && write_view(run, o, rows, count, QB_REPORT_SVG, "svg", &plot) == QB_OK;
    if (status == QB_OK) {
        printf("\nWritten: %s/%s.csv, .md%s; rows are in %s/qbench.db\n", o->results, run->plan.name,
               plotted ? " and .svg" : "", o->results);
        if (!plotted) {
            fprintf(stderr, "qbench: no plot: %s\n", plot.text);
        }
    }
    free(rows);
    return status;
}

static enum qb_status load(struct run *run, const struct options *o, struct qb_error *err)
{
    char *path = NULL;
    QB_TRY(share_resolve("model", o->model ? o->model : run->plan.model, &path, err));
    enum qb_status status = qb_model_load(path, &run->graph, err);
    free(path);
    if (status == QB_OK && run->graph->quantized) {
        status = qb_fail(err, QB_EINPUT, "%s: is quantized; an experiment starts from a float model (`qbench evaluate` runs "
                         "quantized ones)", run->plan.model);
    }
    if (status == QB_OK) {
        status = pipeline_data(run->plan.data.dir, QB_SPLIT_TEST, &run->test, err);
    }
    if (status == QB_OK) {
        status = pipeline_data(run->plan.data.dir, QB_SPLIT_TRAIN, &run->train, err);
    }
    if (status == QB_OK) {
        run->images = run->plan.data.images && run->plan.data.images < run->test.count ? run->plan.data.images : run->test.count;
        run->sampler = (struct qb_sampler){.per_class = run->plan.calibration.per_class, .seed = run->plan.calibration.seed};
        qb_sampler_parse(run->plan.calibration.sampler, &run->sampler);
        status = qb_sample_draw(&run->sampler, &run->train, &run->sample, err);
    }
    return status;
}

static enum qb_status open_store(struct run *run, const struct options *o, struct qb_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/qbench.db", o->results);
    return qb_store_open(path, &run->store, err);
}

static enum qb_status measure(struct run *run, const struct options *o, int argc, char **argv, struct qb_error *err)
{
    QB_TRY(make_entries(run, o, err));
    QB_TRY(open_store(run, o, err));
    QB_TRY(load(run, o, err));
    if (several_onednn_isas(run)) {
        QB_TRY(run_children(run, argv, argc, err));
        run->in_children = true;
        run->fresh = false;
    }
    QB_TRY(run_rows_prepare(run, err));
    for (size_t i = 0; i < run->entry_count; i++) {
        if (run->entries[i].unavailable.status != QB_OK) {
            QB_TRY(run_entry_failed(run, &run->entries[i], &run->entries[i].unavailable, err));
        }
    }
    if (!run->in_children) {
        QB_TRY(run_accuracy(run, err));
        QB_TRY(run_latency(run, err));
    }
    cli_progress_end();
    return o->quiet ? QB_OK : print_and_write(run, o, err);
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
    qb_outputs_free(&run->fp32);
    qb_sample_free(&run->sample);
    qb_dataset_free(&run->train);
    qb_dataset_free(&run->test);
    qb_graph_free(run->graph);
    qb_store_close(run->store);
    free(run->entries);
    free(run->schemes);
    qb_plan_free(&run->plan);
}

static size_t finished(const struct run *run)
{
    size_t n = 0;
    for (size_t i = 0; i < run->entry_count; i++) {
        n += run->entries[i].rows && run->entries[i].rows[0].correct >= 0;
    }
    return n;
}

static size_t count_failed(const struct run *run)
{
    size_t n = 0;
    for (size_t i = 0; i < run->entry_count; i++) {
        n += run->entries[i].rows[0].status == QB_ROW_FAILED;
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

int cmd_run(int argc, char **argv)
{
    static const struct argp argp = {option_list, parse, "[CONFIG]",
                                     "Calibrates, quantizes, scores and times every combination of an experiment file "
                                     "(default: configs/default.yaml) and prints the main table. Finished rows are kept in "
                                     "the results folder; the same command goes on where it stopped.",
                                     NULL, NULL, NULL};
    struct options o = {.config = "configs/default.yaml", .results = "results"};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    struct run run = {.config = o.config, .fresh = o.fresh};
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
    int code = 0;
    if (status == QB_EINTERRUPTED) {
        cli_progress_end();
        fprintf(stderr, "qbench: interrupted; %zu of %zu combinations are scored and kept in %s/qbench.db; the same command "
                        "goes on from there\n",
                finished(&run), run.entry_count, o.results);
        code = 130;
    } else if (status != QB_OK) {
        code = cli_error(&err);
    } else if (count_failed(&run)) {
        fprintf(stderr, "qbench: %zu combinations failed\n", count_failed(&run));
        code = 1;
    }
    run_free(&run);
    free(path);
    return code;
}
