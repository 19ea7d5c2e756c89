/* The reference engine's float half: small networks by hand, a convolution against sums in double, taps,
 * threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "testing.h"

static struct qb_engine *make(const struct qb_graph *graph, int threads, int batch)
{
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = threads, .batch = batch};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create("reference", graph, NULL, &options, &engine, &err), &err);
    return engine;
}

struct kept {
    int next;
    size_t counts[16];
    float values[16][64]; /* the first elements */
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    struct kept *const k = ctx;
    assert_int_equal(node, k->next++);
    k->counts[node] = count;
    memcpy(k->values[node], data, (count < 64 ? count : 64) * sizeof(float));
}

/* Two images of 3x3x1 through every operator; the numbers are small integers, so every sum is exact. */
/* Every tensor of a batch, at most as large as conv's of the test below. */
static void keep_all(void *ctx, int node, const void *data, size_t count)
{
    float(*const tensors)[3 * 5 * 4 * 7] = ctx;
    memcpy(tensors[node], data, count * sizeof(float));
}

static void by_hand(void **state)
{
    (void)state;
    const float identity[] = {0, 0, 0, 0, 1, 0, 0, 0, 0}, negate[] = {-1}, zero[] = {0};
    const float dense_wei[] = {1, 0, 0, 0, 0, 1, 1, 1}, dense_bia[] = {0.5F, -8.0F};
    struct qb_node nodes[] = {
        {.op = QB_OP_INPUT, .name = "input", .src = {-1, -1}, .dst = {3, 3, 1}},
        /* a 3x3 kernel whose centre tap looks one row up and one column left: padding 2 before, 0 behind */
        {.op = QB_OP_CONV,
         .name = "conv",
         .src = {0, -1},
         .dst = {3, 3, 1},
         .kh = 3,
         .kw = 3,
         .stride_h = 1,
         .stride_w = 1,
         .pad_t = 2,
         .pad_l = 2,
         .ic = 1,
         .oc = 1,
         .wei = identity,
         .bia = zero},
        {.op = QB_OP_CONV,
         .name = "conv_1",
         .src = {0, -1},
         .dst = {3, 3, 1},
         .kh = 1,
         .kw = 1,
         .stride_h = 1,
         .stride_w = 1,
         .ic = 1,
         .oc = 1,
         .wei = negate,
         .bia = zero},
        {.op = QB_OP_ADD, .name = "add", .src = {1, 2}, .dst = {3, 3, 1}},
        {.op = QB_OP_RELU, .name = "relu", .src = {3, -1}, .dst = {3, 3, 1}},
        {.op = QB_OP_AVGPOOL,
         .name = "avgpool",
         .src = {4, -1},
         .dst = {2, 2, 1},
         .kh = 2,
         .kw = 2,
         .stride_h = 1,
         .stride_w = 1},
        {.op = QB_OP_DENSE,
         .name = "dense",
         .src = {5, -1},
         .dst = {1, 1, 2},
         .ic = 4,
         .oc = 2,
         .wei = dense_wei,
         .bia = dense_bia},
        {.op = QB_OP_SOFTMAX, .name = "softmax", .src = {6, -1}, .dst = {1, 1, 2}},
    };
    const struct qb_graph graph = {.path = "by hand", .nodes = nodes, .count = 8};
    struct qb_engine *const engine = make(&graph, 1, 2);
    struct qb_error err;
    struct kept kept = {0};
    const uint8_t images[18] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    float logits[4];
    engine->tap = keep;
    engine->tap_ctx = &kept;
    assert_int_equal(engine->classes, 2);
    qbt_ok(qb_engine_run(engine, images, 2, logits, &err), &err);
    assert_int_equal(kept.next, 8);
    static const float shifted[9] = {0, 0, 0, 0, 9, 8, 0, 6, 5}, sum[9] = {-9, -8, -7, -6, 4, 4, -3, 4, 4};
    static const float rectified[9] = {0, 0, 0, 0, 4, 4, 0, 4, 4}, pooled[4] = {1, 2, 2, 4},
                       result[4] = {1.5F, 0, 0.5F, -8};
    assert_int_equal(kept.counts[1], 18);
    assert_memory_equal(kept.values[1], shifted, sizeof shifted);
    assert_memory_equal(kept.values[3], sum, sizeof sum);
    assert_memory_equal(kept.values[4], rectified, sizeof rectified);
    assert_memory_equal(kept.values[5], pooled, sizeof pooled);
    assert_memory_equal(logits, result, sizeof result);
    assert_true(fabsf(kept.values[7][0] - 1.0F / (1.0F + expf(-1.5F))) < 1e-6F);
    assert_true(fabsf(kept.values[7][0] + kept.values[7][1] - 1.0F) < 1e-6F);
    qb_engine_free(engine);
}

/* Stride, one-sided padding and several channels against double. */
static void conv_against_double(void **state)
{
    (void)state;
    enum { H = 7, W = 6, IC = 3, OC = 5, KH = 3, KW = 2, OH = 4, OW = 3, N = 9 };
    struct qb_rng rng;
    qb_rng_seed(&rng, 11);
    float wei[OC * IC * KH * KW], bia[OC];
    uint8_t images[N * H * W * IC];
    for (size_t i = 0; i < sizeof wei / sizeof wei[0]; i++) {
        wei[i] = (float)(qb_rng_double(&rng) - 0.5);
    }
    for (size_t i = 0; i < OC; i++) {
        bia[i] = (float)(qb_rng_double(&rng) * 100.0);
    }
    for (size_t i = 0; i < sizeof images; i++) {
        images[i] = (uint8_t)qb_rng_interval(&rng, 255);
    }
    struct qb_node nodes[] = {
        {.op = QB_OP_INPUT, .name = "input", .src = {-1, -1}, .dst = {H, W, IC}},
        {.op = QB_OP_CONV,
         .name = "conv",
         .src = {0, -1},
         .dst = {OH, OW, OC},
         .kh = KH,
         .kw = KW,
         .stride_h = 2,
         .stride_w = 2,
         .pad_t = 1,
         .pad_b = 1,
         .pad_r = 1,
         .ic = IC,
         .oc = OC,
         .wei = wei,
         .bia = bia},
    };
    const struct qb_graph graph = {.path = "conv", .nodes = nodes, .count = 2};
    static float got[N * OH * OW * OC], again[N * OH * OW * OC];
    struct qb_error err;
    struct qb_engine *engine = make(&graph, 1, N);
    qbt_ok(qb_engine_run(engine, images, N, got, &err), &err);
    qb_engine_free(engine);
    for (int i = 0; i < N * OH * OW * OC; i++) {
        const int k = i % OC, x = i / OC % OW, y = i / OC / OW % OH, n = i / OC / OW / OH;
        double sum = (double)bia[k];
        for (int t = 0; t < KH * KW * IC; t++) {
            const int c = t % IC, kx = t / IC % KW, ky = t / IC / KW, sy = y * 2 - 1 + ky, sx = x * 2 + kx;
            if (sy >= 0 && sy < H && sx < W) {
                sum += (double)wei[((k * IC + c) * KH + ky) * KW + kx] *
                       images[((n * H + sy) * W + sx) * IC + c];
            }
        }
        assert_true(fabs(sum - (double)got[i]) < 1e-3);
    }
    for (int threads = 2; threads < 5; threads++) { /* not a bit moves with threads and batch */
        engine = make(&graph, threads, threads == 3 ? 1 : N);
        for (int i = 0; i < N; i += engine->batch) {
            qbt_ok(
                qb_engine_run(engine, images + i * H * W * IC, engine->batch, again + i * OH * OW * OC, &err),
                &err);
        }
        qb_engine_free(engine);
        assert_memory_equal(again, got, sizeof got);
    }
}

/* The orders of f32_sums.h once more, one number at a time. */
struct terms {
    const struct qb_node *node;
    const uint8_t *image;
    struct qb_shape s;
    int y, x, k;
};

static float chain(const struct terms *t, int c, int i, int j, float sum)
{
    const struct qb_node *const n = t->node;
    const int row = t->y * n->stride_h - n->pad_t + i, column = t->x * n->stride_w - n->pad_l + j;
    const bool inside = row >= 0 && row < t->s.h && column >= 0 && column < t->s.w;
    const float v = inside ? (float)t->image[(row * t->s.w + column) * t->s.c + c] : 0.0F;
    return fmaf(v, n->wei[((t->k * n->ic + c) * n->kh + i) * n->kw + j], sum);
}

static float direct(const struct terms *t)
{
    const struct qb_node *const n = t->node;
    float dst = n->bia[t->k];
    for (int block = 0; block < n->ic; block += 16) {
        float sum = 0.0F;
        for (int tap = 0; tap < n->kh * n->kw; tap++) {
            for (int c = block; c < block + 16 && c < n->ic; c++) {
                sum = chain(t, c, tap / n->kw, tap % n->kw, sum);
            }
        }
        dst += sum;
    }
    return dst;
}

static float pointwise(const struct terms *t)
{
    float dst = t->node->bia[t->k];
    for (int c = 0; c < t->node->ic; c++) {
        dst = chain(t, c, 0, 0, dst);
    }
    return dst;
}

static float gemm(const struct terms *t)
{
    const struct qb_node *const n = t->node;
    const int taps = n->kh * n->kw, count = n->ic * taps, pieces = (count + 255) / 256;
    const int piece = (count + pieces - 1) / pieces;
    float dst = n->bia[t->k];
    for (int begin = 0; begin < count; begin += piece) {
        float sum = 0.0F;
        for (int i = begin; i < begin + piece && i < count; i++) {
            sum = chain(t, i / taps, i % taps / n->kw, i % n->kw, sum);
        }
        dst += sum;
    }
    return dst;
}

/* One convolution of noise against `order`, bit for bit: sizes that fill no vector and no block. */
static void check_order(int kernel, int ic, int oc, int stride, bool alone,
                        float (*order)(const struct terms *))
{
    enum { H = 9, W = 21, N = 2, MOST = 40 * 40 * 9 };
    static float wei[MOST], bia[40], got[N * H * W * 40];
    static uint8_t images[N * H * W * 40];
    struct qb_rng rng;
    qb_rng_seed(&rng, (uint32_t)(kernel * 100 + ic));
    for (int i = 0; i < MOST; i++) {
        wei[i] = (float)(qb_rng_double(&rng) - 0.5);
    }
    for (int i = 0; i < oc; i++) {
        bia[i] = (float)(qb_rng_double(&rng) * 100.0);
    }
    for (size_t i = 0; i < sizeof images; i++) {
        images[i] = (uint8_t)qb_rng_interval(&rng, 255);
    }
    const int pad = kernel / 2, oh = (H + pad - kernel) / stride + 1,
              ow = (W + 2 * pad - kernel) / stride + 1;
    const struct qb_shape shape = {H, W, ic};
    struct qb_node nodes[] = {
        {.op = QB_OP_INPUT, .name = "input", .src = {-1, -1}, .dst = shape},
        {.op = QB_OP_CONV,
         .name = "conv",
         .src = {0, -1},
         .dst = {oh, ow, oc},
         .kh = kernel,
         .kw = kernel,
         .stride_h = stride,
         .stride_w = stride,
         .pad_b = pad,
         .pad_l = pad,
         .pad_r = pad,
         .ic = ic,
         .oc = oc,
         .wei = wei,
         .bia = bia},
    };
    const struct qb_graph graph = {.path = "order", .nodes = nodes, .count = 2};
    const struct qb_engine_options options = {
        .isa = QB_ISA_REF, .threads = 1, .batch = N, .pytorch_batches = true};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create("reference", &graph, NULL, &options, &engine, &err), &err);
    qbt_ok(qb_engine_run(engine, images, alone ? 1 : N, got, &err), &err);
    qb_engine_free(engine);
    for (int i = 0; i < (alone ? 1 : N) * oh * ow * oc; i++) {
        const struct terms t = {.node = &nodes[1],
                                .image = images + i / (oh * ow * oc) * H * W * ic,
                                .s = shape,
                                .y = i / oc / ow % oh,
                                .x = i / oc % ow,
                                .k = i % oc};
        const float want = order(&t);
        if (memcmp(&want, &got[i], sizeof want) != 0) {
            fail_msg("%dx%d, %d to %d channels: element %d is %a, wanted %a", kernel, kernel, ic, oc, i,
                     (double)got[i], (double)want);
        }
    }
}

static void orders(void **state)
{
    (void)state;
    check_order(3, 3, 16, 1, false, direct);
    check_order(3, 16, 20, 2, false, direct);
    check_order(3, 35, 17, 2, false, direct);
    check_order(1, 35, 33, 2, false, pointwise);
    check_order(3, 35, 40, 1, true, gemm); /* 315 terms: two pieces, the second one shorter */
    check_order(1, 40, 5, 1, true, gemm);
    check_order(5, 12, 7, 1, true, direct); /* PyTorch takes large kernels to oneDNN */
}

/* input 5x4x3 -> conv 3x3 -> relu -> dense. */
static void simulated_quantization(void **state)
{
    (void)state;
    enum { H = 5, W = 4, IC = 3, OC = 7, SIZE = H * W * OC, CLASSES = 4, N = 3 };
    static float wei[OC * IC * 9], bia[OC], other[OC * IC * 9], dense[CLASSES * SIZE], biases[CLASSES];
    static uint8_t images[N * H * W * IC];
    struct qb_rng rng;
    qb_rng_seed(&rng, 5);
    for (size_t i = 0; i < sizeof wei / sizeof *wei; i++) {
        wei[i] = (float)qb_rng_interval(&rng, 199) / 64.0F - 1.5F;
        other[i] = wei[i] + 0.25F;
    }
    for (size_t i = 0; i < sizeof dense / sizeof *dense; i++) {
        dense[i] = (float)qb_rng_interval(&rng, 199) / 256.0F - 0.4F;
    }
    for (size_t i = 0; i < sizeof images; i++) {
        images[i] = (uint8_t)qb_rng_interval(&rng, 255);
    }
    struct qb_node nodes[4] = {{.op = QB_OP_INPUT, .name = "input", .src = {-1, -1}, .dst = {H, W, IC}},
                               {.op = QB_OP_CONV,
                                .name = "conv",
                                .src = {0, -1},
                                .dst = {H, W, OC},
                                .kh = 3,
                                .kw = 3,
                                .stride_h = 1,
                                .stride_w = 1,
                                .pad_t = 1,
                                .pad_l = 1,
                                .pad_b = 1,
                                .pad_r = 1,
                                .ic = IC,
                                .oc = OC,
                                .wei = wei,
                                .bia = bia},
                               {.op = QB_OP_RELU, .name = "relu", .src = {1, -1}, .dst = {H, W, OC}},
                               {.op = QB_OP_DENSE,
                                .name = "dense",
                                .src = {2, -1},
                                .dst = {1, 1, CLASSES},
                                .ic = SIZE,
                                .oc = CLASSES,
                                .wei = dense,
                                .bia = biases}};
    const struct qb_graph graph = {.path = "test", .nodes = nodes, .count = 4};
    struct qb_fake fake[4] = {0};
    fake[0].q = (struct qb_qparams){.scale = 1.5F, .zero_point = 10};
    fake[1].wei = other, fake[1].bia = bia;
    fake[2].q = (struct qb_qparams){.scale = 3.0F, .zero_point = 7};
    const struct qb_engine_options plain = {.isa = QB_ISA_REF, .threads = 2, .batch = N};
    struct qb_engine_options simulating = plain;
    simulating.fake = fake;
    struct qb_engine *engine = NULL, *simulated = NULL;
    struct qb_error err;
    static float want[4][N * SIZE], got[4][N * SIZE];
    float logits[N * CLASSES];
    qbt_ok(qb_engine_create("reference", &graph, NULL, &simulating, &simulated, &err), &err);
    simulated->tap = keep_all;
    simulated->tap_ctx = got;
    for (int flags = 0; flags < 8; flags++) {
        fake[0].tensor_on = flags & 1;
        fake[1].weights_on = flags & 2;
        fake[2].tensor_on = flags & 4;
        qbt_ok(qb_engine_run(simulated, images, N, logits, &err), &err);
        /* The other weights, by a graph that has them. */
        nodes[1].wei = flags & 2 ? other : wei;
        qbt_ok(qb_engine_create("reference", &graph, NULL, &plain, &engine, &err), &err);
        nodes[1].wei = wei;
        engine->tap = keep_all;
        engine->tap_ctx = want;
        qbt_ok(qb_engine_run(engine, images, N, logits, &err), &err);
        qb_engine_free(engine);
        for (int i = 0; i < N * H * W * IC; i++) {
            const float code = fminf(fmaxf(rintf((float)images[i] * (1.0F / 1.5F)) + 10, 0), 255);
            assert_true(got[0][i] == (flags & 1 ? 1.5F * (code - 10) : want[0][i]));
        }
        if (!(flags & 1)) { /* the same source: what the layer makes of it is comparable */
            assert_memory_equal(got[1], want[1], N * SIZE * sizeof(float));
            for (int i = 0; i < N * SIZE; i++) {
                const float code = fminf(fmaxf(rintf(want[2][i] * (1.0F / 3.0F)) + 7, 0), 255);
                assert_true(got[2][i] == (flags & 4 ? 3.0F * (code - 7) : want[2][i]));
            }
        }
        assert_int_equal((flags & 5) == 0, memcmp(got[3], want[3], N * CLASSES * sizeof(float)) == 0);
    }
    qb_engine_free(simulated);
    /* Quantized beside: its codes are there, but who reads floats has it as it was. */
    fake[0].tensor_on = fake[1].weights_on = false;
    fake[2].tensor_on = fake[2].beside = true;
    qbt_ok(qb_engine_create("reference", &graph, NULL, &plain, &engine, &err), &err);
    engine->tap = keep_all;
    engine->tap_ctx = want;
    qbt_ok(qb_engine_run(engine, images, N, logits, &err), &err);
    qb_engine_free(engine);
    for (int floats = 0; floats < 2; floats++) {
        fake[3].floats = floats;
        qbt_ok(qb_engine_create("reference", &graph, NULL, &simulating, &simulated, &err), &err);
        simulated->tap = keep_all;
        simulated->tap_ctx = got;
        qbt_ok(qb_engine_run(simulated, images, N, logits, &err), &err);
        qb_engine_free(simulated);
        assert_memory_not_equal(got[2], want[2], N * SIZE * sizeof(float));
        assert_int_equal(floats, memcmp(got[3], want[3], N * CLASSES * sizeof(float)) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(conv_against_double),
                                       cmocka_unit_test(simulated_quantization), cmocka_unit_test(orders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
