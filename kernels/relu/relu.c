/* The table of ReLUs: see relu.h. */
#include "kernels/relu/relu_impls.h"

const struct qb_relu_impl *const qb_relu_impls[] = {&qb_relu_ref, &qb_relu_avx2, NULL};

const struct qb_relu_impl *qb_relu_select(enum qb_isa cap)
{
    const struct qb_relu_impl *best = &qb_relu_ref;
    for (int i = 0; qb_relu_impls[i]; i++) {
        if (qb_relu_impls[i]->isa <= cap && qb_cpu_has(qb_relu_impls[i]->isa)) {
            best = qb_relu_impls[i];
        }
    }
    return best;
}
