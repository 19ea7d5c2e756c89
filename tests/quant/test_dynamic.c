/* Observer "dynamic": which layers become what, that nothing is calibrated, that a dense layer quantizes its
 * source at run time alike on all engines, and what is refused. Results beside PyTorch's: golden_dynamic. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/reference/dynamic.h"
#include "quant/inspect.h"
#include "quant/qdq.h"
#include "quant_testing.h"

enum { IMAGES = 3, PIXELS = 32 * 32 * 3, CLASSES = 10 };

static const struct qb_observer_spec at_run_time = {
    .observer = "dynamic", .dtype = QB_QUINT8, .reduce_range = true};

static struct qb_scheme dynamic(void)
{
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.weights = (struct qb_observer_spec){.observer = "minmax", .dtype = QB_QINT8, .symmetric = true};
    scheme.activations = at_run_time;
    return scheme;
}

/* An integer network whose dense layer alone takes its range at run time. */
static struct qb_scheme dense_alone(void)
{
    static const struct qb_exception dense[] = {{.layer = "dense", .name = "", .activations = &at_run_time}};
    struct qb_scheme scheme = qbt_fbgemm();
    scheme.activations = (struct qb_observer_spec){.observer = "minmax", .dtype = QB_QUINT8};
    scheme.layers = dense;
    scheme.layer_count = 1;
    return scheme;
}

static void observe(void *ctx, int node, const void *data, size_t count)
{
    struct qb_error err;
    qbt_ok(qb_calibration_observe(ctx, node, data, count, &err), &err);
}

static void run(const char *name, const struct qb_graph *g, const struct qb_qgraph *q, enum qb_isa isa,
                const uint8_t *images, int batch, float *logits, void *calibration)
{
    struct qb_error err;
    struct qb_engine *engine;
    const struct qb_engine_options options = {.isa = isa, .threads = 1, .batch = batch};
    qbt_ok(qb_engine_create(name, g, q, &options, &engine, &err), &err);
    engine->tap = calibration ? observe : NULL;
    engine->tap_ctx = calibration;
    for (int i = 0; i < IMAGES; i += batch) {
        qbt_ok(qb_engine_run(engine, images + i * PIXELS, batch, logits + i * CLASSES, &err), &err);
    }
    assert_int_equal(engine->exactness, QB_EXACT);
    qb_engine_free(engine);
}

static void make_images(uint8_t images[IMAGES * PIXELS])
{
    static float noise[IMAGES * PIXELS];
    qbt_uniform(21, noise, IMAGES * PIXELS);
    for (int i = 0; i < IMAGES * PIXELS; i++) {
        images[i] = (uint8_t)(noise[i] * (float)(256 >> i / PIXELS)); /* ranges of their own */
    }
}

static struct qb_qgraph *quantized(const struct qb_graph *g, const struct qb_scheme *scheme,
                                   const uint8_t *images)
{
    struct qb_error err;
    struct qb_calibration *c;
    struct qb_qparams_table table;
    struct qb_qgraph *q;
    float logits[IMAGES * CLASSES];
    qbt_ok(qb_calibration_create(g, scheme, &c, &err), &err);
    run("reference", g, NULL, QB_ISA_REF, images, IMAGES, logits, c);
    qbt_ok(qb_calibration_qparams(c, g->arena, &table, &err), &err);
    qb_calibration_free(c);
    qbt_ok(qb_quantize(g, scheme, &table, "", &q, &err), &err);
    return q;
}

static void whole_network(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const g = qbt_resnet8();
    const struct qb_scheme scheme = dynamic();
    struct qb_calibration *c;
    struct qb_qparams_table none;
    struct qb_qgraph *q;
    qbt_ok(qb_calibration_create(g, &scheme, &c, &err), &err);
    for (int i = 0; i < g->count; i++) {
        assert_false(qb_calibration_wants(c, i));
    }
    qb_calibration_free(c);
    qbt_ok(qb_qparams_table_make((size_t)g->count, g->arena, &none, &err), &err);
    qbt_ok(qb_quantize(g, &scheme, &none, "", &q, &err), &err);
    for (int i = 0; i < q->count; i++) {
        const struct qb_qnode *const n = &q->nodes[i];
        const bool dense = n->op == QB_QOP_DENSE;
        assert_true(n->f32 && n->op != QB_QOP_DEQUANTIZE);
        assert_int_equal(n->dynamic, dense ? 127 : 0);
        assert_true(dense ? n->wei && !n->wei_f32 && n->wei_scale_count == 1
                          : n->op != QB_QOP_CONV || (n->wei_f32 && !n->wei));
    }
    /* int8 weights, one scale and zero point, biases; the rest in float */
    struct qb_scheme float_dense = scheme;
    static const struct qb_exception fp32[] = {{.layer = "dense", .name = "fp32", .fp32 = true}};
    float_dense.layers = fp32;
    float_dense.layer_count = 1;
    struct qb_qgraph *plain;
    qbt_ok(qb_quantize(g, &float_dense, &none, "", &plain, &err), &err);
    assert_int_equal(plain->nodes[plain->count - 1].dynamic, 0);
    assert_int_equal(qb_qgraph_bytes(plain) - qb_qgraph_bytes(q), 3 * 640 - 5);
    qb_qgraph_free(plain);
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

/* A range is one image's: the batch changes nothing. */
static void everywhere(void **state)
{
    (void)state;
    static uint8_t images[IMAGES * PIXELS];
    float want[IMAGES * CLASSES], got[IMAGES * CLASSES];
    struct qb_graph *const g = qbt_resnet8();
    const struct qb_scheme schemes[] = {dynamic(), dense_alone()};
    make_images(images);
    for (int s = 0; s < 2; s++) {
        struct qb_qgraph *const q = quantized(g, &schemes[s], images);
        assert_int_equal(q->nodes[q->count - 1].dynamic, 127);
        run("reference", NULL, q, QB_ISA_REF, images, IMAGES, want, NULL);
        run("reference", NULL, q, QB_ISA_REF, images, 1, got, NULL);
        assert_memory_equal(got, want, sizeof got);
        for (int isa = 0; isa < QB_ISA_COUNT; isa++) {
            if (isa == QB_ISA_REF || qb_cpu_has((enum qb_isa)isa)) {
                run("native", NULL, q, (enum qb_isa)isa, images, IMAGES, got, NULL);
                assert_memory_equal(got, want, sizeof got);
            }
        }
        if (s == 1 && qb_cpu_has(QB_ISA_AVX512VNNI)) { /* float convolutions are not exact on oneDNN */
            run("onednn", NULL, q, qb_cpu_best(QB_ISA_AMX), images, IMAGES, got, NULL);
            assert_memory_equal(got, want, sizeof got);
        }
        qb_qgraph_free(q);
    }
    qb_arena_destroy(g->arena);
}

/* More outputs and inputs than the layer takes at a time, and a sum by hand. */
static void large_layer(void **state)
{
    (void)state;
    enum { IC = 600, OC = 37 };
    static float src[IC], dst[OC], bia[OC], scales[OC];
    static int8_t wei[OC * IC];
    static int32_t zeros[OC];
    qbt_uniform(5, src, IC);
    for (int i = 0; i < IC; i++) {
        src[i] = src[i] * 3 - 1;
    }
    src[599] = 2.5f;
    src[0] = -1.25f;
    for (int i = 0; i < OC * IC; i++) {
        wei[i] = (int8_t)(i * 37 % 256 - 128);
    }
    for (int k = 0; k < OC; k++) {
        bia[k] = (float)k - 20;
        scales[k] = 0.001f * (float)(k + 1);
        zeros[k] = k % 5 - 2;
    }
    const struct qb_qnode node = {.op = QB_QOP_DENSE,
                                  .ic = IC,
                                  .oc = OC,
                                  .wei = wei,
                                  .wei_scale_count = OC,
                                  .wei_scales = scales,
                                  .wei_zero_points = zeros,
                                  .bia = bia,
                                  .dynamic = 255};
    struct qb_error err;
    struct qb_dynamic_dense dense;
    struct qb_arena *const arena = qb_arena_create();
    qbt_ok(qb_dynamic_dense_init(&node, arena, &dense, &err), &err);
    qb_dynamic_dense_run(&dense, src, dst);
    const float scale = (float)(3.75 / 255), inverse = 1.0f / scale;
    for (int k = 0; k < OC; k++) {
        int64_t acc = 0;
        for (int i = 0; i < IC; i++) {
            const int code = (int)nearbyint((double)fmaf(src[i], inverse, 85.0f));
            acc += (code - 85) * (wei[k * IC + i] - zeros[k]);
        }
        const float unit = scale * scales[k], value = fmaf((float)acc, unit, bia[k]);
        assert_true(dst[k] == value);
    }
    qb_arena_destroy(arena);
}

static void qparams(void **state)
{
    (void)state;
    const struct qb_qparams symmetric = qb_dynamic_qparams(-127, 127, 127),
                            none = qb_dynamic_qparams(0, 0, 255),
                            small = qb_dynamic_qparams(-1e-6f, 3e-6f, 127),
                            infinite = qb_dynamic_qparams(-1, INFINITY, 127);
    assert_true(symmetric.scale == 2 && symmetric.zero_point == 64); /* 63.5 rounds to even */
    assert_true(none.scale == 0.1f && none.zero_point == 0);
    assert_true(small.scale == 6.1e-5f && small.zero_point == 32);
    assert_int_equal(infinite.zero_point, 0); /* anything, but no undefined conversion */
}

static void identity(void **state)
{
    (void)state;
    struct qb_error err;
    static uint8_t images[IMAGES * PIXELS];
    struct qb_graph *const g = qbt_resnet8();
    const struct qb_scheme scheme = dense_alone();
    make_images(images);
    struct qb_qgraph *const q = quantized(g, &scheme, images);
    struct qb_qnode *const dense = &q->nodes[q->count - 1];
    char hash[QB_HASH64_HEX], other[QB_HASH64_HEX], *text;
    qb_qgraph_hash(q, hash);
    dense->dynamic = 255;
    qb_qgraph_hash(q, other);
    assert_string_not_equal(hash, other);
    qbt_ok(qb_inspect_qgraph(q, true, &text, &err), &err);
    assert_non_null(strstr(text, "\"dynamic\": 255"));
    free(text);
    qbt_ok(qb_inspect_qgraph(q, false, &text, &err), &err);
    assert_non_null(strstr(text, "dense, dynamic"));
    free(text);
    qbt_error(qb_qdq_write(q, "/nowhere/q.onnx", &err), QB_EUNSUPPORTED, &err,
              "node \"dense\" takes the range of what it reads at run time");
    struct qb_engine *engine;
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};
    dense->dynamic = 100;
    qbt_error(qb_engine_create("native", NULL, q, &options, &engine, &err), QB_EUNSUPPORTED, &err,
              "node dense: ranges at run time are for dense layers of arithmetic fbgemm");
    dense->dynamic = 127;
    q->arithmetic = QB_ARITHMETIC_ONEDNN;
    qbt_error(qb_engine_create("native", NULL, q, &options, &engine, &err), QB_EUNSUPPORTED, &err,
              "node dense: ranges at run time");
    q->arithmetic = QB_ARITHMETIC_FBGEMM;
    dense->wei = NULL;
    qbt_error(qb_engine_create("native", NULL, q, &options, &engine, &err), QB_EINPUT, &err,
              "node dense: weights, scales or biases are absent");
    qb_qgraph_free(q);
    qb_arena_destroy(g->arena);
}

static void refused(void **state)
{
    (void)state;
    struct qb_error err;
    const struct qb_scheme good = dynamic();
    struct qb_scheme bad = good;
    qbt_ok(qb_scheme_check(&good, &err), &err);
    bad.weights.observer = "dynamic";
    qbt_error(qb_scheme_check(&bad, &err), QB_EINPUT, &err,
              "fbgemm.yaml: weights.observer \"dynamic\" takes ranges at run time, which only activations");
    static const char only[] = "activations: observer \"dynamic\" is for dtype: quint8, symmetric: false";
    bad = good;
    bad.activations.dtype = QB_QINT8;
    qbt_error(qb_scheme_check(&bad, &err), QB_EINPUT, &err, only);
    bad = good;
    bad.activations.symmetric = true;
    qbt_error(qb_scheme_check(&bad, &err), QB_EINPUT, &err, only);
    bad = good;
    bad.activations.has_eps = true;
    qbt_error(qb_scheme_check(&bad, &err), QB_EINPUT, &err, only);
    bad = good;
    bad.activations.bits = 4;
    qbt_error(qb_scheme_check(&bad, &err), QB_EINPUT, &err, only);
    bad = good;
    bad.arithmetic = QB_ARITHMETIC_ORT;
    qbt_error(qb_scheme_check(&bad, &err), QB_EINPUT, &err,
              "fbgemm.yaml: observer \"dynamic\" needs arithmetic: fbgemm (here: ort)");
    bad = dense_alone();
    bad.arithmetic = QB_ARITHMETIC_ONEDNN;
    qbt_error(qb_scheme_check(&bad, &err), QB_EINPUT, &err, "needs arithmetic: fbgemm (here: onednn)");
    /* Integer layers want scales that nothing gives. */
    static const struct qb_observer_spec fixed = {.observer = "minmax", .dtype = QB_QUINT8};
    static const struct qb_exception conv[] = {{.layer = "conv", .name = "", .activations = &fixed}};
    bad = good;
    bad.layers = conv;
    bad.layer_count = 1;
    struct qb_graph *const g = qbt_resnet8();
    struct qb_calibration *c;
    qbt_error(
        qb_calibration_create(g, &bad, &c, &err), QB_EINPUT, &err,
        "fbgemm.yaml: activations: tensor \"input\" has no scale before run time (observer \"dynamic\"), but "
        "the integer layer \"conv\" reads it");
    /* The same for a layer's own block: before anything is calibrated, and with its line. */
    static const struct qb_exception add[] = {
        {.layer = "add", .name = "", .activations = &at_run_time, .line = 9}};
    bad = qbt_fbgemm();
    bad.layers = add;
    bad.layer_count = 1;
    qbt_error(
        qb_calibration_create(g, &bad, &c, &err), QB_EINPUT, &err,
        "fbgemm.yaml:9: layers.add: tensor \"add\" has no scale before run time (observer \"dynamic\"), but "
        "the integer layer \"conv_3\" reads it");
    qb_arena_destroy(g->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_network), cmocka_unit_test(everywhere), cmocka_unit_test(large_layer),
        cmocka_unit_test(qparams),       cmocka_unit_test(identity),   cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
