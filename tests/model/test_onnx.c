/* ONNX import: every way of writing the small network gives the same canonical graph and the same logits; QDQ
 * models keep their codes; what is not supported is one sentence. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "eval.h"
#include "model/onnx.h"
#include "model/passes.h"
#include "small_net.h"

static enum qb_status load(struct qb_blob file, struct qb_graph **graph, struct qb_error *err)
{
    enum qb_status status = qb_onnx_import("test.onnx", &file, graph, err);
    qb_blob_free(&file);
    if (status == QB_OK) {
        status = qb_graph_canonicalize(*graph, err);
        if (status != QB_OK) {
            qb_graph_free(*graph);
            *graph = NULL;
        }
    }
    return status;
}

static const char *const names[] = {"input", "conv",       "relu",    "conv_1", "relu_1", "conv_2",
                                    "add",   "relu_add",   "conv_3",  "relu_3", "conv_4", "conv_5",
                                    "add_1", "relu_add_1", "avgpool", "dense",  "softmax"};

static void check_structure(const struct qb_graph *graph, const struct net_options *o)
{
    assert_int_equal(graph->count, o->softmax ? 17 : 16);
    for (int i = 0; i < graph->count; i++) {
        assert_string_equal(graph->nodes[i].name, names[i]);
    }
    const struct qb_node *const conv = &graph->nodes[8];
    assert_int_equal(conv->pad_t, 0);
    assert_int_equal(conv->pad_l, 0);
    assert_int_equal(conv->pad_b, 1);
    assert_int_equal(conv->pad_r, 1);
    assert_int_equal(conv->stride_h, 2);
    assert_int_equal(conv->dst.h, 4);
    assert_int_equal(conv->dst.c, 6);
    const struct qb_node *const add = &graph->nodes[12];
    assert_string_equal(graph->nodes[add->src[0]].name, "conv_4");
    assert_string_equal(graph->nodes[add->src[1]].name, "conv_5");
    assert_string_equal(graph->nodes[graph->nodes[6].src[0]].name, "conv_2");
    assert_string_equal(graph->nodes[graph->nodes[6].src[1]].name, "relu");
    assert_int_equal(qb_graph_logits(graph), 15);
    assert_false(graph->quantized);
}

static void describe(const struct net_options *o)
{
    print_message("variant: nhwc %d input %d bn %d pad %d pool %d flat %d head %d relu %d softmax %d swapped "
                  "%d first %d pass %d "
                  "fixed %d typed %d constants %d inputs %d unnamed %d wide %d flat_nhwc %d\n",
                  o->nhwc, (int)o->input, (int)o->bn, (int)o->pad, (int)o->pool, (int)o->flat, (int)o->head,
                  (int)o->relu, o->softmax, o->swapped_adds, o->shortcut_first, o->pass_through,
                  o->fixed_batch, o->typed_data, o->constant_nodes, o->inputs_too, o->unnamed, o->wide,
                  o->flat_nhwc);
}

/* The logits of the plainest way of writing. */
static float *expected_logits(bool wide)
{
    const struct net_options plain = {.wide = wide};
    struct qb_graph *graph = NULL;
    struct qb_error err;
    float image[NET_PIXELS];
    net_image(image);
    qbt_ok(load(net_bytes(&plain), &graph, &err), &err);
    float *const logits = eval_logits(graph, image);
    float spread = 0.0f;
    for (int i = 1; i < NET_CLASSES; i++) {
        spread = fmaxf(spread, fabsf(logits[i] - logits[0]));
    }
    assert_true(spread > 0.1f); /* the image matters */
    qb_graph_free(graph);
    return logits;
}

static void check_variant(const struct net_options *o, const float *want)
{
    struct qb_graph *graph = NULL;
    struct qb_error err;
    float image[NET_PIXELS];
    net_image(image);
    const enum qb_status status = load(net_bytes(o), &graph, &err);
    if (status != QB_OK) {
        describe(o);
    }
    qbt_ok(status, &err);
    check_structure(graph, o);
    float *const got = eval_logits(graph, image);
    for (int i = 0; i < NET_CLASSES; i++) {
        if (!(fabsf(got[i] - want[i]) < 2e-5f)) {
            describe(o);
            fail_msg("logit %d is %.7g, expected %.7g", i, (double)got[i], (double)want[i]);
        }
    }
    free(got);
    qb_graph_free(graph);
}

/* One option at a time. */
static void test_each_option(void **state)
{
    (void)state;
    float *const want = expected_logits(false);
#define EACH(field, last)                                                                                    \
    for (int i = 0; i < (last); i++) {                                                                       \
        check_variant(&(struct net_options){.field = (enum net_##field)i}, want);                            \
    }
    EACH(input, INPUT_COUNT)
    EACH(bn, BN_COUNT)
    EACH(pad, PAD_COUNT)
    EACH(pool, POOL_COUNT)
    EACH(flat, FLAT_COUNT)
    EACH(head, HEAD_COUNT)
    EACH(relu, RELU_COUNT)
#undef EACH
    const struct net_options switches[] = {
        {.nhwc = true},
        {.softmax = true},
        {.swapped_adds = true},
        {.shortcut_first = true},
        {.pass_through = true},
        {.fixed_batch = true},
        {.typed_data = true},
        {.constant_nodes = true},
        {.inputs_too = true},
        {.unnamed = true},
        {.nhwc = true, .input = INPUT_MUL_CHANNELS},
    };
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        check_variant(&switches[i], want);
    }
    free(want);
}

static int pick(struct qb_rng *rng, int count)
{
    return (int)qb_rng_interval(rng, (uint32_t)count - 1);
}

/* Combinations, also of a network whose Flatten has more than one pixel. */
static void test_combinations(void **state)
{
    (void)state;
    float *const narrow = expected_logits(false), *const wide = expected_logits(true);
    struct qb_rng rng;
    qb_rng_seed(&rng, 11);
    for (int i = 0; i < 400; i++) {
        struct net_options o = {
            .nhwc = pick(&rng, 2),
            .input = (enum net_input)pick(&rng, INPUT_COUNT),
            .bn = (enum net_bn)pick(&rng, BN_COUNT),
            .pad = (enum net_pad)pick(&rng, PAD_COUNT),
            .pool = (enum net_pool)pick(&rng, POOL_COUNT),
            .flat = (enum net_flat)pick(&rng, FLAT_COUNT),
            .head = (enum net_head)pick(&rng, HEAD_COUNT),
            .relu = (enum net_relu)pick(&rng, RELU_COUNT),
            .softmax = pick(&rng, 2),
            .swapped_adds = pick(&rng, 2),
            .shortcut_first = pick(&rng, 2),
            .pass_through = pick(&rng, 2),
            .fixed_batch = pick(&rng, 2),
            .typed_data = pick(&rng, 2),
            .constant_nodes = pick(&rng, 2),
            .inputs_too = pick(&rng, 2),
            .unnamed = pick(&rng, 2),
            .wide = pick(&rng, 2),
        };
        o.flat_nhwc = o.wide && pick(&rng, 2);
        check_variant(&o, o.wide ? wide : narrow);
    }
    free(narrow);
    free(wide);
}

/* (image - mean) / deviation: exact only in front of a convolution that does not pad. */
static void test_input_shift(void **state)
{
    (void)state;
    for (int padded = 0; padded < 2; padded++) {
        struct onnx_writer w;
        struct qb_graph *graph = NULL;
        struct qb_error err;
        const float mean[3] = {125.0f, 120.0f, 110.0f}, deviation[3] = {60.0f, 62.0f, 66.0f};
        float weights[27], image[NET_PIXELS], normal[NET_PIXELS];
        net_image(image);
        for (int i = 0; i < 27; i++) {
            weights[i] = (float)(i % 7) - 3.0f;
        }
        for (int i = 0; i < NET_PIXELS; i++) {
            normal[i] = (image[i] - mean[i % 3]) / deviation[i % 3];
        }
        ow_init(&w, 13);
        ow_input(&w, "x", 4, (const int64_t[]){0, 3, 8, 8});
        ow_floats(&w, "mean", 4, (const int64_t[]){1, 3, 1, 1}, mean);
        ow_floats(&w, "deviation", 4, (const int64_t[]){1, 3, 1, 1}, deviation);
        ow_floats(&w, "w", 4, (const int64_t[]){1, 3, 3, 3}, weights);
        ow_node(&w, "Sub", "centred", (const char *[6]){"x", "mean"});
        ow_node(&w, "Div", "normal", (const char *[6]){"centred", "deviation"});
        ow_list(&w, ow_node(&w, "Conv", "c", (const char *[6]){"normal", "w"}), "pads", 4,
                (const int64_t[]){padded, padded, padded, padded});
        ow_node(&w, "GlobalAveragePool", "p", (const char *[6]){"c"});
        ow_output(&w, "p");
        const enum qb_status status = load(ow_pack(&w), &graph, &err);
        ow_free(&w);
        if (padded) {
            qbt_error(status, QB_EUNSUPPORTED, &err,
                      "node 'node_normal' (Div): it shifts the source of 'node_c'");
            continue;
        }
        qbt_ok(status, &err);
        assert_int_equal(graph->count, 3);
        float *const got = eval_logits(graph, image);
        double want = 0.0;
        for (int y = 0; y < 6; y++) {
            for (int x = 0; x < 6; x++) {
                for (int k = 0; k < 27; k++) {
                    const int c = k / 9, dy = k % 9 / 3, dx = k % 3;
                    want += (double)weights[k] * (double)normal[((y + dy) * 8 + x + dx) * 3 + c] / 36.0;
                }
            }
        }
        assert_float_equal(got[0], (float)want, 1e-4f);
        free(got);
        qb_graph_free(graph);
    }
}

/* SAME_LOWER puts the odd row and column at the start. */
static void test_same_lower(void **state)
{
    (void)state;
    struct onnx_writer w;
    struct qb_graph *graph = NULL;
    struct qb_error err;
    net_write(&w, &(struct net_options){.pad = PAD_SAME_UPPER});
    ow_string(&w, ow_find(&w, "Conv", 3), "auto_pad", "SAME_LOWER");
    qbt_ok(load(ow_pack(&w), &graph, &err), &err);
    ow_free(&w);
    const struct qb_node *const conv = &graph->nodes[qb_graph_find(graph, "conv_3")];
    assert_int_equal(conv->pad_t, 1);
    assert_int_equal(conv->pad_l, 1);
    assert_int_equal(conv->pad_b, 0);
    assert_int_equal(conv->pad_r, 0);
    assert_int_equal(conv->dst.h, 4);
    qb_graph_free(graph);
}

static void test_metadata(void **state)
{
    (void)state;
    struct onnx_writer w;
    struct qb_graph *graph = NULL;
    struct qb_error err;
    net_write(&w, &(struct net_options){0});
    ow_metadata(&w, "qbench.scheme", "fbgemm");
    ow_metadata(&w, "other", "");
    struct qb_blob file = ow_pack(&w);
    char want[QB_SHA256_HEX];
    const size_t size = file.size;
    qb_sha256(file.data, file.size, want);
    qbt_ok(load(file, &graph, &err), &err);
    ow_free(&w);
    assert_string_equal(qb_graph_metadata(graph, "qbench.scheme"), "fbgemm");
    assert_string_equal(qb_graph_metadata(graph, "other"), "");
    assert_null(qb_graph_metadata(graph, "absent"));
    assert_string_equal(graph->sha256, want);
    assert_int_equal(graph->file_size, size);
    assert_string_equal(graph->path, "test.onnx");
    assert_int_equal(qb_graph_find(graph, "absent"), -1);
    qb_graph_free(graph);
}

/* Nodes that the output does not need, before and behind it, are dropped and do not count as readers. */
static void test_dead_nodes(void **state)
{
    (void)state;
    struct onnx_writer w;
    struct qb_graph *graph = NULL;
    struct qb_error err;
    net_write(&w, &(struct net_options){.bn = BN_NODE});
    ow_node(&w, "Relu", "unused", (const char *[6]){ow_find(&w, "Conv", 0)->output[0]});
    ow_node(&w, "Softmax", "unused_too", (const char *[6]){w.graph.output[0]->name});
    qbt_ok(load(ow_pack(&w), &graph, &err), &err);
    ow_free(&w);
    check_structure(graph, &(struct net_options){0});
    qb_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_option), cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_input_shift), cmocka_unit_test(test_same_lower),
        cmocka_unit_test(test_metadata),    cmocka_unit_test(test_dead_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
