/* Loads the golden cases of ../shared/golden: a folder's manifest.json and .npy files become a struct
 * qb_qgraph, without any other room, so that an engine can be compared with PyTorch's own results from
 * PyTorch's own scales. The layout of the folders is told in ../shared/golden/torch/README.md, the network is
 * the one of MLPerf Tiny (ResNet8). */
#ifndef QB_GOLDEN_H
#define QB_GOLDEN_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/npy.h"
#include "model/graph.h"
#include "quant/qgraph.h"

enum { GOLDEN_CLASSES = 10, GOLDEN_IMAGES = 10000 };

struct golden_case {
    struct qb_arena *arena; /* owns everything below */
    struct qb_qgraph
        qgraph;  /* nodes are named as in traces: input, conv, relu, ... relu_add, ... avgpool, dense */
    int correct; /* of the 10,000 test images */
    char logits_sha256[QB_SHA256_HEX];
};

/* With `vnni` true and a manifest that has a native_run (../shared/golden/saturation), count and hash are
 * that run's: the same scales and weights on a CPU whose accumulators do not saturate. */
enum qb_status golden_load(const char *folder, bool vnni, struct golden_case *out, struct qb_error *err);
void golden_free(struct golden_case *golden);

/* The float network of the case fp32: same node names as an unfused integer case, with relu nodes. */
struct golden_float {
    struct qb_arena *arena;
    struct qb_graph graph;
};
enum qb_status golden_float_load(const char *folder, struct golden_float *out, struct qb_error *err);
void golden_float_free(struct golden_float *golden);

/* An .npz file: arrays in file order. */
struct golden_npz {
    size_t count;
    char (*names)[256]; /* without ".npy" */
    struct qb_npy *arrays;
};
enum qb_status golden_npz_read(const char *path, struct golden_npz *out, struct qb_error *err);
void golden_npz_free(struct golden_npz *npz);
/* NULL when absent. */
const struct qb_npy *golden_npz_find(const struct golden_npz *npz, const char *name);

#endif
