/* The parts of the fetch that read what others wrote: archives, PNG sheets, label lists; good, hostile and
 * cut. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "packages.h"

static const struct qb_fetch_io quiet;
static const char *const wanted[] = {"a.bin", "b.bin"};

static enum qb_status extract(const struct world *w, const char *into, struct qb_error *err)
{
    return qb_archive_extract(at(w->root, "t.tgz"), wanted, 2, 100, into, &quiet, err);
}

static const char *fresh(const struct world *w)
{
    const char *const into = at(w->root, "into");
    qbt_rmtree(strdup(into));
    assert_int_equal(mkdir(into, 0777), 0);
    return into;
}

static void only_wanted_names_are_written(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    struct qb_blob blob;
    char *const into = strdup(fresh(w));
    const struct member members[] = {
        {"../../evil.bin", "evil", 4, NULL},
        {"/tmp/qbench-evil.bin", "evil", 4, NULL},
        {"x/link", NULL, 0, "/etc"},
        {"../x/./a.bin", "content a", 9, NULL}, /* only its last part counts */
        {"x/a.bin.old", "no", 2, NULL},
        {"b.bin", "", 0, NULL},
    };
    write_archive(at(w->root, "t.tgz"), members, 6);
    const unsigned before = count_entries(w->root);
    qbt_ok(extract(w, into, &err), &err);
    assert_int_equal(count_entries(into), 2);
    assert_int_equal(count_entries(w->root), before);
    qbt_ok(qb_file_read(at(into, "a.bin"), 100, &blob, &err), &err);
    assert_string_equal(blob.data, "content a");
    qb_blob_free(&blob);
    free(into);
}

static void hostile_archives_are_refused(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    static const uint8_t big[101];
    const struct member link[] = {{"a.bin", NULL, 0, "/etc/passwd"}, {"b.bin", "b", 1, NULL}};
    write_archive(at(w->root, "t.tgz"), link, 2);
    qbt_error(extract(w, fresh(w), &err), QB_EINPUT, &err, "t.tgz: a.bin is not in it");
    const struct member twice[] = {
        {"a.bin", "1", 1, NULL}, {"x/a.bin", "2", 1, NULL}, {"b.bin", "b", 1, NULL}};
    write_archive(at(w->root, "t.tgz"), twice, 3);
    qbt_error(extract(w, fresh(w), &err), QB_EINPUT, &err, "a.bin is in it twice");
    const struct member large[] = {{"a.bin", "1", 1, NULL}, {"b.bin", big, sizeof big, NULL}};
    write_archive(at(w->root, "t.tgz"), large, 2);
    qbt_error(extract(w, fresh(w), &err), QB_EINPUT, &err, "b.bin in it is larger than 100 bytes");
    const struct member absent[] = {{"a.bin", "1", 1, NULL}};
    write_archive(at(w->root, "t.tgz"), absent, 1);
    qbt_error(extract(w, fresh(w), &err), QB_EINPUT, &err, "b.bin is not in it");
    write_text(at(w->root, "t.tgz"), "<html>login</html>");
    qbt_error(extract(w, fresh(w), &err), QB_EINPUT, &err, "t.tgz: damaged archive");
    write_text(at(w->root, "t.tgz"), "");
    assert_int_equal(extract(w, fresh(w), &err), QB_EINPUT);
    assert_int_equal(unlink(at(w->root, "t.tgz")), 0);
    qbt_error(extract(w, fresh(w), &err), QB_ENOTFOUND, &err, "t.tgz");
    /* A link that lies in the way is not followed. */
    const struct member good[] = {{"a.bin", "1", 1, NULL}, {"b.bin", "b", 1, NULL}};
    write_archive(at(w->root, "t.tgz"), good, 2);
    char *const into = strdup(fresh(w));
    assert_int_equal(symlink(at(w->root, "elsewhere"), at(into, "a.bin")), 0);
    qbt_error(extract(w, into, &err), QB_EIO, &err, "a.bin: cannot be created");
    assert_false(qb_is_file(at(w->root, "elsewhere")));
    free(into);
}

/* Cut anywhere, an archive is an error; only its end blocks and the gzip trailer may go unnoticed. */
static void cut_archives_are_refused(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    static uint8_t noise[100];
    uint8_t *const random = make_records(3, 1);
    memcpy(noise, random + 1, sizeof noise);
    free(random);
    const struct member members[] = {{"a.bin", noise, sizeof noise, NULL},
                                     {"b.bin", noise, sizeof noise, NULL}};
    struct qb_blob file;
    const char *const path = at(w->root, "t.tgz");
    write_archive(path, members, 2);
    qbt_ok(qb_file_read(path, 1 << 20, &file, &err), &err);
    for (size_t n = file.size - 60; n > 0; n -= n > 3 ? 3 : n) {
        char *const into = strdup(fresh(w));
        assert_int_equal(truncate(at(w->root, "t.tgz"), (off_t)n), 0);
        qbt_error(extract(w, into, &err), QB_EINPUT, &err, "t.tgz: ");
        free(into);
    }
    qb_blob_free(&file);
}

static void sheets(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    struct qb_blob records = {0}, file;
    static uint8_t pixels[TEST_ROWS * QB_IMAGE_BYTES];
    static const uint8_t labels[TEST_ROWS] = {7, 0, 9};
    char *const path = strdup(at(w->root, "s.png"));
    for (size_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i * 7 + i / 256);
    }
    write_png(path, pixels, QB_CIFAR_PLANE, TEST_ROWS, 0);
    qbt_ok(qb_sheet_records(path, TEST_ROWS, labels, &records, &err), &err);
    assert_int_equal(records.size, TEST_ROWS * QB_CIFAR_RECORD);
    for (size_t i = 0; i < TEST_ROWS; i++) {
        assert_int_equal(records.data[i * QB_CIFAR_RECORD], labels[i]);
        for (size_t k = 0; k < QB_IMAGE_BYTES; k++) {
            assert_int_equal(records.data[i * QB_CIFAR_RECORD + 1 + k % 3 * 1024 + k / 3],
                             pixels[i * QB_IMAGE_BYTES + k]);
        }
    }
    qb_blob_free(&records);

    qbt_error(qb_sheet_records(path, TEST_ROWS + 1, labels, &records, &err), QB_EINPUT, &err,
              "s.png: 1024 x 3 pixels");
    write_png(path, pixels, QB_CIFAR_PLANE - 1, TEST_ROWS, 0);
    qbt_error(qb_sheet_records(path, TEST_ROWS, labels, &records, &err), QB_EINPUT, &err, "1023 x 3 pixels");
    write_png(path, pixels, QB_CIFAR_PLANE, TEST_ROWS, 1);
    qbt_error(qb_sheet_records(path, TEST_ROWS, labels, &records, &err), QB_EINPUT, &err,
              "8-bit RGB are expected");
    write_text(path, "not a png");
    qbt_error(qb_sheet_records(path, TEST_ROWS, labels, &records, &err), QB_EINPUT, &err,
              "s.png: cannot be decoded");
    assert_int_equal(unlink(path), 0);
    qbt_error(qb_sheet_records(path, TEST_ROWS, labels, &records, &err), QB_EINPUT, &err,
              "s.png: cannot be decoded");

    write_png(path, pixels, QB_CIFAR_PLANE, TEST_ROWS, 0);
    qbt_ok(qb_file_read(path, 1 << 20, &file, &err), &err);
    for (size_t n = file.size - 20; n > 0; n -= n > 11 ? 11 : n) { /* the last chunks carry no pixels */
        assert_int_equal(truncate(path, (off_t)n), 0);
        qbt_error(qb_sheet_records(path, TEST_ROWS, labels, &records, &err), QB_EINPUT, &err,
                  "s.png: cannot be");
    }
    qb_blob_free(&file);
    assert_null(records.data);
    free(path);
}

static void label_lists(void **state)
{
    struct world *const w = *state;
    struct qb_error err;
    uint8_t labels[3];
    static const struct {
        const char *text, *needle;
    } cases[] = {
        {"[1,2]", "not an array of 3 labels"},
        {"[1,2,3,4]", "not an array of 3 labels"},
        {"{}", "not an array"},
        {"[1,2,10]", "label 2 is not a number 0..9"},
        {"[-1,2,3]", "label 0"},
        {"[1,2.0,3]", "label 1"},
        {"[1,\"2\",3]", "label 1"},
        {"[1,[2],3]", "label 1"},
        {"[1,2,99999999999999999999]", "line 1"},
    };
    char *const path = strdup(at(w->root, "l.json"));
    write_text(path, "[9, 0,\n4]\n");
    qbt_ok(qb_sheet_labels(path, 3, labels, &err), &err);
    assert_memory_equal(labels, "\x09\x00\x04", 3);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text(path, cases[i].text);
        qbt_error(qb_sheet_labels(path, 3, labels, &err), QB_EINPUT, &err, cases[i].needle);
    }
    for (size_t n = 0; n < 9; n++) {
        write_bytes(path, "[9, 0,\n4]", n);
        qbt_error(qb_sheet_labels(path, 3, labels, &err), QB_EINPUT, &err, "l.json: line");
    }
    struct bytes deep = {0}; /* nesting is bounded, not followed to the end of the stack */
    for (unsigned i = 0; i < 1000000; i++) {
        bytes_text(&deep, "[");
    }
    write_bytes(path, deep.data, deep.size);
    qbt_error(qb_sheet_labels(path, 3, labels, &err), QB_EINPUT, &err, "depth");
    bytes_free(&deep);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_drop)
        TEST(only_wanted_names_are_written),
        TEST(hostile_archives_are_refused),
        TEST(cut_archives_are_refused),
        TEST(sheets),
        TEST(label_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
