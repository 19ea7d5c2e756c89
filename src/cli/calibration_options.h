/* Options of the commands that calibrate: --calib, --samples-per-class, --batch-size, --seed, --qparams,
 * --data-dir. */
#ifndef QB_CLI_CALIBRATION_OPTIONS_H
#define QB_CLI_CALIBRATION_OPTIONS_H

#include <argp.h>

#include "cli/pipeline.h"

struct calibration_options {
    const char *calib, *data_dir, *qparams;
    unsigned per_class, seed;
    int batch;
};
#define CALIBRATION_DEFAULTS                                                                                 \
    {                                                                                                        \
        .calib = "first", .per_class = 100, .seed = 42, .batch = 32                                          \
    }

/* A child parser; the parent hands over its struct calibration_options in ARGP_KEY_INIT:
 * state->child_inputs[0] = &options. */
extern const struct argp calibration_argp;

/* What the options say, in the words of the pipeline; *sampler belongs to the caller and must outlive the
 * result. */
struct pipeline_calibration calibration_of(const struct calibration_options *options,
                                           struct qb_sampler *sampler);

#endif
