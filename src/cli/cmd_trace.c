/* qbench trace: every tensor of one image, as .npy files with statistics. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "cli/pair.h"
#include "report/trace_files.h"

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

/* The image in memory of its own, and its label. */
static enum qb_status load_test_image(const struct options *o, size_t index, uint8_t **pixels, int *label,
                                      struct qb_error *err)
{
    struct qb_dataset set = {0};
    enum qb_status status = pipeline_data(o->calibration.data_dir, QB_SPLIT_TEST, &set, err);
    pipeline_tell_synthetic();
    if (status == QB_OK && index >= set.count) {
        status = qb_fail(err, QB_EINPUT, "--image %zu: %s has the test images 0 to %zu", index, set.name,
                         set.count - 1);
    }
    if (status == QB_OK) {
        *pixels = malloc(QB_IMAGE_BYTES);
        status = *pixels ? QB_OK : qb_fail_memory(err, QB_IMAGE_BYTES);
    }
    if (status == QB_OK) {
        memcpy(*pixels, set.images + index * QB_IMAGE_BYTES, QB_IMAGE_BYTES);
        *label = set.synthetic ? -1 : set.labels[index];
    }
    qb_dataset_free(&set);
    return status;
}

static enum qb_status load_file(const char *path, struct qb_shape shape, uint8_t **pixels,
                                struct qb_error *err)
{
    struct qb_npy npy;
    QB_TRY(qb_npy_read(path, &npy, err));
    if (npy.type != QB_NPY_U8 || npy.dims != 3 || npy.shape[0] != (size_t)shape.h ||
        npy.shape[1] != (size_t)shape.w || npy.shape[2] != (size_t)shape.c) {
        qb_npy_free(&npy);
        return qb_fail(err, QB_EINPUT,
                       "%s: an image of uint8 [%d, %d, %d] is expected, as the model takes it", path, shape.h,
                       shape.w, shape.c);
    }
    *pixels = npy.data;
    return QB_OK;
}

static enum qb_status load_image(const struct options *o, struct qb_shape shape, uint8_t **pixels, int *label,
                                 struct qb_error *err)
{
    char *end;
    errno = 0;
    const unsigned long index = strtoul(o->image, &end, 10);
    if (o->image[0] < '0' || o->image[0] > '9' || *end || errno) {
        return load_file(o->image, shape, pixels, err);
    }
    if (qb_shape_count(shape) != QB_IMAGE_BYTES || shape.c != QB_IMAGE_C) {
        return qb_fail(err, QB_EINPUT, "%s: the model takes images of %dx%dx%d, the test images are %dx%dx%d",
                       o->model, shape.h, shape.w, shape.c, QB_IMAGE_H, QB_IMAGE_W, QB_IMAGE_C);
    }
    return load_test_image(o, index, pixels, label, err);
}

/* A network of other classes has other names. */
static const char *answer(const struct qb_trace *trace, int prediction, char text[24])
{
    if (trace->integer[trace->integer_count - 1].count == QB_CLASSES) {
        return qb_class_names[prediction];
    }
    snprintf(text, 24, "class %d", prediction);
    return text;
}

static void tell(const struct options *o, const struct qb_trace *trace, int label)
{
    printf("%s: %zu tensors of the integer network", o->output, trace->integer_count);
    if (trace->real_count) {
        printf(", %zu of the float network", trace->real_count);
    }
    printf("; image %s, ", o->image);
    if (label >= 0) {
        printf("a %s, ", qb_class_names[label]);
    }
    char text[24];
    printf("integer network says %s", answer(trace, trace->integer_prediction, text));
    if (trace->real_prediction >= 0) {
        printf(", float network %s", answer(trace, trace->real_prediction, text));
    }
    puts("");
}

static enum qb_status trace_image(const struct options *o, const struct pair *pair, struct qb_error *err)
{
    const struct qb_shape shape = pair->qgraph->nodes[0].dst;
    struct trace_source source = {
        .model = o->model, .image = o->image, .qgraph = pair->qgraph, .shape = shape, .label = -1};
    struct qb_trace trace = {0};
    uint8_t *pixels = NULL;
    enum qb_status status = load_image(o, shape, &pixels, &source.label, err);
    source.pixels = pixels;
    if (status == QB_OK) {
        status = qb_trace_make(pair->qgraph, pair->graph, pixels, &trace, err);
    }
    if (status == QB_OK) {
        status = trace_write(&trace, &source, o->output, err);
    }
    if (status == QB_OK) {
        tell(o, &trace, source.label);
        status = cli_print("", err);
    }
    qb_trace_free(&trace);
    free(pixels);
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
        status = trace_image(o, &pair, err);
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
