/* Unpacking wanted files of an archive (tar, gzip) with libarchive: see fetch_internal.h. Paths of the
 * archive are only compared, never used, so that nothing in it decides where a byte is written. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/fetch_internal.h"

enum { BLOCK = 1 << 18, MAX_NAMES = 32 };

/* The index of the wanted name that the entry is a regular file of, else `count`. */
static size_t wanted(struct archive_entry *entry, const char *const *names, size_t count)
{
    const char *const path = archive_entry_pathname(entry);
    if (!path || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry)) {
        return count;
    }
    const char *const slash = strrchr(path, '/'), *const base = slash ? slash + 1 : path;
    size_t i = 0;
    while (i < count && strcmp(base, names[i]) != 0) {
        i++;
    }
    return i;
}

static enum qb_status damaged(const char *archive, struct archive *a, struct qb_error *err)
{
    const char *const why = archive_error_string(a);
    return qb_fail(err, QB_EINPUT, "%s: damaged archive: %s", archive, why ? why : "unknown reason");
}

static enum qb_status write_out(int fd, const uint8_t *data, size_t size, const char *path,
                                struct qb_error *err)
{
    while (size) {
        const ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return qb_fail(err, QB_EIO, "%s: cannot be written: %s", path, strerror(errno));
        }
        data += n;
        size -= (size_t)n;
    }
    return QB_OK;
}

static enum qb_status copy_entry(const char *archive, struct archive *a, uint64_t archive_bytes,
                                 const char *path, int fd, uint8_t *buffer, uint64_t max_bytes,
                                 const struct qb_fetch_io *io, struct qb_error *err)
{
    for (uint64_t total = 0;;) {
        if (qb_interrupted()) {
            return qb_fetch_interrupted(err);
        }
        const la_ssize_t n = archive_read_data(a, buffer, BLOCK);
        if (n < 0) {
            return damaged(archive, a, err);
        }
        if (n == 0) {
            break;
        }
        total += (uint64_t)n;
        if (total > max_bytes) {
            return qb_fail(err, QB_EINPUT, "%s: %s in it is larger than %llu bytes", archive,
                           strrchr(path, '/') + 1, (unsigned long long)max_bytes);
        }
        QB_TRY(write_out(fd, buffer, (size_t)n, path, err));
        qb_progress_report(io->progress, "unpacking", (uint64_t)archive_filter_bytes(a, -1), archive_bytes);
    }
    /* The file is renamed to its final place later: its content must be on the disk before its name. */
    return fsync(fd) == 0 ? QB_OK : qb_fail(err, QB_EIO, "%s: cannot be written: %s", path, strerror(errno));
}

static enum qb_status extract_entry(const char *archive, struct archive *a, uint64_t archive_bytes,
                                    const char *name, const char *into, uint64_t max_bytes, uint8_t *buffer,
                                    const struct qb_fetch_io *io, struct qb_error *err)
{
    char *const path = qb_path_join(into, name);
    if (!path) {
        return qb_fail_memory(err, strlen(into));
    }
    enum qb_status status;
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = qb_fail(err, QB_EIO, "%s: cannot be created: %s", path, strerror(errno));
    } else {
        status = copy_entry(archive, a, archive_bytes, path, fd, buffer, max_bytes, io, err);
        if (close(fd) != 0 && status == QB_OK) {
            status = qb_fail(err, QB_EIO, "%s: cannot be written: %s", path, strerror(errno));
        }
    }
    free(path);
    return status;
}

enum qb_status qb_archive_extract(const char *archive, const char *const *names, size_t count,
                                  uint64_t max_bytes, const char *into, const struct qb_fetch_io *io,
                                  struct qb_error *err)
{
    struct stat st;
    if (stat(archive, &st) != 0) {
        return qb_fail(err, QB_ENOTFOUND, "%s: cannot be opened: %s", archive, strerror(errno));
    }
    enum qb_status status = QB_OK;
    int found[MAX_NAMES] = {0};
    uint8_t *const buffer = malloc(BLOCK);
    struct archive *const a = archive_read_new();
    if (!buffer || !a) {
        status = qb_fail_memory(err, BLOCK);
    } else if (archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
               archive_read_support_format_tar(a) != ARCHIVE_OK ||
               archive_read_open_filename(a, archive, BLOCK) != ARCHIVE_OK) {
        status = damaged(archive, a, err);
    }
    while (status == QB_OK) {
        struct archive_entry *entry;
        const int r = archive_read_next_header(a, &entry);
        if (r == ARCHIVE_EOF) {
            break;
        }
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN) {
            status = damaged(archive, a, err);
            break;
        }
        const size_t i = wanted(entry, names, count);
        if (i == count) {
            continue;
        }
        if (found[i]++) {
            status = qb_fail(err, QB_EINPUT, "%s: %s is in it twice", archive, names[i]);
        } else {
            status =
                extract_entry(archive, a, (uint64_t)st.st_size, names[i], into, max_bytes, buffer, io, err);
        }
    }
    for (size_t i = 0; i < count && status == QB_OK; i++) {
        if (!found[i]) {
            status = qb_fail(err, QB_EINPUT, "%s: %s is not in it", archive, names[i]);
        }
    }
    archive_read_free(a);
    free(buffer);
    return status;
}
