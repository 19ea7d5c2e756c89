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

/* QB_REPEAT_16(i, n, statements): for (i = 0; i < n; i++), n <= 16, written out by the preprocessor. i is a
 * constant expression in the statements, so an array that is only indexed by such constants lives in
 * registers whatever the compiler's unroller does (clang 14 unrolls too late and keeps such arrays in
 * memory). Repeats nest. Under AddressSanitizer they are loops: written out, with every access checked, the
 * tails take minutes to compile. */
#if defined(__SANITIZE_ADDRESS__)
#pragma GCC diagnostic ignored "-Wsign-conversion" /* i is no constant here */
#define QB_LOOP(i, most, n, ...)                                                                             \
    for (int i = 0; i < (n) && i < (most); i++) {                                                            \
        __VA_ARGS__                                                                                          \
    }
#define QB_REPEAT_2(i, n, ...) QB_LOOP(i, 2, n, __VA_ARGS__)
#define QB_REPEAT_3(i, n, ...) QB_LOOP(i, 3, n, __VA_ARGS__)
#define QB_REPEAT_4(i, n, ...) QB_LOOP(i, 4, n, __VA_ARGS__)
#define QB_REPEAT_6(i, n, ...) QB_LOOP(i, 6, n, __VA_ARGS__)
#define QB_REPEAT_8(i, n, ...) QB_LOOP(i, 8, n, __VA_ARGS__)
#define QB_REPEAT_12(i, n, ...) QB_LOOP(i, 12, n, __VA_ARGS__)
#define QB_REPEAT_16(i, n, ...) QB_LOOP(i, 16, n, __VA_ARGS__)
#define QB_REPEAT_18(i, n, ...) QB_LOOP(i, 18, n, __VA_ARGS__)
#else
#define QB_ONCE(i, value, n, ...)                                                                            \
    {                                                                                                        \
        enum { i = value };                                                                                  \
        if (i < (n)) {                                                                                       \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }
#define QB_REPEAT_2(i, n, ...) QB_ONCE(i, 0, n, __VA_ARGS__) QB_ONCE(i, 1, n, __VA_ARGS__)
#define QB_REPEAT_3(i, n, ...) QB_REPEAT_2(i, n, __VA_ARGS__) QB_ONCE(i, 2, n, __VA_ARGS__)
#define QB_REPEAT_4(i, n, ...)                                                                               \
    QB_REPEAT_2(i, n, __VA_ARGS__) QB_ONCE(i, 2, n, __VA_ARGS__) QB_ONCE(i, 3, n, __VA_ARGS__)
#define QB_REPEAT_6(i, n, ...)                                                                               \
    QB_REPEAT_4(i, n, __VA_ARGS__) QB_ONCE(i, 4, n, __VA_ARGS__) QB_ONCE(i, 5, n, __VA_ARGS__)
#define QB_REPEAT_8(i, n, ...)                                                                               \
    QB_REPEAT_6(i, n, __VA_ARGS__) QB_ONCE(i, 6, n, __VA_ARGS__) QB_ONCE(i, 7, n, __VA_ARGS__)
#define QB_REPEAT_12(i, n, ...)                                                                              \
    QB_REPEAT_8(i, n, __VA_ARGS__)                                                                           \
    QB_ONCE(i, 8, n, __VA_ARGS__)                                                                            \
    QB_ONCE(i, 9, n, __VA_ARGS__) QB_ONCE(i, 10, n, __VA_ARGS__) QB_ONCE(i, 11, n, __VA_ARGS__)
#define QB_REPEAT_16(i, n, ...)                                                                              \
    QB_REPEAT_12(i, n, __VA_ARGS__)                                                                          \
    QB_ONCE(i, 12, n, __VA_ARGS__)                                                                           \
    QB_ONCE(i, 13, n, __VA_ARGS__) QB_ONCE(i, 14, n, __VA_ARGS__) QB_ONCE(i, 15, n, __VA_ARGS__)
#define QB_REPEAT_18(i, n, ...)                                                                              \
    QB_REPEAT_16(i, n, __VA_ARGS__) QB_ONCE(i, 16, n, __VA_ARGS__) QB_ONCE(i, 17, n, __VA_ARGS__)
#endif

QB_INLINE int32_t qb_load32(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#endif
