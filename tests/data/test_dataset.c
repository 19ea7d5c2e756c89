/* Finding and loading CIFAR-10, and the synthetic set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "fixture.h"

enum { TRAIN_COUNT = QB_CIFAR_TRAIN_FILES * QB_CIFAR_ROWS };

static int make(void **state)
{
    *state = qbt_mkdtemp();
    return 0;
}

static int drop(void **state)
{
    qbt_rmtree(*state);
    return 0;
}

static const char *bin(const char *dir, unsigned file)
{
    char name[32];
    snprintf(name, sizeof name, "%s.bin", qb_cifar_names[file]);
    return at(dir, name);
}

/* The six files, the first record of each with label = its number and pixels that tell row, column and plane.
 */
static void write_set(const char *dir)
{
    assert_true(mkdir(dir, 0777) == 0 || qb_is_dir(dir));
    for (unsigned f = 0; f < QB_CIFAR_FILES; f++) {
        uint8_t record[QB_CIFAR_RECORD];
        record[0] = (uint8_t)f;
        for (unsigned i = 0; i < QB_IMAGE_BYTES; i++) {
            const unsigned c = i / 1024, y = i / 32 % 32, x = i % 32;
            record[1 + i] = (uint8_t)(c * 80 + y * 2 + x + f);
        }
        write_full_batch(bin(dir, f), record, sizeof record);
    }
}

static void expect_set(const char *dir)
{
    struct qb_error err;
    struct qb_dataset set;
    for (unsigned split = 0; split < 2; split++) {
        const unsigned first = split == QB_SPLIT_TRAIN ? 0 : QB_CIFAR_TRAIN_FILES;
        qbt_ok(qb_dataset_load(dir, (enum qb_split)split, &set, &err), &err);
        assert_string_equal(set.name, "cifar10");
        assert_int_equal(set.synthetic, 0);
        assert_int_equal(set.split, split);
        assert_int_equal(set.count, split == QB_SPLIT_TRAIN ? TRAIN_COUNT : QB_CIFAR_ROWS);
        for (unsigned f = 0; f < set.count / QB_CIFAR_ROWS; f++) {
            const size_t index = (size_t)f * QB_CIFAR_ROWS;
            const uint8_t *const image = set.images + index * QB_IMAGE_BYTES;
            assert_int_equal(set.labels[index], first + f);
            assert_int_equal(set.labels[index + 1], 0);
            for (unsigned y = 0; y < 32; y++) {
                for (unsigned x = 0; x < 32; x++) {
                    for (unsigned c = 0; c < 3; c++) {
                        assert_int_equal(image[(y * 32 + x) * 3 + c],
                                         (uint8_t)(c * 80 + y * 2 + x + first + f));
                    }
                }
            }
        }
        qb_dataset_free(&set);
        assert_null(set.images);
    }
}

static void files_in_the_folder(void **state)
{
    struct qb_error err;
    struct qb_dataset set;
    char sha[QB_SHA256_HEX], *found;
    write_set(*state);
    expect_set(*state);
    qbt_ok(qb_data_locate(*state, &found, &err), &err);
    assert_string_equal(found, *state);
    free(found);
    /* The identity is that of the records on disk. */
    qbt_ok(qb_sha256_file(bin(*state, QB_CIFAR_TRAIN_FILES), sha, &err), &err);
    qbt_ok(qb_dataset_load(*state, QB_SPLIT_TEST, &set, &err), &err);
    assert_string_equal(set.sha256, sha);
    qb_dataset_free(&set);
}

static void files_in_the_official_subfolder(void **state)
{
    struct qb_error err;
    char *found;
    write_set(at(*state, "cifar-10-batches-bin"));
    expect_set(*state);
    qbt_ok(qb_data_locate(*state, &found, &err), &err);
    free(found);
}

static void load_error(const char *dir, enum qb_split split, enum qb_status want, const char *needle)
{
    struct qb_error err;
    struct qb_dataset set = {0};
    qbt_error(qb_dataset_load(dir, split, &set, &err), want, &err, needle);
    assert_null(set.images);
}

static void missing_things_are_named(void **state)
{
    struct qb_error err;
    char *found = NULL;
    load_error(*state, QB_SPLIT_TEST, QB_ENOTFOUND, "run `qbench fetch cifar10`");
    load_error(at(*state, "absent"), QB_SPLIT_TEST, QB_ENOTFOUND, "absent: no such folder");
    qbt_error(qb_data_locate(*state, &found, &err), QB_ENOTFOUND, &err, *state);
    qbt_error(qb_data_locate(at(*state, "absent"), &found, &err), QB_ENOTFOUND, &err,
              "absent: no such folder");
    assert_null(found);
    write_set(*state);
    assert_int_equal(unlink(bin(*state, 2)), 0);
    load_error(*state, QB_SPLIT_TRAIN, QB_ENOTFOUND, "data_batch_3.bin: missing");
    struct qb_dataset set;
    qbt_ok(qb_dataset_load(*state, QB_SPLIT_TEST, &set, &err), &err); /* the test split is whole */
    qb_dataset_free(&set);
    assert_int_equal(unlink(bin(*state, 5)), 0);
    load_error(*state, QB_SPLIT_TEST, QB_ENOTFOUND, "test_batch.bin: missing");
}

static void wrong_sizes_are_refused(void **state)
{
    static const off_t sizes[] = {0, 1, 3073, 30729999, 30730001, 61460000};
    write_set(*state);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(truncate(bin(*state, 5), sizes[i]), 0);
        load_error(*state, QB_SPLIT_TEST, QB_EINPUT, "exactly 30730000");
    }
    assert_int_equal(truncate(bin(*state, 3), 30729999), 0);
    load_error(*state, QB_SPLIT_TRAIN, QB_EINPUT, "data_batch_4.bin: 30729999 bytes");
}

static void wrong_labels_are_refused(void **state)
{
    write_set(*state);
    uint8_t start[QB_CIFAR_RECORD + 1] = {0};
    start[QB_CIFAR_RECORD] = 10;
    write_full_batch(bin(*state, 5), start, sizeof start);
    load_error(*state, QB_SPLIT_TEST, QB_EINPUT, "test_batch.bin: image 1 has label 10");
}

static void unreadable_files_are_errors(void **state)
{
    write_set(*state);
    assert_int_equal(unlink(bin(*state, 5)), 0);
    assert_int_equal(mkdir(bin(*state, 5), 0777), 0);
    load_error(*state, QB_SPLIT_TEST, QB_ENOTFOUND, "test_batch.bin: missing");
}

/* dir == NULL: QB_DATA_DIR, the cache, ./data; an incomplete cache is not taken. */
static void the_order_of_places(void **state)
{
    struct qb_error err;
    char *found = NULL, *const old_cwd = getcwd(NULL, 0);
    char *const root = realpath(*state, NULL), *const cache = strdup(at(root, "cache/cifar10"));
    unsetenv("QB_DATA_DIR");
    setenv("QB_CACHE_DIR", at(root, "cache"), 1);
    assert_int_equal(chdir(root), 0);
    qbt_error(qb_data_locate(NULL, &found, &err), QB_ENOTFOUND, &err, "qbench fetch cifar10");
    assert_non_null(strstr(err.text, cache));

    write_set(at(root, "data"));
    qbt_ok(qb_data_locate(NULL, &found, &err), &err);
    assert_string_equal(found, "data");
    free(found);

    qbt_ok(qb_make_dirs(cache, &err), &err);
    write_full_batch(bin(cache, 0), "", 0);
    qbt_ok(qb_data_locate(NULL, &found, &err), &err);
    assert_string_equal(found, "data");
    free(found);
    write_set(cache);
    qbt_ok(qb_data_locate(NULL, &found, &err), &err);
    assert_string_equal(found, cache);
    free(found);

    setenv("QB_DATA_DIR", at(root, "elsewhere"), 1);
    qbt_error(qb_data_locate(NULL, &found, &err), QB_ENOTFOUND, &err, "QB_DATA_DIR: ");
    assert_non_null(strstr(err.text, "elsewhere"));
    write_set(at(root, "elsewhere"));
    qbt_ok(qb_data_locate(NULL, &found, &err), &err);
    assert_string_equal(found, at(root, "elsewhere"));
    free(found);
    qbt_ok(qb_data_locate(cache, &found, &err), &err); /* a named folder goes before the variable */
    assert_string_equal(found, cache);
    free(found);

    assert_int_equal(chdir(old_cwd), 0);
    free(old_cwd);
    free(cache);
    free(root);
}

static void the_cache_folder(void **state)
{
    (void)state;
    static const struct {
        const char *own, *xdg, *home, *want;
    } cases[] = {
        {"/a", "/b", "/c", "/a/cifar10"},
        {"", "/b", "/c", "/b/qbench/cifar10"},
        {NULL, "/b", "/c", "/b/qbench/cifar10"},
        {NULL, "relative", "/c", "/c/.cache/qbench/cifar10"},
        {NULL, NULL, "/c", "/c/.cache/qbench/cifar10"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const names[] = {"QB_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
        const char *const values[] = {cases[i].own, cases[i].xdg, cases[i].home};
        for (unsigned k = 0; k < 3; k++) {
            assert_int_equal(values[k] ? setenv(names[k], values[k], 1) : unsetenv(names[k]), 0);
        }
        char *const path = qb_cache_dir("cifar10");
        assert_string_equal(path, cases[i].want);
        free(path);
    }
    unsetenv("HOME");
    char *const path = qb_cache_dir("cifar10"); /* from the user database, or below the current folder */
    assert_non_null(strstr(path, "/.cache/qbench/cifar10"));
    free(path);
}

static void synthetic_sets(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_dataset set, again, test;
    qbt_ok(qb_dataset_synthetic(QB_SPLIT_TRAIN, 1000, &set, &err), &err);
    qbt_ok(qb_dataset_synthetic(QB_SPLIT_TRAIN, 1000, &again, &err), &err);
    qbt_ok(qb_dataset_synthetic(QB_SPLIT_TEST, 1000, &test, &err), &err);
    assert_string_equal(set.name, "synthetic");
    assert_int_equal(set.synthetic, 1);
    assert_int_equal(set.count, 1000);
    assert_memory_equal(set.images, again.images, 1000 * QB_IMAGE_BYTES);
    assert_memory_equal(set.labels, again.labels, 1000);
    assert_string_equal(set.sha256, again.sha256);
    assert_string_not_equal(set.sha256, test.sha256);
    /* The bytes themselves are a promise: rows of different machines are compared by this digest. */
    assert_string_equal(set.sha256, "2170fb078fb36baf41a22eefd988df812da2da359beca1a8fe6e530ec4a59280");

    /* Classes are told apart by the nearest mean image of the training split: labelled data, not noise. */
    static double mean[QB_CLASSES][QB_IMAGE_BYTES];
    unsigned correct = 0, of_class[QB_CLASSES] = {0};
    for (size_t i = 0; i < 1000; i++) {
        of_class[set.labels[i]]++;
        for (size_t k = 0; k < QB_IMAGE_BYTES; k++) {
            mean[set.labels[i]][k] += set.images[i * QB_IMAGE_BYTES + k] / 100.0;
        }
    }
    for (size_t i = 0; i < 1000; i++) {
        unsigned best = 0;
        double least = 1e300;
        for (unsigned c = 0; c < QB_CLASSES; c++) {
            double distance = 0;
            for (size_t k = 0; k < QB_IMAGE_BYTES; k++) {
                const double d = test.images[i * QB_IMAGE_BYTES + k] - mean[c][k];
                distance += d * d;
            }
            best = distance < least ? c : best;
            least = distance < least ? distance : least;
        }
        correct += best == test.labels[i];
    }
    for (unsigned c = 0; c < QB_CLASSES; c++) {
        assert_int_equal(of_class[c], 100);
    }
    assert_true(correct > 900);
    qb_dataset_free(&set);
    qb_dataset_free(&again);
    qb_dataset_free(&test);
}

static void impossible_synthetic_sets(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_dataset set = {0};
    qbt_error(qb_dataset_synthetic(QB_SPLIT_TEST, 0, &set, &err), QB_EINPUT, &err, "0 images");
    qbt_error(qb_dataset_synthetic(QB_SPLIT_TEST, SIZE_MAX / 100, &set, &err), QB_EINPUT, &err,
              "cannot be made");
    assert_null(set.images);
}

static void the_real_files(void **state)
{
    (void)state;
    struct qb_error err;
    struct qb_dataset set;
    char *const dir = require_cifar10();
    qbt_ok(qb_dataset_load(dir, QB_SPLIT_TEST, &set, &err), &err);
    assert_string_equal(set.sha256, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b");
    assert_string_equal(qb_class_names[set.labels[0]], "cat");
    qb_dataset_free(&set);
    qbt_ok(qb_dataset_load(dir, QB_SPLIT_TRAIN, &set, &err), &err);
    assert_string_equal(set.sha256, "a0181da372c0d63a5920fdbea2ec3f83ecbc552d378218e1cb473cf634941a3b");
    assert_string_equal(qb_class_names[set.labels[0]], "frog");
    qb_dataset_free(&set);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_real_files), /* first: the others change the environment */
        cmocka_unit_test_setup_teardown(files_in_the_folder, make, drop),
        cmocka_unit_test_setup_teardown(files_in_the_official_subfolder, make, drop),
        cmocka_unit_test_setup_teardown(missing_things_are_named, make, drop),
        cmocka_unit_test_setup_teardown(wrong_sizes_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(wrong_labels_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(unreadable_files_are_errors, make, drop),
        cmocka_unit_test_setup_teardown(the_order_of_places, make, drop),
        cmocka_unit_test(the_cache_folder),
        cmocka_unit_test(synthetic_sets),
        cmocka_unit_test(impossible_synthetic_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
