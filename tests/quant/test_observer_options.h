/* Settings of the per-tensor observers, and what PyTorch 2.13.0 makes of the small set with each. */
#ifndef QB_TESTS_QUANT_OBSERVER_OPTIONS_H
#define QB_TESTS_QUANT_OBSERVER_OPTIONS_H

#include "quant_testing.h"

struct qbt_option_row {
    struct qb_observer_spec spec;
    uint32_t scale_bits; /* of the float32 */
    int zero_point;      /* outside form */
};
extern const struct qbt_option_row qbt_option_rows[];
extern const size_t qbt_option_row_count;

#endif
