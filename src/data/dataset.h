/* Images with labels: CIFAR-10 from disk, or a labelled synthetic stand-in.
 *
 * Images are u8, NHWC ([count][32][32][3], RGB), in the order of the official files (test_batch.bin, or
 * data_batch_1..5.bin one after the other). */
#ifndef QB_DATA_DATASET_H
#define QB_DATA_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

enum qb_split { QB_SPLIT_TRAIN, QB_SPLIT_TEST };
enum { QB_IMAGE_H = 32, QB_IMAGE_W = 32, QB_IMAGE_C = 3, QB_IMAGE_BYTES = 32 * 32 * 3, QB_CLASSES = 10 };

struct qb_dataset {
    char name[32]; /* "cifar10" or "synthetic" */
    int synthetic; /* 1: labels mean nothing; report agreement, never accuracy */
    enum qb_split split;
    size_t count;
    uint8_t *images;            /* [count][32][32][3] */
    uint8_t *labels;            /* [count], 0..9 */
    char sha256[QB_SHA256_HEX]; /* of labels and images in .bin record order: independent of the files' format
                                 */
};

/* "airplane" .. "truck" */
extern const char *const qb_class_names[QB_CLASSES];

/* Where the data set is: `dir` if not NULL (it must hold one of the known forms, else an error that names the
 * remedy), else $QB_DATA_DIR, else the cache folder that `qbench fetch` fills (qb_cache_dir), else
 * ./data. Writes a malloc'd path. QB_ENOTFOUND when none holds the files; the text says `qbench fetch
 * cifar10`. */
enum qb_status qb_data_locate(const char *dir, char **out, struct qb_error *err);

/* What `qbench fetch` keeps: `name`, which is cifar10 for the data set, in $QB_CACHE_DIR, else in
 * $XDG_CACHE_HOME/qbench, else in $HOME/.cache/qbench. malloc'd, NULL when memory is out. */
char *qb_cache_dir(const char *name);

/* Loads one split from `dir`: the binary version (cifar-10-batches-bin, or its .bin files directly in `dir`),
 * the Python version (cifar-10-batches-py, pickles of the known shape, nothing is executed). Sizes and label
 * ranges are checked. */
enum qb_status qb_dataset_load(const char *dir, enum qb_split split, struct qb_dataset *out,
                               struct qb_error *err);

/* A deterministic synthetic set (class-dependent patterns plus noise) of `count` images, synthetic = 1. */
enum qb_status qb_dataset_synthetic(enum qb_split split, size_t count, struct qb_dataset *out,
                                    struct qb_error *err);

void qb_dataset_free(struct qb_dataset *set);

#endif
