/* What the families of benchmarks share: the model, this machine, and how work is counted.
 *
 * A family is one file with one function bench_FAMILY that registers its benchmarks from tables that exist
 * anyway (engines, schemes, layers of the model, observers, kernels), so that a new entry there is measured
 * by itself. What registration makes lives in bench->arena, or in fields that main.c frees. */
#ifndef QB_BENCH_BENCH_H
#define QB_BENCH_BENCH_H

#include "base/arena.h"
#include "base/cpu.h"
#include "base/status.h"
#include "gbench.h"
#include "measure/roof.h"
#include "model/graph.h"
#include "quant/weights.h"

/* A convolution of the model; convolutions of equal shape count once. */
struct bench_conv {
    const char *shape; /* as oneDNN's benchdnn writes problems: "ic16ih32oc16oh32kh3sh1ph1" */
    const struct qb_node *node;
    struct qb_shape src;
    double macs; /* of one image */
};

struct bench {
    struct qb_arena *arena;
    struct qb_graph *graph;
    enum qb_isa isa; /* of engines and oneDNN: the best, or what QB_ISA says */
    struct qb_roof roof;
    struct bench_conv *convs; /* bench_find_convs */
    size_t conv_count;
    struct bench_scheme *schemes; /* bench_network.c */
    size_t scheme_count;
};

/* Batches ("mb" in names) that networks and layers are measured at. */
enum { BENCH_BATCHES = 2 };
extern const int bench_batches[BENCH_BATCHES];

/* Walks the model's CONV nodes. */
enum qb_status bench_find_convs(struct bench *bench, struct qb_error *err);

enum qb_status bench_network(struct bench *bench, struct qb_error *err);
void bench_network_free(struct bench *bench);
enum qb_status bench_onednn(struct bench *bench, struct qb_error *err);
enum qb_status bench_kernels(struct bench *bench, struct qb_error *err);
enum qb_status bench_quant(struct bench *bench, struct qb_error *err);

/* Registers `fn` with a copy of `ctx` (`size` bytes) under a printf-style name. */
enum qb_status bench_add(struct bench *bench, gbench_fn *fn, const void *ctx, size_t size,
                         struct qb_error *err, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Behind the loop: counters GMAC/s, roof_% (where `roof_gmacs` > 0) and us/img of an iteration over `images`
 * images of `macs` multiply-accumulates each. */
void bench_count_macs(struct gbench_run *run, double macs, int images, double roof_gmacs);

/* A failure inside a benchmark: QB_EUNSUPPORTED is a skip, everything else fails the run. */
void bench_stop(struct gbench_run *run, const struct qb_error *err);

/* Weights of a convolution alone: per channel, symmetric, 8 bits. */
enum qb_status bench_quantize_weights(const struct qb_node *conv, struct qb_arena *arena,
                                      struct qb_quantized_weights *out, struct qb_error *err);

/* Scale of activations in and out of a layer: codes 0..127 are 0..1, and most results stay off the clamps. */
extern const float bench_scale;

/* What layers and observers get as input: reproducible, and no denormals. */
void bench_fill_codes(uint8_t *codes, size_t count, int max); /* uniform in 0..max */
void bench_fill_floats(float *values, size_t count);          /* uniform in [0, 1) */

#endif
