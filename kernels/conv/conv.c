/* The table of convolutions: see conv.h. */
#include "kernels/conv/conv_impls.h"

const struct qb_conv_impl *const qb_conv_impls[] = {
    &qb_conv_ref, &qb_conv_avx2, &qb_conv_avxvnni, &qb_conv_avx512vnni, &qb_conv_amx, NULL,
};

const struct qb_conv_impl *qb_conv_select(enum qb_isa cap)
{
    const struct qb_conv_impl *best = &qb_conv_ref;
    for (int i = 0; qb_conv_impls[i]; i++) {
        if (qb_conv_impls[i]->isa <= cap && qb_cpu_has(qb_conv_impls[i]->isa)) {
            best = qb_conv_impls[i];
        }
    }
    return best;
}
