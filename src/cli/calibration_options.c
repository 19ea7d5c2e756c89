/* See calibration_options.h. */
#include "cli/calibration_options.h"

#include "cli/cli.h"

enum { OPT_PER_CLASS = 512, OPT_BATCH, OPT_SEED, OPT_QPARAMS };

static const struct argp_option option_list[] = {
    {NULL, 0, NULL, 0, "Calibration:", 1},
    {"calib", 'c', "SAMPLER", 0, "first (default), random, or a .npy or text file of training image indices",
     1},
    {"samples-per-class", OPT_PER_CLASS, "N", 0,
     "calibration images of each class, not with a file (default 100)", 1},
    {"batch-size", OPT_BATCH, "N", 0, "calibration batch (default 32); observers see one batch at a time", 1},
    {"seed", OPT_SEED, "N", 0, "seed of --calib random (default 42)", 1},
    {"qparams", OPT_QPARAMS, "FILE", 0,
     "take activation scales and zero points from this JSON file instead of calibrating", 1},
    {"data-dir", 'd', "DIR", 0, "folder with CIFAR-10: the binary or the Python version", 1},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct calibration_options *const o = state->input;
    switch (key) {
    case 'c': o->calib = arg; return 0;
    case OPT_PER_CLASS:
        o->per_class = (unsigned)cli_number(state, "--samples-per-class", arg, 1, 5000);
        return 0;
    case OPT_BATCH: o->batch = (int)cli_number(state, "--batch-size", arg, 1, 10000); return 0;
    case OPT_SEED: o->seed = (unsigned)cli_number(state, "--seed", arg, 0, 4294967295L); return 0;
    case OPT_QPARAMS: o->qparams = arg; return 0;
    case 'd': o->data_dir = arg; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp calibration_argp = {option_list, parse, NULL, NULL, NULL, NULL, NULL};

struct pipeline_calibration calibration_of(const struct calibration_options *options,
                                           struct qb_sampler *sampler)
{
    *sampler = (struct qb_sampler){.per_class = options->per_class, .seed = options->seed};
    qb_sampler_parse(options->calib, sampler);
    return (struct pipeline_calibration){.sampler = sampler,
                                         .batch_size = options->batch,
                                         .data_dir = options->data_dir,
                                         .qparams = options->qparams};
}
