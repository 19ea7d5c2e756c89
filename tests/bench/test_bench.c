/* qbench-bench as a program: its list follows the tables, its JSON is whole and consistent, its errors are
 * sentences. No time is judged. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cpu.h"
#include "kernels/add/add.h"
#include "kernels/avgpool/avgpool.h"
#include "kernels/conv/conv.h"
#include "kernels/mul/mul.h"
#include "kernels/quantize/quantize.h"
#include "kernels/recode/recode.h"
#include "kernels/relu/relu.h"
#include "quant/observer.h"
#include "testing.h"

enum { MAX_OUTPUT = 1 << 20 };

/* Runs the program through the shell; *out gets what it printed on stdout (stderr where `arguments` say
 * 2>&1). */
static int bench(const char *arguments, char **out)
{
    char command[4096];
    snprintf(command, sizeof command, "'%s' %s", QB_BENCH, arguments);
    FILE *const pipe = popen(command, "r");
    assert_non_null(pipe);
    char *const text = calloc(1, MAX_OUTPUT);
    assert_non_null(text);
    const size_t n = fread(text, 1, MAX_OUTPUT - 1, pipe);
    text[n] = 0;
    const int status = pclose(pipe);
    *out = text;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void assert_listed(const char *list, const char *name)
{
    char line[512];
    snprintf(line, sizeof line, "%s\n", name);
    if (!strstr(list, line)) {
        fail_msg("not in the list: %s", name);
    }
}

static void the_list_holds_every_family(void **state)
{
    (void)state;
    char *list;
    assert_int_equal(bench("--benchmark_list_tests", &list), 0);
    assert_listed(list, "network/fp32/onednn/mb1");
    assert_listed(list, "network/fbgemm/reference/mb64");
    assert_listed(list, "network/fbgemm_unfused/onednn/mb1");
    assert_listed(list, "network/u8u8/onednn_fused/mb64");
    assert_listed(list, "conv/ic3ih32oc16oh32kh3sh1ph1/onednn/u8s8s32/mb1");
    assert_listed(list, "conv/ic16ih32oc32oh16kh1sh2ph0/onednn/u8s8u8/mb64");
    assert_listed(list, "conv/ic64ih8oc64oh8kh3sh1ph1/onednn/f32/mb1");
    assert_listed(list, "observer/histogram/observe");
    assert_listed(list, "weights/per_channel_minmax");
    /* Eight shapes among ResNet8's nine convolutions. */
    int shapes = 0;
    for (const char *at = list; (at = strstr(at, "/onednn/f32/mb1\n")); at++) {
        shapes++;
    }
    assert_int_equal(shapes, 8);
    free(list);
}

static json_t *run_json(const char *filter)
{
    char arguments[1024], *text;
    json_error_t error;
    snprintf(arguments, sizeof arguments,
             "--benchmark_filter='%s' --benchmark_min_time=0.001 --benchmark_format=json 2>/dev/null",
             filter);
    assert_int_equal(bench(arguments, &text), 0);
    json_t *const report = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!report) {
        fail_msg("the report is no JSON: %s (line %d)", error.text, error.line);
    }
    free(text);
    return report;
}

/* A kernel cannot exist without a benchmark. */
static void every_kernel_is_listed_and_runs(void **state)
{
    (void)state;
    char *list, name[256];
    int runs = 0;
    assert_int_equal(bench("--benchmark_list_tests", &list), 0);
#define CHECK(table, format)                                                                                 \
    for (size_t i = 0; table[i]; i++) {                                                                      \
        snprintf(name, sizeof name, format, table[i]->name);                                                 \
        assert_listed(list, name);                                                                           \
        runs += qb_cpu_has(table[i]->isa);                                                                   \
    }
    CHECK(qb_conv_impls, "conv/ic16ih32oc32oh16kh3sh2ph0/%s/u8s8u8/mb1")
    CHECK(qb_quantize_impls, "quantize/32x32x3/%s/mb1")
    CHECK(qb_relu_impls, "relu/16x16x32/%s/mb1")
    CHECK(qb_recode_impls, "recode/16x16x32/%s/mb1")
    CHECK(qb_add_impls, "add/8x8x64/%s/mb1")
    CHECK(qb_mul_impls, "mul/8x8x64/%s/mb1")
    CHECK(qb_avgpool_impls, "avgpool/8x8x64/%s/mb1")
    free(list);
    json_t *const report = run_json("^(conv/ic16ih32oc32oh16kh3.*/(ref|a.*)/u8s8u8|quantize/.*|re.*/"
                                    "16x16.*|(add|mul)/8x8.*|avgpool/.*)/mb1$");
    const json_t *const results = json_object_get(report, "benchmarks");
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *const b = json_array_get(results, i);
        runs -= json_is_number(json_object_get(b, "GMAC/s")) || json_is_number(json_object_get(b, "MB/s"));
    }
    assert_int_equal(runs, 0);
    json_decref(report);
}

/* None fails, whatever it must have seen before. */
static void every_observer_runs(void **state)
{
    (void)state;
    json_t *const report = run_json("^observer/");
    const json_t *const results = json_object_get(report, "benchmarks");
    size_t observers = 0;
    while (qb_observers[observers]) {
        observers++;
    }
    assert_int_equal(json_array_size(results), 2 * observers);
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *const b = json_array_get(results, i), *const why = json_object_get(b, "error_message");
        if (why) {
            fail_msg("%s: %s", json_string_value(json_object_get(b, "name")), json_string_value(why));
        }
    }
    json_decref(report);
}

static double number(const json_t *object, const char *key)
{
    const json_t *const value = json_object_get(object, key);
    if (!json_is_number(value)) {
        fail_msg("no number \"%s\" in %s", key, json_string_value(json_object_get(object, "name")));
    }
    return json_number_value(value);
}

static void the_context_names_the_machine_and_the_work(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "cpu",    "isas",          "isa",       "compiler",          "kernel",
        "onednn", "model_sha256",  "clock_ghz", "roof_gmacs_f32",    "virtualization",
        "model",  "binary_sha256", "host_name", "library_build_type"};
    json_t *const report = run_json("^weights/minmax$");
    const json_t *const context = json_object_get(report, "context");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *const value = json_string_value(json_object_get(context, keys[i]));
        if (!value || !*value) {
            fail_msg("no \"%s\" in the context", keys[i]);
        }
    }
    json_decref(report);
}

/* GMAC/s, us/img and % of roof are three views of one time. */
static void the_counters_agree(void **state)
{
    (void)state;
    json_t *const report =
        run_json("^(network/(fp32|fbgemm)/onednn/mb(1|64)|conv/ic16ih32oc16oh.*/onednn/.*/mb1)$");
    const json_t *const context = json_object_get(report, "context"), *const list = json_object_get(
                                                                          report, "benchmarks");
    const char *const isa = json_string_value(json_object_get(context, "isa"));
    assert_int_equal(json_array_size(list), 7);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *const b = json_array_get(list, i);
        const char *const name = json_string_value(json_object_get(b, "name"));
        const int f32 = strstr(name, "fp32") || strstr(name, "f32");
        const double macs = number(b, "GMAC/s") * 1e3 * number(b, "us/img");
        const double expected = strncmp(name, "network", 7) == 0 ? 12501632 : 16 * 16 * 9 * 32 * 32;
        if (!(fabs(macs / expected - 1) < 1e-6)) {
            fail_msg("%s: %.0f MACs, wanted %.0f", name, macs, expected);
        }
        char key[64];
        snprintf(key, sizeof key, "roof_gmacs_%s", f32 ? "f32" : isa);
        const double roof = atof(json_string_value(json_object_get(context, key)));
        assert_true(fabs(number(b, "GMAC/s") / roof * 100 / number(b, "roof_%") - 1) < 0.01);
        assert_true(strlen(json_string_value(json_object_get(b, "label"))) > 0);
    }
    json_decref(report);
}

/* Calibration and engines share one oneDNN, whose ISA a process chooses once. */
static void the_isa_is_capped_by_the_environment(void **state)
{
    (void)state;
    if (!qb_cpu_has(QB_ISA_AVX2)) {
        skip();
    }
    setenv("QB_ISA", "avx2", 1);
    json_t *const report = run_json("^network/fbgemm/onednn/mb1$");
    unsetenv("QB_ISA");
    const json_t *const b = json_array_get(json_object_get(report, "benchmarks"), 0);
    assert_non_null(strstr(json_string_value(json_object_get(b, "label")), "avx2"));
    assert_string_equal(json_string_value(json_object_get(json_object_get(report, "context"), "isa")),
                        "avx2");
    json_decref(report);
}

static void check_refused(const char *arguments, const char *needle)
{
    char *text;
    assert_int_equal(bench(arguments, &text), 2);
    if (!strstr(text, needle)) {
        fail_msg("%s: printed \"%s\"", arguments, text);
    }
    free(text);
}

static void mistakes_are_sentences(void **state)
{
    (void)state;
    setenv("QB_ISA", "nonsense", 1);
    check_refused("2>&1", "nonsense");
    unsetenv("QB_ISA");
    check_refused("--nonsense 2>&1", "--nonsense");
    check_refused("--model 2>&1", "--model");
    check_refused("--model /nowhere.onnx 2>&1", "/nowhere.onnx");
    check_refused("--benchmark_filter=^nothing$ 2>&1", "nothing");
}

int main(void)
{
    setenv("QB_SHARE_DIR", qbt_source(""), 1); /* the build folder may be anywhere */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_holds_every_family),
        cmocka_unit_test(every_kernel_is_listed_and_runs),
        cmocka_unit_test(every_observer_runs),
        cmocka_unit_test(the_context_names_the_machine_and_the_work),
        cmocka_unit_test(the_counters_agree),
        cmocka_unit_test(the_isa_is_capped_by_the_environment),
        cmocka_unit_test(mistakes_are_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
