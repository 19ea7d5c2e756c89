/* The table of products: see mul.h. */
#include "kernels/mul/mul_impls.h"

const struct qb_mul_impl *const qb_mul_impls[] = {&qb_mul_ref, &qb_mul_avx2, &qb_mul_avx512vnni, NULL};

const struct qb_mul_impl *qb_mul_select(enum qb_isa cap)
{
    const struct qb_mul_impl *best = &qb_mul_ref;
    for (int i = 0; qb_mul_impls[i]; i++) {
        if (qb_mul_impls[i]->isa <= cap && qb_cpu_has(qb_mul_impls[i]->isa)) {
            best = qb_mul_impls[i];
        }
    }
    return best;
}
