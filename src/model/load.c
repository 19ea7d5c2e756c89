/* qb_model_load: reads a model file, picks the importer by content and canonicalizes what it gives. */
#include <string.h>

#include "base/file.h"
#include "model/graph.h"
#include "model/graph_build.h"
#include "model/keras.h"
#include "model/onnx.h"
#include "model/passes.h"
#include "model/tflite.h"

enum qb_status qb_model_load(const char *path, struct qb_graph **out, struct qb_error *err)
{
    static const unsigned char hdf5[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    struct qb_blob file;
    QB_TRY(qb_file_read(path, QB_MODEL_MAX_BYTES, &file, err));
    struct qb_graph *graph = NULL;
    enum qb_status status;
    if (file.size >= sizeof hdf5 && memcmp(file.data, hdf5, sizeof hdf5) == 0) {
        status = qb_keras_import(path, &file, &graph, err);
    } else if (file.size >= 8 && memcmp(file.data + 4, "TFL3", 4) == 0) {
        status = qb_tflite_import(path, &file, &graph, err);
    } else {
        status = qb_onnx_import(path, &file, &graph, err);
    }
    qb_blob_free(&file);
    if (status != QB_OK) {
        return status;
    }
    status = qb_graph_canonicalize(graph, err);
    if (status != QB_OK) {
        qb_fail_prefix(err, "%s", path);
        qb_graph_free(graph);
        return status;
    }
    *out = graph;
    return QB_OK;
}
