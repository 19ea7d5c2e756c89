/* The native engine equals the reference engine bit for bit: random small networks of every operator, shape
 * and zero point in every arithmetic that the native engine has, and the mixed network of nets.h, over thread
 * counts, batches and taps. test_native ISA [SEED [SECONDS]]: one network a seed from SEED on, for SECONDS
 * (else $QB_TEST_SECONDS) or, without, a fixed number of them. Exit code 77 (SKIP) when this CPU lacks the
 * ISA. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/engine.h"
#include "nets.h"
#include "testing.h"

enum { NETWORKS = 100, IMAGES = 7 };

static enum qb_isa isa;
static uint32_t first_seed = 1;
static double seconds;
static enum qb_arithmetic arithmetics[QB_ARITHMETIC_COUNT]; /* that the native engine has */
static size_t arithmetic_count;

static int draw(struct net *net, int low, int high)
{
    return low + (int)qb_rng_interval(&net->rng, (uint32_t)(high - low));
}

static bool chance(struct net *net, int percent)
{
    return draw(net, 0, 99) < percent;
}

static int zero_point(struct net *net)
{
    return chance(net, 50) ? 0 : chance(net, 20) ? 255 : draw(net, 1, 254);
}

static int any_node(struct net *net)
{
    const int node = chance(net, 60) ? net->graph.count - 1 : draw(net, 0, net->graph.count - 1);
    return net->nodes[node].op == QB_QOP_CONSTANT ? node + 1 : node; /* its reader */
}

static int random_conv(struct net *net, int src)
{
    static const int channels[] = {1, 3, 5, 8, 16, 16, 17, 32, 32, 35, 48, 64};
    const struct qb_shape s = net->nodes[src].dst;
    struct net_conv c = {
        .src = src, .oc = channels[draw(net, 0, 11)], .kh = 3, .kw = 3, .stride_h = 1, .stride_w = 1};
    c.pad_t = c.pad_l = c.pad_b = c.pad_r = 1;
    if (chance(net, 50)) {
        c.kh = draw(net, 1, 4);
        c.kw = draw(net, 1, 4);
        c.stride_h = draw(net, 1, 2);
        c.stride_w = draw(net, 1, 3);
        c.pad_t = draw(net, 0, 2);
        c.pad_l = draw(net, 0, 2);
        c.pad_b = c.kh > s.h ? c.kh : draw(net, 0, 2);
        c.pad_r = c.kw > s.w ? c.kw : draw(net, 0, 2);
    }
    c.per_tensor = chance(net, 40);
    c.wei_zero = chance(net, 20);
    c.relu = chance(net, 40);
    c.zero_point = zero_point(net);
    return net_conv(net, &c);
}

/* A convolution of the same shape as `node`, and the sum of both: in the tail, or as a node of its own that
 * fusion may move there. */
static void random_block(struct net *net, int node)
{
    const struct qb_shape s = net->nodes[node].dst;
    const int k = chance(net, 50) ? 3 : 1;
    struct net_conv c = {
        .src = node, .oc = s.c, .kh = k, .kw = k, .stride_h = 1, .stride_w = 1, .relu = chance(net, 20)};
    c.pad_t = c.pad_l = c.pad_b = c.pad_r = k / 2;
    c.per_tensor = chance(net, 40);
    c.zero_point = zero_point(net);
    const bool fused = qb_arithmetic_fuses_add(net->graph.arithmetic) && node > 0 && chance(net, 60);
    c.residual = fused ? node : 0;
    const int conv = net_conv(net, &c);
    if (!fused) {
        const float scale = (net->nodes[conv].q.scale + net->nodes[node].q.scale) * 0.8F;
        const bool swap = chance(net, 50), relu = chance(net, 60);
        const int zero = relu && chance(net, 70) ? 0 : zero_point(net);
        net_add(net, swap ? conv : node, swap ? node : conv, relu, scale, zero);
    }
}

/* A product or sum of `node` and one number a channel. */
static void random_constant(struct net *net, int node)
{
    const float scale = net->nodes[node].q.scale;
    const bool product = chance(net, 60);
    const int constant =
        net_constant(net, net->nodes[node].dst.c, product ? 0.01F : scale * 0.7F, zero_point(net));
    if (product) {
        net_mul(net, node, constant, scale * 0.8F, zero_point(net));
    } else {
        net_add(net, node, constant, chance(net, 30), scale * 1.2F, zero_point(net));
    }
}

static void random_net(struct net *net, uint32_t seed)
{
    struct qb_rng rng;
    qb_rng_seed(&rng, seed);
    const enum qb_arithmetic arithmetic = arithmetics[seed % arithmetic_count];
    const struct qb_shape input = {1 + (int)qb_rng_interval(&rng, 17), 1 + (int)qb_rng_interval(&rng, 19),
                                   seed % 3 ? 3 : 1 + (int)qb_rng_interval(&rng, 4)};
    net_init(net, arithmetic, seed, input, seed % 5 ? 0.0173F : 1.0F, (int)qb_rng_interval(&rng, 1) * 114);
    while (net->graph.count < NET_NODES - 3) {
        const int node = any_node(net), kind = draw(net, 0, 99);
        const struct qb_shape s = net->nodes[node].dst;
        if (kind < 45) {
            random_conv(net, node);
        } else if (kind < 75) {
            random_block(net, node);
        } else if (kind < 85) {
            const int relu = net_relu(net, node);
            if (qb_arithmetic_traits(arithmetic)->rescales && chance(net, 40)) {
                net_rescale(net, relu, net->nodes[node].q.scale * 0.6F, zero_point(net));
            }
        } else if (kind < 93 && qb_arithmetic_traits(arithmetic)->constants &&
                   net->graph.count < NET_NODES - 4) {
            random_constant(net, node);
        } else if (kind < 90 && qb_arithmetic_traits(arithmetic)->requantizes) {
            const float scale = net->nodes[node].q.scale;
            net_quantize(net, node, chance(net, 50) ? scale * 0.99F : scale * 1.7F, zero_point(net));
        } else {
            const int whole = chance(net, 30);
            const int pool = whole ? net_avgpool(net, node, s.h, s.w, 1)
                                   : net_avgpool(net, node, draw(net, 1, s.h < 4 ? s.h : 4),
                                                 draw(net, 1, s.w < 4 ? s.w : 4), draw(net, 1, 2));
            if (qb_arithmetic_traits(arithmetic)->rescales && chance(net, 60)) {
                net_rescale(net, pool, net->nodes[node].q.scale * 0.7F, zero_point(net));
            }
        }
    }
    if (chance(net, 80)) {
        net_dense(net, net->graph.count - 1, draw(net, 1, 20), chance(net, 50), zero_point(net));
    }
}

static void find_arithmetics(void)
{
    for (int arithmetic = 0; arithmetic < QB_ARITHMETIC_COUNT; arithmetic++) {
        const struct qb_engine_options options = {.isa = isa, .threads = 1, .batch = 1};
        struct net net;
        struct qb_engine *engine = NULL;
        struct qb_error err = {0};
        net_init(&net, (enum qb_arithmetic)arithmetic, 1, (struct qb_shape){3, 3, 3}, 0.5F, 3);
        net_dense(&net, 0, 5, true, 7);
        const enum qb_status status = qb_engine_create("native", NULL, &net.graph, &options, &engine, &err);
        if (status != QB_EUNSUPPORTED) {
            qbt_ok(status, &err);
            arithmetics[arithmetic_count++] = (enum qb_arithmetic)arithmetic;
            print_message("arithmetic %s\n", qb_arithmetic_name((enum qb_arithmetic)arithmetic));
        }
        qb_engine_free(engine);
        net_free(&net);
    }
}

static struct qb_engine *make(const char *name, const struct net *net, int threads, int batch)
{
    const struct qb_engine_options options = {.isa = isa, .threads = threads, .batch = batch};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create(name, NULL, &net->graph, &options, &engine, &err), &err);
    return engine;
}

/* What the taps of a run saw. */
struct kept {
    uint8_t *codes[NET_NODES];
    size_t counts[NET_NODES];
    int next;
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    struct kept *const k = ctx;
    assert_int_equal(node, k->next++);
    k->codes[node] = malloc(count);
    assert_non_null(k->codes[node]);
    memcpy(k->codes[node], data, count);
    k->counts[node] = count;
}

static void compare_taps(const struct net *net, uint32_t seed, struct qb_engine *reference,
                         struct qb_engine *native, const uint8_t *images, float *logits)
{
    struct kept want = {.next = 0}, got = {.next = 0};
    struct qb_error err;
    reference->tap = native->tap = keep;
    reference->tap_ctx = &want;
    native->tap_ctx = &got;
    qbt_ok(qb_engine_run(reference, images, 3, logits, &err), &err);
    qbt_ok(qb_engine_run(native, images, 3, logits, &err), &err);
    reference->tap = native->tap = NULL;
    assert_int_equal(got.next, net->graph.count);
    for (int node = 0; node < net->graph.count; node++) {
        assert_int_equal(got.counts[node], want.counts[node]);
        if (memcmp(got.codes[node], want.codes[node], want.counts[node]) != 0) {
            fail_msg("seed %u: tensor %d differs with taps (%s)", seed, node, native->implementation);
        }
        free(got.codes[node]);
        free(want.codes[node]);
    }
}

struct threads_and_batch {
    int threads, batch;
};

static void compare_on(struct net *net, uint32_t seed, const struct threads_and_batch *shapes, size_t count)
{
    struct qb_error err;
    struct qb_engine *const reference = make("reference", net, 1, IMAGES);
    const size_t classes = (size_t)reference->classes, bytes = IMAGES * classes * sizeof(float),
                 image = qb_shape_count(net->nodes[0].dst);
    uint8_t *const images = net_images(net, IMAGES);
    float *const want = malloc(bytes), *const got = malloc(bytes);
    assert_non_null(want);
    assert_non_null(got);
    qbt_ok(qb_engine_run(reference, images, IMAGES, want, &err), &err);
    for (size_t s = 0; s < count; s++) {
        const int batch = shapes[s].batch;
        struct qb_engine *const native = make("native", net, shapes[s].threads, batch);
        assert_int_equal(native->exactness, QB_EXACT);
        assert_int_equal(native->classes, (int)classes);
        memset(got, 0xff, bytes);
        for (int i = 0; i < IMAGES; i += batch) {
            const int n = IMAGES - i < batch ? IMAGES - i : batch;
            qbt_ok(qb_engine_run(native, images + (size_t)i * image, n, got + (size_t)i * classes, &err),
                   &err);
        }
        if (memcmp(got, want, bytes) != 0) {
            fail_msg(
                "seed %u: logits differ from the reference engine's; %d threads, batch %d, %s: repeat with "
                "test_native %s %u",
                seed, shapes[s].threads, batch, native->implementation, qb_isa_name(isa), seed);
        }
        if (batch >= 3 && s == 1) {
            compare_taps(net, seed, reference, native, images, got);
        }
        qb_engine_free(native);
    }
    qb_engine_free(reference);
    free(images);
    free(want);
    free(got);
}

static void compare(struct net *net, uint32_t seed)
{
    /* 7 images in batches of 2 and 4 end with one of 1 and of 3. */
    static const struct threads_and_batch shapes[] = {{1, 1},      {1, IMAGES}, {2, 1}, {3, 1},
                                                      {2, IMAGES}, {3, 2},      {3, 4}};
    compare_on(net, seed, shapes, sizeof shapes / sizeof *shapes);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Arithmetic tflite refuses multipliers of 1 and more, which some random networks have. */
static bool has_multipliers(const struct net *net)
{
    for (int i = 0; net->graph.arithmetic == QB_ARITHMETIC_TFLITE && i < net->graph.count; i++) {
        const struct qb_qnode *const n = &net->nodes[i];
        for (int k = 0; k < n->wei_scale_count; k++) {
            if (net->nodes[n->src[0]].q.scale * n->wei_scales[k] >= n->q.scale) {
                return false;
            }
        }
    }
    return true;
}

static void random_networks(void **state)
{
    (void)state;
    const double end = now() + seconds;
    uint32_t count = 0;
    do {
        struct net net;
        random_net(&net, first_seed + count);
        if ((first_seed + count) % 3 == 0) {
            net_narrow(&net);
        }
        if (has_multipliers(&net)) {
            compare(&net, first_seed + count);
        }
        net_free(&net);
        count++;
    } while (seconds > 0.0 ? now() < end : count < NETWORKS);
    print_message("%u networks from seed %u on\n", count, first_seed);
}

/* The shapes that kernels have paths for, without and with zero points. */
static void resnet8_networks(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 4; seed++) {
        struct net net;
        net_resnet8(&net, QB_ARITHMETIC_FBGEMM, seed, seed % 2 != 0);
        compare(&net, seed);
        net_free(&net);
    }
}

static void mixed_networks(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 6; seed++) {
        struct net net;
        net_mixed(&net, seed % 2 ? QB_ARITHMETIC_ONEDNN : QB_ARITHMETIC_FBGEMM, seed);
        compare(&net, seed);
        net_narrow(&net);
        compare(&net, seed);
        net_free(&net);
    }
}

/* Scales for which a value behind the multiplication would not fit int32: the plain C kernel takes such a
 * layer. */
static void absurd_scales_fall_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < arithmetic_count; i++) {
        if (arithmetics[i] == QB_ARITHMETIC_TFLITE) {
            continue; /* refuses multipliers of 1 and more */
        }
        struct net net;
        net_mixed(&net, arithmetics[i], 3);
        net.nodes[NET_HALF].q.scale = 1e-12F;
        net.nodes[NET_POOL].q.scale = 1e-12F;
        compare(&net, 3);
        struct qb_engine *const engine = make("native", &net, 1, 1);
        assert_string_equal(engine->isa, qb_isa_name(isa));
        assert_int_equal(strstr(engine->implementation, "ref/scalar") != NULL, isa != QB_ISA_REF);
        qb_engine_free(engine);
        net_free(&net);
    }
}

/* One of several engines that run at the same time, each from a thread of its own. */
struct player {
    pthread_t thread;
    struct net net;
    struct qb_engine *engine;
    int rounds, wrong;
};

static void *play(void *arg)
{
    struct player *const p = arg;
    uint8_t *const images = net_images(&p->net, IMAGES);
    const size_t count = IMAGES * (size_t)p->engine->classes, image = qb_shape_count(p->net.nodes[0].dst);
    float *const want = malloc(count * sizeof(float)), *const got = malloc(count * sizeof(float));
    struct qb_error err;
    p->wrong = !want || !got || qb_engine_run(p->engine, images, IMAGES, want, &err) != QB_OK;
    for (int round = 0; round < p->rounds && !p->wrong; round++) {
        const int first = round % IMAGES, n = 1 + round % (IMAGES - first);
        const size_t at = (size_t)first * (size_t)p->engine->classes;
        p->wrong = qb_engine_run(p->engine, images + (size_t)first * image, n, got, &err) != QB_OK ||
                   memcmp(got, want + at, (size_t)(n * p->engine->classes) * sizeof(float)) != 0;
    }
    free(images);
    free(want);
    free(got);
    return NULL;
}

static void engines_do_not_meet(void **state)
{
    (void)state;
    struct player players[2];
    for (int i = 0; i < 2; i++) {
        players[i].rounds = 200;
        random_net(&players[i].net, 11 + (uint32_t)i);
        players[i].engine = make("native", &players[i].net, 2 + i, IMAGES);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&players[i].thread, NULL, play, &players[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(players[i].thread, NULL), 0);
        assert_int_equal(players[i].wrong, 0);
        qb_engine_free(players[i].engine);
        net_free(&players[i].net);
    }
}

/* The whole network on several threads, with the sizes that steps are divided at: rows, blocks of channels,
 * and neither. */
static void divided_images(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 5; threads++) {
        struct net net;
        net_init(&net, arithmetics[(size_t)threads % arithmetic_count], 7, (struct qb_shape){32, 32, 3},
                 0.0173F, 114);
        struct net_conv c = {
            .oc = 64, .kh = 3, .kw = 3, .stride_h = 2, .stride_w = 2, .pad_t = 1, .pad_l = 1};
        c.pad_b = c.pad_r = 1;
        for (int side = 16; side >= 1; side /= 2) { /* 16 rows .. 1 row of 64 channels */
            c.src = net_conv(&net, &c);
        }
        net_dense(&net, c.src, 500, false, 3);
        compare_on(&net, 7, &(struct threads_and_batch){threads, 1}, 1);
        struct qb_engine *const engine = make("native", &net, threads, 1);
        assert_non_null(strstr(engine->implementation, "steps of one image divided"));
        if (net.graph.arithmetic == QB_ARITHMETIC_TFLITE) { /* per-channel constants of all kinds are divided */
            assert_non_null(strstr(engine->implementation, "+integer"));
        }
        qb_engine_free(engine);
        net_free(&net);
    }
}

int main(int argc, char **argv)
{
    struct qb_error err;
    if (argc < 2) {
        fprintf(stderr, "usage: %s ISA [SEED [SECONDS]]\n", argv[0]);
        return 2;
    }
    if (qb_cpu_select(argv[1], &isa, &err) != QB_OK) {
        printf("SKIP: %s\n", err.text);
        return err.status == QB_EUNSUPPORTED ? QBT_SKIP : 2;
    }
    first_seed = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 1;
    /* An image is divided only among CPUs that are there: hwloc shall see eight. */
    setenv("HWLOC_SYNTHETIC", "core:8 pu:1", 1);
    const char *const budget = argc > 3 ? argv[3] : getenv("QB_TEST_SECONDS");
    seconds = budget ? strtod(budget, NULL) : 0.0;
    find_arithmetics();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_networks), cmocka_unit_test(resnet8_networks),
        cmocka_unit_test(mixed_networks),  cmocka_unit_test(absurd_scales_fall_back),
        cmocka_unit_test(divided_images),  cmocka_unit_test(engines_do_not_meet),
    };
    return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
}
