/* The reference engine's integers against the literal formulas of nets.c, over geometries, zero points and
 * granularities; independence of threads and batch; taps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "nets.h"
#include "testing.h"

static struct qb_engine *make(const struct net *net, int threads, int batch)
{
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = threads, .batch = batch};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create("reference", NULL, &net->graph, &options, &engine, &err), &err);
    assert_int_equal(engine->exactness, QB_EXACT);
    assert_int_equal(engine->batch, batch);
    return engine;
}

/* A tap that keeps every tensor of a batch and checks the order. */
struct kept {
    const struct net *net;
    int n, next;
    uint8_t *codes[NET_NODES];
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    struct kept *const k = ctx;
    assert_int_equal(node, k->next++);
    assert_int_equal(count, (size_t)k->n * qb_shape_count(k->net->nodes[node].dst));
    free(k->codes[node]);
    k->codes[node] = malloc(count);
    assert_non_null(k->codes[node]);
    memcpy(k->codes[node], data, count);
}

/* One image of a tapped batch; returns the number of different codes in its last tensor. */
static int compare_image(const struct net *net, const uint8_t *image, const struct kept *kept, int i,
                         const float *logits, const char *what)
{
    uint8_t *want[NET_NODES];
    net_expect(net, image, want);
    for (int node = 0; node < net->graph.count; node++) {
        const size_t count = qb_shape_count(net->nodes[node].dst);
        const uint8_t *const got = kept->codes[node] + (size_t)i * count;
        for (size_t k = 0; k < count; k++) {
            if (got[k] != want[node][k]) {
                fail_msg("%s: image %d, node %d, element %zu: code %d, wanted %d", what, i, node, k, got[k],
                         want[node][k]);
            }
        }
    }
    const int last = qb_qgraph_logits(&net->graph);
    const struct qb_qparams q = net->nodes[last].q;
    bool seen[256] = {false};
    int different = 0;
    for (size_t k = 0; k < qb_shape_count(net->nodes[last].dst); k++) {
        const float logit = q.scale * (float)(want[last][k] - q.zero_point);
        assert_memory_equal(&logits[k], &logit, sizeof logit);
        different += !seen[want[last][k]];
        seen[want[last][k]] = true;
    }
    net_expect_free(want);
    return different;
}

/* Runs n images, compares every tensor of each; returns the least number of different codes in an image's
 * last tensor. */
static int check(struct net *net, int n, int threads, const char *what)
{
    struct qb_error err;
    struct qb_engine *const engine = make(net, threads, n);
    uint8_t *const images = net_images(net, n);
    struct kept kept = {.net = net, .n = n};
    const size_t classes = (size_t)engine->classes;
    float *const logits = malloc((size_t)n * classes * sizeof *logits);
    assert_non_null(logits);
    engine->tap = keep;
    engine->tap_ctx = &kept;
    qbt_ok(qb_engine_run(engine, images, n, logits, &err), &err);
    assert_int_equal(kept.next, net->graph.count);
    int least = 256;
    for (int i = 0; i < n; i++) {
        const uint8_t *const image = images + (size_t)i * qb_shape_count(net->nodes[0].dst);
        const int different = compare_image(net, image, &kept, i, logits + (size_t)i * classes, what);
        least = different < least ? different : least;
    }
    net_expect_free(kept.codes);
    free(logits);
    free(images);
    qb_engine_free(engine);
    return least;
}

/* Kernels, strides, paddings (symmetric, one-sided, wider than the kernel), channel counts around the dot
 * product's step, zero points at both ends, granularities, weight zero points and ReLU, crossed. */
static void conv_geometries(void **state)
{
    (void)state;
    static const int kernels[][2] = {{1, 1}, {3, 3}, {2, 3}, {5, 1}};
    static const int strides[][2] = {{1, 1}, {2, 2}, {1, 3}};
    static const int pads[][4] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {0, 0, 1, 1}, {6, 0, 2, 4}};
    static const int zero_points[] = {0, 1, 127, 200, 255};
    int cases = 0;
    for (int arithmetic = 0; arithmetic < QB_ARITHMETIC_COUNT; arithmetic++) {
        for (int i = 0; i < 4 * 3 * 4; i++, cases++) {
            const int *const k = kernels[i % 4], *const s = strides[i / 4 % 3], *const p = pads[i / 12];
            struct net net;
            char what[160];
            net_init(&net, (enum qb_arithmetic)arithmetic, (uint32_t)cases,
                     (struct qb_shape){7, 8, 1 + cases % 18}, 0.013F, zero_points[cases % 5]);
            const struct net_conv conv = {.oc = 1 + cases % 9,
                                          .kh = k[0],
                                          .kw = k[1],
                                          .stride_h = s[0],
                                          .stride_w = s[1],
                                          .pad_t = p[0],
                                          .pad_l = p[1],
                                          .pad_b = p[2],
                                          .pad_r = p[3],
                                          .per_tensor = cases % 3 == 0,
                                          .relu = cases % 4 == 1,
                                          .wei_zero = cases % 5 == 2,
                                          .zero_point = zero_points[cases / 5 % 5]};
            net_conv(&net, &conv);
            snprintf(what, sizeof what,
                     "arithmetic %d, kernel %dx%d, stride %dx%d, pads %d %d %d %d, case %d", arithmetic, k[0],
                     k[1], s[0], s[1], p[0], p[1], p[2], p[3], cases);
            check(&net, 2, 1, what);
            net_free(&net);
        }
    }
}

/* Saturating sums in both orders of pairs: odd and even channel counts, padding, zero points of codes and
 * weights. */
static void saturating_sums(void **state)
{
    (void)state;
    static const int zero_points[] = {0, 1, 127, 200, 255};
    for (int order = 0; order < QB_ACCUMULATE_COUNT; order++) {
        for (int i = 0; i < 40; i++) {
            struct net net;
            char what[64];
            net_init(&net, (enum qb_arithmetic)(i % QB_ARITHMETIC_COUNT), (uint32_t)i,
                     (struct qb_shape){5, 6, 1 + i % 9}, 1.0F, zero_points[i % 5]);
            net.graph.accumulate = (enum qb_accumulate)order;
            const struct net_conv conv = {.oc = 3,
                                          .kh = 1 + i % 3,
                                          .kw = 1 + i / 3 % 3,
                                          .stride_h = 1,
                                          .stride_w = 2,
                                          .pad_t = i % 2,
                                          .pad_r = i / 2 % 3,
                                          .wei_zero = i % 4 == 3,
                                          .zero_point = zero_points[i / 5 % 5]};
            net_dense(&net, net_conv(&net, &conv), 4, i % 2 == 0, 100);
            snprintf(what, sizeof what, "%s, case %d", qb_accumulate_name(net.graph.accumulate), i);
            check(&net, 2, 1, what);
            net_free(&net);
        }
    }
}

/* Two channels of code 255 with weights 127, 127 and -128, -128: one pair and one accumulator a pixel
 * saturate in each of two output channels, none in the third. */
static void counted_saturation(void **state)
{
    (void)state;
    enum { N = 5, PIXELS = 12 };
    static const int8_t wei[] = {127, 127, -128, -128, 127, -128};
    static const float one = 1.0F, biases[3] = {0};
    static const int32_t zero = 0;
    struct net net;
    struct qb_error err;
    net_init(&net, QB_ARITHMETIC_FBGEMM, 1, (struct qb_shape){3, 4, 2}, 1.0F, 0);
    const struct net_conv conv = {
        .oc = 3, .kh = 1, .kw = 1, .stride_h = 1, .stride_w = 1, .per_tensor = true};
    struct qb_qnode *const n = &net.nodes[net_conv(&net, &conv)];
    n->wei = wei, n->wei_scales = &one, n->wei_zero_points = &zero, n->bia = biases;
    uint8_t images[N * PIXELS * 2];
    float logits[N * PIXELS * 3];
    memset(images, 255, sizeof images);
    struct qb_engine *engine = make(&net, 2, N);
    assert_null(engine->saturation);
    qb_engine_free(engine);
    net.graph.accumulate = QB_ACCUMULATE_MADDUBS_KHWC;
    engine = make(&net, 2, N);
    for (uint64_t run = 1; run <= 2; run++) {
        qbt_ok(qb_engine_run(engine, images, N, logits, &err), &err);
        assert_int_equal(engine->saturation[0].pairs, 0);
        assert_int_equal(engine->saturation[1].pairs, run * N * PIXELS * 2);
        assert_int_equal(engine->saturation[1].accumulators, run * N * PIXELS * 2);
    }
    qb_engine_free(engine);
    /* Nobody else emulates this. */
    static const char *const others[] = {"native", "onednn", "onednn_fused"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const struct qb_engine_options options = {.isa = qb_cpu_best(QB_ISA_AMX), .threads = 1, .batch = 1};
        qbt_error(qb_engine_create(others[i], NULL, &net.graph, &options, &engine, &err), QB_EUNSUPPORTED,
                  &err,
                  "does not emulate saturating sums (accumulate maddubs_khwc); use the reference engine");
    }
    net_free(&net);
}

static void every_operator(void **state)
{
    (void)state;
    for (int arithmetic = 0; arithmetic < QB_ARITHMETIC_COUNT; arithmetic++) {
        for (uint32_t seed = 0; seed < 8; seed++) {
            struct net net;
            net_mixed(&net, (enum qb_arithmetic)arithmetic, seed);
            assert_true(check(&net, 5, 1 + (int)seed % 3, "mixed") > 3); /* logits that say something */
            net_narrow(&net);
            assert_true(check(&net, 5, 1, "narrow") >= 1);
            net_free(&net);
        }
    }
}

/* The largest accumulators of a 3x3x64 window: every code and weight at its end, both signs. */
static void saturation(void **state)
{
    (void)state;
    enum { DEPTH = 576 };
    static int8_t wei[2 * DEPTH];
    static uint8_t image[DEPTH];
    static const float scales[2] = {1.0F, 1.0F}, bia[2] = {0.0F, 0.0F};
    memset(wei, -128, DEPTH);
    memset(wei + DEPTH, 127, DEPTH);
    memset(image, 255, sizeof image);
    static const struct {
        float scale, want[2];
    } rows[] = {
        {1.0F, {-128.0F, 127.0F}},               /* 18,800,640 codes too many in both directions */
        {2.0e5F, {-94.0F * 2e5F, 93.0F * 2e5F}}, /* -128 * 255 * 576 / 2e5 = -94.0032, 127 ... = 93.2688 */
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct net net;
        net_init(&net, QB_ARITHMETIC_FBGEMM, 1, (struct qb_shape){3, 3, 64}, 1.0F, 0);
        const struct net_conv conv = {
            .oc = 2, .kh = 3, .kw = 3, .stride_h = 1, .stride_w = 1, .zero_point = 128};
        struct qb_qnode *const n = &net.nodes[net_conv(&net, &conv)];
        n->wei = wei;
        n->wei_scales = scales;
        n->bia = bia;
        n->q.scale = rows[r].scale;
        float logits[2];
        struct qb_error err;
        struct qb_engine *const engine = make(&net, 1, 1);
        qbt_ok(qb_engine_run(engine, image, 1, logits, &err), &err);
        assert_memory_equal(logits, rows[r].want, sizeof logits);
        qb_engine_free(engine);
        net_free(&net);
    }
}

/* Same logits, bit for bit, for any number of threads, batch size and order, with and without a tap. */
static void threads_and_batches(void **state)
{
    (void)state;
    enum { N = 23, CLASSES = 10 };
    struct net net;
    net_mixed(&net, QB_ARITHMETIC_FBGEMM, 77);
    uint8_t *const images = net_images(&net, N);
    const size_t bytes = qb_shape_count(net.nodes[0].dst);
    float want[N * CLASSES], got[N * CLASSES];
    struct qb_error err;
    struct qb_engine *engine = make(&net, 1, N);
    qbt_ok(qb_engine_run(engine, images, N, want, &err), &err);
    qb_engine_free(engine);
    for (int threads = 1; threads <= 8; threads++) {
        for (int batch = 1; batch <= N; batch += 5) {
            engine = make(&net, threads, batch);
            struct kept kept = {.net = &net};
            for (int pass = 0; pass < 3;
                 pass++) { /* without, with, and again without a tap: nothing is left over */
                memset(got, 0x7f, sizeof got);
                for (int i = 0; i < N; i += batch) {
                    kept.n = N - i < batch ? N - i : batch;
                    kept.next = 0;
                    engine->tap = pass == 1 ? keep : NULL;
                    engine->tap_ctx = &kept;
                    qbt_ok(qb_engine_run(engine, images + (size_t)i * bytes, kept.n, got + i * CLASSES, &err),
                           &err);
                }
                assert_memory_equal(got, want, sizeof got);
            }
            net_expect_free(kept.codes);
            qb_engine_free(engine);
        }
    }
    free(images);
    net_free(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_geometries),    cmocka_unit_test(saturating_sums),
        cmocka_unit_test(counted_saturation), cmocka_unit_test(every_operator),
        cmocka_unit_test(saturation),         cmocka_unit_test(threads_and_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
