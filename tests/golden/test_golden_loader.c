/* The loader of golden cases refuses what is not one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "golden.h"
#include "testing.h"

static void missing_folder(void **state)
{
    (void)state;
    struct golden_case golden;
    struct golden_float net;
    struct golden_npz npz;
    struct qb_error err;
    qbt_error(golden_load("/nonexistent", false, &golden, &err), QB_EINPUT, &err, "manifest.json");
    assert_int_not_equal(golden_float_load("/nonexistent", &net, &err), QB_OK);
    assert_int_not_equal(golden_npz_read("/nonexistent.npz", &npz, &err), QB_OK);
}

static void truncated_npz(void **state)
{
    (void)state;
    const char *const relative = "golden/saturation/torch-fbgemm-avx2/layers/dense.npz";
    qbt_require_shared(relative);
    struct qb_error err;
    struct qb_blob blob;
    struct golden_npz npz;
    char *const dir = qbt_mkdtemp(), *const path = qb_path_join(dir, "cut.npz");
    qbt_ok(golden_npz_read(qbt_shared(relative), &npz, &err), &err);
    assert_int_equal(npz.count, 5);
    assert_non_null(golden_npz_find(&npz, "stride_pad_zx_zy"));
    assert_null(golden_npz_find(&npz, "z"));
    golden_npz_free(&npz);
    qbt_ok(qb_file_read(qbt_shared(relative), 1 << 20, &blob, &err), &err);
    for (size_t size = 0; size < blob.size * 3 / 4; size += 97) {
        qbt_ok(qb_file_write(path, blob.data, size, &err), &err);
        if (golden_npz_read(path, &npz, &err) == QB_OK) {
            assert_in_range(npz.count, 0, 4); /* cut between entries */
            golden_npz_free(&npz);
        }
    }
    qb_blob_free(&blob);
    free(path);
    qbt_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(missing_folder), cmocka_unit_test(truncated_npz)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
