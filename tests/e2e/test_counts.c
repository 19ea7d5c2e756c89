/* The published counts through the installed program, on the real 10,000 test images. */
#include "e2e.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/cpu.h"
#include "base/hash.h"
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
    json_array_foreach(json_object_get(root, "per_class"), i, entry)
    {
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
        "models/mlperf-tiny/pretrainedResnet.h5",  "models/mlperf-tiny/pretrainedResnet.tflite",
        "models/onnx/resnet8_tf2onnx.onnx",        "models/onnx/resnet8_tf2onnx_nchw.onnx",
        "models/onnx/resnet8_tf2onnx_keras3.onnx", "models/onnx/resnet8_torch.onnx",
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
    assert_true(logits.type == QB_NPY_F32 && logits.dims == 2 && logits.shape[0] == 10000 &&
                logits.shape[1] == 10);
    assert_true(predictions.type == QB_NPY_U8 && predictions.dims == 1 && predictions.shape[0] == 10000);
    qbt_require_shared("golden/torch/fp32/pred_all.npy");
    qbt_ok(qb_npy_read(qbt_shared("golden/torch/fp32/pred_all.npy"), &golden, &err), &err);
    assert_memory_equal(predictions.data, golden.data, 10000);
    qb_npy_free(&golden);
    qb_npy_free(&predictions);
    qb_npy_free(&logits);
}

/* Quantizes the published weights and scores the file on `engine`; returns the count, and the SHA-256 of the
 * logits unless `sha256` is NULL. */
static int quantized(const char *scheme, const char *options, const char *engine, char sha256[QB_SHA256_HEX])
{
    struct e2e_result r = e2e_run(NULL, "quantize --model %s --scheme %s %s --output q.onnx",
                                  qbt_shared("models/mlperf-tiny/pretrainedResnet.h5"), scheme, options);
    if (r.code != 0) {
        print_error("quantize %s: %s\n", scheme, r.err);
    }
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    json_t *const root = evaluate(with("--model q.onnx --engine %s", engine));
    const int correct = correct_of(root);
    if (sha256) {
        const char *const text = json_string_value(json_object_get(root, "logits_sha256"));
        assert_int_equal(strlen(text), QB_SHA256_HEX - 1);
        memcpy(sha256, text, QB_SHA256_HEX);
    }
    json_decref(root);
    print_message("%s %s on %s: %d\n", scheme, options, engine, correct);
    return correct;
}

/* Calibration adds floats in PyTorch's order: from pixels to logits nothing differs. Without FMA it runs on
 * oneDNN, and the float sums' last bits move the count a little. */
static void own_calibration_gives_pytorchs_logits(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared("models/mlperf-tiny/pretrainedResnet.h5");
    static const struct {
        const char *scheme, *options;
        int correct;
        const char *sha256; /* of torch 2.13.0's logits */
    } cases[] = {
        {"fbgemm", "--calib first", 8675, "c824b7855314ebda51b6fafeea40c09845e2a1ae6021835f0ddee5956fbfd062"},
        {"fbgemm_unfused", "--calib first", 8533,
         "9c0a6ba8af918a61aa7bbca1432ba6506f17f863fe74ff6e928c45ad37fac059"},
        {"default", "--calib first", 8629,
         "418655ce032e269871072c46be95e5fea8528655affe1a84188450f5c2d17300"},
        {"per_channel", "--calib first", 8607,
         "b7449e58b649643df07185007c9ed32f8a8605a5aa419ebaca1cf8b6d8320612"},
        {"fbgemm", "--calib random --seed 123 --samples-per-class 10 --batch-size 1", 8666,
         "5e2d22b7bb96bd86bf01ed0e492655d523b5d261ab5117b0ba6eabee78a45934"},
        {"fbgemm_unfused", "--calib random --seed 7 --samples-per-class 10 --batch-size 1", 8546,
         "b5cc8ae0ac9278e689788140778303820778e1d2ad30df25a3d18022ac95e624"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sha256[QB_SHA256_HEX];
        const int correct = quantized(cases[i].scheme, cases[i].options, "onednn", sha256);
        if (qb_cpu_has(QB_ISA_AVX2)) {
            assert_int_equal(correct, cases[i].correct);
            assert_string_equal(sha256, cases[i].sha256);
        } else {
            assert_in_range(correct, cases[i].correct - 15, cases[i].correct + 15);
        }
    }
}

/* In one command: the network that `quantize` writes. */
static void evaluate_quantizes(void **state)
{
    (void)state;
    const char *const model = qbt_source("models/resnet8.onnx");
    struct e2e_result r = e2e_run(NULL, "quantize --model %s --scheme best --output q.onnx", model);
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    json_t *const file = evaluate("--model q.onnx --images 200");
    json_t *const direct = evaluate(with("--model %s --scheme best --images 200", model));
    assert_true(json_equal(json_object_get(file, "logits_sha256"), json_object_get(direct, "logits_sha256")));
    const json_t *const of = json_object_get(direct, "model");
    assert_string_equal(json_string_value(json_object_get(of, "scheme")), "best");
    assert_int_equal(json_integer_value(json_object_get(of, "bytes")), 80474);
    json_decref(direct);
    json_decref(file);
    json_t *const floats = evaluate(with("--model %s --scheme fp32 --images 200", model));
    assert_string_equal(json_string_value(json_object_get(json_object_get(floats, "model"), "scheme")),
                        "fp32");
    json_decref(floats);
    e2e_expect_error(NULL, 2, "is quantized already", "evaluate --model q.onnx --scheme best");
}

static void golden_scales_give_the_golden_predictions(void **state)
{
    (void)state;
    e2e_require_data();
    qbt_require_shared("golden/torch/fbgemm-fused/manifest.json");
    qbt_require_shared("models/mlperf-tiny/pretrainedResnet.h5");
    char options[4200];
    snprintf(options, sizeof options, "--qparams %s", qbt_shared("golden/torch/fbgemm-fused/manifest.json"));
    assert_int_equal(quantized("fbgemm", options, "native", NULL), 8675);
    struct e2e_result r =
        e2e_run(NULL, "evaluate --model q.onnx --engine reference --images 256 --logits l.npy");
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

/* Scales and zero points of the file that quantized() leaves are those of `path`, up to the last bits. */
static void assert_scales(const char *path)
{
    json_t *const golden = json_load_file(path, 0, NULL);
    struct e2e_result r = e2e_run(NULL, "inspect --model q.onnx --format json");
    assert_int_equal(r.code, 0);
    json_t *const root = json_loads(r.out, 0, NULL), *layer;
    size_t i, compared = 0;
    json_array_foreach(json_object_get(root, "layers"), i, layer)
    {
        const char *const name = json_string_value(json_object_get(layer, "name"));
        const json_t *const want = json_object_get(json_object_get(golden, "observers"), name);
        if (want) {
            const double scale = strtod(json_string_value(json_object_get(want, "scale_hex")), NULL);
            const double have = json_real_value(json_object_get(layer, "scale"));
            assert_true(fabs(have - scale) <= 3e-7 * scale);
            assert_int_equal(json_integer_value(json_object_get(layer, "zero_point")),
                             json_integer_value(json_object_get(want, "zero_point")));
            compared++;
        }
    }
    assert_int_equal(compared, json_object_size(json_object_get(golden, "observers")));
    json_decref(root);
    json_decref(golden);
    e2e_free(&r);
}

/* PyTorch's own networks: their scales from own calibration, and from their scales their logits. */
static void torch_scales_and_logits(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *golden;
    } cases[] = {{"fbgemm_fx", "tests/golden/torch_fx_fbgemm.json"},
                 {"x86_fx", "tests/golden/torch_fx_x86.json"},
                 {"x86", "tests/golden/torch_x86.json"},
                 {"onednn", "tests/golden/torch_onednn.json"}};
    /* reference equals native (golden_full, e2e_engines) and takes a hundred times as long */
    static const char *const engines[] = {"native", "onednn"};
    e2e_require_data();
    qbt_require_shared("models/mlperf-tiny/pretrainedResnet.h5");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const path = qbt_source(cases[i].golden);
        json_t *const golden = json_load_file(path, 0, NULL);
        const json_int_t correct = json_integer_value(json_object_get(golden, "correct"));
        const char *const want = json_string_value(json_object_get(golden, "logits_sha256"));
        char options[4200], sha256[QB_SHA256_HEX];
        snprintf(options, sizeof options, "--qparams %s", path);
        for (size_t k = 0; k < sizeof engines / sizeof *engines; k++) {
            if (strcmp(engines[k], "onednn") != 0 || qb_cpu_has(QB_ISA_AVX512VNNI)) {
                assert_int_equal(quantized(cases[i].scheme, options, engines[k], sha256), correct);
                assert_string_equal(sha256, want);
            }
        }
        if (qb_cpu_has(QB_ISA_AVX2)) {
            assert_int_equal(quantized(cases[i].scheme, "", "native", NULL), correct);
            assert_scales(path);
        }
        json_decref(golden);
    }
}

static void uint8_is_refused_by_pytorch_and_replaced(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run(
        NULL, "quantize --model %s --scheme fbgemm --dtype uint8 --samples-per-class 5 --output u8.onnx",
        qbt_source("models/resnet8.onnx"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "not available in PyTorch"));
    assert_non_null(strstr(r.out, "scheme u8u8"));
    e2e_free(&r);
}

/* oneDNN limited to AVX2 saturates in earnest; the emulation gives its bytes on every test image. Seen with
 * oneDNN 3.2: another version may pair other products. */
static void emulation_is_what_onednn_does(void **state)
{
    (void)state;
    e2e_require_data();
    struct e2e_result r = e2e_run(NULL, "env");
    const bool known = strstr(r.out, "oneDNN          3.2.") != NULL;
    e2e_free(&r);
    if (!qb_cpu_has(QB_ISA_AVX2) || !known) {
        print_message("SKIP: wants AVX2 and oneDNN 3.2\n");
        skip();
    }
    r = e2e_run(NULL, "quantize --model %s --scheme onednn --output saturating.onnx",
                qbt_source("models/resnet8.onnx"));
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    json_t *const real = evaluate("--model saturating.onnx --engine onednn --isa avx2");
    json_t *const emulated = evaluate("--model saturating.onnx --accumulate maddubs --threads 2");
    json_t *const exact = evaluate("--model saturating.onnx --engine native");
    const char *const hash = json_string_value(json_object_get(real, "logits_sha256"));
    assert_string_equal(hash, json_string_value(json_object_get(emulated, "logits_sha256")));
    assert_string_not_equal(hash, json_string_value(json_object_get(exact, "logits_sha256")));
    json_decref(real);
    json_decref(emulated);
    json_decref(exact);
}

/* Calibration's sums have one order on CPUs with FMA, and so have refinements: these counts are the same
 * there. */
static void refined_and_mixed_schemes(void **state)
{
    (void)state;
    static const struct {
        const char *scheme;
        int correct;
    } cases[] = {{"fbgemm_bias_correction", 8682},
                 {"fbgemm_adaround", 8683},
                 {"w4_adaround", 8625},
                 {"dfq", 8689},
                 {"nncf_mixed", 8625},
                 {"fbgemm_mixed", 8666}};
    e2e_require_data();
    qbt_require_shared("models/mlperf-tiny/pretrainedResnet.h5");
    if (!qb_cpu_has(QB_ISA_AVX2)) {
        print_message("SKIP: wants FMA\n");
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(quantized(cases[i].scheme, "", "native", NULL), cases[i].correct);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_model),
        cmocka_unit_test(published_models),
        cmocka_unit_test(text_shows_the_published_figure),
        cmocka_unit_test(own_calibration_gives_pytorchs_logits),
        cmocka_unit_test(evaluate_quantizes),
        cmocka_unit_test(golden_scales_give_the_golden_predictions),
        cmocka_unit_test(torch_scales_and_logits),
        cmocka_unit_test(uint8_is_refused_by_pytorch_and_replaced),
        cmocka_unit_test(emulation_is_what_onednn_does),
        cmocka_unit_test(refined_and_mixed_schemes),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
