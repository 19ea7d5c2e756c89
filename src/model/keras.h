/* Keras .h5 files (HDF5): the functional model's layers and weights -> a raw graph. Without libhdf5 at build
 * time the function says which package is missing. */
#ifndef QB_MODEL_KERAS_H
#define QB_MODEL_KERAS_H

#include "base/file.h"
#include "model/graph.h"

enum qb_status qb_keras_import(const char *path, const struct qb_blob *file, struct qb_graph **out,
                               struct qb_error *err);

#endif
