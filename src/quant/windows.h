/* What a convolution or dense layer sees of its source: windows of `depth` values, one an output pixel, in
 * the order of the weights of one output channel. Two statistics of them over a calibration set are all that
 * bias correction and weight rounding need, because layers are linear: the mean window, and the Gram matrix
 * of windows of codes. Both are exact sums or sums in a fixed order: threads and batches change nothing. */
#ifndef QB_QUANT_WINDOWS_H
#define QB_QUANT_WINDOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/graph.h"

struct qb_windows {
    struct qb_shape src, dst; /* a dense layer is a 1x1 convolution of one pixel */
    int kh, kw, stride_h, stride_w, pad_t, pad_l;
    size_t depth;
};
struct qb_windows qb_windows_of(const struct qb_node *node, struct qb_shape src);

/* mean[depth] over the windows of `images` images, out of the sums over images at each position of the source
 * (NHWC). Padding counts as 0. */
void qb_windows_mean(const struct qb_windows *windows, const double *sums, double images, double *mean);
/* Share of the windows in which each of the kh * kw taps lies inside the image. */
void qb_windows_coverage(const struct qb_windows *windows, double *coverage);

/* gram[i][j] = sum over windows of x_i x_j, x = code - zero_point, exact; j <= i are kept. */
struct qb_gram;
/* NULL: out of memory. */
struct qb_gram *qb_gram_create(const struct qb_windows *windows);
void qb_gram_add(struct qb_gram *gram, const uint8_t *image, int32_t zero_point);
/* The full symmetric matrix, minus n mean mean^T when `centred`: what is left once a bias takes care of the
 * mean. */
void qb_gram_matrix(struct qb_gram *gram, const double *mean, bool centred, double *out);
/* Windows seen. */
double qb_gram_rows(const struct qb_gram *gram);
/* Accepts NULL. */
void qb_gram_free(struct qb_gram *gram);

#endif
