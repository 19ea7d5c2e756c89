/* The table of recodings: see recode.h. */
#include "kernels/recode/recode_impls.h"

const struct qb_recode_impl *const qb_recode_impls[] = {&qb_recode_ref, &qb_recode_avx2,
                                                        &qb_recode_avx512vnni, NULL};

const struct qb_recode_impl *qb_recode_select(enum qb_isa cap)
{
    const struct qb_recode_impl *best = &qb_recode_ref;
    for (int i = 0; qb_recode_impls[i]; i++) {
        if (qb_recode_impls[i]->isa <= cap && qb_cpu_has(qb_recode_impls[i]->isa)) {
            best = qb_recode_impls[i];
        }
    }
    return best;
}
