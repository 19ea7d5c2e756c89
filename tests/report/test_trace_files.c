/* The folder of a trace: what lies in it, and that it is there as a whole or not at all. */
#include "testing.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>

#include "base/file.h"
#include "base/npy.h"
#include "base/progress.h"
#include "report/trace_files.h"

/* The integer network: two codes, s8 outside, and what was made of them as floats; the float network: the
 * tensor they come from, whose name is no file name. */
static uint8_t codes[2] = {0, 130};
static float real[2] = {-64, 1}, wanted[2] = {-63, 1};
static struct qb_trace_tensor integer[2] = {{.name = "conv",
                                             .op = "conv",
                                             .shape = {1, 1, 2},
                                             .count = 2,
                                             .real = real,
                                             .stats = {.min = -64, .max = 1, .mean = -31.5, .sd = 32.5},
                                             .q = {.scale = 0.5F, .zero_point = 128, .dtype = QB_QINT8},
                                             .codes = codes,
                                             .low = 1,
                                             .origin = 0,
                                             .deviation = {3970, 1, 4097, 4033},
                                             .max_error = 1},
                                            {.name = "dequantize_conv",
                                             .op = "dequantize",
                                             .shape = {1, 1, 2},
                                             .count = 2,
                                             .real = real,
                                             .stats = {.min = -64, .max = 1, .mean = -31.5, .sd = 32.5},
                                             .origin = -1}},
                              floating = {.name = "../re,lu\"",
                                          .op = "relu",
                                          .shape = {1, 1, 2},
                                          .count = 2,
                                          .real = wanted,
                                          .origin = -1};
static const struct qb_trace trace = {.integer = integer,
                                      .real = &floating,
                                      .integer_count = 2,
                                      .real_count = 1,
                                      .integer_prediction = 1,
                                      .real_prediction = 0};
static const struct qb_qgraph graph = {.scheme = "mine", .arithmetic = QB_ARITHMETIC_FBGEMM};
static const uint8_t pixels[3] = {1, 2, 3};
static const struct trace_source source = {
    .model = "m.onnx", .image = "7", .qgraph = &graph, .shape = {1, 1, 3}, .pixels = pixels, .label = -1};

static int entries(const char *path)
{
    int n = 0;
    DIR *const dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n - 2;
}

static struct qb_npy array(const char *folder, const char *name)
{
    struct qb_npy npy;
    struct qb_error err;
    char *const path = qb_path_join(folder, name);
    qbt_ok(qb_npy_read(path, &npy, &err), &err);
    free(path);
    assert_int_equal(npy.dims, 3);
    return npy;
}

static void content(void **state)
{
    (void)state;
    struct qb_error err;
    char *const dir = qbt_mkdtemp(), *const folder = qb_path_join(dir, "t"),
                *const slashed = qb_path_join(dir, "t//");
    qbt_ok(trace_write(&trace, &source, slashed, &err), &err);
    assert_int_equal(entries(dir), 1);
    assert_int_equal(entries(folder), 5);
    struct qb_npy npy = array(folder, "integer/00_conv.codes.npy");
    assert_int_equal(npy.type, QB_NPY_I8);
    assert_int_equal(qb_npy_int(&npy, 0), -128);
    assert_int_equal(qb_npy_int(&npy, 1), 2);
    qb_npy_free(&npy);
    npy = array(folder, "integer/00_conv.npy");
    assert_memory_equal(npy.data, real, sizeof real);
    qb_npy_free(&npy);
    npy = array(folder, "integer/01_dequantize_conv.npy");
    assert_memory_equal(npy.data, real, sizeof real);
    qb_npy_free(&npy);
    char *const integers = qb_path_join(folder, "integer");
    assert_int_equal(entries(integers), 3); /* no codes of floats */
    free(integers);
    npy = array(folder, "float/00_.._re_lu_.npy");
    assert_memory_equal(npy.data, wanted, sizeof wanted);
    qb_npy_free(&npy);
    npy = array(folder, "image.npy");
    assert_memory_equal(npy.data, pixels, sizeof pixels);
    qb_npy_free(&npy);
    char *const stats = qb_path_join(folder, "stats.json"), *const csv = qb_path_join(folder, "stats.csv");
    json_t *const root = json_load_file(stats, 0, NULL);
    assert_non_null(root);
    const json_t *const t = json_array_get(json_object_get(root, "integer"), 0);
    assert_string_equal(json_string_value(json_object_get(t, "file")), "integer/00_conv.npy");
    assert_string_equal(json_string_value(json_object_get(t, "float_tensor")), "../re,lu\"");
    assert_int_equal(json_integer_value(json_object_get(t, "zero_point")), 0);
    assert_int_equal(json_integer_value(json_object_get(t, "first_code")), -128);
    assert_true(json_real_value(json_object_get(t, "at_low_end")) == 0.5);
    assert_int_equal(json_array_size(json_object_get(t, "histogram")), QB_TRACE_BINS);
    const json_t *const f = json_array_get(json_object_get(root, "integer"), 1);
    assert_string_equal(json_string_value(json_object_get(f, "dtype")), "float32");
    assert_true(json_is_null(json_object_get(f, "scale")));
    assert_true(json_is_null(json_object_get(f, "at_high_end")));
    assert_true(json_is_null(json_object_get(root, "label")));
    assert_int_equal(json_integer_value(json_object_get(root, "float_prediction")), 0);
    json_decref(root);
    struct qb_blob blob;
    qbt_ok(qb_file_read(csv, 4096, &blob, &err), &err);
    assert_non_null(
        strstr((char *)blob.data, "\r\ninteger,00_conv,conv,1,1,2,-64,1,-31.5,32.5,0.5,0,0.5,0,"));
    assert_non_null(strstr((char *)blob.data,
                           "\r\ninteger,01_dequantize_conv,dequantize,1,1,2,-64,1,-31.5,32.5,,,,,,,\r\n"));
    assert_non_null(strstr((char *)blob.data, "\r\nfloat,00_.._re_lu_,relu,1,1,2,0,0,0,0,,,,,,,\r\n"));
    qb_blob_free(&blob);
    /* Not over what is there. */
    qbt_error(trace_write(&trace, &source, folder, &err), QB_EINPUT, &err, "not empty; nothing was written");
    qbt_error(trace_write(&trace, &source, csv, &err), QB_EINPUT, &err, "is no empty folder");
    assert_int_equal(entries(folder), 5);
    free(csv);
    free(stats);
    free(slashed);
    free(folder);
    qbt_rmtree(dir);
}

static void empty_folders_will_do(void **state)
{
    (void)state;
    struct qb_error err;
    char *const dir = qbt_mkdtemp(), *const folder = qb_path_join(dir, "t");
    assert_int_equal(mkdir(folder, 0777), 0);
    qbt_ok(trace_write(&trace, &source, folder, &err), &err);
    assert_int_equal(entries(folder), 5);
    free(folder);
    qbt_rmtree(dir);
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    struct qb_error err;
    char *const dir = qbt_mkdtemp(), *const deep = qb_path_join(dir, "no/t"),
                *const folder = qb_path_join(dir, "t");
    qbt_error(trace_write(&trace, &source, deep, &err), QB_EIO, &err, "cannot be made");
    qbt_error(trace_write(&trace, &source, "", &err), QB_EINPUT, &err, "empty");
    qb_interrupt(); /* last: it stays */
    qbt_error(trace_write(&trace, &source, folder, &err), QB_EINTERRUPTED, &err, "interrupted");
    assert_int_equal(entries(dir), 0);
    free(folder);
    free(deep);
    qbt_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(content), cmocka_unit_test(empty_folders_will_do),
                                       cmocka_unit_test(failures_leave_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
