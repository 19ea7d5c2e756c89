/* Which schemes are refused, and that the message names file, line and key. */
#include "testing.h"

#include <math.h>
#include <string.h>

#include "quant_testing.h"

static void refuse(const struct qb_scheme *scheme, enum qb_status status, const char *key, const char *needle)
{
    struct qb_error err;
    qbt_error(qb_scheme_check(scheme, &err), status, &err, needle);
    if (strncmp(err.text, "fbgemm.yaml:", 12) != 0 || !strstr(err.text, key)) {
        fail_msg("file or key %s is missing: %s", key, err.text);
    }
}

static void test_accepted(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_scheme s = qbt_fbgemm();
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.activations.symmetric = true; /* with reduce_range: PyTorch's HistogramObserver takes it */
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.activations.symmetric = false;
    s.weights.dtype = QB_QUINT8; /* PyTorch's fbgemm refuses it, our arithmetic does not */
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.weights.symmetric = false;
    s.activations.dtype = QB_QINT8;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.weights.observer = "moving_average_minmax"; /* one look at the weights: as minmax */
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.fuse |= QB_FUSE_CONV_ADD;
    s.arithmetic = QB_ARITHMETIC_ONEDNN;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.arithmetic = QB_ARITHMETIC_ONEDNN_3_12;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s = (struct qb_scheme){.name = "fp32", .fp32 = true};
    qbt_ok(qb_scheme_check(&s, &err), &err);
}

static void test_observer_names(void **state)
{
    (void)state;
    struct qb_scheme s = qbt_fbgemm();
    s.activations.observer = "histogramm";
    s.activations.line = 7;
    refuse(&s, QB_EINPUT, "fbgemm.yaml:7: activations.observer", "minmax, moving_average_minmax, histogram");
    s.activations.observer = "per_channel_minmax";
    refuse(&s, QB_EINPUT, "activations.observer", "only weights can have");
    s = qbt_fbgemm();
    s.weights.observer = NULL;
    refuse(&s, QB_EINPUT, "weights.observer", "per_channel_minmax");
    struct qb_error err;
    s.path = NULL; /* made in a program: its name has to do */
    qbt_error(qb_scheme_check(&s, &err), QB_EINPUT, &err, "fbgemm: weights.observer is missing");
}

static void test_calibrator_options(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_scheme s = qbt_fbgemm();
    s.activations = (struct qb_observer_spec){.observer = "ort_entropy", .has_levels = true, .levels = 129};
    refuse(&s, QB_EINPUT, "activations.levels", "129 levels out of 128 bins");
    s.activations.has_bins = true;
    s.activations.bins = 129;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.activations.observer = "trt_percentile";
    refuse(&s, QB_EINPUT, "activations.levels", "quant_min, quant_max, eps, bins, percentile");
    s.activations.has_levels = false;
    s.activations.has_percentile = true;
    s.activations.percentile = 50;
    refuse(&s, QB_EINPUT, "activations.percentile", "above 50");
    s.activations.percentile = 100;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.activations.scale_rule = QB_SCALE_ORT;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.activations.has_eps = true;
    s.activations.eps = 0.1f;
    refuse(&s, QB_EINPUT, "activations.eps", "only torch has eps");
    s.activations.has_eps = false;
    s.activations.scale_rule = QB_SCALE_NNCF;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.activations.reduce_range = true;
    refuse(&s, QB_EINPUT, "activations.reduce_range", "symmetric weights only");
    s = qbt_fbgemm();
    s.weights.scale_rule = QB_SCALE_NNCF;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.weights.reduce_range = true;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.weights.symmetric = false;
    refuse(&s, QB_EINPUT, "weights.reduce_range", "symmetric weights only");
    s.weights.symmetric = true;
    s.weights.reduce_range = false;
    s.weights.has_quant_range = true;
    s.weights.quant_min = -64;
    s.weights.quant_max = 64;
    refuse(&s, QB_EINPUT, "weights", "all codes of the dtype");
    s = qbt_fbgemm();
    s.weights.scale_rule = QB_SCALE_NNCF;
    s.weights.dtype = QB_QUINT8;
    refuse(&s, QB_EINPUT, "weights.dtype", "are qint8");
    s.weights.scale_rule = QB_SCALE_TFLITE;
    refuse(&s, QB_EINPUT, "weights", "symmetric qint8 weights only");
    s.weights.dtype = QB_QINT8;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.activations.scale_rule = QB_SCALE_TFLITE;
    qbt_ok(qb_scheme_check(&s, &err), &err);
    s.activations.symmetric = true;
    refuse(&s, QB_EINPUT, "activations.symmetric", "affine activations only");
    s = qbt_fbgemm();
    s.activations.observer = "per_channel_mse";
    refuse(&s, QB_EINPUT, "activations.observer", "only weights can have");
}

static void test_options(void **state)
{
    (void)state;
    struct qb_scheme s = qbt_fbgemm();
    s.weights.has_bins = true;
    s.weights.bins = 100;
    refuse(&s, QB_EINPUT, "weights.bins", "it has: quant_min, quant_max, eps");
    s = qbt_fbgemm();
    s.activations.has_averaging_constant = true;
    s.activations.averaging_constant = 0.01;
    refuse(&s, QB_EINPUT, "activations.averaging_constant", "it has: quant_min, quant_max, eps, bins");
    static const double constants[] = {0, -1, 1.5, NAN, INFINITY};
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        s.activations.observer = "moving_average_minmax";
        s.activations.averaging_constant = constants[i];
        refuse(&s, QB_EINPUT, "activations.averaging_constant", "above 0, at most 1");
    }
    s = qbt_fbgemm();
    static const float eps[] = {0, -1, NAN, INFINITY, 1e-44f};
    for (size_t i = 0; i < sizeof eps / sizeof eps[0]; i++) {
        s.weights.has_eps = true;
        s.weights.eps = eps[i];
        refuse(&s, QB_EINPUT, "weights.eps", "default 2^-23");
    }
    s = qbt_fbgemm();
    static const int bins[] = {0, -1, 65537, INT32_MAX};
    for (size_t i = 0; i < sizeof bins / sizeof bins[0]; i++) {
        s.activations.has_bins = true;
        s.activations.bins = bins[i];
        refuse(&s, QB_EINPUT, "activations.bins", "1 to 65536");
    }
}

static void test_quant_range(void **state)
{
    (void)state;
    static const int bad_u8[][2] = {{0, 256}, {-1, 255}, {1, 255}, {0, 0}, {5, 3}, {-128, 127}};
    static const int bad_s8[][2] = {{-129, 127}, {-128, 128}, {0, 255}, {1, 5}, {-5, -1}, {0, 0}};
    struct qb_scheme s = qbt_fbgemm();
    for (int i = 0; i < 6; i++) {
        s.activations.has_quant_range = true;
        s.activations.quant_min = bad_u8[i][0];
        s.activations.quant_max = bad_u8[i][1];
        refuse(&s, QB_EINPUT, "activations.quant_min", "0..255 of quint8");
    }
    s = qbt_fbgemm();
    for (int i = 0; i < 6; i++) {
        s.weights.has_quant_range = true;
        s.weights.quant_min = bad_s8[i][0];
        s.weights.quant_max = bad_s8[i][1];
        refuse(&s, QB_EINPUT, "weights.quant_min", "-128..127 of qint8");
    }
    s = qbt_fbgemm();
    s.activations.symmetric = true;
    s.activations.observer = "minmax";
    refuse(&s, QB_EUNSUPPORTED, "activations.reduce_range", "symmetric quint8");
    s.activations.observer = "moving_average_minmax";
    refuse(&s, QB_EUNSUPPORTED, "activations.reduce_range", "symmetric quint8");
    s = qbt_fbgemm();
    s.activations.has_quant_range = true;
    s.activations.quant_max = 1;
    refuse(&s, QB_EINPUT, "activations.reduce_range", "at least two codes");
}

static void test_fusion_needs_arithmetic(void **state)
{
    (void)state;
    struct qb_scheme s = qbt_fbgemm();
    s.fuse |= QB_FUSE_CONV_ADD;
    refuse(&s, QB_EINPUT, "fuse", "arithmetic: onednn or onednn_3_12 (here: fbgemm)");
}

/* Everything that quantizes refuses what the check refuses, and the float scheme. */
static void test_users_of_the_check(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_graph *const graph = qbt_resnet8();
    struct qb_scheme s = qbt_fbgemm();
    struct qb_qparams_table table = qbt_numbered_qparams(graph, &s);
    struct qb_calibration *calibration;
    struct qb_qgraph *q;
    s.activations.symmetric = true;
    s.activations.observer = "minmax";
    qbt_error(qb_calibration_create(graph, &s, &calibration, &err), QB_EUNSUPPORTED, &err,
              "symmetric quint8");
    qbt_error(qb_quantize(graph, &s, &table, "", &q, &err), QB_EUNSUPPORTED, &err, "symmetric quint8");
    qbt_error(qb_qparams_read("x", graph, &s, graph->arena, &table, &err), QB_EUNSUPPORTED, &err,
              "symmetric quint8");
    s = (struct qb_scheme){.name = "fp32", .fp32 = true};
    qbt_error(qb_calibration_create(graph, &s, &calibration, &err), QB_EINPUT, &err, "nothing to quantize");
    qbt_error(qb_quantize(graph, &s, &table, "", &q, &err), QB_EINPUT, &err, "nothing to quantize");
    qbt_error(qb_qparams_read("x", graph, &s, graph->arena, &table, &err), QB_EINPUT, &err,
              "nothing to quantize");
    qb_arena_destroy(graph->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),           cmocka_unit_test(test_observer_names),
        cmocka_unit_test(test_calibrator_options), cmocka_unit_test(test_options),
        cmocka_unit_test(test_quant_range),        cmocka_unit_test(test_fusion_needs_arithmetic),
        cmocka_unit_test(test_users_of_the_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
