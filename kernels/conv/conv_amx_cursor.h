/* Progress of the tail of an AMX convolution: which unit comes next, and what a chained run leaves. */
#ifndef QB_KERNELS_CONV_AMX_CURSOR_H
#define QB_KERNELS_CONV_AMX_CURSOR_H

#include "kernels/conv/conv_amx.h"

/* From one unit to the next: int32, bytes, bytes, pixels. */
struct qb_amx_move {
    size_t acc, dst, res, sums;
};

/* Segments are finished in the order in which they are filled. */
struct qb_amx_cursor {
    /* The next unit. */
    qb_amx_unit_fn *unit;
    struct qb_amx_tail tail;
    const int32_t *acc;
    uint8_t *dst;
    const uint8_t *res;
    const int32_t *sums;
    int available;              /* units whose sums are there */
    int units, left;            /* of a segment, of this one */
    struct qb_amx_move move[2]; /* to the last unit of a segment, to others */
    /* Where segments are: column of tiles, row; rows are the inner loop for ROTATE. */
    const struct qb_conv *conv;
    int pixels; /* of a segment */
    int column, y, columns, rows;
    bool by_rows, linear;
    int number; /* of the segment, modulo QB_AMX_SEGMENTS; LINEAR: the row */
    size_t segment, channels;
    const int32_t *first_acc;
    uint8_t *first_dst;
    const uint8_t *first_res;  /* NULL: no residual */
    const int32_t *first_sums; /* NULL: no zero points of weights */
};

/* The place is the first segment of `together` blocks of channels; all below `linear`, tail and unit are set.
 */
void qb_amx_cursor_start(struct qb_amx_cursor *cursor, int together);
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
