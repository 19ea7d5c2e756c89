/* The table of average pools: see avgpool.h. */
#include "kernels/avgpool/avgpool_impls.h"

const struct qb_avgpool_impl *const qb_avgpool_impls[] = {&qb_avgpool_ref, &qb_avgpool_avx2,
                                                          &qb_avgpool_avx512vnni, NULL};

const struct qb_avgpool_impl *qb_avgpool_select(enum qb_isa cap)
{
    const struct qb_avgpool_impl *best = &qb_avgpool_ref;
    for (int i = 0; qb_avgpool_impls[i]; i++) {
        if (qb_avgpool_impls[i]->isa <= cap && qb_cpu_has(qb_avgpool_impls[i]->isa)) {
            best = qb_avgpool_impls[i];
        }
    }
    return best;
}
