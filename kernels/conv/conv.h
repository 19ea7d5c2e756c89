/* Convolution: u8 src (NHWC, in a frame of zero points) x s8 wei -> int32, exact -> tail -> u8 dst (NHWC).
 *
 *   acc[y][x][k] = sum over i, j, c of (src[y * stride_h + i - pad_t][x * stride_w + j - pad_l][c] - zx)
 *                                      * (wei[k][c][i][j] - zw[k])
 *
 * modulo 2^32 in every order; the caller guarantees that it fits. Any kernel size, stride, padding and
 * channel count. A fully connected layer is a convolution whose kernel is as large as its source.
 *
 * Buffers. A pixel is `step` bytes, a row `pitch` bytes. src points at pixel (0, 0); every pixel that a
 * window reaches is there, those outside 0..src_h-1 and 0..src_w-1 hold the code zx in all ic channels. ic
 * rounded up to 4 bytes of a pixel are read, the bytes beyond ic are ignored; so are bytes between the first
 * and the last of these that belong to no such pixel, which may be read too, and QB_CONV_EXTRA bytes behind
 * the last. Nothing else is read. dst: 16 * qb_blocks(oc) bytes of each pixel are written, those beyond oc
 * hold nothing of meaning; nothing else is written. res, read where tail.residual says so, is shaped like
 * dst; it must not overlap dst. No alignment is needed; rows and pixels at multiples of 64 bytes are fastest.
 *
 * Life: fill in struct qb_conv, pack once into packed_bytes() bytes (64-byte aligned), run as often as wanted
 * with scratch_bytes() bytes (64-byte aligned) of one's own. conv and packed are only read: threads share
 * them. */
#ifndef QB_KERNELS_CONV_H
#define QB_KERNELS_CONV_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "kernels/tail.h"

enum { QB_CONV_EXTRA = 32 };

struct qb_conv {
    int ic, oc, kh, kw, stride_h, stride_w;
    int src_h, src_w, pad_t, pad_l, dst_h, dst_w;
    size_t src_step, src_pitch, dst_step, dst_pitch, res_step, res_pitch; /* bytes; src_step >= 4 */
    int32_t src_zero_point;                                               /* zx, 0..255 */
    /* Weight (k, c, i, j) is wei[k * wei_o + c * wei_i + i * wei_y + j * wei_x]; needed by pack only. */
    const int8_t *wei;
    size_t wei_o, wei_i, wei_y, wei_x;
    const int32_t *wei_zero_points; /* [oc], -128..127; NULL when all are 0 */
    struct qb_tail tail;
};

typedef void qb_conv_fn(const struct qb_conv *conv, const void *packed, const uint8_t *src,
                        const uint8_t *res, uint8_t *dst, void *scratch);

/* Convolutions that follow each other in one thread may run as a chain: RESUME: the run before, with the same
 * scratch, was called with LEAVE; LEAVE: the end of dst need not be there before the next run is over. */
enum { QB_CHAIN_RESUME = 1, QB_CHAIN_LEAVE = 2 };
typedef void qb_conv_chained_fn(const struct qb_conv *conv, const void *packed, const uint8_t *src,
                                const uint8_t *res, uint8_t *dst, void *scratch, unsigned chain);

/* Kernel, packing and tile belong together: packed memory of one implementation means nothing to another. */
struct qb_conv_impl {
    const char *name; /* the ISA's */
    enum qb_isa isa;
    size_t (*packed_bytes)(const struct qb_conv *conv);
    void (*pack)(const struct qb_conv *conv, void *packed);
    size_t (*scratch_bytes)(const struct qb_conv *conv);
    const char *(*path)(
        const struct qb_conv *conv); /* the variant that run takes, for people; static storage */
    qb_conv_fn *run;
    /* NULL where nothing is gained. chains: may `second` follow `first`, whose dst is its src (reads), its
     * res or neither? */
    qb_conv_chained_fn *run_chained;
    bool (*chains)(const struct qb_conv *first, const struct qb_conv *second, bool reads);
};

/* NULL-terminated; ref first, fastest last. */
extern const struct qb_conv_impl *const qb_conv_impls[];
/* The last one that this CPU has, not above `cap`; ref at least. */
const struct qb_conv_impl *qb_conv_select(enum qb_isa cap);

#endif
