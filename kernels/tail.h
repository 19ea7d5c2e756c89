/* Tails: how the int32 accumulators of a convolution become u8 codes. One rule an *arithmetic*; every ISA
 * has all of them in tail_<isa>.h. Formulas and their sources: src/engine/reference/arithmetic.h.
 *
 * Notation: each operation is one float32 operation with one rounding, rne() rounds to nearest, ties to even,
 * sat() clamps to 0..255, k is the output channel.
 *
 *   fbgemm          v = ((float)acc + bia[k]) * scale[k]
 *   fbgemm_tensor   v = fma(bia[k], bia_factor, (float)acc) * scale[k]
 *   onednn          s = (float)acc * scale[k] + bia[k]; v = s * own_inverse + own_zero_point
 *   onednn_apart    the same with ((float)acc * acc_scale) in place of (float)acc
 *
 *   fixed           x = acc + start[k]; v = fma((float)x, scale[k], bia[k], of x's sign where `sign` is set)
 *                   and 1 is added to rne(v) where x == patch[k]
 *   integer         h = (2 * (acc + start[k]) * multiplier[k] + nudge) >> 32, computed in 64 bits,
 *                   v = (h + round[k] - (h < 0)) >> shift[k]; nudge is 2^31. With `once` nudge is 0 and
 *                   (h < 0) is left out. Where shift[k] is 0: v = h, nudge 2^31.
 *
 *   without a residual   dst = max(sat(rne(v) + zero_point), low)    onednn*: zero_point is 0, it is in v
 *   sum (onednn*)        the same with fma(res_scale, (float)(res - res_zero_point), s) in place of s
 *   add                  y = min(max(rne(v), conv_low), conv_high), the convolution's own code minus
 *                        conv_zero_point (onednn_apart: 0, as y is the code itself);
 *                        dst = max(sat(rne(c * dst_inverse) + zero_point), low) with c = a + b,
 *                        a = fma(conv_scale, y + conv_zero_point, conv_offset),
 *                        b = fma(res_scale, res, res_offset)
 *   add, quick           the same with fma(quick_conv, y, fma(quick_res, res, quick_offset)) in place of
 *                        c * dst_inverse: it has been found to give the same code for all 65,536 pairs
 *
 * `integer` is the multiplication by a quantized multiplier of arithmetic tflite, with two roundings or one.
 * `fixed` stands for it in fewer instructions: codes are a staircase over the accumulators, and mostly
 * constants can be found for which this formula has the very same steps (src/engine/native/fixed.h).
 * Additions of both are always quick.
 *
 * A ReLU is a low that is dst's zero point in every rule: rounding and clamping are monotone, and the zero
 * point is the code of 0. The caller guarantees QB_TAIL_LIMIT > |v| and |c * dst_inverse| for every
 * accumulator and code that can occur, so that no conversion to int32 overflows, and for `integer`
 * 2^30 > |acc + start[k]|, and multiplier[k] = 0 where shift[k] is 0; only the ref tail does without that. */
#ifndef QB_KERNELS_TAIL_H
#define QB_KERNELS_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#define QB_TAIL_LIMIT 0x1p30F

/* Output channels come in blocks of 16: per-channel arrays have this many elements, zero beyond the last
 * channel. */
enum { QB_BLOCK = 16 };
static inline int qb_blocks(int channels)
{
    return (channels + QB_BLOCK - 1) / QB_BLOCK;
}

enum qb_tail_rule {
    QB_TAIL_FBGEMM,
    QB_TAIL_FBGEMM_TENSOR,
    QB_TAIL_ONEDNN,
    QB_TAIL_ONEDNN_APART,
    QB_TAIL_FIXED,
    QB_TAIL_INTEGER
};
enum qb_tail_residual { QB_TAIL_NONE, QB_TAIL_SUM, QB_TAIL_ADD };

struct qb_tail {
    enum qb_tail_rule rule;
    enum qb_tail_residual residual; /* SUM only with ONEDNN*, ADD with all but ONEDNN */
    const float *bia, *scale;     /* [16 * blocks], 64-byte aligned, never NULL; INTEGER does not read them */
    const int32_t *start, *patch; /* the same; start: FIXED and INTEGER, patch: FIXED, else NULL */
    int32_t sign;                 /* FIXED: INT32_MIN (a float's sign bit) or 0 */
    const int32_t *multiplier, *round, *shift; /* the same; INTEGER only, else NULL */
    bool once;                                 /* INTEGER */
    float bia_factor;
    float acc_scale;                   /* ONEDNN_APART */
    float own_inverse, own_zero_point; /* ONEDNN*; of the convolution's own codes */
    float dst_inverse;                 /* ADD */
    int32_t zero_point, low;
    float res_scale, res_offset;
    int32_t res_zero_point;
    float conv_low, conv_high; /* ADD; whole numbers within +-255 */
    int32_t conv_zero_point;
    float conv_scale, conv_offset;
    bool quick;
    float quick_conv, quick_res, quick_offset;
};

/* The combinations there are: what SIMD tails are instantiated for. */
enum qb_tail_form {
    QB_FORM_FBGEMM,
    QB_FORM_FBGEMM_ADD, /* quick */
    QB_FORM_FBGEMM_ADD_LONG,
    QB_FORM_TENSOR, /* fbgemm_tensor */
    QB_FORM_TENSOR_ADD,
    QB_FORM_TENSOR_ADD_LONG,
    QB_FORM_ONEDNN,
    QB_FORM_ONEDNN_SUM,
    QB_FORM_APART, /* onednn_apart */
    QB_FORM_APART_SUM,
    QB_FORM_APART_ADD, /* quick */
    QB_FORM_APART_ADD_LONG,
    QB_FORM_FIXED,
    QB_FORM_FIXED_ADD, /* quick */
    QB_FORM_INTEGER,
    QB_FORM_INTEGER_ADD, /* quick */
    QB_FORM_COUNT
};
static inline enum qb_tail_form qb_tail_form(const struct qb_tail *t)
{
    const bool add = t->residual == QB_TAIL_ADD, sum = t->residual == QB_TAIL_SUM;
    switch (t->rule) {
    case QB_TAIL_FIXED: return add ? QB_FORM_FIXED_ADD : QB_FORM_FIXED;
    case QB_TAIL_INTEGER: return add ? QB_FORM_INTEGER_ADD : QB_FORM_INTEGER;
    case QB_TAIL_ONEDNN: return sum ? QB_FORM_ONEDNN_SUM : QB_FORM_ONEDNN;
    case QB_TAIL_ONEDNN_APART:
        if (!add) {
            return sum ? QB_FORM_APART_SUM : QB_FORM_APART;
        }
        return t->quick ? QB_FORM_APART_ADD : QB_FORM_APART_ADD_LONG;
    case QB_TAIL_FBGEMM_TENSOR:
        return !add ? QB_FORM_TENSOR : t->quick ? QB_FORM_TENSOR_ADD : QB_FORM_TENSOR_ADD_LONG;
    case QB_TAIL_FBGEMM: break;
    }
    return !add ? QB_FORM_FBGEMM : t->quick ? QB_FORM_FBGEMM_ADD : QB_FORM_FBGEMM_ADD_LONG;
}

/* Whether a residual is read. */
static inline bool qb_form_reads(enum qb_tail_form form)
{
    return form != QB_FORM_FBGEMM && form != QB_FORM_TENSOR && form != QB_FORM_ONEDNN &&
           form != QB_FORM_APART && form != QB_FORM_FIXED && form != QB_FORM_INTEGER;
}
/* Whether v is s * own_inverse + own_zero_point. */
static inline bool qb_form_onednn(enum qb_tail_form form)
{
    return form >= QB_FORM_ONEDNN && form <= QB_FORM_APART_ADD_LONG;
}
/* Whether the residual is SUM, ADD. */
static inline bool qb_form_sums(enum qb_tail_form form)
{
    return form == QB_FORM_ONEDNN_SUM || form == QB_FORM_APART_SUM;
}
static inline bool qb_form_adds(enum qb_tail_form form)
{
    return qb_form_reads(form) && !qb_form_sums(form);
}

/* ADD: looks for the three quick constants among floats near the exact quotients and checks every pair of
 * codes. Sets quick; leaves it false when there are none. */
void qb_tail_quicken(struct qb_tail *tail);

#endif
