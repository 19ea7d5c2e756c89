/* The oneDNN engine on float graphs against the reference engine, within float rounding: the fused list by
 * its logits, the unfused one (a tap is set) by every tensor. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "testing.h"

enum { NODES = 24, BATCH = 4, IMAGES = 3, NETS = 60 };

struct net {
    struct qb_arena *arena;
    struct qb_rng rng;
    struct qb_node nodes[NODES];
    struct qb_graph graph;
};

static int pick(struct net *net, int low, int high)
{
    return low + (int)qb_rng_interval(&net->rng, (uint32_t)(high - low));
}

static struct qb_node *append(struct net *net, enum qb_op op, int src, struct qb_shape dst)
{
    assert_true(net->graph.count < NODES);
    struct qb_node *n = &net->nodes[net->graph.count++];
    *n = (struct qb_node){.op = op, .name = qb_op_name(op), .src = {src, -1}, .dst = dst};
    return n;
}

/* Scaled so that activations keep their size from layer to layer. */
static void fill(struct net *net, struct qb_node *n, size_t depth)
{
    const size_t count = depth * (size_t)n->oc;
    float *wei = qb_arena_array(net->arena, count, sizeof *wei),
          *bia = qb_arena_array(net->arena, (size_t)n->oc, sizeof *bia);
    assert_true(wei && bia);
    for (size_t i = 0; i < count; i++) {
        wei[i] = (float)((qb_rng_double(&net->rng) - 0.5) * 3.0 / sqrt((double)depth));
    }
    for (int k = 0; k < n->oc; k++) {
        bia[k] = (float)((qb_rng_double(&net->rng) - 0.5) * 20.0);
    }
    n->wei = wei;
    n->bia = bia;
}

static int conv(struct net *net, int src, bool same)
{
    static const int channels[] = {1, 2, 3, 5, 8, 16, 17, 24, 32};
    const struct qb_shape s = net->nodes[src].dst;
    struct qb_node g = {.kh = pick(net, 1, s.h < 3 ? s.h : 3),
                        .kw = pick(net, 1, s.w < 3 ? s.w : 3),
                        .stride_h = 1,
                        .stride_w = 1};
    g.pad_t = pick(net, 0, g.kh - 1);
    g.pad_l = pick(net, 0, g.kw - 1);
    g.pad_b = same ? g.kh - 1 - g.pad_t : pick(net, 0, g.kh - 1);
    g.pad_r = same ? g.kw - 1 - g.pad_l : pick(net, 0, g.kw - 1);
    if (!same) {
        g.stride_h = pick(net, 1, 2);
        g.stride_w = pick(net, 1, 2);
    }
    const struct qb_shape dst = {(s.h + g.pad_t + g.pad_b - g.kh) / g.stride_h + 1,
                                 (s.w + g.pad_l + g.pad_r - g.kw) / g.stride_w + 1,
                                 same ? s.c : channels[pick(net, 0, 8)]};
    struct qb_node *n = append(net, QB_OP_CONV, src, dst);
    n->kh = g.kh, n->kw = g.kw, n->stride_h = g.stride_h, n->stride_w = g.stride_w;
    n->pad_t = g.pad_t, n->pad_l = g.pad_l, n->pad_b = g.pad_b, n->pad_r = g.pad_r;
    n->ic = s.c, n->oc = dst.c;
    fill(net, n, (size_t)(n->kh * n->kw * s.c));
    return net->graph.count - 1;
}

static int relu(struct net *net, int src)
{
    append(net, QB_OP_RELU, src, net->nodes[src].dst);
    return net->graph.count - 1;
}

static int add(struct net *net, int a, int b)
{
    append(net, QB_OP_ADD, a, net->nodes[a].dst)->src[1] = b;
    return net->graph.count - 1;
}

/* Residual blocks of every kind: the sum may or may not be fused, its operands may have other readers. */
static int block(struct net *net, int at)
{
    const int kind = pick(net, 0, 6), first = conv(net, at, true);
    switch (kind) {
    case 0: return relu(net, add(net, at, first));       /* in place over the source of the block */
    case 1: return add(net, first, conv(net, at, true)); /* two convolutions */
    case 2: return add(net, relu(net, first), at);       /* no convolution next to the sum */
    case 3:
        return add(net, add(net, at, conv(net, first, true)),
                   at);                               /* the source is read again after the sum */
    case 4: return add(net, first, relu(net, first)); /* the convolution has two readers */
    case 5:
        return relu(
            net, add(net, conv(net, first, true), first)); /* the operand is the convolution's own source */
    default: return add(net, first, first);
    }
}

static void random_net(struct net *net, uint32_t seed)
{
    *net = (struct net){.arena = qb_arena_create()};
    assert_non_null(net->arena);
    qb_rng_seed(&net->rng, seed);
    net->graph = (struct qb_graph){.path = "random", .nodes = net->nodes};
    append(net, QB_OP_INPUT, -1, (struct qb_shape){pick(net, 6, 12), pick(net, 6, 12), pick(net, 1, 4)});
    int at = conv(net, 0, false);
    for (int i = 0; i < 3; i++) {
        at = pick(net, 0, 2) == 0 ? relu(net, conv(net, at, false)) : block(net, at);
    }
    const struct qb_shape s = net->nodes[at].dst;
    if (s.h >= 2 && s.w >= 2) {
        struct qb_node *pool =
            append(net, QB_OP_AVGPOOL, at, (struct qb_shape){(s.h - 2) / 2 + 1, (s.w - 1) / 2 + 1, s.c});
        pool->kh = 2, pool->kw = 1, pool->stride_h = pool->stride_w = 2;
        at = net->graph.count - 1;
    }
    struct qb_node *dense = append(net, QB_OP_DENSE, at, (struct qb_shape){1, 1, pick(net, 1, 12)});
    dense->ic = (int)qb_shape_count(net->nodes[at].dst);
    dense->oc = dense->dst.c;
    fill(net, dense, (size_t)dense->ic);
    if (pick(net, 0, 1)) {
        append(net, QB_OP_SOFTMAX, net->graph.count - 1, dense->dst);
    }
}

struct kept {
    float *values[NODES];
    size_t counts[NODES];
};

static void keep(void *ctx, int node, const void *data, size_t count)
{
    struct kept *k = ctx;
    free(k->values[node]);
    k->values[node] = malloc(count * sizeof(float));
    assert_non_null(k->values[node]);
    memcpy(k->values[node], data, count * sizeof(float));
    k->counts[node] = count;
}

/* |a - b| <= 1e-4 of the largest magnitude: sums of some hundred products in another order. */
static void check_close(const float *got, const float *want, size_t count, uint32_t seed, int node)
{
    float largest = 1.0f;
    for (size_t i = 0; i < count; i++) {
        largest = fmaxf(largest, fabsf(want[i]));
    }
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(got[i] - want[i]) <= 1e-4f * largest)) {
            fail_msg("net %u, node %d, element %zu: %g, wanted %g", seed, node, i, (double)got[i],
                     (double)want[i]);
        }
    }
}

static void check(struct net *net, uint32_t seed, const char *impl)
{
    const struct qb_engine_options options = {
        .isa = QB_ISA_AMX, .threads = 1 + (int)(seed % 2), .batch = BATCH, .impl = impl};
    const struct qb_engine_options plain = {.isa = QB_ISA_REF, .threads = 1, .batch = BATCH};
    const struct qb_graph *graph = &net->graph;
    const size_t pixels = BATCH * qb_shape_count(net->nodes[0].dst);
    struct kept want = {0}, got = {0};
    struct qb_engine *engine = NULL, *reference = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create("onednn", graph, NULL, &options, &engine, &err), &err);
    qbt_ok(qb_engine_create("reference", graph, NULL, &plain, &reference, &err), &err);
    assert_int_equal(engine->classes, reference->classes);
    const size_t classes = (size_t)engine->classes;
    uint8_t *images = malloc(pixels);
    float *a = calloc(BATCH * classes, sizeof *a), *b = calloc(BATCH * classes, sizeof *b);
    assert_true(images && a && b);
    for (size_t i = 0; i < pixels; i++) {
        images[i] = (uint8_t)qb_rng_interval(&net->rng, 255);
    }
    reference->tap = keep;
    reference->tap_ctx = &want;
    qbt_ok(qb_engine_run(reference, images, IMAGES, b, &err), &err);
    qbt_ok(qb_engine_run(engine, images, BATCH, a, &err), &err);
    qbt_ok(qb_engine_run(engine, images, IMAGES, a, &err), &err); /* fused, twice: sums are in place */
    check_close(a, b, IMAGES * classes, seed, -1);
    engine->tap = keep;
    engine->tap_ctx = &got;
    memset(a, 0, IMAGES * classes * sizeof *a);
    qbt_ok(qb_engine_run(engine, images, IMAGES, a, &err), &err);
    check_close(a, b, IMAGES * classes, seed, -2);
    for (int i = 0; i < graph->count; i++) {
        if (net->nodes[i].op != QB_OP_SOFTMAX) {
            assert_int_equal(got.counts[i], want.counts[i]);
            check_close(got.values[i], want.values[i], want.counts[i], seed, i);
        }
        free(got.values[i]);
        free(want.values[i]);
    }
    engine->tap = NULL; /* back to the fused list */
    qbt_ok(qb_engine_run(engine, images, IMAGES, a, &err), &err);
    check_close(a, b, IMAGES * classes, seed, -3);
    qb_engine_free(engine);
    qb_engine_free(reference);
    free(images);
    free(a);
    free(b);
}

static void random_nets(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < NETS; seed++) {
        struct net net;
        random_net(&net, seed);
        check(&net, seed, NULL);
        qb_arena_destroy(net.arena);
    }
}

static void implementations(void **state)
{
    (void)state;
    static const char *const impls[] = {"default", "fastest", "jit", "ref"};
    for (uint32_t i = 0; i < sizeof impls / sizeof impls[0]; i++) {
        struct net net;
        random_net(&net, 3);
        check(&net, i, impls[i]);
        qb_arena_destroy(net.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_nets), cmocka_unit_test(implementations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
