/* The study of layers: deviations by hand; on the project's network what must hold, a layer that is spoiled
 * on purpose is found, and what is counted agrees with a count by other means. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "measure/sensitivity.h"
#include "quantized.h"

enum { SOME = 16 };

/* cmocka's comparison is of floats. */
static void assert_near(double got, double want, double distance)
{
    if (!(fabs(got - want) <= distance)) {
        fail_msg("%.17g, wanted %.17g", got, want);
    }
}

static void deviations(void **state)
{
    (void)state;
    struct qb_deviation d = {0};
    assert_true(isnan(qb_deviation_sqnr(&d)));
    assert_true(isnan(qb_deviation_cosine(&d)));
    const float want[] = {3, -4, 0, 12}, same[] = {3, -4, 0, 12}, got[] = {4, -4, 1, 11};
    qb_deviation_add(&d, want, same, 4);
    assert_true(isinf(qb_deviation_sqnr(&d)) && qb_deviation_sqnr(&d) > 0);
    assert_true(qb_deviation_cosine(&d) == 1.0);
    d = (struct qb_deviation){0};
    qb_deviation_add(&d, want, got, 2); /* in pieces */
    qb_deviation_add(&d, want + 2, got + 2, 2);
    /* 9 + 16 + 144 over 1 + 1 + 1; 12 + 16 + 132 over 13 * sqrt(154) */
    assert_near(qb_deviation_sqnr(&d), 10 * log10(169.0 / 3), 1e-12);
    assert_near(qb_deviation_cosine(&d), 160 / (13 * sqrt(154.0)), 1e-12);
}

static struct qb_sensitivity measure(const struct quantized *q, size_t images, int threads)
{
    struct qb_sensitivity s;
    struct qb_error err;
    qbt_ok(qb_sensitivity_measure(q->graph, q->qgraph, &q->set, images, threads, NULL, &s, &err), &err);
    return s;
}

static size_t find(const struct qb_sensitivity *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->layers[i].name, name) == 0) {
            return i;
        }
    }
    fail_msg("no layer %s", name);
    return 0;
}

static void whole_networks(void **state)
{
    const struct quantized *const q = *state;
    struct qb_sensitivity s = measure(q, SOME, 2);
    assert_int_equal(s.count, 14); /* ten with weights, three additions, the pool */
    assert_int_equal(s.images, SOME);
    assert_true(s.synthetic);
    /* On synthetic images a hit is the float network's answer. */
    assert_int_equal(s.fp32.hits, SOME);
    assert_int_equal(s.fp32.agree, SOME);
    assert_true(isinf(qb_deviation_sqnr(&s.fp32.logits)));
    /* Simulation and integer network differ in roundings only. */
    const double all = qb_deviation_sqnr(&s.all.logits), integer = qb_deviation_sqnr(&s.integer.logits);
    assert_true(all > 10 && all < 40);
    assert_near(all, integer, 1.5);
    assert_int_equal(s.accumulate, QB_ACCUMULATE_MADDUBS_KHWC);
    double noise = 0;
    for (size_t i = 0; i < s.count; i++) {
        const struct qb_layer_sensitivity *const l = &s.layers[i];
        /* One layer disturbs less than all, and all but one no more than twice what all do. */
        assert_true(l->alone.logits.noise > 0 && l->alone.logits.noise < s.all.logits.noise);
        assert_true(l->kept.logits.noise < 2 * s.all.logits.noise);
        assert_true(l->alone_output.noise > 0);
        assert_true(l->integer_output.noise > 0);
        assert_true(l->min <= l->max);
        assert_int_equal(l->multiplies, strcmp(l->op, "conv") == 0 || strcmp(l->op, "dense") == 0);
        assert_int_equal(l->only_kept + s.all.hits, l->kept.hits + l->only_all);
        noise += l->alone.logits.noise;
    }
    /* Independent errors add up. */
    assert_true(noise > s.all.logits.noise / 3 && noise < s.all.logits.noise * 3);
    assert_int_equal(s.layers[find(&s, "conv")].values, SOME * 32 * 32 * 16);
    assert_int_equal(s.layers[find(&s, "conv")].accumulators, SOME * 32 * 32 * 16);
    assert_int_equal(s.layers[find(&s, "add")].accumulators, 0);
    /* minmax on the same images clips nothing in the float network. */
    assert_int_equal(s.layers[find(&s, "conv")].clipped, 0);
    qb_sensitivity_free(&s);
}

/* Neither threads nor an odd number of images change a sum's terms. */
static void threads_and_parts(void **state)
{
    const struct quantized *const q = *state;
    struct qb_sensitivity one = measure(q, 33, 1), three = measure(q, 33, 3);
    assert_memory_equal(&one.integer, &three.integer, sizeof one.integer);
    assert_memory_equal(&one.all, &three.all, sizeof one.all);
    for (size_t i = 0; i < one.count; i++) {
        assert_memory_equal(&one.layers[i].alone, &three.layers[i].alone, sizeof one.layers[i].alone);
        assert_memory_equal(&one.layers[i].kept, &three.layers[i].kept, sizeof one.layers[i].kept);
        assert_memory_equal(&one.layers[i].saturation, &three.layers[i].saturation,
                            sizeof one.layers[i].saturation);
    }
    qb_sensitivity_free(&one);
    qb_sensitivity_free(&three);
}

/* A layer with five codes for its whole range. */
static void a_spoiled_layer_is_found(void **state)
{
    const struct quantized *const q = *state;
    struct qb_qnode *const node = &q->qgraph->nodes[qb_qgraph_find(q->qgraph, "conv_4")];
    const struct qb_qparams saved = node->q;
    node->q.scale *= 51;
    node->q.zero_point = (saved.zero_point + 25) / 51;
    struct qb_sensitivity s = measure(q, SOME, 2);
    node->q = saved;
    bool certain;
    const size_t worst = qb_sensitivity_worst(&s, &certain);
    assert_string_equal(s.layers[worst].name, "conv_4");
    for (size_t i = 0; i < s.count; i++) {
        if (i != worst) {
            assert_true(s.layers[i].alone.logits.noise < s.layers[worst].alone.logits.noise / 10);
        }
    }
    assert_true(s.layers[worst].kept.logits.noise < s.all.logits.noise / 3);
    qb_sensitivity_free(&s);
}

/* Layers that are float have nothing but a range and what reaches them; conversions to codes are layers. */
static void mixed_precision(void **state)
{
    struct quantized mixed = *(const struct quantized *)*state;
    mixed.qgraph =
        quantized_with(&mixed, QB_PREPARE_EAGER, (const char *const[]){"conv", "conv_1", "dense", NULL});
    struct qb_sensitivity s = measure(&mixed, SOME, 2);
    assert_int_equal(s.count, 14 + 2); /* quantize_conv for the addition, quantize_conv_1 for conv_2 */
    const struct qb_effect nothing = {0};
    for (size_t i = 0; i < s.count; i++) {
        const struct qb_layer_sensitivity *const l = &s.layers[i];
        const bool f32 =
            strcmp(l->name, "conv") == 0 || strcmp(l->name, "conv_1") == 0 || strcmp(l->name, "dense") == 0;
        assert_int_equal(l->f32, f32);
        assert_true(l->min < l->max && l->values > 0);
        if (f32) {
            assert_memory_equal(&l->alone, &nothing, sizeof nothing);
            assert_memory_equal(&l->kept, &nothing, sizeof nothing);
            assert_int_equal(l->accumulators + l->clipped + l->ends, 0);
        } else {
            assert_true(l->alone.logits.noise > 0 && l->kept.logits.noise < 2 * s.all.logits.noise);
        }
    }
    /* Nothing is quantized in front of the first ones; the last one reads what all others left. */
    assert_true(isinf(qb_deviation_sqnr(&s.layers[find(&s, "conv_1")].integer_output)));
    assert_true(s.layers[find(&s, "dense")].integer_output.noise > 0);
    assert_string_equal(s.layers[find(&s, "quantize_conv")].op, "quantize");
    bool certain;
    assert_false(s.layers[qb_sensitivity_worst(&s, &certain)].f32);
    qb_sensitivity_free(&s);
    qb_qgraph_free(mixed.qgraph);
}

/* Tensor conv is read as floats and as codes: the simulation keeps them apart, as the network does. One
 * convolution is quantized; had conv_1 read conv's codes, the noise would be another. */
static void floats_beside_codes(void **state)
{
    struct quantized mixed = *(const struct quantized *)*state;
    mixed.qgraph = quantized_with(&mixed, QB_PREPARE_EAGER,
                                  (const char *const[]){"conv", "conv_1", "conv_3", "conv_4", "conv_5",
                                                        "conv_6", "conv_7", "conv_8", "dense", NULL});
    struct qb_sensitivity s = measure(&mixed, SOME, 2);
    assert_true(s.all.logits.noise > 0);
    assert_near(s.all.logits.noise / s.integer.logits.noise, 1, 0.02);
    assert_memory_equal(&s.layers[find(&s, "conv_1")].integer_output.noise, &(double){0}, sizeof(double));
    qb_sensitivity_free(&s);
    qb_qgraph_free(mixed.qgraph);
}

static void nothing_quantized(void **state)
{
    struct quantized all = *(const struct quantized *)*state;
    struct qb_sensitivity s;
    struct qb_error err;
    all.qgraph = quantized_with(&all, QB_PREPARE_EAGER,
                                (const char *const[]){"conv", "conv_1", "conv_2", "conv_3", "conv_4",
                                                      "conv_5", "conv_6", "conv_7", "conv_8", "dense", NULL});
    qbt_error(qb_sensitivity_measure(all.graph, all.qgraph, &all.set, 1, 1, NULL, &s, &err), QB_EUNSUPPORTED,
              &err, "scheme test quantizes no layer");
    qb_qgraph_free(all.qgraph);
}

/* In graph mode the pool's codes are quantized once more for the dense layer; with add left float, conv_3 has
 * other codes of it than conv_5. Each is a layer of its own, and all together are the integer network. */
static void two_scales_of_a_tensor(void **state)
{
    struct quantized two = *(const struct quantized *)*state;
    static const char *const names[] = {"dense_flatten", "conv_3_pad"};
    for (int floats = 0; floats < 2; floats++) {
        two.qgraph = quantized_with(&two, QB_PREPARE_FX, (const char *const[]){floats ? "add" : NULL, NULL});
        const int node = qb_qgraph_find(two.qgraph, names[floats]);
        assert_true(node > 0);
        struct qb_sensitivity fine = measure(&two, SOME, 2);
        two.qgraph->nodes[node].q.scale *= 16;
        struct qb_sensitivity coarse = measure(&two, SOME, 2);
        const struct qb_layer_sensitivity *const a = &fine.layers[find(&fine, names[floats])],
                                                 *const b = &coarse.layers[find(&coarse, names[floats])];
        assert_near(fine.all.logits.noise / fine.integer.logits.noise, 1, 0.1);
        assert_near(coarse.all.logits.noise / coarse.integer.logits.noise, 1, 0.1);
        assert_true(a->alone.logits.noise > 0 && b->alone.logits.noise > 50 * a->alone.logits.noise);
        assert_true(a->alone_output.noise > 0 && b->alone_output.noise > 50 * a->alone_output.noise);
        assert_true(memcmp(&a->kept.logits, &b->kept.logits, sizeof a->kept.logits) == 0);
        assert_true(b->kept.logits.noise < 0.5 * coarse.all.logits.noise);
        qb_sensitivity_free(&fine);
        qb_sensitivity_free(&coarse);
        qb_qgraph_free(two.qgraph);
    }
}

/* By hand: certain only when chance cannot do it, times the number of layers. */
static void worst(void **state)
{
    (void)state;
    struct qb_layer_sensitivity layers[4] = {
        {.f32 = true},
        {.kept = {.hits = 100, .logits = {.noise = 5}}},
        {.kept = {.hits = 106, .logits = {.noise = 6}}, .only_kept = 6},
        {.kept = {.hits = 100, .logits = {.noise = 4}}},
    };
    struct qb_sensitivity s = {.all = {.hits = 100}, .layers = layers, .count = 4};
    bool certain;
    assert_int_equal(qb_sensitivity_worst(&s, &certain), 3); /* p = 2 / 2^6, times 3 */
    assert_false(certain);
    layers[2].only_kept = 7;
    layers[2].kept.hits = 107;
    assert_int_equal(qb_sensitivity_worst(&s, &certain), 2); /* p = 2 / 2^7, times 3 */
    assert_true(certain);
}

/* A range a quarter as wide: what lies outside is counted once in the float network and shows as end codes.
 */
static void clipping_is_counted(void **state)
{
    const struct quantized *const q = *state;
    struct qb_qnode *const node = &q->qgraph->nodes[qb_qgraph_find(q->qgraph, "conv_1")];
    const struct qb_qparams saved = node->q;
    node->q.scale /= 4;
    struct qb_sensitivity s = measure(q, 8, 1);
    node->q = saved;
    const struct qb_layer_sensitivity *const l = &s.layers[find(&s, "conv_1")];
    assert_true(l->clipped > 0 && l->clipped < l->values);
    assert_near((double)l->ends, (double)l->clipped, 0.2 * (double)l->clipped);
    assert_int_equal(s.layers[find(&s, "conv_8")].clipped, 0);
    qb_sensitivity_free(&s);
}

static void refusals(void **state)
{
    const struct quantized *const q = *state;
    struct qb_sensitivity s;
    struct qb_error err;
    qbt_error(qb_sensitivity_measure(q->graph, q->qgraph, &q->set, QUANTIZED_IMAGES + 1, 1, NULL, &s, &err),
              QB_EINPUT, &err, "has 1 to 40");
    struct qb_qnode *const node = &q->qgraph->nodes[qb_qgraph_find(q->qgraph, "conv_1")];
    node->name = "elsewhere";
    qbt_error(qb_sensitivity_measure(q->graph, q->qgraph, &q->set, 1, 1, NULL, &s, &err), QB_EUNSUPPORTED,
              &err, "layer elsewhere has no counterpart");
    node->name = "conv_1";
    struct qb_qnode *const conv = &q->qgraph->nodes[qb_qgraph_find(q->qgraph, "conv_2")];
    conv->op = QB_QOP_QUANTIZE;
    qbt_error(qb_sensitivity_measure(q->graph, q->qgraph, &q->set, 1, 1, NULL, &s, &err), QB_EUNSUPPORTED,
              &err, "node conv_2 quantizes relu_1 once more for a node that does not multiply");
    conv->op = QB_QOP_CONV;
    qb_interrupt(); /* last: it stays */
    qbt_error(qb_sensitivity_measure(q->graph, q->qgraph, &q->set, 1, 1, NULL, &s, &err), QB_EINTERRUPTED,
              &err, "interrupted after 0 of 1 images");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deviations),
        cmocka_unit_test(whole_networks),
        cmocka_unit_test(threads_and_parts),
        cmocka_unit_test(a_spoiled_layer_is_found),
        cmocka_unit_test(mixed_precision),
        cmocka_unit_test(floats_beside_codes),
        cmocka_unit_test(nothing_quantized),
        cmocka_unit_test(two_scales_of_a_tensor),
        cmocka_unit_test(worst),
        cmocka_unit_test(clipping_is_counted),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, quantized_setup, quantized_teardown);
}
