/* TensorFlow Lite's recipe, calibrated here on the published weights, beside the published int8 file, whose
 * weights it must give: another calibration, the same rules. The file is executed by every engine with the
 * same result, wherever it was made. */
#include "e2e.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#define FLOATS "models/mlperf-tiny/pretrainedResnet.h5"
#define PUBLISHED "models/mlperf-tiny/pretrainedResnet_quant.tflite"

static json_t *run_json(const char *args, const char *path)
{
    struct e2e_result r = e2e_run(NULL, "%s --format json --model %s", args, path);
    if (r.code != 0) {
        fail_msg("%s --model %s: %s", args, path, r.err);
    }
    json_t *const root = json_loads(r.out, 0, NULL);
    assert_non_null(root);
    e2e_free(&r);
    return root;
}

static void quantize(const char *scheme)
{
    struct e2e_result r = e2e_run(NULL, "quantize --model %s --scheme %s --output %s.onnx",
                                  qbt_shared(FLOATS), scheme, scheme);
    if (r.code != 0) {
        fail_msg("%s: %s", scheme, r.err);
    }
    e2e_free(&r);
}

/* Batch normalizations were folded in another order there: the last bits of a weight scale. */
static void the_published_weights(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared(PUBLISHED);
    quantize("tflite");
    json_t *const ours = run_json("inspect", "tflite.onnx"),
                  *const theirs = run_json("inspect", qbt_shared(PUBLISHED));
    const json_t *const a = json_object_get(ours, "layers"), *const b = json_object_get(theirs, "layers");
    assert_int_equal(json_array_size(a), json_array_size(b));
    int layers = 0;
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *const x = json_object_get(json_array_get(a, i), "weights"),
                            *const y = json_object_get(json_array_get(b, i), "weights");
        if (!json_is_object(x)) {
            continue;
        }
        static const char *const keys[] = {"dtype", "zero_points", "code_min", "code_max"};
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            assert_true(json_equal(json_object_get(x, keys[k]), json_object_get(y, keys[k])));
        }
        const json_t *const p = json_object_get(x, "scales_hex"), *const q = json_object_get(y, "scales_hex");
        assert_true(json_array_size(p) > 0);
        assert_int_equal(json_array_size(p), json_array_size(q));
        for (size_t k = 0; k < json_array_size(p); k++) {
            const double s = strtod(json_string_value(json_array_get(p, k)), NULL),
                         t = strtod(json_string_value(json_array_get(q, k)), NULL);
            if (!(fabs(s / t - 1) < 4e-7)) {
                fail_msg("layer %zu, scale %zu: %.9g, the published file's %.9g", i, k, s, t);
            }
        }
        layers++;
    }
    assert_int_equal(layers, 10);
    json_decref(ours);
    json_decref(theirs);
}

static void right(const char *scheme, int correct)
{
    char path[64];
    snprintf(path, sizeof path, "%s.onnx", scheme);
    quantize(scheme);
    json_t *const root = run_json("evaluate --engine native --threads 2", path);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "overall"), "correct")),
                     correct);
    json_decref(root);
}

/* Beside TensorFlow's 8,690, 8,686 and 8,670 (configs/schemes). */
static void right_answers(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared(FLOATS);
    right("tflite", 8691);
    right("tflite_per_axis", 8694);
    right("tflite_per_tensor", 8670);
}

static void all_engines_agree(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared(FLOATS);
    quantize("tflite");
    json_t *const reference = run_json("evaluate --images 500 --engine reference", "tflite.onnx");
    const char *const logits = json_string_value(json_object_get(reference, "logits_sha256"));
    assert_non_null(logits);
    static const char *const isas[] = {"ref", "avx2", "avxvnni", "avx512vnni", "amx"};
    int ran = 0;
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
        struct e2e_result r = e2e_run(
            NULL, "evaluate --images 500 --engine native --isa %s --format json --model tflite.onnx", isas[i]);
        if (r.code == 0) {
            json_t *const root = json_loads(r.out, 0, NULL);
            assert_string_equal(json_string_value(json_object_get(root, "logits_sha256")), logits);
            json_decref(root);
            ran++;
        } else {
            assert_non_null(strstr(r.err, isas[i])); /* not on this CPU */
        }
        e2e_free(&r);
    }
    assert_true(ran >= 1);
    json_decref(reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_weights),
        cmocka_unit_test(right_answers),
        cmocka_unit_test(all_engines_agree),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
