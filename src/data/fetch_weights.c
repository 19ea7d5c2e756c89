/* Fetching the published weights: see fetch.h. A file gets its name when its checksum is right. */
#include "data/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "data/fetch_internal.h"

enum { MAX_WEIGHTS = 4 << 20 }; /* the largest has 1.1 MB */

static const struct qb_weights_file files[] = {
    {"trained_models/pretrainedResnet.h5", "pretrainedResnet.h5",
     "5f938a8eea605438cc7360aa13c987bc6d7bd0c8d931b2917361ae7ae4eeda2f"},
    {"trained_models/pretrainedResnet.tflite", "pretrainedResnet.tflite",
     "b5c0046d6e0328b4956afd6baa29555a29b1f1c65bdd45aaed75b7cd484d9f79"},
    {"trained_models/pretrainedResnet_quant.tflite", "pretrainedResnet_quant.tflite",
     "3c002613d1b2475eb51dd78dfb85a546c8ae658dee71cf6ade43b022fe205415"},
    {"calibration_samples_idxs.npy", "calibration_samples_idxs.npy",
     "c619b84e9ea72c8d7a9208b6c38af541594ea002c0e19731d1af47397b96ce97"},
};

const struct qb_weights_plan qb_weights_mlperf_tiny = {
    .url =
        "https://raw.githubusercontent.com/mlcommons/tiny/1afd2c9820f795965a6134facd0b4dfae41ef23f/benchmark/"
        "training/image_classification",
    .count = sizeof files / sizeof *files,
    .files = files,
};

/* `path`: where the file belongs. */
static enum qb_status fetch_file(const struct qb_download *what, const char *path,
                                 const struct qb_fetch_io *io, struct qb_error *err)
{
    struct qb_error reason;
    if (qb_is_file(path)) {
        const enum qb_status status = qb_download_check(what, path, &reason);
        if (status != QB_EINPUT) {
            *err = reason;
            return status;
        }
        qb_fetch_log(io, "%s; it is fetched again", reason.text);
    }
    char *part = NULL;
    if (asprintf(&part, "%s.part", path) < 0) {
        return qb_fail_memory(err, strlen(path));
    }
    enum qb_status status = qb_download(what, part, io, err);
    if (status == QB_OK && rename(part, path) != 0) {
        status = qb_fail(err, QB_EIO, "%s: cannot be put in place: %s", path, strerror(errno));
    }
    free(part);
    return status;
}

static enum qb_status fetch_files(const struct qb_weights_plan *plan, const char *dir,
                                  const struct qb_fetch_io *io, struct qb_error *err)
{
    enum qb_status status = QB_OK;
    for (unsigned i = 0; status == QB_OK && i < plan->count; i++) {
        const struct qb_weights_file *const file = &plan->files[i];
        char *url = qb_path_join(plan->url, file->path), *path = qb_path_join(dir, file->name);
        const struct qb_download what = {
            .url = url, .name = file->name, .sha256 = file->sha256, .max_bytes = MAX_WEIGHTS};
        struct qb_error reason = {0};
        status = url && path ? fetch_file(&what, path, io, &reason) : qb_fail_memory(&reason, strlen(dir));
        free(url);
        free(path);
        if (status == QB_EINTERRUPTED || status == QB_ENOMEM) {
            *err = reason;
        } else if (status != QB_OK) {
            qb_fail(err, status,
                    "%s could not be brought to %s. %.600s. Remedy: connect to the internet, or put the file "
                    "into that folder, and fetch again",
                    file->name, dir, reason.text);
        }
    }
    return status;
}

enum qb_status qb_fetch_weights_run(const struct qb_weights_plan *plan, const char *dir,
                                    const struct qb_fetch_io *io, struct qb_error *err)
{
    int fd;
    QB_TRY(qb_fetch_lock(dir, io, &fd, err));
    const enum qb_status status = fetch_files(plan, dir, io, err);
    if (status == QB_OK) {
        qb_fetch_log(io, "MLPerf Tiny's weights are in %s, checksums are right", dir);
    }
    close(fd);
    return status;
}

enum qb_status qb_fetch_mlperf_tiny(const char *dir, const struct qb_progress *progress,
                                    void (*log)(void *ctx, const char *line), void *log_ctx,
                                    struct qb_error *err)
{
    const struct qb_fetch_io io = {progress, log, log_ctx};
    return qb_fetch_weights_run(&qb_weights_mlperf_tiny, dir, &io, err);
}
