/* Progress of the tail: see conv_amx_cursor.h. Plain C. */
#include "kernels/conv/conv_amx_cursor.h"

void qb_amx_find_segment(struct qb_amx_cursor *k)
{
    const struct qb_conv *const c = k->conv;
    const int begin = k->column * k->pixels, last = c->dst_w - k->pixels;
    const size_t x = (size_t)(begin < last ? begin : last), y = (size_t)k->y;
    k->acc = k->first_acc + (size_t)(k->linear ? k->y : k->segment_number) * k->segment;
    k->dst = k->first_dst + y * c->dst_pitch + x * c->dst_step;
    k->res = k->first_res ? k->first_res + y * c->res_pitch + x * c->res_step : NULL;
    k->sums = k->first_sums ? k->first_sums + y * (size_t)c->dst_w + x : NULL;
}

static void next_segment(struct qb_amx_cursor *k)
{
    bool pass;
    k->pixel = 0;
    k->segment_number = (k->segment_number + 1) % QB_AMX_SEGMENTS;
    if (k->by_rows) {
        k->y = k->y + 1 < k->rows ? k->y + 1 : 0;
        k->column += k->y == 0;
        pass = k->column == k->columns;
        k->column = pass ? 0 : k->column;
    } else {
        k->column = k->column + 1 < k->columns ? k->column + 1 : 0;
        k->y += k->column == 0;
        pass = k->y == k->rows;
        k->y = pass ? 0 : k->y;
    }
    if (pass) {
        const size_t channels = k->pixel_sums;
        k->tail.bia += channels;
        k->tail.scale += channels;
        k->tail.comp += channels;
        k->tail.minus_zw += k->tail.minus_zw ? channels : 0;
        k->first_dst += channels;
        k->first_res += k->first_res ? channels : 0;
    }
    qb_amx_find_segment(k);
}

/* The last unit of a segment reaches back over pixels that are done already rather than be smaller. */
void qb_amx_next_unit(struct qb_amx_cursor *k)
{
    const int last = k->pixels - k->advance;
    const size_t p = (size_t)(k->pixel < last ? k->pixel : last);
    k->unit(&k->tail, k->acc + p * k->pixel_sums, k->dst + p * k->tail.dst_step,
            k->res ? k->res + p * k->tail.res_step : NULL, k->sums ? k->sums + p : NULL);
    k->available--;
    k->pixel += k->advance;
    if (k->pixel >= k->pixels) {
        next_segment(k);
    }
}
