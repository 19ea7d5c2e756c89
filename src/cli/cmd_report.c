/* qbench report: views of what the results folder holds. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/report.h"

enum { OPT_RESULTS = 256, OPT_RUN };

struct options {
    const char *results, *experiment, *run, *output;
    enum qb_report_format format;
};

static const struct argp_option option_list[] = {
    {"results", OPT_RESULTS, "DIR", 0, "folder of the results (default: results)", 0},
    {"run", OPT_RUN, "ID", 0, "a run id, as in the CSV (default: the newest run)", 0},
    {"format", 'f', "FORMAT", 0, "text (default), md, csv, json, svg, bits or html", 0},
    {"output", 'o', "FILE", 0, "write to a file instead of standard output", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case OPT_RESULTS: o->results = arg; return 0;
    case OPT_RUN: o->run = arg; return 0;
    case 'o': o->output = arg; return 0;
    case 'f':
        if (!qb_report_format_parse(arg, &o->format)) {
            argp_error(state, "--format: \"%s\" is not one of text, md, csv, json, svg, bits, html", arg);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            argp_error(state, "one experiment at a time; \"%s\" is too much", arg);
        }
        o->experiment = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static enum qb_status report(const struct options *o, struct qb_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/qbench.db", o->results);
    if (!qb_is_file(path)) {
        return qb_fail(err, QB_ENOTFOUND, "%s: there are no results yet; `qbench run` makes them", path);
    }
    struct qb_store *store = NULL;
    struct qb_row *rows = NULL;
    size_t count = 0;
    char *text = NULL;
    enum qb_status status = qb_store_open_read(path, &store, err);
    if (status == QB_OK) {
        status = qb_store_rows(store, o->experiment, o->run, &rows, &count, err);
    }
    if (status == QB_OK && count == 0) {
        status = qb_fail(err, QB_ENOTFOUND, "%s: holds no rows of %s%s", path,
                         o->run          ? "run "
                         : o->experiment ? "experiment "
                                         : "any run",
                         o->run          ? o->run
                         : o->experiment ? o->experiment
                                         : "");
    }
    if (status == QB_OK) {
        status = qb_report_render(rows, count, o->format, &text, err);
    }
    if (status == QB_OK) {
        status = o->output ? qb_file_write(o->output, text, strlen(text), err) : cli_print(text, err);
    }
    free(text);
    free(rows);
    qb_store_close(store);
    return status;
}

int cmd_report(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse,
        "[EXPERIMENT]",
        "Renders the newest run of an experiment (default: of all) from the results database.",
        NULL,
        NULL,
        NULL};
    struct options o = {.results = "results", .format = QB_REPORT_TEXT};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    return report(&o, &err) == QB_OK ? 0 : cli_error(&err);
}
