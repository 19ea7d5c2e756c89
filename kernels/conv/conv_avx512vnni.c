/* Convolution for AVX512-VNNI: a tile of P pixels x Q blocks of 16 channels stays in registers; one broadcast
 * quad of four input channels meets Q vectors of weights at a time.
 *
 * Two loops over a window. `list` walks the offsets of conv_vnni.h: any shape. `3x3` is for that kernel at
 * stride 1: a broadcast pixel serves the three outputs it touches in its row, so a tile takes P + 2 + 3 Q
 * loads for 3 P Q dot products (16 channels: 0.44 a dot product instead of 1.06; two loads and two dot
 * products a cycle is the most there is). With a source zero point of 0 padding adds nothing and is not
 * multiplied: kernel rows by loop bounds, the columns left and right by variants of the tile.
 *
 * Full tiles meet their tail in registers; long additions, rule fixed and smaller tiles go by way of a buffer
 * of accumulators.
 *
 * vpdpbusd is inline assembly: GCC 12 surrounds the intrinsic with register moves when accumulators are an
 * array. */
#include <immintrin.h>

#include "kernels/conv/conv_impls.h"
#include "kernels/conv/conv_vnni.h"
#include "kernels/simd.h"
#include "kernels/tail_avx512.h"

/* One call of run. */
struct job {
    const struct qb_conv *conv;
    struct qb_vnni vnni;
    size_t step, stride_y; /* bytes from window to window */
    size_t pixel_quads;
    const uint8_t *src; /* first window */
    const uint8_t *res;
    uint8_t *dst;
    const int32_t *sums; /* NULL when all zw are 0 */
    enum qb_tail_form form;
    bool plain; /* codes have zero point 0 and no lower limit */
    bool skip;  /* padding is not multiplied */
};

/* A row of windows: which of its kernel rows lie in the picture. */
struct row {
    size_t y;
    const uint8_t *src; /* window of x = 0, its first kernel row in the picture */
    int first, count;   /* kernel rows */
};

/* Where a tile stands. */
struct place {
    size_t x, block;
};

QB_INLINE __m512i dot(__m512i acc, __m512i u, __m512i s)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
    return acc;
}

QB_INLINE __m512i quad_at(const uint8_t *p)
{
    return _mm512_set1_epi32(qb_load32(p));
}

/* Pixel p of a row: few registers serve all multiples of the step. */
struct steps {
    size_t one, three, five, seven;
};
QB_INLINE const uint8_t *pixel_at(const uint8_t *src, struct steps s, int p)
{
    const uint8_t *const base = src + (size_t)(p / 8) * 8 * s.one;
    const size_t odd[8] = {0, s.one, 2 * s.one, s.three, 4 * s.one, s.five, 2 * s.three, s.seven};
    return base + odd[p % 8];
}

QB_INLINE void dots_list(__m512i *acc, const uint8_t *src, struct steps steps, const int32_t *offset,
                         size_t count, const int8_t *wei, int P, int Q)
{
    QB_NO_UNROLL
    for (size_t k = 0; k < count; k++, wei += Q * 64) {
        const uint8_t *const s = src + offset[k];
        __m512i w[2];
        QB_REPEAT_2(q, Q, w[q] = _mm512_load_si512(wei + q * 64);)
        QB_REPEAT_16(p, P, {
            const __m512i u = quad_at(pixel_at(s, steps, p));
            QB_REPEAT_2(q, Q, acc[p * Q + q] = dot(acc[p * Q + q], u, w[q]);)
        })
    }
}

/* left, right: the outermost column of the tile's windows is padding. */
QB_INLINE void dots_3x3(__m512i *acc, const uint8_t *src, size_t pitch, struct steps steps, int rows,
                        size_t quads, const int8_t *wei, int P, int Q, bool left, bool right)
{
    QB_NO_UNROLL
    for (int i = 0; i < rows; i++, src += pitch) {
        QB_NO_UNROLL
        for (size_t c = 0; c < quads; c++, wei += 3 * Q * 64) {
            const uint8_t *const s = src + c * 4;
            __m512i w[6];
            QB_REPEAT_6(n, 3 * Q, w[n] = _mm512_load_si512(wei + n * 64);)
            QB_REPEAT_18(x, P + 2, {
                if (!(left && x == 0) && !(right && x == P + 1)) {
                    const __m512i u = quad_at(pixel_at(s, steps, x));
                    QB_REPEAT_3(j, 3, {
                        if ((int)x >= (int)j && (int)x - (int)j < P) {
                            QB_REPEAT_2(q, Q, {
                                acc[((int)x - (int)j) * Q + q] =
                                    dot(acc[((int)x - (int)j) * Q + q], u, w[j * Q + q]);
                            })
                        }
                    })
                }
            })
        }
    }
}

QB_INLINE uint8_t *dst_at(const struct job *j, size_t y, struct place at)
{
    return j->dst + y * j->conv->dst_pitch + at.x * j->conv->dst_step + at.block * QB_BLOCK;
}

QB_INLINE const uint8_t *res_at(const struct job *j, size_t y, struct place at)
{
    return j->res + y * j->conv->res_pitch + at.x * j->conv->res_step + at.block * QB_BLOCK;
}

/* Minus zw times the sum of the window. */
QB_INLINE void subtract_sums(const struct job *j, __m512i *acc, size_t y, struct place at, int P, int Q)
{
    const int32_t *const sums = j->sums + y * (size_t)j->conv->dst_w + at.x;
    __m512i minus[2];
    QB_REPEAT_2(q, Q, minus[q] = _mm512_load_si512(j->vnni.minus_zw + (at.block + q) * QB_BLOCK);)
    QB_REPEAT_16(p, P, {
        const __m512i sum = _mm512_set1_epi32(sums[p]);
        QB_REPEAT_2(q, Q,
                    { acc[p * Q + q] = _mm512_add_epi32(acc[p * Q + q], _mm512_mullo_epi32(minus[q], sum)); })
    })
}

/* Vectors that lie in registers; `plain` as in struct job. */
QB_INLINE void finish_here(enum qb_tail_form form, bool plain, const struct job *j, const __m512i *acc,
                           size_t y, struct place at, int P, int Q)
{
    const struct qb_tail *const tail = &j->conv->tail;
    const bool residual = qb_form_reads(form), inside = qb_form_onednn(form) && !qb_form_adds(form);
    const struct qb_tail512_block b[2] = {qb_tail512_load(form, tail, at.block * QB_BLOCK),
                                          qb_tail512_load(form, tail, (at.block + (size_t)Q - 1) * QB_BLOCK)};
    const __m512i zero_point = _mm512_set1_epi16((short)(inside ? 0 : tail->zero_point)), /* 0 by constant */
        low = _mm512_set1_epi8((char)tail->low);
    uint8_t *const dst = dst_at(j, y, at);
    const uint8_t *const res = residual ? res_at(j, y, at) : NULL;
    QB_REPEAT_4(i, P * Q / 4, {
        __m512i t[4];
        QB_REPEAT_4(n, 4, {
            const size_t pixel = (size_t)((4 * i + n) / Q), block = (size_t)(n % Q);
            const uint8_t *const r = res ? res + pixel * j->conv->res_step + block * QB_BLOCK : NULL;
            t[n] = qb_tail512_value(form, tail, acc[4 * i + n], b[block], r);
        })
        const size_t first = (size_t)(4 * i / Q);
        qb_store512(dst + first * j->conv->dst_step, j->conv->dst_step,
                    plain ? qb_tail512_pack(t) : qb_tail512_pack_affine(t, zero_point, low), Q);
    })
}

/* False where there is no tail in registers. */
QB_INLINE bool finish_full(const struct job *j, const __m512i *acc, size_t y, struct place at, int P, int Q)
{
    if (j->plain && j->form == QB_FORM_FBGEMM) {
        finish_here(QB_FORM_FBGEMM, true, j, acc, y, at, P, Q);
        return true;
    }
    if (j->plain && j->form == QB_FORM_FBGEMM_ADD) {
        finish_here(QB_FORM_FBGEMM_ADD, true, j, acc, y, at, P, Q);
        return true;
    }
    switch (j->form) {
    case QB_FORM_FBGEMM: finish_here(QB_FORM_FBGEMM, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_FBGEMM_ADD: finish_here(QB_FORM_FBGEMM_ADD, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_TENSOR: finish_here(QB_FORM_TENSOR, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_TENSOR_ADD: finish_here(QB_FORM_TENSOR_ADD, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_ONEDNN: finish_here(QB_FORM_ONEDNN, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_ONEDNN_SUM: finish_here(QB_FORM_ONEDNN_SUM, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_APART: finish_here(QB_FORM_APART, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_APART_SUM: finish_here(QB_FORM_APART_SUM, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_APART_ADD: finish_here(QB_FORM_APART_ADD, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_FIXED: finish_here(QB_FORM_FIXED, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_FIXED_ADD: finish_here(QB_FORM_FIXED_ADD, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_INTEGER: finish_here(QB_FORM_INTEGER, false, j, acc, y, at, P, Q); return true;
    case QB_FORM_INTEGER_ADD: finish_here(QB_FORM_INTEGER_ADD, false, j, acc, y, at, P, Q); return true;
    default: return false;
    }
}

/* One block of a tile of P pixels, any form; acc is pixel-major with `blocks` blocks a pixel. Four pixels at
 * a time, then one. */
QB_INLINE void finish_any(enum qb_tail_form form, const struct job *j, const __m512i *acc, int blocks,
                          size_t y, struct place at, int P)
{
    const struct qb_conv *const c = j->conv;
    const struct qb_tail *const tail = &c->tail;
    const bool residual = tail->residual != QB_TAIL_NONE;
    const __m512i zero_point = _mm512_set1_epi16((short)tail->zero_point),
                  low = _mm512_set1_epi8((char)tail->low);
    const struct qb_tail512_block b = qb_tail512_load(form, tail, at.block * QB_BLOCK);
    uint8_t *const dst = dst_at(j, y, at);
    const uint8_t *const res = residual ? res_at(j, y, at) : NULL;
    for (int p = 0; p < P; p += 4) {
        __m512i t[4];
        QB_UNROLL
        for (int n = 0; n < 4; n++) {
            const int i = p + n < P ? p + n : p;
            t[n] = qb_tail512_value(form, tail, acc[i * blocks], b,
                                    residual ? res + (size_t)i * c->res_step : NULL);
        }
        const __m512i codes = qb_tail512_pack_affine(t, zero_point, low);
        if (P - p >= 4) {
            qb_store512(dst + (size_t)p * c->dst_step, c->dst_step, codes, 1);
        } else {
            _mm_storeu_si128((__m128i *)(void *)(dst + (size_t)p * c->dst_step),
                             _mm512_castsi512_si128(codes));
        }
    }
}

/* P is 16, 8, 4 or 1. */
static void finish_general(const struct job *j, const __m512i *acc, size_t y, struct place at, int P,
                           int blocks)
{
    for (int n = 0; n < blocks; n++, at.block++, acc++) {
        switch (qb_tail_form(&j->conv->tail)) {
        case QB_FORM_FBGEMM: finish_any(QB_FORM_FBGEMM, j, acc, blocks, y, at, P); break;
        case QB_FORM_FBGEMM_ADD: finish_any(QB_FORM_FBGEMM_ADD, j, acc, blocks, y, at, P); break;
        case QB_FORM_FBGEMM_ADD_LONG: finish_any(QB_FORM_FBGEMM_ADD_LONG, j, acc, blocks, y, at, P); break;
        case QB_FORM_TENSOR: finish_any(QB_FORM_TENSOR, j, acc, blocks, y, at, P); break;
        case QB_FORM_TENSOR_ADD: finish_any(QB_FORM_TENSOR_ADD, j, acc, blocks, y, at, P); break;
        case QB_FORM_TENSOR_ADD_LONG: finish_any(QB_FORM_TENSOR_ADD_LONG, j, acc, blocks, y, at, P); break;
        case QB_FORM_ONEDNN: finish_any(QB_FORM_ONEDNN, j, acc, blocks, y, at, P); break;
        case QB_FORM_ONEDNN_SUM: finish_any(QB_FORM_ONEDNN_SUM, j, acc, blocks, y, at, P); break;
        case QB_FORM_APART: finish_any(QB_FORM_APART, j, acc, blocks, y, at, P); break;
        case QB_FORM_APART_SUM: finish_any(QB_FORM_APART_SUM, j, acc, blocks, y, at, P); break;
        case QB_FORM_APART_ADD: finish_any(QB_FORM_APART_ADD, j, acc, blocks, y, at, P); break;
        case QB_FORM_APART_ADD_LONG: finish_any(QB_FORM_APART_ADD_LONG, j, acc, blocks, y, at, P); break;
        case QB_FORM_FIXED: finish_any(QB_FORM_FIXED, j, acc, blocks, y, at, P); break;
        case QB_FORM_FIXED_ADD: finish_any(QB_FORM_FIXED_ADD, j, acc, blocks, y, at, P); break;
        case QB_FORM_INTEGER: finish_any(QB_FORM_INTEGER, j, acc, blocks, y, at, P); break;
        case QB_FORM_INTEGER_ADD: finish_any(QB_FORM_INTEGER_ADD, j, acc, blocks, y, at, P); break;
        case QB_FORM_COUNT: break;
        }
    }
}

/* How the products of a tile are made: by the list, or as 3x3 with the columns of padding that it leaves out.
 */
enum way { BY_LIST, BY_3X3, BY_3X3_LEFT, BY_3X3_RIGHT, BY_3X3_BOTH };

/* All ways meet in one copy of the tails, which are most of the code. */
QB_INLINE void tile(const struct job *j, const struct row *row, struct place at, int P, int Q, enum way way)
{
    __m512i acc[16];
    const int8_t *const wei =
        j->vnni.wei + (at.block * j->vnni.quads + (size_t)row->first * j->vnni.row_quads * (size_t)Q) * 64;
    const uint8_t *const src = row->src + at.x * j->step;
    const struct steps steps = {j->step, 3 * j->step, 5 * j->step, 7 * j->step};
    const size_t pitch = j->conv->src_pitch, quads = j->pixel_quads;
    QB_REPEAT_16(i, P * Q,
                 acc[i] = _mm512_load_si512(j->vnni.comp + (at.block + (size_t)(i % Q)) * QB_BLOCK);)
    switch (way) {
    case BY_LIST:
        dots_list(acc, src, steps, j->vnni.offsets, (size_t)row->count * j->vnni.row_quads, wei, P, Q);
        break;
    case BY_3X3: dots_3x3(acc, src, pitch, steps, row->count, quads, wei, P, Q, false, false); break;
    case BY_3X3_LEFT: dots_3x3(acc, src, pitch, steps, row->count, quads, wei, P, Q, true, false); break;
    case BY_3X3_RIGHT: dots_3x3(acc, src, pitch, steps, row->count, quads, wei, P, Q, false, true); break;
    case BY_3X3_BOTH: dots_3x3(acc, src, pitch, steps, row->count, quads, wei, P, Q, true, true); break;
    }
    if (j->sums) {
        subtract_sums(j, acc, row->y, at, P, Q);
    }
    if (P * Q < 16 || !finish_full(j, acc, row->y, at, P, Q)) {
        __m512i kept[16];
        QB_REPEAT_16(i, P * Q, kept[i] = acc[i];)
        finish_general(j, kept, row->y, at, P, Q);
    }
}

static struct row row_at(const struct job *j, size_t y)
{
    const struct qb_conv *const c = j->conv;
    const int top = (int)y * c->stride_h - c->pad_t;
    int first = 0, end = c->kh;
    if (j->skip) {
        first = top < 0 ? -top : 0;
        first = first < c->kh ? first : c->kh;
        end = c->src_h - top < c->kh ? c->src_h - top : c->kh;
        end = end > first ? end : first;
    }
    return (struct row){.y = y,
                        .src = j->src + y * j->stride_y + (size_t)first * c->src_pitch,
                        .first = first,
                        .count = end - first};
}

static bool is_3x3(const struct qb_conv *c)
{
    return c->kh == 3 && c->kw == 3 && c->stride_h == 1 && c->stride_w == 1;
}

/* Tiles of a row: the last one reaches back over pixels that are done already rather than be smaller. */
QB_INLINE void tiles(const struct job *j, const struct row *row, size_t block, int P, int Q, bool shared)
{
    const struct qb_conv *const c = j->conv;
    const size_t width = (size_t)c->dst_w, last = width - (size_t)P;
    const bool left = j->skip && c->pad_l > 0, right = j->skip && c->dst_w + 1 - c->pad_l >= c->src_w;
    for (size_t x = 0; x < width; x += (size_t)P) {
        const struct place at = {x < last ? x : last, block};
        const bool l = left && at.x == 0, r = right && at.x == last;
        tile(j, row, at, P, Q,
             !shared  ? BY_LIST
             : l && r ? BY_3X3_BOTH
             : l      ? BY_3X3_LEFT
             : r      ? BY_3X3_RIGHT
                      : BY_3X3);
    }
}

/* Rows of one block, or of two at a time (Q). The loop over blocks is outside, so that their weights stay in
 * L1. */
QB_INLINE void rows(const struct job *j, size_t block, int P, int Q)
{
    const bool shared = is_3x3(j->conv);
    for (size_t y = 0; y < (size_t)j->conv->dst_h; y++) {
        const struct row row = row_at(j, y);
        if (j->conv->dst_w < 4) {
            tiles(j, &row, block, 1, Q, false);
        } else if (j->conv->dst_w < P) {
            tiles(j, &row, block, 4, Q, false);
        } else {
            tiles(j, &row, block, P, Q, shared);
        }
    }
}

static void rows_of_one(const struct job *j, size_t block)
{
    rows(j, block, 16, 1);
}

static void rows_of_two(const struct job *j, size_t block)
{
    rows(j, block, 8, 2);
}

static void pack(const struct qb_conv *c, void *packed)
{
    qb_vnni_pack(c, true, packed);
}

static const char *path(const struct qb_conv *c)
{
    static const char *const names[2][2][2] = {{{"list", "list+sums"}, {"list,skip", "list,skip+sums"}},
                                               {{"3x3", "3x3+sums"}, {"3x3,skip", "3x3,skip+sums"}}};
    const bool shared = is_3x3(c) && c->dst_w >= (c->oc > QB_BLOCK ? 8 : 16);
    return names[shared][c->src_zero_point == 0][c->wei_zero_points != NULL];
}

static void run(const struct qb_conv *c, const void *packed, const uint8_t *src, const uint8_t *res,
                uint8_t *dst, void *scratch)
{
    const struct job job = {
        .conv = c,
        .vnni = qb_vnni_open(c, packed),
        .step = (size_t)c->stride_w * c->src_step,
        .stride_y = (size_t)c->stride_h * c->src_pitch,
        .pixel_quads = ((size_t)c->ic + 3) / 4,
        .src = src - (size_t)c->pad_t * c->src_pitch - (size_t)c->pad_l * c->src_step,
        .res = res,
        .dst = dst,
        .sums = c->wei_zero_points ? scratch : NULL,
        .form = qb_tail_form(&c->tail),
        .plain = c->tail.zero_point == 0 && c->tail.low == 0,
        .skip = c->src_zero_point == 0,
    };
    if (job.sums) {
        qb_conv_window_sums(c, src, scratch);
    }
    const size_t blocks = (size_t)qb_blocks(c->oc);
    for (size_t block = 0; block < blocks; block += 2) {
        if (block + 1 < blocks) {
            rows_of_two(&job, block);
        } else {
            rows_of_one(&job, block);
        }
    }
}

const struct qb_conv_impl qb_conv_avx512vnni = {.name = "avx512vnni",
                                                .isa = QB_ISA_AVX512VNNI,
                                                .packed_bytes = qb_vnni_bytes,
                                                .pack = pack,
                                                .scratch_bytes = qb_vnni_scratch_bytes,
                                                .path = path,
                                                .run = run};
