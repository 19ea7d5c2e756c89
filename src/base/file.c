/* Whole files: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum qb_status qb_file_read(const char *path, size_t max_bytes, struct qb_blob *out, struct qb_error *err)
{
    uint8_t *data = NULL;
    enum qb_status status = QB_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? qb_fail(err, QB_ENOTFOUND, "%s: no such file", path)
                   : qb_fail(err, QB_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        status = qb_fail(err, QB_EINPUT, "%s: not a regular file", path);
        goto out;
    }
    if ((uint64_t)st.st_size > max_bytes) {
        status = qb_fail(err, QB_EINPUT, "%s: %lld bytes, at most %zu are expected", path,
                         (long long)st.st_size, max_bytes);
        goto out;
    }
    const size_t size = (size_t)st.st_size;
    data = malloc(size + 1);
    if (!data) {
        status = qb_fail_memory(err, size + 1);
        goto out;
    }
    for (size_t got = 0; got < size;) {
        const ssize_t n = read(fd, data + got, size - got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            status = qb_fail(err, QB_EIO, "%s: cannot be read: %s", path,
                             n < 0 ? strerror(errno) : "it became shorter meanwhile");
            goto out;
        }
        got += (size_t)n;
    }
    data[size] = 0;
    out->data = data;
    out->size = size;
    data = NULL;
out:
    free(data);
    close(fd);
    return status;
}

void qb_blob_free(struct qb_blob *blob)
{
    free(blob->data);
    *blob = (struct qb_blob){0};
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        const ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -1;
        }
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static void sync_parent(const char *path)
{
    char *const copy = strdup(path);
    if (!copy) {
        return;
    }
    char *const slash = strrchr(copy, '/');
    if (slash) {
        slash[slash == copy] = 0;
    }
    const int fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* best effort: some file systems refuse to sync folders */
        close(fd);
    }
    free(copy);
}

/* A device or a pipe (/dev/stdout) takes the bytes as they come; renaming over it would replace it by a file.
 */
static enum qb_status write_special(const char *path, const void *data, size_t size, struct qb_error *err)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return qb_fail(err, QB_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    enum qb_status status = QB_OK;
    if (write_all(fd, data, size) != 0) {
        status = qb_fail(err, QB_EIO, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (close(fd) != 0 && status == QB_OK) {
        status = qb_fail(err, QB_EIO, "%s: cannot be written: %s", path, strerror(errno));
    }
    return status;
}

static enum qb_status write_and_rename(const char *path, const void *data, size_t size, struct qb_error *err)
{
    char *temporary = NULL;
    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
        return qb_fail_memory(err, strlen(path));
    }
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        const enum qb_status status =
            qb_fail(err, QB_EIO, "%s: cannot be created: %s", path, strerror(errno));
        free(temporary);
        return status;
    }
    enum qb_status status = QB_OK;
    const mode_t mask = umask(0);
    umask(mask);
    if (write_all(fd, data, size) != 0 || fchmod(fd, 0666 & ~mask) != 0 || fsync(fd) != 0) {
        status = qb_fail(err, QB_EIO, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (close(fd) != 0 && status == QB_OK) {
        status = qb_fail(err, QB_EIO, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (status == QB_OK && rename(temporary, path) != 0) {
        status = qb_fail(err, QB_EIO, "%s: cannot be replaced: %s", path, strerror(errno));
    }
    if (status == QB_OK) {
        sync_parent(path);
    } else {
        unlink(temporary);
    }
    free(temporary);
    return status;
}

enum qb_status qb_file_write(const char *path, const void *data, size_t size, struct qb_error *err)
{
    struct stat st;
    if (!*path) {
        return qb_fail(err, QB_EINPUT, "the name of the file to write is empty");
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return S_ISDIR(st.st_mode)
                   ? qb_fail(err, QB_EINPUT, "%s: is a folder; the name of a file is expected", path)
                   : write_special(path, data, size, err);
    }
    /* A link stays; what it leads to is replaced. A link to nowhere is replaced itself. */
    char *const target = realpath(path, NULL);
    const enum qb_status status = write_and_rename(target ? target : path, data, size, err);
    free(target);
    return status;
}

int qb_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int qb_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

enum qb_status qb_make_dirs(const char *path, struct qb_error *err)
{
    char *const copy = strdup(path);
    if (!copy) {
        return qb_fail_memory(err, strlen(path));
    }
    for (char *p = copy + 1; *copy; p++) {
        const char c = *p;
        if (c == '/' || c == 0) {
            *p = 0;
            if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
                const enum qb_status status =
                    qb_fail(err, QB_EIO, "%s: the folder cannot be made: %s", path, strerror(errno));
                free(copy);
                return status;
            }
            *p = c;
        }
        if (c == 0) {
            break;
        }
    }
    free(copy);
    return qb_is_dir(path) ? QB_OK : qb_fail(err, QB_EIO, "%s: exists and is not a folder", path);
}

char *qb_path_join(const char *dir, const char *name)
{
    char *out = NULL;
    return asprintf(&out, "%s/%s", dir, name) < 0 ? NULL : out;
}
