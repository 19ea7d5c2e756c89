/* ONNX Runtime's recipes, calibrated here, beside the files that its own quantizer made: every scale, zero
 * point and weight. Float sums in another order move a scale by its last bits, so 3e-7 is allowed. */
#include "e2e.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

static json_t *inspect(const char *path)
{
    struct e2e_result r = e2e_run(NULL, "inspect --format json --model %s", path);
    assert_int_equal(r.code, 0);
    json_t *const root = json_loads(r.out, 0, NULL);
    assert_non_null(root);
    e2e_free(&r);
    return root;
}

static double number(const json_t *layer, const char *key)
{
    return json_number_value(json_object_get(layer, key));
}

/* Scales and codes' ranges; the weights themselves are compared by the counts of e2e_counts and golden. */
static void compare_weights(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"dtype", "scales_hex", "zero_points", "code_min", "code_max", "pairs"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i]))) {
            print_error("weights: %s differs\n", keys[i]);
            fail();
        }
    }
}

static void compare(const char *scheme, const char *golden, int correct)
{
    const char *const model = "models/onnx/resnet8_tf2onnx.onnx";
    struct e2e_result r =
        e2e_run(NULL, "quantize --model %s --scheme %s --calib %s --output %s.onnx", qbt_shared(model),
                scheme, qbt_shared("golden/ort/calib_first.npy"), scheme);
    if (r.code != 0) {
        print_error("%s: %s\n", scheme, r.err);
    }
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    char own[256];
    snprintf(own, sizeof own, "%s.onnx", scheme);
    json_t *const ours = inspect(own), *const theirs = inspect(qbt_shared(golden));
    const json_t *const a = json_object_get(ours, "layers"), *const b = json_object_get(theirs, "layers");
    assert_int_equal(json_array_size(a), json_array_size(b));
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *const x = json_array_get(a, i), *const y = json_array_get(b, i);
        assert_string_equal(json_string_value(json_object_get(x, "op")),
                            json_string_value(json_object_get(y, "op")));
        if (fabs(number(x, "scale") / number(y, "scale") - 1) > 3e-7 ||
            !json_equal(json_object_get(x, "zero_point"), json_object_get(y, "zero_point"))) {
            print_error("%s: %s: scale %.9g, ONNX Runtime's %.9g\n", scheme,
                        json_string_value(json_object_get(x, "name")), number(x, "scale"),
                        number(y, "scale"));
            fail();
        }
        if (json_is_object(json_object_get(x, "weights"))) {
            compare_weights(json_object_get(x, "weights"), json_object_get(y, "weights"));
        }
    }
    json_decref(ours);
    json_decref(theirs);
    r = e2e_run(NULL, "evaluate --engine native --threads 2 --model %s --format json", own);
    assert_int_equal(r.code, 0);
    json_t *const root = json_loads(r.out, 0, NULL);
    const int right = (int)number(json_object_get(root, "overall"), "correct");
    print_message("%s: %d right, ONNX Runtime %d\n", scheme, right, correct);
    assert_in_range(right, correct - 3, correct + 3); /* what last bits of scales have been seen to move */
    json_decref(root);
    e2e_free(&r);
}

static void scales_are_those_of_the_quantizer(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared("golden/ort/calib_first.npy");
    compare("ort_s8s8", "golden/ort/int8/model.onnx", 8664);
    compare("ort_u8u8", "golden/ort/uint8/model.onnx", 8660);
    compare("ort_u8s8_per_channel", "golden/ort/u8s8-per-channel/model.onnx", 8701);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_are_those_of_the_quantizer),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
