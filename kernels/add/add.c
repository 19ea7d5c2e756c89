/* The table of additions: see add.h. */
#include "kernels/add/add_impls.h"

const struct qb_add_impl *const qb_add_impls[] = {&qb_add_ref, &qb_add_avx2, &qb_add_avx512vnni, NULL};

const struct qb_add_impl *qb_add_select(enum qb_isa cap)
{
    const struct qb_add_impl *best = &qb_add_ref;
    for (int i = 0; qb_add_impls[i]; i++) {
        if (qb_add_impls[i]->isa <= cap && qb_cpu_has(qb_add_impls[i]->isa)) {
            best = qb_add_impls[i];
        }
    }
    return best;
}
