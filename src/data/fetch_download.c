/* Files by libcurl: see fetch_internal.h. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
};

struct transfer {
    const struct qb_download *what;
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
    if (t->start + t->written + bytes > t->what->max_bytes) {
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
static enum qb_status request(struct transfer *t, int *refused, struct qb_error *err)
{
    const char *const url = t->what->url;
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
        return qb_fail(err, QB_EINPUT, "%s: more than %llu bytes come, not %s", url,
                       (unsigned long long)t->what->max_bytes, t->what->name);
    }
    return qb_fail(err, QB_EIO, "%s: %s", url, *message ? message : curl_easy_strerror(code));
}

enum qb_status qb_download_check(const struct qb_download *what, const char *path, struct qb_error *err)
{
    char sum[QB_SHA256_HEX];
    QB_TRY(what->md5 ? qb_md5_file(path, sum, err) : qb_sha256_file(path, sum, err));
    const char *const want = what->md5 ? what->md5 : what->sha256;
    return strcmp(sum, want) == 0 ? QB_OK
                                  : qb_fail(err, QB_EINPUT, "%s: its %s sum is %s, %s is expected", path,
                                            what->md5 ? "MD5" : "SHA-256", sum, want);
}

/* Fills the file from the network, appending to its first `start` bytes. */
static enum qb_status fill(const struct qb_download *what, const char *part, uint64_t start,
                           const struct qb_fetch_io *io, int *refused, struct qb_error *err)
{
    struct transfer t = {.what = what, .io = io, .start = start};
    snprintf(t.label, sizeof t.label, "downloading %s", what->name);
    t.fd = open(part, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (start ? 0 : O_TRUNC), 0666);
    if (t.fd < 0) {
        return qb_fail(err, QB_EIO, "%s: cannot be created: %s", part, strerror(errno));
    }
    qb_fetch_log(io, "%s %s", start ? "going on with" : "downloading", what->url);
    const enum qb_status status = request(&t, refused, err);
    close(t.fd);
    return status;
}

static enum qb_status download(const struct qb_download *what, const char *part, const struct qb_fetch_io *io,
                               struct qb_error *err)
{
    struct stat st;
    uint64_t start = stat(part, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    if (start && qb_download_check(what, part, err) == QB_OK) {
        return QB_OK; /* it was complete, what came behind was not */
    }
    for (;; start = 0) {
        int refused = 0;
        enum qb_status status = fill(what, part, start, io, &refused, err);
        if (status == QB_OK) {
            status = qb_download_check(what, part, err);
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

enum qb_status qb_download(const struct qb_download *what, const char *part, const struct qb_fetch_io *io,
                           struct qb_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        return qb_fail(err, QB_EFAILED, "libcurl cannot start");
    }
    const enum qb_status status = download(what, part, io, err);
    curl_global_cleanup();
    return status;
}
