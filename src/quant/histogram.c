/* Counting and merging: see histogram.h. */
#include "quant/histogram.h"

#include <math.h>
#include <string.h>

#include "quant/extrema.h"
#include "quant/torch_math.h"

enum {
    BLOCK = 256, /* values whose bins are computed in one vector loop */
    TABLES =
        4, /* counts go to tables in turn: equal neighbours (the zeros of ReLU) do not wait for each other */
    UPSAMPLE = 16,       /* HistogramObserver.upsample_rate */
    MAX_COUNT = 1 << 24, /* where counting in float32 stands still */
};

/* Bin of each of n values; `bins` for those outside [min, max]. */
static void find_bins(const float *values, int n, float bins, float min, float max, int32_t *out)
{
    const float width = max - min;
    for (int i = 0; i < n; i++) {
        const float x = values[i];
        float t = (x - min) * bins / width;
        t = t < bins - 1 ? t : bins - 1; /* the upper end, and 0 / 0, belong to the last bin */
        t = t > 0 ? t : 0;
        t = ((x >= min) & (x <= max)) ? t : bins;
        out[i] = (int32_t)t;
    }
}

static void count_bins(const int32_t *bin, int n, size_t stride, uint32_t *table)
{
    int i = 0;
    for (; i + TABLES <= n; i += TABLES) {
        table[bin[i]]++;
        table[stride + (size_t)bin[i + 1]]++;
        table[2 * stride + (size_t)bin[i + 2]]++;
        table[3 * stride + (size_t)bin[i + 3]]++;
    }
    for (; i < n; i++) {
        table[bin[i]]++;
    }
}

void qb_histc(const float *values, size_t count, int bins, float min, float max, uint32_t *scratch,
              float *out)
{
    if (min == max && count) {
        struct qb_error ignored;
        float low, high;
        if (qb_extrema(values, count, &low, &high, &ignored) == QB_OK) {
            min = low;
            max = high;
        }
    }
    if (min == max) {
        min = (float)((double)min - 1);
        max = (float)((double)max + 1);
    }
    const size_t stride = (size_t)bins + 1;
    memset(scratch, 0, TABLES * stride * sizeof *scratch);
    for (size_t done = 0; done < count; done += BLOCK) {
        const int n = count - done < BLOCK ? (int)(count - done) : BLOCK;
        int32_t bin[BLOCK];
        find_bins(values + done, n, (float)bins, min, max, bin);
        count_bins(bin, n, stride, scratch);
    }
    for (size_t b = 0; b < (size_t)bins; b++) {
        uint64_t n = 0;
        for (size_t t = 0; t < TABLES; t++) {
            n += scratch[t * stride + b];
        }
        out[b] = n < MAX_COUNT ? (float)n : (float)MAX_COUNT;
    }
}

/* HistogramObserver._upscale_histogram: every old bin is split into 16 equal parts, and each part goes to the
 * new bin that holds its middle. bucketize counts the new edges at or below the middle; both sequences rise
 * (up to 2^20 points their rounding errors stay far below one step), so one walk along the edges finds what
 * its binary search would. The parts are added one after the other in float32, as bincount does. */
static void rebin(const float *hist, float min, float max, float new_min, float new_max, int bins, float *out)
{
    const size_t n = (size_t)bins, points = n * UPSAMPLE + 1, edges = n + 1;
    const float step = qb_torch_linspace_step(min, max, points);
    const float edge_step = qb_torch_linspace_step(new_min, new_max, edges);
    const float half = 0.5f * ((max - min) / (float)(n * UPSAMPLE));
    memset(out, 0, n * sizeof *out);
    size_t below = 0; /* edges <= middle */
    float edge = qb_torch_linspace(new_min, new_max, edge_step, edges, below);
    for (size_t i = 0; i + 1 < points; i++) {
        const float middle = qb_torch_linspace(min, max, step, points, i) + half;
        while (below < edges && edge <= middle) {
            below++;
            edge = qb_torch_linspace(new_min, new_max, edge_step, edges, below);
        }
        const size_t bin = below == 0 ? 0 : below - 1;
        out[bin < n ? bin : n - 1] += hist[i / UPSAMPLE] / (float)UPSAMPLE;
    }
}

void qb_histogram_merge(const float *hist, float min, float max, const float *update, float new_min,
                        float new_max, int bins, uint32_t *scratch, float *out)
{
    const size_t n = (size_t)bins;
    if (min == new_min && max == new_max) {
        for (size_t i = 0; i < n; i++) {
            out[i] = hist[i] + update[i];
        }
        return;
    }
    if (min == max) { /* one value so far: all of it goes to that value's bin */
        const float total = qb_torch_sum(hist, n);
        qb_histc(&min, 1, bins, new_min, new_max, scratch, out);
        for (size_t i = 0; i < n; i++) {
            out[i] = out[i] * total + update[i];
        }
        return;
    }
    rebin(hist, min, max, new_min, new_max, bins, out);
    for (size_t i = 0; i < n; i++) {
        out[i] = update[i] + out[i];
    }
}
