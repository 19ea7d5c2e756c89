/* Ordered float sums, written once in plain C and compiled for three instruction sets: see f32_sums.h. A lane
 * is an output channel, so vectors change no order. */
#include "engine/reference/f32_sums.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"

#define INLINE static inline __attribute__((always_inline))

enum { TILE = 16, BLOCK = 16, PIECE = 256 };
/* PyTorch's border between a small image and one for oneDNN, in numbers of the source. */
enum { SMALL_IMAGE = 20480 };

enum order { DIRECT, POINTWISE, GEMM };

/* acc[lane] += src[t] * wei[t][lane], term after term. */
INLINE void chain(const float *restrict src, const float *restrict wei, size_t terms, float *restrict acc)
{
    float sum[TILE];
    memcpy(sum, acc, sizeof sum);
    for (size_t t = 0; t < terms; t++) {
        const float v = src[t];
        for (int k = 0; k < TILE; k++) {
            sum[k] = fmaf(v, wei[t * TILE + (size_t)k], sum[k]);
        }
    }
    memcpy(acc, sum, sizeof sum);
}

INLINE void add(const float *restrict from, float *restrict to)
{
    for (int k = 0; k < TILE; k++) {
        to[k] += from[k];
    }
}

/* What an output pixel sees of its source. Taps outside the image are zeros, which change no sum. */
struct window {
    const float *src;             /* the image, `width` pixels of `ic` numbers a row */
    int width, kh, kw, top, left; /* tap 0,0 may lie outside */
    int i0, i1, j0, j1;           /* taps inside: i0 <= i < i1, j0 <= j < j1 */
    size_t ic;
};

INLINE const float *pixel(const struct window *w, int i, int j)
{
    return w->src + ((size_t)(w->top + i) * (size_t)w->width + (size_t)(w->left + j)) * w->ic;
}

/* The three orders: acc holds the bias, then the result. */
INLINE void direct(const struct window *w, const float *wei, float *acc)
{
    for (size_t c = 0; c < w->ic; c += BLOCK) {
        const size_t channels = w->ic - c < BLOCK ? w->ic - c : BLOCK;
        float sum[TILE] = {0};
        for (int i = w->i0; i < w->i1; i++) {
            for (int j = w->j0; j < w->j1; j++) {
                const size_t tap = (size_t)(i * w->kw + j);
                chain(pixel(w, i, j) + c, wei + (tap * w->ic + c) * TILE, channels, sum);
            }
        }
        add(sum, acc);
    }
}

INLINE void pointwise(const struct window *w, const float *wei, float *acc)
{
    if (w->i0 < w->i1 && w->j0 < w->j1) {
        chain(pixel(w, 0, 0), wei, w->ic, acc);
    }
}

INLINE void gemm(const struct window *w, const float *wei, float *acc)
{
    const size_t taps = (size_t)w->kh * (size_t)w->kw, terms = w->ic * taps;
    const size_t pieces = (terms + PIECE - 1) / PIECE, piece = (terms + pieces - 1) / pieces;
    size_t end = piece, t = 0;
    float sum[TILE] = {0};
    for (size_t c = 0; c < w->ic; c++) {
        for (int i = 0; i < w->kh; i++) {
            for (int j = 0; j < w->kw; j++, t++) {
                if (t == end) {
                    add(sum, acc);
                    memset(sum, 0, sizeof sum);
                    end += piece;
                }
                if (i >= w->i0 && i < w->i1 && j >= w->j0 && j < w->j1) {
                    const size_t tap = (size_t)(i * w->kw + j);
                    chain(pixel(w, i, j) + c, wei + (tap * w->ic + c) * TILE, 1, sum);
                }
            }
        }
    }
    add(sum, acc);
}

/* First tap at or behind the start of the image, first one behind its end. */
static int first_inside(int start)
{
    return start < 0 ? -start : 0;
}
static int first_behind(int start, int taps, int size)
{
    return size - start < taps ? size - start : taps;
}

INLINE void conv(const struct qb_node *n, const struct qb_float_weights *weights, struct qb_shape s,
                 enum order order, const float *src, float *dst)
{
    const size_t oc = weights->oc, each = (size_t)(n->kh * n->kw) * weights->ic * TILE;
    struct window w = {.src = src, .width = s.w, .kh = n->kh, .kw = n->kw, .ic = weights->ic};
    for (int y = 0; y < n->dst.h; y++) {
        w.top = y * n->stride_h - n->pad_t;
        w.i0 = first_inside(w.top);
        w.i1 = first_behind(w.top, n->kh, s.h);
        for (int x = 0; x < n->dst.w; x++, dst += oc) {
            w.left = x * n->stride_w - n->pad_l;
            w.j0 = first_inside(w.left);
            w.j1 = first_behind(w.left, n->kw, s.w);
            for (size_t k = 0; k < oc; k += TILE) {
                const float *const wei = weights->wei + k / TILE * each;
                float acc[TILE];
                memcpy(acc, weights->bia + k, sizeof acc);
                switch (order) {
                case DIRECT: direct(&w, wei, acc); break;
                case POINTWISE: pointwise(&w, wei, acc); break;
                case GEMM: gemm(&w, wei, acc); break;
                }
                memcpy(dst + k, acc, (oc - k < TILE ? oc - k : TILE) * sizeof *acc);
            }
        }
    }
}

INLINE void dense(const struct qb_float_weights *weights, const float *src, float *dst)
{
    const size_t oc = weights->oc;
    for (size_t k = 0; k < oc; k += TILE) {
        float acc[TILE] = {0};
        chain(src, weights->wei + k * weights->ic, weights->ic, acc);
        add(weights->bia + k, acc);
        memcpy(dst + k, acc, (oc - k < TILE ? oc - k : TILE) * sizeof *acc);
    }
}

#define TARGET(features) __attribute__((target(features)))
#define AVX512 "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"
#ifdef __clang__
#define TARGET_AVX512 TARGET(AVX512)
#else /* GCC would stay at 256 bits on the tuning of some CPUs */
#define TARGET_AVX512 TARGET(AVX512 ",prefer-vector-width=512")
#endif

#define SUMS(suffix, target)                                                                                 \
    target static void conv_##suffix(const struct qb_node *n, const struct qb_float_weights *weights,        \
                                     struct qb_shape s, enum order order, const float *src, float *dst)      \
    {                                                                                                        \
        conv(n, weights, s, order, src, dst);                                                                \
    }                                                                                                        \
    target static void dense_##suffix(const struct qb_float_weights *weights, const float *src, float *dst)  \
    {                                                                                                        \
        dense(weights, src, dst);                                                                            \
    }
SUMS(base, )
SUMS(avx2, TARGET("avx2,fma"))
SUMS(avx512, TARGET_AVX512)

void qb_float_conv(const struct qb_node *node, const struct qb_float_weights *weights,
                   struct qb_shape src_shape, bool alone, const float *src, float *dst)
{
    const bool small = alone && qb_shape_count(src_shape) <= SMALL_IMAGE && !(node->kh > 3 && node->kw > 3);
    const enum order order = small ? GEMM : node->kh == 1 && node->kw == 1 ? POINTWISE : DIRECT;
    if (qb_cpu_has(QB_ISA_AVX512VNNI)) {
        conv_avx512(node, weights, src_shape, order, src, dst);
    } else if (qb_cpu_has(QB_ISA_AVX2)) {
        conv_avx2(node, weights, src_shape, order, src, dst);
    } else {
        conv_base(node, weights, src_shape, order, src, dst);
    }
}

void qb_float_dense(const struct qb_float_weights *weights, const float *src, float *dst)
{
    if (qb_cpu_has(QB_ISA_AVX512VNNI)) {
        dense_avx512(weights, src, dst);
    } else if (qb_cpu_has(QB_ISA_AVX2)) {
        dense_avx2(weights, src, dst);
    } else {
        dense_base(weights, src, dst);
    }
}

bool qb_float_weights_init(const struct qb_node *node, struct qb_arena *arena, struct qb_float_weights *out)
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
    *out = (struct qb_float_weights){.ic = ic, .oc = oc, .wei = wei, .bia = bia};
    return true;
}

void qb_float_avgpool(const struct qb_node *n, struct qb_shape s, const float *src, float *dst)
{
    const float count = (float)n->kh * (float)n->kw;
    for (int y = 0; y < n->dst.h; y++) {
        for (int x = 0; x < n->dst.w; x++) {
            for (int k = 0; k < s.c; k++) {
                float sum = 0.0F;
                for (int i = 0; i < n->kh; i++) {
                    for (int j = 0; j < n->kw; j++) {
                        sum += src[((y * n->stride_h + i) * s.w + x * n->stride_w + j) * s.c + k];
                    }
                }
                *dst++ = sum / count;
            }
        }
    }
}
