/* What the emulated tile instructions of this thread have done: see tile_emulation.c. */
#ifndef QB_TEST_KERNELS_TILE_EMULATION_H
#define QB_TEST_KERNELS_TILE_EMULATION_H

#include <stdbool.h>

struct tile_counts {
    long configs, loads, crossings, stores, dots, short_dots; /* crossings: rows of loads over two cache
                                                               * lines; short: of 8 rows or fewer */
};
/* Since the last call. */
struct tile_counts tile_counts_take(void);

#endif
