/* Similarity of a layer's outputs: see similarity.h. Integers are exact, sums over an image are double. */
#include "quant/similarity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "quant/weights.h"

enum { STEP = 16 }; /* depth is filled up with zeros to a multiple */

/* What one layer is worked on with. Weights and windows have the taps outermost, as images do. */
struct work {
    struct qb_similar *layer;
    size_t depth, pixels, channels;
    int16_t *image; /* [positions] codes minus zero point */
    int8_t *codes;  /* [depth] of one channel */
    int16_t *x;     /* [images][pixels][depth] windows */
    int16_t *wei;   /* [channels][depth] codes minus zero point */
    int16_t *tried; /* [QB_CANDIDATES][depth] */
    int32_t *sums;  /* [channels], or of the candidates */
    double *own;    /* [images][channels][2] sums of y^2 and y r, y the layer's output, r the float one's */
    double *total;  /* [images][3] sums of y^2, y r and r^2 */
    double *trial;  /* [images][2][QB_CANDIDATES] */
};

/* f as ncnn's loop makes it, for the reciprocal of the scale, in float32. */
float qb_similar_candidate(float scale, int k)
{
    const float inverse = 1 / scale, lower = inverse * 0.5F, upper = inverse * 2;
    return 1 / (lower + (float)k * ((upper - lower) / QB_CANDIDATES));
}

int qb_similar_best(const double sums[QB_CANDIDATES])
{
    int best = 0;
    for (int k = 1; k < QB_CANDIDATES; k++) {
        best = sums[k] > sums[best] ? k : best;
    }
    return best;
}

/* Sums of products of one window with `rows` rows of weights. */
static inline __attribute__((always_inline)) void multiply(const int16_t *x, const int16_t *wei, size_t rows,
                                                           size_t depth, int32_t *sums)
{
    for (size_t r = 0; r < rows; r++, wei += depth) {
        int32_t sum = 0;
        for (size_t i = 0; i < depth; i++) {
            sum += x[i] * wei[i];
        }
        sums[r] = sum;
    }
}

static void multiply_base(const int16_t *x, const int16_t *wei, size_t rows, size_t depth, int32_t *sums)
{
    multiply(x, wei, rows, depth, sums);
}

__attribute__((target("avx2"))) static void multiply_avx2(const int16_t *x, const int16_t *wei, size_t rows,
                                                          size_t depth, int32_t *sums)
{
    multiply(x, wei, rows, depth, sums);
}

static void products(const int16_t *x, const int16_t *wei, size_t rows, size_t depth, int32_t *sums)
{
    (qb_cpu_has(QB_ISA_AVX2) ? multiply_avx2 : multiply_base)(x, wei, rows, depth, sums);
}

static int16_t code_of(float x, float inverse, float zero, float low, float high)
{
    const float code = nearbyintf(x * inverse + zero);
    return (int16_t)((code > low ? code < high ? code : high : low) - zero);
}

/* One channel's weights by one scale. */
static void quantize_channel(const struct work *w, size_t channel, float scale, int16_t *out)
{
    const struct qb_similar *const l = w->layer;
    const size_t taps = (size_t)l->windows.kh * (size_t)l->windows.kw, sources = l->windows.depth / taps;
    const int32_t zero = l->zero_points[l->scale_count == 1 ? 0 : channel];
    qb_weights_requantize(l->how, l->wei + channel * l->windows.depth, l->windows.depth, scale, zero,
                          w->codes);
    for (size_t c = 0; c < sources; c++) {
        for (size_t t = 0; t < taps; t++) {
            out[t * sources + c] = (int16_t)(w->codes[c * taps + t] - zero);
        }
    }
}

static float scale_of(const struct qb_similar *l, size_t channel)
{
    return l->scales[l->scale_count == 1 ? 0 : channel];
}

static void quantize_weights(const struct work *w)
{
    for (size_t k = 0; k < w->channels; k++) {
        quantize_channel(w, k, scale_of(w->layer, k), w->wei + k * w->depth);
    }
}

/* The windows of image i, its source quantized by `scale`. Padding is the zero point. */
static void fill_windows(const struct work *w, size_t i, float scale, int16_t *out)
{
    const struct qb_similar *const l = w->layer;
    const struct qb_windows *const win = &l->windows;
    const size_t c = (size_t)win->src.c;
    const float inverse = 1 / scale, zero = (float)l->q.zero_point;
    int32_t low, high;
    qb_code_limits(&l->q, &low, &high);
    for (size_t k = 0; k < l->positions; k++) {
        w->image[k] = code_of(l->src[i * l->positions + k], inverse, zero, (float)low, (float)high);
    }
    memset(out, 0, w->pixels * w->depth * sizeof *out);
    for (int y = 0; y < win->dst.h; y++) {
        for (int x = 0; x < win->dst.w; x++, out += w->depth) {
            for (int t = 0; t < win->kh * win->kw; t++) {
                const int row = y * win->stride_h + t / win->kw - win->pad_t;
                const int column = x * win->stride_w + t % win->kw - win->pad_l;
                if (row >= 0 && row < win->src.h && column >= 0 && column < win->src.w) {
                    memcpy(out + (size_t)t * c, w->image + (size_t)(row * win->src.w + column) * c,
                           c * sizeof *out);
                }
            }
        }
    }
}

static double cosine(double yy, double yr, double rr)
{
    return yy > 0 && rr > 0 ? yr / (sqrt(yy) * sqrt(rr)) : 0;
}

/* What a ReLU, or none, lets through. */
static double lowest(const struct qb_similar *l)
{
    return l->relu ? 0 : -INFINITY;
}

/* Image i with the weights as they are; own[channels][2] or NULL; total[2]. */
static void run_image(const struct work *w, size_t i, const int16_t *x, float src_scale, double *own,
                      double total[2])
{
    const struct qb_similar *const l = w->layer;
    const float *r = l->dst + i * l->outputs;
    const double least = lowest(l);
    total[0] = total[1] = 0;
    for (size_t p = 0; p < w->pixels; p++, x += w->depth, r += w->channels) {
        products(x, w->wei, w->channels, w->depth, w->sums);
        for (size_t k = 0; k < w->channels; k++) {
            const double z = w->sums[k] * ((double)src_scale * (double)scale_of(l, k)) + (double)l->bia[k];
            const double y = z > least ? z : least, yy = y * y, yr = y * (double)r[k];
            total[0] += yy;
            total[1] += yr;
            if (own) {
                own[2 * k] += yy;
                own[2 * k + 1] += yr;
            }
        }
    }
}

/* own, total and windows of all images. */
static void run_all(const struct work *w)
{
    struct qb_similar *const l = w->layer;
    l->before = 0;
    memset(w->own, 0, l->images * w->channels * 2 * sizeof *w->own);
    for (size_t i = 0; i < l->images; i++) {
        int16_t *const x = w->x + i * w->pixels * w->depth;
        double *const total = w->total + 3 * i;
        fill_windows(w, i, l->q.scale, x);
        run_image(w, i, x, l->q.scale, w->own + i * w->channels * 2, total);
        total[2] = 0;
        for (size_t k = 0; k < l->outputs; k++) {
            const double r = (double)l->dst[i * l->outputs + k];
            total[2] += r * r;
        }
        l->before += cosine(total[0], total[1], total[2]) / (double)l->images;
    }
    l->after = l->before;
}

/* What channel k of image i gives with each candidate is added to trial[2][QB_CANDIDATES]. */
static void try_channel(const struct work *w, size_t i, size_t k, const double *scales, double *trial)
{
    const struct qb_similar *const l = w->layer;
    const int16_t *x = w->x + i * w->pixels * w->depth;
    const float *r = l->dst + i * l->outputs + k;
    const double least = lowest(l), bia = (double)l->bia[k];
    for (size_t p = 0; p < w->pixels; p++, x += w->depth, r += w->channels) {
        products(x, w->tried, QB_CANDIDATES, w->depth, w->sums);
        for (int c = 0; c < QB_CANDIDATES; c++) {
            const double z = w->sums[c] * scales[c] + bia, y = z > least ? z : least;
            trial[c] += y * y;
            trial[QB_CANDIDATES + c] += y * (double)*r;
        }
    }
}

/* Scale `s` of the weights: that of channel s, or of all of them. */
static void search_scale(const struct work *w, size_t s)
{
    struct qb_similar *const l = w->layer;
    const bool all = l->scale_count == 1;
    const size_t first = all ? 0 : s, behind = all ? w->channels : s + 1;
    double sums[QB_CANDIDATES] = {0}, scales[QB_CANDIDATES];
    for (int c = 0; c < QB_CANDIDATES; c++) {
        scales[c] = (double)l->q.scale * (double)qb_similar_candidate(l->scales[s], c);
    }
    memset(w->trial, 0, l->images * QB_CANDIDATES * 2 * sizeof *w->trial);
    for (size_t k = first; k < behind; k++) {
        for (int c = 0; c < QB_CANDIDATES; c++) {
            quantize_channel(w, k, qb_similar_candidate(l->scales[s], c), w->tried + (size_t)c * w->depth);
        }
        for (size_t i = 0; i < l->images; i++) {
            try_channel(w, i, k, scales, w->trial + i * QB_CANDIDATES * 2);
        }
    }
    for (size_t i = 0; i < l->images; i++) {
        const double *const total = w->total + 3 * i, *const trial = w->trial + i * QB_CANDIDATES * 2;
        const double *const own = w->own + (i * w->channels + s) * 2;
        for (int c = 0; c < QB_CANDIDATES; c++) {
            sums[c] += cosine(trial[c] + (all ? 0 : total[0] - own[0]),
                              trial[QB_CANDIDATES + c] + (all ? 0 : total[1] - own[1]), total[2]);
        }
    }
    const int best = qb_similar_best(sums);
    l->scales[s] = qb_similar_candidate(l->scales[s], best);
    l->after = sums[best] / (double)l->images;
    for (size_t i = 0; i < l->images && !all; i++) {
        double *const total = w->total + 3 * i, *const own = w->own + (i * w->channels + s) * 2;
        for (int n = 0; n < 2; n++) {
            const double chosen = w->trial[(2 * i + (size_t)n) * QB_CANDIDATES + (size_t)best];
            total[n] += chosen - own[n];
            own[n] = chosen;
        }
    }
}

static void close_work(struct work *w)
{
    free(w->image);
    free(w->codes);
    free(w->x);
    free(w->wei);
    free(w->tried);
    free(w->sums);
    free(w->own);
    free(w->total);
    free(w->trial);
}

static enum qb_status open_work(struct qb_similar *l, struct work *w, struct qb_error *err)
{
    const size_t channels = (size_t)l->channels, depth = (l->windows.depth + STEP - 1) / STEP * STEP;
    const size_t pixels = l->outputs / channels, windows = l->images * pixels * depth;
    *w = (struct work){.layer = l,
                       .depth = depth,
                       .pixels = pixels,
                       .channels = channels,
                       .image = calloc(l->positions, sizeof *w->image),
                       .codes = calloc(depth, sizeof *w->codes),
                       .x = calloc(windows, sizeof *w->x),
                       .wei = calloc(channels * depth, sizeof *w->wei),
                       .tried = calloc(QB_CANDIDATES * depth, sizeof *w->tried),
                       .sums = calloc(channels + QB_CANDIDATES, sizeof *w->sums),
                       .own = calloc(l->images * channels * 2, sizeof *w->own),
                       .total = calloc(l->images * 3, sizeof *w->total),
                       .trial = calloc(l->images * QB_CANDIDATES * 2, sizeof *w->trial)};
    if (!w->image || !w->codes || !w->x || !w->wei || !w->tried || !w->sums || !w->own || !w->total ||
        !w->trial) {
        close_work(w);
        return qb_fail_memory(err, windows * sizeof *w->x);
    }
    quantize_weights(w);
    run_all(w);
    return QB_OK;
}

enum qb_status qb_similar_weights(struct qb_similar *layer, struct qb_error *err)
{
    struct work w;
    QB_TRY(open_work(layer, &w, err));
    for (int s = 0; s < layer->scale_count; s++) {
        search_scale(&w, (size_t)s);
    }
    close_work(&w);
    return QB_OK;
}

enum qb_status qb_similar_sources(struct qb_similar *layer, double sums[QB_CANDIDATES], struct qb_error *err)
{
    struct work w;
    QB_TRY(open_work(layer, &w, err));
    for (size_t i = 0; i < layer->images; i++) {
        for (int c = 0; c < QB_CANDIDATES; c++) {
            const float scale = qb_similar_candidate(layer->q.scale, c);
            double total[2];
            fill_windows(&w, i, scale, w.x);
            run_image(&w, i, w.x, scale, NULL, total);
            sums[c] += cosine(total[0], total[1], w.total[3 * i + 2]);
        }
    }
    close_work(&w);
    return QB_OK;
}
