/* Stands in for the other tflite files where flatbuffers was absent at build time. */
#include "model/tflite.h"

enum qb_status qb_tflite_import(const char *path, const struct qb_blob *file, struct qb_graph **out,
                                struct qb_error *err)
{
    (void)file, (void)out;
    return qb_fail(err, QB_EUNSUPPORTED,
                   "%s: a TensorFlow Lite file, and this program was built without flatbuffers: install the "
                   "Debian packages libflatbuffers-dev and flatbuffers-compiler and build again",
                   path);
}
