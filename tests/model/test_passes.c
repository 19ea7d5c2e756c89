/* Every pass alone, on graphs made by hand. Where a pass must keep the function, the float evaluator says so.
 */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "eval.h"
#include "model/graph_build.h"
#include "model/passes.h"

static struct qb_graph *new_graph(int h, int w, int c)
{
    struct qb_graph *graph = NULL;
    struct qb_error err;
    uint8_t byte = 0;
    const struct qb_blob file = {&byte, 1};
    qbt_ok(qb_graph_create("hand.made", &file, &graph, &err), &err);
    const struct qb_node input = {.op = QB_OP_INPUT, .source_name = "image", .dst = {h, w, c}};
    qbt_ok(qb_graph_add(graph, &input, NULL, &err), &err);
    return graph;
}

/* Appends a node that reads the last one, unless it says otherwise; returns its index. */
static int add(struct qb_graph *graph, struct qb_node node)
{
    struct qb_error err;
    int index = 0;
    if (node.src[0] == 0 && node.op != QB_OP_ADD) {
        node.src[0] = graph->count - 1;
    }
    node.source_name = node.source_name ? node.source_name : qb_op_name(node.op);
    qbt_ok(qb_graph_add(graph, &node, &index, &err), &err);
    return index;
}

static float *numbers(struct qb_graph *graph, size_t count, uint32_t seed)
{
    struct qb_rng rng;
    float *const values = qb_arena_array(graph->arena, count, sizeof *values);
    assert_non_null(values);
    qb_rng_seed(&rng, seed);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(2.0 * qb_rng_double(&rng) - 1.0);
    }
    return values;
}

static struct qb_node conv_node(struct qb_graph *graph, int ic, int oc, int k, int pad)
{
    return (struct qb_node){.op = QB_OP_CONV,
                            .kh = k,
                            .kw = k,
                            .stride_h = 1,
                            .stride_w = 1,
                            .pad_t = pad,
                            .pad_l = pad,
                            .pad_b = pad,
                            .pad_r = pad,
                            .ic = ic,
                            .oc = oc,
                            .wei = numbers(graph, (size_t)(ic * oc * k * k), 5),
                            .bia = numbers(graph, (size_t)oc, 6)};
}

static struct qb_node dense_node(struct qb_graph *graph, int ic, int oc)
{
    return (struct qb_node){
        .op = QB_OP_DENSE, .ic = ic, .oc = oc, .wei = numbers(graph, (size_t)(ic * oc), 7)};
}

static float *run(const struct qb_graph *graph, int node)
{
    const struct qb_shape s = graph->nodes[0].dst;
    struct qb_rng rng;
    float *const image = malloc(qb_shape_count(s) * sizeof *image);
    assert_non_null(image);
    qb_rng_seed(&rng, 1);
    for (size_t i = 0; i < qb_shape_count(s); i++) {
        image[i] = (float)(4.0 * qb_rng_double(&rng) - 1.0);
    }
    float *const out = eval_node(graph, node, image);
    free(image);
    return out;
}

typedef enum qb_status pass_fn(struct qb_graph *graph, struct qb_error *err);

/* Runs the pass; the output keeps its values. */
static void check_same(struct qb_graph *graph, pass_fn *pass)
{
    struct qb_error err;
    qbt_ok(qb_pass_shapes(graph, &err), &err);
    float *const want = run(graph, graph->count - 1);
    const size_t count = qb_shape_count(graph->nodes[graph->count - 1].dst);
    qbt_ok(pass(graph, &err), &err);
    qbt_ok(qb_pass_shapes(graph, &err), &err);
    assert_int_equal(qb_shape_count(graph->nodes[graph->count - 1].dst), count);
    float *const got = run(graph, graph->count - 1);
    for (size_t i = 0; i < count; i++) {
        assert_float_equal(got[i], want[i], 1e-5f * (1.0f + fabsf(want[i])));
    }
    free(want);
    free(got);
}

static int count_op(const struct qb_graph *graph, enum qb_op op)
{
    int count = 0;
    for (int i = 0; i < graph->count; i++) {
        count += graph->nodes[i].op == op;
    }
    return count;
}

/* Numbers from TensorFlow's rule, worked out by hand. */
static void test_same_padding(void **state)
{
    static const struct {
        int in, kernel, stride;
        enum qb_pad_mode mode;
        int begin, end, out;
    } cases[] = {
        {32, 3, 1, QB_PAD_SAME_UPPER, 1, 1, 32}, {32, 3, 2, QB_PAD_SAME_UPPER, 0, 1, 16},
        {32, 3, 2, QB_PAD_SAME_LOWER, 1, 0, 16}, {33, 3, 2, QB_PAD_SAME_UPPER, 1, 1, 17},
        {32, 1, 2, QB_PAD_SAME_UPPER, 0, 0, 16}, {5, 4, 1, QB_PAD_SAME_UPPER, 1, 2, 5},
        {5, 4, 1, QB_PAD_SAME_LOWER, 2, 1, 5},   {8, 3, 2, QB_PAD_EXPLICIT, 0, 0, 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qb_graph *const graph = new_graph(cases[i].in, cases[i].in, 1);
        struct qb_error err;
        struct qb_node conv = conv_node(graph, 1, 1, cases[i].kernel, 0);
        conv.stride_h = conv.stride_w = cases[i].stride;
        conv.pad_mode = cases[i].mode;
        add(graph, conv);
        qbt_ok(qb_pass_shapes(graph, &err), &err);
        const struct qb_node *const n = &graph->nodes[1];
        assert_int_equal(n->pad_t, cases[i].begin);
        assert_int_equal(n->pad_l, cases[i].begin);
        assert_int_equal(n->pad_b, cases[i].end);
        assert_int_equal(n->pad_r, cases[i].end);
        assert_int_equal(n->dst.h, cases[i].out);
        assert_int_equal(n->pad_mode, QB_PAD_EXPLICIT);
        qb_graph_free(graph);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    struct qb_graph *graph = new_graph(6, 8, 3);
    struct qb_error err;
    struct qb_node conv = conv_node(graph, 3, 5, 3, 1);
    conv.stride_w = 2;
    add(graph, conv);
    add(graph, (struct qb_node){.op = QB_OP_AVGPOOL});
    add(graph, (struct qb_node){.op = QB_OP_FLATTEN, .oc = 5});
    add(graph, dense_node(graph, 5, 2));
    qbt_ok(qb_pass_shapes(graph, &err), &err);
    assert_int_equal(graph->nodes[1].dst.h, 6);
    assert_int_equal(graph->nodes[1].dst.w, 4);
    assert_int_equal(graph->nodes[1].dst.c, 5);
    assert_int_equal(graph->nodes[2].kh, 6);
    assert_int_equal(graph->nodes[2].kw, 4);
    assert_int_equal(graph->nodes[4].dst.c, 2);
    assert_int_equal(qb_node_macs(graph, 1), 6 * 4 * 5 * 3 * 9);
    assert_int_equal(qb_node_params(&graph->nodes[1]), 5 * 3 * 9 + 5);
    assert_int_equal(qb_node_macs(graph, 2), 0);
    assert_int_equal(qb_node_params(&graph->nodes[2]), 0);
    assert_int_equal(qb_node_macs(graph, 4), 10);
    assert_int_equal(qb_node_params(&graph->nodes[4]), 12);
    graph->nodes[1].ic = 4;
    qbt_error(qb_pass_shapes(graph, &err), QB_EINPUT, &err,
              "node 'conv' (conv): weights are for 4 input channels");
    qb_graph_free(graph);
}

#define TRANSPOSE(a, b, c, d) ((struct qb_node){.op = QB_OP_TRANSPOSE, .perm = {a, b, c, d}})

/* N,C,H,W and back again within one graph; per-feature constants and dense weights behind a Flatten of
 * N,C,H,W. */
static void test_layout(void **state)
{
    (void)state;
    struct qb_graph *const graph = new_graph(2, 3, 4);
    struct qb_error err;
    enum { FEATURES = 2 * 3 * 5 };
    add(graph, TRANSPOSE(0, 3, 1, 2));
    add(graph, conv_node(graph, 4, 5, 1, 0));
    add(graph, TRANSPOSE(0, 2, 3, 1));
    add(graph, (struct qb_node){.op = QB_OP_RELU});
    add(graph, TRANSPOSE(0, 3, 1, 2));
    const float *const scale = numbers(graph, 5, 9), *const shift = numbers(graph, FEATURES, 10);
    struct qb_batchnorm bn = {.mean = shift, .var = shift};
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 5, .wei = scale});
    add(graph, (struct qb_node){.op = QB_OP_FLATTEN});
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = FEATURES, .bia = shift});
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = FEATURES, .bn = &bn});
    struct qb_node dense = dense_node(graph, FEATURES, 3);
    int8_t codes[FEATURES * 3];
    for (int i = 0; i < FEATURES * 3; i++) {
        codes[i] = (int8_t)i;
    }
    const struct qb_weight_codes weight_codes = {.codes = codes, .is_signed = true};
    dense.codes = &weight_codes;
    add(graph, dense);
    qbt_ok(qb_pass_layout(graph, &err), &err);
    assert_int_equal(count_op(graph, QB_OP_TRANSPOSE), 0);
    assert_int_equal(graph->count, 8);
    assert_ptr_equal(graph->nodes[3].wei, scale);
    for (int h = 0, ours = 0; h < 2; h++) {
        for (int w = 0; w < 3; w++) {
            for (int c = 0; c < 5; c++, ours++) {
                const int theirs = (c * 2 + h) * 3 + w;
                assert_float_equal(graph->nodes[5].bia[ours], shift[theirs], 0);
                assert_float_equal(graph->nodes[6].bn->mean[ours], shift[theirs], 0);
                for (int o = 0; o < 3; o++) {
                    const struct qb_node *const n = &graph->nodes[7];
                    assert_float_equal(n->wei[o * FEATURES + ours], dense.wei[o * FEATURES + theirs], 0);
                    assert_int_equal(((const int8_t *)n->codes->codes)[o * FEATURES + ours],
                                     codes[o * FEATURES + theirs]);
                }
            }
        }
    }
    qb_graph_free(graph);
}

static void test_layout_refused(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *graph = new_graph(2, 2, 2);
    add(graph, TRANSPOSE(0, 3, 1, 2));
    add(graph, conv_node(graph, 2, 2, 1, 0));
    add(graph, TRANSPOSE(0, 2, 3, 1));
    add(graph, conv_node(graph, 2, 2, 1, 0));
    qbt_error(qb_pass_layout(graph, &err), QB_EUNSUPPORTED, &err,
              "the axes of its source are N,H,W,C of the image; N,C,H,W is expected");
    qb_graph_free(graph);

    graph = new_graph(2, 2, 2);
    add(graph, TRANSPOSE(0, 3, 1, 2));
    add(graph, (struct qb_node){.op = QB_OP_FLATTEN});
    qbt_error(qb_pass_layout(graph, &err), QB_EUNSUPPORTED, &err,
              "the output lists an image in another order");
    qb_graph_free(graph);

    graph = new_graph(2, 2, 2);
    add(graph, TRANSPOSE(0, 3, 1, 2));
    add(graph, (struct qb_node){.op = QB_OP_ADD, .src = {0, 1}});
    qbt_error(qb_pass_layout(graph, &err), QB_EUNSUPPORTED, &err, "different orders of axes");
    qb_graph_free(graph);

    graph = new_graph(2, 2, 2);
    add(graph, TRANSPOSE(3, 0, 1, 2));
    add(graph, (struct qb_node){.op = QB_OP_FLATTEN});
    qbt_error(qb_pass_layout(graph, &err), QB_EUNSUPPORTED, &err, "the batch is not the first axis");
    qb_graph_free(graph);

    graph = new_graph(2, 2, 2);
    add(graph, TRANSPOSE(0, 1, 1, 2));
    qbt_error(qb_pass_layout(graph, &err), QB_EINPUT, &err, "perm 0,1,1,2");
    qb_graph_free(graph);
}

static void test_fold_pad(void **state)
{
    (void)state;
    struct qb_graph *graph = new_graph(4, 5, 2);
    struct qb_error err;
    const struct qb_qdq q = {.scale = 0.5f, .zero_point = 7};
    add(graph, (struct qb_node){.op = QB_OP_PAD, .pad_t = 1, .pad_r = 2});
    add(graph, (struct qb_node){.op = QB_OP_RELU});
    add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_PAD, .pad_l = 1});
    add(graph, (struct qb_node){.op = QB_OP_ADD, .src = {5, 5}});
    add(graph, conv_node(graph, 2, 3, 3, 1));
    check_same(graph, qb_pass_fold_pad);
    assert_int_equal(count_op(graph, QB_OP_PAD), 0);
    const struct qb_node *const conv = &graph->nodes[graph->count - 1];
    assert_int_equal(conv->pad_t, 2);
    assert_int_equal(conv->pad_l, 2);
    assert_int_equal(conv->pad_b, 1);
    assert_int_equal(conv->pad_r, 3);
    qb_graph_free(graph);

    graph = new_graph(4, 4, 2);
    add(graph, (struct qb_node){.op = QB_OP_PAD, .pad_t = 1, .source_name = "zeros"});
    qbt_error(qb_pass_fold_pad(graph, &err), QB_EUNSUPPORTED, &err,
              "node 'zeros' (pad): its padding reaches the output");
    add(graph, (struct qb_node){.op = QB_OP_AVGPOOL});
    qbt_error(qb_pass_fold_pad(graph, &err), QB_EUNSUPPORTED, &err,
              "node 'zeros' (pad): its padding is read by 'avgpool'");
    qb_graph_free(graph);

    graph = new_graph(4, 4, 2);
    add(graph, (struct qb_node){.op = QB_OP_PAD, .pad_t = 1});
    add(graph, (struct qb_node){.op = QB_OP_ADD, .src = {0, 1}});
    qbt_error(qb_pass_fold_pad(graph, &err), QB_EUNSUPPORTED, &err,
              "node 'add' (add): one of its sources is padded");
    qb_graph_free(graph);
}

static void test_flatten(void **state)
{
    (void)state;
    struct qb_graph *const graph = new_graph(2, 2, 3);
    add(graph, (struct qb_node){.op = QB_OP_FLATTEN});
    add(graph, dense_node(graph, 12, 4));
    add(graph, (struct qb_node){.op = QB_OP_FLATTEN});
    check_same(graph, qb_pass_flatten);
    assert_int_equal(graph->count, 2);
    assert_int_equal(graph->nodes[1].src[0], 0);
    qb_graph_free(graph);
}

/* Behind: a chain of constants and batch normalization; two convolutions share an initializer and only one is
 * scaled. */
static void test_fold_affine_behind(void **state)
{
    (void)state;
    struct qb_graph *const graph = new_graph(4, 4, 3);
    struct qb_batchnorm bn = {.gamma = numbers(graph, 3, 20),
                              .beta = numbers(graph, 3, 21),
                              .mean = numbers(graph, 3, 22),
                              .eps = 0.25f};
    float var[3] = {0.5f, 1.0f, 2.0f};
    bn.var = var;
    const struct qb_node conv = conv_node(graph, 3, 3, 3, 1);
    const int first = add(graph, conv);
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 3, .wei = numbers(graph, 3, 23)});
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 1, .bia = numbers(graph, 1, 24)});
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 3, .bn = &bn});
    const int second = add(graph, conv);
    add(graph, (struct qb_node){.op = QB_OP_ADD, .src = {first + 3, second}});
    struct qb_node dense = dense_node(graph, 48, 4);
    add(graph, dense);
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 4, .bia = numbers(graph, 4, 25)});
    const float *const bias = graph->nodes[graph->count - 1].bia;
    check_same(graph, qb_pass_fold_affine);
    assert_int_equal(graph->count, 5);
    assert_ptr_not_equal(graph->nodes[1].wei, conv.wei);
    assert_ptr_equal(graph->nodes[2].wei, conv.wei);
    assert_ptr_equal(graph->nodes[4].wei, dense.wei); /* a shift leaves weights alone */
    assert_memory_equal(graph->nodes[4].bia, bias, 4 * sizeof *bias);
    qb_graph_free(graph);
}

/* PyTorch's order of operations, in single precision: fuse_conv_bn_weights. */
static void test_batch_norm_order(void **state)
{
    (void)state;
    struct qb_graph *const graph = new_graph(1, 1, 1);
    struct qb_error err;
    volatile float gamma = 1.1f, beta = 0.3f, mean = 0.7f, var = 0.9f, wei = 1.3f, bia = 0.1f, eps = 1e-3f;
    const float p[] = {gamma, beta, mean, var, wei, bia};
    struct qb_batchnorm bn = {.gamma = p, .beta = p + 1, .mean = p + 2, .var = p + 3, .eps = eps};
    struct qb_node conv = conv_node(graph, 1, 1, 1, 0);
    conv.wei = p + 4;
    conv.bia = p + 5;
    add(graph, conv);
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 1, .bn = &bn});
    qbt_ok(qb_pass_fold_affine(graph, &err), &err);
    volatile float sum = var + eps;
    volatile float root = sqrtf(sum);
    volatile float r = 1.0f / root;
    volatile float factor = gamma * r;
    volatile float centred = bia - mean;
    volatile float a = centred * r;
    volatile float b = a * gamma;
    assert_float_equal(graph->nodes[1].wei[0], wei * factor, 0);
    assert_float_equal(graph->nodes[1].bia[0], b + beta, 0);
    qb_graph_free(graph);
}

/* In front: normalization of the image, two nodes of it, read by two convolutions without padding and a dense
 * layer. */
static void test_fold_affine_in_front(void **state)
{
    (void)state;
    struct qb_graph *const graph = new_graph(3, 3, 2);
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 2, .bia = numbers(graph, 2, 30)});
    const int scaled =
        add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 1, .wei = numbers(graph, 1, 31)});
    const int a = add(graph, conv_node(graph, 2, 4, 3, 0));
    struct qb_node dense = dense_node(graph, 18, 4);
    dense.src[0] = scaled;
    const int b = add(graph, dense);
    add(graph, (struct qb_node){.op = QB_OP_ADD, .src = {a, b}});
    check_same(graph, qb_pass_fold_affine);
    assert_int_equal(graph->count, 4);
    qb_graph_free(graph);
}

static void test_fold_affine_scale_with_padding(void **state)
{
    (void)state;
    struct qb_graph *const graph = new_graph(3, 3, 2);
    struct qb_error err;
    float *const shift = numbers(graph, 2, 33);
    shift[0] = shift[1] = 0.0f;
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 2, .wei = numbers(graph, 2, 32), .bia = shift});
    add(graph, conv_node(graph, 2, 4, 3, 1));
    check_same(graph, qb_pass_fold_affine);
    assert_int_equal(graph->count, 2);
    qb_graph_free(graph);

    struct qb_graph *const shifted = new_graph(3, 3, 2);
    add(shifted, (struct qb_node){.op = QB_OP_AFFINE, .oc = 2, .bia = numbers(shifted, 2, 32)});
    add(shifted, conv_node(shifted, 2, 4, 3, 1));
    qbt_error(qb_pass_fold_affine(shifted, &err), QB_EUNSUPPORTED, &err,
              "node 'affine' (affine): it shifts the source of 'conv', which pads with zeros");
    qb_graph_free(shifted);
}

/* Of quantized models what finds no place stays a node. */
static void test_fold_affine_quantized(void **state)
{
    (void)state;
    struct qb_graph *graph = new_graph(3, 3, 2);
    const int8_t codes[8] = {0};
    const struct qb_weight_codes weight_codes = {.codes = codes, .is_signed = true, .scale_count = 1};
    struct qb_node conv = conv_node(graph, 2, 4, 1, 0);
    conv.codes = &weight_codes;
    add(graph, conv);
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 4, .wei = numbers(graph, 4, 40)});
    check_same(graph, qb_pass_fold_affine);
    assert_int_equal(graph->count, 3);
    assert_non_null(graph->nodes[2].bia);
    graph->nodes[2].wei = NULL;
    graph->nodes[2].bia = numbers(graph, 4, 41);
    check_same(graph, qb_pass_fold_affine); /* a shift is a bias */
    assert_int_equal(graph->count, 2);
    assert_ptr_equal(graph->nodes[1].codes, &weight_codes);
    qb_graph_free(graph);

    /* Between conversions, two in one; and in front of float weights, where there is a place for them. */
    graph = new_graph(3, 3, 4);
    const struct qb_qdq q = {.scale = 0.5f, .zero_point = 3};
    const float mean[4] = {1.0f, 2.0f, 3.0f, 4.0f}, deviation[4] = {4.0f, 9.0f, 16.0f, 25.0f};
    const struct qb_batchnorm norm = {.mean = mean, .var = deviation, .eps = 1e-3f};
    add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 1, .wei = numbers(graph, 1, 43)});
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 4, .bn = &norm});
    add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 4, .wei = numbers(graph, 4, 44)});
    add(graph, conv_node(graph, 4, 4, 3, 1));
    check_same(graph, qb_pass_fold_affine);
    assert_int_equal(graph->count, 7);
    assert_int_equal(graph->nodes[3].op, QB_OP_AFFINE);
    assert_int_equal(graph->nodes[3].oc, 4);
    assert_null(graph->nodes[3].bn);
    assert_int_equal(graph->nodes[6].op, QB_OP_CONV);
    qb_graph_free(graph);

    graph = new_graph(3, 3, 4); /* a shift does not move past a padding */
    add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 4, .bia = numbers(graph, 4, 45)});
    add(graph, conv_node(graph, 4, 4, 3, 1));
    check_same(graph, qb_pass_fold_affine);
    assert_int_equal(graph->count, 5);
    qb_graph_free(graph);
}

static void test_fold_affine_refused(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *graph = new_graph(3, 3, 4);
    const float var[4] = {1.0f, 1.0f, -1.0f, 1.0f};
    const struct qb_batchnorm bn = {.mean = var, .var = var, .eps = 1e-3f};
    add(graph, conv_node(graph, 4, 4, 1, 0));
    add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 4, .bn = &bn});
    qbt_error(qb_pass_fold_affine(graph, &err), QB_EINPUT, &err, "variance + epsilon of channel 2 is -0.999");
    qb_graph_free(graph);

    graph = new_graph(3, 3, 4); /* the convolution has another reader */
    const int c = add(graph, conv_node(graph, 4, 4, 1, 0));
    const int a = add(graph, (struct qb_node){.op = QB_OP_AFFINE, .oc = 4, .wei = numbers(graph, 4, 42)});
    add(graph, (struct qb_node){.op = QB_OP_ADD, .src = {c, a}});
    qbt_error(qb_pass_fold_affine(graph, &err), QB_EUNSUPPORTED, &err,
              "it stands between 'conv' (conv) and 'add' (add)");
    qb_graph_free(graph);
}

static void test_redundant(void **state)
{
    (void)state;
    struct qb_graph *const graph = new_graph(1, 1, 4);
    const struct qb_qdq q = {.scale = 0.03f, .zero_point = 40}, other = {.scale = 0.03f, .zero_point = 41};
    add(graph, (struct qb_node){.op = QB_OP_RELU});
    add(graph, (struct qb_node){.op = QB_OP_RELU});
    const int first = add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = q});
    for (int i = 0; i < 3; i++) { /* one pair stays, with the other two gone */
        add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = q});
        add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = q});
    }
    add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = other}); /* another zero point: stays */
    add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = other});
    add(graph, (struct qb_node){.op = QB_OP_SOFTMAX});
    add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = q});
    struct qb_error err;
    qbt_ok(qb_pass_redundant(graph, &err), &err);
    static const enum qb_op left[] = {QB_OP_INPUT,    QB_OP_RELU,       QB_OP_QUANTIZE, QB_OP_DEQUANTIZE,
                                      QB_OP_QUANTIZE, QB_OP_DEQUANTIZE, QB_OP_SOFTMAX};
    int at = graph->count - 1;
    for (int i = 6; i >= 0; i--) { /* along the sources; nodes that nobody reads are qb_pass_order's */
        assert_int_equal(graph->nodes[at].op, left[i]);
        at = graph->nodes[at].src[0];
    }
    assert_int_equal(at, -1);
    assert_int_equal(graph->nodes[first - 1].op, QB_OP_QUANTIZE);
    qb_graph_free(graph);
}

/* The shortcut comes first in the file and in the addition; RELUs behind everything; a node that nobody
 * reads. */
static void test_order(void **state)
{
    static const char *const names[] = {"input",        "relu_input", "conv",       "relu",   "relu.1",
                                        "conv_1",       "quantize",   "dequantize", "relu_1", "conv_2",
                                        "relu_2",       "add",        "relu_add",   "add_1",  "avgpool",
                                        "relu_avgpool", "dense",      "relu_dense", "dense_1"};
    (void)state;
    struct qb_graph *const graph = new_graph(3, 3, 2);
    const struct qb_qdq q = {.scale = 1.0f};
    const int start = add(graph, (struct qb_node){.op = QB_OP_RELU});
    struct qb_node conv = conv_node(graph, 2, 2, 1, 0);
    conv.source_name = "shortcut";
    const int shortcut = add(graph, conv);
    const int shortcut_relu = add(graph, (struct qb_node){.op = QB_OP_RELU});
    add(graph, (struct qb_node){.op = QB_OP_AVGPOOL, .source_name = "dead"});
    conv.source_name = "first";
    conv.src[0] = start;
    const int first = add(graph, conv);
    const int once = add(graph, (struct qb_node){.op = QB_OP_RELU, .src = {first}});
    const int twice = add(graph, (struct qb_node){.op = QB_OP_RELU, .src = {first}});
    conv.source_name = "second";
    conv.src[0] = twice;
    add(graph, conv);
    add(graph, (struct qb_node){.op = QB_OP_QUANTIZE, .q = q});
    add(graph, (struct qb_node){.op = QB_OP_DEQUANTIZE, .q = q});
    const int second = add(graph, (struct qb_node){.op = QB_OP_RELU});
    add(graph, (struct qb_node){.op = QB_OP_ADD, .src = {shortcut_relu, second}});
    const int sum = add(graph, (struct qb_node){.op = QB_OP_RELU});
    add(graph, (struct qb_node){.op = QB_OP_ADD, .src = {once, sum}});
    add(graph, (struct qb_node){.op = QB_OP_AVGPOOL});
    add(graph, (struct qb_node){.op = QB_OP_RELU});
    add(graph, dense_node(graph, 2, 2));
    add(graph, (struct qb_node){.op = QB_OP_RELU});
    add(graph, dense_node(graph, 2, 2));
    (void)shortcut;
    check_same(graph, qb_pass_order);
    /* Depth first from the output through longer branches: `twice` is reached before `once`. */
    assert_int_equal(graph->count, 19);
    bool found[19] = {false};
    for (int i = 0; i < graph->count; i++) {
        for (int k = 0; k < 19; k++) {
            found[k] = found[k] || strcmp(graph->nodes[i].name, names[k]) == 0;
        }
        for (int k = 0; k < 2; k++) {
            assert_true(graph->nodes[i].src[k] < i);
        }
    }
    for (int k = 0; k < 19; k++) {
        if (!found[k]) {
            fail_msg("no node is called %s", names[k]);
        }
    }
    assert_string_equal(graph->nodes[qb_graph_find(graph, "conv")].source_name, "first");
    assert_string_equal(graph->nodes[qb_graph_find(graph, "conv_1")].source_name, "second");
    assert_string_equal(graph->nodes[qb_graph_find(graph, "conv_2")].source_name, "shortcut");
    const struct qb_node *const addition = &graph->nodes[qb_graph_find(graph, "add")];
    assert_string_equal(graph->nodes[addition->src[0]].name, "relu_1");
    assert_string_equal(graph->nodes[addition->src[1]].name, "relu_2");
    qb_graph_free(graph);
}

/* A long chain: no recursion, no quadratic time. */
static void test_long_chain(void **state)
{
    (void)state;
    struct qb_graph *const graph = new_graph(1, 1, 2);
    struct qb_error err;
    for (int i = 0; i < (QB_MODEL_MAX_NODES - 1) / 2; i++) {
        add(graph, dense_node(graph, 2, 2));
        add(graph, (struct qb_node){.op = QB_OP_RELU});
    }
    qbt_ok(qb_graph_canonicalize(graph, &err), &err);
    assert_int_equal(graph->count, QB_MODEL_MAX_NODES - 1);
    assert_string_equal(graph->nodes[graph->count - 1].name, "relu_dense_2046");
    const struct qb_node more = {.op = QB_OP_RELU};
    qbt_ok(qb_graph_add(graph, &more, NULL, &err), &err);
    qbt_error(qb_graph_add(graph, &more, NULL, &err), QB_EUNSUPPORTED, &err, "more than 4096 nodes");
    qb_graph_free(graph);
}

static void test_raw_rules(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *graph = new_graph(1, 1, 2);
    add(graph, (struct qb_node){.op = QB_OP_RELU, .src = {3}});
    qbt_error(qb_graph_canonicalize(graph, &err), QB_EINPUT, &err,
              "source 0 is missing or does not come before it");
    graph->nodes[1].src[0] = -1;
    qbt_error(qb_graph_canonicalize(graph, &err), QB_EINPUT, &err, "source 0 is missing");
    graph->nodes[1].op = QB_OP_INPUT;
    qbt_error(qb_graph_canonicalize(graph, &err), QB_EINPUT, &err,
              "the first node, and only it, is the input");
    graph->count = 0;
    qbt_error(qb_graph_canonicalize(graph, &err), QB_EINPUT, &err, "no nodes");
    qb_graph_free(graph);

    graph = new_graph(1, 1, 2);
    struct qb_node dense = dense_node(graph, 2, 2);
    const float weights[4] = {1.0f, 2.0f, INFINITY, 3.0f};
    dense.wei = weights;
    add(graph, dense);
    qbt_error(qb_graph_canonicalize(graph, &err), QB_EINPUT, &err, "node 'dense' (dense): weight 2 is inf");
    qb_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_padding),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_layout_refused),
        cmocka_unit_test(test_fold_pad),
        cmocka_unit_test(test_flatten),
        cmocka_unit_test(test_fold_affine_behind),
        cmocka_unit_test(test_batch_norm_order),
        cmocka_unit_test(test_fold_affine_in_front),
        cmocka_unit_test(test_fold_affine_scale_with_padding),
        cmocka_unit_test(test_fold_affine_quantized),
        cmocka_unit_test(test_fold_affine_refused),
        cmocka_unit_test(test_redundant),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_long_chain),
        cmocka_unit_test(test_raw_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
