/* The oneDNN engines on integer graphs against the reference engine, byte for byte at every tensor, wherever
 * an engine claims to be exact: test_onednn_int8 ISA. One process per ISA, because oneDNN reads its cap once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/onednn/library.h"
#include "nets.h"
#include "testing.h"

static enum qb_isa isa;

enum { IMAGES = 3, BATCH = 4, RANDOM_NETS = 60 };

static struct qb_engine *make(const char *name, const struct qb_qgraph *graph, int threads, const char *impl)
{
    const bool reference = strcmp(name, "reference") == 0;
    const struct qb_engine_options options = {
        .isa = reference ? QB_ISA_REF : isa, .threads = threads, .batch = BATCH, .impl = impl};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create(name, NULL, graph, &options, &engine, &err), &err);
    return engine;
}

struct kept {
    uint8_t *codes[NET_NODES];
    size_t counts[NET_NODES];
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    struct kept *k = ctx;
    free(k->codes[node]);
    k->codes[node] = malloc(count);
    assert_non_null(k->codes[node]);
    memcpy(k->codes[node], data, count);
    k->counts[node] = count;
}

static void forget(struct kept *k)
{
    for (int i = 0; i < NET_NODES; i++) {
        free(k->codes[i]);
    }
}

/* Different codes of two runs, over all tensors; the largest distance in *worst. */
static size_t differences(const struct net *net, const struct kept *got, const struct kept *want,
                          const char *what, bool must_equal, int *worst)
{
    size_t different = 0;
    for (int node = 0; node < net->graph.count; node++) {
        assert_int_equal(got->counts[node], want->counts[node]);
        for (size_t i = 0; i < want->counts[node]; i++) {
            const int distance = abs(got->codes[node][i] - want->codes[node][i]);
            if (distance > 0 && must_equal) {
                fail_msg("%s: node %d, element %zu: code %d, wanted %d", what, node, i, got->codes[node][i],
                         want->codes[node][i]);
            }
            different += distance > 0;
            *worst = distance > *worst ? distance : *worst;
        }
    }
    return different;
}

/* Runs `net` through an engine and compares with the reference. Returns what the engine claims. */
static enum qb_exactness check(struct net *net, const char *name, int threads, const char *impl,
                               bool must_equal, const char *what)
{
    struct qb_error err;
    struct kept want = {0}, got = {0};
    uint8_t *images = net_images(net, BATCH);
    const size_t classes = qb_shape_count(net->nodes[net->graph.count - 1].dst);
    float *want_logits = calloc(BATCH * classes, sizeof(float)),
          *got_logits = calloc(BATCH * classes, sizeof(float));
    assert_true(want_logits && got_logits);
    struct qb_engine *reference = make("reference", &net->graph, 1, NULL);
    struct qb_engine *engine = make(name, &net->graph, threads, impl);
    assert_true(strlen(engine->implementation) > 0 && strlen(engine->isa) > 0);
    assert_int_equal(engine->classes, classes);
    const enum qb_exactness exactness = engine->exactness;
    reference->tap = engine->tap = keep;
    reference->tap_ctx = &want;
    engine->tap_ctx = &got;
    /* First a full batch of other images, then fewer: nothing may remain of the first run. */
    qbt_ok(qb_engine_run(engine, images, BATCH, got_logits, &err), &err);
    for (size_t i = 0; i < qb_shape_count(net->nodes[0].dst) * BATCH; i++) {
        images[i] = (uint8_t)(images[i] * 7 + 3);
    }
    qbt_ok(qb_engine_run(reference, images, IMAGES, want_logits, &err), &err);
    memset(got_logits, 0, BATCH * classes * sizeof(float));
    qbt_ok(qb_engine_run(engine, images, IMAGES, got_logits, &err), &err);
    int worst = 0;
    must_equal = must_equal || exactness == QB_EXACT;
    differences(net, &got, &want, what, must_equal, &worst);
    if (must_equal) {
        assert_memory_equal(got_logits, want_logits, BATCH * classes * sizeof(float));
    }
    qb_engine_free(engine);
    qb_engine_free(reference);
    forget(&want);
    forget(&got);
    free(images);
    free(want_logits);
    free(got_logits);
    return exactness;
}

static int pick(struct net *net, int low, int high)
{
    return low + (int)qb_rng_interval(&net->rng, (uint32_t)(high - low));
}

static int pick_zero_point(struct net *net)
{
    static const int some[] = {0, 0, 0, 1, 67, 128, 255};
    return some[pick(net, 0, 6)];
}

/* Weights to 7 bits: no pair of products saturates on any ISA. */
static void halve_weights(struct net *net)
{
    for (int i = 0; i < net->graph.count; i++) {
        struct qb_qnode *n = &net->nodes[i];
        if (n->wei) {
            const size_t depth = (size_t)n->ic * (n->op == QB_QOP_CONV ? (size_t)(n->kh * n->kw) : 1);
            int8_t *wei = qb_arena_memdup(net->arena, n->wei, depth * (size_t)n->oc);
            assert_non_null(wei);
            for (size_t k = 0; k < depth * (size_t)n->oc; k++) {
                wei[k] = (int8_t)(wei[k] / 2);
            }
            n->wei = wei;
        }
    }
}

/* A few convolutions of any geometry, with ReLU, addition and pooling between them, and a dense layer. */
static void random_net(struct net *net, enum qb_arithmetic arithmetic, uint32_t seed)
{
    static const int channels[] = {1, 2, 3, 4, 5, 8, 15, 16, 17, 32, 33, 64};
    struct qb_rng rng;
    qb_rng_seed(&rng, seed + 1000);
    const int c = channels[qb_rng_interval(&rng, 11)], h = 6 + (int)qb_rng_interval(&rng, 8),
              w = 6 + (int)qb_rng_interval(&rng, 8);
    const bool identity = qb_rng_interval(&rng, 1);
    net_init(net, arithmetic, seed, (struct qb_shape){h, w, c}, identity ? 1.0f : 0.77f, identity ? 0 : 9);
    int at = 0;
    const int layers = pick(net, 1, 4);
    for (int i = 0; i < layers; i++) {
        const struct qb_shape s = net->nodes[at].dst;
        struct net_conv conv = {
            .src = at,
            .oc = channels[pick(net, 0, 11)],
            .kh = pick(net, 1, 3),
            .kw = pick(net, 1, 3),
            .stride_h = pick(net, 1, 2),
            .stride_w = pick(net, 1, 2),
            .per_tensor = pick(net, 0, 1),
            .relu = pick(net, 0, 1),
            .wei_zero = pick(net, 0, 3) == 0,
            .zero_point = pick_zero_point(net),
        };
        conv.pad_t = pick(net, 0, conv.kh - 1);
        conv.pad_b = pick(net, 0, conv.kh - 1);
        conv.pad_l = pick(net, 0, conv.kw - 1);
        conv.pad_r = pick(net, 0, conv.kw - 1);
        if (s.h + conv.pad_t + conv.pad_b < conv.kh || s.w + conv.pad_l + conv.pad_r < conv.kw) {
            break;
        }
        const int before = at;
        at = net_conv(net, &conv);
        const struct qb_shape d = net->nodes[at].dst;
        const bool same = d.h == s.h && d.w == s.w && d.c == s.c;
        if (same && qb_arithmetic_fuses_add(arithmetic) && pick(net, 0, 1)) {
            net->nodes[at].fused_add = true;
            net->nodes[at].src[1] = before;
        } else if (same) {
            at = net_add(net, before, at, pick(net, 0, 1), net->nodes[at].q.scale, pick_zero_point(net));
        }
        at = pick(net, 0, 3) == 0 ? net_relu(net, at) : at;
    }
    const struct qb_shape s = net->nodes[at].dst;
    if (s.h >= 2 && s.w >= 2 && pick(net, 0, 1)) {
        at = net_avgpool(net, at, pick(net, 1, 2), 2, pick(net, 1, 2));
    }
    net_dense(net, at, pick(net, 1, 20), pick(net, 0, 1), pick_zero_point(net));
}

static bool has_vnni(void)
{
    return isa != QB_ISA_AVX2;
}

static void random_nets(enum qb_arithmetic arithmetic, const char *name)
{
    int exact = 0;
    for (uint32_t seed = 0; seed < RANDOM_NETS; seed++) {
        struct net net;
        char what[64];
        random_net(&net, arithmetic, seed);
        if (seed % 3 == 0) {
            net_narrow(&net);
        }
        const bool halved = !has_vnni() && seed % 2;
        if (halved) {
            halve_weights(&net);
        }
        snprintf(what, sizeof what, "%s %s net %u", name, qb_arithmetic_name(arithmetic), seed);
        exact += check(&net, name, 1 + (int)(seed % 2), NULL, false, what) == QB_EXACT;
        net_free(&net);
    }
    print_message("%s: %d of %d networks exact\n", name, exact, (int)RANDOM_NETS);
    if (strcmp(name, "onednn") == 0) {
        /* Not quite all: accumulators of the widest dense layers may pass 2^24. */
        assert_true(exact >= (has_vnni() ? RANDOM_NETS * 9 / 10 : RANDOM_NETS * 4 / 10));
    }
}

static void exact_fbgemm(void **state)
{
    (void)state;
    random_nets(QB_ARITHMETIC_FBGEMM, "onednn");
}

static void exact_onednn(void **state)
{
    (void)state;
    random_nets(QB_ARITHMETIC_ONEDNN, "onednn");
}

static void exact_torch(void **state)
{
    (void)state;
    random_nets(QB_ARITHMETIC_ONEDNN_3_12, "onednn");
    random_nets(QB_ARITHMETIC_TORCH_ONEDNN, "onednn");
    random_nets(QB_ARITHMETIC_TORCH_X86, "onednn");
}

static void fused_onednn(void **state)
{
    (void)state;
    random_nets(QB_ARITHMETIC_ONEDNN, "onednn_fused");
}

/* The sum post-op writes over its operand: not when the operand is read again, or is the convolution's own
 * source. */
static void residual_read_again(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct net net;
        struct net_conv conv = {.oc = 16, .kh = 3, .kw = 3, .stride_h = 1, .stride_w = 1};
        conv.pad_t = conv.pad_l = conv.pad_b = conv.pad_r = 1;
        net_init(&net, QB_ARITHMETIC_ONEDNN, 21, (struct qb_shape){8, 8, 3}, 1.0f, 0);
        const int first = conv.src = net_conv(&net, &conv);
        if (kind == 0) {
            conv.src = net_conv(&net, &conv);
        }
        conv.residual = first;
        conv.relu = true;
        const int sum = net_conv(&net, &conv);
        net_dense(&net, kind == 0 ? net_add(&net, sum, first, false, net.nodes[sum].q.scale, 40) : sum, 10,
                  false, 0);
        const bool exact = has_vnni() && qb_dnnl_fuses_exactly(dnnl_version());
        const enum qb_exactness claim = check(&net, "onednn_fused", 1, NULL, exact, "residual");
        assert_int_equal(claim, exact ? QB_EXACT : QB_APPROXIMATE);
        net_free(&net);
    }
}

/* The library's own rounding is no claim in another arithmetic. */
static void fused_fbgemm(void **state)
{
    (void)state;
    struct net net;
    net_mixed(&net, QB_ARITHMETIC_FBGEMM, 5);
    assert_int_equal(check(&net, "onednn_fused", 1, NULL, false, "fused"), QB_APPROXIMATE);
    net_free(&net);
}

/* Saturating kernels must not claim exactness for weights that can saturate: the pixels here make them. */
static void no_claim_without_vnni(void **state)
{
    (void)state;
    struct net net;
    net_init(&net, QB_ARITHMETIC_FBGEMM, 1, (struct qb_shape){8, 8, 4}, 1.0f, 0);
    net_conv(&net, &(struct net_conv){.oc = 16, .kh = 3, .kw = 3, .stride_h = 1, .stride_w = 1});
    net_dense(&net, 1, 10, false, 0);
    const enum qb_exactness claim = check(&net, "onednn", 1, NULL, false, "full weights");
    assert_int_equal(claim, has_vnni() ? QB_EXACT : QB_APPROXIMATE);
    net_free(&net);
}

/* impl: every choice gives the same codes, or does not claim to. */
static void implementations(void **state)
{
    (void)state;
    static const char *const impls[] = {"default", "fastest", "jit", "ref"};
    for (uint32_t i = 0; i < sizeof impls / sizeof impls[0]; i++) {
        struct net net;
        net_mixed(&net, QB_ARITHMETIC_FBGEMM, 9);
        halve_weights(&net);
        check(&net, "onednn", 1, impls[i], true, impls[i]);
        net_free(&net);
        for (uint32_t seed = 0; seed < 8; seed++) {
            random_net(&net, QB_ARITHMETIC_ONEDNN, seed);
            check(&net, "onednn_fused", 1, impls[i], false, impls[i]);
            net_free(&net);
        }
    }
}

int main(int argc, char **argv)
{
    struct qb_error err;
    if (argc != 2) {
        fprintf(stderr, "usage: %s ISA\n", argv[0]);
        return 2;
    }
    if (qb_cpu_select(argv[1], &isa, &err) != QB_OK) {
        printf("SKIP: %s\n", err.text);
        return QBT_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_fbgemm),          cmocka_unit_test(exact_onednn),
        cmocka_unit_test(exact_torch),           cmocka_unit_test(fused_onednn),
        cmocka_unit_test(fused_fbgemm),          cmocka_unit_test(residual_read_again),
        cmocka_unit_test(no_claim_without_vnni), cmocka_unit_test(implementations),
    };
    return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
}
