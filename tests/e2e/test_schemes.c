/* `qbench schemes`, and that docs/schemes.md says the same as the scheme files: its table is the command's
 * output, and each scheme has a section with what it reproduces and what was compared. */
#include "e2e.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/file.h"
#include "store/row.h"

static char *read_page(void)
{
    struct qb_blob blob;
    struct qb_error err = {0};
    qbt_ok(qb_file_read(qbt_source("docs/schemes.md"), 1 << 20, &blob, &err), &err);
    return (char *)blob.data;
}

static json_t *list_schemes(void)
{
    struct e2e_result r = e2e_run(NULL, "schemes --format json");
    assert_int_equal(r.code, 0);
    json_t *const root = json_loads(r.out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(root, "schema_version")), 2);
    e2e_free(&r);
    return root;
}

static void the_committed_table_is_the_output(void **state)
{
    (void)state;
    static const char mark[] = "<!-- the output of `qbench schemes --format md` -->\n";
    char *const page = read_page();
    const char *const at = strstr(page, mark);
    assert_non_null(at);
    struct e2e_result r = e2e_run(NULL, "schemes --format md");
    assert_int_equal(r.code, 0);
    const size_t length = strlen(r.out);
    assert_true(length > 1000);
    if (strncmp(at + strlen(mark), r.out, length) != 0 || at[strlen(mark) + length] != '\n') {
        fail_msg("the table in docs/schemes.md is not what `qbench schemes --format md` prints; "
                 "scripts/schemes-table.sh makes it so");
    }
    e2e_free(&r);
    free(page);
}

/* One blank for each run of white space, in place. */
static void flatten(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        if (!isspace((unsigned char)*p)) {
            *to++ = *p;
        } else if (to > text && to[-1] != ' ') {
            *to++ = ' ';
        }
    }
    *to = 0;
}

/* The section of a scheme, flattened; malloc'd, NULL when there is none. */
static char *section_of(const char *page, const char *name)
{
    char heading[80];
    snprintf(heading, sizeof heading, "\n## %s\n", name);
    const char *const start = strstr(page, heading);
    if (!start) {
        return NULL;
    }
    const char *const end = strstr(start + 1, "\n## ");
    char *const section = end ? strndup(start, (size_t)(end - start)) : strdup(start);
    flatten(section);
    return section;
}

static void each_scheme_has_a_section(void **state)
{
    (void)state;
    char *const page = read_page();
    json_t *const root = list_schemes(), *const list = json_object_get(root, "schemes");
    assert_true(json_array_size(list) >= 30);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *const s = json_array_get(list, i);
        const char *const name = json_string_value(json_object_get(s, "name"));
        if (strcmp(name, "fp32") == 0) {
            continue;
        }
        char *const section = section_of(page, name);
        if (!section) {
            fail_msg("docs/schemes.md has no section \"## %s\"", name);
        }
        static const char *const keys[] = {"reproduces", "verified"};
        for (int k = 0; k < 2; k++) {
            char *const text = strdup(json_string_value(json_object_get(s, keys[k])));
            flatten(text);
            if (!strstr(section, text)) {
                fail_msg("docs/schemes.md: section %s does not hold the scheme's %s: %s", name, keys[k],
                         text);
            }
            free(text);
        }
        free(section);
    }
    json_decref(root);
    free(page);
}

static void json_holds_every_value_in_effect(void **state)
{
    (void)state;
    json_t *const root = list_schemes(), *const list = json_object_get(root, "schemes");
    int seen = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *const s = json_array_get(list, i);
        const char *const name = json_string_value(json_object_get(s, "name"));
        const json_t *const a = json_object_get(s, "activations");
        if (strcmp(name, "fp32") == 0) {
            assert_true(json_is_null(a));
        }
        if (strcmp(name, "fbgemm") == 0) {
            assert_int_equal(json_integer_value(json_object_get(a, "quant_max")), 127);
            assert_true(json_is_true(json_object_get(a, "reduce_range")));
            assert_float_equal(json_number_value(json_object_get(a, "bins")), 2048, 0);
            assert_float_equal(json_number_value(json_object_get(a, "eps")), 0x1p-23, 0);
            assert_string_equal(json_string_value(json_object_get(s, "compared")), "logits");
            seen++;
        }
        if (strcmp(name, "trt_percentile") == 0) { /* per-tensor option, not a default */
            assert_float_equal(json_number_value(json_object_get(a, "percentile")), 99.99, 0);
            assert_int_equal(json_integer_value(json_object_get(a, "quant_min")), -127);
            seen++;
        }
    }
    assert_int_equal(seen, 2);
    json_decref(root);
}

static void text_says_everything(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run(NULL, "schemes");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "histogram quint8 affine, codes 0..127 (reduce_range), bins 2048"));
    assert_non_null(strstr(r.out, "scale rule nncf"));
    assert_non_null(strstr(r.out, "eps 2^-12"));
    assert_non_null(strstr(r.out, "conv_relu add_relu conv_add"));
    assert_non_null(strstr(r.out, "8,675 right, PyTorch 8,675"));
    e2e_free(&r);
}

/* An experiment on 64 synthetic images, in the work folder. */
static void write_experiment(const char *file, const char *text)
{
    struct qb_error err = {0};
    qbt_ok(qb_file_write(e2e_path(file), text, strlen(text), &err), &err);
}

static void identical_networks_are_scored_once(void **state)
{
    (void)state;
    write_experiment("twins.yaml",
                     "name: twins\nmodel: models/resnet8.onnx\ndata: { images: 64 }\n"
                     "calibration: { per_class: 1 }\n"
                     "schemes: [per_channel, fbgemm, fbgemm_minmax]\nengines: [native]\n"
                     "published: [{ scheme: fbgemm, accuracy: 12.5, source: nobody, why: none }]\n"
                     "measure: { rounds: 6, epoch_ms: 0.01, seconds: 0.1, control: false }\n");
    struct e2e_result r = e2e_run("QB_DATA_DIR=", "run twins.yaml --results twins");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "fbgemm_minmax has the integer network of per_channel"));
    assert_non_null(strstr(r.out, "per_channel (+1)"));
    assert_non_null(strstr(r.out, "shown in one line: per_channel = fbgemm_minmax."));
    struct e2e_result csv = e2e_run(NULL, "report --results twins --format csv");
    int rows = 0;
    for (const char *p = csv.out; (p = strchr(p, '\n')); p++) {
        rows++;
    }
    assert_int_equal(rows, 4); /* the header, and every row */
    assert_non_null(strstr(csv.out, ",0.125,nobody,none,"));
    e2e_free(&csv);
    e2e_free(&r);
}

/* The text of a column of each row of the JSON report; caller frees the root. */
static json_t *report_rows(const char *results)
{
    struct e2e_result r = e2e_run(NULL, "report --results %s --format json", results);
    assert_int_equal(r.code, 0);
    json_t *const root = json_loads(r.out, 0, NULL);
    assert_non_null(root);
    e2e_free(&r);
    return root;
}

static void forget_all_sets_but_the_first(const char *results, const json_t *rows)
{
    char path[64];
    snprintf(path, sizeof path, "%s/qbench.db", results);
    struct qb_store *store = NULL;
    struct qb_error err = {0};
    qbt_ok(qb_store_open(e2e_path(path), &store, &err), &err);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        struct qb_row row;
        int found = 0;
        const char *const key = json_string_value(json_object_get(json_array_get(rows, i), "key"));
        qbt_ok(qb_store_get(store, key, &row, &found, &err), &err);
        assert_int_equal(found, 1);
        if (!row.set_correct[0]) {
            continue;
        }
        row.calibration_sets = 1;
        row.set_correct[strcspn(row.set_correct, " ")] = 0;
        qbt_ok(qb_store_put(store, &row, &err), &err);
    }
    qb_store_close(store);
}

static void calibration_sets_repeat_and_resume(void **state)
{
    (void)state;
    write_experiment("sets.yaml", "name: sets\nmodel: models/resnet8.onnx\ndata: { images: 200 }\n"
                                  "calibration: { sampler: random, seed: 7, per_class: 2, repeat: 3 }\n"
                                  "schemes: [fp32, fbgemm, per_channel]\nengines: [native, onednn]\n"
                                  "measure: { rounds: 6, epoch_ms: 0.01, seconds: 0.1, control: false }\n"
                                  "exclude: [{ scheme: fp32, engine: native }]\n");
    static const char run[] = "run sets.yaml --results sets --quiet";
    struct e2e_result r = e2e_run("QB_DATA_DIR=", run);
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    json_t *const first = report_rows("sets"), *const rows = json_object_get(first, "rows");
    assert_int_equal(json_array_size(rows), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *const row = json_array_get(rows, i);
        const char *const text = json_string_value(json_object_get(row, "set_correct"));
        long a, b, c;
        if (strcmp(json_string_value(json_object_get(row, "scheme")), "fp32") == 0) {
            assert_string_equal(text, "");
            assert_true(json_is_null(json_object_get(row, "calibration_sd")));
            continue;
        }
        assert_int_equal(json_integer_value(json_object_get(row, "calibration_sets")), 3);
        assert_int_equal(sscanf(text, "%ld %ld %ld", &a, &b, &c), 3);
        assert_true(a >= 0 && a <= 200 && b >= 0 && b <= 200 && c >= 0 && c <= 200);
        if (strcmp(json_string_value(json_object_get(row, "exact")), "=") == 0) {
            assert_int_equal(json_integer_value(json_object_get(row, "correct")), a);
        }
        const double mean = (double)(a + b + c) / 600;
        assert_float_equal(json_number_value(json_object_get(row, "calibration_mean")), mean, 1e-8);
    }
    /* As if it had been interrupted behind the first set: only the others are measured, with the same
     * answers. */
    forget_all_sets_but_the_first("sets", rows);
    r = e2e_run("QB_DATA_DIR=", run);
    assert_int_equal(r.code, 0);
    assert_null(strstr(r.err, "calibration set 1 of 3"));
    assert_non_null(strstr(r.err, "calibration set 2 of 3"));
    json_t *const second = report_rows("sets");
    assert_true(json_equal(first, second));
    e2e_free(&r);
    r = e2e_run("QB_DATA_DIR=", run);
    assert_null(strstr(r.err, "calibration set"));
    e2e_free(&r);
    json_decref(second);
    json_decref(first);
}

static void widths_are_crossed(void **state)
{
    (void)state;
    write_experiment("widths.yaml",
                     "name: widths\nmodel: models/resnet8.onnx\ndata: { images: 64 }\n"
                     "calibration: { per_class: 1 }\nschemes: [fbgemm]\n"
                     "bits: { weights: [8, 3], activations: [8, 4] }\nengines: [native, reference]\n"
                     "measure: { rounds: 6, epoch_ms: 0.01, seconds: 0.1, control: false }\n");
    struct e2e_result r = e2e_run("QB_DATA_DIR=", "run widths.yaml --results widths");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "fbgemm_w3a4"));
    assert_non_null(
        strstr(r.out, "fbgemm: agreement with FP32 in % by bits of weights (w) and activations (a)"));
    json_t *const root = report_rows("widths"), *const rows = json_object_get(root, "rows");
    assert_int_equal(json_array_size(rows), 8);
    for (size_t i = 0; i < 8; i += 2) { /* native, then reference */
        const json_t *const a = json_array_get(rows, i), *const b = json_array_get(rows, i + 1);
        assert_string_equal(json_string_value(json_object_get(a, "scheme")),
                            json_string_value(json_object_get(b, "scheme")));
        assert_string_equal(json_string_value(json_object_get(a, "logits_hash")),
                            json_string_value(json_object_get(b, "logits_hash")));
    }
    const json_t *const last = json_array_get(rows, 7);
    assert_int_equal(json_integer_value(json_object_get(last, "weight_bits")), 3);
    assert_int_equal(json_integer_value(json_object_get(last, "activation_bits")), 4);
    json_decref(root);
    e2e_free(&r);
}

static void one_set_cannot_be_repeated(void **state)
{
    (void)state;
    write_experiment("first.yaml",
                     "name: first\nmodel: models/resnet8.onnx\ncalibration: { sampler: first, repeat: 3 }\n"
                     "schemes: [fbgemm]\nengines: [native]\n");
    e2e_expect_error(NULL, 2, "first.yaml:3: calibration.repeat: 3 calibration sets need sampler: random",
                     "run first.yaml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_committed_table_is_the_output),
        cmocka_unit_test(each_scheme_has_a_section),
        cmocka_unit_test(json_holds_every_value_in_effect),
        cmocka_unit_test(text_says_everything),
        cmocka_unit_test(identical_networks_are_scored_once),
        cmocka_unit_test(calibration_sets_repeat_and_resume),
        cmocka_unit_test(widths_are_crossed),
        cmocka_unit_test(one_set_cannot_be_repeated),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
