/* What one core can do at best: register-only loops in inline assembly (docs/measuring.md). */
#ifndef QB_MEASURE_ROOF_H
#define QB_MEASURE_ROOF_H

#include <stddef.h>

#include "base/cpu.h"

struct qb_roof {
    double ghz;                 /* dependent adds a second: the clock while measuring */
    double gmacs[QB_ISA_COUNT]; /* int8 multiply-accumulates, 1e9 a second; 0 where the ISA is absent, and for
                                   ref */
    double f32_gmacs[QB_ISA_COUNT]; /* fp32 FMA with the vectors of that ISA; 0 likewise */
};

/* About 0.4 s on the calling thread, which should be bound. Best of many loops of half a millisecond: a probe
 * that was preempted would certify too low a roof. */
void qb_roof_measure(struct qb_roof *out);

/* How fast one core reads: the widest loads it has, over a power of two of bytes that fits half of its first
 * cache, half of its second, and no cache at all. */
enum qb_read_level { QB_READ_L1, QB_READ_L2, QB_READ_MEMORY, QB_READ_LEVELS };
struct qb_read_rates {
    size_t bytes[QB_READ_LEVELS];  /* that are read again and again; 0: the size of a cache is not known */
    double gbytes[QB_READ_LEVELS]; /* 1e9 bytes a second; 0 where bytes is */
};
const char *qb_read_level_name(enum qb_read_level level);
/* About 0.2 s on the calling thread, which should be bound. Takes two to four times the last
 * cache in memory, at most 512 MiB: where that is not twice the cache, or cannot be had, there is no third
 * number. */
void qb_read_rates_measure(struct qb_read_rates *out);

/* Least microseconds that `macs` multiply-accumulates can take under a roof of `gmacs`, and the share of the
 * roof that a measured time reaches (0.8 = 80 %). NAN when gmacs or us is not above 0. A share above 1 is
 * suspicious (padding that a kernel skips is counted, about 5 % of a network): whoever shows the number flags
 * it as invalid. */
double qb_roof_bound_us(double gmacs, double macs);
double qb_roof_share(double gmacs, double macs, double us);

#endif
