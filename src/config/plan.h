/* An experiment file (configs/NAME.yaml) and the plan it expands to: one entry per combination. */
#ifndef QB_CONFIG_PLAN_H
#define QB_CONFIG_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"
#include "config/scheme.h"

/* Most schemes and combinations of an experiment. */
enum { QB_MAX_SCHEMES = 1024, QB_MAX_COMBINATIONS = 100000 };

/* One row to be measured. */
struct qb_plan_entry {
    const struct qb_scheme *scheme;
    const char *engine; /* a name of the engine table */
    const char *isa;    /* "best" or a name */
    int threads;        /* 1.. */
};

/* What others published for a scheme on the experiment's model, to stand beside the measurement. */
enum { QB_PUBLISHED_SOURCE = 159, QB_PUBLISHED_WHY = 511 };
struct qb_published {
    const char *scheme; /* of the plan */
    double accuracy;    /* fraction */
    const char *source; /* whose figure it is */
    const char *why;    /* what explains a difference; "" when nothing does */
};

enum { QB_MAX_CALIBRATION_SETS = 50 };

struct qb_plan {
    struct qb_arena *arena; /* owns every string and array below */
    const char *name, *path;
    /* Paths are as written where that exists, else beside the experiment where that does, else as written. */
    const char *model; /* then looked for in the share folder */
    struct {
        const char *dir; /* NULL: qb_data_locate's order */
        size_t images;   /* test images to score; 0 = all */
    } data;
    struct {
        const char *sampler; /* first | random | path */
        unsigned per_class, batch_size, seed;
        unsigned repeat; /* calibration sets of each scheme, seeds seed .. seed + repeat - 1 */
    } calibration;
    const char *impl; /* onednn: default | fastest | NAME */
    struct {
        int *batches; /* every entry is timed at each; the smallest one sorts the table */
        size_t batch_count;
        unsigned rounds; /* interleaved rounds, >= 6 */
        double epoch_ms; /* least time of one sample */
        double seconds;  /* cap for the whole latency part */
        bool control;    /* A/A control row */
    } measure;
    struct qb_scheme *schemes;
    size_t scheme_count;
    bool crossed; /* schemes come with several bit widths */
    struct qb_published *published;
    size_t published_count;
    struct qb_plan_entry *entries; /* the cross product less the exclusions, in file order */
    size_t entry_count;
};

/* Reads and checks an experiment. Errors as in qb_scheme_load. Engine names are checked against `engines`
 * (NULL-terminated). Free with qb_plan_free. */
enum qb_status qb_plan_load(const char *path, const char *const *scheme_dirs, const char *const *engines,
                            struct qb_plan *out, struct qb_error *err);
void qb_plan_free(struct qb_plan *plan);

#endif
