/* The search for the quick form of dequantize-add-requantize: see tail.h.
 *
 * Six operations become two. Codes differ only where c * dst_inverse lies within rounding of a tie, so a few
 * units in the last place of freedom in the three constants are enough in practice; a tail without luck keeps
 * the long form. */
#include "kernels/tail.h"

#include "kernels/tail_ref.h"
#include "kernels/tail_search.h"

enum { NEAR = 3, OFFSETS = 9 };

static bool same_codes(const struct qb_tail *t)
{
    for (int y = (int)t->conv_low; y <= (int)t->conv_high; y++) {
        for (int res = 0; res < 256; res++) {
            const float exact = qb_tail_long(t, (float)y, (uint8_t)res),
                        quick = qb_tail_quick(t, (float)y, (uint8_t)res);
            if (qb_tail_code(exact, t->zero_point, t->low) != qb_tail_code(quick, t->zero_point, t->low) ||
                !(fabsf(quick) < QB_TAIL_LIMIT)) {
                return false;
            }
        }
    }
    return true;
}

void qb_tail_quicken(struct qb_tail *tail)
{
    struct qb_tail t = *tail;
    const float conv = (float)((double)t.conv_scale * t.dst_inverse),
                res = (float)((double)t.res_scale * t.dst_inverse);
    /* fma(s, q, s * -z): the offset of the residual, and what the convolution's own offset leaves over. */
    const double zero = (double)t.conv_scale * t.own_zero_point; /* of y, where y is a code */
    const double offset = (t.res_offset - zero) * t.dst_inverse;
    for (int i = 0; i < OFFSETS; i++) {
        for (int n = 0; n < NEAR * NEAR; n++) {
            t.quick_conv = qb_moved(conv, qb_outwards(n % NEAR));
            t.quick_res = qb_moved(res, qb_outwards(n / NEAR));
            t.quick_offset = (float)(offset + qb_outwards(i) * 0x1p-20);
            if (same_codes(&t)) {
                t.quick = true;
                *tail = t;
                return;
            }
        }
    }
    tail->quick = false;
}
