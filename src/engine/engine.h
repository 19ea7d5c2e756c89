/* Executing a network: the one interface, and the table of its implementations.
 *
 * Images are u8 NHWC; logits are float32 [n][classes] before softmax. An engine keeps a pointer to the graph
 * it was made from: the graph must outlive it. Two engines in one process do not meet; one engine is used by
 * one thread at a time. */
#ifndef QB_ENGINE_ENGINE_H
#define QB_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "base/status.h"
#include "model/graph.h"
#include "quant/qgraph.h"

/* Simulated quantization of one node of a float graph. The engine packs the weights when it is made and reads
 * the flags in each run: whoever made it may change them in between. */
struct qb_fake {
    bool weights_on, tensor_on;
    /* Not to be changed: with tensor_on, `beside`, nodes with `floats` read the tensor as it was. */
    bool beside, floats;
    const float *wei, *bia; /* quantized and dequantized, in the order of the node's own; NULL: it has none */
    struct qb_qparams
        q; /* of its tensor: x becomes scale * (clamp(rne(x / scale) + zero_point) - zero_point) */
    /* CONV, DENSE: what it reads is quantized for it alone, with these; src.scale 0: it never is. */
    bool src_on;
    struct qb_qparams src;
};

struct qb_engine_options {
    enum qb_isa isa; /* cap; engines that cannot honour it say so at creation */
    int threads;     /* 1.. */
    int batch;       /* the largest n of qb_engine_run, 1.. */
    const char
        *impl; /* onednn: "default" (first), "fastest" (timed), or an implementation name; NULL = default */
    /* reference, float graphs, for calibration: the sums of a run of one image go in the order that PyTorch
     * has for a batch of one. Without it images are summed alike, whatever the batch. */
    bool pytorch_batches;
    const struct qb_fake *fake; /* reference, float graphs: [graph->count], kept by the caller; NULL: none */
};

/* How far an engine's integer results may differ from the reference engine. */
enum qb_exactness {
    QB_EXACT,       /* bit for bit */
    QB_APPROXIMATE, /* the library's own rounding: rows are marked ~ */
};

/* Sees tensor `node` of the graph the engine was made from, for one batch: float (f32 engines) or u8 codes in
 * inside form (integer graphs; float nodes: floats), NHWC, `count` elements. */
typedef void qb_tap_fn(void *ctx, int node, const void *data, size_t count);

/* What saturated in one node since the engine was made (qb_qgraph.accumulate). */
struct qb_saturation {
    uint64_t pairs;        /* sums of two products that left int16 */
    uint64_t accumulators; /* output values that hold such a pair */
};

/* Called when the work of `node` is done: the time since the previous call, or since the start of the run,
 * was spent on it. Work fused into one piece is one call, for the last of its nodes; a node may have several.
 */
typedef void qb_step_fn(void *ctx, int node);

struct qb_engine;

struct qb_engine_ops {
    const char *name;    /* "reference", "onednn", "onednn_fused", "native" */
    const char *summary; /* one line for lists */
    bool emulates;       /* runs integer graphs whose accumulation is not exact */
    enum qb_status (*create_f32)(const struct qb_graph *graph, const struct qb_engine_options *options,
                                 struct qb_engine **out,
                                 struct qb_error *err); /* NULL: integer graphs only */
    enum qb_status (*create_int8)(const struct qb_qgraph *graph, const struct qb_engine_options *options,
                                  struct qb_engine **out, struct qb_error *err);
    enum qb_status (*run)(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                          struct qb_error *err);
    void (*destroy)(struct qb_engine *engine);
    bool free_threads; /* its threads go to cores of their own even where the caller is bound to one */
};

/* First member of every implementation's own struct. */
struct qb_engine {
    const struct qb_engine_ops *ops;
    int classes;           /* width of the logits */
    int batch;             /* largest n */
    struct qb_shape image; /* what it reads for each of the n; set by qb_engine_create */
    enum qb_exactness exactness;
    const char *implementation; /* what runs, for the row: "brgconv:avx512_core_vnni x8, jit:..."; owned by
                                   the engine */
    const char *isa;            /* ISA in effect as the engine knows it, for the row */
    qb_tap_fn *tap; /* NULL: none. Set before run; engines that fuse a tensor away never show it */
    void *tap_ctx;
    qb_step_fn *step; /* NULL: none. Only for engines of one thread, runs of one image, without a tap */
    void *step_ctx;
    const struct qb_saturation *saturation; /* [nodes of the graph]; NULL: accumulation is exact */
};

/* NULL-terminated. */
extern const struct qb_engine_ops *const qb_engines[];
/* NULL and a sentence that lists the names when there is none. */
const struct qb_engine_ops *qb_engine_find(const char *name, struct qb_error *err);

/* Exactly one of `graph` and `qgraph` is not NULL. An unknown name lists those that exist. */
enum qb_status qb_engine_create(const char *name, const struct qb_graph *graph,
                                const struct qb_qgraph *qgraph, const struct qb_engine_options *options,
                                struct qb_engine **out, struct qb_error *err);
/* 1 <= n <= batch; `images` holds n images of engine->image. */
enum qb_status qb_engine_run(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                             struct qb_error *err);
/* Accepts NULL. */
void qb_engine_free(struct qb_engine *engine);

#endif
