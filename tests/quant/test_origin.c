/* Which float nodes the nodes of an integer graph come from: fused, unfused, merged additions, strangers. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "qdq_testing.h"
#include "quant/origin.h"
#include "quant_testing.h"

static const char *name_of(const struct qb_graph *graph, int node)
{
    return node < 0 ? "none" : graph->nodes[node].name;
}

/* `want`: three words a node: its name, tensor, weights. */
static void check_prepared(enum qb_prepare prepare, unsigned fuse, enum qb_arithmetic arithmetic,
                           const char *const want[][3], size_t count)
{
    struct qb_graph *const graph = qbt_resnet8();
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.fuse = fuse;
    scheme.arithmetic = arithmetic;
    scheme.prepare = prepare;
    struct qb_qgraph *const q = qbt_quantized(graph, &scheme);
    struct qb_origin *const origin = calloc((size_t)q->count, sizeof *origin);
    assert_non_null(origin);
    qb_qgraph_origin(q, graph, origin);
    for (size_t i = 0; i < count; i++) {
        const int node = qb_qgraph_find(q, want[i][0]);
        assert_true(node >= 0);
        assert_string_equal(name_of(graph, origin[node].tensor), want[i][1]);
        assert_string_equal(name_of(graph, origin[node].weights), want[i][2]);
    }
    for (int i = 0; i < q->count; i++) {
        assert_true(origin[i].tensor >= 0); /* this graph has one for each */
    }
    free(origin);
    qb_qgraph_free(q);
    qb_arena_destroy(graph->arena);
}

static void check(unsigned fuse, enum qb_arithmetic arithmetic, const char *const want[][3], size_t count)
{
    check_prepared(QB_PREPARE_EAGER, fuse, arithmetic, want, count);
}

static void quantized_again(void **state)
{
    (void)state;
    static const char *const want[][3] = {{"conv_3_pad", "relu_2", "none"},
                                          {"conv_6_pad", "relu_4", "none"},
                                          {"dense_flatten", "avgpool", "none"},
                                          {"conv_3", "relu_3", "conv_3"}};
    check_prepared(QB_PREPARE_FX, QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU, QB_ARITHMETIC_FBGEMM, want, 4);
}

static void fused(void **state)
{
    (void)state;
    static const char *const want[][3] = {{"input", "input", "none"},     {"conv", "relu", "conv"},
                                          {"conv_2", "conv_2", "conv_2"}, {"add", "relu_2", "none"},
                                          {"conv_5", "conv_5", "conv_5"}, {"avgpool", "avgpool", "none"},
                                          {"dense", "dense", "dense"}};
    check(QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU, QB_ARITHMETIC_FBGEMM, want, 7);
}

static void unfused(void **state)
{
    (void)state;
    static const char *const want[][3] = {
        {"conv", "conv", "conv"}, {"relu", "relu", "none"}, {"add", "add", "none"}};
    check(0, QB_ARITHMETIC_FBGEMM, want, 3);
}

/* The addition has the weights of the convolution merged into it, not those of the other branch. */
static void merged(void **state)
{
    (void)state;
    static const char *const want[][3] = {{"add", "relu_2", "conv_2"},
                                          {"add_1", "relu_4", "conv_4"},
                                          {"conv_5", "conv_5", "conv_5"},
                                          {"add_2", "relu_6", "conv_7"}};
    check(QB_FUSE_CONV_RELU | QB_FUSE_ADD_RELU | QB_FUSE_CONV_ADD, QB_ARITHMETIC_ONEDNN, want, 4);
}

static void strangers(void **state)
{
    (void)state;
    struct qb_graph *const graph = qbt_resnet8();
    const struct qb_scheme scheme = qbt_fbgemm();
    struct qb_qgraph *const q = qbt_quantized(graph, &scheme);
    struct qb_origin *const origin = calloc((size_t)q->count, sizeof *origin);
    assert_non_null(origin);
    const int conv_1 = qb_qgraph_find(q, "conv_1"), conv_3 = qb_qgraph_find(q, "conv_3"),
              dense = qb_qgraph_find(q, "dense");
    q->nodes[conv_1].name = "elsewhere";
    q->nodes[conv_3].dst.c++; /* another shape */
    q->nodes[dense].ic++;     /* other weights */
    qb_qgraph_origin(q, graph, origin);
    assert_int_equal(origin[conv_1].tensor, -1);
    assert_int_equal(origin[conv_1].weights, -1);
    assert_int_equal(origin[conv_3].tensor, -1);
    assert_int_equal(origin[dense].weights, -1);
    assert_string_equal(name_of(graph, origin[dense].tensor), "dense");
    free(origin);
    qb_qgraph_free(q);
    qb_arena_destroy(graph->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fused), cmocka_unit_test(unfused),
                                       cmocka_unit_test(merged), cmocka_unit_test(quantized_again),
                                       cmocka_unit_test(strangers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
