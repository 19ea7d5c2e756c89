/* Smallest and largest value of a batch: the first step of every observer. */
#ifndef QB_QUANT_EXTREMA_H
#define QB_QUANT_EXTREMA_H

#include <stddef.h>

#include "base/status.h"

/* torch.aminmax of count >= 1 values; infinities count. A NaN, which would spoil every later batch, is
 * QB_EINPUT naming its index (PyTorch lets it through to a scale of NaN). */
enum qb_status qb_extrema(const float *values, size_t count, float *min, float *max, struct qb_error *err);

#endif
