/* The first test images of every golden case: logits of 256 images bit for bit, every tensor of two images
 * byte by byte. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "engine/engine.h"
#include "golden.h"
#include "testing.h"

enum { IMAGES = 256, TRACED = 2 };

static struct qb_dataset test_set; /* count 0: not here */

static int load_images(void **state)
{
    (void)state;
    char *dir = NULL;
    struct qb_error err;
    if (qb_data_locate(NULL, &dir, &err) != QB_OK) {
        print_message("SKIP: %s\n", err.text);
        return 0;
    }
    const enum qb_status status = qb_dataset_load(dir, QB_SPLIT_TEST, &test_set, &err);
    free(dir);
    qbt_ok(status, &err);
    return 0;
}

static int free_images(void **state)
{
    (void)state;
    qb_dataset_free(&test_set);
    return 0;
}

static const char *require(const char *relative)
{
    qbt_require_shared(relative);
    if (test_set.count < IMAGES) {
        skip();
    }
    return qbt_shared(relative);
}

static const char *file_of(const char *folder, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static struct qb_engine *make(const struct qb_graph *graph, const struct qb_qgraph *qgraph, int batch)
{
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 2, .batch = batch};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create("reference", graph, qgraph, &options, &engine, &err), &err);
    assert_int_equal(engine->classes, GOLDEN_CLASSES);
    return engine;
}

/* Logits of the first 256 images against logits_first256.npy, bit for bit. */
static void check_logits(const char *folder, struct qb_engine *engine)
{
    struct qb_error err;
    struct qb_npy want;
    static float got[IMAGES * GOLDEN_CLASSES];
    qbt_ok(qb_npy_read(file_of(folder, "logits_first256.npy"), &want, &err), &err);
    assert_int_equal(want.count, IMAGES * GOLDEN_CLASSES);
    for (int i = 0; i < IMAGES; i += engine->batch) {
        qbt_ok(qb_engine_run(engine, test_set.images + i * QB_IMAGE_BYTES, engine->batch,
                             got + i * GOLDEN_CLASSES, &err),
               &err);
    }
    const float *const w = want.data;
    for (int i = 0; i < IMAGES * GOLDEN_CLASSES; i++) {
        if (memcmp(&w[i], &got[i], sizeof w[i]) != 0) {
            fail_msg("image %d class %d: logit %a, wanted %a", i / GOLDEN_CLASSES, i % GOLDEN_CLASSES,
                     (double)got[i], (double)w[i]);
        }
    }
    qb_npy_free(&want);
}

/* Compares what a tap sees with a trace. */
struct tracer {
    const struct golden_npz *trace;
    const struct qb_qgraph *qgraph; /* one of these */
    const struct qb_graph *graph;
    int next;     /* node expected next: execution order */
    int compared; /* tensors found in the trace */
};

/* Element of a NCHW array [TRACED][c][h][w] (or [TRACED][c]) that stands for NHWC index `i` of shape `s`. */
static size_t nchw(struct qb_shape s, size_t i)
{
    const size_t c = (size_t)s.c, plane = (size_t)s.h * (size_t)s.w;
    return (i / (plane * c) * c + i % c) * plane + i / c % plane;
}

static void compare_tensor(void *ctx, int node, const void *data, size_t count)
{
    struct tracer *const t = ctx;
    assert_int_equal(node, t->next++);
    const struct qb_shape shape = t->qgraph ? t->qgraph->nodes[node].dst : t->graph->nodes[node].dst;
    const char *const name = t->qgraph ? t->qgraph->nodes[node].name : t->graph->nodes[node].name;
    assert_int_equal(count, TRACED * qb_shape_count(shape));
    const struct qb_npy *const want = golden_npz_find(t->trace, name);
    if (!want) {
        fail_msg("the trace has no tensor %s", name);
        return;
    }
    assert_int_equal(want->count, count);
    for (size_t i = 0; i < count; i++) {
        const size_t at = nchw(shape, i);
        if (t->qgraph && ((const uint8_t *)data)[i] != ((const uint8_t *)want->data)[at]) {
            fail_msg("tensor %s, element %zu: code %d, wanted %d", name, i, ((const uint8_t *)data)[i],
                     ((const uint8_t *)want->data)[at]);
        }
        /* Floats to the bit, but a zero has no sign, and MKL has an order of its own for the two rows of
         * `dense`. */
        const float w = t->graph ? ((const float *)want->data)[at] : 0.0F;
        const float near = t->graph && t->graph->nodes[node].op == QB_OP_DENSE ? 1e-5F : 0.0F;
        if (t->graph && !(fabsf(((const float *)data)[i] - w) <= near)) {
            fail_msg("tensor %s, element %zu: %a, wanted %a", name, i, (double)((const float *)data)[i],
                     (double)w);
        }
    }
    t->compared++;
}

/* Every tensor of the trace but those that are no tensors of ours: padding and flattening are part of their
 * readers, dequant is the logits. */
static void check_trace(const char *folder, struct qb_engine *engine, const struct qb_graph *graph,
                        const struct qb_qgraph *qgraph)
{
    struct qb_error err;
    struct golden_npz trace;
    float logits[TRACED * GOLDEN_CLASSES];
    qbt_ok(golden_npz_read(file_of(folder, "trace_first2.npz"), &trace, &err), &err);
    struct tracer tracer = {.trace = &trace, .graph = graph, .qgraph = qgraph};
    engine->tap = compare_tensor;
    engine->tap_ctx = &tracer;
    qbt_ok(qb_engine_run(engine, test_set.images, TRACED, logits, &err), &err);
    engine->tap = NULL;
    int others = 0;
    for (size_t i = 0; i < trace.count; i++) {
        others += strncmp(trace.names[i], "pad_", 4) == 0 || strcmp(trace.names[i], "flatten") == 0 ||
                  strcmp(trace.names[i], "dequant") == 0;
    }
    assert_int_equal(tracer.compared, (int)trace.count - others);
    assert_int_equal(tracer.compared, qgraph ? qgraph->count : graph->count);
    const struct qb_npy *const dequant = golden_npz_find(&trace, "dequant");
    if (qgraph) {
        assert_non_null(dequant);
        assert_memory_equal(logits, dequant->data, sizeof logits);
    }
    golden_npz_free(&trace);
}

static void check_accumulated(const char *relative, bool traced, enum qb_accumulate accumulate)
{
    const char *const folder = require(relative);
    struct golden_case golden;
    struct qb_error err;
    qbt_ok(golden_load(folder, false, &golden, &err), &err);
    golden.qgraph.accumulate = accumulate;
    struct qb_engine *const engine = make(NULL, &golden.qgraph, 64);
    check_logits(folder, engine);
    if (traced) {
        check_trace(folder, engine, NULL, &golden.qgraph);
    }
    qb_engine_free(engine);
    golden_free(&golden);
}

static void check_case(const char *relative, bool traced)
{
    check_accumulated(relative, traced, QB_ACCUMULATE_EXACT);
}

/* fbgemm's own outputs on a CPU without VNNI. */
static void qnnpack_saturating(void **state)
{
    (void)state;
    check_accumulated("golden/saturation/torch-fbgemm-avx2/qnnpack-qconfig-fused", true,
                      QB_ACCUMULATE_MADDUBS_KHWC);
}

static void fbgemm_unfused(void **state)
{
    (void)state;
    check_case("golden/torch/fbgemm-unfused", true);
}

static void fbgemm_fused(void **state)
{
    (void)state;
    check_case("golden/torch/fbgemm-fused", true);
}

static void default_minmax_fused(void **state)
{
    (void)state;
    check_case("golden/torch/default-minmax-fused", false);
}

static void per_channel_minmax_fused(void **state)
{
    (void)state;
    check_case("golden/torch/per-channel-minmax-fused", false);
}

static void fp32(void **state)
{
    (void)state;
    const char *const folder = require("golden/torch/fp32");
    struct golden_float golden;
    struct qb_error err;
    qbt_ok(golden_float_load(folder, &golden, &err), &err);
    struct qb_engine *const engine = make(&golden.graph, NULL, 64);
    check_logits(folder, engine);
    check_trace(folder, engine, &golden.graph, NULL);
    qb_engine_free(engine);
    golden_float_free(&golden);
}

static void hash_pooled(void *ctx, int node, const void *data, size_t count)
{
    (void)node;
    if (count == 64) { /* avgpool; the image's other tensors are larger, dense is smaller */
        float pooled[64];
        for (size_t i = 0; i < count; i++) {
            pooled[i] = ((const float *)data)[i] + 0.0F; /* no negative zero */
        }
        qb_sha256(pooled, sizeof pooled, ctx);
    }
}

/* The first test image as a batch of its own, which PyTorch convolves by im2col and MKL instead of oneDNN:
 * what reaches the dense layer, recorded from torch 2.13.0 (one and two threads alike, on a Zen CPU with
 * AVX512). */
static void fp32_batch_of_one(void **state)
{
    (void)state;
    struct golden_float golden;
    struct qb_error err;
    qbt_ok(golden_float_load(require("golden/torch/fp32"), &golden, &err), &err);
    float logits[GOLDEN_CLASSES];
    char hash[2][QB_SHA256_HEX] = {"", ""};
    for (int i = 0; i < 2; i++) {
        const struct qb_engine_options options = {
            .isa = QB_ISA_REF, .threads = 2, .batch = 4, .pytorch_batches = i == 0};
        struct qb_engine *engine = NULL;
        qbt_ok(qb_engine_create("reference", &golden.graph, NULL, &options, &engine, &err), &err);
        engine->tap = hash_pooled;
        engine->tap_ctx = hash[i];
        qbt_ok(qb_engine_run(engine, test_set.images, 1, logits, &err), &err);
        qb_engine_free(engine);
    }
    assert_string_equal(hash[0], "218c6d8318b2db4fe7e59851ddf9f919a2d3ac4094f246836b3390fb4c048f2b");
    assert_string_not_equal(hash[1], hash[0]); /* unless asked for, one image is summed as in any batch */
    golden_float_free(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fbgemm_unfused),       cmocka_unit_test(fbgemm_fused),
        cmocka_unit_test(default_minmax_fused), cmocka_unit_test(per_channel_minmax_fused),
        cmocka_unit_test(qnnpack_saturating),   cmocka_unit_test(fp32),
        cmocka_unit_test(fp32_batch_of_one),
    };
    return cmocka_run_group_tests(tests, load_images, free_images);
}
