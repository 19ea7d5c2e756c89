/* qbench quantize: calibrates and quantizes one float model under one scheme, writes a QDQ ONNX file. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibration_options.h"
#include "cli/share.h"
#include "quant/inspect.h"
#include "quant/qdq.h"

enum { OPT_DTYPE = 256, OPT_INSPECT };

struct options {
    struct calibration_options calibration;
    const char *model, *scheme, *output;
    bool uint8, inspect_only, json;
};

static const struct argp_option option_list[] = {
    {"model", 'm', "FILE", 0, "a float ONNX model, a Keras .h5 or a .tflite file; required", 0},
    {"scheme", 's', "NAME", 0, "a scheme of `qbench schemes`, or a scheme file; required", 0},
    {"output", 'o', "FILE", 0, "the QDQ ONNX file to write; required unless --inspect-only", 0},
    {"dtype", OPT_DTYPE, "TYPE", 0, "weights: int8 (default) or uint8", 0},
    {"inspect-only", OPT_INSPECT, NULL, 0, "print scales and zero points, write nothing", 0},
    {"format", 'f', "FORMAT", 0, "form of --inspect-only: text (default) or json", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->calibration; return 0;
    case 'm': o->model = arg; return 0;
    case 's': o->scheme = arg; return 0;
    case 'o': o->output = arg; return 0;
    case OPT_INSPECT: o->inspect_only = true; return 0;
    case 'f': o->json = cli_is_json(state, arg); return 0;
    case OPT_DTYPE:
        if (strcmp(arg, "int8") != 0 && strcmp(arg, "uint8") != 0) {
            argp_error(state, "--dtype: \"%s\" is not one of int8, uint8", arg);
        }
        o->uint8 = strcmp(arg, "uint8") == 0;
        return 0;
    case ARGP_KEY_ARG: argp_error(state, "\"%s\": no argument is expected", arg); return 0;
    case ARGP_KEY_END:
        if (!o->model || !o->scheme || (!o->output && !o->inspect_only)) {
            argp_error(state, "--model, --scheme and --output (or --inspect-only) are required");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* PyTorch's fbgemm has no quint8 weights; the program's own scheme with them runs in place of the one asked
 * for. */
static enum qb_status load_scheme(const struct options *o, struct qb_arena *arena, struct qb_scheme *scheme,
                                  struct qb_error *err)
{
    QB_TRY(qb_scheme_load(o->scheme, share_scheme_dirs(), arena, scheme, err));
    if (!o->uint8 || scheme->fp32 || scheme->weights.dtype == QB_QUINT8) {
        return QB_OK;
    }
    fprintf(stderr,
            "qbench: PyTorch refuses --dtype uint8 for scheme %s (convert: \"Weight observer must have a "
            "dtype of "
            "qint8\", its fbgemm kernels have no quint8 weights); running qbench's own scheme u8u8 in its "
            "place, which "
            "is not available in PyTorch\n",
            scheme->name);
    return qb_scheme_load("u8u8", share_scheme_dirs(), arena, scheme, err);
}

static enum qb_status quantize(const struct options *o, struct qb_error *err)
{
    struct qb_scheme scheme = {0};
    struct qb_graph *graph = NULL;
    struct qb_qgraph *qgraph = NULL;
    struct qb_sampler sampler;
    const struct pipeline_calibration calibration = calibration_of(&o->calibration, &sampler);
    struct qb_arena *const arena = qb_arena_create();
    enum qb_status status = arena ? load_scheme(o, arena, &scheme, err) : qb_fail_memory(err, sizeof(void *));
    if (status == QB_OK && scheme.fp32) {
        status = qb_fail(err, QB_EINPUT,
                         "--scheme fp32: there is nothing to quantize; `qbench evaluate` runs float models");
    }
    if (status == QB_OK) {
        status = pipeline_graph_load(o->model, &graph, err);
    }
    if (status == QB_OK && graph->quantized) {
        status = qb_fail(err, QB_EINPUT, "%s: is quantized already; give the float model", o->model);
    }
    if (status == QB_OK) {
        status = pipeline_quantize(graph, &scheme, &calibration, &cli_progress, &qgraph, err);
    }
    cli_progress_end();
    if (status == QB_OK && o->inspect_only) {
        char *text = NULL;
        status = qb_inspect_qgraph(qgraph, o->json, &text, err);
        status = status == QB_OK ? cli_print(text, err) : status;
        free(text);
    } else if (status == QB_OK) {
        status = qb_qdq_write(qgraph, o->output, err);
        if (status == QB_OK) {
            char hash[QB_HASH64_HEX];
            qb_qgraph_hash(qgraph, hash);
            printf("%s: scheme %s, arithmetic %s, %zu bytes of parameters (%.2f times smaller than as "
                   "floats), integer graph "
                   "%s\n",
                   o->output, scheme.name, qb_arithmetic_name(scheme.arithmetic), qb_qgraph_bytes(qgraph),
                   (double)pipeline_fp32_bytes(graph) / (double)qb_qgraph_bytes(qgraph), hash);
            if (qgraph->refinement && *qgraph->refinement) {
                puts(qgraph->refinement);
            }
        }
    }
    qb_qgraph_free(qgraph);
    qb_graph_free(graph);
    qb_arena_destroy(arena);
    return status;
}

int cmd_quantize(int argc, char **argv)
{
    static const struct argp_child children[] = {{&calibration_argp, 0, NULL, 1}, {0}};
    static const struct argp argp = {
        option_list,
        parse,
        NULL,
        "Calibrates a float model on training images, quantizes it under a scheme and writes an "
        "ONNX file with QuantizeLinear / DequantizeLinear pairs, which `qbench evaluate`, ONNX "
        "Runtime and Netron open.",
        children,
        NULL,
        NULL};
    struct options o = {.calibration = CALIBRATION_DEFAULTS};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    return quantize(&o, &err) == QB_OK ? 0 : cli_error(&err);
}
