/* Digests (OpenSSL's): SHA-256 for identity, MD5 only where a data set publishes MD5 sums. */
#ifndef QB_BASE_HASH_H
#define QB_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { QB_SHA256_HEX = 65, QB_MD5_HEX = 33, QB_HASH64_HEX = 17 };

/* Lower-case hexadecimal, NUL-terminated. */
void qb_sha256(const void *data, size_t size, char hex[QB_SHA256_HEX]);
void qb_md5(const void *data, size_t size, char hex[QB_MD5_HEX]);

/* The first eight bytes of the SHA-256, as 16 hexadecimal digits: the hash of logits in every row, so that
 * `sha256sum` on the raw float32 data gives the same digits. */
void qb_hash64(const void *data, size_t size, char hex[QB_HASH64_HEX]);

/* SHA-256 / MD5 of a file's content. */
enum qb_status qb_sha256_file(const char *path, char hex[QB_SHA256_HEX], struct qb_error *err);
enum qb_status qb_md5_file(const char *path, char hex[QB_MD5_HEX], struct qb_error *err);

/* SHA-256 of data that comes in pieces. begin: NULL when memory is out. end writes the digest and frees; with
 * hex == NULL it only frees. */
struct qb_sha256_stream;
struct qb_sha256_stream *qb_sha256_begin(void);
void qb_sha256_add(struct qb_sha256_stream *stream, const void *data, size_t size);
void qb_sha256_end(struct qb_sha256_stream *stream, char hex[QB_SHA256_HEX]);

#endif
