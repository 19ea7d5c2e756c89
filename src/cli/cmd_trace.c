/* qbench trace: every tensor of one image, as .npy files with statistics. */
#include "cli/cli.h"

#include "cli/trace_image.h"

enum { OPT_FLOAT = 256, OPT_ACCUMULATE };

struct options {
    struct calibration_options calibration;
    const char *model, *scheme, *float_model, *image, *output, *accumulate, *arithmetic;
};

static const struct argp_option option_list[] = {
    {"model", 'm', "FILE", 0, "a float model, with --scheme; or a quantized ONNX file; required", 0},
    {"scheme", 's', "NAME", 0, "quantizes a float model: a scheme of `qbench schemes`, or a scheme file", 0},
    {"float", OPT_FLOAT, "FILE", 0, "the float model that a quantized file is compared with", 0},
    {"image", 'n', "N|FILE", 0, "the index of a test image, or a .npy file, uint8 [h, w, c]; required", 0},
    {"output", 'o', "DIR", 0, "the folder to make; required", 0},
    {"arithmetic", 'a', "NAME", 0,
     "of a quantized file that does not say: ort (default, ONNX Runtime's), fbgemm, onednn, onednn_3_12, "
     "torch_onednn, torch_x86 or tflite",
     0},
    {"accumulate", OPT_ACCUMULATE, "HOW", 0,
     "exact, maddubs, maddubs_khwc or maddubs_pad4, as in `qbench evaluate`", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->calibration; return 0;
    case 'm': o->model = arg; return 0;
    case 's': o->scheme = arg; return 0;
    case OPT_FLOAT: o->float_model = arg; return 0;
    case 'n': o->image = arg; return 0;
    case 'o': o->output = arg; return 0;
    case 'a': o->arithmetic = arg; return 0;
    case OPT_ACCUMULATE: o->accumulate = arg; return 0;
    case ARGP_KEY_ARG: argp_error(state, "\"%s\": no argument is expected", arg); return 0;
    case ARGP_KEY_END:
        if (!o->model || !o->image || !o->output) {
            argp_error(state, "--model, --image and --output are required");
        }
        if (o->scheme && o->float_model) {
            argp_error(state, "--float goes with a quantized model, --scheme with a float one");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* The integer network, and the float one where there is one. */
static enum qb_status load(const struct options *o, struct pair *out, struct qb_error *err)
{
    if (o->scheme) {
        return pair_make(o->model, o->scheme, &o->calibration, out, err);
    }
    struct pipeline_model model = {0};
    QB_TRY(pipeline_model_load(o->model, o->arithmetic, &model, err));
    enum qb_status status = QB_OK;
    struct qb_graph *reference = NULL;
    if (!model.qgraph) {
        status =
            qb_fail(err, QB_EINPUT, "%s: a float model; --scheme NAME is needed to quantize it", o->model);
    } else if (o->float_model) {
        status = pipeline_graph_load(o->float_model, &reference, err);
        if (status == QB_OK && reference->quantized) {
            status = qb_fail(err, QB_EINPUT, "%s: --float wants a float model, this one is quantized",
                             o->float_model);
        }
    }
    if (status == QB_OK) {
        *out = (struct pair){.graph = reference, .qgraph = model.qgraph};
        model.qgraph = NULL;
        reference = NULL;
    }
    qb_graph_free(reference);
    pipeline_model_free(&model);
    return status;
}

static enum qb_status trace(const struct options *o, struct qb_error *err)
{
    struct pair pair = {0};
    QB_TRY(load(o, &pair, err));
    enum qb_status status = pipeline_accumulate(o->accumulate, pair.qgraph, err);
    if (status == QB_OK && pair.graph &&
        (qb_shape_count(pair.graph->nodes[0].dst) != qb_shape_count(pair.qgraph->nodes[0].dst) ||
         pair.graph->nodes[0].dst.c != pair.qgraph->nodes[0].dst.c)) {
        status = qb_fail(err, QB_EINPUT, "%s: takes other images than %s", o->float_model, o->model);
    }
    if (status == QB_OK) {
        status = trace_image(&(struct trace_request){o->model, o->image, o->output, o->calibration.data_dir},
                             &pair, err);
    }
    pair_free(&pair);
    return status;
}

int cmd_trace(int argc, char **argv)
{
    static const struct argp_child children[] = {{&calibration_argp, 0, NULL, 1}, {0}};
    static const struct argp argp = {option_list,
                                     parse,
                                     NULL,
                                     "Runs one image through the integer network and the float network and "
                                     "writes every tensor of both into a new "
                                     "folder: codes, dequantized and float values as .npy files, with "
                                     "statistics and histograms in stats.json and "
                                     "stats.csv (docs/sensitivity.md).",
                                     children,
                                     NULL,
                                     NULL};
    struct options o = {.calibration = CALIBRATION_DEFAULTS};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    return trace(&o, &err) == QB_OK ? 0 : cli_error(&err);
}
