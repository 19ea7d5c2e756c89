/* Makes what ort_test.py compares with ONNX Runtime: qdq_sample SOURCE FOLDER COUNT writes into FOLDER
 * model.onnx, a QDQ file, images.npy (u8 [COUNT][32][32][3]) and logits.npy, the reference engine's.
 *
 * SOURCE is a golden case of ../shared (its scales are PyTorch's), a scheme file, with which
 * models/resnet8.onnx is quantized here, or a QDQ file. Images are CIFAR-10's test images, where there are
 * none the synthetic set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/npy.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "golden.h"
#include "quant/qdq.h"
#include "quant/quantize.h"
#include "testing.h"

enum { BATCH = 100, CALIBRATION_IMAGES = 200 };

static void die_unless(enum qb_status status, const struct qb_error *err)
{
    if (status != QB_OK) {
        fprintf(stderr, "qdq_sample: %s\n", err->text);
        exit(1);
    }
}

static void load_images(enum qb_split split, size_t synthetic, struct qb_dataset *out)
{
    struct qb_error err;
    char *dir = NULL;
    if (qb_data_locate(NULL, &dir, &err) == QB_OK) {
        die_unless(qb_dataset_load(dir, split, out, &err), &err);
    } else {
        die_unless(qb_dataset_synthetic(split, synthetic, out, &err), &err);
    }
    free(dir);
}

/* Float logits of `count` images; `tap` sees every tensor. */
static float *run(const struct qb_graph *graph, const struct qb_qgraph *qgraph, const uint8_t *images,
                  int count, qb_tap_fn *tap, void *ctx)
{
    struct qb_error err;
    struct qb_engine *engine;
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = BATCH};
    die_unless(qb_engine_create("reference", graph, qgraph, &options, &engine, &err), &err);
    engine->tap = tap;
    engine->tap_ctx = ctx;
    float *const logits = malloc((size_t)count * (size_t)engine->classes * sizeof *logits);
    for (int i = 0; logits && i < count; i += BATCH) {
        const int n = count - i < BATCH ? count - i : BATCH;
        die_unless(qb_engine_run(engine, images + (size_t)i * QB_IMAGE_BYTES, n,
                                 logits + (size_t)i * (size_t)engine->classes, &err),
                   &err);
    }
    qb_engine_free(engine);
    return logits;
}

static void observe(void *ctx, int node, const void *data, size_t count)
{
    struct qb_error err;
    die_unless(qb_calibration_observe(ctx, node, data, count, &err), &err);
}

static struct qb_qgraph *quantize(const char *scheme_file)
{
    struct qb_error err;
    struct qb_graph *graph;
    struct qb_scheme scheme;
    struct qb_calibration *calibration;
    struct qb_qparams_table table;
    struct qb_qgraph *out;
    struct qb_dataset train;
    struct qb_arena *const arena = qb_arena_create();
    die_unless(qb_model_load(qbt_source("models/resnet8.onnx"), &graph, &err), &err);
    die_unless(qb_scheme_load(scheme_file, (const char *const[]){NULL}, arena, &scheme, &err), &err);
    die_unless(qb_calibration_create(graph, &scheme, &calibration, &err), &err);
    load_images(QB_SPLIT_TRAIN, CALIBRATION_IMAGES, &train);
    free(run(graph, NULL, train.images, CALIBRATION_IMAGES, observe, calibration));
    die_unless(qb_calibration_qparams(calibration, arena, &table, &err), &err);
    die_unless(qb_quantize(graph, &scheme, &table, "", &out, &err), &err);
    qb_calibration_free(calibration);
    qb_dataset_free(&train);
    qb_graph_free(graph);
    qb_arena_destroy(arena);
    return out;
}

static struct qb_qgraph *read_file(const char *path)
{
    struct qb_error err;
    struct qb_graph *graph;
    struct qb_qgraph *out;
    die_unless(qb_model_load(path, &graph, &err), &err);
    die_unless(qb_qdq_read(graph, QB_ARITHMETIC_FBGEMM, &out, &err), &err);
    qb_graph_free(graph);
    return out;
}

static void save(const char *folder, const char *name, enum qb_npy_type type, int dims, const size_t *shape,
                 const void *data)
{
    struct qb_error err;
    char *const path = qb_path_join(folder, name);
    die_unless(qb_npy_write(path, type, dims, shape, data, &err), &err);
    free(path);
}

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

int main(int argc, char **argv)
{
    const int count = argc == 4 ? atoi(argv[3]) : 0;
    if (count < 1) {
        fprintf(stderr, "usage: qdq_sample GOLDEN|SCHEME.yaml|FILE.onnx FOLDER COUNT\n");
        return 2;
    }
    struct qb_error err;
    struct golden_case golden = {0};
    struct qb_qgraph *made = NULL;
    if (ends_with(argv[1], ".yaml")) {
        made = quantize(argv[1]);
    } else if (ends_with(argv[1], ".onnx")) {
        made = read_file(argv[1]);
    } else {
        die_unless(golden_load(argv[1], false, &golden, &err), &err);
    }
    const struct qb_qgraph *const graph = made ? made : &golden.qgraph;
    struct qb_dataset test;
    load_images(QB_SPLIT_TEST, (size_t)count, &test);
    float *const logits = run(NULL, graph, test.images, count, NULL, NULL);
    char *const path = qb_path_join(argv[2], "model.onnx");
    die_unless(qb_qdq_write(graph, path, &err), &err);
    save(argv[2], "images.npy", QB_NPY_U8, 4, (const size_t[]){(size_t)count, 32, 32, 3}, test.images);
    save(argv[2], "logits.npy", QB_NPY_F32, 2,
         (const size_t[]){(size_t)count, qb_shape_count(graph->nodes[qb_qgraph_logits(graph)].dst)}, logits);
    free(path);
    free(logits);
    qb_dataset_free(&test);
    qb_qgraph_free(made);
    golden_free(&golden);
    return 0;
}
