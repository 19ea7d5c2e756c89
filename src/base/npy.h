/* numpy's .npy files (format 1.0, 2.0; C order): integers of every size, float32 and float64, read in either
 * byte order and written in this machine's. */
#ifndef QB_BASE_NPY_H
#define QB_BASE_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum qb_npy_type {
    QB_NPY_U8,
    QB_NPY_I8,
    QB_NPY_U16,
    QB_NPY_I16,
    QB_NPY_U32,
    QB_NPY_I32,
    QB_NPY_U64,
    QB_NPY_I64,
    QB_NPY_F32,
    QB_NPY_F64
};
enum { QB_NPY_MAX_DIMS = 8 };

struct qb_npy {
    enum qb_npy_type type;
    int dims;
    size_t shape[QB_NPY_MAX_DIMS];
    size_t count; /* elements in all */
    void *data;   /* malloc'd, C order, this machine's byte order */
};

/* Parses `size` bytes of a .npy image (`name` only for messages) / reads a file. Every malformed, truncated
 * or unknown form is QB_EINPUT with the reason. Free with qb_npy_free. */
enum qb_status qb_npy_parse(const char *name, const void *bytes, size_t size, struct qb_npy *out,
                            struct qb_error *err);
enum qb_status qb_npy_read(const char *path, struct qb_npy *out, struct qb_error *err);
void qb_npy_free(struct qb_npy *npy);

/* Writes an array atomically (qb_file_write). */
enum qb_status qb_npy_write(const char *path, enum qb_npy_type type, int dims, const size_t *shape,
                            const void *data, struct qb_error *err);

size_t qb_npy_element_size(enum qb_npy_type type);
/* Element i of an integer array as int64; U64 above INT64_MAX as INT64_MAX. */
int64_t qb_npy_int(const struct qb_npy *npy, size_t i);

#endif
