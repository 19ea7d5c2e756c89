/* Between conv.c and the files of the ISAs only. */
#ifndef QB_KERNELS_CONV_IMPLS_H
#define QB_KERNELS_CONV_IMPLS_H

#include "kernels/conv/conv.h"

extern const struct qb_conv_impl qb_conv_ref, qb_conv_avx2, qb_conv_avxvnni, qb_conv_avx512vnni, qb_conv_amx;

#endif
