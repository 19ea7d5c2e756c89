/* See deviation.h. */
#include "measure/deviation.h"

#include <math.h>

void qb_deviation_add(struct qb_deviation *deviation, const float *want, const float *got, size_t count)
{
    struct qb_deviation sum = *deviation;
    for (size_t i = 0; i < count; i++) {
        const double w = (double)want[i], g = (double)got[i];
        sum.signal += w * w;
        sum.noise += (g - w) * (g - w);
        sum.energy += g * g;
        sum.dot += g * w;
    }
    *deviation = sum;
}

double qb_deviation_sqnr(const struct qb_deviation *deviation)
{
    if (!(deviation->noise > 0)) {
        return deviation->signal > 0 ? (double)INFINITY : (double)NAN;
    }
    return 10 * log10(deviation->signal / deviation->noise);
}

double qb_deviation_cosine(const struct qb_deviation *deviation)
{
    const double norm = sqrt(deviation->signal) * sqrt(deviation->energy);
    return norm > 0 ? deviation->dot / norm : (double)NAN;
}
