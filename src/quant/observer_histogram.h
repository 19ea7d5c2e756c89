/* A look inside the histogram observer, for tests and for whoever wants to draw what was seen. */
#ifndef QB_QUANT_OBSERVER_HISTOGRAM_H
#define QB_QUANT_OBSERVER_HISTOGRAM_H

#include "quant/observer.h"

/* The counts so far, [bins], and the range they cover; owned by `observer` (made by qb_observer_histogram),
 * valid until its next batch. */
const float *qb_observer_histogram_state(const struct qb_observer *observer, float *min, float *max);

#endif
