/* The project's own kernels alone: every entry of every kernel table on every shape of the model, one image.
 * Convolutions stand beside oneDNN's primitive (bench_onednn.c) with the same weights, codes and scales. */
#include <string.h>

#include "bench.h"
#include "kernels/add/add.h"
#include "kernels/avgpool/avgpool.h"
#include "kernels/conv/conv.h"
#include "kernels/mul/mul.h"
#include "kernels/quantize/quantize.h"
#include "kernels/recode/recode.h"
#include "kernels/relu/relu.h"

enum family { CONV, QUANTIZE, ADD, MUL, RELU, RECODE, AVGPOOL };

/* A kernel and the tensors it works on; which member of `run` counts, `family` says. */
struct kernel {
    const struct bench *bench;
    enum qb_isa isa;
    enum family family;
    union {
        const struct qb_conv_impl *conv;
        const struct qb_quantize_impl *quantize;
        const struct qb_add_impl *add;
        const struct qb_mul_impl *mul;
        const struct qb_relu_impl *relu;
        const struct qb_recode_impl *recode;
        const struct qb_avgpool_impl *avgpool;
    } run;
    const struct bench_conv *conv; /* CONV */
    const struct qb_node *node;
    struct qb_shape src; /* others */
};

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* Bytes of a pixel: blocks of 16 channels. Three channels of an image take four bytes, as in the native
 * engine. */
static size_t step_of(int channels)
{
    return round_up((size_t)channels, channels <= 4 ? 4 : QB_BLOCK);
}

/* A source inside its frame of zeros, rows at multiples of 64 bytes. Returns its pixel (0, 0), NULL when out
 * of memory. */
static const uint8_t *make_source(struct qb_arena *arena, const struct bench_conv *b, struct qb_conv *c)
{
    const struct qb_node *const n = b->node;
    const size_t widest = (size_t)(n->pad_l > n->pad_r ? n->pad_l : n->pad_r);
    const size_t row = (size_t)b->src.w * (size_t)b->src.c;
    c->src_step = step_of(n->ic);
    const size_t margin = round_up(widest * c->src_step, 64);
    c->src_pitch = round_up(margin + (size_t)b->src.w * c->src_step, 64);
    const size_t rows = (size_t)(n->pad_t + b->src.h + n->pad_b);
    uint8_t *const frame = qb_arena_array(arena, rows * c->src_pitch + margin + 64, 1);
    uint8_t *const codes = qb_arena_array(arena, row, (size_t)b->src.h);
    if (!frame || !codes) {
        return NULL;
    }
    uint8_t *const origin = frame + (size_t)n->pad_t * c->src_pitch + margin;
    bench_fill_codes(codes, row * (size_t)b->src.h, 127);
    for (int y = 0; y < b->src.h; y++) {
        for (int x = 0; x < b->src.w; x++) {
            memcpy(origin + (size_t)y * c->src_pitch + (size_t)x * c->src_step,
                   codes + (size_t)y * row + (size_t)x * (size_t)b->src.c, (size_t)b->src.c);
        }
    }
    return origin;
}

/* Scales and biases as arithmetic fbgemm has them, with ReLU: all zero points are 0. */
static enum qb_status make_conv(struct qb_arena *arena, const struct bench_conv *b, struct qb_conv *c,
                                struct qb_error *err)
{
    const struct qb_node *const n = b->node;
    const size_t channels = (size_t)qb_blocks(n->oc) * QB_BLOCK;
    struct qb_quantized_weights wei;
    QB_TRY(bench_quantize_weights(n, arena, &wei, err));
    float *const bia = qb_arena_array(arena, channels, sizeof *bia);
    float *const scale = qb_arena_array(arena, channels, sizeof *scale);
    if (!bia || !scale) {
        return qb_fail_memory(err, channels * sizeof *bia);
    }
    for (int k = 0; k < n->oc; k++) {
        const float wei_scale = wei.scales[wei.scale_count == 1 ? 0 : k];
        bia[k] = n->bia[k] / (wei_scale * bench_scale);
        scale[k] = wei_scale; /* times the scale of src, over the equal one of dst */
    }
    *c = (struct qb_conv){
        .ic = n->ic,
        .oc = n->oc,
        .kh = n->kh,
        .kw = n->kw,
        .stride_h = n->stride_h,
        .stride_w = n->stride_w,
        .src_h = b->src.h,
        .src_w = b->src.w,
        .pad_t = n->pad_t,
        .pad_l = n->pad_l,
        .dst_h = n->dst.h,
        .dst_w = n->dst.w,
        .dst_step = channels,
        .dst_pitch = (size_t)n->dst.w * channels,
        .wei = wei.codes,
        .wei_o = (size_t)n->ic * (size_t)n->kh * (size_t)n->kw,
        .wei_i = (size_t)n->kh * (size_t)n->kw,
        .wei_y = (size_t)n->kw,
        .wei_x = 1,
        .tail = {.rule = QB_TAIL_FBGEMM, .bia = bia, .scale = scale},
    };
    return QB_OK;
}

static enum qb_status time_conv(struct gbench_run *run, const struct kernel *k, struct qb_arena *arena,
                                struct qb_error *err)
{
    struct qb_conv c;
    QB_TRY(make_conv(arena, k->conv, &c, err));
    const uint8_t *const src = make_source(arena, k->conv, &c);
    void *const packed = qb_arena_array(arena, k->run.conv->packed_bytes(&c), 1);
    void *const scratch = qb_arena_array(arena, k->run.conv->scratch_bytes(&c), 1);
    uint8_t *const dst = qb_arena_array(arena, (size_t)c.dst_h, c.dst_pitch);
    if (!src || !packed || !scratch || !dst) {
        return qb_fail_memory(err, (size_t)c.dst_h * c.dst_pitch);
    }
    k->run.conv->pack(&c, packed);
    while (gbench_next(run)) {
        k->run.conv->run(&c, packed, src, NULL, dst, scratch);
    }
    gbench_label(run, k->run.conv->path(&c));
    bench_count_macs(run, k->conv->macs, 1, k->bench->roof.gmacs[k->isa]);
    return QB_OK;
}

/* Parameters of the kernels without weights, for tensors without frames, pixels in blocks of 16 channels. */
struct elementwise {
    size_t rows, src_row, dst_step, dst_row; /* bytes */
    struct qb_quantize quantize;
    struct qb_addition add;
    struct qb_product mul;
    uint8_t table[256];
    struct qb_pool pool;
};

static struct elementwise make_elementwise(const struct kernel *k)
{
    const struct qb_node *const n = k->node;
    const bool image = k->family == QUANTIZE;
    const struct qb_shape s = k->src, d = n->dst;
    const size_t src_step = image ? (size_t)s.c : round_up((size_t)s.c, QB_BLOCK);
    const size_t dst_step = image ? step_of(d.c) : round_up((size_t)d.c, QB_BLOCK);
    struct elementwise e = {.rows = (size_t)s.h,
                            .src_row = (size_t)s.w * src_step,
                            .dst_step = dst_step,
                            .dst_row = (size_t)d.w * dst_step,
                            .add = {.scale = {bench_scale, bench_scale}, .dst_inverse = 1 / bench_scale},
                            .mul = {.zero = {3, 5}, .ratio = 0.01F, .offset = 0.5F, .zero_point = 7}};
    qb_quantize_init(bench_scale, 0, &e.quantize);
    bench_fill_codes(e.table, sizeof e.table, 255);
    e.pool = (struct qb_pool){.kh = n->kh,
                              .kw = n->kw,
                              .stride_h = n->stride_h,
                              .stride_w = n->stride_w,
                              .dst_h = d.h,
                              .dst_w = d.w,
                              .blocks = qb_blocks(d.c),
                              .src_step = src_step,
                              .src_pitch = e.src_row,
                              .dst_step = dst_step,
                              .dst_pitch = e.dst_row,
                              .inverse = 1.0F / (float)(k->family == AVGPOOL ? n->kh * n->kw : 1)};
    return e;
}

static void run_elementwise(const struct kernel *k, const struct elementwise *e, const uint8_t *src0,
                            const uint8_t *src1, uint8_t *dst)
{
    const size_t rows = e->rows, row = e->src_row;
    switch (k->family) {
    case QUANTIZE:
        k->run.quantize->run(&e->quantize, src0, k->src.h, k->src.w, k->src.c, dst, e->dst_step, e->dst_row);
        break;
    case ADD: k->run.add->run(&e->add, rows, row, src0, row, src1, row, dst, e->dst_row); break;
    case MUL: k->run.mul->run(&e->mul, rows, row, src0, row, src1, row, dst, e->dst_row); break;
    case RELU: k->run.relu->run((struct qb_limits){0, 255}, rows, row, src0, row, dst, e->dst_row); break;
    case RECODE: k->run.recode->run(e->table, rows, row, src0, row, dst, e->dst_row); break;
    case AVGPOOL: k->run.avgpool->run(&e->pool, src0, dst); break;
    case CONV: break; /* time_conv */
    }
}

static enum qb_status time_elementwise(struct gbench_run *run, const struct kernel *k, struct qb_arena *arena,
                                       struct qb_error *err)
{
    const struct elementwise e = make_elementwise(k);
    const size_t bytes = e.rows * e.src_row;
    uint8_t *const src0 = qb_arena_array(arena, bytes, 1), *const src1 = qb_arena_array(arena, bytes, 1),
                   *const dst = qb_arena_array(arena, (size_t)k->node->dst.h, e.dst_row);
    if (!src0 || !src1 || !dst) {
        return qb_fail_memory(err, bytes);
    }
    bench_fill_codes(src0, bytes, 127);
    bench_fill_codes(src1, bytes, 127);
    while (gbench_next(run)) {
        run_elementwise(k, &e, src0, src1, dst);
    }
    const double sources = k->family == ADD || k->family == MUL ? 2 : 1;
    gbench_counter(run, "MB/s", (double)bytes * sources * 1e-6 / gbench_seconds(run));
    return QB_OK;
}

static void run_kernel(struct gbench_run *run, void *ctx)
{
    const struct kernel *const k = ctx;
    struct qb_error err;
    if (!qb_cpu_has(k->isa)) {
        qb_fail(&err, QB_EUNSUPPORTED, "this CPU has no %s; it has %s", qb_isa_name(k->isa), qb_cpu_isas());
        bench_stop(run, &err);
        return;
    }
    struct qb_arena *const arena = qb_arena_create();
    const enum qb_status status = !arena              ? qb_fail_memory(&err, sizeof(void *))
                                  : k->family == CONV ? time_conv(run, k, arena, &err)
                                                      : time_elementwise(run, k, arena, &err);
    if (status != QB_OK) {
        bench_stop(run, &err);
    }
    qb_arena_destroy(arena);
}

/* Every entry of a kernel table on the tensors of `k`. */
#define ADD_TABLE(NAME, FAMILY)                                                                              \
    for (size_t i = 0; qb_##NAME##_impls[i]; i++) {                                                          \
        k.family = FAMILY;                                                                                   \
        k.isa = qb_##NAME##_impls[i]->isa;                                                                   \
        k.run.NAME = qb_##NAME##_impls[i];                                                                   \
        QB_TRY(bench_add(bench, run_kernel, &k, sizeof k, err, "%s/%dx%dx%d/%s/mb1", #NAME, src.h, src.w,    \
                         src.c, k.run.NAME->name));                                                          \
    }

/* All kernels of the node's operator, and those that take tensors like its own in other networks: products
 * where batch normalizations were left as they are, other scales behind ReLUs. */
static enum qb_status add_node(struct bench *bench, const struct qb_node *node, struct qb_shape src,
                               struct qb_error *err)
{
    struct kernel k = {.bench = bench, .node = node, .src = src};
    switch (node->op) {
    case QB_OP_INPUT: ADD_TABLE(quantize, QUANTIZE) break;
    case QB_OP_ADD: ADD_TABLE(add, ADD) ADD_TABLE(mul, MUL) break;
    case QB_OP_RELU: ADD_TABLE(relu, RELU) ADD_TABLE(recode, RECODE) break;
    case QB_OP_AVGPOOL: ADD_TABLE(avgpool, AVGPOOL) break;
    default: break; /* CONV: bench_kernels */
    }
    return QB_OK;
}

static bool same(struct qb_shape a, struct qb_shape b)
{
    return a.h == b.h && a.w == b.w && a.c == b.c;
}

static struct qb_shape source_of(const struct qb_graph *graph, int node)
{
    const struct qb_node *const n = &graph->nodes[node];
    return n->op == QB_OP_INPUT ? n->dst : graph->nodes[n->src[0]].dst;
}

enum qb_status bench_kernels(struct bench *bench, struct qb_error *err)
{
    const struct qb_graph *const graph = bench->graph;
    for (size_t c = 0; c < bench->conv_count; c++) {
        for (size_t i = 0; qb_conv_impls[i]; i++) {
            const struct kernel k = {.bench = bench,
                                     .isa = qb_conv_impls[i]->isa,
                                     .family = CONV,
                                     .run.conv = qb_conv_impls[i],
                                     .conv = &bench->convs[c]};
            QB_TRY(bench_add(bench, run_kernel, &k, sizeof k, err, "conv/%s/%s/u8s8u8/mb1", k.conv->shape,
                             k.run.conv->name));
        }
    }
    for (int i = 0; i < graph->count; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++) {
            seen = seen || (graph->nodes[j].op == graph->nodes[i].op &&
                            same(source_of(graph, j), source_of(graph, i)));
        }
        if (!seen) {
            QB_TRY(add_node(bench, &graph->nodes[i], source_of(graph, i), err));
        }
    }
    return QB_OK;
}
