/* `qbench schemes`, and that docs/schemes.md says the same as the scheme files: its table is the command's
 * output, and each scheme has a section with what it reproduces and what was compared. */
#include "e2e.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/file.h"

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
    write_experiment("twins.yaml", "name: twins\nmodel: models/resnet8.onnx\ndata: { images: 64 }\n"
                                   "calibration: { per_class: 1 }\n"
                                   "schemes: [per_channel, fbgemm, fbgemm_minmax]\nengines: [native]\n"
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
    e2e_free(&csv);
    e2e_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_committed_table_is_the_output),  cmocka_unit_test(each_scheme_has_a_section),
        cmocka_unit_test(json_holds_every_value_in_effect),   cmocka_unit_test(text_says_everything),
        cmocka_unit_test(identical_networks_are_scored_once),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
