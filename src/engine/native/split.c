/* Dividing the steps of a plan among workers: see split.h. */
#include "engine/native/split.h"

/* Least work of a step that is divided, in multiply-accumulates or bytes: below it, a tenth of a microsecond
 * of the fastest kernels, meeting costs what is gained. */
enum { LEAST_MACS = 32 * 1024, LEAST_BYTES = 2 * 1024 };

enum axis { AXIS_NONE, AXIS_ROWS, AXIS_BLOCKS };

/* Part `index` of `parts` equal shares of 0 .. size - 1. */
struct range {
    int first, count;
};

static struct range share(int size, int parts, int index)
{
    const int first = (int)((int64_t)size * index / parts), end = (int)((int64_t)size * (index + 1) / parts);
    return (struct range){first, end - first};
}

static bool is_conv(const struct qb_native_step *s)
{
    return s->op == QB_QOP_CONV || s->op == QB_QOP_DENSE;
}

static bool is_worth_it(const struct qb_native_plan *plan, const struct qb_native_step *s)
{
    const struct qb_shape dst = plan->tensors[s->node].shape;
    const size_t count = qb_shape_count(dst);
    if (is_conv(s)) {
        const struct qb_conv *const c = s->args;
        return count * (size_t)c->kh * (size_t)c->kw * (size_t)c->ic >= LEAST_MACS;
    }
    return count >= LEAST_BYTES;
}

/* A range of rows must reach a row of the picture: kernels are not asked to work on padding alone. */
static bool reaches_picture(const struct qb_conv *c, struct range rows)
{
    return rows.first * c->stride_h - c->pad_t < c->src_h;
}

/* The axis whose largest share is the smaller one; rows when in doubt: a worker then mostly reads what it
 * wrote. */
static enum axis choose(const struct qb_native_plan *plan, const struct qb_native_step *s, int threads)
{
    if (s->floats || !is_worth_it(plan, s)) {
        return AXIS_NONE;
    }
    const struct qb_shape dst = plan->tensors[s->node].shape;
    const int blocks = is_conv(s) ? qb_blocks(dst.c) : 1;
    const double by_rows = (double)((dst.h + threads - 1) / threads) / dst.h,
                 by_blocks = (double)((blocks + threads - 1) / threads) / blocks;
    const bool rows =
        dst.h > 1 && (!is_conv(s) || reaches_picture(s->args, share(dst.h, threads, threads - 1)));
    if (rows && by_rows <= by_blocks) {
        return AXIS_ROWS;
    }
    return blocks > 1 ? AXIS_BLOCKS : rows ? AXIS_ROWS : AXIS_NONE;
}

/* The rows above those that the range needs are no longer part of the picture. */
static size_t cut_rows(struct qb_conv *c, struct range rows)
{
    const int top = rows.first * c->stride_h - c->pad_t, above = top > 0 ? top : 0;
    c->dst_h = rows.count;
    c->pad_t = above - top;
    c->src_h -= above;
    return (size_t)above * c->src_pitch;
}

static void cut_blocks(struct qb_conv *c, struct range blocks)
{
    const int first = blocks.first * QB_BLOCK, end = first + blocks.count * QB_BLOCK;
    c->oc = (end < c->oc ? end : c->oc) - first;
    c->wei += (size_t)first * c->wei_o;
    c->wei_zero_points += c->wei_zero_points ? first : 0;
    c->tail.bia += first;
    c->tail.scale += first;
    c->tail.start += c->tail.start ? first : 0;
    c->tail.patch += c->tail.patch ? first : 0;
    c->tail.multiplier += c->tail.multiplier ? first : 0;
    c->tail.round += c->tail.round ? first : 0;
    c->tail.shift += c->tail.shift ? first : 0;
}

static enum qb_status cut_conv(struct qb_native_plan *plan, enum axis axis, struct range range,
                               struct qb_arena *arena, struct qb_native_step *part, struct qb_error *err)
{
    struct qb_conv *const c = qb_native_array(arena, 1, sizeof *c, err);
    if (!c) {
        return err->status;
    }
    *c = *(const struct qb_conv *)part->args;
    if (axis == AXIS_ROWS) {
        part->from[0] += cut_rows(c, range);
        part->from[1] += (size_t)range.first * c->res_pitch;
        part->to += (size_t)range.first * c->dst_pitch;
    } else {
        cut_blocks(c, range);
        part->from[1] += (size_t)range.first * QB_BLOCK;
        part->to += (size_t)range.first * QB_BLOCK;
    }
    part->args = c;
    return qb_native_pack_conv(plan, c, arena, part, err);
}

static enum qb_status cut_pool(struct range rows, struct qb_arena *arena, struct qb_native_step *part,
                               struct qb_error *err)
{
    struct qb_pool *const pool = qb_native_array(arena, 1, sizeof *pool, err);
    if (!pool) {
        return err->status;
    }
    *pool = *(const struct qb_pool *)part->args;
    pool->dst_h = rows.count;
    part->from[0] += (size_t)(rows.first * pool->stride_h) * pool->src_pitch;
    part->to += (size_t)rows.first * pool->dst_pitch;
    part->args = pool;
    return QB_OK;
}

/* From the whole step to the part of it that is `range`. */
static enum qb_status cut(struct qb_native_plan *plan, enum axis axis, struct range range,
                          struct qb_arena *arena, struct qb_native_step *part, struct qb_error *err)
{
    const struct qb_native_tensor *const dst = &plan->tensors[part->node];
    const size_t first = (size_t)range.first;
    switch (part->op) {
    case QB_QOP_CONV:
    case QB_QOP_DENSE: return cut_conv(plan, axis, range, arena, part, err);
    case QB_QOP_AVGPOOL: return cut_pool(range, arena, part, err);
    case QB_QOP_INPUT: part->image = first * (size_t)dst->shape.w * (size_t)dst->shape.c; break;
    case QB_QOP_ADD:
    case QB_QOP_MUL:
    case QB_QOP_RELU:
    case QB_QOP_QUANTIZE:
        for (int i = 0; i < 2; i++) {
            part->from[i] += part->src[i] >= 0 ? first * plan->tensors[part->src[i]].pitch : 0;
        }
        break;
    case QB_QOP_CONSTANT:
    case QB_QOP_DEQUANTIZE:
    case QB_QOP_AFFINE: break;
    }
    part->rows = range.count;
    part->to += first * dst->pitch;
    return QB_OK;
}

static enum qb_status divide(struct qb_native_plan *plan, const struct qb_native_step *step, enum axis axis,
                             int threads, struct qb_arena *arena, struct qb_native_step *parts,
                             struct qb_error *err)
{
    const struct qb_shape dst = plan->tensors[step->node].shape;
    for (int i = 0; i < threads; i++) {
        const struct range range = share(axis == AXIS_ROWS ? dst.h : qb_blocks(dst.c), threads, i);
        if (range.count > 0) {
            parts[i] = *step;
            parts[i].chain = 0;
            QB_TRY(cut(plan, axis, range, arena, &parts[i], err));
        }
    }
    return QB_OK;
}

enum qb_status qb_native_split_make(struct qb_native_plan *plan, int threads, struct qb_arena *arena,
                                    struct qb_native_split *out, struct qb_error *err)
{
    const size_t count = (size_t)plan->count;
    struct qb_native_split split = {
        .threads = threads,
        .parts = qb_native_array(arena, count * (size_t)threads, sizeof *split.parts, err),
        .meet = qb_native_array(arena, count, sizeof *split.meet, err),
    };
    if (!split.parts || !split.meet) {
        return err->status;
    }
    bool before = false;
    for (int i = 0; i < plan->count; i++) {
        struct qb_native_step *const parts = split.parts + (size_t)i * (size_t)threads;
        const enum axis axis = choose(plan, &plan->steps[i], threads);
        const bool divided = axis != AXIS_NONE;
        if (divided) {
            QB_TRY(divide(plan, &plan->steps[i], axis, threads, arena, parts, err));
        } else {
            parts[0] = plan->steps[i];
            parts[0].chain = 0;
        }
        split.divided += divided;
        split.meet[i] = i > 0 && (divided || before);
        before = divided;
    }
    split.meet_logits = before;
    *out = split;
    return QB_OK;
}
