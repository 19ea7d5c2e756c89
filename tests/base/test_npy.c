/* .npy: round trips, bytes as numpy writes them, truncation at every length, malformed headers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/npy.h"
#include "testing.h"

/* numpy.save of numpy.array([[1,2,3],[4,5,-6]], '<i4'), header only. */
static const char numpy_header[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }";

/* A .npy image in malloc'd memory, exactly as long as it says: an over-read is seen by the address sanitizer.
 */
static uint8_t *image(int version, const char *header, const void *data, size_t bytes, size_t *size)
{
    const size_t length = strlen(header), start = version == 1 ? 10 : 12;
    uint8_t *const out = malloc(start + length + bytes);
    assert_non_null(out);
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (uint8_t)version;
    out[7] = 0;
    for (size_t i = 8; i < start; i++) {
        out[i] = (uint8_t)(length >> 8 * (i - 8));
    }
    memcpy(out + start, header, length);
    if (bytes) {
        memcpy(out + start + length, data, bytes);
    }
    *size = start + length + bytes;
    return out;
}

static void parse_error(int version, const char *header, size_t bytes, const char *needle)
{
    static const uint8_t zeros[4096];
    struct qb_error err;
    struct qb_npy npy = {0};
    size_t size;
    uint8_t *const file = image(version, header, zeros, bytes, &size);
    qbt_error(qb_npy_parse("x.npy", file, size, &npy, &err), QB_EINPUT, &err, needle);
    assert_null(npy.data);
    free(file);
}

static void round_trip(void **state)
{
    (void)state;
    struct qb_error err;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "a.npy");
    static const double values[24] = {1.5, -2, 3e300, [23] = -0.0};
    static const size_t shapes[][QB_NPY_MAX_DIMS] = {{24},   {2, 12}, {2, 3, 4}, {1, 24, 1, 1, 1, 1, 1, 1},
                                                     {0, 5}, {0}};
    static const int dims[] = {1, 2, 3, QB_NPY_MAX_DIMS, 2, 0};
    for (unsigned s = 0; s < sizeof dims / sizeof dims[0]; s++) {
        for (int type = QB_NPY_U8; type <= QB_NPY_F64; type++) {
            size_t count = 1;
            for (int i = 0; i < dims[s]; i++) {
                count *= shapes[s][i];
            }
            struct qb_npy npy;
            qbt_ok(qb_npy_write(path, (enum qb_npy_type)type, dims[s], shapes[s], values, &err), &err);
            qbt_ok(qb_npy_read(path, &npy, &err), &err);
            assert_int_equal(npy.type, type);
            assert_int_equal(npy.dims, dims[s]);
            assert_int_equal(npy.count, count);
            assert_memory_equal(npy.shape, shapes[s], (size_t)dims[s] * sizeof npy.shape[0]);
            if (count) {
                assert_memory_equal(npy.data, values, count * qb_npy_element_size((enum qb_npy_type)type));
            }
            qb_npy_free(&npy);
            assert_null(npy.data);
        }
    }
    free(path);
    qbt_rmtree(dir);
}

static void bytes_are_numpys(void **state)
{
    (void)state;
    struct qb_error err;
    static const int32_t values[] = {1, 2, 3, 4, 5, -6};
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "a.npy");
    qbt_ok(qb_npy_write(path, QB_NPY_I32, 2, (const size_t[]){2, 3}, values, &err), &err);
    struct qb_blob blob;
    qbt_ok(qb_file_read(path, 10000, &blob, &err), &err);
    assert_int_equal(blob.size, 128 + sizeof values);
    assert_memory_equal(blob.data, "\x93NUMPY\x01\x00\x76\x00", 10);
    assert_memory_equal(blob.data + 10, numpy_header, sizeof numpy_header - 1);
    assert_int_equal(blob.data[126], ' ');
    assert_int_equal(blob.data[127], '\n');
    assert_memory_equal(blob.data + 128, values, sizeof values);
    qb_blob_free(&blob);
    free(path);
    qbt_rmtree(dir);
}

static void integers(void **state)
{
    (void)state;
    struct qb_error err;
    static const struct {
        const char *descr;
        uint8_t bytes[8];
        size_t size;
        int64_t want;
    } cases[] = {
        {"|u1", {0xfe}, 1, 254},
        {"|i1", {0xfe}, 1, -2},
        {"<u2", {0xfe, 0xff}, 2, 65534},
        {"<i2", {0xfe, 0xff}, 2, -2},
        {"<u4", {0xfe, 0xff, 0xff, 0xff}, 4, 4294967294},
        {"<i4", {0xfe, 0xff, 0xff, 0xff}, 4, -2},
        {"<u8", {0, 0, 0, 0, 1}, 8, 4294967296},
        {"<u8", {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8, INT64_MAX},
        {"<i8", {0, 0, 0, 0, 1}, 8, 4294967296},
        {">u2", {1, 2}, 2, 258},
        {">i2", {0xff, 0xfe}, 2, -2},
        {">u4", {0xff, 0xff, 0xff, 0xfe}, 4, 4294967294},
        {">i4", {0xff, 0xff, 0xff, 0xfe}, 4, -2},
        {">u8", {0, 0, 0, 1, 0, 0, 0, 2}, 8, 4294967298},
        {">i8", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}, 8, -2},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int version = 1; version <= 2; version++) {
            char header[100];
            size_t size;
            struct qb_npy npy;
            /* Keys in another order, without the trailing comma: the format does not promise numpy's own
             * spelling. */
            snprintf(header, sizeof header, "{'shape': (1,), 'fortran_order': False, 'descr': '%s'}\n",
                     cases[i].descr);
            uint8_t *const file = image(version, header, cases[i].bytes, cases[i].size, &size);
            qbt_ok(qb_npy_parse("x.npy", file, size, &npy, &err), &err);
            assert_int_equal(npy.count, 1);
            assert_true(qb_npy_int(&npy, 0) == cases[i].want);
            qb_npy_free(&npy);
            free(file);
        }
    }
}

static void big_endian_floats(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_npy npy;
    size_t size;
    uint8_t *const file = image(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }",
                                (const uint8_t[]){0x3f, 0xc0, 0, 0, 0xc0, 0, 0, 0}, 8, &size);
    qbt_ok(qb_npy_parse("x.npy", file, size, &npy, &err), &err);
    assert_int_equal(npy.type, QB_NPY_F32);
    assert_memory_equal(npy.data, ((const float[]){1.5f, -2}), 8);
    qb_npy_free(&npy);
    free(file);
}

static void truncation_at_every_length(void **state)
{
    (void)state;
    struct qb_error err;
    static const int32_t values[] = {1, 2, 3, 4, 5, -6};
    for (int version = 1; version <= 2; version++) {
        size_t size;
        uint8_t *const file = image(version, numpy_header, values, sizeof values, &size);
        for (size_t n = 0; n < size; n++) {
            struct qb_npy npy = {0};
            uint8_t *const cut = malloc(n ? n : 1);
            assert_non_null(cut);
            memcpy(cut, file, n);
            qbt_error(qb_npy_parse("cut.npy", cut, n, &npy, &err), QB_EINPUT, &err, "cut.npy: ");
            assert_null(npy.data);
            free(cut);
        }
        struct qb_npy npy;
        qbt_ok(qb_npy_parse("whole.npy", file, size, &npy, &err), &err);
        qb_npy_free(&npy);
        free(file);
    }
}

/* Whatever a byte becomes, the answer is an array within the bytes or an error. */
static void mutations_never_crash(void **state)
{
    (void)state;
    static const int32_t values[] = {1, 2, 3, 4, 5, -6};
    size_t size;
    uint8_t *const file = image(1, numpy_header, values, sizeof values, &size);
    unsigned refused = 0;
    for (size_t i = 0; i < size - sizeof values; i++) {
        const uint8_t old = file[i];
        for (unsigned value = 0; value < 256; value++) {
            struct qb_error err;
            struct qb_npy npy;
            file[i] = (uint8_t)value;
            if (qb_npy_parse("x.npy", file, size, &npy, &err) == QB_OK) {
                assert_true(npy.count * qb_npy_element_size(npy.type) <= size);
                qb_npy_free(&npy);
            } else {
                refused++;
            }
        }
        file[i] = old;
    }
    assert_true(refused > 1000);
    free(file);
}

static void malformed_headers(void **state)
{
    (void)state;
    parse_error(1, "", 0, "element type");
    parse_error(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }", 4, "element type '<f2'");
    parse_error(1, "{'descr': '|i4', 'fortran_order': False, 'shape': (1,), }", 4, "element type '|i4' is");
    parse_error(1, "{'descr': '|b1', 'fortran_order': False, 'shape': (1,), }", 4, "element type '|b1' is");
    parse_error(1, "{'descr': 'i4', 'fortran_order': False, 'shape': (1,), }", 4, "element type 'i4' is");
    parse_error(1, "{'descr': '", 4, "element type '");
    parse_error(1, "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8, "element type");
    parse_error(1, "{'descr': '<i4", 8, "element type");
    parse_error(1, "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 2), }", 16, "Fortran order");
    parse_error(1, "{'descr': '<i4', 'shape': (2, 2), }", 16, "Fortran order");
    parse_error(1, "{'descr': '<i4', 'fortran_order': False, }", 16, "without a 'shape'");
    parse_error(1, "{'descr': '<i4', 'fortran_order': False, 'shape': 4, }", 16, "without a 'shape'");
    parse_error(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, ", 8, "malformed 'shape'");
    parse_error(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (-1,), }", 8, "malformed 'shape'");
    parse_error(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2.5,), }", 8, "malformed 'shape'");
    parse_error(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 1,
                "too many dimensions");
    parse_error(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 16,
                "too many");
    parse_error(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (2305843009213693952,), }", 16,
                "truncated");
    parse_error(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,), }", 16,
                "truncated");
    parse_error(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", 23,
                "3 elements are announced");
    parse_error(3, numpy_header, 24, "format version 3");
    parse_error(0, numpy_header, 24, "format version 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bytes_are_numpys),
        cmocka_unit_test(integers),
        cmocka_unit_test(big_endian_floats),
        cmocka_unit_test(truncation_at_every_length),
        cmocka_unit_test(mutations_never_crash),
        cmocka_unit_test(malformed_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
