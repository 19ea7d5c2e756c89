/* Digests against the published test vectors (RFC 1321, FIPS 180-2). */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "testing.h"

#define SHA_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA_MILLION "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void known_answers(void **state)
{
    (void)state;
    char sha[QB_SHA256_HEX], md5[QB_MD5_HEX], hash64[QB_HASH64_HEX];
    qb_sha256("", 0, sha);
    assert_string_equal(sha, SHA_EMPTY);
    qb_sha256("abc", 3, sha);
    assert_string_equal(sha, SHA_ABC);
    qb_md5("", 0, md5);
    assert_string_equal(md5, "d41d8cd98f00b204e9800998ecf8427e");
    qb_md5("abc", 3, md5);
    assert_string_equal(md5, "900150983cd24fb0d6963f7d28e17f72");
    qb_hash64("abc", 3, hash64);
    assert_string_equal(hash64, "ba7816bf8f01cfea");
}

static void pieces_equal_the_whole(void **state)
{
    (void)state;
    char sha[QB_SHA256_HEX], piece[997];
    memset(piece, 'a', sizeof piece);
    struct qb_sha256_stream *const stream = qb_sha256_begin();
    assert_non_null(stream);
    size_t left = 1000000;
    while (left) {
        const size_t n = left < sizeof piece ? left : sizeof piece;
        qb_sha256_add(stream, piece, n);
        left -= n;
    }
    qb_sha256_end(stream, sha);
    assert_string_equal(sha, SHA_MILLION);
    qb_sha256_end(qb_sha256_begin(), NULL); /* given up */
}

static void files(void **state)
{
    (void)state;
    struct qb_error err;
    char sha[QB_SHA256_HEX] = "", md5[QB_MD5_HEX] = "", *const dir = qbt_mkdtemp();
    char *const path = qb_path_join(dir, "f"), *const million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    qbt_error(qb_sha256_file(path, sha, &err), QB_ENOTFOUND, &err, path);
    qbt_error(qb_md5_file(path, md5, &err), QB_ENOTFOUND, &err, path);
    qbt_error(qb_md5_file(dir, md5, &err), QB_EIO, &err, dir);
    assert_string_equal(sha, "");
    qbt_ok(qb_file_write(path, million, 1000000, &err), &err);
    qbt_ok(qb_sha256_file(path, sha, &err), &err);
    assert_string_equal(sha, SHA_MILLION);
    qbt_ok(qb_md5_file(path, md5, &err), &err);
    assert_string_equal(md5, "7707d6ae4e027c70eea2a935c2296f21");
    free(million);
    free(path);
    qbt_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(pieces_equal_the_whole),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
