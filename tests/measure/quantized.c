/* See quantized.h. */
#include "quantized.h"

#include <stdlib.h>

#include "engine/engine.h"
#include "quant/quantize.h"
#include "testing.h"

static void observe(void *ctx, int node, const void *data, size_t count)
{
    struct qb_error err;
    if (qb_calibration_wants(ctx, node)) {
        qbt_ok(qb_calibration_observe(ctx, node, data, count, &err), &err);
    }
}

struct qb_qgraph *quantized_with(const struct quantized *q, enum qb_prepare prepare,
                                 const char *const *floats)
{
    enum { MAX_LAYERS = 16 };
    struct qb_exception layers[MAX_LAYERS];
    struct qb_scheme scheme = {
        .name = "test",
        .weights = {.observer = "per_channel_minmax", .dtype = QB_QINT8, .symmetric = true, .eps = 0x1p-23F},
        .activations = {.observer = "minmax", .dtype = QB_QUINT8, .eps = 0x1p-23F},
        .fuse = QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU,
        .arithmetic = QB_ARITHMETIC_FBGEMM,
        .prepare = prepare,
        .layers = layers};
    for (; *floats; floats++) {
        layers[scheme.layer_count++] = (struct qb_exception){.layer = *floats, .name = "fp32", .fp32 = true};
    }
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 2, .batch = QUANTIZED_IMAGES};
    struct qb_error err;
    struct qb_engine *engine = NULL;
    struct qb_calibration *calibration = NULL;
    struct qb_qparams_table table;
    struct qb_qgraph *out = NULL;
    float logits[QUANTIZED_IMAGES * QB_CLASSES];
    struct qb_arena *const arena = qb_arena_create();
    qbt_ok(qb_calibration_create(q->graph, &scheme, &calibration, &err), &err);
    qbt_ok(qb_engine_create("reference", q->graph, NULL, &options, &engine, &err), &err);
    engine->tap = observe;
    engine->tap_ctx = calibration;
    qbt_ok(qb_engine_run(engine, q->set.images, QUANTIZED_IMAGES, logits, &err), &err);
    qbt_ok(qb_calibration_qparams(calibration, arena, &table, &err), &err);
    qbt_ok(qb_quantize(q->graph, &scheme, &table, "", &out, &err), &err);
    qb_engine_free(engine);
    qb_calibration_free(calibration);
    qb_arena_destroy(arena);
    return out;
}

int quantized_setup(void **state)
{
    static struct quantized q;
    struct qb_error err;
    qbt_ok(qb_model_load(qbt_source("models/resnet8.onnx"), &q.graph, &err), &err);
    qbt_ok(qb_dataset_synthetic(QB_SPLIT_TEST, QUANTIZED_IMAGES, &q.set, &err), &err);
    q.qgraph = quantized_with(&q, QB_PREPARE_EAGER, (const char *const[]){NULL});
    *state = &q;
    return 0;
}

int quantized_teardown(void **state)
{
    struct quantized *const q = *state;
    qb_qgraph_free(q->qgraph);
    qb_graph_free(q->graph);
    qb_dataset_free(&q->set);
    return 0;
}
