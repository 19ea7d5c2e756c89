/* What both halves of the reference engine share: images are spread over threads, each image is computed
 * alone (so results depend neither on threads nor on the batch, but see pytorch_batches in engine.h), and
 * taps see whole batches in execution order. */
#ifndef QB_ENGINE_REFERENCE_RUNNER_H
#define QB_ENGINE_REFERENCE_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "engine/engine.h"

struct qb_runner;

/* Computes one image: writes every tensor (tensors[node], NHWC) and the logits. `scratch` is the caller's
 * alone. */
typedef void qb_forward_fn(const struct qb_runner *runner, const uint8_t *image, void *const *tensors,
                           void *scratch, float *logits);

struct qb_runner {
    struct qb_engine base;
    struct qb_arena *arena; /* owns this struct and all that belongs to it */
    int threads;
    size_t image_bytes;
    /* Filled in by create_f32 / create_int8 between qb_runner_create and qb_runner_prepare. */
    qb_forward_fn *forward;
    const void *net;
    int nodes;
    const size_t *counts; /* [nodes] elements of one image's tensor */
    const size_t *bytes;  /* [nodes] bytes of it */
    size_t scratch_bytes; /* one thread's */
    int n;                /* images of the run in progress */
    /* Private to runner.c. */
    struct qb_worker *workers; /* [threads] */
    void **batch;              /* [nodes] tensors of a whole batch; NULL until a tap asks for them */
};

/* An empty runner; the caller fills in base.classes, image_bytes and the fields named above. */
enum qb_status qb_runner_create(const struct qb_engine_options *options, struct qb_runner **out,
                                struct qb_error *err);
/* Allocates the threads' workspaces. */
enum qb_status qb_runner_prepare(struct qb_runner *runner, struct qb_error *err);

enum qb_status qb_runner_run(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                             struct qb_error *err);
/* Accepts NULL. */
void qb_runner_destroy(struct qb_engine *engine);

/* Tells whoever watches that `node` is done. */
static inline void qb_runner_step(const struct qb_runner *runner, int node)
{
    if (runner->base.step) {
        runner->base.step(runner->base.step_ctx, node);
    }
}

/* Memory of the runner's arena; on failure NULL, and err is set. */
void *qb_runner_array(struct qb_runner *runner, size_t count, size_t size, struct qb_error *err);

#endif
