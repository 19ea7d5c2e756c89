/* Bad input through the installed program: one clear sentence, exit code 2, nothing left behind. */
#include "e2e.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static void copy_part(const char *from, const char *to, size_t bytes)
{
    struct qb_blob blob;
    struct qb_error err = {0};
    qbt_ok(qb_file_read(from, 1 << 26, &blob, &err), &err);
    qbt_ok(qb_file_write(to, blob.data, bytes < blob.size ? bytes : blob.size, &err), &err);
    qb_blob_free(&blob);
}

static void usage(void **state)
{
    (void)state;
    e2e_expect_error(NULL, 2, "is not a command", "nonsense");
    struct e2e_result r = e2e_run(NULL, "evaluate");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "--model FILE is required"));
    e2e_free(&r);
    r = e2e_run(NULL, "evaluate --model x --threads many");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "--threads: \"many\" is not a whole number"));
    e2e_free(&r);
    r = e2e_run(NULL, "--help");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "quantize"));
    e2e_free(&r);
    assert_int_equal(e2e_entries(), 0);
}

static void experiments(void **state)
{
    (void)state;
    struct qb_error err = {0};
    e2e_expect_error(NULL, 2, "nonsense.yaml", "run nonsense.yaml");
    static const char bad[] =
        "name: bad\nmodel: models/resnet8.onnx\nschemes: [fbgemm]\nengines: [onednn]\nspeed: 11\n";
    qbt_ok(qb_file_write(e2e_path("bad.yaml"), bad, sizeof bad - 1, &err), &err);
    e2e_expect_error(NULL, 2, "speed", "run bad.yaml");
    static const char unknown[] =
        "name: bad\nmodel: models/resnet8.onnx\nschemes: [fbgmm]\nengines: [onednn]\n";
    qbt_ok(qb_file_write(e2e_path("bad.yaml"), unknown, sizeof unknown - 1, &err), &err);
    e2e_expect_error(NULL, 2, "fbgmm", "run bad.yaml");
    unlink(e2e_path("bad.yaml"));
    assert_int_equal(e2e_entries(), 0);
}

/* What is wrong is found before the results folder is made. */
static void nothing_is_made_for_a_run_that_cannot_be(void **state)
{
    (void)state;
    struct qb_error err = {0};
    copy_part(qbt_source("models/resnet8.onnx"), e2e_path("cut.onnx"), 100000);
    e2e_expect_error(NULL, 2, "cut.onnx", "run quick --model cut.onnx");
    unlink(e2e_path("cut.onnx"));
    e2e_expect_error(NULL, 2, "no-such-folder", "run quick --data-dir no-such-folder");
    static const char calibration[] =
        "name: bad\nmodel: models/resnet8.onnx\nschemes: [fbgemm]\nengines: [onednn]\n"
        "calibration: { sampler: ./none.npy }\n";
    qbt_ok(qb_file_write(e2e_path("bad.yaml"), calibration, sizeof calibration - 1, &err), &err);
    e2e_expect_error(NULL, 2, "bad.yaml:5: calibration.sampler: './none.npy' is neither", "run bad.yaml");
    unlink(e2e_path("bad.yaml"));
    assert_int_equal(e2e_entries(), 0);
}

/* A full disk behind standard output, or none at all, is told by every command, and costs no file. */
static void output_that_nobody_takes(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "--help",     "--version",           "schemes", "schemes --format json",
        "run --help", "run quick --dry-run", "env"};
    char script[256];
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        for (int closed = 0; closed < 2; closed++) {
            snprintf(script, sizeof script, "\"$QBENCH\" %s %s", commands[i], closed ? ">&-" : ">/dev/full");
            struct e2e_result r = e2e_shell(NULL, script);
            if (r.code != 2 || !strstr(r.err, "qbench: standard output: cannot be written")) {
                print_error("%s: exit code %d, %s\n", script, r.code, r.err);
                fail();
            }
            e2e_free(&r);
        }
    }
    assert_int_equal(e2e_entries(), 0);
}

static void results_folder_that_cannot_be(void **state)
{
    (void)state;
    e2e_expect_error(NULL, 2, "/dev/null/results", "run quick --results /dev/null/results");
    e2e_expect_error(NULL, 2, "/proc/results", "run quick --results /proc/results");
    e2e_expect_error(NULL, 2, "no results yet", "report --results nowhere");
    struct e2e_result r = e2e_shell(NULL, "\"$QBENCH\" run quick --results \"\"");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "--results: the name of the folder is empty"));
    e2e_free(&r);
    assert_int_equal(e2e_entries(), 0);
}

static void models(void **state)
{
    (void)state;
    const char *const good = qbt_source("models/resnet8.onnx");
    copy_part(good, e2e_path("cut.onnx"), 100000);
    e2e_expect_error(NULL, 2, "cut.onnx", "evaluate --model cut.onnx");
    e2e_expect_error(NULL, 2, "cut.onnx", "inspect --model cut.onnx");
    e2e_expect_error(NULL, 2, "cut.onnx", "quantize --model cut.onnx --scheme fbgemm --output q.onnx");
    e2e_expect_error(NULL, 2, "gone.onnx", "evaluate --model gone.onnx");
    e2e_expect_error(NULL, 2, "\"mlperf-tiny/none.h5\" does not exist (nor under ",
                     "evaluate --model mlperf-tiny/none.h5");
    e2e_expect_error(NULL, 2, "`qbench fetch mlperf-tiny` brings it", "evaluate --model mlperf-tiny/none.h5");
    copy_part(good, e2e_path("cut.onnx"), 0);
    e2e_expect_error(NULL, 2, "cut.onnx", "evaluate --model cut.onnx");
    unlink(e2e_path("cut.onnx"));
    assert_int_equal(e2e_entries(), 0);
}

/* The shipped network for another size of images: its input says [N, 3, side, side], and nothing else in the
 * file does. */
static void write_for_images_of(uint8_t side, const char *to)
{
    static const uint8_t dims[] = {10, 2, 8, 3, 10, 2, 8, 32, 10, 2, 8, 32};
    struct qb_blob blob;
    struct qb_error err = {0};
    qbt_ok(qb_file_read(qbt_source("models/resnet8.onnx"), 1 << 26, &blob, &err), &err);
    uint8_t *const at = memmem(blob.data, blob.size, dims, sizeof dims);
    assert_non_null(at);
    at[7] = at[11] = side;
    qbt_ok(qb_file_write(to, blob.data, blob.size, &err), &err);
    qb_blob_free(&blob);
}

/* A network for larger images would read behind the data set. */
static void images_of_another_size(void **state)
{
    (void)state;
    static const char needle[] = "images of 96x96x3; those of the data set";
    write_for_images_of(96, e2e_path("large.onnx"));
    e2e_expect_error(NULL, 2, needle, "evaluate --model large.onnx");
    e2e_expect_error(NULL, 2, needle, "quantize --model large.onnx --scheme fbgemm --output q.onnx");
    e2e_expect_error(NULL, 2, needle, "profile --model large.onnx");
    e2e_expect_error(NULL, 2, needle, "sensitivity --model large.onnx --scheme fbgemm");
    e2e_expect_error(NULL, 2, "large.onnx: the network takes", "run quick --model large.onnx");
    unlink(e2e_path("large.onnx"));
    assert_int_equal(e2e_entries(), 0);
}

/* What `qbench fetch` brought is found from any folder. */
static void models_of_the_cache_folder(void **state)
{
    (void)state;
    struct qb_error err = {0};
    qbt_ok(qb_make_dirs(e2e_path("cache/mlperf-tiny"), &err), &err);
    copy_part(qbt_source("models/resnet8.onnx"), e2e_path("cache/mlperf-tiny/m.onnx"), SIZE_MAX);
    char environment[4096];
    snprintf(environment, sizeof environment, "QB_CACHE_DIR=%s", e2e_path("cache"));
    struct e2e_result r = e2e_run(environment, "inspect --model mlperf-tiny/m.onnx");
    assert_int_equal(r.code, 0);
    e2e_free(&r);
    e2e_expect_error(NULL, 2, "\"mlperf-tiny/m.onnx\" does not exist", "inspect --model mlperf-tiny/m.onnx");
    unlink(e2e_path("cache/mlperf-tiny/m.onnx"));
    rmdir(e2e_path("cache/mlperf-tiny"));
    rmdir(e2e_path("cache"));
    assert_int_equal(e2e_entries(), 0);
}

static void data_and_choices(void **state)
{
    (void)state;
    const char *const model = qbt_source("models/resnet8.onnx");
    e2e_expect_error(NULL, 2, "no-such-folder", "evaluate --model %s --data-dir no-such-folder", model);
    e2e_expect_error(NULL, 2, "avx1024", "evaluate --model %s --isa avx1024", model);
    e2e_expect_error("QB_ISA=sse9", 2, "sse9", "evaluate --model %s", model);
    e2e_expect_error(NULL, 2, "warp", "evaluate --model %s --engine warp", model);
    e2e_expect_error(NULL, 2, "warp", "profile --model %s --engine native,warp", model);
    e2e_expect_error(NULL, 2, "nonesuch", "profile --model %s --scheme nonesuch", model);
    e2e_expect_error(NULL, 2, "8 engines",
                     "profile --model %s --engine native,native,native,native,native,"
                     "native,native,native,native",
                     model);
    e2e_expect_error(NULL, 2, "fbgmm", "quantize --model %s --scheme fbgmm --output q.onnx", model);
    e2e_expect_error(NULL, 2, "calib.txt",
                     "quantize --model %s --scheme fbgemm --calib calib.txt --output q.onnx", model);
    e2e_expect_error(NULL, 2, "nothing to quantize", "quantize --model %s --scheme fp32 --output q.onnx",
                     model);
    assert_int_equal(e2e_entries(), 0);
}

static void output_that_cannot_be_written(void **state)
{
    (void)state;
    const char *const model = qbt_source("models/resnet8.onnx");
    struct e2e_result r = e2e_run(
        NULL, "quantize --model %s --scheme default --samples-per-class 1 --output /proc/q.onnx", model);
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "/proc/q.onnx"));
    e2e_free(&r);
    assert_int_equal(e2e_entries(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage),
        cmocka_unit_test(experiments),
        cmocka_unit_test(results_folder_that_cannot_be),
        cmocka_unit_test(nothing_is_made_for_a_run_that_cannot_be),
        cmocka_unit_test(output_that_nobody_takes),
        cmocka_unit_test(models),
        cmocka_unit_test(images_of_another_size),
        cmocka_unit_test(models_of_the_cache_folder),
        cmocka_unit_test(data_and_choices),
        cmocka_unit_test(output_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, e2e_setup, e2e_teardown);
}
