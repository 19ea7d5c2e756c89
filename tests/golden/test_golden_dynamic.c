/* Ranges taken at run time beside PyTorch 2.13's quantize_dynamic, engine fbgemm: single layers of
 * torch_dynamic.json, and the published network's 100,000 logits: test_golden_dynamic [ENGINE].
 *
 * The network's convolutions are float. PyTorch ran them a hundred images at a time, and the dense layer for
 * each image alone; its own sums are in the order of f32_sums.h on CPUs with AVX512. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "data/dataset.h"
#include "engine/engine.h"
#include "engine/reference/dynamic.h"
#include "golden.h"
#include "quant/quantize.h"
#include "testing.h"

enum { BATCH = 250, MOST = 512 };

static int failed(const char *what, const char *text)
{
    fprintf(stderr, "FAILED: %s: %s\n", what, text);
    return 1;
}

/* An array of hexadecimal floats into `out`; its length. */
static size_t floats(const json_t *list, float *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        out[i] = strtof(json_string_value(json_array_get(list, i)), NULL);
    }
    return json_array_size(list);
}

static int check_layer(const json_t *layer)
{
    float src[MOST], scales[MOST], bia[MOST], want[MOST], got[MOST];
    int8_t wei[MOST];
    int32_t zeros[MOST] = {0};
    char text[128];
    struct qb_error err;
    struct qb_dynamic_dense dense;
    const size_t ic = floats(json_object_get(layer, "src"), src);
    const size_t oc = floats(json_object_get(layer, "bias"), bia);
    const size_t count = floats(json_object_get(layer, "scales"), scales);
    const json_t *const codes = json_object_get(layer, "weight");
    floats(json_object_get(layer, "dst"), want);
    for (size_t i = 0; i < ic * oc; i++) {
        wei[i] = (int8_t)json_integer_value(json_array_get(codes, i));
    }
    const struct qb_qnode node = {.op = QB_QOP_DENSE,
                                  .f32 = true,
                                  .ic = (int)ic,
                                  .oc = (int)oc,
                                  .wei = wei,
                                  .wei_scale_count = (int)count,
                                  .wei_scales = scales,
                                  .wei_zero_points = zeros,
                                  .bia = bia,
                                  .dynamic = (int)json_integer_value(json_object_get(layer, "top"))};
    struct qb_arena *const arena = qb_arena_create();
    const enum qb_status status = qb_dynamic_dense_init(&node, arena, &dense, &err);
    if (status == QB_OK) {
        qb_dynamic_dense_run(&dense, src, got);
    }
    qb_arena_destroy(arena);
    snprintf(text, sizeof text, "%zu inputs, %zu outputs", ic, oc);
    return status == QB_OK && ic && oc && memcmp(got, want, oc * sizeof *want) == 0
               ? 0
               : failed(json_string_value(json_object_get(layer, "name")), text);
}

static int check_layers(const json_t *golden)
{
    const json_t *const layers = json_object_get(golden, "layers");
    int result = 0;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        result |= check_layer(json_array_get(layers, i));
    }
    printf("%zu layers\n", json_array_size(layers));
    return result | (json_array_size(layers) < 20);
}

static enum qb_status quantized(struct qb_qgraph **out, struct qb_error *err)
{
    const char *const dirs[] = {qbt_source("configs/schemes"), NULL};
    struct qb_arena *const arena = qb_arena_create();
    struct qb_scheme scheme;
    struct qb_graph *graph = NULL;
    struct qb_qparams_table none;
    enum qb_status status = qb_scheme_load("dynamic", dirs, arena, &scheme, err);
    if (status == QB_OK) {
        status = qb_model_load(qbt_shared("models/mlperf-tiny/pretrainedResnet.h5"), &graph, err);
    }
    if (status == QB_OK) {
        status = qb_qparams_table_make((size_t)graph->count, arena, &none, err);
    }
    if (status == QB_OK) {
        status = qb_quantize(graph, &scheme, &none, "", out, err);
    }
    if (graph) {
        qb_graph_free(graph);
    }
    qb_arena_destroy(arena);
    return status;
}

static int check_network(const json_t *golden, const char *name, const struct qb_dataset *set)
{
    const struct qb_engine_options options = {.isa = qb_cpu_best(QB_ISA_AMX), .threads = 2, .batch = BATCH};
    const char *const want = json_string_value(json_object_get(golden, "logits_sha256"));
    const size_t count = GOLDEN_IMAGES * GOLDEN_CLASSES;
    struct qb_qgraph *graph = NULL;
    struct qb_engine *engine = NULL;
    struct qb_error err;
    char sha256[QB_SHA256_HEX];
    float *const logits = malloc(count * sizeof *logits);
    enum qb_status status = logits ? quantized(&graph, &err) : qb_fail_memory(&err, count);
    if (status == QB_OK) {
        status = qb_engine_create(name, NULL, graph, &options, &engine, &err);
    }
    for (size_t i = 0; status == QB_OK && i < GOLDEN_IMAGES; i += BATCH) {
        status =
            qb_engine_run(engine, set->images + i * QB_IMAGE_BYTES, BATCH, logits + i * GOLDEN_CLASSES, &err);
    }
    if (status == QB_OK) {
        qb_sha256(logits, count * sizeof *logits, sha256);
        printf("%s: sha256 %s\n", name, sha256);
    }
    const int result = status != QB_OK             ? failed(name, err.text)
                       : strcmp(sha256, want) != 0 ? failed(name, "other logits than PyTorch's")
                                                   : 0;
    qb_engine_free(engine);
    qb_qgraph_free(graph);
    free(logits);
    return result;
}

int main(int argc, char **argv)
{
    struct qb_dataset set = {0};
    struct qb_error err;
    char *dir = NULL;
    json_t *const golden = json_load_file(qbt_source("tests/golden/torch_dynamic.json"), 0, NULL);
    if (!golden) {
        return failed("torch_dynamic.json", "not read");
    }
    if (argc < 2) {
        const int result = check_layers(golden);
        json_decref(golden);
        return result;
    }
    if (!qbt_have_shared("models/mlperf-tiny/pretrainedResnet.h5") ||
        qb_data_locate(NULL, &dir, &err) != QB_OK || !qb_cpu_has(QB_ISA_AVX2)) {
        printf("SKIP: wants the published weights, CIFAR-10 and FMA\n");
        json_decref(golden);
        return QBT_SKIP;
    }
    const enum qb_status status = qb_dataset_load(dir, QB_SPLIT_TEST, &set, &err);
    const int result =
        status == QB_OK ? check_network(golden, argv[1], &set) : failed("test images", err.text);
    qb_dataset_free(&set);
    free(dir);
    json_decref(golden);
    return result;
}
