/* Smallest and largest value: see extrema.h. */
#include "quant/extrema.h"

/* Independent lanes of fixed number: min and max of floats are no reduction that a compiler may reorder (NaN,
 * -0), but lane by lane they are plain vector instructions. */
enum { LANES = 16 };

enum qb_status qb_extrema(const float *values, size_t count, float *min, float *max, struct qb_error *err)
{
    float low[LANES], high[LANES];
    int nan[LANES] = {0};
    for (int k = 0; k < LANES; k++) {
        low[k] = high[k] = values[0];
    }
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            const float x = values[i + (size_t)k];
            low[k] = x < low[k] ? x : low[k];
            high[k] = x > high[k] ? x : high[k];
            nan[k] |= x != x;
        }
    }
    for (int k = 0; i < count; i++, k++) {
        const float x = values[i];
        low[k] = x < low[k] ? x : low[k];
        high[k] = x > high[k] ? x : high[k];
        nan[k] |= x != x;
    }
    for (int k = 1; k < LANES; k++) {
        low[0] = low[k] < low[0] ? low[k] : low[0];
        high[0] = high[k] > high[0] ? high[k] : high[0];
        nan[0] |= nan[k];
    }
    if (nan[0]) {
        size_t first = 0;
        while (values[first] == values[first]) {
            first++;
        }
        return qb_fail(err, QB_EINPUT, "value %zu of %zu is NaN; finite numbers are expected", first, count);
    }
    *min = low[0];
    *max = high[0];
    return QB_OK;
}
