/* Between avgpool.c and the files of the ISAs only. */
#ifndef QB_KERNELS_AVGPOOL_IMPLS_H
#define QB_KERNELS_AVGPOOL_IMPLS_H

#include "kernels/avgpool/avgpool.h"

extern const struct qb_avgpool_impl qb_avgpool_ref, qb_avgpool_avx2, qb_avgpool_avx512vnni;

#endif
