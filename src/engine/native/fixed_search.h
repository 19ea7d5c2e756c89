/* Between fixed_tail.c and fixed_sums.c only: the offsets that are tried, QB_FIXED_OFFSET apart. */
#ifndef QB_ENGINE_NATIVE_FIXED_SEARCH_H
#define QB_ENGINE_NATIVE_FIXED_SEARCH_H

#include "kernels/tail_search.h"

enum { QB_FIXED_OFFSETS = 40 };
#define QB_FIXED_OFFSET 0x1p-19

#endif
