/* The official binary archive by libcurl: see fetch_internal.h. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "data/fetch_internal.h"

enum {
    CONNECT_SECONDS = 5,
    STALL_BYTES = 1000, /* slower than this many bytes a second ... */
    STALL_SECONDS = 20, /* ... for so long: given up, the partial file stays */
    MAX_REDIRECTS = 5,
    HTTP_RANGE_NOT_SATISFIABLE = 416,
    MAX_ARCHIVE = 256 << 20, /* the archive has 170 MB; a server that sends much more sends something else */
};

struct transfer {
    const struct qb_fetch_io *io;
    char label[128];
    int fd;
    int write_errno;
    uint64_t start, written; /* bytes in the file before / by this transfer */
    int too_large;
};

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    struct transfer *const t = ctx;
    const size_t bytes = size * count;
    if (t->start + t->written + bytes > MAX_ARCHIVE) {
        t->too_large = 1;
        return 0;
    }
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = write(t->fd, data + done, bytes - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            t->write_errno = errno;
            return 0;
        }
        done += (size_t)n;
    }
    t->written += bytes;
    return bytes;
}

static int on_progress(void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
    const struct transfer *const t = ctx;
    (void)now, (void)up_total, (void)up_now;
    qb_progress_report(t->io->progress, t->label, t->start + t->written,
                       total > 0 ? t->start + (uint64_t)total : 0);
    return qb_interrupted();
}

/* One request from byte t->start on. *refused: the server cannot go on from there. */
static enum qb_status request(const char *url, struct transfer *t, int *refused, struct qb_error *err)
{
    char message[CURL_ERROR_SIZE] = "";
    CURL *const curl = curl_easy_init();
    if (!curl) {
        return qb_fail(err, QB_EFAILED, "%s: libcurl cannot start", url);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->start);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    const CURLcode code = curl_easy_perform(curl);
    long http = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_cleanup(curl);
    *refused = t->start && (code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME ||
                            (code == CURLE_HTTP_RETURNED_ERROR && http == HTTP_RANGE_NOT_SATISFIABLE));
    if (code == CURLE_OK) {
        return QB_OK;
    }
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        return qb_fetch_interrupted(err);
    }
    if (t->write_errno) {
        return qb_fail(err, QB_EIO, "%s cannot be stored: %s", t->label, strerror(t->write_errno));
    }
    if (t->too_large) {
        return qb_fail(err, QB_EINPUT, "%s: more than %d bytes come, not the archive", url, MAX_ARCHIVE);
    }
    return qb_fail(err, QB_EIO, "%s: %s", url, *message ? message : curl_easy_strerror(code));
}

static enum qb_status check_md5(const char *path, const char *want, struct qb_error *err)
{
    char md5[QB_MD5_HEX];
    QB_TRY(qb_md5_file(path, md5, err));
    return strcmp(md5, want) == 0
               ? QB_OK
               : qb_fail(err, QB_EINPUT, "%s: its MD5 sum is %s, %s is expected", path, md5, want);
}

/* Fills the file from the network, appending to its first `start` bytes. */
static enum qb_status fill(const struct qb_fetch_plan *plan, const char *part, uint64_t start,
                           const struct qb_fetch_io *io, int *refused, struct qb_error *err)
{
    struct transfer t = {.io = io, .start = start};
    snprintf(t.label, sizeof t.label, "downloading %s", plan->archive);
    t.fd = open(part, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (start ? 0 : O_TRUNC), 0666);
    if (t.fd < 0) {
        return qb_fail(err, QB_EIO, "%s: cannot be created: %s", part, strerror(errno));
    }
    qb_fetch_log(io, "%s %s", start ? "going on with" : "downloading", plan->url);
    const enum qb_status status = request(plan->url, &t, refused, err);
    close(t.fd);
    return status;
}

/* Downloads to `part`, from where an earlier attempt stopped if there was one; the result has the right
 * checksum. */
static enum qb_status download(const struct qb_fetch_plan *plan, const char *part,
                               const struct qb_fetch_io *io, struct qb_error *err)
{
    struct stat st;
    uint64_t start = stat(part, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    if (start && check_md5(part, plan->archive_md5, err) == QB_OK) {
        return QB_OK; /* it was complete, unpacking was not */
    }
    for (;; start = 0) {
        int refused = 0;
        enum qb_status status = fill(plan, part, start, io, &refused, err);
        if (status == QB_OK) {
            status = check_md5(part, plan->archive_md5, err);
            if (status == QB_OK) {
                return QB_OK;
            }
            unlink(part); /* whatever it is, going on with it cannot help */
            refused = 1;
        }
        if (!start || !refused) {
            if (status != QB_EINTERRUPTED && stat(part, &st) == 0 && st.st_size == 0) {
                unlink(part);
            }
            return status;
        }
    }
}

enum qb_status qb_fetch_official(const struct qb_fetch_plan *plan, const char *dir, const char *staging,
                                 const struct qb_fetch_io *io, struct qb_error *err)
{
    char names[QB_CIFAR_FILES][32], *part = NULL, *archive = qb_path_join(dir, plan->archive);
    const char *wanted[QB_CIFAR_FILES];
    enum qb_status status = QB_OK;
    if (!archive || asprintf(&part, "%s.part", archive) < 0) {
        free(archive);
        return qb_fail_memory(err, strlen(dir));
    }
    const int given = qb_is_file(archive);
    if (given) {
        qb_fetch_log(io, "using %s", archive);
        status = check_md5(archive, plan->archive_md5, err);
    } else if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        status = qb_fail(err, QB_EFAILED, "libcurl cannot start");
    } else {
        status = download(plan, part, io, err);
        curl_global_cleanup();
    }
    for (unsigned i = 0; i < QB_CIFAR_FILES; i++) {
        snprintf(names[i], sizeof names[i], "%s.bin", qb_cifar_names[i]);
        wanted[i] = names[i];
    }
    if (status == QB_OK) {
        status = qb_archive_extract(given ? archive : part, wanted, QB_CIFAR_FILES,
                                    plan->rows * QB_CIFAR_RECORD, staging, io, err);
        if (status == QB_OK && !given) {
            unlink(part);
        }
    }
    free(archive);
    free(part);
    return status;
}
