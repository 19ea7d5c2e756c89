/* qbench fetch cifar10: brings the data set to the cache folder, or to --data-dir. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "data/dataset.h"
#include "data/fetch.h"

struct options {
    const char *what, *dir;
};

static const struct argp_option option_list[] = {
    {"data-dir", 'd', "DIR", 0,
     "put the files here (default: $QB_CACHE_DIR, $XDG_CACHE_HOME/qbench or ~/.cache/qbench)", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case 'd': o->dir = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->what || strcmp(arg, "cifar10") != 0) {
            argp_error(state, "\"%s\" is not a known data set; known: cifar10", arg);
        }
        o->what = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->what) {
            argp_error(state, "name the data set: cifar10");
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
        "cifar10",
        "Downloads CIFAR-10 (about 140 to 170 MB), checks it and keeps it in the cache folder. "
        "Repeating it only checks.",
        NULL,
        NULL,
        NULL};
    struct options o = {0};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    char *const dir = o.dir ? strdup(o.dir) : qb_data_cache_dir();
    if (!dir) {
        qb_fail(&err, QB_EINPUT, "no cache folder: set QB_CACHE_DIR or HOME, or give --data-dir");
        return cli_error(&err);
    }
    const struct qb_progress progress = {draw, NULL};
    const enum qb_status status = qb_fetch_cifar10(dir, &progress, log_line, NULL, &err);
    if (isatty(STDERR_FILENO)) {
        fputs("\r\033[K", stderr);
    }
    free(dir);
    return status == QB_OK ? 0 : cli_error(&err);
}
