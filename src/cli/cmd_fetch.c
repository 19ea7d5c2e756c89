/* qbench fetch: brings the data set or the published weights to the cache folder, or to --data-dir. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "data/dataset.h"
#include "data/fetch.h"

static const struct what {
    const char *name;
    enum qb_status (*fetch)(const char *dir, const struct qb_progress *progress,
                            void (*log)(void *ctx, const char *line), void *log_ctx, struct qb_error *err);
} whats[] = {{"cifar10", qb_fetch_cifar10}, {"mlperf-tiny", qb_fetch_mlperf_tiny}};

struct options {
    const struct what *what;
    const char *dir;
};

static const struct argp_option option_list[] = {
    {"data-dir", 'd', "DIR", 0,
     "put the files here (default: cifar10 or mlperf-tiny in $QB_CACHE_DIR, $XDG_CACHE_HOME/qbench or "
     "~/.cache/qbench)",
     0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case 'd': o->dir = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->what) {
            argp_error(state, "\"%s\": one thing at a time", arg);
        }
        for (size_t i = 0; i < sizeof whats / sizeof *whats; i++) {
            if (strcmp(arg, whats[i].name) == 0) {
                o->what = &whats[i];
                return 0;
            }
        }
        argp_error(state, "\"%s\" is not known; known: cifar10, mlperf-tiny", arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->what) {
            argp_error(state, "name what to fetch: cifar10 or mlperf-tiny");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void log_line(void *ctx, const char *line)
{
    (void)ctx;
    cli_progress_end();
    fprintf(stderr, "fetch: %s\n", line);
}

/* The generic line shows what, per cent and time left; a download also shows its size and speed. */
static void draw(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    static char last[64];
    static uint64_t started;
    (void)ctx;
    if (strncmp(last, what, sizeof last - 1) != 0) {
        snprintf(last, sizeof last, "%s", what);
        started = qb_now_ns();
    }
    const double seconds = (double)(qb_now_ns() - started) / 1e9;
    char text[80];
    if (total) {
        snprintf(text, sizeof text, "%.27s %.1f of %.1f MB, %.1f MB/s", what, (double)done / 1e6,
                 (double)total / 1e6, seconds > 0.2 ? (double)done / 1e6 / seconds : 0.0);
    } else {
        snprintf(text, sizeof text, "%.27s %.1f MB, %.1f MB/s", what, (double)done / 1e6,
                 seconds > 0.2 ? (double)done / 1e6 / seconds : 0.0);
    }
    static uint64_t drawn;
    if (isatty(STDERR_FILENO) && (qb_now_ns() - drawn > 100000000 || done == total)) {
        const int filled = total ? (int)(done * 20 / total) : 0;
        fprintf(stderr, "\r[%.*s%.*s] %s\033[K", filled, "####################", 20 - filled,
                "....................", text);
        fflush(stderr);
        drawn = qb_now_ns();
    }
}

int cmd_fetch(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse,
        "cifar10|mlperf-tiny",
        "Downloads CIFAR-10 (about 140 to 170 MB), or the weights that MLPerf Tiny publishes for this "
        "network "
        "and its list of calibration images (1.5 MB), checks them and keeps them in the cache folder. "
        "Repeating it only checks. Models are looked for in the cache folder too: "
        "mlperf-tiny/pretrainedResnet.h5.",
        NULL,
        NULL,
        NULL};
    struct options o = {0};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    char *const dir = o.dir ? strdup(o.dir) : qb_cache_dir(o.what->name);
    if (!dir) {
        qb_fail(&err, QB_EINPUT, "no cache folder: set QB_CACHE_DIR or HOME, or give --data-dir");
        return cli_error(&err);
    }
    const struct qb_progress progress = {draw, NULL};
    const enum qb_status status = o.what->fetch(dir, &progress, log_line, NULL, &err);
    if (isatty(STDERR_FILENO)) {
        fputs("\r\033[K", stderr);
    }
    free(dir);
    return status == QB_OK ? 0 : cli_error(&err);
}
