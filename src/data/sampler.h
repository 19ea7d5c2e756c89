/* Which training images calibrate a scheme. */
#ifndef QB_DATA_SAMPLER_H
#define QB_DATA_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "data/dataset.h"

enum qb_sampler_kind {
    QB_SAMPLER_FIRST,  /* the first n of each class in file order; union in ascending index order */
    QB_SAMPLER_RANDOM, /* n per class, numpy.random.RandomState(seed).choice(indices, n, replace=False), class
                          by class */
    /* indices of a .npy (integer, one dimension) or text file (one a line, # comments); order kept, an index
     * that is listed twice is used twice */
    QB_SAMPLER_FILE,
};

struct qb_sampler {
    enum qb_sampler_kind kind;
    const char *file;   /* for QB_SAMPLER_FILE */
    unsigned per_class; /* 1.. ; default 100 */
    unsigned seed;      /* for QB_SAMPLER_RANDOM; default 42 */
};

struct qb_sample {
    int64_t *indices; /* malloc'd, each < set->count */
    size_t count;
    char hash[QB_HASH64_HEX]; /* of the little-endian int64 list: identifies the calibration set */
};

/* "first", "random" or a path -> kind and file (the pointer is kept). */
void qb_sampler_parse(const char *text, struct qb_sampler *sampler);

enum qb_status qb_sample_draw(const struct qb_sampler *sampler, const struct qb_dataset *set,
                              struct qb_sample *out, struct qb_error *err);
void qb_sample_free(struct qb_sample *sample);

#endif
