/* Between relu.c and the files of the ISAs only. */
#ifndef QB_KERNELS_RELU_IMPLS_H
#define QB_KERNELS_RELU_IMPLS_H

#include "kernels/relu/relu.h"

extern const struct qb_relu_impl qb_relu_ref, qb_relu_avx2;

#endif
