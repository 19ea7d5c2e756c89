/* The plan of the native engine: made once from a graph, then only read; any number of threads run it, each
 * in its own workspace.
 *
 * Every tensor is NHWC u8 in a frame of its zero point, wide enough for all its readers, so that kernels need
 * no border cases; the frame is filled once, when a workspace is made. A pixel takes 16 bytes for every 16
 * channels, or 4 for every 4 when only convolutions read it and no kernel that writes blocks makes it (the
 * input). Tensors of float layers are dense NHWC floats. */
#ifndef QB_ENGINE_NATIVE_PLAN_H
#define QB_ENGINE_NATIVE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "engine/native/fuse.h"
#include "engine/reference/float_layer.h"
#include "kernels/add/add.h"
#include "kernels/avgpool/avgpool.h"
#include "kernels/conv/conv.h"
#include "kernels/mul/mul.h"
#include "kernels/quantize/quantize.h"
#include "kernels/recode/recode.h"
#include "kernels/relu/relu.h"
#include "quant/qgraph.h"

struct qb_native_tensor {
    bool used; /* false: fused away */
    struct qb_shape shape;
    size_t step, pitch;    /* bytes */
    size_t origin, offset; /* of pixel (0, 0) from the frame's start, and of that start in the workspace */
    size_t bytes;
    uint8_t zero_point;
};

/* One kernel call; `node` is also the tensor it writes, whole or (split.h) a part of it. */
struct qb_native_step {
    enum qb_qop op; /* DENSE is a CONV; limits of fewer than 8 bits are a RELU in place */
    int node, src[2];
    const void *run;  /* the table entry: struct qb_conv_impl, qb_addition_impl ... by op */
    const void *args; /* what the kernel is called with: struct qb_conv, qb_addition ... */
    const void *packed;
    const struct qb_float_layer
        *floats;    /* not NULL: the step computes in float or converts; it stays whole */
    unsigned chain; /* CONV, DENSE: with the steps beside it, see conv.h; only where all steps run in order */
    int rows;       /* of dst */
    size_t image;   /* INPUT: where it begins to read the image; bytes */
    size_t from[2], to; /* bytes from the workspace's start; from[1] where src[1] is not -1 */
};

struct qb_native_plan {
    const struct qb_qgraph *graph;
    enum qb_isa isa;                  /* cap */
    struct qb_native_tensor *tensors; /* [graph->count] */
    struct qb_native_step *steps;
    int count;
    size_t scratch;       /* offset in the workspace, at its end */
    size_t scratch_bytes; /* of the greediest step */
    const char *text;     /* kernels and paths chosen, step by step */
};

/* fuse: with additions and ReLUs in the tails of convolutions; without, every node has its tensor. Memory
 * from `arena`. */
enum qb_status qb_native_plan_make(const struct qb_qgraph *graph, enum qb_isa isa, bool fuse,
                                   struct qb_arena *arena, struct qb_native_plan *out, struct qb_error *err);
/* Bytes of a workspace: a multiple of 64. */
size_t qb_native_plan_bytes(const struct qb_native_plan *plan);
/* Fills the frames; once for each workspace (64-byte aligned). */
void qb_native_plan_prepare(const struct qb_native_plan *plan, uint8_t *workspace);
/* One image. */
void qb_native_plan_run(const struct qb_native_plan *plan, uint8_t *workspace, const uint8_t *image,
                        float *logits);
/* Its two halves: a step (scratch may belong to another workspace), and the logits behind the last one. */
void qb_native_plan_step(const struct qb_native_plan *plan, const struct qb_native_step *step,
                         uint8_t *workspace, uint8_t *scratch, const uint8_t *image);
void qb_native_plan_logits(const struct qb_native_plan *plan, const uint8_t *workspace, float *logits);
/* Codes (of float nodes: floats) of one node without frame and filling, NHWC. */
void qb_native_plan_tensor(const struct qb_native_plan *plan, const uint8_t *workspace, int node,
                           uint8_t *out);

/* What plan.c, the layout and the makers of steps share. */
struct qb_native_maker {
    const struct qb_qgraph *graph;
    const struct qb_native_fusion *fusions;
    struct qb_arena *arena;
    struct qb_native_plan *plan;
};
/* Gives the tensors that are not fused away their places, and the plan the place of its scratch memory behind
 * them (plan_layout.c). */
enum qb_status qb_native_lay_out(struct qb_native_maker *maker, struct qb_error *err);
/* The step of a CONV or DENSE, or of an addition in the tail of one (conv_step.c). */
enum qb_status qb_native_make_conv(struct qb_native_maker *maker, int node, struct qb_native_step *step,
                                   struct qb_error *err);
/* Steps in float (float_step.c). */
enum qb_status qb_native_make_floats(struct qb_native_maker *maker, int node, struct qb_native_step *step,
                                     struct qb_error *err);
void qb_native_run_floats(const struct qb_native_plan *plan, const struct qb_native_step *step,
                          uint8_t *workspace, const uint8_t *image);
/* Packs the weights of a convolution step for its kernel, and sees to its scratch memory. */
enum qb_status qb_native_pack_conv(struct qb_native_plan *plan, const struct qb_conv *conv,
                                   struct qb_arena *arena, struct qb_native_step *step, struct qb_error *err);
/* Memory of the arena; on failure NULL, and err is set. */
void *qb_native_array(struct qb_arena *arena, size_t count, size_t size, struct qb_error *err);

#endif
