/* Progress of the tail of an AMX convolution: which unit comes next, and what a chained run leaves. */
#ifndef QB_KERNELS_CONV_AMX_CURSOR_H
#define QB_KERNELS_CONV_AMX_CURSOR_H

#include "kernels/conv/conv_amx.h"

/* The next unit of the tail. Segments are finished in the order in which they are filled. */
struct qb_amx_cursor {
    const struct qb_conv *conv;
    qb_amx_unit_fn *unit;
    struct qb_amx_tail tail;
    int available;       /* units whose sums are there */
    int units;           /* of a segment */
    int pixels, advance; /* of a segment, of a unit */
    int pixel;           /* of the segment */
    size_t pixel_sums;   /* int32 of a pixel */
    const int32_t *acc;
    uint8_t *dst;
    const uint8_t *res;
    const int32_t *sums;
    /* Where segments are: column of tiles, row; rows are the inner loop for ROTATE. */
    int column, y, columns, rows;
    bool by_rows;
    int segment_number; /* of BLOCKS and ROTATE, modulo QB_AMX_SEGMENTS */
    const int32_t *first_acc;
    size_t segment;
    bool linear;
    uint8_t *first_dst;
    const uint8_t *first_res;
    const int32_t *first_sums;
};

/* Sets acc, dst, res and sums from the place of the segment. */
void qb_amx_find_segment(struct qb_amx_cursor *cursor);
/* Does the next unit; one must be available. */
void qb_amx_next_unit(struct qb_amx_cursor *cursor);

/* What a chained run leaves at the start of scratch. */
struct qb_amx_left {
    struct qb_amx_cursor cursor;
    const struct qb_tile_config *config; /* loaded */
    int area;                            /* of accumulators in use */
};
_Static_assert(sizeof(struct qb_amx_left) <= QB_AMX_LEFT, "what is left takes its place in scratch");

#endif
