/* Traces: the engines' own tensors, statistics by hand, and the comparison of the two networks. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/reference/arithmetic.h"
#include "measure/accuracy.h"
#include "measure/trace.h"
#include "quantized.h"

/* cmocka's comparison is of floats. */
static void assert_near(double got, double want, double distance)
{
    if (!(fabs(got - want) <= distance)) {
        fail_msg("%.17g, wanted %.17g", got, want);
    }
}

/* What the engine's tap shows. */
struct tensors {
    const struct qb_trace *trace;
    int compared;
};

static void compare_codes(void *ctx, int node, const void *data, size_t count)
{
    struct tensors *const t = ctx;
    const struct qb_trace_tensor *const got = &t->trace->integer[node];
    assert_int_equal(got->count, count);
    assert_memory_equal(got->codes, data, count);
    t->compared++;
}

static void compare_reals(void *ctx, int node, const void *data, size_t count)
{
    struct tensors *const t = ctx;
    assert_int_equal(t->trace->real[node].count, count);
    assert_memory_equal(t->trace->real[node].real, data, count * sizeof(float));
    t->compared++;
}

static void tensors_of_both_networks(void **state)
{
    const struct quantized *const q = *state;
    const struct qb_engine_options options = {.isa = QB_ISA_REF, .threads = 1, .batch = 1};
    const uint8_t *const image = q->set.images + 5 * QB_IMAGE_BYTES;
    struct qb_trace trace;
    struct qb_error err;
    float logits[QB_CLASSES];
    qbt_ok(qb_trace_make(q->qgraph, q->graph, image, &trace, &err), &err);
    for (int i = 0; i < 2; i++) {
        struct tensors t = {.trace = &trace};
        struct qb_engine *engine = NULL;
        qbt_ok(
            qb_engine_create("reference", i ? q->graph : NULL, i ? NULL : q->qgraph, &options, &engine, &err),
            &err);
        engine->tap = i ? compare_reals : compare_codes;
        engine->tap_ctx = &t;
        qbt_ok(qb_engine_run(engine, image, 1, logits, &err), &err);
        qb_engine_free(engine);
        assert_int_equal(t.compared, i ? q->graph->count : q->qgraph->count);
        assert_int_equal(i ? trace.real_prediction : trace.integer_prediction,
                         qb_first_place(logits, QB_CLASSES));
    }
    assert_int_equal(trace.integer_count, q->qgraph->count);
    for (size_t i = 0; i < trace.integer_count; i++) {
        const struct qb_trace_tensor *const t = &trace.integer[i];
        assert_true(t->origin >= 0);
        const float *const want = trace.real[t->origin].real;
        double sum = 0, squares = 0, noise = 0, worst = 0;
        uint64_t low = 0, high = 0;
        for (size_t k = 0; k < t->count; k++) {
            const float real = qb_dequantize(&q->qgraph->nodes[i].q, t->codes[k]);
            assert_memory_equal(&real, &t->real[k], sizeof real);
            sum += (double)real;
            squares += (double)real * (double)real;
            noise += ((double)real - (double)want[k]) * ((double)real - (double)want[k]);
            worst = fmax(worst, fabs((double)real - (double)want[k]));
            low += t->codes[k] == 0;
            high += t->codes[k] == 255;
        }
        const double mean = sum / (double)t->count, variance = squares / (double)t->count - mean * mean;
        assert_near(t->stats.mean, mean, 1e-9 * fmax(1, fabs(mean)));
        assert_near(t->stats.sd, sqrt(variance), 1e-6 * sqrt(variance));
        assert_near(t->deviation.noise, noise, 1e-9 * noise);
        assert_true(t->max_error == worst);
        assert_int_equal(t->low, low);
        assert_int_equal(t->stats.histogram[0], low);
        assert_int_equal(t->high, high);
    }
    qb_trace_free(&trace);
}

static void histograms_of_floats(void **state)
{
    const struct quantized *const q = *state;
    struct qb_trace trace;
    struct qb_error err;
    qbt_ok(qb_trace_make(q->qgraph, q->graph, q->set.images, &trace, &err), &err);
    for (size_t i = 0; i < trace.real_count; i++) {
        const struct qb_trace_tensor *const t = &trace.real[i];
        uint64_t total = 0;
        for (int b = 0; b < QB_TRACE_BINS; b++) {
            total += t->stats.histogram[b];
        }
        assert_int_equal(total, t->count);
        /* The ends are in the first and in the last bin. */
        assert_true(t->stats.histogram[0] > 0 && t->stats.histogram[QB_TRACE_BINS - 1] > 0);
        for (size_t k = 0; k < t->count; k++) {
            assert_true((double)t->real[k] >= t->stats.min && (double)t->real[k] <= t->stats.max);
        }
    }
    qb_trace_free(&trace);
}

static void without_a_float_network(void **state)
{
    const struct quantized *const q = *state;
    struct qb_trace trace;
    struct qb_error err;
    qbt_ok(qb_trace_make(q->qgraph, NULL, q->set.images, &trace, &err), &err);
    assert_int_equal(trace.real_count, 0);
    assert_int_equal(trace.real_prediction, -1);
    assert_int_equal(trace.integer[3].origin, -1);
    qb_trace_free(&trace);
}

/* Floats of the integer network: the engine's own, with bins instead of codes, and compared all the same. */
static void floats_in_the_integer_network(void **state)
{
    struct quantized mixed = *(const struct quantized *)*state;
    mixed.qgraph = quantized_with(&mixed, QB_PREPARE_EAGER, (const char *const[]){"conv", "conv_4", NULL});
    struct qb_trace trace;
    struct qb_error err;
    qbt_ok(qb_trace_make(mixed.qgraph, mixed.graph, mixed.set.images, &trace, &err), &err);
    assert_int_equal(trace.integer_count, mixed.qgraph->count);
    int floats = 0;
    for (size_t i = 0; i < trace.integer_count; i++) {
        const struct qb_trace_tensor *const t = &trace.integer[i];
        uint64_t total = 0;
        for (int b = 0; b < QB_TRACE_BINS; b++) {
            total += t->stats.histogram[b];
        }
        assert_int_equal(total, t->count);
        assert_int_equal(t->codes == NULL, mixed.qgraph->nodes[i].f32);
        assert_true(t->origin >= 0);
        floats += t->codes == NULL;
        if (!t->codes) {
            assert_true(t->stats.histogram[0] > 0 && t->stats.histogram[QB_TRACE_BINS - 1] > 0);
            assert_int_equal(t->low + t->high, 0);
        }
    }
    assert_int_equal(floats, 4); /* input, conv, dequantize_conv_3, conv_4 */
    const struct qb_trace_tensor *const conv = &trace.integer[qb_qgraph_find(mixed.qgraph, "conv")],
                                        *const codes =
                                            &trace.integer[qb_qgraph_find(mixed.qgraph, "quantize_conv")];
    assert_true(conv->max_error == 0); /* nothing in front of it is quantized */
    assert_true(codes->max_error > 0 && codes->codes);
    assert_int_equal(codes->origin, conv->origin);
    qb_trace_free(&trace);
    qb_qgraph_free(mixed.qgraph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_of_both_networks), cmocka_unit_test(histograms_of_floats),
        cmocka_unit_test(without_a_float_network), cmocka_unit_test(floats_in_the_integer_network)};
    return cmocka_run_group_tests(tests, quantized_setup, quantized_teardown);
}
