/* The tile instructions of AMX-INT8, as many as the convolution needs. Source: Intel SDM vol. 1, ch. 18.
 *
 * Eight registers of at most 16 rows x 64 bytes; QB_TILE_CONFIG gives each its size. QB_TILE_DOT(c, a, b):
 * c[m][n] += sum over k of a[m][k] * b[k / 4][4 n + k % 4], int32 += u8 * s8, wraps. Register numbers are
 * literals.
 *
 * The clobbers keep compilers from moving loads and stores of a tail across: the interleaving is what is
 * written. With QB_TILE_EMULATED the same source works on the functions below, which a test defines and which
 * check what the hardware would refuse (tests/kernels/tile_emulation.c). */
#ifndef QB_KERNELS_CONV_TILE_H
#define QB_KERNELS_CONV_TILE_H

#include <stddef.h>
#include <stdint.h>

enum { QB_TILE_ROWS = 16, QB_TILE_BYTES = 64, QB_TILES = 8 };

/* Memory operand of ldtilecfg. */
struct qb_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

#ifdef QB_TILE_EMULATED
void qb_tile_config(const struct qb_tile_config *config);
void qb_tile_release(void);
void qb_tile_zero(int t);
void qb_tile_load(int t, const void *from, size_t stride);
void qb_tile_store(int t, void *to, size_t stride);
void qb_tile_dot(int c, int a, int b);
#define QB_TILE_CONFIG(config) qb_tile_config(config)
#define QB_TILE_RELEASE() qb_tile_release()
#define QB_TILE_ZERO(t) qb_tile_zero(t)
#define QB_TILE_LOAD(t, from, stride) qb_tile_load(t, from, stride)
#define QB_TILE_STORE(t, to, stride) qb_tile_store(t, to, stride)
#define QB_TILE_DOT(c, a, b) qb_tile_dot(c, a, b)
#else
#define QB_TILE_CONFIG(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(config)) : "memory")
#define QB_TILE_RELEASE() __asm__ volatile("tilerelease" ::: "memory")
#define QB_TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t ::: "memory")
#define QB_TILE_LOAD(t, from, stride)                                                                        \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"((size_t)(stride)) : "memory")
#define QB_TILE_STORE(t, to, stride)                                                                         \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((size_t)(stride)) : "memory")
#define QB_TILE_DOT(c, a, b) __asm__ volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")
#endif

#endif
