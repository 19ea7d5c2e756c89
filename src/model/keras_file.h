/* What a Keras .h5 file holds, before any of it is understood: the text of `model_config` and the weight
 * arrays.
 *
 * libhdf5 is not safe on damaged files (1.10.8 takes SIGSEGV on a published model with one changed byte, see
 * test_keras.c), so it runs in a child process that only reads and reports: a crash or an endless loop there
 * is an error here. */
#ifndef QB_MODEL_KERAS_FILE_H
#define QB_MODEL_KERAS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/status.h"

enum { QB_KERAS_MAX_DIMS = 4 };

struct qb_keras_array {
    const char *layer; /* "conv2d" */
    const char *name;  /* as in weight_names: "conv2d/kernel:0" */
    int dims;
    size_t shape[QB_KERAS_MAX_DIMS];
    size_t count; /* product of shape */
    const float *data;
};

struct qb_keras_file {
    const char *config; /* JSON, NUL-terminated */
    struct qb_keras_array *arrays;
    size_t count;
};

/* Reads every float32 array that the file's `layer_names` and `weight_names` list. Everything lives in
 * `arena`. `path` is for messages. Without libhdf5 at build time: QB_EUNSUPPORTED naming the package. */
enum qb_status qb_keras_file_read(const char *path, const struct qb_blob *file, struct qb_arena *arena,
                                  struct qb_keras_file *out, struct qb_error *err);

/* Between the two processes: records on a pipe, each with `name_size` and `data_size` bytes behind it. */
enum qb_keras_record_kind {
    QB_KERAS_CONFIG = 1, /* name: the JSON text */
    QB_KERAS_LAYER,      /* name: the layer that the arrays behind it belong to */
    QB_KERAS_ARRAY,      /* name, data */
    QB_KERAS_ERROR,      /* status; name: the sentence */
    QB_KERAS_END,        /* everything was sent */
};
struct qb_keras_record {
    uint32_t kind, status, dims;
    uint64_t shape[QB_KERAS_MAX_DIMS];
    uint64_t name_size, data_size;
};

/* The child's work (keras_hdf5.c): writes the records of `file` to `fd`. It frees nothing: the process ends
 * behind it. */
void qb_keras_hdf5_send(const struct qb_blob *file, int fd);

#endif
