/* What the commands share: see cli.h. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
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

enum { LINE_WIDTH = 79, REDRAW_NS = 100000000 };

/* The line that is on the terminal. */
static struct {
    uint64_t started, drawn;
    uint64_t end; /* of the whole command, as estimated; 0: unknown */
    char what[64], step[64];
    bool open;
} line;

static bool on_terminal(void)
{
    static int terminal = -1;
    if (terminal < 0) {
        terminal = isatty(STDERR_FILENO);
    }
    return terminal;
}

void cli_progress_end(void)
{
    if (line.open) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        line.open = false;
    }
    line.what[0] = 0;
}

void cli_step(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(line.step, sizeof line.step, format, args);
    va_end(args);
    cli_progress_end();
    if (!on_terminal()) {
        fprintf(stderr, "qbench: %s\n", line.step);
    }
}

void cli_time_left(double seconds)
{
    line.end = seconds < 0 ? 0 : qb_now_ns() + (uint64_t)(seconds * 1e9);
}

static void print_line(uint64_t now, uint64_t done, uint64_t total)
{
    char text[256], left[32] = "", all[32] = "";
    const double elapsed = (double)(now - line.started) / 1e9;
    if (done && done < total) {
        snprintf(left, sizeof left, ", %.0f s left", elapsed * (double)(total - done) / (double)done);
    }
    if (line.end > now) {
        snprintf(all, sizeof all, "; about %.0f s in all", (double)(line.end - now) / 1e9);
    }
    if (total) {
        snprintf(text, sizeof text, "%s%s%s %3.0f %%%s%s", line.step, line.step[0] ? ": " : "", line.what,
                 100.0 * (double)done / (double)total, left, all);
    } else {
        snprintf(text, sizeof text, "%s%s%s %llu%s", line.step, line.step[0] ? ": " : "", line.what,
                 (unsigned long long)done, all);
    }
    fprintf(stderr, "\r%.*s\033[K", LINE_WIDTH, text);
    fflush(stderr);
}

static void draw(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    (void)ctx;
    if (!on_terminal()) {
        return;
    }
    const uint64_t now = qb_now_ns();
    if (strncmp(line.what, what, sizeof line.what - 1) != 0) {
        snprintf(line.what, sizeof line.what, "%s", what);
        line.started = now;
        line.drawn = 0;
    }
    if (!line.drawn || now - line.drawn >= REDRAW_NS || done == total) {
        line.drawn = now;
        line.open = true;
        print_line(now, done, total);
    }
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

enum qb_status cli_print_json(json_t *root, size_t digits, struct qb_error *err)
{
    char *const text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(digits)) : NULL;
    json_decref(root);
    if (!text) {
        return qb_fail_memory(err, 4096);
    }
    enum qb_status status = cli_print(text, err);
    if (status == QB_OK) {
        status = cli_print("\n", err);
    }
    free(text);
    return status;
}
