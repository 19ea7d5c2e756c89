/* qbench sensitivity: which layer costs the accuracy. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/trace_image.h"
#include "report/sensitivity_view.h"

enum { OPT_TRACE = 256 };

struct options {
    struct calibration_options calibration;
    const char *model, *scheme, *output, *image;
    const char *of_table; /* an option given that only shapes the table, or NULL */
    size_t images;
    int threads;
    enum qb_report_format format;
};

static const struct argp_option option_list[] = {
    {"model", 'm', "FILE", 0, "a float ONNX model, a Keras .h5 or a .tflite file; required", 0},
    {"scheme", 's', "NAME", 0, "a scheme of `qbench schemes`, or a scheme file; required", 0},
    {"images", 'n', "N", 0, "the first N test images (default 1000)", 0},
    {"threads", 't', "N", 0, "threads (default: all CPUs)", 0},
    {"format", 'f', "FORMAT", 0, "text (default), md, csv, json or svg", 0},
    {"output", 'o', "FILE", 0, "write to a file instead of standard output", 0},
    {"trace", OPT_TRACE, "N|FILE", 0,
     "in place of the table, every tensor of one image (the index of a test image, or a .npy file, uint8 "
     "[h, w, c]) in the new folder --output, as `qbench trace` writes it",
     0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    o->of_table = key == 'n' ? "--images" : key == 't' ? "--threads" : key == 'f' ? "--format" : o->of_table;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->calibration; return 0;
    case 'm': o->model = arg; return 0;
    case 's': o->scheme = arg; return 0;
    case 'n': o->images = (size_t)cli_number(state, "--images", arg, 1, 10000); return 0;
    case 't': o->threads = (int)cli_number(state, "--threads", arg, 1, 1024); return 0;
    case 'o': o->output = arg; return 0;
    case OPT_TRACE: o->image = arg; return 0;
    case 'f':
        if (!qb_report_format_parse(arg, &o->format) || o->format == QB_REPORT_HTML) {
            argp_error(state, "--format: \"%s\" is not one of text, md, csv, json, svg", arg);
        }
        return 0;
    case ARGP_KEY_ARG: argp_error(state, "\"%s\": no argument is expected", arg); return 0;
    case ARGP_KEY_END:
        if (!o->model || !o->scheme) {
            argp_error(state, "--model and --scheme are required");
        }
        if (o->image && !o->output) {
            argp_error(state, "--trace needs --output, the folder to make");
        }
        if (o->image && o->of_table) {
            argp_error(state, "%s shapes the table, which --trace does not make", o->of_table);
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static enum qb_status study(const struct options *o, const struct qb_graph *graph,
                            const struct qb_qgraph *qgraph, struct qb_error *err)
{
    struct qb_dataset set = {0};
    struct qb_sensitivity result = {0};
    char *text = NULL;
    enum qb_status status = pipeline_data(o->calibration.data_dir, QB_SPLIT_TEST, &set, err);
    pipeline_tell_synthetic();
    if (status == QB_OK) {
        status = qb_sensitivity_measure(graph, qgraph, &set, o->images < set.count ? o->images : set.count,
                                        o->threads, &cli_progress, &result, err);
    }
    cli_progress_end();
    if (status == QB_OK) {
        status = qb_sensitivity_render(&result, qgraph, o->format, &text, err);
    }
    if (status == QB_OK) {
        status = o->output ? qb_file_write(o->output, text, strlen(text), err) : cli_print(text, err);
    }
    free(text);
    qb_sensitivity_free(&result);
    qb_dataset_free(&set);
    return status;
}

static enum qb_status sensitivity(const struct options *o, struct qb_error *err)
{
    struct pair pair = {0};
    enum qb_status status = pair_make(o->model, o->scheme, &o->calibration, &pair, err);
    if (status == QB_OK) {
        status =
            o->image
                ? trace_image(&(struct trace_request){o->model, o->image, o->output, o->calibration.data_dir},
                              &pair, err)
                : study(o, pair.graph, pair.qgraph, err);
    }
    pair_free(&pair);
    return status;
}

int cmd_sensitivity(int argc, char **argv)
{
    static const struct argp_child children[] = {{&calibration_argp, 0, NULL, 1}, {0}};
    static const struct argp argp = {option_list,
                                     parse,
                                     NULL,
                                     "Quantizes each layer alone and keeps each layer float alone, on the "
                                     "first test images, and says which layer "
                                     "costs the accuracy; with signal to quantization noise, ranges, clipped "
                                     "values and saturated sums of each "
                                     "layer. Simulated in float, as docs/sensitivity.md defines it.",
                                     children,
                                     NULL,
                                     NULL};
    struct options o = {.calibration = CALIBRATION_DEFAULTS,
                        .images = 1000,
                        .threads = pipeline_cpus(),
                        .format = QB_REPORT_TEXT};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    return sensitivity(&o, &err) == QB_OK ? 0 : cli_error(&err);
}
