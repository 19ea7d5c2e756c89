/* Progress of the tail: see conv_amx_cursor.h. Plain C. */
#include "kernels/conv/conv_amx_cursor.h"

static void find_segment(struct qb_amx_cursor *k)
{
    const struct qb_conv *const c = k->conv;
    const int begin = k->column * k->pixels, last = c->dst_w - k->pixels;
    const size_t x = (size_t)(begin < last ? begin : last), y = (size_t)k->y;
    k->left = k->units;
    k->acc = k->first_acc + (size_t)(k->linear ? k->y : k->number) * k->segment;
    k->dst = k->first_dst + y * c->dst_pitch + x * c->dst_step;
    k->res = k->first_res ? k->first_res + y * c->res_pitch + x * c->res_step : NULL;
    k->sums = k->first_sums ? k->first_sums + y * (size_t)c->dst_w + x : NULL;
}

static struct qb_amx_move move_of(const struct qb_amx_cursor *k, int pixels)
{
    const size_t n = (size_t)pixels;
    return (struct qb_amx_move){.acc = n * k->channels,
                                .dst = n * k->conv->dst_step,
                                .res = k->first_res ? n * k->conv->res_step : 0,
                                .sums = k->first_sums ? n : 0};
}

void qb_amx_cursor_start(struct qb_amx_cursor *k, int together)
{
    const int advance = QB_AMX_UNIT / together;
    k->channels = (size_t)together * QB_BLOCK;
    k->available = k->column = k->y = k->number = 0;
    k->units = (k->pixels + advance - 1) / advance;
    /* The last unit reaches back over pixels that are done already rather than be smaller. */
    k->move[0] = move_of(k, k->pixels - advance * (k->units - 1));
    k->move[1] = move_of(k, advance);
    find_segment(k);
}

/* Behind the last one the next pass begins: other channels. */
static void next_segment(struct qb_amx_cursor *k)
{
    bool pass;
    k->number = (k->number + 1) % QB_AMX_SEGMENTS;
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
        k->tail.bia += k->channels;
        k->tail.scale += k->channels;
        k->tail.comp += k->channels;
        k->tail.minus_zw += k->tail.minus_zw ? k->channels : 0;
        k->first_dst += k->channels;
        k->first_res += k->first_res ? k->channels : 0;
    }
    find_segment(k);
}

void qb_amx_next_unit(struct qb_amx_cursor *k)
{
    k->unit(&k->tail, k->acc, k->dst, k->res, k->sums);
    k->available--;
    if (--k->left == 0) {
        next_segment(k);
        return;
    }
    const struct qb_amx_move *const move = &k->move[k->left > 1];
    k->acc += move->acc;
    k->dst += move->dst;
    k->res += move->res;
    k->sums += move->sums;
}
