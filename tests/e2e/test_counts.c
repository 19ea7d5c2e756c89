/* The published counts through the installed program, on the real 10,000 test images. */
#include "e2e.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/npy.h"

/* Runs `qbench evaluate --format json ARGS`; returns the parsed document. */
static json_t *evaluate(const char *args)
{
    struct e2e_result r = e2e_run(NULL, "evaluate --format json %s", args);
    if (r.code != 0) {
        print_error("evaluate %s: %s\n", args, r.err);
    }
    assert_int_equal(r.code, 0);
    json_t *const root = json_loads(r.out, 0, NULL);
    assert_non_null(root);
    e2e_free(&r);
    return root;
}

static int correct_of(json_t *root)
{
    const json_t *const overall = json_object_get(root, "overall");
    const int correct = (int)json_integer_value(json_object_get(overall, "correct"));
    int sum = 0;
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(root, "per_class"), i, entry) {
        sum += (int)json_integer_value(json_object_get(entry, "correct"));
        assert_int_equal(json_integer_value(json_object_get(entry, "total")), 1000);
    }
    assert_int_equal(i, 10);
    assert_int_equal(sum, correct);
    assert_int_equal(json_integer_value(json_object_get(overall, "total")), 10000);
    return correct;
}

static int count(const char *args)
{
    json_t *const root = evaluate(args);
    const int correct = correct_of(root);
    json_decref(root);
    return correct;
}

static const char *with(const char *format, const char *path)
{
    static char text[8192];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, format, path);
#pragma GCC diagnostic pop
    return text;
}

static void own_model(void **state)
{
    (void)state;
    e2e_require_data();
    assert_int_equal(count(with("--model %s", qbt_source("models/resnet8.onnx"))), 8890);
}

static void published_models(void **state)
{
    (void)state;
    e2e_require_data();
    static const char *const files[] = {
        "models/mlperf-tiny/pretrainedResnet.h5",      "models/onnx/resnet8_tf2onnx.onnx",
        "models/onnx/resnet8_tf2onnx_nchw.onnx",       "models/onnx/resnet8_tf2onnx_keras3.onnx",
        "models/onnx/resnet8_torch.onnx",
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        qbt_require_shared(files[i]);
        assert_int_equal(count(with("--model %s", qbt_shared(files[i]))), 8719);
    }
}

static void text_shows_the_published_figure(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared("models/mlperf-tiny/pretrainedResnet.h5");
    struct e2e_result r = e2e_run(NULL, "evaluate --model %s --logits l.npy --predictions p.npy",
                                  qbt_shared("models/mlperf-tiny/pretrainedResnet.h5"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "8719/10000 = 87.19 %"));
    e2e_free(&r);
    struct qb_npy logits, predictions, golden;
    struct qb_error err = {0};
    qbt_ok(qb_npy_read(e2e_path("l.npy"), &logits, &err), &err);
    qbt_ok(qb_npy_read(e2e_path("p.npy"), &predictions, &err), &err);
    assert_true(logits.type == QB_NPY_F32 && logits.dims == 2 && logits.shape[0] == 10000 && logits.shape[1] == 10);
    assert_true(predictions.type == QB_NPY_U8 && predictions.dims == 1 && predictions.shape[0] == 10000);
    qbt_require_shared("golden/torch/fp32/pred_all.npy");
    qbt_ok(qb_npy_read(qbt_shared("golden/torch/fp32/pred_all.npy"), &golden, &err), &err);
    assert_memory_equal(predictions.data, golden.data, 10000);
    qb_npy_free(&golden);
    qb_npy_free(&predictions);
    qb_npy_free(&logits);
}

/* Quantizes the published weights and scores the file on `engine`; returns the count. */
static int quantized(const char *scheme, const char *options, const char *engine)
{
    struct e2e_result r = e2e_run(NULL, "quantize --model %s --scheme %s %s --output q.onnx",
                                  qbt_shared("models/mlperf-tiny/pretrainedResnet.h5"), scheme, options);
    if (r.code != 0) {
        print_error("quantize %s: %s\n", scheme, r.err);
    }
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    const int correct = count(with("--model q.onnx --engine %s", engine));
    print_message("%s %s on %s: %d\n", scheme, options, engine, correct);
    return correct;
}

static void own_calibration_is_near_the_golden_counts(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared("models/mlperf-tiny/pretrainedResnet.h5");
    assert_in_range(quantized("fbgemm", "--calib first", "onednn"), 8675 - 15, 8675 + 15);
    assert_in_range(quantized("fbgemm_unfused", "--calib first", "onednn"), 8533 - 15, 8533 + 15);
    assert_in_range(quantized("default", "--calib first", "onednn"), 8629 - 15, 8629 + 15);
    assert_in_range(quantized("per_channel", "--calib first", "onednn"), 8607 - 15, 8607 + 15);
}

static void golden_scales_give_the_golden_predictions(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared("golden/torch/fbgemm-fused/manifest.json");
    qbt_require_shared("models/mlperf-tiny/pretrainedResnet.h5");
    char options[4200];
    snprintf(options, sizeof options, "--qparams %s", qbt_shared("golden/torch/fbgemm-fused/manifest.json"));
    assert_int_equal(quantized("fbgemm", options, "reference"), 8675);
    struct e2e_result r = e2e_run(NULL, "evaluate --model q.onnx --engine reference --images 256 --logits l.npy");
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    struct qb_npy logits, golden;
    struct qb_error err = {0};
    qbt_ok(qb_npy_read(e2e_path("l.npy"), &logits, &err), &err);
    qbt_ok(qb_npy_read(qbt_shared("golden/torch/fbgemm-fused/logits_first256.npy"), &golden, &err), &err);
    assert_memory_equal(logits.data, golden.data, 256 * 10 * sizeof(float));
    qb_npy_free(&golden);
    qb_npy_free(&logits);
}

static void uint8_is_refused_by_pytorch_and_replaced(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run(NULL, "quantize --model %s --scheme fbgemm --dtype uint8 --samples-per-class 5 --output u8.onnx",
                                  qbt_source("models/resnet8.onnx"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "not available in PyTorch"));
    assert_non_null(strstr(r.out, "scheme u8u8"));
    e2e_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_model),
        cmocka_unit_test(published_models),
        cmocka_unit_test(text_shows_the_published_figure),
        cmocka_unit_test(own_calibration_is_near_the_golden_counts),
        cmocka_unit_test(golden_scales_give_the_golden_predictions),
        cmocka_unit_test(uint8_is_refused_by_pytorch_and_replaced),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
