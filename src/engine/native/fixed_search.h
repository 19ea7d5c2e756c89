/* Between fixed_tail.c and fixed_sums.c only: how candidates are tried. */
#ifndef QB_ENGINE_NATIVE_FIXED_SEARCH_H
#define QB_ENGINE_NATIVE_FIXED_SEARCH_H

#include <math.h>

/* Steps of an offset. */
enum { QB_FIXED_OFFSETS = 40 };
#define QB_FIXED_OFFSET 0x1p-19

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
