/* Sums over the windows of a layer: see windows.h. */
#include "quant/windows.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"

/* Windows whose products are summed in int32 before they join the int64 sums: 255 * 255 * BLOCK < 2^31. */
enum { BLOCK = 256 };

struct qb_windows qb_windows_of(const struct qb_node *node, struct qb_shape src)
{
    if (node->op == QB_OP_DENSE) {
        const size_t count = qb_shape_count(src);
        return (struct qb_windows){.src = {1, 1, (int)count},
                                   .dst = {1, 1, node->oc},
                                   .kh = 1,
                                   .kw = 1,
                                   .stride_h = 1,
                                   .stride_w = 1,
                                   .depth = count};
    }
    return (struct qb_windows){.src = src,
                               .dst = node->dst,
                               .kh = node->kh,
                               .kw = node->kw,
                               .stride_h = node->stride_h,
                               .stride_w = node->stride_w,
                               .pad_t = node->pad_t,
                               .pad_l = node->pad_l,
                               .depth = (size_t)node->kh * (size_t)node->kw * (size_t)src.c};
}

/* Output positions o in from..to-1 have o * stride + tap - pad inside 0..size-1. */
static void inside(int tap, int pad, int stride, int size, int dst, int *from, int *to)
{
    const int first = pad - tap, behind = size + pad - tap;
    *from = first > 0 ? (first + stride - 1) / stride : 0;
    *to = behind > 0 ? (behind + stride - 1) / stride : 0;
    *to = *to < dst ? *to : dst;
    *from = *from < *to ? *from : *to;
}

void qb_windows_mean(const struct qb_windows *w, const double *sums, double images, double *mean)
{
    const size_t channels = (size_t)w->src.c, taps = (size_t)w->kh * (size_t)w->kw;
    const double count = images * (double)w->dst.h * (double)w->dst.w;
    memset(mean, 0, w->depth * sizeof *mean);
    for (int i = 0; i < w->kh; i++) {
        for (int j = 0; j < w->kw; j++) {
            int y0, y1, x0, x1;
            inside(i, w->pad_t, w->stride_h, w->src.h, w->dst.h, &y0, &y1);
            inside(j, w->pad_l, w->stride_w, w->src.w, w->dst.w, &x0, &x1);
            double *const to = mean + (size_t)(i * w->kw + j);
            for (int y = y0; y < y1; y++) {
                for (int x = x0; x < x1; x++) {
                    const size_t row = (size_t)(y * w->stride_h + i - w->pad_t);
                    const size_t column = (size_t)(x * w->stride_w + j - w->pad_l);
                    const double *const from = sums + (row * (size_t)w->src.w + column) * channels;
                    for (size_t c = 0; c < channels; c++) {
                        to[c * taps] += from[c];
                    }
                }
            }
        }
    }
    for (size_t k = 0; k < w->depth; k++) {
        mean[k] /= count;
    }
}

void qb_windows_coverage(const struct qb_windows *w, double *coverage)
{
    for (int i = 0; i < w->kh; i++) {
        for (int j = 0; j < w->kw; j++) {
            int y0, y1, x0, x1;
            inside(i, w->pad_t, w->stride_h, w->src.h, w->dst.h, &y0, &y1);
            inside(j, w->pad_l, w->stride_w, w->src.w, w->dst.w, &x0, &x1);
            coverage[i * w->kw + j] =
                (double)(y1 - y0) * (double)(x1 - x0) / ((double)w->dst.h * (double)w->dst.w);
        }
    }
}

struct qb_gram {
    struct qb_windows w;
    size_t padded_h, padded_w;
    int16_t *planes; /* [c][padded_h][padded_w]: one image minus its zero point, in a frame of zeros */
    int16_t *block;  /* [depth][BLOCK]: windows, one a column */
    size_t filled;   /* columns of it */
    int64_t *sums;   /* [depth][depth], the lower triangle */
    double rows;
};

struct qb_gram *qb_gram_create(const struct qb_windows *w)
{
    struct qb_gram *const g = calloc(1, sizeof *g);
    if (!g) {
        return NULL;
    }
    g->w = *w;
    /* As far as any window reaches, and no less than the image behind its frame. */
    const int reach_h = (w->dst.h - 1) * w->stride_h + w->kh, reach_w = (w->dst.w - 1) * w->stride_w + w->kw;
    const int image_h = w->src.h + w->pad_t, image_w = w->src.w + w->pad_l;
    g->padded_h = (size_t)(reach_h > image_h ? reach_h : image_h);
    g->padded_w = (size_t)(reach_w > image_w ? reach_w : image_w);
    g->planes = calloc(g->padded_h * g->padded_w * (size_t)w->src.c, sizeof *g->planes);
    g->block = calloc(w->depth * BLOCK, sizeof *g->block);
    g->sums = calloc(w->depth * w->depth, sizeof *g->sums);
    if (!g->planes || !g->block || !g->sums) {
        qb_gram_free(g);
        return NULL;
    }
    return g;
}

void qb_gram_free(struct qb_gram *gram)
{
    if (gram) {
        free(gram->planes);
        free(gram->block);
        free(gram->sums);
        free(gram);
    }
}

static inline __attribute__((always_inline)) void multiply(const int16_t *block, size_t depth, int64_t *sums)
{
    for (size_t i = 0; i < depth; i++) {
        const int16_t *const a = block + i * BLOCK;
        for (size_t j = 0; j <= i; j++) {
            const int16_t *const b = block + j * BLOCK;
            int32_t sum = 0;
            for (int k = 0; k < BLOCK; k++) {
                sum += a[k] * b[k];
            }
            sums[i * depth + j] += sum;
        }
    }
}

static void multiply_base(const int16_t *block, size_t depth, int64_t *sums)
{
    multiply(block, depth, sums);
}

__attribute__((target("avx2"))) static void multiply_avx2(const int16_t *block, size_t depth, int64_t *sums)
{
    multiply(block, depth, sums);
}

static void flush(struct qb_gram *g)
{
    for (size_t k = 0; g->filled < BLOCK && k < g->w.depth; k++) {
        memset(g->block + k * BLOCK + g->filled, 0, (BLOCK - g->filled) * sizeof *g->block);
    }
    (qb_cpu_has(QB_ISA_AVX2) ? multiply_avx2 : multiply_base)(g->block, g->w.depth, g->sums);
    g->rows += (double)g->filled;
    g->filled = 0;
}

/* `count` windows of output row y from x on become columns. */
static void add_columns(struct qb_gram *g, size_t y, size_t x, size_t count)
{
    const struct qb_windows *const w = &g->w;
    const size_t step = (size_t)w->stride_w;
    int16_t *to = g->block + g->filled;
    for (size_t c = 0; c < (size_t)w->src.c; c++) {
        for (size_t i = 0; i < (size_t)w->kh; i++) {
            const size_t row = c * g->padded_h + y * (size_t)w->stride_h + i;
            for (size_t j = 0; j < (size_t)w->kw; j++, to += BLOCK) {
                const int16_t *const from = g->planes + row * g->padded_w + x * step + j;
                for (size_t k = 0; k < count; k++) {
                    to[k] = from[k * step];
                }
            }
        }
    }
    g->filled += count;
}

void qb_gram_add(struct qb_gram *g, const uint8_t *image, int32_t zero_point)
{
    const struct qb_windows *const w = &g->w;
    const size_t channels = (size_t)w->src.c;
    for (size_t c = 0; c < channels; c++) {
        for (size_t y = 0; y < (size_t)w->src.h; y++) {
            int16_t *const to =
                g->planes + (c * g->padded_h + y + (size_t)w->pad_t) * g->padded_w + (size_t)w->pad_l;
            const uint8_t *const from = image + y * (size_t)w->src.w * channels + c;
            for (size_t x = 0; x < (size_t)w->src.w; x++) {
                to[x] = (int16_t)(from[x * channels] - zero_point);
            }
        }
    }
    for (size_t y = 0; y < (size_t)w->dst.h; y++) {
        for (size_t x = 0, count; x < (size_t)w->dst.w; x += count) {
            const size_t left = (size_t)w->dst.w - x, room = BLOCK - g->filled;
            count = left < room ? left : room;
            add_columns(g, y, x, count);
            if (g->filled == BLOCK) {
                flush(g);
            }
        }
    }
}

double qb_gram_rows(const struct qb_gram *gram)
{
    return gram->rows + (double)gram->filled;
}

void qb_gram_matrix(struct qb_gram *g, const double *mean, bool centred, double *out)
{
    const size_t depth = g->w.depth;
    if (g->filled) {
        flush(g);
    }
    for (size_t i = 0; i < depth; i++) {
        for (size_t j = 0; j <= i; j++) {
            const double sum = (double)g->sums[i * depth + j];
            out[i * depth + j] = out[j * depth + i] = centred ? sum - g->rows * mean[i] * mean[j] : sum;
        }
    }
}
