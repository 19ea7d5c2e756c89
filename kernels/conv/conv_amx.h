/* What the files of the AMX convolution share: how a convolution is cut into tiles (conv_amx_plan.c), the
 * loops over tiles (conv_amx.c), and the units of the tail that run between their instructions
 * (conv_amx_tail.c).
 *
 * The rows of a tile are output pixels, read straight from the frame: row m starts stride_w * src_step bytes
 * behind row m - 1. Its columns are `depth` contiguous bytes of a kernel row (several pixels; or one pixel
 * where steps do not allow more): a chunk. All chunks of a convolution are equally deep; where the last one
 * of a row overlaps the one before, its weights are 0, as they are over gaps between pixels. */
#ifndef QB_KERNELS_CONV_AMX_H
#define QB_KERNELS_CONV_AMX_H

#include <stdbool.h>

#include "kernels/conv/conv.h"
#include "kernels/conv/tile.h"

enum qb_amx_form {
    QB_AMX_NONE,   /* no tiles: the AVX512-VNNI kernel */
    QB_AMX_BLOCKS, /* 2 tiles of pixels x 2 blocks of channels at a time; tiles end with their row */
    QB_AMX_LINEAR, /* the same; tiles run on through the frame, pixels between rows are computed in vain */
    QB_AMX_ROTATE, /* 3 kernel rows of one chunk, 16 channels: a tile of src serves the three rows of dst that
                    * it touches, weights stay in registers */
};

/* Start of the packed memory. */
struct qb_amx_plan {
    struct qb_tile_config config;
    enum qb_amx_form form;
    int32_t rows, depth; /* of a tile of src */
    int32_t chunks;      /* of a window */
    int32_t columns;     /* tiles of a row; LINEAR: 1 */
    int32_t tiles;       /* of dst */
    int32_t period;      /* LINEAR: pixels from row to row */
    int32_t positions;   /* LINEAR: pixels from the first to the last */
    /* From the start of packed memory. */
    size_t offsets;  /* int32 [chunks]: bytes from the window's first pixel */
    size_t comp;     /* int32 [16 * blocks], see conv_vnni.h */
    size_t minus_zw; /* int32 [16 * blocks] */
    size_t wei;      /* [block pair][chunk][block of the pair][depth / 4][16][4] */
    size_t bytes;    /* of packed memory */
};

/* What stands before everything else in packed memory; with form NONE nothing else is set. */
enum { QB_AMX_HEADER = (sizeof(struct qb_amx_plan) + 63) / 64 * 64 };
struct qb_amx_plan qb_amx_plan_make(const struct qb_conv *conv);
/* May a chained run of `second` finish `first`? See conv.h. */
bool qb_amx_chains(const struct qb_conv *first, const struct qb_conv *second, bool reads);
void qb_amx_pack(const struct qb_conv *conv, const struct qb_amx_plan *plan, void *packed);

/* Accumulators wait for their tail in segments: of a tile (LINEAR: of a row of pixels). A segment of `pixels`
 * of 1 or 2 blocks and the gap behind it, in int32. Without gaps the sums of two tiles would lie 4096 bytes
 * apart, and loads would wait for stores to the others. */
enum { QB_AMX_SEGMENTS = 4, QB_AMX_GAP = 48 };
static inline size_t qb_amx_segment(const struct qb_amx_plan *plan, int blocks)
{
    return plan->form == QB_AMX_LINEAR ? (size_t)(plan->period * blocks * QB_BLOCK)
                                       : (size_t)(plan->rows * blocks * QB_BLOCK + QB_AMX_GAP);
}

/* Scratch, in bytes: what a chained run leaves to the next; two areas of accumulators, used in turns by the
 * runs of a chain (LINEAR is for pictures that fit one); window sums, see conv_vnni.h. */
enum {
    QB_AMX_LEFT = 512,
    QB_AMX_POSITIONS = 144,
    QB_AMX_AREA = QB_AMX_POSITIONS * 2 * QB_BLOCK * 4 + 576,
    QB_AMX_SUMS = QB_AMX_LEFT + 2 * QB_AMX_AREA
};

/* Channels of a pixel that lie together in the accumulators: 1 or 2 blocks. A unit of the tail is 8 vectors:
 * 8 pixels of one block, or 4 of two. */
enum { QB_AMX_UNIT = 8 };

struct qb_amx_tail {
    const struct qb_tail *tail;
    size_t dst_step, res_step;
    const float *bia, *scale;       /* of the first block, as the next two */
    const int32_t *comp, *minus_zw; /* minus_zw: NULL when all zw are 0 */
};
/* acc: 64-byte aligned; sums: of the first pixel. */
typedef void qb_amx_unit_fn(const struct qb_amx_tail *tail, const int32_t *acc, uint8_t *dst,
                            const uint8_t *res, const int32_t *sums);
/* No zero points: the shorter units. */
bool qb_amx_plain(const struct qb_conv *conv);
qb_amx_unit_fn *qb_amx_unit(const struct qb_conv *conv, int blocks);

#endif
