/* Whole files: bounded reading, and writing that leaves either the old file or the complete new one. */
#ifndef QB_BASE_FILE_H
#define QB_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct qb_blob {
    uint8_t *data; /* malloc'd, NUL-terminated behind size */
    size_t size;
};

/* Reads a regular file of at most `max_bytes` bytes. Free with qb_blob_free. */
enum qb_status qb_file_read(const char *path, size_t max_bytes, struct qb_blob *out, struct qb_error *err);
void qb_blob_free(struct qb_blob *blob);

/* Writes to a temporary file in the same folder, syncs it and renames it over `path` (over what it leads to,
 * when it is a link): after any failure (disk full, kill) `path` is what it was before, and the temporary
 * file is gone unless the process was killed. A device or a pipe is written as it is. */
enum qb_status qb_file_write(const char *path, const void *data, size_t size, struct qb_error *err);

/* 1 when `path` exists and is a folder / a regular file. */
int qb_is_dir(const char *path);
int qb_is_file(const char *path);

/* Makes `path` and its missing parents. An existing folder is fine. */
enum qb_status qb_make_dirs(const char *path, struct qb_error *err);

/* "dir/name" in malloc'd memory, NULL when out of memory. */
char *qb_path_join(const char *dir, const char *name);

#endif
