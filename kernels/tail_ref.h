/* The tail in plain C: the meaning of tail.h, value for value. Defined for every float: v is limited first,
 * which changes no result because limits and zero points are whole numbers within +-255. */
#ifndef QB_KERNELS_TAIL_REF_H
#define QB_KERNELS_TAIL_REF_H

#include <math.h>
#include <stddef.h>

#include "kernels/tail.h"

static inline float qb_tail_rne(float v)
{
    return rintf(v < -1024.0F ? -1024.0F : v > 1024.0F ? 1024.0F : v);
}

/* max(sat(rne(v) + zero_point), low) */
static inline uint8_t qb_tail_code(float v, int32_t zero_point, int32_t low)
{
    const int32_t code = (int32_t)qb_tail_rne(v) + zero_point, floor = low > 0 ? low : 0;
    return (uint8_t)(code < floor ? floor : code > 255 ? 255 : code);
}

static inline float qb_tail_long(const struct qb_tail *t, float y, uint8_t res)
{
    const float c = fmaf(t->conv_scale, y + (float)t->conv_zero_point, t->conv_offset) +
                    fmaf(t->res_scale, (float)res, t->res_offset);
    return c * t->dst_inverse;
}

static inline float qb_tail_quick(const struct qb_tail *t, float y, uint8_t res)
{
    return fmaf(t->quick_conv, y, fmaf(t->quick_res, (float)res, t->quick_offset));
}

/* FIXED, up to rne(v) and the patch. */
static inline int32_t qb_tail_fixed(const struct qb_tail *t, int32_t acc, int k)
{
    const int32_t x = (int32_t)((uint32_t)acc + (uint32_t)t->start[k]);
    const float bia = t->sign && x < 0 ? -t->bia[k] : t->bia[k];
    return (int32_t)qb_tail_rne(fmaf((float)x, t->scale[k], bia)) + (x == t->patch[k]);
}

/* INTEGER, v; any shift and any sum that an int32 holds. */
static inline int32_t qb_tail_integer(const struct qb_tail *t, int32_t acc, int k)
{
    const int32_t x = (int32_t)((uint32_t)acc + (uint32_t)t->start[k]), shift = t->shift[k];
    const int64_t nudge = t->once && shift ? 0 : INT64_C(1) << 31,
                  h = (2 * (int64_t)x * t->multiplier[k] + nudge) >> 32;
    return (int32_t)(shift ? (h + t->round[k] - (!t->once && h < 0)) >> shift : h);
}

/* v of the other rules. */
static inline float qb_tail_v(const struct qb_tail *t, int32_t acc, int k, uint8_t res)
{
    if (t->rule == QB_TAIL_ONEDNN || t->rule == QB_TAIL_ONEDNN_APART) {
        const float a = t->rule == QB_TAIL_ONEDNN_APART ? (float)acc * t->acc_scale : (float)acc;
        const float s = a * t->scale[k] + t->bia[k];
        const float sum =
            t->residual == QB_TAIL_SUM ? fmaf(t->res_scale, (float)(res - t->res_zero_point), s) : s;
        return sum * t->own_inverse + t->own_zero_point;
    }
    const float sum =
        t->rule == QB_TAIL_FBGEMM ? (float)acc + t->bia[k] : fmaf(t->bia[k], t->bia_factor, (float)acc);
    return sum * t->scale[k];
}

/* One accumulator of channel k; res is not looked at without a residual. */
static inline uint8_t qb_tail_ref(const struct qb_tail *t, int32_t acc, int k, uint8_t res)
{
    if (t->rule == QB_TAIL_FIXED || t->rule == QB_TAIL_INTEGER) {
        const float code =
            (float)(t->rule == QB_TAIL_FIXED ? qb_tail_fixed(t, acc, k) : qb_tail_integer(t, acc, k));
        return t->residual == QB_TAIL_NONE
                   ? qb_tail_code(code, t->zero_point, t->low)
                   : qb_tail_code(qb_tail_quick(t, fminf(fmaxf(code, t->conv_low), t->conv_high), res),
                                  t->zero_point, t->low);
    }
    const float v = qb_tail_v(t, acc, k, res);
    if (t->residual != QB_TAIL_ADD) {
        return qb_tail_code(v, t->zero_point, t->low);
    }
    const float y = fminf(fmaxf(qb_tail_rne(v), t->conv_low), t->conv_high);
    return qb_tail_code(qb_tail_long(t, y, res), t->zero_point, t->low);
}

#endif
