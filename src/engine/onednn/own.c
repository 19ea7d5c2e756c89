/* Our own steps of integer graphs: see own.h. */
#include "engine/onednn/own.h"

#include <string.h>

#include "engine/onednn/library.h"
#include "kernels/recode/recode.h"

struct input {
    const uint8_t *const *images;
    uint8_t *dst;
    bool identity; /* the code of every pixel is the pixel */
    uint8_t table[256];
};

static void run_input(const void *state, size_t begin, size_t end)
{
    const struct input *s = state;
    const uint8_t *src = *s->images;
    if (s->identity) {
        memcpy(s->dst + begin, src + begin, end - begin);
        return;
    }
    for (size_t i = begin; i < end; i++) {
        s->dst[i] = s->table[src[i]];
    }
}

void qb_dnnl_own_input(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node, uint8_t *dst)
{
    const size_t count = qb_shape_count(graph->nodes[node].dst);
    struct input *s = qb_dnnl_array(list, 1, sizeof *s);
    if (!s) {
        return;
    }
    s->images = &list->images;
    s->dst = dst;
    qb_input_table(graph->arithmetic, &graph->nodes[node].q, s->table);
    s->identity = true;
    for (int p = 0; p < 256; p++) {
        s->identity = s->identity && s->table[p] == p;
    }
    qb_dnnl_add_own(list, run_input, s, count, node, dst, count);
}

/* Units are rows of the source. */
struct pad {
    const uint8_t *src;
    uint8_t *dst;
    size_t rows, row, left; /* rows an image, bytes of a source row, bytes left of it */
    size_t above, padded_row, padded_image;
};

static void run_pad(const void *state, size_t begin, size_t end)
{
    const struct pad *s = state;
    for (size_t i = begin; i < end; i++) {
        uint8_t *to =
            s->dst + i / s->rows * s->padded_image + (i % s->rows + s->above) * s->padded_row + s->left;
        memcpy(to, s->src + i * s->row, s->row);
    }
}

uint8_t *qb_dnnl_own_pad(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                         const uint8_t *src, struct qb_shape *shape)
{
    const struct qb_qnode *n = &graph->nodes[node];
    const struct qb_shape from = graph->nodes[n->src[0]].dst;
    const struct qb_shape to = {from.h + n->pad_t + n->pad_b, from.w + n->pad_l + n->pad_r, from.c};
    const size_t c = (size_t)from.c;
    struct pad *s = qb_dnnl_array(list, 1, sizeof *s);
    uint8_t *dst = qb_dnnl_buffer(list, qb_shape_count(to), 1);
    if (!s || !dst) {
        return NULL;
    }
    /* The frame is written once, here. */
    memset(dst, graph->nodes[n->src[0]].q.zero_point, qb_shape_count(to) * (size_t)list->batch);
    *s = (struct pad){
        .src = src,
        .dst = dst,
        .rows = (size_t)from.h,
        .row = (size_t)from.w * c,
        .left = (size_t)n->pad_l * c,
        .above = (size_t)n->pad_t,
        .padded_row = (size_t)to.w * c,
        .padded_image = qb_shape_count(to),
    };
    *shape = to;
    return qb_dnnl_add_own(list, run_pad, s, s->rows, -1, NULL, 0) == QB_OK ? dst : NULL;
}

/* Units are pixels of the destination. */
struct row_sums {
    const uint8_t *src;
    int32_t *acc;
    size_t width, pixels, image; /* of the destination; bytes of a source image */
    size_t row, step_y, step_x;  /* bytes */
    size_t kh, depth;            /* rows of a window, bytes of one of its rows */
    size_t oc;
    const int32_t *zero_points; /* [oc] */
};

static void run_row_sums(const void *state, size_t begin, size_t end)
{
    const struct row_sums *s = state;
    for (size_t p = begin; p < end; p++) {
        const size_t y = p % s->pixels / s->width, x = p % s->width;
        const uint8_t *window = s->src + p / s->pixels * s->image + y * s->step_y + x * s->step_x;
        uint32_t sum = 0;
        for (size_t r = 0; r < s->kh; r++) {
            for (size_t i = 0; i < s->depth; i++) {
                sum += window[r * s->row + i];
            }
        }
        int32_t *acc = s->acc + p * s->oc;
        for (size_t k = 0; k < s->oc; k++) {
            acc[k] = (int32_t)((uint32_t)acc[k] - (uint32_t)s->zero_points[k] * sum);
        }
    }
}

void qb_dnnl_own_row_sums(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                          const uint8_t *src, struct qb_shape shape, int32_t *acc)
{
    const struct qb_qnode *n = &graph->nodes[node];
    const bool conv = n->op == QB_QOP_CONV;
    const size_t c = (size_t)shape.c, oc = (size_t)n->oc, row = (size_t)shape.w * c;
    struct row_sums *s = qb_dnnl_array(list, 1, sizeof *s);
    int32_t *zero_points = qb_dnnl_array(list, oc, sizeof *zero_points);
    if (!s || !zero_points) {
        return;
    }
    for (size_t k = 0; k < oc; k++) {
        zero_points[k] = n->wei_zero_points[n->wei_scale_count == 1 ? 0 : k];
    }
    *s = (struct row_sums){
        .src = src,
        .acc = acc,
        .width = (size_t)n->dst.w,
        .pixels = (size_t)n->dst.h * (size_t)n->dst.w,
        .image = qb_shape_count(shape),
        .row = row,
        .step_y = conv ? (size_t)n->stride_h * row : 0,
        .step_x = conv ? (size_t)n->stride_w * c : 0,
        .kh = conv ? (size_t)n->kh : 1,
        .depth = conv ? (size_t)n->kw * c : qb_shape_count(shape),
        .oc = oc,
        .zero_points = zero_points,
    };
    qb_dnnl_add_own(list, run_row_sums, s, s->pixels, -1, NULL, 0);
}

/* Units are pixels. */
struct requantize {
    struct qb_tail tail;
    const int32_t *acc;
    const uint8_t *residual;
    uint8_t *dst;
};

static void run_requantize(const void *state, size_t begin, size_t end)
{
    const struct requantize *s = state;
    const size_t at = begin * s->tail.oc;
    qb_tail_run(&s->tail, s->acc + at, s->residual ? s->residual + at : NULL, end - begin, s->dst + at);
}

void qb_dnnl_own_tail(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                      const int32_t *offset, const int32_t *acc, const uint8_t *residual, uint8_t *dst)
{
    const struct qb_qnode *n = &graph->nodes[node];
    struct requantize *s = qb_dnnl_array(list, 1, sizeof *s);
    struct qb_requant requant;
    struct qb_error err;
    if (!s) {
        return;
    }
    if (qb_requant_init(graph, node, list->arena, &requant, &err) != QB_OK) {
        qb_dnnl_list_fail(list, err.status, "%s", err.text);
        return;
    }
    if (!qb_tail_init(&requant, offset, residual != NULL, qb_dnnl_simd(), list->arena, &s->tail)) {
        qb_dnnl_list_fail(list, QB_ENOMEM, "out of memory for the requantization of %s", n->name);
        return;
    }
    s->acc = acc;
    s->residual = residual;
    s->dst = dst;
    qb_dnnl_add_own(list, run_requantize, s, (size_t)n->dst.h * (size_t)n->dst.w, node, dst,
                    qb_shape_count(n->dst));
}

/* Units are elements. */
struct add {
    struct qb_sum sum;
    const uint8_t *src0, *src1;
    uint8_t *dst;
};

static void run_add(const void *state, size_t begin, size_t end)
{
    const struct add *s = state;
    qb_sum_run(&s->sum, s->src0 + begin, s->src1 + begin, end - begin, s->dst + begin);
}

void qb_dnnl_own_add(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node, const uint8_t *src0,
                     const uint8_t *src1, uint8_t *dst)
{
    const size_t count = qb_shape_count(graph->nodes[node].dst);
    struct add *s = qb_dnnl_array(list, 1, sizeof *s);
    if (s) {
        qb_sum_init(graph, node, qb_dnnl_simd(), &s->sum);
        s->src0 = src0;
        s->src1 = src1;
        s->dst = dst;
        qb_dnnl_add_own(list, run_add, s, count, node, dst, count);
    }
}

struct relu {
    const uint8_t *src;
    uint8_t *dst;
    uint8_t zero_point;
};

static void run_relu(const void *state, size_t begin, size_t end)
{
    const struct relu *s = state;
    const uint8_t *restrict src = s->src, zero = s->zero_point;
    uint8_t *restrict dst = s->dst;
    for (size_t i = begin; i < end; i++) {
        dst[i] = src[i] < zero ? zero : src[i];
    }
}

void qb_dnnl_own_relu(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node, const uint8_t *src,
                      uint8_t *dst)
{
    const size_t count = qb_shape_count(graph->nodes[node].dst);
    struct relu *s = qb_dnnl_array(list, 1, sizeof *s);
    if (s) {
        *s = (struct relu){src, dst, (uint8_t)graph->nodes[node].q.zero_point};
        qb_dnnl_add_own(list, run_relu, s, count, node, dst, count);
    }
}

struct recode {
    const struct qb_recode_impl *impl;
    const uint8_t *src;
    uint8_t *dst;
    uint8_t table[256];
};

static void run_recode(const void *state, size_t begin, size_t end)
{
    const struct recode *s = state;
    s->impl->run(s->table, 1, end - begin, s->src + begin, 0, s->dst + begin, 0);
}

void qb_dnnl_own_recode(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                        const uint8_t *src, uint8_t *dst)
{
    static const enum qb_isa caps[QB_SIMD_COUNT] = {
        [QB_SIMD_BASE] = QB_ISA_REF, [QB_SIMD_AVX2] = QB_ISA_AVX2, [QB_SIMD_AVX512] = QB_ISA_AVX512VNNI};
    const size_t count = qb_shape_count(graph->nodes[node].dst);
    struct recode *s = qb_dnnl_array(list, 1, sizeof *s);
    if (s) {
        *s = (struct recode){.impl = qb_recode_select(caps[qb_dnnl_simd()]), .src = src, .dst = dst};
        qb_code_table(graph, node, s->table);
        qb_dnnl_add_own(list, run_recode, s, count, node, dst, count);
    }
}

/* Units are pixels of the destination. */
struct avgpool {
    const uint8_t *src;
    uint8_t *dst;
    const struct qb_qnode *node;
    struct qb_avgpool pool;
    size_t channels, row, image; /* of the source, in bytes */
};

static void run_avgpool(const void *state, size_t begin, size_t end)
{
    enum { BLOCK = 64 };
    const struct avgpool *s = state;
    const struct qb_qnode *n = s->node;
    const size_t width = (size_t)n->dst.w, pixels = (size_t)n->dst.h * width;
    for (size_t p = begin; p < end; p++) {
        const size_t y = p % pixels / width * (size_t)n->stride_h, x = p % width * (size_t)n->stride_w;
        const uint8_t *window = s->src + p / pixels * s->image + y * s->row + x * s->channels;
        for (size_t first = 0; first < s->channels; first += BLOCK) {
            const size_t block = s->channels - first < BLOCK ? s->channels - first : BLOCK;
            int32_t sums[BLOCK] = {0};
            for (size_t i = 0; i < (size_t)n->kh * (size_t)n->kw; i++) {
                const uint8_t *src =
                    window + i / (size_t)n->kw * s->row + i % (size_t)n->kw * s->channels + first;
                for (size_t k = 0; k < block; k++) {
                    sums[k] += src[k];
                }
            }
            for (size_t k = 0; k < block; k++) {
                s->dst[p * s->channels + first + k] = qb_avgpool_code(&s->pool, sums[k]);
            }
        }
    }
}

void qb_dnnl_own_avgpool(struct qb_dnnl_list *list, const struct qb_qgraph *graph, int node,
                         const uint8_t *src, uint8_t *dst)
{
    const struct qb_qnode *n = &graph->nodes[node];
    const struct qb_shape from = graph->nodes[n->src[0]].dst;
    const size_t channels = (size_t)from.c;
    struct avgpool *s = qb_dnnl_array(list, 1, sizeof *s);
    if (s) {
        *s = (struct avgpool){.src = src,
                              .dst = dst,
                              .node = n,
                              .channels = channels,
                              .row = (size_t)from.w * channels,
                              .image = qb_shape_count(from)};
        qb_avgpool_init(graph, node, &s->pool);
        qb_dnnl_add_own(list, run_avgpool, s, (size_t)n->dst.h * (size_t)n->dst.w, node, dst,
                        qb_shape_count(n->dst));
    }
}

struct copy {
    const uint8_t *src;
    uint8_t *dst;
};

static void run_copy(const void *state, size_t begin, size_t end)
{
    const struct copy *s = state;
    memcpy(s->dst + begin, s->src + begin, end - begin);
}

void qb_dnnl_own_copy(struct qb_dnnl_list *list, const uint8_t *src, size_t count, uint8_t *dst)
{
    struct copy *s = qb_dnnl_array(list, 1, sizeof *s);
    if (s) {
        *s = (struct copy){src, dst};
        qb_dnnl_add_own(list, run_copy, s, count, -1, NULL, 0);
    }
}

struct logits {
    const uint8_t *src;
    float *dst;
    const struct qb_qparams *q;
};

static void run_logits(const void *state, size_t begin, size_t end)
{
    const struct logits *s = state;
    for (size_t i = begin; i < end; i++) {
        s->dst[i] = qb_dequantize(s->q, s->src[i]);
    }
}

void qb_dnnl_own_logits(struct qb_dnnl_list *list, const struct qb_qgraph *graph, const uint8_t *src,
                        float *dst)
{
    const struct qb_qnode *last = &graph->nodes[qb_qgraph_logits(graph)];
    struct logits *s = qb_dnnl_array(list, 1, sizeof *s);
    if (s) {
        *s = (struct logits){src, dst, &last->q};
        qb_dnnl_add_own(list, run_logits, s, qb_shape_count(last->dst), -1, NULL, 0);
    }
}
