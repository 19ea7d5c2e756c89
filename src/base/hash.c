/* Digests: see hash.h. */
#include "base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>

static void to_hex(const unsigned char *digest, unsigned size, char *hex)
{
    for (unsigned i = 0; i < size; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

static void digest(const EVP_MD *md, const void *data, size_t size, char *hex)
{
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    hex[0] = 0;
    if (EVP_Digest(data, size, out, &length, md, NULL) == 1) {
        to_hex(out, length, hex);
    }
}

void qb_sha256(const void *data, size_t size, char hex[QB_SHA256_HEX])
{
    digest(EVP_sha256(), data, size, hex);
}

void qb_md5(const void *data, size_t size, char hex[QB_MD5_HEX])
{
    digest(EVP_md5(), data, size, hex);
}

void qb_hash64(const void *data, size_t size, char hex[QB_HASH64_HEX])
{
    char full[QB_SHA256_HEX];
    qb_sha256(data, size, full);
    memcpy(hex, full, QB_HASH64_HEX - 1);
    hex[QB_HASH64_HEX - 1] = 0;
}

static enum qb_status digest_file(const EVP_MD *md, const char *path, char *hex, struct qb_error *err)
{
    FILE *const f = fopen(path, "rbe");
    if (!f) {
        return qb_fail(err, errno == ENOENT ? QB_ENOTFOUND : QB_EIO, "%s: cannot be opened: %s", path,
                       strerror(errno));
    }
    EVP_MD_CTX *const ctx = EVP_MD_CTX_new();
    unsigned char buffer[1 << 16], out[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    int good = ctx && EVP_DigestInit_ex(ctx, md, NULL) == 1;
    for (size_t n; good && (n = fread(buffer, 1, sizeof buffer, f)) > 0;) {
        good = EVP_DigestUpdate(ctx, buffer, n) == 1;
    }
    good = good && !ferror(f) && EVP_DigestFinal_ex(ctx, out, &length) == 1;
    EVP_MD_CTX_free(ctx);
    fclose(f);
    if (!good) {
        return qb_fail(err, QB_EIO, "%s: cannot be read", path);
    }
    to_hex(out, length, hex);
    return QB_OK;
}

enum qb_status qb_sha256_file(const char *path, char hex[QB_SHA256_HEX], struct qb_error *err)
{
    return digest_file(EVP_sha256(), path, hex, err);
}

enum qb_status qb_md5_file(const char *path, char hex[QB_MD5_HEX], struct qb_error *err)
{
    return digest_file(EVP_md5(), path, hex, err);
}

struct qb_sha256_stream {
    EVP_MD_CTX *ctx;
};

struct qb_sha256_stream *qb_sha256_begin(void)
{
    struct qb_sha256_stream *const stream = malloc(sizeof *stream);
    if (!stream) {
        return NULL;
    }
    stream->ctx = EVP_MD_CTX_new();
    if (!stream->ctx || EVP_DigestInit_ex(stream->ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(stream->ctx);
        free(stream);
        return NULL;
    }
    return stream;
}

void qb_sha256_add(struct qb_sha256_stream *stream, const void *data, size_t size)
{
    EVP_DigestUpdate(stream->ctx, data, size); /* cannot fail between begin and end */
}

void qb_sha256_end(struct qb_sha256_stream *stream, char hex[QB_SHA256_HEX])
{
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (hex && EVP_DigestFinal_ex(stream->ctx, out, &length) == 1) {
        to_hex(out, length, hex);
    }
    EVP_MD_CTX_free(stream->ctx);
    free(stream);
}
