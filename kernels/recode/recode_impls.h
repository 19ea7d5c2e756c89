/* Between recode.c and the files of the ISAs only. */
#ifndef QB_KERNELS_RECODE_IMPLS_H
#define QB_KERNELS_RECODE_IMPLS_H

#include "kernels/recode/recode.h"

extern const struct qb_recode_impl qb_recode_ref, qb_recode_avx2, qb_recode_avx512vnni;

#endif
