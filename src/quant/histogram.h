/* The arithmetic of PyTorch's HistogramObserver (2.5 and later) on plain arrays, bit for bit: counting,
 * merging a new range, and the search for the range to keep. Formulas: docs/schemes.md;
 * torch/ao/quantization/observer.py. */
#ifndef QB_QUANT_HISTOGRAM_H
#define QB_QUANT_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    QB_HISTOGRAM_MAX_BINS = 1 << 16
}; /* linspace and bucketize are monotone up to here (see qb_histogram_rebin) */

/* torch.histc: adds nothing, overwrites out[bins]. Values outside [min, max] and NaN are skipped. `scratch`
 * holds QB_HISTC_SCRATCH(bins) words. min == max uses the range of the values, or one unit to both sides if
 * that is empty too. */
#define QB_HISTC_SCRATCH(bins) (4 * ((size_t)(bins) + 1))
void qb_histc(const float *values, size_t count, int bins, float min, float max, uint32_t *scratch,
              float *out);

/* Moves `hist` from [min, max] to the bins of the wider [new_min, new_max] and adds it: out = update + moved.
 */
void qb_histogram_merge(const float *hist, float min, float max, const float *update, float new_min,
                        float new_max, int bins, uint32_t *scratch, float *out);

/* The part of [min, max] with the smallest estimated squared error of 256 levels (HistogramObserver's
 * _non_linear_param_search): greedy, from both ends. */
enum qb_status qb_histogram_search(const float *hist, int bins, float min, float max, float *clip_min,
                                   float *clip_max, struct qb_error *err);

#endif
