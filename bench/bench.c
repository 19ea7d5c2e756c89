/* Shapes, registration, counters and inputs of all families: see bench.h. */
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"

const int bench_batches[BENCH_BATCHES] = {1, 64};

/* "kh3" where height and width are equal, as benchdnn lets one write it, else "kh3kw1". */
struct pair {
    const char *h, *w;
    int height, width;
};

static const char *shape_name(struct qb_arena *arena, const struct qb_node *n, struct qb_shape src)
{
    const struct pair pairs[] = {{"ih", "iw", src.h, src.w},
                                 {"oh", "ow", n->dst.h, n->dst.w},
                                 {"kh", "kw", n->kh, n->kw},
                                 {"sh", "sw", n->stride_h, n->stride_w},
                                 {"ph", "pw", n->pad_t, n->pad_l}};
    const char *name = qb_arena_printf(arena, "ic%d", n->ic);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0] && name; i++) {
        const struct pair *const p = &pairs[i];
        name = qb_arena_printf(arena, "%s%s%d", name, p->h, p->height);
        if (name && p->width != p->height) {
            name = qb_arena_printf(arena, "%s%s%d", name, p->w, p->width);
        }
        if (name && i == 0) {
            name = qb_arena_printf(arena, "%soc%d", name, n->oc);
        }
    }
    return name;
}

static bool known(const struct bench *bench, const char *shape)
{
    for (size_t i = 0; i < bench->conv_count; i++) {
        if (strcmp(bench->convs[i].shape, shape) == 0) {
            return true;
        }
    }
    return false;
}

enum qb_status bench_find_convs(struct bench *bench, struct qb_error *err)
{
    const struct qb_graph *const graph = bench->graph;
    bench->convs = qb_arena_array(bench->arena, (size_t)graph->count, sizeof *bench->convs);
    for (int i = 0; bench->convs && i < graph->count; i++) {
        const struct qb_node *const n = &graph->nodes[i];
        if (n->op != QB_OP_CONV) {
            continue;
        }
        const struct qb_shape src = graph->nodes[n->src[0]].dst;
        const char *const shape = shape_name(bench->arena, n, src);
        if (!shape) {
            return qb_fail_memory(err, 1);
        }
        if (!known(bench, shape)) {
            bench->convs[bench->conv_count++] =
                (struct bench_conv){shape, n, src, (double)qb_node_macs(graph, i)};
        }
    }
    return bench->convs ? QB_OK : qb_fail_memory(err, (size_t)graph->count * sizeof *bench->convs);
}

enum qb_status bench_add(struct bench *bench, gbench_fn *fn, const void *ctx, size_t size,
                         struct qb_error *err, const char *format, ...)
{
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    void *const copy = qb_arena_memdup(bench->arena, ctx, size);
    if (!copy) {
        return qb_fail_memory(err, size);
    }
    gbench_register(name, fn, copy);
    return QB_OK;
}

void bench_count_macs(struct gbench_run *run, double macs, int images, double roof_gmacs)
{
    const double us = gbench_seconds(run) * 1e6 / images;
    gbench_counter(run, "GMAC/s", macs * 1e-3 / us);
    gbench_counter(run, "roof_%", 100 * qb_roof_share(roof_gmacs, macs, us));
    gbench_counter(run, "us/img", us);
}

void bench_stop(struct gbench_run *run, const struct qb_error *err)
{
    (err->status == QB_EUNSUPPORTED ? gbench_skip : gbench_fail)(run, err->text);
}

const float bench_scale = 1.0F / 128;

enum qb_status bench_quantize_weights(const struct qb_node *conv, struct qb_arena *arena,
                                      struct qb_quantized_weights *out, struct qb_error *err)
{
    static const struct qb_observer_spec spec = {
        .observer = "per_channel_minmax", .dtype = QB_QINT8, .symmetric = true};
    const size_t each = (size_t)conv->ic * (size_t)conv->kh * (size_t)conv->kw;
    return qb_weights_quantize(&spec, conv->wei, conv->oc, each, arena, out, err);
}

enum { SEED = 1 };

void bench_fill_codes(uint8_t *codes, size_t count, int max)
{
    struct qb_rng rng;
    qb_rng_seed(&rng, SEED);
    for (size_t i = 0; i < count; i++) {
        codes[i] = (uint8_t)qb_rng_interval(&rng, (uint32_t)max);
    }
}

void bench_fill_floats(float *values, size_t count)
{
    struct qb_rng rng;
    qb_rng_seed(&rng, SEED);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(qb_rng_u32(&rng) >> 8) * 0x1p-24f;
    }
}
