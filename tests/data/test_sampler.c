/* Calibration samplers: rules, files, and the lists that numpy drew from the real data set. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "data/sampler.h"
#include "fixture.h"

enum { COUNT = 40 };
/* Labels (7 i) mod 10: four images of every class, class c at the indices with i = 3 c mod 10. */
static uint8_t labels[COUNT];
static const struct qb_dataset small = {.name = "cifar10", .count = COUNT, .labels = labels};

static int make(void **state)
{
    for (unsigned i = 0; i < COUNT; i++) {
        labels[i] = (uint8_t)(7 * i % 10);
    }
    *state = qbt_mkdtemp();
    return 0;
}

static int drop(void **state)
{
    qbt_rmtree(*state);
    return 0;
}

static void kinds_are_parsed(void **state)
{
    (void)state;
    struct qb_sampler s = {.per_class = 100, .seed = 42};
    qb_sampler_parse("first", &s);
    assert_int_equal(s.kind, QB_SAMPLER_FIRST);
    assert_null(s.file);
    qb_sampler_parse("random", &s);
    assert_int_equal(s.kind, QB_SAMPLER_RANDOM);
    qb_sampler_parse("./first", &s);
    assert_int_equal(s.kind, QB_SAMPLER_FILE);
    assert_string_equal(s.file, "./first");
    assert_int_equal(s.per_class, 100);
    assert_int_equal(s.seed, 42);
}

static void first_is_sorted_union(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_sample sample;
    const struct qb_sampler s = {.kind = QB_SAMPLER_FIRST, .per_class = 2};
    qbt_ok(qb_sample_draw(&s, &small, &sample, &err), &err);
    assert_int_equal(sample.count, 20);
    for (int64_t i = 0; i < 20; i++) { /* the first twenty images hold two of every class */
        assert_int_equal(sample.indices[i], i);
    }
    char want[QB_HASH64_HEX];
    qb_hash64(sample.indices, 20 * 8, want);
    assert_string_equal(sample.hash, want);
    qb_sample_free(&sample);
    assert_null(sample.indices);
}

static void first_skips_filled_classes(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_sample sample;
    memset(labels, 0, 5); /* 0 0 0 0 0 5 2 9 6 3 | 0 7 4 1 8 ... : class 0 is filled at once */
    const struct qb_sampler s = {.kind = QB_SAMPLER_FIRST, .per_class = 1};
    static const int64_t want[] = {0, 5, 6, 7, 8, 9, 11, 12, 13, 14};
    qbt_ok(qb_sample_draw(&s, &small, &sample, &err), &err);
    assert_int_equal(sample.count, 10);
    assert_memory_equal(sample.indices, want, sizeof want);
    qb_sample_free(&sample);
}

/* numpy: r = RandomState(5); [r.choice(numpy.where(labels == c)[0], 3, replace=False) for c in range(10)] */
static void random_draws_as_numpy(void **state)
{
    (void)state;
    static const int64_t want[30] = {0,  10, 20, 33, 3,  23, 26, 36, 16, 39, 19, 29, 12, 32, 22,
                                     25, 15, 5,  8,  28, 38, 21, 11, 31, 4,  24, 14, 17, 37, 7};
    struct qb_error err;
    struct qb_sample sample, other;
    struct qb_sampler s = {.kind = QB_SAMPLER_RANDOM, .per_class = 3, .seed = 5};
    qbt_ok(qb_sample_draw(&s, &small, &sample, &err), &err);
    assert_int_equal(sample.count, 30);
    assert_memory_equal(sample.indices, want, sizeof want);
    s.seed = 6;
    qbt_ok(qb_sample_draw(&s, &small, &other, &err), &err);
    assert_string_not_equal(sample.hash, other.hash);
    qb_sample_free(&sample);
    qb_sample_free(&other);
}

static void impossible_counts(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_sample sample = {0};
    for (unsigned kind = QB_SAMPLER_FIRST; kind <= QB_SAMPLER_RANDOM; kind++) {
        struct qb_sampler s = {.kind = (enum qb_sampler_kind)kind, .per_class = 0};
        qbt_error(qb_sample_draw(&s, &small, &sample, &err), QB_EINPUT, &err, "at least 1");
        s.per_class = 5;
        qbt_error(qb_sample_draw(&s, &small, &sample, &err), QB_EINPUT, &err,
                  "class 0 (airplane) of cifar10 has only 4");
        s.per_class = UINT_MAX;
        qbt_error(qb_sample_draw(&s, &small, &sample, &err), QB_EINPUT, &err, "has only 4");
        s.per_class = 4;
        qbt_ok(qb_sample_draw(&s, &small, &sample, &err), &err);
        assert_int_equal(sample.count, COUNT);
        qb_sample_free(&sample);
    }
}

static void expect_file(const char *path, const int64_t *want, size_t count)
{
    struct qb_error err;
    struct qb_sample sample;
    const struct qb_sampler s = {.kind = QB_SAMPLER_FILE, .file = path};
    qbt_ok(qb_sample_draw(&s, &small, &sample, &err), &err);
    assert_int_equal(sample.count, count);
    assert_memory_equal(sample.indices, want, count * sizeof *want);
    qb_sample_free(&sample);
}

static void file_error(const char *path, enum qb_status want, const char *needle)
{
    struct qb_error err;
    struct qb_sample sample = {0};
    const struct qb_sampler s = {.kind = QB_SAMPLER_FILE, .file = path};
    qbt_error(qb_sample_draw(&s, &small, &sample, &err), want, &err, needle);
    assert_non_null(strstr(err.text, path));
    assert_null(sample.indices);
}

static void text_files(void **state)
{
    const char *const path = at(*state, "list.txt");
    write_text(path, "# the list\n\n 5\n39 # last\r\n0\n\t5\t\n+7\n3");
    expect_file(path, (const int64_t[]){5, 39, 0, 5, 7, 3}, 6); /* order and repetitions are kept */
    write_text(path, "1\n2\n\n3\n");
    expect_file(path, (const int64_t[]){1, 2, 3}, 3);
}

static void wrong_text_files(void **state)
{
    static const struct {
        const char *text, *needle;
    } cases[] = {
        {"1\n2\nthree\n", "line 3: \"three\" is not an index"},
        {"1\n1 2\n", "line 2: \"1 2\" is not an index"},
        {"1.0\n", "line 1: \"1.0\""},
        {"1,2", "line 1"},
        {"0x10", "line 1"},
        {"# c\n40\n", "line 2: index 40 is outside 0..39, the training images of cifar10"},
        {"1\r\n-1\r\n", "line 2: index -1 is outside"},
        {"9223372036854775808\n", "line 1: \"9223372036854775808\" is not an index"},
        {"9223372036854775807\n", "line 1: index 9223372036854775807 is outside"},
        {"", "no indices"},
        {"# nothing\n\n", "no indices"},
    };
    const char *const path = at(*state, "list.txt");
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text(path, cases[i].text);
        file_error(path, QB_EINPUT, cases[i].needle);
    }
    write_bytes(path, "1\n2\0\n", 5);
    file_error(path, QB_EINPUT, "line 2: a zero byte");
    file_error(at(*state, "absent"), QB_ENOTFOUND, "\"first\", \"random\" or a file");
    file_error(*state, QB_EINPUT, "not a regular file");
}

static void npy_files(void **state)
{
    struct qb_error err;
    static const int64_t list[] = {39, 0, 39, 12};
    static const int32_t list32[] = {39, 0, 39, 12};
    static const uint16_t list16[] = {39, 0, 39, 12};
    static const uint8_t list8[] = {39, 0, 39, 12};
    const char *const path = at(*state, "list.npy");
    const size_t shape[] = {4};
    qbt_ok(qb_npy_write(path, QB_NPY_I64, 1, shape, list, &err), &err);
    expect_file(path, list, 4);
    qbt_ok(qb_npy_write(path, QB_NPY_I32, 1, shape, list32, &err), &err);
    expect_file(path, list, 4);
    qbt_ok(qb_npy_write(path, QB_NPY_U16, 1, shape, list16, &err), &err);
    expect_file(path, list, 4);
    qbt_ok(qb_npy_write(path, QB_NPY_U8, 1, shape, list8, &err), &err);
    expect_file(path, list, 4);
    /* The content decides, not the name. */
    qbt_ok(qb_npy_write(at(*state, "list"), QB_NPY_I64, 1, shape, list, &err), &err);
    expect_file(at(*state, "list"), list, 4);
}

static void wrong_npy_files(void **state)
{
    struct qb_error err;
    struct qb_blob file;
    const char *const path = at(*state, "list.npy");
    qbt_ok(qb_npy_write(path, QB_NPY_I64, 1, (const size_t[]){3}, (const int64_t[]){1, 40, 2}, &err), &err);
    file_error(path, QB_EINPUT, "element 1: index 40 is outside 0..39");
    qbt_ok(qb_npy_write(path, QB_NPY_I32, 1, (const size_t[]){2}, (const int32_t[]){1, -1}, &err), &err);
    file_error(path, QB_EINPUT, "element 1: index -1");
    qbt_ok(qb_npy_write(path, QB_NPY_U64, 1, (const size_t[]){1}, (const uint64_t[]){UINT64_MAX}, &err),
           &err);
    file_error(path, QB_EINPUT, "element 0: index 9223372036854775807 is outside");
    qbt_ok(qb_npy_write(path, QB_NPY_I64, 2, (const size_t[]){3, 1}, (const int64_t[]){1, 3, 2}, &err), &err);
    file_error(path, QB_EINPUT, "an array of 2 dimensions");
    qbt_ok(qb_npy_write(path, QB_NPY_F64, 1, (const size_t[]){2}, (const double[]){1, 3}, &err), &err);
    file_error(path, QB_EINPUT, "must be integers");
    qbt_ok(qb_npy_write(path, QB_NPY_I64, 1, (const size_t[]){0}, NULL, &err), &err);
    file_error(path, QB_EINPUT, "no indices");
    write_text(path, "1\n2\n");
    file_error(path, QB_EINPUT, "not a .npy file");
    qbt_ok(qb_npy_write(path, QB_NPY_I64, 1, (const size_t[]){3}, (const int64_t[]){1, 3, 2}, &err), &err);
    qbt_ok(qb_file_read(path, 10000, &file, &err), &err);
    for (size_t n = 0; n < file.size; n++) {
        write_bytes(path, file.data, n);
        file_error(path, QB_EINPUT, "list.npy");
    }
    qb_blob_free(&file);
}

static void expect_golden(const struct qb_sampler *s, const char *golden)
{
    struct qb_error err;
    struct qb_dataset set;
    struct qb_sample sample, listed;
    struct qb_npy npy;
    qbt_require_shared(golden);
    char *const dir = require_cifar10();
    qbt_ok(qb_npy_read(qbt_shared(golden), &npy, &err), &err);
    qbt_ok(qb_dataset_load(dir, QB_SPLIT_TRAIN, &set, &err), &err);
    qbt_ok(qb_sample_draw(s, &set, &sample, &err), &err);
    assert_int_equal(sample.count, npy.count);
    assert_memory_equal(sample.indices, npy.data, npy.count * sizeof *sample.indices);
    const struct qb_sampler file = {.kind = QB_SAMPLER_FILE, .file = qbt_shared(golden)};
    qbt_ok(qb_sample_draw(&file, &set, &listed, &err), &err);
    assert_string_equal(listed.hash, sample.hash);
    qb_sample_free(&listed);
    qb_sample_free(&sample);
    qb_dataset_free(&set);
    qb_npy_free(&npy);
    free(dir);
}

static void golden_first(void **state)
{
    (void)state;
    const struct qb_sampler s = {.kind = QB_SAMPLER_FIRST, .per_class = 100};
    expect_golden(&s, "golden/torch/calib_first.npy");
}

static void golden_random(void **state)
{
    (void)state;
    const struct qb_sampler s = {.kind = QB_SAMPLER_RANDOM, .per_class = 10, .seed = 7};
    expect_golden(&s, "golden/torch/calib_seed7_10_per_class.npy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_parsed),
        cmocka_unit_test_setup_teardown(first_is_sorted_union, make, drop),
        cmocka_unit_test_setup_teardown(first_skips_filled_classes, make, drop),
        cmocka_unit_test_setup_teardown(random_draws_as_numpy, make, drop),
        cmocka_unit_test_setup_teardown(impossible_counts, make, drop),
        cmocka_unit_test_setup_teardown(text_files, make, drop),
        cmocka_unit_test_setup_teardown(wrong_text_files, make, drop),
        cmocka_unit_test_setup_teardown(npy_files, make, drop),
        cmocka_unit_test_setup_teardown(wrong_npy_files, make, drop),
        cmocka_unit_test(golden_first),
        cmocka_unit_test(golden_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
