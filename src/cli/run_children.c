/* A sweep over several instruction sets: oneDNN reads its cap once a process, so each runs in a process of
 * its own, this program again with --isa. And the lock that keeps two sweeps of one results folder from
 * disturbing each other. */
#include "cli/run.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

extern char **environ;

enum qb_status run_lock(struct run *run, const char *results, struct qb_error *err)
{
    run->lock = open(results, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool said = false;
    /* Where the file system has no such locks (some network ones), the sweep goes on without. */
    while (run->lock >= 0 && flock(run->lock, LOCK_EX | LOCK_NB) != 0 &&
           (errno == EWOULDBLOCK || errno == EINTR)) {
        if (!said) {
            fprintf(stderr, "qbench: another `qbench run` is measuring into %s; waiting for its end\n",
                    results);
            said = true;
        }
        if (qb_interrupted()) {
            return qb_fail(err, QB_EINTERRUPTED, "interrupted while waiting for another run");
        }
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    return QB_OK;
}

static bool is_wanted(const struct run_entry *entry, enum qb_isa isa)
{
    return entry->isa == isa && entry->unavailable.status == QB_OK;
}

static bool row_is_finished(const struct run *run, const struct run_entry *entry, const struct qb_row *row)
{
    return row->status == QB_ROW_OK && row->correct >= 0 && !isnan(row->median) &&
           !run_wants_sets(run, entry);
}

static bool is_finished(const struct run *run, enum qb_isa isa)
{
    for (size_t i = 0; i < run->entry_count; i++) {
        const struct run_entry *const e = &run->entries[i];
        for (size_t b = 0; is_wanted(e, isa) && b < run->plan.measure.batch_count; b++) {
            if (!row_is_finished(run, e, &e->rows[b])) {
                return false;
            }
        }
    }
    return true;
}

static enum qb_status wait_for(pid_t pid, const char *isa, struct qb_error *err)
{
    int result = 0;
    cli_child(pid);
    pid_t ended;
    do {
        ended = waitpid(pid, &result, 0);
    } while (ended < 0 && errno == EINTR);
    cli_child(0);
    if (ended < 0) {
        return qb_fail(err, QB_EFAILED, "the process for isa %s was lost: %s", isa, strerror(errno));
    }
    if (qb_interrupted() || (WIFEXITED(result) && WEXITSTATUS(result) == 130)) {
        return qb_fail(err, QB_EINTERRUPTED, "interrupted");
    }
    if (!WIFEXITED(result)) {
        return qb_fail(err, QB_EFAILED,
                       "the process for isa %s was ended by signal %d (%s); the same command tries again",
                       isa, WTERMSIG(result), strsignal(WTERMSIG(result)));
    }
    return WEXITSTATUS(result) <= 1
               ? QB_OK
               : qb_fail(err, QB_EFAILED,
                         "the process for isa %s ended with exit code %d; the same command tries again", isa,
                         WEXITSTATUS(result));
}

/* argv of this command with what makes it the part of one ISA; a later --isa wins over an earlier one. */
static enum qb_status run_child(enum qb_isa isa, int argc, char **argv, struct qb_error *err)
{
    char **const child = calloc((size_t)argc + 5, sizeof *child);
    if (!child) {
        return qb_fail_memory(err, ((size_t)argc + 5) * sizeof *child);
    }
    char name[] = "qbench", command[] = "run", part[] = "--" RUN_PART_OPTION, option[32];
    snprintf(option, sizeof option, "--isa=%s", qb_isa_name(isa));
    int n = 0;
    child[n++] = name;
    child[n++] = command;
    child[n++] = part; /* in front: the user's arguments may hold a "--" */
    child[n++] = option;
    for (int i = 1; i < argc; i++) {
        child[n++] = argv[i];
    }
    pid_t pid;
    const int code = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, child, environ);
    free(child);
    return code == 0 ? wait_for(pid, qb_isa_name(isa), err)
                     : qb_fail(err, QB_EIO, "the process for isa %s could not be started: %s",
                               qb_isa_name(isa), strerror(code));
}

/* A part that died takes the rows it had not finished with it, not the sweep. With --fresh, rows from before
 * `since` are an earlier run's. */
static enum qb_status fail_rest(struct run *run, enum qb_isa isa, const char *since,
                                const struct qb_error *why, struct qb_error *err)
{
    cli_progress_end();
    fprintf(stderr, "qbench: FAILED: %s\n", why->text);
    QB_TRY(run_rows_collect(run, err));
    for (size_t i = 0; i < run->entry_count; i++) {
        struct run_entry *const e = &run->entries[i];
        for (size_t b = 0; is_wanted(e, isa) && b < run->plan.measure.batch_count; b++) {
            struct qb_row *const row = &e->rows[b];
            const bool stale = run->fresh && strcmp(row->started, since) < 0;
            if (row->status == QB_ROW_SKIPPED || (row_is_finished(run, e, row) && !stale)) {
                continue;
            }
            run_row_failed(row, QB_ROW_FAILED, why);
            QB_TRY(qb_store_put(run->store, row, err));
        }
    }
    return QB_OK;
}

enum qb_status run_children(struct run *run, int argc, char **argv, struct qb_error *err)
{
    char since[sizeof run->entries->rows->started];
    memcpy(since, run->entries[0].rows[0].started, sizeof since);
    enum qb_status status = QB_OK;
    for (int i = 0; status == QB_OK && i < QB_ISA_COUNT; i++) {
        const enum qb_isa isa = (enum qb_isa)i;
        if (is_finished(run, isa)) {
            continue;
        }
        fprintf(stderr, "qbench: isa %s, in a process of its own\n", qb_isa_name(isa));
        struct qb_error why = {0};
        status = run_child(isa, argc, argv, &why);
        if (status == QB_EINTERRUPTED || status == QB_ENOMEM) {
            *err = why;
        } else if (status != QB_OK) {
            status = fail_rest(run, isa, since, &why, err);
        }
    }
    struct qb_error second = {0};
    struct qb_error *const collecting =
        status == QB_OK ? err : &second; /* what stopped the sweep is to be told */
    const enum qb_status collected = run_rows_collect(run, collecting);
    return status == QB_OK ? collected : status;
}
