/* What one core can do at best: register-only loops in inline assembly (docs/measuring.md). */
#ifndef QB_MEASURE_ROOF_H
#define QB_MEASURE_ROOF_H

#include "base/cpu.h"

struct qb_roof {
    double ghz;                     /* dependent adds a second: the clock while measuring */
    double gmacs[QB_ISA_COUNT];     /* int8 multiply-accumulates, 1e9 a second; 0 where the ISA is absent */
    double f32_gmacs;               /* fp32 FMA with the widest vectors */
};

/* About 0.3 s. Best of several short loops. */
void qb_roof_measure(struct qb_roof *out);

#endif
