/* Monotonic time. */
#ifndef QB_BASE_CLOCK_H
#define QB_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds since an arbitrary start (CLOCK_MONOTONIC). */
uint64_t qb_now_ns(void);

#endif
