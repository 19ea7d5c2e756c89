/* The sweep through the installed program: table, files, repeat, resume after Ctrl-C; on synthetic images, so
 * that it needs no data set. */
#include "e2e.h"

#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/file.h"
#include "store/columns.h"

/* An empty data folder variable makes the program find no data set. */
static const char no_data[] = "QB_DATA_DIR=";

static char *read_text(const char *name)
{
    struct qb_blob blob;
    struct qb_error err = {0};
    qbt_ok(qb_file_read(e2e_path(name), 1 << 24, &blob, &err), &err);
    return (char *)blob.data;
}

/* Blanks the cells of columns that may differ between runs: timings, when, where. */
static void keep_deterministic(char *text)
{
    size_t column = 0;
    int quoted = 0;
    for (char *p = text; *p; p++) {
        quoted ^= *p == '"';
        if (*p == '\n') {
            column = 0;
        } else if (*p == ',' && !quoted) {
            column++;
        } else if (*p != '\r' && column < qb_column_count && !qb_columns[column].deterministic) {
            *p = '.';
        }
    }
}

static void squeeze(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        if (*p != '.' || to == text || to[-1] != '.') {
            *to++ = *p;
        }
    }
    *to = 0;
}

static void table_files_and_a_free_repeat(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run(no_data, "run quick");
    if (r.code != 0) {
        print_error("%s", r.err);
    }
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "synthetic"));
    assert_non_null(strstr(r.out, "SYNTHETIC"));
    assert_non_null(strstr(r.out, "fbgemm"));
    char *const first = read_text("results/quick.csv");
    struct e2e_result again = e2e_run(no_data, "run quick");
    assert_int_equal(again.code, 0);
    assert_string_equal(r.out, again.out);
    char *const second = read_text("results/quick.csv");
    assert_string_equal(first, second);
    free(second);
    e2e_free(&again);
    again = e2e_run(no_data, "report --format csv");
    assert_int_equal(again.code, 0);
    assert_string_equal(again.out, first);
    e2e_free(&again);
    /* Measured again from nothing: everything but the timings is the same, byte for byte. */
    again = e2e_run(no_data, "run quick --fresh");
    assert_int_equal(again.code, 0);
    char *const third = read_text("results/quick.csv");
    keep_deterministic(first);
    keep_deterministic(third);
    squeeze(first);
    squeeze(third);
    assert_string_equal(first, third);
    free(third);
    free(first);
    e2e_free(&again);
    e2e_free(&r);
}

static void a_profile_has_every_layer(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run(no_data, "profile --seconds 1");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "\nconv_2 "));
    assert_non_null(strstr(r.out, "in add")); /* natively a part of the addition */
    assert_non_null(strstr(r.out, "\ndense "));
    assert_non_null(strstr(r.out, "\nwhole run "));
    e2e_free(&r);
    r = e2e_run(no_data, "profile --seconds 1 --scheme fp32 --engine onednn,reference --format json");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "\"engine\": \"reference\""));
    e2e_free(&r);
}

/* Of the engines that nobody asked for, those that cannot are left out in one line; asked for, they are an
 * error. */
static void a_profile_takes_the_engines_that_can(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run(no_data, "profile --seconds 1 --scheme ort_s8s8");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "qbench: left out: onednn ("));
    assert_non_null(strstr(r.out, " native "));
    e2e_free(&r);
    r = e2e_run(no_data, "profile --seconds 1 --scheme %s",
                qbt_source("configs/saturation/onednn_maddubs.yaml"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "qbench: reference engine; left out: native ("));
    assert_non_null(strstr(r.err, "), onednn ("));
    assert_non_null(strstr(r.out, " reference ref"));
    e2e_free(&r);
    r = e2e_run(no_data, "profile --seconds 1 --scheme ort_s8s8 --engine native,onednn");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "the network's is ort"));
    e2e_free(&r);
}

static void dry_run_writes_nothing(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run(no_data, "run default --dry-run --results other");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "fbgemm_unfused"));
    assert_false(qb_is_dir(e2e_path("other")));
    e2e_free(&r);
}

static void interrupted_and_resumed(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run_interrupted(700, "run quick --results stopped --images 2000");
    if (r.code == 0) {
        print_message("the run was faster than the interrupt; nothing to check\n");
    } else {
        assert_int_equal(r.code, 130);
        assert_non_null(strstr(r.err, "goes on from there"));
    }
    e2e_free(&r);
    r = e2e_run(NULL, "run quick --results stopped --images 2000");
    assert_int_equal(r.code, 0);
    e2e_free(&r);
}

static void lists(void **state)
{
    (void)state;
    struct e2e_result r = e2e_run(NULL, "schemes");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "u8u8"));
    e2e_free(&r);
    r = e2e_run(NULL, "env");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "oneDNN"));
    e2e_free(&r);
    r = e2e_run(NULL, "env --format json");
    assert_int_equal(r.code, 0);
    json_t *const root = json_loads(r.out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(root, "schema_version")), 1);
    /* A bound for every instruction set that has a roof. */
    assert_true(json_is_object(json_object_get(root, "resnet8_least_us")));
    assert_int_equal(json_object_size(json_object_get(root, "resnet8_least_us")),
                     json_object_size(json_object_get(root, "int8_gmacs")));
    json_decref(root);
    e2e_free(&r);
    r = e2e_run(NULL, "inspect --model %s", qbt_source("models/resnet8.onnx"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "conv_8"));
    e2e_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_files_and_a_free_repeat),
        cmocka_unit_test(a_profile_has_every_layer),
        cmocka_unit_test(a_profile_takes_the_engines_that_can),
        cmocka_unit_test(dry_run_writes_nothing),
        cmocka_unit_test(interrupted_and_resumed),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
