/* qbench inspect: every layer of a model. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "cli/pipeline.h"
#include "model/inspect.h"
#include "quant/inspect.h"

struct options {
    const char *model, *arithmetic;
    bool json;
};

static const struct argp_option option_list[] = {
    {"model", 'm', "FILE", 0,
     "an ONNX model (float, QDQ or QOperator), a Keras .h5 or a .tflite file; required", 0},
    {"arithmetic", 'a', "NAME", 0,
     "of a quantized file that does not say: ort (default, ONNX Runtime's), fbgemm, onednn, onednn_3_12, "
     "torch_onednn, torch_x86 or tflite",
     0},
    {"format", 'f', "FORMAT", 0, "text (default) or json", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case 'm': o->model = arg; return 0;
    case 'a': o->arithmetic = arg; return 0;
    case 'f': o->json = cli_is_json(state, arg); return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\": no argument is expected; the model is --model FILE", arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->model) {
            argp_error(state, "--model FILE is required");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

int cmd_inspect(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse,
        NULL,
        "Prints name, operator, shape, parameters, MACs and weight ranges of every layer; for a "
        "quantized file scales and zero points as well.",
        NULL,
        NULL,
        NULL};
    struct options o = {0};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    struct pipeline_model model = {0};
    char *text = NULL;
    enum qb_status status = pipeline_model_load(o.model, o.arithmetic, &model, &err);
    if (status == QB_OK) {
        status = model.qgraph ? qb_inspect_qgraph(model.qgraph, o.json, &text, &err)
                              : qb_inspect_graph(model.graph, o.json, &text, &err);
    }
    status = status == QB_OK ? cli_print(text, &err) : status;
    free(text);
    pipeline_model_free(&model);
    return status == QB_OK ? 0 : cli_error(&err);
}
