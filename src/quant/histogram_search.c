/* The range to keep: see qb_histogram_search in histogram.h. Precisions follow HistogramObserver: Python
 * scalars are double and are rounded to float32 where they meet a tensor. */
#include <math.h>
#include <stdlib.h>

#include "quant/histogram.h"
#include "quant/torch_math.h"

enum { LEVELS = 256 }; /* 2 ** bits of the dtype, whatever quant_min, quant_max and reduce_range say */

/* Index of the level that holds `x`, torch.div(..., rounding_mode="floor") and clamp. PyTorch gets the exact
 * floor by way of fmod; so does a division in double, as the quotient of two floats below 2^24 differs from
 * an integer by more than a double's rounding, or not at all. */
static float level_of(float x, float width)
{
    double q = (double)x / (double)width;
    q = q < LEVELS - 1 ? q : LEVELS - 1;
    q = q > 0 ? q : 0;
    return (float)(int)q;
}

/* density * integral of x^2 from `from` to `to`. */
static float norm(float from, float to, float density)
{
    return density * ((to * to * to - from * from * from) / 3.0f);
}

/* HistogramObserver._compute_quantization_error of the bins start..end; work[bins] is scratch. */
static double error_of(const float *hist, int bins, double bin_width, int start, int end, float *work)
{
    const double level_width = bin_width * (double)(end - start + 1) / LEVELS;
    if (level_width == 0) {
        return 0;
    }
    const float width = (float)level_width, half = (float)(level_width / 2), bin = (float)bin_width;
    if (width == 0) {
        return NAN; /* 0 / 0 at the first bin */
    }
    for (int i = 0; i < bins; i++) {
        const float begin = (float)(i - start) * bin, stop = begin + bin;
        const float first = level_of(begin, width), last = level_of(stop, width);
        const float first_center = (first + 0.5f) * width, last_center = last * width + half;
        const float density = hist[i] / bin;
        float sum = norm(begin - first_center, half, density);
        sum += (last - first - 1) * norm(-half, half, density);
        sum += norm(-half, stop - last_center, density);
        work[i] = sum;
    }
    return (double)qb_torch_sum(work, (size_t)bins);
}

enum qb_status qb_histogram_search(const float *hist, int bins, float min, float max, float *clip_min,
                                   float *clip_max, struct qb_error *err)
{
    const size_t n = (size_t)bins;
    float *const cumulative = malloc(2 * n * sizeof *cumulative);
    if (!cumulative) {
        return qb_fail_memory(err, 2 * n * sizeof *cumulative);
    }
    float *const work = cumulative + n;
    double running = 0;
    for (size_t i = 0; i < n; i++) { /* torch.cumsum: double inside, float32 stored */
        running += (double)hist[i];
        cumulative[i] = (float)running;
    }
    const double total = (double)qb_torch_sum(hist, n);
    const double bin_width = ((double)max - (double)min) / bins, quantile_step = 1e-5;
    double alpha = 0, beta = 1, best = INFINITY;
    int start = 0, end = bins - 1, left = 0, right = bins - 1;
    while (alpha < beta) {
        const double next_alpha = alpha + quantile_step, next_beta = beta - quantile_step;
        const float low = (float)(next_alpha * total), high = (float)(next_beta * total);
        /* PyTorch restarts both scans at start and end; as the thresholds only move inwards, each goes on
         * from where it stood. */
        left = left < start ? start : left < end ? left : end;
        while (left < end && cumulative[left] < low) {
            left++;
        }
        right = right > end ? end : right > start ? right : start;
        while (right > start && cumulative[right] > high) {
            right--;
        }
        int next_start = start, next_end = end;
        if (left - start > end - right) {
            next_start = left;
            alpha = next_alpha;
        } else {
            next_end = right;
            beta = next_beta;
        }
        if (next_start == start && next_end == end) {
            continue;
        }
        const double error = error_of(hist, bins, bin_width, next_start, next_end, work);
        if (error > best) {
            break;
        }
        best = error;
        start = next_start;
        end = next_end;
    }
    const float width = (max - min) / (float)bins;
    *clip_min = min + width * (float)start;
    *clip_max = min + width * (float)(end + 1);
    free(cumulative);
    return QB_OK;
}
