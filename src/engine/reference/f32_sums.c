/* The orders of float sums: see f32_sums.h. */
#include "engine/reference/f32_sums.h"

#include <string.h>

enum { TILE = QB_CHAIN_LANES, BLOCK = 16, PIECE = 256 };
/* PyTorch's border between a small image and one for oneDNN, in numbers of the source. */
enum { SMALL_IMAGE = 20480 };

enum order { DIRECT, POINTWISE, GEMM };

static void add(const float *restrict from, float *restrict to)
{
    for (int k = 0; k < TILE; k++) {
        to[k] += from[k];
    }
}

/* What a few output pixels of a row see of the source. Taps outside the image are zeros, which change no sum.
 */
struct window {
    const float *src;             /* the image, `width` pixels of `ic` numbers a row */
    int width, kh, kw, top, left; /* tap 0,0 of the first pixel; it may lie outside */
    int stride, pixels;
    int i0, i1; /* rows inside: i0 <= i < i1 */
    size_t ic;
    qb_chain_fn *chain;
};

/* sum[pixel] += the chain of `terms` channels from `channel` on at tap i,j, for pixels whose tap lies inside.
 */
static void tap(const struct window *w, const float *wei, int i, int j, size_t channel, size_t terms,
                qb_lanes *sum)
{
    const int column = w->left + j;
    int first = 0, behind = w->pixels;
    while (first < behind && column + first * w->stride < 0) {
        first++;
    }
    while (first < behind && column + (behind - 1) * w->stride >= w->width) {
        behind--;
    }
    if (first < behind) {
        const size_t pixel = (size_t)(w->top + i) * (size_t)w->width + (size_t)(column + first * w->stride);
        w->chain(w->src + pixel * w->ic + channel, (size_t)w->stride * w->ic,
                 wei + ((size_t)(i * w->kw + j) * w->ic + channel) * TILE, terms, behind - first,
                 sum + first);
    }
}

/* The three orders: acc holds the bias of every pixel, then the result. */
static void direct(const struct window *w, const float *wei, qb_lanes *acc)
{
    /* One block, and every tap of a row inside: the row is one chain over neighbours in memory. */
    const bool rows =
        w->ic <= BLOCK && w->left >= 0 && w->left + (w->pixels - 1) * w->stride + w->kw <= w->width;
    for (size_t c = 0; c < w->ic; c += BLOCK) {
        const size_t channels = w->ic - c < BLOCK ? w->ic - c : BLOCK;
        qb_lanes sum[QB_CHAIN_PIXELS] = {0};
        for (int i = w->i0; i < w->i1; i++) {
            for (int j = 0; j < (rows ? 1 : w->kw); j++) {
                tap(w, wei, i, j, c, rows ? (size_t)w->kw * channels : channels, sum);
            }
        }
        for (int p = 0; p < w->pixels; p++) {
            add(sum[p], acc[p]);
        }
    }
}

static void pointwise(const struct window *w, const float *wei, qb_lanes *acc)
{
    if (w->i0 < w->i1) {
        tap(w, wei, 0, 0, 0, w->ic, acc);
    }
}

static void gemm(const struct window *w, const float *wei, qb_lanes *acc)
{
    const size_t taps = (size_t)w->kh * (size_t)w->kw, terms = w->ic * taps;
    const size_t pieces = (terms + PIECE - 1) / PIECE, piece = (terms + pieces - 1) / pieces;
    size_t end = piece, t = 0;
    qb_lanes sum[QB_CHAIN_PIXELS] = {0};
    for (size_t c = 0; c < w->ic; c++) {
        for (int i = 0; i < w->kh; i++) {
            for (int j = 0; j < w->kw; j++, t++) {
                if (t == end) {
                    for (int p = 0; p < w->pixels; p++) {
                        add(sum[p], acc[p]);
                    }
                    memset(sum, 0, sizeof sum);
                    end += piece;
                }
                if (i >= w->i0 && i < w->i1) {
                    tap(w, wei, i, j, c, 1, sum);
                }
            }
        }
    }
    for (int p = 0; p < w->pixels; p++) {
        add(sum[p], acc[p]);
    }
}

/* Fills dst of `w->pixels` pixels with the bias and adds what `w` sees. */
static void run_pixels(const struct window *w, const struct qb_float_weights *weights, enum order order,
                       float *dst)
{
    const size_t oc = weights->oc, each = (size_t)(w->kh * w->kw) * weights->ic * TILE;
    for (size_t k = 0; k < oc; k += TILE) {
        const float *const wei = weights->wei + k / TILE * each;
        const size_t lanes = oc - k < TILE ? oc - k : TILE;
        qb_lanes acc[QB_CHAIN_PIXELS];
        for (int p = 0; p < w->pixels; p++) {
            memcpy(acc[p], weights->bia + k, sizeof *acc);
        }
        switch (order) {
        case DIRECT: direct(w, wei, acc); break;
        case POINTWISE: pointwise(w, wei, acc); break;
        case GEMM: gemm(w, wei, acc); break;
        }
        for (int p = 0; p < w->pixels; p++) {
            memcpy(dst + (size_t)p * oc + k, acc[p], lanes * sizeof **acc);
        }
    }
}

void qb_float_conv(const struct qb_node *n, const struct qb_float_weights *weights, struct qb_shape s,
                   bool alone, const float *src, float *dst)
{
    const bool small = alone && qb_shape_count(s) <= SMALL_IMAGE && !(n->kh > 3 && n->kw > 3);
    const enum order order = small ? GEMM : n->kh == 1 && n->kw == 1 ? POINTWISE : DIRECT;
    const int most = weights->chain->pixels;
    struct window w = {.src = src,
                       .width = s.w,
                       .kh = n->kh,
                       .kw = n->kw,
                       .stride = n->stride_w,
                       .ic = weights->ic,
                       .chain = weights->chain->run};
    for (int y = 0; y < n->dst.h; y++) {
        w.top = y * n->stride_h - n->pad_t;
        w.i0 = w.top < 0 ? -w.top : 0;
        w.i1 = s.h - w.top < n->kh ? s.h - w.top : n->kh;
        for (int x = 0; x < n->dst.w; x += most) {
            w.left = x * n->stride_w - n->pad_l;
            w.pixels = n->dst.w - x < most ? n->dst.w - x : most;
            run_pixels(&w, weights, order, dst);
            dst += (size_t)w.pixels * weights->oc;
        }
    }
}

void qb_float_dense(const struct qb_float_weights *weights, const float *src, float *dst)
{
    const size_t oc = weights->oc;
    for (size_t k = 0; k < oc; k += TILE) {
        qb_lanes acc = {0};
        weights->chain->run(src, 0, weights->wei + k * weights->ic, weights->ic, 1, &acc);
        add(weights->bia + k, acc);
        memcpy(dst + k, acc, (oc - k < TILE ? oc - k : TILE) * sizeof *acc);
    }
}

bool qb_float_weights_init(const struct qb_node *node, enum qb_isa cap, struct qb_arena *arena,
                           struct qb_float_weights *out)
{
    const size_t taps = node->op == QB_OP_CONV ? (size_t)node->kh * (size_t)node->kw : 1;
    const size_t ic = (size_t)node->ic, oc = (size_t)node->oc, tiles = (oc + TILE - 1) / TILE;
    float *const wei = qb_arena_array(arena, tiles * taps * ic * TILE, sizeof *wei);
    float *const bia = qb_arena_array(arena, tiles * TILE, sizeof *bia);
    if (!wei || !bia) {
        return false;
    }
    for (size_t k = 0; k < oc; k++) {
        for (size_t c = 0; c < ic; c++) {
            for (size_t t = 0; t < taps; t++) {
                wei[((k / TILE * taps + t) * ic + c) * TILE + k % TILE] = node->wei[(k * ic + c) * taps + t];
            }
        }
    }
    memcpy(bia, node->bia, oc * sizeof *bia);
    *out =
        (struct qb_float_weights){.ic = ic, .oc = oc, .wei = wei, .bia = bia, .chain = qb_chain_select(cap)};
    return true;
}

void qb_float_avgpool(const struct qb_node *n, struct qb_shape s, const float *src, float *dst)
{
    const float count = (float)n->kh * (float)n->kw;
    const size_t channels = (size_t)s.c;
    for (int y = 0; y < n->dst.h; y++) {
        for (int x = 0; x < n->dst.w; x++, dst += channels) {
            memset(dst, 0, channels * sizeof *dst);
            for (int i = 0; i < n->kh; i++) {
                for (int j = 0; j < n->kw; j++) {
                    const size_t row = (size_t)(y * n->stride_h + i), column = (size_t)(x * n->stride_w + j);
                    const float *const pixel = src + (row * (size_t)s.w + column) * channels;
                    for (size_t k = 0; k < channels; k++) {
                        dst[k] += pixel[k];
                    }
                }
            }
            for (size_t k = 0; k < channels; k++) {
                dst[k] /= count;
            }
        }
    }
}
