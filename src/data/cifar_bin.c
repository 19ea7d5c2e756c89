/* The binary version of CIFAR-10: see cifar.h. The format is https://www.cs.toronto.edu/~kriz/cifar.html,
 * "Binary version": records and nothing else, so the size and the labels are all there is to check. */
#include "data/cifar.h"

#include <sys/stat.h>

enum qb_status qb_cifar_bin_read(const char *path, size_t rows, struct qb_blob *records, struct qb_error *err)
{
    const size_t want = rows * QB_CIFAR_RECORD;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size != want) {
        return qb_fail(
            err, QB_EINPUT,
            "%s: %lld bytes, a CIFAR-10 batch has exactly %zu; `qbench fetch cifar10` gets it again", path,
            (long long)st.st_size, want);
    }
    struct qb_blob blob;
    QB_TRY(qb_file_read(path, want, &blob, err));
    enum qb_status status = QB_OK;
    if (blob.size != want) {
        status = qb_fail(err, QB_EINPUT, "%s: it changed while it was read", path);
    }
    for (size_t i = 0; i < rows && status == QB_OK; i++) {
        const unsigned label = blob.data[i * QB_CIFAR_RECORD];
        if (label >= QB_CLASSES) {
            status = qb_fail(err, QB_EINPUT, "%s: image %zu has label %u, CIFAR-10 labels are 0..9", path, i,
                             label);
        }
    }
    if (status != QB_OK) {
        qb_blob_free(&blob);
        return status;
    }
    *records = blob;
    return QB_OK;
}
