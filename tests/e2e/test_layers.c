/* Saturating sums, sensitivity and traces through the installed program. */
#include "e2e.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>

#include "base/file.h"
#include "base/npy.h"

static const char *model(void)
{
    return qbt_source("models/resnet8.onnx");
}

static struct e2e_result good(const char *args)
{
    struct e2e_result r = e2e_run(NULL, "%s", args);
    if (r.code != 0) {
        print_error("qbench %s: exit code %d: %s\n", args, r.code, r.err);
    }
    assert_int_equal(r.code, 0);
    return r;
}

static json_t *json_of(const char *args)
{
    struct e2e_result r = good(args);
    json_t *const root = json_loads(r.out, 0, NULL);
    assert_non_null(root);
    e2e_free(&r);
    return root;
}

/* Quantizes under the shipped scheme onednn: 8-bit codes, which saturate. */
static void quantize(const char *file)
{
    char args[8192];
    snprintf(args, sizeof args, "quantize --model %s --scheme onednn --samples-per-class 10 --output %s",
             model(), file);
    struct e2e_result r = good(args);
    e2e_free(&r);
}

static const char *logits_hash(const json_t *root)
{
    return json_string_value(json_object_get(root, "logits_sha256"));
}

static void accumulate(void **state)
{
    (void)state;
    quantize("q.onnx");
    json_t *const exact = json_of("evaluate --model q.onnx --images 200 --format json --engine reference");
    json_t *const saturating =
        json_of("evaluate --model q.onnx --images 200 --format json --accumulate maddubs");
    json_t *const back =
        json_of("evaluate --model q.onnx --images 200 --format json --accumulate exact --engine reference");
    assert_true(json_is_null(json_object_get(exact, "saturation")));
    assert_string_equal(logits_hash(exact), logits_hash(back));
    assert_string_not_equal(logits_hash(exact), logits_hash(saturating));
    const json_t *const m = json_object_get(saturating, "model");
    assert_string_equal(json_string_value(json_object_get(m, "accumulate")), "maddubs_pad4");
    assert_string_equal(json_string_value(json_object_get(json_object_get(saturating, "engine"), "name")),
                        "reference");
    const json_t *const layers = json_object_get(saturating, "saturation"), *const conv =
                                                                                json_array_get(layers, 0);
    assert_int_equal(json_array_size(layers), 10);
    assert_string_equal(json_string_value(json_object_get(conv, "layer")), "conv");
    assert_true(json_integer_value(json_object_get(conv, "pairs")) > 0);
    assert_int_equal(json_integer_value(json_object_get(conv, "of_accumulators")), 200 * 32 * 32 * 16);
    json_decref(exact);
    json_decref(saturating);
    json_decref(back);
    e2e_expect_error(NULL, 2, "one of exact, maddubs", "evaluate --model q.onnx --accumulate int16");
    e2e_expect_error(NULL, 2, "use the reference engine",
                     "evaluate --model q.onnx --accumulate maddubs --engine native");
    e2e_expect_error(NULL, 2, "is a float model", "evaluate --model %s --accumulate maddubs", model());
    unlink(e2e_path("q.onnx"));
    assert_int_equal(e2e_entries(), 0);
}

static void sensitivity(void **state)
{
    (void)state;
    char args[8192];
    snprintf(args, sizeof args,
             "sensitivity --model %s --scheme fbgemm --samples-per-class 2 --images 20 --format json",
             model());
    json_t *const root = json_of(args);
    assert_int_equal(json_integer_value(json_object_get(root, "images")), 20);
    assert_int_equal(json_array_size(json_object_get(root, "layers")), 14);
    assert_string_equal(json_string_value(json_object_get(root, "scheme")), "fbgemm");
    json_decref(root);
    snprintf(args, sizeof args,
             "sensitivity --model %s --scheme fbgemm --samples-per-class 2 --images 20 --format csv --output "
             "s.csv",
             model());
    struct e2e_result r = good(args);
    assert_string_equal(r.out, "");
    e2e_free(&r);
    assert_true(qb_is_file(e2e_path("s.csv")));
    unlink(e2e_path("s.csv"));
    /* Mixed precision: layers that are float have no scale, and what makes codes of floats is a layer. */
    snprintf(args, sizeof args,
             "sensitivity --model %s --scheme fbgemm_mixed --samples-per-class 2 --images 8 --format json",
             model());
    json_t *const mixed = json_of(args);
    const json_t *const first = json_array_get(json_object_get(mixed, "layers"), 0),
                        *const second = json_array_get(json_object_get(mixed, "layers"), 1);
    assert_int_equal(json_array_size(json_object_get(mixed, "layers")), 15);
    assert_string_equal(json_string_value(json_object_get(first, "layer")), "conv");
    assert_true(json_is_null(json_object_get(first, "scale")));
    assert_string_equal(json_string_value(json_object_get(second, "layer")), "quantize_conv");
    assert_true(json_number_value(json_object_get(second, "alone_output_sqnr_db")) > 20);
    json_decref(mixed);
    e2e_expect_error(NULL, 2, "nothing to quantize", "sensitivity --model %s --scheme fp32", model());
    e2e_expect_error(NULL, 2, "no-such-folder",
                     "sensitivity --model %s --scheme fbgemm --data-dir no-such-folder", model());
    r = e2e_run(NULL, "sensitivity --model %s --scheme fbgemm --format html", model());
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "not one of text, md, csv, json, svg"));
    e2e_free(&r);
    snprintf(args, sizeof args,
             "sensitivity --model %s --scheme fbgemm --samples-per-class 2 --images 10000 --output s.txt",
             model());
    r = e2e_run_interrupted(700, args);
    assert_int_equal(r.code, 130);
    assert_string_equal(r.out, "");
    e2e_free(&r);
    assert_int_equal(e2e_entries(), 0);
}

static void trace(void **state)
{
    (void)state;
    char args[8192];
    quantize("q.onnx");
    snprintf(args, sizeof args,
             "trace --model %s --scheme onednn --samples-per-class 10 --image 7 --output one", model());
    struct e2e_result r = good(args);
    assert_non_null(
        strstr(r.out, "one: 15 tensors of the integer network, 22 of the float network; image 7, "));
    e2e_free(&r);
    /* The same from the quantized file, the image from the first trace: the same codes. */
    snprintf(args, sizeof args, "trace --model q.onnx --float %s --image one/image.npy --output two",
             model());
    r = good(args);
    e2e_free(&r);
    r = e2e_shell(NULL, "diff -r one/integer two/integer && diff -r one/float two/float && rm -r two");
    if (r.code != 0) {
        print_error("%s%s\n", r.out, r.err);
    }
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    /* And by the other command. */
    snprintf(args, sizeof args,
             "sensitivity --model %s --scheme onednn --samples-per-class 10 --trace 7 --output two", model());
    r = good(args);
    assert_non_null(strstr(r.out, "two: 15 tensors of the integer network, 22 of the float network; "));
    e2e_free(&r);
    r = e2e_shell(NULL, "diff -r one two && rm -r two");
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    r = e2e_run(NULL, "sensitivity --model x --scheme onednn --trace 7");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "--trace needs --output, the folder to make"));
    e2e_free(&r);
    r = e2e_run(NULL, "sensitivity --model x --scheme onednn --trace 7 --format md --output two");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "--format shapes the table, which --trace does not make"));
    e2e_free(&r);
    r = good("trace --model q.onnx --image one/image.npy --accumulate maddubs --output two");
    assert_non_null(strstr(r.out, "two: 15 tensors of the integer network; image one/image.npy, "));
    e2e_free(&r);
    assert_false(qb_is_dir(e2e_path("two/float")));
    assert_true(qb_is_file(e2e_path("two/stats.csv")));
    /* The logits are what evaluate writes. */
    r = good("evaluate --model q.onnx --engine reference --images 8 --logits l.npy");
    e2e_free(&r);
    struct qb_npy traced, all;
    struct qb_error err;
    qbt_ok(qb_npy_read(e2e_path("one/integer/14_dense.npy"), &traced, &err), &err);
    qbt_ok(qb_npy_read(e2e_path("l.npy"), &all, &err), &err);
    assert_int_equal(traced.count, 10);
    assert_memory_equal(traced.data, (const float *)all.data + 70, 10 * sizeof(float));
    qb_npy_free(&traced);
    qb_npy_free(&all);
    /* Layers left float: values, no codes. */
    snprintf(args, sizeof args,
             "trace --model %s --scheme fbgemm_mixed --samples-per-class 2 --image 7 --output mixed",
             model());
    r = good(args);
    e2e_free(&r);
    qbt_ok(qb_npy_read(e2e_path("mixed/integer/01_conv.npy"), &traced, &err), &err);
    qbt_ok(qb_npy_read(e2e_path("mixed/float/02_relu.npy"), &all, &err), &err);
    assert_memory_equal(traced.data, all.data, traced.count * sizeof(float));
    assert_false(qb_is_file(e2e_path("mixed/integer/01_conv.codes.npy")));
    assert_true(qb_is_file(e2e_path("mixed/integer/02_quantize_conv.codes.npy")));
    qb_npy_free(&traced);
    qb_npy_free(&all);
    r = e2e_shell(NULL, "rm -r mixed");
    e2e_free(&r);
    e2e_expect_error(NULL, 2, "not empty; nothing was written",
                     "trace --model q.onnx --image 0 --output one");
    e2e_expect_error(NULL, 2, "has the test images 0 to",
                     "trace --model q.onnx --image 10000 --output three");
    e2e_expect_error(NULL, 2, "uint8 [32, 32, 3] is expected",
                     "trace --model q.onnx --image l.npy --output three");
    e2e_expect_error(NULL, 2, "gone.npy", "trace --model q.onnx --image gone.npy --output three");
    e2e_expect_error(NULL, 2, "--scheme NAME is needed", "trace --model %s --image 0 --output three",
                     model());
    e2e_expect_error(NULL, 2, "wants a float model",
                     "trace --model q.onnx --float q.onnx --image 0 --output three");
    e2e_expect_error(NULL, 2, "is quantized already",
                     "trace --model q.onnx --scheme fbgemm --image 0 --output three");
    e2e_expect_error(NULL, 2, "cannot be made", "trace --model q.onnx --image 0 --output no/three");
    assert_int_equal(e2e_entries(), 4); /* q.onnx, one, two, l.npy */
    r = e2e_shell(NULL, "rm -r one two q.onnx l.npy");
    assert_int_equal(r.code, 0);
    e2e_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accumulate),
        cmocka_unit_test(sensitivity),
        cmocka_unit_test(trace),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
