/* Stand-ins for what is fetched: see packages.h. */
#include "packages.h"

#include <archive.h>
#include <archive_entry.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"

enum { RECORDS_BYTES = TEST_ROWS * QB_CIFAR_RECORD };

void write_archive(const char *path, const struct member *members, size_t count)
{
    struct archive *const a = archive_write_new();
    assert_int_equal(archive_write_set_format_pax_restricted(a), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter_gzip(a), ARCHIVE_OK);
    assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        struct archive_entry *const e = archive_entry_new();
        archive_entry_set_pathname(e, members[i].path);
        archive_entry_set_perm(e, 0644);
        if (members[i].link) {
            archive_entry_set_filetype(e, AE_IFLNK);
            archive_entry_set_symlink(e, members[i].link);
        } else {
            archive_entry_set_filetype(e, AE_IFREG);
            archive_entry_set_size(e, (la_int64_t)members[i].size);
        }
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        if (!members[i].link && members[i].size) {
            assert_int_equal(archive_write_data(a, members[i].data, members[i].size), members[i].size);
        }
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
}

void write_png(const char *path, const uint8_t *pixels, unsigned width, unsigned height, int gray)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = width,
                       .height = height,
                       .format = gray ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    assert_int_equal(png_image_write_to_file(&image, path, 0, pixels, 0, NULL), 1);
}

static void make_official(struct world *w)
{
    static const char folder[] = "cifar-10-batches-bin/";
    char names[QB_CIFAR_FILES][64];
    struct member members[QB_CIFAR_FILES + 1] = {{"cifar-10-batches-bin/readme.html", "<p>", 3, NULL}};
    for (unsigned f = 0; f < QB_CIFAR_FILES; f++) {
        snprintf(names[f], sizeof names[f], "%s%s.bin", folder, qb_cifar_names[f]);
        members[f + 1] = (struct member){names[f], w->records[f], RECORDS_BYTES, NULL};
    }
    const char *const path = at(w->root, "cifar.tar.gz");
    struct qb_error err;
    struct qb_blob blob;
    write_archive(path, members, QB_CIFAR_FILES + 1);
    qbt_ok(qb_file_read(path, 1 << 20, &blob, &err), &err);
    bytes_add(&w->archive, blob.data, blob.size);
    qb_md5(blob.data, blob.size, w->archive_md5);
    qb_blob_free(&blob);
    snprintf(w->url, sizeof w->url, "file://%s", path);
}

static void make_package(struct world *w)
{
    static const char *const json_names[] = {"train_lables.json", "test_lables.json"};
    struct bytes json[2] = {0}, sheets[QB_CIFAR_FILES] = {0};
    struct member members[QB_CIFAR_FILES + 2];
    char names[QB_CIFAR_FILES + 2][64];
    for (unsigned f = 0; f < QB_CIFAR_FILES; f++) {
        static uint8_t pixels[TEST_ROWS * QB_IMAGE_BYTES];
        struct bytes *const list = &json[f == QB_CIFAR_TRAIN_FILES];
        for (size_t i = 0; i < TEST_ROWS; i++) {
            const uint8_t *const record = w->records[f] + i * QB_CIFAR_RECORD;
            char number[16];
            snprintf(number, sizeof number, "%s%u", list->size ? "," : "[", record[0]);
            bytes_text(list, number);
            for (size_t k = 0; k < QB_IMAGE_BYTES; k++) {
                pixels[i * QB_IMAGE_BYTES + k] = record[1 + k % 3 * QB_CIFAR_PLANE + k / 3];
            }
        }
        const char *const png = at(w->root, "sheet.png");
        struct qb_error err;
        struct qb_blob blob;
        write_png(png, pixels, QB_CIFAR_PLANE, TEST_ROWS, 0);
        qbt_ok(qb_file_read(png, 1 << 20, &blob, &err), &err);
        bytes_add(&sheets[f], blob.data, blob.size);
        qb_blob_free(&blob);
        snprintf(names[f], sizeof names[f], "package/%s.png", qb_cifar_names[f]);
        members[f] = (struct member){names[f], sheets[f].data, sheets[f].size, NULL};
    }
    for (unsigned i = 0; i < 2; i++) { /* labels last, as in the real package */
        bytes_text(&json[i], "]");
        snprintf(names[QB_CIFAR_FILES + i], sizeof names[0], "package/%s", json_names[i]);
        members[QB_CIFAR_FILES + i] =
            (struct member){names[QB_CIFAR_FILES + i], json[i].data, json[i].size, NULL};
    }
    write_archive(at(w->root, "package.tgz"), members, QB_CIFAR_FILES + 2);
    for (unsigned f = 0; f < QB_CIFAR_FILES; f++) {
        bytes_free(&sheets[f]);
    }
    bytes_free(&json[0]);
    bytes_free(&json[1]);
}

void world_set_npm(struct world *w, const char *script)
{
    struct bytes text = {0};
    bytes_text(&text, "#!/bin/sh\n");
    bytes_text(&text, script);
    bytes_text(&text, "\n");
    write_bytes(w->npm, text.data, text.size);
    bytes_free(&text);
    assert_int_equal(chmod(w->npm, 0755), 0);
}

static void collect(void *ctx, const char *line)
{
    struct world *const w = ctx;
    bytes_text(&w->log, line);
    bytes_text(&w->log, "\n");
}

int world_make(void **state)
{
    struct world *const w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->root = qbt_mkdtemp();
    w->dest = strdup(at(w->root, "dest"));
    snprintf(w->npm, sizeof w->npm, "%s", at(w->root, "npm"));
    w->plan = (struct qb_fetch_plan){.url = w->url,
                                     .archive = "cifar.tar.gz",
                                     .archive_md5 = w->archive_md5,
                                     .npm = w->npm,
                                     .package = "cifar@1.0.0",
                                     .package_file = "cifar-1.0.0.tgz",
                                     .package_bytes = 1000,
                                     .rows = TEST_ROWS};
    for (unsigned f = 0; f < QB_CIFAR_FILES; f++) {
        w->records[f] = make_records(f + 1, TEST_ROWS);
        qb_md5(w->records[f], RECORDS_BYTES, w->md5[f]);
        w->plan.md5[f] = w->md5[f];
    }
    make_official(w);
    make_package(w);
    char script[5000];
    snprintf(script, sizeof script,
             "[ \"$1\" = pack ] && [ \"$2\" = cifar@1.0.0 ] || exit 9\ncp '%s' cifar-1.0.0.tgz",
             at(w->root, "package.tgz"));
    world_set_npm(w, script);
    w->io = (struct qb_fetch_io){.log = collect, .log_ctx = w};
    *state = w;
    return 0;
}

int world_drop(void **state)
{
    struct world *const w = *state;
    for (unsigned f = 0; f < QB_CIFAR_FILES; f++) {
        free(w->records[f]);
    }
    bytes_free(&w->archive);
    bytes_free(&w->log);
    qbt_rmtree(w->root);
    free(w->dest);
    free(w);
    return 0;
}

void world_break_official(struct world *w)
{
    w->plan.url = "file:///nonexistent/cifar.tar.gz";
}

void world_break_npm(struct world *w)
{
    w->plan.npm = "/nonexistent/npm";
}

void expect_fetched(struct world *w)
{
    struct qb_error err;
    qbt_ok(qb_fetch_run(&w->plan, w->dest, &w->io, &err), &err);
    for (unsigned f = 0; f < QB_CIFAR_FILES; f++) {
        char name[64];
        struct qb_blob blob;
        snprintf(name, sizeof name, "%s.bin", qb_cifar_names[f]);
        qbt_ok(qb_file_read(at(w->dest, name), 1 << 20, &blob, &err), &err);
        assert_int_equal(blob.size, RECORDS_BYTES);
        assert_memory_equal(blob.data, w->records[f], blob.size);
        qb_blob_free(&blob);
    }
}

void expect_failure(struct world *w, enum qb_status want, const char *needle)
{
    struct qb_error err;
    qbt_error(qb_fetch_run(&w->plan, w->dest, &w->io, &err), want, &err, needle);
    for (unsigned f = 0; f < QB_CIFAR_FILES; f++) {
        char name[64];
        snprintf(name, sizeof name, "%s.bin", qb_cifar_names[f]);
        assert_false(qb_is_file(at(w->dest, name)));
    }
    assert_false(qb_is_dir(at(w->dest, ".staging")));
}
