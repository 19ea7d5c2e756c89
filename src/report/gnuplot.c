/* See gnuplot.h. */
#include "report/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void gnuplot_label(FILE *script, const char *text)
{
    for (; *text; text++) {
        if (*text == '_') {
            fputs("\\\\_", script);
        } else if (*text != '"' && *text != '\\' && (unsigned char)*text >= ' ') {
            fputc(*text, script);
        }
    }
}

/* Runs `gnuplot script` and copies its standard output. */
static enum qb_status run_gnuplot(const char *script, FILE *out, struct qb_error *err)
{
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) != 0) {
        return qb_fail(err, QB_EIO, "a pipe to gnuplot: %s", strerror(errno));
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    char name[] = "gnuplot";
    char *const copy = strdup(script);
    char *const argv[] = {name, copy, NULL};
    pid_t pid;
    const int spawned = copy ? posix_spawnp(&pid, name, &actions, NULL, argv, environ) : ENOMEM;
    posix_spawn_file_actions_destroy(&actions);
    free(copy);
    close(pipe_ends[1]);
    if (spawned != 0) {
        close(pipe_ends[0]);
        return qb_fail(err, QB_EUNSUPPORTED,
                       "gnuplot draws the plot and is not here (Debian: gnuplot-nox): %s", strerror(spawned));
    }
    char buffer[4096];
    size_t total = 0;
    for (ssize_t n; (n = read(pipe_ends[0], buffer, sizeof buffer)) != 0;) {
        if (n > 0) {
            total += fwrite(buffer, 1, (size_t)n, out);
        } else if (errno != EINTR) {
            break;
        }
    }
    close(pipe_ends[0]);
    int result = 0;
    while (waitpid(pid, &result, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(result) && WEXITSTATUS(result) == 127) {
        return qb_fail(err, QB_EUNSUPPORTED, "gnuplot draws the plot and is not here (Debian: gnuplot-nox)");
    }
    if (!WIFEXITED(result) || WEXITSTATUS(result) != 0 || total == 0) {
        return qb_fail(err, QB_EFAILED, "gnuplot failed on this plot");
    }
    return QB_OK;
}

enum qb_status gnuplot_draw(gnuplot_script_fn *write, const void *ctx, FILE *out, struct qb_error *err)
{
    const char *const base = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/qbench-plot-XXXXXX", base ? base : "/tmp");
    const int fd = mkostemp(path, O_CLOEXEC);
    FILE *const script = fd >= 0 ? fdopen(fd, "w") : NULL;
    enum qb_status status = QB_OK;
    if (script) {
        status = write(ctx, script, err);
    }
    if (!script || fclose(script) != 0) {
        status = qb_fail(err, QB_EIO, "%s: the plot's script cannot be written: %s", path, strerror(errno));
    } else if (status == QB_OK) {
        status = run_gnuplot(path, out, err);
    }
    if (fd >= 0) {
        unlink(path);
    }
    return status;
}
