/* .npz files (zip archives of .npy) through libarchive: see golden.h. */
#include "golden.h"

#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

enum { MAX_ARRAYS = 64, MAX_ARRAY_BYTES = 64 << 20 };

static enum qb_status read_entry(const char *path, struct archive *archive, struct archive_entry *entry,
                                 struct golden_npz *npz, struct qb_error *err)
{
    const char *const name = archive_entry_pathname(entry);
    const int64_t size = archive_entry_size(entry);
    const size_t length = name ? strlen(name) : 0;
    if (npz->count == MAX_ARRAYS || length < 5 || length - 4 >= sizeof npz->names[0] ||
        strcmp(name + length - 4, ".npy") != 0 || size < 0 || size > MAX_ARRAY_BYTES) {
        return qb_fail(err, QB_EINPUT, "%s: entry %s is not a .npy of known size", path,
                       name ? name : "(no name)");
    }
    void *const bytes = malloc((size_t)size + 1);
    if (!bytes) {
        return qb_fail_memory(err, (unsigned long)size);
    }
    enum qb_status status;
    if (archive_read_data(archive, bytes, (size_t)size) != size) {
        status = qb_fail(err, QB_EINPUT, "%s: entry %s is truncated", path, name);
    } else {
        status = qb_npy_parse(name, bytes, (size_t)size, &npz->arrays[npz->count], err);
    }
    if (status == QB_OK) {
        memcpy(npz->names[npz->count], name, length - 4);
        npz->count++;
    }
    free(bytes);
    return status;
}

enum qb_status golden_npz_read(const char *path, struct golden_npz *out, struct qb_error *err)
{
    struct golden_npz npz = {.names = calloc(MAX_ARRAYS, sizeof *npz.names),
                             .arrays = calloc(MAX_ARRAYS, sizeof *npz.arrays)};
    struct archive *const archive = archive_read_new();
    enum qb_status status = QB_OK;
    if (!npz.names || !npz.arrays || !archive) {
        status = qb_fail_memory(err, MAX_ARRAYS * sizeof *npz.arrays);
    } else {
        archive_read_support_format_zip(archive);
        if (archive_read_open_filename(archive, path, 1 << 16) != ARCHIVE_OK) {
            status = qb_fail(err, QB_EINPUT, "%s: %s", path, archive_error_string(archive));
        }
    }
    for (struct archive_entry *entry; status == QB_OK;) {
        const int got = archive_read_next_header(archive, &entry);
        if (got == ARCHIVE_EOF) {
            break;
        }
        status = got == ARCHIVE_OK ? read_entry(path, archive, entry, &npz, err)
                                   : qb_fail(err, QB_EINPUT, "%s: %s", path, archive_error_string(archive));
    }
    archive_read_free(archive);
    if (status == QB_OK) {
        *out = npz;
    } else {
        golden_npz_free(&npz);
    }
    return status;
}

void golden_npz_free(struct golden_npz *npz)
{
    for (size_t i = 0; i < npz->count; i++) {
        qb_npy_free(&npz->arrays[i]);
    }
    free(npz->names);
    free(npz->arrays);
    *npz = (struct golden_npz){0};
}

const struct qb_npy *golden_npz_find(const struct golden_npz *npz, const char *name)
{
    for (size_t i = 0; i < npz->count; i++) {
        if (strcmp(npz->names[i], name) == 0) {
            return &npz->arrays[i];
        }
    }
    return NULL;
}
