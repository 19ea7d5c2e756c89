/* Between mul.c and the files of the ISAs only. */
#ifndef QB_KERNELS_MUL_IMPLS_H
#define QB_KERNELS_MUL_IMPLS_H

#include "kernels/mul/mul.h"

extern const struct qb_mul_impl qb_mul_ref, qb_mul_avx2, qb_mul_avx512vnni;

#endif
