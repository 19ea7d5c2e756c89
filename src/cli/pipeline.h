/* The arrows between the rooms that several commands draw: data set, calibration, integer graph, engine. */
#ifndef QB_CLI_PIPELINE_H
#define QB_CLI_PIPELINE_H

#include <stdbool.h>

#include "base/progress.h"
#include "config/scheme.h"
#include "data/dataset.h"
#include "data/sampler.h"
#include "engine/engine.h"
#include "model/graph.h"
#include "quant/qgraph.h"
#include "quant/quantize.h"

/* Loads a split from `dir` (NULL: the usual places). When the user named no folder and none is found, the
 * synthetic set is made; pipeline_tell_synthetic says so, once, in a line on stderr. */
enum qb_status pipeline_data(const char *dir, enum qb_split split, struct qb_dataset *out,
                             struct qb_error *err);
void pipeline_tell_synthetic(void);

/* Results of calibrations in this process, so that schemes with the same observers see the images once. Zero-
 * initialize; for one model and one data set. */
struct pipeline_cache {
    struct pipeline_cached *entries;
    size_t count;
};
void pipeline_cache_free(struct pipeline_cache *cache);

struct pipeline_calibration {
    const struct qb_sampler *sampler;
    int batch_size;
    const char *data_dir;
    const char *qparams; /* a JSON file of activation scales instead of calibration; NULL: calibrate */
    enum qb_isa isa;     /* what this process caps oneDNN to; QB_ISA_REF: it does not */
    const struct qb_dataset *train; /* loaded already, or NULL: loaded when needed */
    struct pipeline_cache *cache;   /* NULL: none */
};

/* Float graph + scheme -> integer graph: runs the calibration images through the float engine, batch by
 * batch, and lets the scheme's observers see every tensor in execution order. */
enum qb_status pipeline_quantize(const struct qb_graph *graph, const struct qb_scheme *scheme,
                                 const struct pipeline_calibration *calibration,
                                 const struct qb_progress *progress, struct qb_qgraph **out,
                                 struct qb_error *err);

/* A float or quantized model file, as written or else under the share folder. */
enum qb_status pipeline_graph_load(const char *path, struct qb_graph **out, struct qb_error *err);

/* A model file of any kind, found likewise. `qgraph` is set for a quantized file, else NULL; `graph` always.
 * `arithmetic` (NULL: ort, ONNX Runtime's) is that of a quantized file that does not say; it must not differ
 * from what the file says. */
struct pipeline_model {
    struct qb_graph *graph;
    struct qb_qgraph *qgraph;
};
enum qb_status pipeline_model_load(const char *path, const char *arithmetic, struct pipeline_model *out,
                                   struct qb_error *err);
/* Option --scheme of commands without calibration options: the float `model` of file `path` becomes the
 * network of the scheme (a name or a file), calibrated on the first 100 training images of each class in
 * batches of 32. `scheme` NULL or fp32: it stays as it is. A model that is quantized already is an error.
 * `isa` as in struct pipeline_calibration. */
enum qb_status pipeline_model_quantize(const char *scheme, const char *path, const char *data_dir,
                                       enum qb_isa isa, const struct qb_progress *progress,
                                       struct pipeline_model *model, struct qb_error *err);
void pipeline_model_free(struct pipeline_model *model);

/* Option --accumulate: sums of `qgraph` in place of its own; NULL: as they are. An unknown name lists those
 * that exist. */
enum qb_status pipeline_accumulate(const char *name, struct qb_qgraph *qgraph, struct qb_error *err);

/* Bytes of the parameters: as floats, and as the model holds them (the same for a float model). */
size_t pipeline_fp32_bytes(const struct qb_graph *graph);
size_t pipeline_model_bytes(const struct pipeline_model *model);

/* CPUs this process may use. */
int pipeline_cpus(void);

#endif
