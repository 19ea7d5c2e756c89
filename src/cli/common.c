/* What the commands share: see cli.h. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

int cli_error(const struct qb_error *err)
{
    cli_progress_end();
    fprintf(stderr, "qbench: %s\n", err->text);
    return qb_status_exit_code(err->status);
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    argp_err_exit_status = 2;
    if (argp_parse(argp, argc, argv, 0, NULL, input) != 0) {
        exit(2);
    }
}

long cli_number(struct argp_state *state, const char *option, const char *text, long min, long max)
{
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < min || value > max) {
        argp_error(state, "%s: \"%s\" is not a whole number from %ld to %ld", option, text, min, max);
    }
    return value;
}

bool cli_is_json(struct argp_state *state, const char *text)
{
    if (strcmp(text, "json") != 0 && strcmp(text, "text") != 0) {
        argp_error(state, "--format: \"%s\" is not one of text, json", text);
    }
    return strcmp(text, "json") == 0;
}

static struct {
    uint64_t started, drawn;
    char what[64];
    bool open;
} line;

void cli_progress_end(void)
{
    if (line.open) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        line.open = false;
    }
    line.what[0] = 0;
}

static void draw(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    (void)ctx;
    static int terminal = -1;
    if (terminal < 0) {
        terminal = isatty(STDERR_FILENO);
    }
    if (!terminal) {
        return;
    }
    const uint64_t now = qb_now_ns();
    if (strncmp(line.what, what, sizeof line.what - 1) != 0) {
        cli_progress_end();
        snprintf(line.what, sizeof line.what, "%s", what);
        line.started = now;
        line.drawn = 0;
    }
    if (line.drawn && now - line.drawn < 100000000 && done != total) {
        return;
    }
    line.drawn = now;
    line.open = true;
    const double elapsed = (double)(now - line.started) / 1e9;
    if (total == 0) {
        fprintf(stderr, "\r%-40s %llu\033[K", line.what, (unsigned long long)done);
    } else if (done == 0 || done >= total) {
        fprintf(stderr, "\r%-40s %3.0f %%\033[K", line.what, 100.0 * (double)done / (double)total);
    } else {
        fprintf(stderr, "\r%-40s %3.0f %%, %.0f s left\033[K", line.what,
                100.0 * (double)done / (double)total, elapsed * (double)(total - done) / (double)done);
    }
    fflush(stderr);
}

const struct qb_progress cli_progress = {draw, NULL};

enum qb_status cli_print(const char *text, struct qb_error *err)
{
    static bool failed; /* said once: what is left in the buffer would fail again at exit */
    errno = 0;
    if (failed || (fputs(text, stdout) != EOF && fflush(stdout) == 0 && !ferror(stdout))) {
        return QB_OK;
    }
    failed = true;
    return qb_fail(err, QB_EIO, "standard output: cannot be written%s%s", errno ? ": " : "",
                   errno ? strerror(errno) : "");
}
