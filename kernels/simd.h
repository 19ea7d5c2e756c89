/* What the files of all SIMD ISAs use. */
#ifndef QB_KERNELS_SIMD_H
#define QB_KERNELS_SIMD_H

#include <stdint.h>
#include <string.h>

#define QB_INLINE static inline __attribute__((always_inline))

/* In front of a loop of constant length over registers. */
#if defined(__clang__)
#define QB_UNROLL _Pragma("clang loop unroll(full)")
#define QB_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define QB_UNROLL _Pragma("GCC unroll 32")
#define QB_NO_UNROLL _Pragma("GCC unroll 1")
#endif

QB_INLINE int32_t qb_load32(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#endif
