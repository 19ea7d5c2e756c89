/* How searches for constants try candidates: the nearest first, on both sides in turn. For kernels/tail.c and
 * src/engine/native/fixed_*.c. */
#ifndef QB_KERNELS_TAIL_SEARCH_H
#define QB_KERNELS_TAIL_SEARCH_H

#include <math.h>

/* The float `ulps` units in the last place away. */
static inline float qb_moved(float x, int ulps)
{
    for (int i = 0; i < ulps; i++) {
        x = nextafterf(x, INFINITY);
    }
    for (int i = 0; i > ulps; i--) {
        x = nextafterf(x, -INFINITY);
    }
    return x;
}

/* 0, 1, -1, 2, -2 ... */
static inline int qb_outwards(int i)
{
    return i % 2 ? (i + 1) / 2 : -(i / 2);
}

#endif
