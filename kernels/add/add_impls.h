/* Between add.c and the files of the ISAs only. */
#ifndef QB_KERNELS_ADD_IMPLS_H
#define QB_KERNELS_ADD_IMPLS_H

#include "kernels/add/add.h"

extern const struct qb_add_impl qb_add_ref, qb_add_avx2, qb_add_avx512vnni;

#endif
