/* Every shipped scheme: the native engine gives the reference engine's logits, byte for byte, on every
 * instruction set of this CPU. */
#include "e2e.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/cpu.h"
#include "base/file.h"

enum { IMAGES = 40, BYTES = IMAGES * 10 * (int)sizeof(float) };

static void run(const char *what, const char *scheme, const char *args)
{
    struct e2e_result r = e2e_run(NULL, "%s", args);
    if (r.code != 0) {
        fail_msg("%s: %s: code %d: %s", scheme, what, r.code, r.err);
    }
    e2e_free(&r);
}

static struct qb_blob logits(const char *scheme, const char *engine, const char *isa)
{
    char args[256];
    struct qb_blob blob;
    struct qb_error err;
    snprintf(args, sizeof args, "evaluate --model q.onnx --engine %s --isa %s --images %d --logits l.npy",
             engine, isa, IMAGES);
    run(engine, scheme, args);
    qbt_ok(qb_file_read(e2e_path("l.npy"), 1 << 20, &blob, &err), &err);
    assert_true(blob.size > BYTES);
    return blob;
}

static void compare(const char *scheme)
{
    char args[256];
    snprintf(args, sizeof args,
             "quantize --model %s --scheme %s --calib first --samples-per-class 5 --output q.onnx",
             qbt_source("models/resnet8.onnx"), scheme);
    run("quantize", scheme, args);
    struct qb_blob want = logits(scheme, "reference", "ref");
    int isas = 0;
    for (int isa = 0; isa < QB_ISA_COUNT; isa++) {
        if (!qb_cpu_has((enum qb_isa)isa)) {
            continue;
        }
        struct qb_blob got = logits(scheme, "native", qb_isa_name((enum qb_isa)isa));
        if (got.size != want.size || memcmp(got.data, want.data, want.size) != 0) {
            fail_msg("%s: logits of native on %s are not those of reference", scheme,
                     qb_isa_name((enum qb_isa)isa));
        }
        qb_blob_free(&got);
        isas++;
    }
    assert_true(isas > 0);
    qb_blob_free(&want);
}

/* Ranges at run time have no file; golden_dynamic compares the engines. */
static void without_a_file(const char *scheme)
{
    struct e2e_result r = e2e_run(NULL, "quantize --model %s --scheme %s --output q.onnx",
                                  qbt_source("models/resnet8.onnx"), scheme);
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "by a rule that no ONNX operator has"));
    e2e_free(&r);
}

static void every_scheme_on_every_isa(void **state)
{
    (void)state;
    e2e_require_data();
    struct e2e_result r = e2e_run(NULL, "schemes --format json");
    json_t *const root = json_loads(r.out, 0, NULL), *const list = json_object_get(root, "schemes"), *scheme;
    size_t i, count = 0;
    json_array_foreach(list, i, scheme)
    {
        const char *const name = json_string_value(json_object_get(scheme, "name"));
        const json_t *const observer = json_object_get(json_object_get(scheme, "activations"), "observer");
        if (observer && strcmp(json_string_value(observer), "dynamic") == 0) {
            without_a_file(name);
        } else if (strcmp(name, "fp32") != 0) {
            compare(name);
            count++;
        }
    }
    print_message("%zu schemes\n", count);
    assert_true(count >= 40);
    json_decref(root);
    e2e_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_scheme_on_every_isa)};
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
