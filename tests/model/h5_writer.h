/* Small Keras files for tests, written with libhdf5 as Keras writes them. */
#ifndef QB_TESTS_MODEL_H5_WRITER_H
#define QB_TESTS_MODEL_H5_WRITER_H

#include <stddef.h>

struct h5_weight {
    const char *layer, *name;
    int dims;
    size_t shape[4];
    const float *values; /* NULL: 0, 1, 2 ... */
};

/* Writes `path`: `config` as attribute model_config, and the weights (all of one layer in a row). `keras3`
 * picks variable-length strings, as Keras 3 writes them, over fixed ones. Compressed with `deflate` not 0. */
void h5_write(const char *path, const char *config, const struct h5_weight *weights, size_t count, int keras3,
              int deflate);

#endif
