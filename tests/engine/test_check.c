/* Every defect of a graph is refused before an engine sees it, with a sentence that names the node. */
#include <math.h>
#include <string.h>

#include "engine/engine.h"
#include "nets.h"
#include "testing.h"

static const struct qb_engine_options one = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};
static struct net net;

static int setup(void **state)
{
    (void)state;
    net_mixed(&net, QB_ARITHMETIC_FBGEMM, 3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    net_free(&net);
    return 0;
}

static void refused(enum qb_status want, const char *needle)
{
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_error(qb_engine_create("reference", NULL, &net.graph, &one, &engine, &err), want, &err, needle);
    assert_null(engine);
}

/* Sets an int field of the network, expects a refusal, restores it. */
static void spoil(int *field, int value, const char *needle)
{
    const int old = *field;
    *field = value;
    refused(QB_EINPUT, needle);
    *field = old;
}

static void structure(void **state)
{
    (void)state;
    struct qb_qnode *const n = net.nodes;
    spoil(&net.graph.count, 0, "no nodes");
    spoil(&n[NET_CONV].src[0], NET_CONV, "node conv: source 0");
    spoil(&n[NET_CONV].src[0], -1, "node conv: source 0");
    spoil(&n[NET_SUM].src[1], NET_SUM, "node add: source 1");
    spoil(&n[NET_SUM].src[1], NET_INPUT, "node add: adds 9x8x6 and 9x8x3");
    n[NET_INPUT].op = QB_QOP_RELU;
    refused(QB_EINPUT, "first node must be the input");
    n[NET_INPUT].op = QB_QOP_INPUT;
    n[NET_RELU].op = QB_QOP_INPUT;
    refused(QB_EINPUT, "second input");
    n[NET_RELU].op = (enum qb_qop)77;
    refused(QB_EINPUT, "operator number 77");
    n[NET_RELU].op = QB_QOP_RELU;
    net.graph.arithmetic = QB_ARITHMETIC_COUNT;
    refused(QB_EINPUT, "arithmetic number");
}

static void geometry(void **state)
{
    (void)state;
    struct qb_qnode *const n = net.nodes;
    spoil(&n[NET_INPUT].dst.h, 0, "node input: a shape of 0x8x3");
    spoil(&n[NET_INPUT].dst.w, -8, "node input");
    spoil(&n[NET_INPUT].dst.c, 1 << 30, "node input");
    spoil(&n[NET_CONV].dst.h, 8, "node conv: its shape is 8x8x6");
    spoil(&n[NET_CONV].ic, 4, "node conv: 4 input");
    spoil(&n[NET_CONV].oc, 0, "node conv");
    spoil(&n[NET_CONV].kh, 0, "node conv: kernel 0x3");
    spoil(&n[NET_CONV].kw, 99, "node conv: kernel 3x99");
    spoil(&n[NET_CONV].stride_w, 0, "node conv");
    spoil(&n[NET_CONV].pad_t, -1, "node conv: padding -1");
    spoil(&n[NET_CONV].pad_r, 1 << 20, "node conv: padding");
    spoil(&n[NET_RELU].dst.c, 5, "node relu");
    spoil(&n[NET_SUM].dst.c, 5, "node add");
    spoil(&n[NET_POOL].pad_b, 1, "node avgpool: padding 1");
    spoil(&n[NET_POOL].kw, 3, "node avgpool");
    spoil(&n[NET_DENSE].ic, 7, "node dense: 7 inputs");
    spoil(&n[NET_DENSE].dst.h, 2, "node dense");
    spoil(&n[NET_DENSE].oc, -10, "node dense");
    n[NET_CONV2].fused_add = true;
    refused(QB_EINPUT, "arithmetic onednn");
    net.graph.arithmetic = QB_ARITHMETIC_ONEDNN;
    spoil(&n[NET_CONV2].src[1], NET_CONV2, "node conv: source 1");
    spoil(&n[NET_CONV2].src[1], NET_INPUT, "the residual is 9x8x3");
}

/* What only some arithmetics have, and where it may stand. */
static void traits(void **state)
{
    (void)state;
    struct qb_qnode *const n = net.nodes;
    n[NET_SUM].op = QB_QOP_MUL;
    refused(QB_EUNSUPPORTED, "node add: arithmetic fbgemm has no multiplication");
    n[NET_SUM].op = QB_QOP_CONSTANT;
    refused(QB_EUNSUPPORTED, "node add: arithmetic fbgemm has no constants");
    n[NET_SUM].op = QB_QOP_ADD;
    const int32_t codes[10] = {0};
    n[NET_CONV].bia_codes = codes;
    refused(QB_EINPUT, "node conv: the arithmetic of the graph wants no integer bias");
    net_free(&net);
    net_mixed(&net, QB_ARITHMETIC_ORT, 3);
    n[NET_RELU].op = QB_QOP_QUANTIZE;
    refused(QB_EUNSUPPORTED,
            "node relu: it quantizes the codes of conv once more, which arithmetic ort does not have");
    n[NET_RELU].op = QB_QOP_RELU;
    enum { FACTOR = NET_DENSE + 1, PRODUCT, ADDEND, LAST };
    spoil(&n[PRODUCT].src[0], FACTOR, "node mul: source 0 is a constant");
    spoil(&n[FACTOR].dst.h, 2, "node constant: a constant of 2x1x10");
    spoil(&n[NET_SUM].src[1], NET_INPUT, "node add: adds 9x8x6 and 9x8x3");
    spoil(&net.graph.count, ADDEND + 1, "node constant: the logits are a constant");
    n[FACTOR].codes = NULL;
    refused(QB_EINPUT, "node constant: a constant without codes");
    n[FACTOR].codes = (const uint8_t *)"0123456789";
    const float scale = n[NET_POOL].q.scale;
    n[NET_POOL].q.scale = 1e38F;
    n[NET_HALF].q.scale = 1e-5F;
    refused(QB_EINPUT, "node avgpool: scale");
    n[NET_POOL].q.scale = 1e34F;
    refused(QB_EUNSUPPORTED, "node avgpool: source scale 1e-05 and scale 1e+34 are too far apart");
    n[NET_POOL].q.scale = scale;
    int32_t big[10] = {0};
    big[9] = INT32_MIN;
    n[NET_DENSE].bia_codes = big;
    refused(QB_EUNSUPPORTED, "node dense: channel 9 can overflow the int32 accumulator");
    n[NET_DENSE].bia_codes = NULL;
    refused(QB_EINPUT, "node dense: the arithmetic of the graph wants an integer bias");
}

static void numbers(void **state)
{
    (void)state;
    struct qb_qnode *const n = net.nodes;
    const float bad[] = {0.0F, -1.0F, NAN, INFINITY, 1e-40F, 3e38F};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const float old = n[NET_CONV].q.scale, *const scales = n[NET_CONV].wei_scales;
        n[NET_CONV].q.scale = bad[i];
        refused(QB_EINPUT, "node conv: scale");
        n[NET_CONV].q.scale = old;
        const float mixed[] = {1.0F, 1.0F, bad[i], 1.0F, 1.0F, 1.0F};
        n[NET_CONV].wei_scales = mixed;
        refused(QB_EINPUT, "node conv: channel 2 has weight scale");
        n[NET_CONV].wei_scales = scales;
    }
    spoil(&n[NET_CONV].q.zero_point, -1, "node conv");
    spoil(&n[NET_CONV].q.zero_point, 256, "zero point 256");
    spoil(&n[NET_RELU].q.zero_point, 1, "node relu: scale and zero point differ");
    spoil(&n[NET_POOL].q.zero_point, 1, "node avgpool: scale and zero point differ");
    spoil(&n[NET_CONV].wei_scale_count, 2, "2 weight scales, wanted 1 or 6");
    spoil(&n[NET_CONV].q.bits, 1, "node conv: codes of 1 bits; wanted 2 to 7");
    spoil(&n[NET_CONV].q.bits, 8, "node conv: codes of 8 bits");
    n[NET_CONV].q.bits = 3;
    spoil(&n[NET_CONV].q.zero_point, 8, "node conv: zero point 8 is outside the codes 0..7 of 3 bits");
    n[NET_CONV].q.bits = 0;
    const float *const bia = n[NET_CONV].bia;
    const float nan_bia[] = {0, 0, 0, 0, 0, NAN};
    n[NET_CONV].bia = nan_bia;
    refused(QB_EINPUT, "node conv");
    n[NET_CONV].bia = NULL;
    refused(QB_EINPUT, "node conv");
    n[NET_CONV].bia = bia;
    const int8_t *const wei = n[NET_DENSE].wei;
    n[NET_DENSE].wei = NULL;
    refused(QB_EINPUT, "node dense");
    n[NET_DENSE].wei = wei;
    const int32_t zero[] = {0, 0, 0, 0, 128, 0};
    n[NET_CONV].wei_zero_points = zero;
    refused(QB_EINPUT, "channel 4");
}

/* Scales that are fine alone and leave float32's range together. */
static void products_of_scales(void **state)
{
    (void)state;
    struct qb_qnode *const n = net.nodes;
    const float tiny[] = {1e-30F, 1e-30F, 1e-30F, 1e-30F, 1e-30F, 1e-30F};
    const float *const scales = n[NET_CONV].wei_scales;
    n[NET_INPUT].q.scale = 1e-30F;
    n[NET_CONV].wei_scales = tiny;
    refused(QB_EUNSUPPORTED, "node conv: channel 0: scales");
    n[NET_INPUT].q.scale = 1.0F;
    n[NET_CONV].wei_scales = scales;
    const float huge_bia[] = {0, 3e38F, 0, 0, 0, 0};
    n[NET_CONV].bia = huge_bia;
    refused(QB_EUNSUPPORTED, "node conv: channel 1: scales");
}

/* 33,155 products of 255 * 254 are the most that fit int32. */
static void accumulator_overflow(void **state)
{
    (void)state;
    enum { MOST = 33155 };
    static int8_t wei[MOST + 1];
    static uint8_t image[MOST + 1];
    const int32_t zero = -127;
    const float scale = 1.0F, bia = 0.0F;
    struct qb_qnode nodes[2] = {
        {.op = QB_QOP_INPUT,
         .name = "input",
         .src = {-1, -1},
         .q = {.scale = 1.0F, .zero_point = 0, .dtype = QB_QUINT8, .quant_min = 0, .quant_max = 255}},
        {.op = QB_QOP_DENSE,
         .name = "dense",
         .src = {0, -1},
         .dst = {1, 1, 1},
         .q = {.scale = 1e7F, .zero_point = 0, .dtype = QB_QUINT8, .quant_min = 0, .quant_max = 255},
         .oc = 1,
         .wei = wei,
         .wei_scale_count = 1,
         .wei_scales = &scale,
         .wei_zero_points = &zero,
         .bia = &bia},
    };
    struct qb_qgraph graph = {.nodes = nodes, .count = 2};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    memset(wei, 127, sizeof wei);
    memset(image, 255, sizeof image);
    nodes[0].dst = (struct qb_shape){1, 1, MOST};
    nodes[1].ic = MOST;
    qbt_ok(qb_engine_create("reference", NULL, &graph, &one, &engine, &err), &err);
    float logit;
    qbt_ok(qb_engine_run(engine, image, 1, &logit, &err), &err);
    const float want = 1e7F * 215.0F; /* 255 * 254 * 33,155 = 2,147,449,350 */
    assert_memory_equal(&logit, &want, sizeof want);
    qb_engine_free(engine);
    /* Saturating pairs move the sum further. */
    graph.accumulate = QB_ACCUMULATE_MADDUBS_KHWC;
    qbt_error(qb_engine_create("reference", NULL, &graph, &one, &engine, &err), QB_EUNSUPPORTED, &err,
              "node dense: channel 0 can overflow");
    graph.accumulate = QB_ACCUMULATE_EXACT;
    nodes[0].dst.c = nodes[1].ic = MOST + 1;
    qbt_error(qb_engine_create("reference", NULL, &graph, &one, &engine, &err), QB_EUNSUPPORTED, &err,
              "node dense: channel 0 can overflow");
}

static void float_graphs(void **state)
{
    (void)state;
    float wei[6] = {1, 2, 3, 4, 5, 6};
    const float bia[2] = {0, 0};
    struct qb_node nodes[3] = {
        {.op = QB_OP_INPUT, .name = "input", .src = {-1, -1}, .dst = {1, 1, 3}},
        {.op = QB_OP_DENSE,
         .name = "dense",
         .src = {0, -1},
         .dst = {1, 1, 2},
         .ic = 3,
         .oc = 2,
         .wei = wei,
         .bia = bia},
        {.op = QB_OP_SOFTMAX, .name = "softmax", .src = {1, -1}, .dst = {1, 1, 2}},
    };
    struct qb_graph graph = {.path = "model.onnx", .nodes = nodes, .count = 3};
    struct qb_engine *engine = NULL;
    struct qb_error err;
    qbt_ok(qb_engine_create("reference", &graph, NULL, &one, &engine, &err), &err);
    qb_engine_free(engine);
    engine = NULL;
    wei[4] = NAN;
    qbt_error(qb_engine_create("reference", &graph, NULL, &one, &engine, &err), QB_EINPUT, &err,
              "node dense");
    wei[4] = 5;
    nodes[1].bia = NULL;
    qbt_error(qb_engine_create("reference", &graph, NULL, &one, &engine, &err), QB_EINPUT, &err,
              "node dense");
    nodes[1].bia = bia;
    nodes[2].op = QB_OP_TRANSPOSE;
    qbt_error(qb_engine_create("reference", &graph, NULL, &one, &engine, &err), QB_EUNSUPPORTED, &err,
              "node softmax");
    nodes[1].op = QB_OP_SOFTMAX;
    nodes[1].dst.c = 3;
    qbt_error(qb_engine_create("reference", &graph, NULL, &one, &engine, &err), QB_EINPUT, &err,
              "not the last node");
    graph.count = 0;
    qbt_error(qb_engine_create("reference", &graph, NULL, &one, &engine, &err), QB_EINPUT, &err, "no nodes");
    graph.quantized = true;
    qbt_error(qb_engine_create("reference", &graph, NULL, &one, &engine, &err), QB_EUNSUPPORTED, &err,
              "model.onnx");
    assert_null(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(structure, setup, teardown),
        cmocka_unit_test_setup_teardown(geometry, setup, teardown),
        cmocka_unit_test_setup_teardown(traits, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(products_of_scales, setup, teardown),
        cmocka_unit_test(accumulator_overflow),
        cmocka_unit_test(float_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
