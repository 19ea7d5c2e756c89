/* Tails: how the int32 accumulators of a convolution become u8 codes. One rule an *arithmetic*; every ISA
 * has all of them in tail_<isa>.h. Formulas and their sources: src/engine/reference/arithmetic.h.
 *
 * Notation: each operation is one float32 operation with one rounding, rne() rounds to nearest, ties to even,
 * sat() clamps to 0..255, k is the output channel.
 *
 *   fbgemm          v = ((float)acc + bia[k]) * scale[k]
 *   fbgemm_tensor   v = fma(bia[k], bia_factor, (float)acc) * scale[k]
 *   onednn          v = ((float)acc * scale[k] + bia[k]) * dst_inverse + (float)zero_point
 *
 *   fixed           x = acc + start[k]; v = fma((float)x, scale[k], bia[k], of x's sign where `sign` is set)
 *                   and 1 is added to rne(v) where x == patch[k]
 *
 *   without a residual   dst = max(sat(rne(v) + zero_point), low)    onednn: the zero point is in v already
 *   sum (onednn)         v = (fma(res_scale, (float)(res - res_zero_point), (float)acc * scale[k] + bia[k])
 *                        * dst_inverse) + (float)zero_point, then as above
 *   add (the others)     y = min(max(rne(v), conv_low), conv_high), the convolution's own code minus its zero
 *                        point; dst = max(sat(rne(c * dst_inverse) + zero_point), low) with
 *                        c = fma(conv_scale, y + conv_zero_point, conv_offset) + fma(res_scale, res,
 * res_offset) quick                the same with fma(quick_conv, y, fma(quick_res, res, quick_offset)) in
 * place of c * dst_inverse: it has been found to give the same code for all 65,536 pairs
 *
 * `fixed` stands for rules in integers (arithmetic tflite). Codes are a staircase over the accumulators, and
 * constants can be found for which this formula has the very same steps (src/engine/native/fixed.h). Its
 * addition is always quick.
 *
 * A ReLU is low = zero_point in every rule: rounding and clamping are monotone, and the zero point is the
 * code of 0. The caller guarantees QB_TAIL_LIMIT > |v| and |c * dst_inverse| for every accumulator and code
 * that can occur, so that no conversion to int32 overflows; only the ref tail does without that. */
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

enum { QB_STEPS = 255 };

enum qb_tail_rule { QB_TAIL_FBGEMM, QB_TAIL_FBGEMM_TENSOR, QB_TAIL_ONEDNN, QB_TAIL_FIXED };
enum qb_tail_residual { QB_TAIL_NONE, QB_TAIL_SUM, QB_TAIL_ADD };

struct qb_tail {
    enum qb_tail_rule rule;
    enum qb_tail_residual residual; /* SUM only with ONEDNN, ADD only with the others */
    const float *bia, *scale;       /* [16 * blocks], 64-byte aligned */
    const int32_t *start, *patch;   /* the same; FIXED only, else NULL */
    int32_t sign;                   /* FIXED: INT32_MIN (a float's sign bit) or 0 */
    const int32_t *steps; /* FIXED without such constants, ref only, else NULL: [channels][QB_STEPS], the
                           * smallest x with each of the codes 1 .. 255 */
    float bia_factor, dst_inverse;
    int32_t zero_point, low;
    float res_scale, res_offset;
    int32_t res_zero_point;
    float conv_low, conv_high; /* whole numbers within +-255 */
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
    QB_FORM_FIXED,
    QB_FORM_FIXED_ADD, /* quick */
    QB_FORM_COUNT
};
static inline enum qb_tail_form qb_tail_form(const struct qb_tail *t)
{
    if (t->rule == QB_TAIL_ONEDNN) {
        return t->residual == QB_TAIL_SUM ? QB_FORM_ONEDNN_SUM : QB_FORM_ONEDNN;
    }
    if (t->rule == QB_TAIL_FIXED) {
        return t->residual == QB_TAIL_ADD ? QB_FORM_FIXED_ADD : QB_FORM_FIXED;
    }
    const int add = t->residual != QB_TAIL_ADD ? 0 : t->quick ? 1 : 2;
    return (enum qb_tail_form)((t->rule == QB_TAIL_FBGEMM ? QB_FORM_FBGEMM : QB_FORM_TENSOR) + add);
}

/* ADD: looks for the three quick constants among floats near the exact quotients and checks every pair of
 * codes. Sets quick; leaves it false when there are none. */
void qb_tail_quicken(struct qb_tail *tail);

#endif
