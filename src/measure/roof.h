/* What one core can do at best: register-only loops in inline assembly (docs/measuring.md). */
#ifndef QB_MEASURE_ROOF_H
#define QB_MEASURE_ROOF_H

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

/* Least microseconds that `macs` multiply-accumulates can take under a roof of `gmacs`, and the share of the
 * roof that a measured time reaches (0.8 = 80 %). NAN when gmacs or us is not above 0. A share above 1 is
 * suspicious (padding that a kernel skips is counted, about 5 % of a network): whoever shows the number flags
 * it as invalid. */
double qb_roof_bound_us(double gmacs, double macs);
double qb_roof_share(double gmacs, double macs, double us);

#endif
