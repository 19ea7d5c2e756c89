/* Between quantize.c and the files of the ISAs only. */
#ifndef QB_KERNELS_QUANTIZE_IMPLS_H
#define QB_KERNELS_QUANTIZE_IMPLS_H

#include "kernels/quantize/quantize.h"

extern const struct qb_quantize_impl qb_quantize_ref, qb_quantize_avx2, qb_quantize_avx512vnni;

#endif
