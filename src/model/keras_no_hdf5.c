/* Stands in for keras_file.c and keras_hdf5.c where libhdf5 was absent at build time. */
#include "model/keras_file.h"

enum qb_status qb_keras_file_read(const char *path, const struct qb_blob *file, struct qb_arena *arena,
                                  struct qb_keras_file *out, struct qb_error *err)
{
    (void)file, (void)arena, (void)out;
    return qb_fail(
        err, QB_EUNSUPPORTED,
        "%s: a Keras .h5 file, and this program was built without libhdf5: install the Debian package "
        "libhdf5-dev and build again",
        path);
}
