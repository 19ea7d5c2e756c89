/* qbench evaluate: accuracy of one model on the test images, overall and per class. */
#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "base/utf8.h"
#include "cli/pipeline.h"
#include "measure/accuracy.h"
#include "measure/stats.h"

enum { OPT_LOGITS = 256, OPT_PREDICTIONS, OPT_IMPL, OPT_BATCH, OPT_ACCUMULATE };

struct options {
    const char *model, *scheme, *engine, *isa, *impl, *data_dir, *logits, *predictions, *arithmetic,
        *accumulate;
    int threads, batch;
    size_t images;
    bool json;
};

static const struct argp_option option_list[] = {
    {"model", 'm', "FILE", 0,
     "an ONNX model (float, QDQ or QOperator), a Keras .h5 or a .tflite file; required", 0},
    {"scheme", 's', "NAME", 0,
     "how to quantize a float model first: a scheme of `qbench schemes`, a scheme file, or fp32 (default), "
     "calibrated on the "
     "first 100 training images of each class; `qbench quantize` has other calibrations, and writes the "
     "model",
     0},
    {"engine", 'e', "NAME", 0,
     "reference, native, onednn or onednn_fused (default: native; onednn for float models and with --impl, "
     "reference where sums saturate)",
     0},
    {"isa", 'i', "NAME", 0,
     "cap of the instruction set: ref, avx2, avxvnni, avx512vnni, amx (default: best, or $QB_ISA)", 0},
    {"threads", 't', "N", 0, "threads (default 1)", 0},
    {"images", 'n', "N", 0, "score the first N test images only", 0},
    {"batch-size", OPT_BATCH, "N", 0, "images a run of the engine (default 50)", 0},
    {"impl", OPT_IMPL, "NAME", 0, "oneDNN implementation: default, fastest, or a part of a name", 0},
    {"arithmetic", 'a', "NAME", 0,
     "of a quantized file that does not say: ort (default, ONNX Runtime's), fbgemm, onednn, onednn_3_12, "
     "torch_onednn, torch_x86 or tflite",
     0},
    {"accumulate", OPT_ACCUMULATE, "HOW", 0,
     "instead of what the file says: exact, or as on a CPU without VNNI, saturating: maddubs (pairs as in "
     "the "
     "library of the file's arithmetic), maddubs_khwc (fbgemm, ONNX Runtime), maddubs_pad4 (oneDNN)",
     0},
    {"data-dir", 'd', "DIR", 0, "folder with CIFAR-10: the binary or the Python version", 0},
    {"logits", OPT_LOGITS, "F.npy", 0, "write the logits, float32 [N,10], before softmax, in test-set order",
     0},
    {"predictions", OPT_PREDICTIONS, "F.npy", 0, "write the predictions, uint8 [N]", 0},
    {"format", 'f', "FORMAT", 0, "text (default) or json", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *const o = state->input;
    switch (key) {
    case 'm': o->model = arg; return 0;
    case 's': o->scheme = arg; return 0;
    case 'e': o->engine = arg; return 0;
    case 'i': o->isa = arg; return 0;
    case 't': o->threads = (int)cli_number(state, "--threads", arg, 1, 1024); return 0;
    case 'n': o->images = (size_t)cli_number(state, "--images", arg, 1, 10000); return 0;
    case OPT_BATCH: o->batch = (int)cli_number(state, "--batch-size", arg, 1, 10000); return 0;
    case OPT_IMPL: o->impl = arg; return 0;
    case OPT_ACCUMULATE: o->accumulate = arg; return 0;
    case 'a': o->arithmetic = arg; return 0;
    case 'd': o->data_dir = arg; return 0;
    case OPT_LOGITS: o->logits = arg; return 0;
    case OPT_PREDICTIONS: o->predictions = arg; return 0;
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

static double percent(uint64_t part, uint64_t whole)
{
    return 100.0 * (double)part / (double)whole;
}

static bool is_multiplying(const struct qb_qnode *node)
{
    return node->op == QB_QOP_CONV || node->op == QB_QOP_DENSE;
}

/* How many times smaller than as floats. */
static double reduction(const struct pipeline_model *model)
{
    return (double)pipeline_fp32_bytes(model->graph) / (double)pipeline_model_bytes(model);
}

/* The layers that multiply, with what saturated in each. */
static void print_saturation(const struct qb_qgraph *graph, const struct qb_engine *engine, uint64_t images)
{
    printf("\nsaturated sums of vpmaddubsw, emulated (%s)\n%-12s %14s %14s %9s\n",
           qb_accumulate_name(graph->accumulate), "layer", "pairs", "accumulators", "share");
    for (int i = 0; i < graph->count; i++) {
        const struct qb_saturation *const seen = &engine->saturation[i];
        if (is_multiplying(&graph->nodes[i])) {
            printf("%-12s %14" PRIu64 " %14" PRIu64 " %7.3f %%\n", graph->nodes[i].name, seen->pairs,
                   seen->accumulators,
                   percent(seen->accumulators, images * qb_shape_count(graph->nodes[i].dst)));
        }
    }
}

static void print_text(const struct options *o, const struct pipeline_model *model,
                       const struct qb_dataset *set, const struct qb_engine *engine,
                       const struct qb_outputs *outputs, const struct qb_score *score)
{
    const struct qb_interval wilson = qb_wilson95(score->correct, score->total);
    printf("model    %s, %s, parameters take %zu bytes (%.2f times smaller than as floats)\n", o->model,
           model->qgraph ? model->qgraph->scheme : "fp32", pipeline_model_bytes(model), reduction(model));
    printf("data     %s, %llu test images%s\n", set->name, (unsigned long long)score->total,
           set->synthetic ? " (synthetic: these counts say nothing about the model)" : "");
    printf("engine   %s, isa %s, %s%s\n", engine->ops->name, engine->isa, engine->implementation,
           !model->qgraph                  ? ""
           : engine->exactness == QB_EXACT ? "; exact"
                                           : "; approximate: its sums or its rounding are not the scheme's");
    printf("correct  %llu/%llu = %.2f %%  [%.2f, %.2f] (Wilson 95 %%)\n", (unsigned long long)score->correct,
           (unsigned long long)score->total, percent(score->correct, score->total), 100 * wilson.low,
           100 * wilson.high);
    printf("logits   sha256 %s\n\n", outputs->logits_sha256);
    printf("%-12s %8s %8s %9s\n", "class", "correct", "total", "accuracy");
    for (int c = 0; c < QB_CLASSES; c++) {
        printf("%-12s %8llu %8llu ", qb_class_names[c], (unsigned long long)score->class_correct[c],
               (unsigned long long)score->class_total[c]);
        if (score->class_total[c]) {
            printf("%7.2f %%\n", percent(score->class_correct[c], score->class_total[c]));
        } else {
            puts("        -");
        }
    }
    if (engine->saturation) {
        print_saturation(model->qgraph, engine, score->total);
    }
}

/* null when there were no images of a class. */
static json_t *fraction(uint64_t part, uint64_t whole)
{
    return whole ? json_real((double)part / (double)whole) : json_null();
}

/* null when sums are exact. */
static json_t *saturation_json(const struct pipeline_model *model, const struct qb_engine *engine,
                               uint64_t images)
{
    if (!engine->saturation) {
        return json_null();
    }
    json_t *const layers = json_array();
    for (int i = 0; i < model->qgraph->count; i++) {
        const struct qb_qnode *const n = &model->qgraph->nodes[i];
        if (is_multiplying(n)) {
            char *const name = qb_utf8_copy(n->name);
            json_array_append_new(layers,
                                  json_pack("{s:s,s:I,s:I,s:I}", "layer", name, "pairs",
                                            (json_int_t)engine->saturation[i].pairs, "accumulators",
                                            (json_int_t)engine->saturation[i].accumulators, "of_accumulators",
                                            (json_int_t)(images * qb_shape_count(n->dst))));
            free(name);
        }
    }
    return layers;
}

static enum qb_status print_json(const struct options *o, const struct pipeline_model *model,
                                 const struct qb_dataset *set, const struct qb_engine *engine,
                                 const struct qb_outputs *outputs, const struct qb_score *score,
                                 struct qb_error *err)
{
    const struct qb_interval wilson = qb_wilson95(score->correct, score->total);
    json_t *const classes = json_array();
    for (int c = 0; c < QB_CLASSES; c++) {
        json_array_append_new(classes, json_pack("{s:s,s:I,s:I,s:o}", "class_name", qb_class_names[c],
                                                 "correct", (json_int_t)score->class_correct[c], "total",
                                                 (json_int_t)score->class_total[c], "accuracy",
                                                 fraction(score->class_correct[c], score->class_total[c])));
    }
    char *const path = qb_utf8_copy(o->model);
    json_t *const root = json_pack(
        "{s:i, s:{s:s,s:s,s:b,s:s,s:s,s:s,s:I,s:I,s:f}, s:{s:s,s:b,s:s,s:s}, s:{s:s,s:s,s:i,s:s,s:b}, "
        "s:{s:I,s:I,s:o,s:[f,f]}, s:o, s:s, s:o}",
        "schema_version", 1, "model", "path", path, "sha256", model->graph->sha256, "quantized",
        (int)model->graph->quantized, "scheme", model->qgraph ? model->qgraph->scheme : "fp32", "arithmetic",
        model->qgraph ? qb_arithmetic_name(model->qgraph->arithmetic) : "float32", "accumulate",
        model->qgraph ? qb_accumulate_name(model->qgraph->accumulate) : "float32", "bytes",
        (json_int_t)pipeline_model_bytes(model), "fp32_bytes", (json_int_t)pipeline_fp32_bytes(model->graph),
        "reduction", reduction(model), "data", "name", set->name, "synthetic", set->synthetic, "split",
        "test", "sha256", set->sha256, "engine", "name", engine->ops->name, "isa", engine->isa, "threads",
        o->threads, "implementation", engine->implementation, "exact", engine->exactness == QB_EXACT,
        "overall", "correct", (json_int_t)score->correct, "total", (json_int_t)score->total, "accuracy",
        fraction(score->correct, score->total), "wilson95", wilson.low, wilson.high, "per_class", classes,
        "logits_sha256", outputs->logits_sha256, "saturation", saturation_json(model, engine, score->total));
    free(path);
    return cli_print_json(root, 10, err);
}

static enum qb_status write_arrays(const struct options *o, const struct qb_outputs *outputs,
                                   struct qb_error *err)
{
    const size_t shape[2] = {outputs->count, (size_t)outputs->classes};
    if (o->logits) {
        QB_TRY(qb_npy_write(o->logits, QB_NPY_F32, 2, shape, outputs->logits, err));
    }
    return o->predictions ? qb_npy_write(o->predictions, QB_NPY_U8, 1, shape, outputs->predictions, err)
                          : QB_OK;
}

/* Without --engine: the fastest that computes what the model says on every CPU. */
static const char *default_engine(const struct options *o, const struct pipeline_model *model)
{
    if (!model->qgraph || o->impl) {
        return "onednn";
    }
    return model->qgraph->accumulate == QB_ACCUMULATE_EXACT ? "native" : "reference";
}

static enum qb_status evaluate(const struct options *o, struct qb_error *err)
{
    struct pipeline_model model = {0};
    struct qb_dataset set = {0};
    struct qb_engine *engine = NULL;
    struct qb_outputs outputs = {0};
    struct qb_engine_options options = {.threads = o->threads, .batch = o->batch, .impl = o->impl};
    enum qb_status status = !o->engine || qb_engine_find(o->engine, err) ? QB_OK : err->status;
    if (status == QB_OK) {
        status = qb_cpu_select(o->isa, &options.isa, err);
    }
    if (status == QB_OK) {
        status = pipeline_model_load(o->model, o->arithmetic, &model, err);
    }
    if (status == QB_OK) {
        status = pipeline_model_quantize(o->scheme, o->model, o->data_dir, options.isa, &cli_progress, &model,
                                         err);
        cli_progress_end();
    }
    if (status == QB_OK) {
        status =
            !model.qgraph && o->accumulate
                ? qb_fail(err, QB_EINPUT,
                          "--accumulate: %s is a float model; give a quantized one, or --scheme", o->model)
                : pipeline_accumulate(o->accumulate, model.qgraph, err);
    }
    if (status == QB_OK) {
        status = pipeline_data(o->data_dir, QB_SPLIT_TEST, &set, err);
        pipeline_tell_synthetic();
    }
    if (status == QB_OK) {
        status = qb_engine_create(o->engine ? o->engine : default_engine(o, &model),
                                  model.qgraph ? NULL : model.graph, model.qgraph, &options, &engine, err);
    }
    if (status == QB_OK && engine->classes != QB_CLASSES) {
        status = qb_fail(err, QB_EINPUT, "%s: the model has %d classes, %s has %d", o->model, engine->classes,
                         set.name, QB_CLASSES);
    }
    if (status == QB_OK) {
        const size_t count = o->images && o->images < set.count ? o->images : set.count;
        status = qb_outputs_compute(engine, &set, count, &cli_progress, &outputs, err);
    }
    cli_progress_end();
    if (status == QB_OK) {
        status = write_arrays(o, &outputs, err);
    }
    if (status == QB_OK) {
        struct qb_score score;
        qb_score_compute(&outputs, &set, &score);
        if (o->json) {
            status = print_json(o, &model, &set, engine, &outputs, &score, err);
        } else {
            print_text(o, &model, &set, engine, &outputs, &score);
            status = cli_print("", err);
        }
    }
    qb_outputs_free(&outputs);
    qb_engine_free(engine);
    qb_dataset_free(&set);
    pipeline_model_free(&model);
    return status;
}

int cmd_evaluate(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse,
        NULL,
        "Scores a model on the CIFAR-10 test images. The JSON form is stable: schema_version, "
        "model {path, sha256, quantized, scheme, arithmetic, accumulate, bytes, fp32_bytes, reduction}, "
        "data, "
        "engine, overall {correct, total, accuracy, wilson95}, per_class "
        "[{class_name, correct, total, accuracy}], logits_sha256; accuracies are fractions, null for a class "
        "without images; saturation [{layer, pairs, accumulators, of_accumulators}], null where sums are "
        "exact.",
        NULL,
        NULL,
        NULL};
    struct options o = {.threads = 1, .batch = 50};
    cli_parse(&argp, argc, argv, &o);
    struct qb_error err = {0};
    return evaluate(&o, &err) == QB_OK ? 0 : cli_error(&err);
}
