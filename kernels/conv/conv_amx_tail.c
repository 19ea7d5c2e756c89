/* Units of the tail for the AMX convolution: 8 vectors of 16 accumulators -> 128 codes. They run between tile
 * instructions, so they are written for the ports those leave.
 *
 * While tile instructions are in flight, 512-bit multiplications, conversions, minima and maxima issue on
 * port 0 only; additions, logic and shuffles keep port 5 too (measured on Sapphire Rapids). So rounding is
 * done by adding and subtracting 1.5 * 2^23 (to nearest, ties to even, exact for |v| < 2^22), and a residual
 * code becomes a float as the low bits of 2^23. Level by level over eight vectors: four would wait in the
 * scheduler for each other and keep the next tile instruction out. */
#include <immintrin.h>

#include "kernels/conv/conv_amx.h"
#include "kernels/simd.h"
#include "kernels/tail_avx512.h"

#define ROUND 0x1.8p23F
#define INTEGER 0x1p23F
enum { INTEGER_BITS = 0x4b000000 };

#define EACH QB_UNROLL for (int n = 0; n < QB_AMX_UNIT; n++)

QB_INLINE const uint8_t *res_at(const struct qb_amx_tail *t, const uint8_t *res, int n, int Q)
{
    return res + (size_t)(n / Q) * t->res_step + (size_t)(n % Q) * QB_BLOCK;
}

/* What a unit is specialised for. */
struct kind {
    int Q;            /* blocks */
    bool zero_points; /* false: of src, wei and dst are all 0 */
    bool high;        /* false: the convolution's own code needs no upper clamp */
    bool offset;      /* false: quick_offset is 0 */
};

/* Accumulators as the rules want them. */
QB_INLINE __m512i sum_at(struct kind kind, const struct qb_amx_tail *t, const int32_t *acc,
                         const int32_t *sums, int n)
{
    const int block = n % kind.Q * QB_BLOCK;
    __m512i a = _mm512_load_si512(acc + n * QB_BLOCK);
    if (kind.zero_points) {
        a = _mm512_add_epi32(a, _mm512_load_si512(t->comp + block));
        if (t->minus_zw) {
            a = _mm512_add_epi32(a, _mm512_mullo_epi32(_mm512_load_si512(t->minus_zw + block),
                                                       _mm512_set1_epi32(sums[n / kind.Q])));
        }
    }
    return a;
}

/* Saturates, packs, stores. */
QB_INLINE void put(struct kind kind, const struct qb_amx_tail *t, const __m512i codes[QB_AMX_UNIT],
                   uint8_t *dst)
{
    const struct qb_tail *const tail = t->tail;
    const __m512i zero_point = _mm512_set1_epi16((short)tail->zero_point),
                  low = _mm512_set1_epi8((char)tail->low);
    QB_UNROLL
    for (int i = 0; i < 2; i++) {
        qb_store512(dst + (size_t)(i * 4 / kind.Q) * t->dst_step, t->dst_step,
                    kind.zero_points ? qb_tail512_pack_affine(codes + 4 * i, zero_point, low)
                                     : qb_tail512_pack(codes + 4 * i),
                    kind.Q);
    }
}

/* v of fbgemm (tensor: fbgemm_tensor). */
QB_INLINE void scaled(struct kind kind, bool tensor, __m512 v[QB_AMX_UNIT], const struct qb_amx_tail *t,
                      const int32_t *acc, const int32_t *sums)
{
    const __m512 factor = _mm512_set1_ps(t->tail->bia_factor);
    __m512 bia[2], scale[2];
    QB_UNROLL
    for (int q = 0; q < kind.Q; q++) {
        bia[q] = _mm512_load_ps(t->bia + q * QB_BLOCK);
        scale[q] = _mm512_load_ps(t->scale + q * QB_BLOCK);
    }
    EACH
    {
        v[n] = _mm512_cvtepi32_ps(sum_at(kind, t, acc, sums, n));
    }
    EACH
    {
        v[n] = tensor ? _mm512_fmadd_ps(bia[n % kind.Q], factor, v[n]) : _mm512_add_ps(v[n], bia[n % kind.Q]);
    }
    EACH
    {
        v[n] = _mm512_mul_ps(v[n], scale[n % kind.Q]);
    }
}

QB_INLINE void codes_unit(struct kind kind, bool tensor, const struct qb_amx_tail *t, const int32_t *acc,
                          uint8_t *dst, const int32_t *sums)
{
    __m512 v[QB_AMX_UNIT];
    __m512i codes[QB_AMX_UNIT];
    scaled(kind, tensor, v, t, acc, sums);
    EACH
    {
        codes[n] = _mm512_cvtps_epi32(v[n]);
    }
    put(kind, t, codes, dst);
}

/* A quick addition. */
QB_INLINE void add_unit(struct kind kind, bool tensor, const struct qb_amx_tail *t, const int32_t *acc,
                        uint8_t *dst, const uint8_t *res, const int32_t *sums)
{
    const struct qb_tail *const tail = t->tail;
    const __m512 low = _mm512_set1_ps(tail->conv_low), high = _mm512_set1_ps(tail->conv_high),
                 plus = _mm512_set1_ps(ROUND), minus = _mm512_set1_ps(-ROUND),
                 quick_conv = _mm512_set1_ps(tail->quick_conv), quick_res = _mm512_set1_ps(tail->quick_res),
                 offset = _mm512_set1_ps(tail->quick_offset), integer = _mm512_set1_ps(-INTEGER),
                 shifted = _mm512_set1_ps(-INTEGER * tail->quick_res);
    const __m512i bits = _mm512_set1_epi32(INTEGER_BITS);
    __m512 v[QB_AMX_UNIT], r[QB_AMX_UNIT];
    __m512i codes[QB_AMX_UNIT];
    EACH
    {
        const __m128i *const from = (const __m128i *)(const void *)res_at(t, res, n, kind.Q);
        const __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128(from));
        r[n] = _mm512_castsi512_ps(_mm512_or_si512(code, bits));
    }
    if (kind.offset) {
        EACH
        {
            r[n] = _mm512_add_ps(r[n], integer);
        }
    }
    scaled(kind, tensor, v, t, acc, sums);
    EACH
    {
        v[n] = _mm512_max_ps(v[n], low);
    }
    if (kind.high) {
        EACH
        {
            v[n] = _mm512_min_ps(v[n], high);
        }
    }
    EACH
    {
        v[n] = _mm512_add_ps(v[n], plus);
    }
    EACH
    {
        /* Without an offset: quick_res * (2^23 + code) - quick_res * 2^23, one rounding all the same. */
        r[n] = _mm512_fmadd_ps(quick_res, r[n], kind.offset ? offset : shifted);
    }
    EACH
    {
        v[n] = _mm512_add_ps(v[n], minus);
    }
    EACH
    {
        codes[n] = _mm512_cvtps_epi32(_mm512_fmadd_ps(quick_conv, v[n], r[n]));
    }
    put(kind, t, codes, dst);
}

/* The rules that are not written out above. */
QB_INLINE void value_unit(enum qb_tail_form form, struct kind kind, const struct qb_amx_tail *t,
                          const int32_t *acc, uint8_t *dst, const uint8_t *res, const int32_t *sums)
{
    const bool residual = t->tail->residual != QB_TAIL_NONE;
    __m512i codes[QB_AMX_UNIT];
    EACH
    {
        codes[n] = sum_at(kind, t, acc, sums, n);
    }
    EACH
    {
        const size_t channel = (size_t)(t->bia - t->tail->bia) + (size_t)(n % kind.Q) * QB_BLOCK;
        const struct qb_tail512_block b = qb_tail512_load(form, t->tail, channel);
        codes[n] = qb_tail512_value(form, t->tail, codes[n], b, residual ? res_at(t, res, n, kind.Q) : NULL);
    }
    put(kind, t, codes, dst);
}

#define UNIT(name, Q, zero_points, high, offset, call)                                                       \
    static void name##_##Q(const struct qb_amx_tail *t, const int32_t *acc, uint8_t *dst,                    \
                           const uint8_t *res, const int32_t *sums)                                          \
    {                                                                                                        \
        const struct kind kind = {Q, zero_points, high, offset};                                             \
        (void)res, (void)sums;                                                                               \
        call;                                                                                                \
    }
/* NAME[0] and NAME[1]: for one and two blocks. */
#define UNITS(name, zero_points, high, offset, call)                                                         \
    UNIT(name, 1, zero_points, high, offset, call)                                                           \
    UNIT(name, 2, zero_points, high, offset, call)                                                           \
    static qb_amx_unit_fn *const name[2] = {name##_1, name##_2};
#define ADDS(name, high, offset)                                                                             \
    UNITS(name, false, high, offset, add_unit(kind, false, t, acc, dst, res, sums))
#define VALUES(name, form) UNITS(name, true, true, true, value_unit(form, kind, t, acc, dst, res, sums))

UNITS(codes_plain, false, true, true, codes_unit(kind, false, t, acc, dst, sums))
ADDS(add_plain, false, false)
ADDS(add_plain_offset, false, true)
ADDS(add_plain_high, true, false)
ADDS(add_plain_high_offset, true, true)
UNITS(codes, true, true, true, codes_unit(kind, false, t, acc, dst, sums))
UNITS(add, true, true, true, add_unit(kind, false, t, acc, dst, res, sums))
UNITS(tensor, true, true, true, codes_unit(kind, true, t, acc, dst, sums))
UNITS(tensor_add, true, true, true, add_unit(kind, true, t, acc, dst, res, sums))
VALUES(add_long, QB_FORM_FBGEMM_ADD_LONG)
VALUES(tensor_add_long, QB_FORM_TENSOR_ADD_LONG)
VALUES(onednn, QB_FORM_ONEDNN)
VALUES(onednn_sum, QB_FORM_ONEDNN_SUM)
VALUES(apart, QB_FORM_APART)
VALUES(apart_sum, QB_FORM_APART_SUM)
VALUES(apart_add, QB_FORM_APART_ADD)
VALUES(apart_add_long, QB_FORM_APART_ADD_LONG)
VALUES(fixed, QB_FORM_FIXED)
VALUES(fixed_add, QB_FORM_FIXED_ADD)
VALUES(integer, QB_FORM_INTEGER)
VALUES(integer_add, QB_FORM_INTEGER_ADD)

bool qb_amx_plain(const struct qb_conv *c)
{
    return c->tail.zero_point == 0 && c->tail.low == 0 && c->src_zero_point == 0 && !c->wei_zero_points;
}

/* The upper clamp of the convolution's own code may go where that code alone takes the sum to 255, whatever
 * the residual. quick_conv < 2 keeps a larger one within int32 (QB_TAIL_LIMIT). */
static bool needs_high(const struct qb_tail *t)
{
    return !(t->quick_conv <= 1.9F && t->quick_res >= 0.0F &&
             t->quick_conv * t->conv_high + t->quick_offset >= 256.0F);
}

static qb_amx_unit_fn *plain_add(const struct qb_tail *t, int two)
{
    const bool offset = t->quick_offset != 0.0F;
    if (needs_high(t)) {
        return offset ? add_plain_high_offset[two] : add_plain_high[two];
    }
    return offset ? add_plain_offset[two] : add_plain[two];
}

qb_amx_unit_fn *qb_amx_unit(const struct qb_conv *c, int blocks)
{
    const bool plain = qb_amx_plain(c);
    const int two = blocks == 2;
    switch (qb_tail_form(&c->tail)) {
    case QB_FORM_FBGEMM: return plain ? codes_plain[two] : codes[two];
    case QB_FORM_FBGEMM_ADD: return plain ? plain_add(&c->tail, two) : add[two];
    case QB_FORM_FBGEMM_ADD_LONG: return add_long[two];
    case QB_FORM_TENSOR: return tensor[two];
    case QB_FORM_TENSOR_ADD: return tensor_add[two];
    case QB_FORM_TENSOR_ADD_LONG: return tensor_add_long[two];
    case QB_FORM_ONEDNN: return onednn[two];
    case QB_FORM_ONEDNN_SUM: return onednn_sum[two];
    case QB_FORM_APART: return apart[two];
    case QB_FORM_APART_SUM: return apart_sum[two];
    case QB_FORM_APART_ADD: return apart_add[two];
    case QB_FORM_APART_ADD_LONG: return apart_add_long[two];
    case QB_FORM_FIXED: return fixed[two];
    case QB_FORM_FIXED_ADD: return fixed_add[two];
    case QB_FORM_INTEGER: return integer[two];
    case QB_FORM_INTEGER_ADD: return integer_add[two];
    case QB_FORM_COUNT: break;
    }
    return NULL;
}
