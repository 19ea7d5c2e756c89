/* The two forms in which CIFAR-10 lies on disk, read as records. Internal to the room.
 *
 * A record is what a line of the binary version is: one label byte, then 1024 bytes of red, of green, of
 * blue, each plane row by row. A batch file holds 10,000 of them; tests pass fewer rows. */
#ifndef QB_DATA_CIFAR_H
#define QB_DATA_CIFAR_H

#include <stddef.h>

#include "base/file.h"
#include "base/status.h"
#include "data/dataset.h"

enum {
    QB_CIFAR_TRAIN_FILES = 5,
    QB_CIFAR_FILES = 6, /* the training batches, then the test batch */
    QB_CIFAR_ROWS = 10000,
    QB_CIFAR_PLANE = QB_IMAGE_H * QB_IMAGE_W,
    QB_CIFAR_RECORD = 1 + QB_IMAGE_BYTES,
};

/* "data_batch_1" .. "test_batch": the Python version's file names; the binary version's end in .bin. */
extern const char *const qb_cifar_names[QB_CIFAR_FILES];

/* Read `rows` records (labels are checked to be 0..9) from a file of the binary / the Python version. */
enum qb_status qb_cifar_bin_read(const char *path, size_t rows, struct qb_blob *records,
                                 struct qb_error *err);
enum qb_status qb_cifar_pickle_read(const char *path, size_t rows, struct qb_blob *records,
                                    struct qb_error *err);

/* The same from the bytes of a Python version's file (`name` only for messages). */
enum qb_status qb_cifar_pickle_parse(const char *name, const uint8_t *bytes, size_t size, size_t rows,
                                     struct qb_blob *records, struct qb_error *err);

#endif
