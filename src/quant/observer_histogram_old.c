/* histogram_2_0, histogram_2_4: PyTorch's HistogramObserver as it was in the releases 2.0 to 2.3 and 2.4
 * (torch/ao/quantization/observer.py). Counting and the search for the range to keep are those of later
 * releases (histogram.h); these merge a batch that widens the range in another way, and 2.4 forgets the
 * batches that do not. */
#include <math.h>

#include "quant/histogram.h"
#include "quant/observer_histogram.h"

enum { UPSAMPLE = 128 }; /* upsample_rate */

/* The grid on which the old bins, UPSAMPLE cells each, and the new ones, `cells` each, both end where a cell
 * does. It starts at the new minimum, the old bins at cell `start`; for that the maximum goes up. */
struct grid {
    float cells, start, max; /* whole numbers the first two */
};

/* _adjust_min_max, in float32. Up to 2.2 it multiplies before it divides, which is the same where the factors
 * are powers of two. */
static struct grid fit(const struct qb_histogram *o, float min, float max)
{
    const float width = o->max - o->min, cells = ceilf((max - min) / width * UPSAMPLE);
    return (struct grid){
        .cells = cells,
        .start = nearbyintf((o->min - min) / width * (float)o->bins * UPSAMPLE),
        .max = max + (cells / UPSAMPLE * width - (max - min)),
    };
}

/* _combine_histograms: the integral of the old counts along the grid, at the ends of the new bins, as
 * differences. It is summed cell by cell in double; where a difference starts it was rounded to float32. */
static void combine(struct qb_histogram *o, const struct grid *grid)
{
    const size_t bins = (size_t)o->bins, each = (size_t)grid->cells, used = bins * UPSAMPLE;
    const size_t room = bins * each - used; /* roundings do not move the old bins beyond the end */
    const size_t start = (size_t)grid->start < room ? (size_t)grid->start : room;
    double integral = 0;
    float before = 0;
    for (size_t j = 0, cell = 0; j < bins; j++) {
        while (cell < used && start + cell < (j + 1) * each) {
            integral += (double)o->hist[cell++ / UPSAMPLE];
        }
        o->merged[j] = o->update[j] + (float)((integral - (double)before) / UPSAMPLE);
        before = (float)integral;
    }
}

static void reset(struct qb_histogram *o, const float *values, size_t count, float min, float max)
{
    o->min = min;
    o->max = max;
    qb_histc(values, count, o->bins, min, max, o->scratch, o->hist);
}

/* A batch of the extremes low and high; `forgets`: 2.4. A grid too large for `most` bytes starts the
 * histogram anew: 1 GB in 2.4; the others run out of memory somewhere below what is meant here. */
static void merge(struct qb_histogram *o, const float *values, size_t count, float low, float high,
                  bool forgets)
{
    const float min = o->min < low ? o->min : low, max = o->max > high ? o->max : high;
    const float most = forgets ? 1e9F : 1e12F;
    const bool first = o->min > o->max, narrow = forgets && o->max - o->min < 1e-6F;
    if (first || narrow || o->min == o->max) {
        reset(o, values, count, low, high);
        return;
    }
    const struct grid grid = fit(o, min, max);
    qb_histc(values, count, o->bins, min, grid.max, o->scratch, o->update);
    if (min == o->min && grid.max == o->max) {
        for (int i = 0; i < o->bins && !forgets; i++) {
            o->hist[i] = o->update[i] + o->hist[i];
        }
    } else if (!(grid.cells * (float)o->bins * 4 <= most)) {
        reset(o, values, count, low, high);
    } else {
        combine(o, &grid);
        qb_histogram_turn(o, min, grid.max);
    }
}

static void take_2_0(struct qb_histogram *o, const float *values, size_t count, float min, float max)
{
    merge(o, values, count, min, max, false);
}

static enum qb_status observe_2_0(struct qb_observer *observer, const float *values, size_t count,
                                  struct qb_error *err)
{
    return qb_histogram_observe(observer, values, count, take_2_0, err);
}

static enum qb_status create_2_0(const struct qb_observer_spec *spec, size_t channels,
                                 struct qb_observer **out, struct qb_error *err)
{
    return qb_histogram_create(&qb_observer_histogram_2_0, spec, channels, out, err);
}

static void take_2_4(struct qb_histogram *o, const float *values, size_t count, float min, float max)
{
    merge(o, values, count, min, max, true);
}

static enum qb_status observe_2_4(struct qb_observer *observer, const float *values, size_t count,
                                  struct qb_error *err)
{
    return qb_histogram_observe(observer, values, count, take_2_4, err);
}

static enum qb_status create_2_4(const struct qb_observer_spec *spec, size_t channels,
                                 struct qb_observer **out, struct qb_error *err)
{
    return qb_histogram_create(&qb_observer_histogram_2_4, spec, channels, out, err);
}

const struct qb_observer_ops qb_observer_histogram_2_0 = {
    .name = "histogram_2_0",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS,
    .twice_behind_fused_relu = true,
    .create = create_2_0,
    .observe = observe_2_0,
    .range = qb_histogram_range,
    .destroy = qb_histogram_destroy,
};

const struct qb_observer_ops qb_observer_histogram_2_4 = {
    .name = "histogram_2_4",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS,
    .twice_behind_fused_relu = true,
    .create = create_2_4,
    .observe = observe_2_4,
    .range = qb_histogram_range,
    .destroy = qb_histogram_destroy,
};
