/* Weight rounding for the output of a layer instead of each weight alone, the problem of AdaRound (Nagel et
 * al. 2020, arXiv 2004.10568, equation 10; AIMET solves it by gradient descent on a relaxation). With windows
 * x of the quantized network and d = (quantized - float weights) of one output channel,
 *
 *     E (d . x)^2 = d^T H d,  H = sum over windows of x x^T,
 *
 * is minimized over codes that are each weight's neighbour below or above, by the flip that lowers it most,
 * again and again until none does. A flip of weight i by step t changes the error by 2 t (H d)_i + t^2 H_ii.
 */
#ifndef QB_QUANT_ADAROUND_H
#define QB_QUANT_ADAROUND_H

#include <stddef.h>
#include <stdint.h>

/* One layer; weights [channels][depth]. */
struct qb_rounding {
    size_t channels, depth;
    const float *wei;
    const int8_t *nearest; /* rounded each alone */
    int8_t *codes;         /* out */
    int scale_count;
    const float *scales;        /* [scale_count], 1 or channels */
    const int32_t *zero_points; /* likewise */
    int low, high;              /* codes stay within, inside form */
    const double *gram;         /* [depth][depth] */
};

struct qb_rounding_result {
    size_t flips;         /* weights whose code changed */
    double before, after; /* d^T H d, summed over channels */
};

/* `scratch`: 3 * depth doubles. */
void qb_adaround(const struct qb_rounding *rounding, double *scratch, struct qb_rounding_result *out);

#endif
