/* Convolution for AVX-VNNI: vpdpbusd of 256 bits in its VEX encoding, 16 registers. Packing and zero points:
 * conv_vnni.h; tiles and tails: conv_256.h. With a source zero point of 0 kernel rows outside the picture are
 * not multiplied. */
#include <immintrin.h>

#include "kernels/conv/conv_256.h"
#include "kernels/conv/conv_impls.h"
#include "kernels/conv/conv_vnni.h"

QB_INLINE __m256i dot(__m256i acc, __m256i u, __m256i s)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(u), "x"(s));
    return acc;
}

QB_INLINE __m256i load(const void *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

QB_INLINE struct qb_at256 tile(const struct qb_run256 *r, const struct qb_vnni *v, const int32_t *sums,
                               struct qb_at256 at, int P, size_t block)
{
    const struct qb_conv *const c = r->conv;
    const int8_t *wei = v->wei + block * v->quads * 64;
    const uint8_t *window[QB_PIXELS];
    __m256i acc[2 * QB_PIXELS];
    struct qb_at256 last = at;
    QB_REPEAT_6(p, P, {
        window[p] = last.src;
        acc[2 * p] = load(v->comp + block * QB_BLOCK);
        acc[2 * p + 1] = load(v->comp + block * QB_BLOCK + 8);
        if (p + 1 < P) {
            qb_advance256(r, &last);
        }
    })
    const struct qb_rows256 rows =
        c->src_zero_point == 0 ? qb_rows256(c, at.y, last.y) : (struct qb_rows256){0, c->kh};
    const size_t end = (size_t)rows.end * v->row_quads;
    wei += (size_t)rows.first * v->row_quads * 64;
    QB_NO_UNROLL
    for (size_t k = (size_t)rows.first * v->row_quads; k < end; k++, wei += 64) {
        const __m256i w0 = load(wei), w1 = load(wei + 32);
        const ptrdiff_t offset = v->offsets[k];
        QB_REPEAT_6(p, P, {
            const __m256i u = _mm256_set1_epi32(qb_load32(window[p] + offset));
            acc[2 * p] = dot(acc[2 * p], u, w0);
            acc[2 * p + 1] = dot(acc[2 * p + 1], u, w1);
        })
    }
    if (sums) {
        qb_subtract_sums256(acc, v->minus_zw + block * QB_BLOCK, sums + at.y * (size_t)c->dst_w + at.x, P);
    }
    return qb_finish256(r, acc, at, P, block * QB_BLOCK);
}

static void pack(const struct qb_conv *c, void *packed)
{
    qb_vnni_pack(c, false, packed);
}

static const char *path(const struct qb_conv *c)
{
    return c->wei_zero_points ? "list+sums" : c->src_zero_point == 0 ? "list,skip" : "list";
}

static void run(const struct qb_conv *c, const void *packed, const uint8_t *src, const uint8_t *res,
                uint8_t *dst, void *scratch)
{
    const struct qb_vnni v = qb_vnni_open(c, packed);
    const uint8_t *const first = src - (size_t)c->pad_t * c->src_pitch - (size_t)c->pad_l * c->src_step;
    const struct qb_run256 r = qb_run256(c, first, c->src_step, c->src_pitch, res, dst);
    const size_t pixels = (size_t)c->dst_h * (size_t)c->dst_w;
    const int32_t *const sums = c->wei_zero_points ? scratch : NULL;
    if (sums) {
        qb_conv_window_sums(c, src, scratch);
    }
    for (size_t block = 0; block < (size_t)qb_blocks(c->oc); block++) {
        struct qb_at256 at = qb_at256(&r, 0);
        for (size_t p = 0; pixels < QB_PIXELS && p < pixels; p++) {
            at = tile(&r, &v, sums, at, 1, block);
        }
        for (size_t p = 0; pixels >= QB_PIXELS && p < pixels; p += QB_PIXELS) {
            if (p + QB_PIXELS > pixels) {
                at = qb_at256(&r, pixels - QB_PIXELS);
            }
            at = tile(&r, &v, sums, at, QB_PIXELS, block);
        }
    }
}

const struct qb_conv_impl qb_conv_avxvnni = {.name = "avxvnni",
                                             .isa = QB_ISA_AVXVNNI,
                                             .packed_bytes = qb_vnni_bytes,
                                             .pack = pack,
                                             .scratch_bytes = qb_vnni_scratch_bytes,
                                             .path = path,
                                             .run = run};
