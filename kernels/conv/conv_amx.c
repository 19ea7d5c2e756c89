/* Convolution for AMX: the loops over tiles. See conv_amx.h for how a convolution is cut.
 *
 * The out-of-order window is too short to find tail work behind tile work by itself, so units of the tail of
 * earlier tiles stand between the tile instructions of later ones; never directly behind the store they read
 * from, or they would fill the scheduler while they wait and keep the next dot product out.
 *
 * Registers. Blocks: sums 0..3 (pixels 2 x channels 2), src 4 5, wei 6 7. Rotate: sums 0..2, wei 3..5, src 6
 * 7. Tiles are released at the end of a run or of a chain: behind it a switch of threads saves no tiles, and
 * another user of tiles finds them as it expects. */
#include <string.h>

#include "kernels/conv/conv_amx_cursor.h"
#include "kernels/conv/conv_impls.h"
#include "kernels/conv/conv_vnni.h"
#include "kernels/simd.h"

/* One or two blocks of channels, and the next ones behind them: a pass each over all tiles. */
struct sweep {
    const struct qb_conv *conv;
    const struct qb_amx_plan *plan;
    const int32_t *offsets;
    const int8_t *wei; /* of the pass */
    const uint8_t *src;
    size_t step, stride_y; /* bytes from window to window */
    size_t chunk;          /* bytes of a tile of wei */
    int blocks;            /* together: 1 or 2 */
    int passes;
    int32_t *sums;
    size_t segment;
    struct qb_amx_cursor *old; /* what the run before has left */
};

/* Spreads the units that are there at the start of a block evenly over its slots. */
struct rate {
    int quota, slots, credit;
};

QB_INLINE void slot(struct qb_amx_cursor *k, struct rate *r)
{
    r->credit += r->quota;
    while (r->credit >= r->slots) {
        r->credit -= r->slots;
        qb_amx_next_unit(k);
    }
}

static void drain(struct qb_amx_cursor *k)
{
    while (k->available > 0) {
        qb_amx_next_unit(k);
    }
}

/* P tiles of pixels, Q blocks of channels. */
QB_INLINE void block(const struct sweep *s, struct qb_amx_cursor *k, const uint8_t *a0, const uint8_t *a1,
                     int32_t *to0, int32_t *to1, int P, int Q)
{
    const int chunks = s->plan->chunks;
    const size_t pixel = (size_t)Q * QB_BLOCK * sizeof(int32_t);
    const int8_t *wei = s->wei;
    struct rate rate = {.quota = k->available, .slots = chunks * P};
    QB_TILE_ZERO(0);
    if (Q == 2) {
        QB_TILE_ZERO(1);
    }
    if (P == 2) {
        QB_TILE_ZERO(2);
        if (Q == 2) {
            QB_TILE_ZERO(3);
        }
    }
    for (int i = 0; i < chunks; i++) {
        const bool last = i == chunks - 1;
        const size_t offset = (size_t)s->offsets[i];
        QB_TILE_LOAD(6, wei, QB_TILE_BYTES);
        QB_TILE_LOAD(4, a0 + offset, s->step);
        QB_TILE_DOT(0, 4, 6);
        if (Q == 2) {
            QB_TILE_LOAD(7, wei + s->chunk, QB_TILE_BYTES);
            QB_TILE_DOT(1, 4, 7);
        }
        if (P == 2) {
            QB_TILE_LOAD(5, a1 + offset, s->step);
        }
        if (!last || P == 1) {
            slot(k, &rate);
        }
        if (P == 2) {
            QB_TILE_DOT(2, 5, 6);
            if (Q == 2) {
                QB_TILE_DOT(3, 5, 7);
            }
        }
        if (!last && P == 2) {
            slot(k, &rate);
        }
        wei += (size_t)Q * s->chunk;
    }
    QB_TILE_STORE(0, to0, pixel);
    if (Q == 2) {
        QB_TILE_STORE(1, to0 + QB_BLOCK, pixel);
    }
    if (P == 2) {
        slot(k, &rate);
        QB_TILE_STORE(2, to1, pixel);
        if (Q == 2) {
            QB_TILE_STORE(3, to1 + QB_BLOCK, pixel);
        }
        slot(k, &rate);
    }
}

/* A tile of src and where its sums go. */
struct tile {
    const uint8_t *src;
    int32_t *to;
};

/* Which tile of a pass comes next. */
struct place {
    int number, column, y, segment;
};

QB_INLINE int clamped(int first, int last)
{
    return first < last ? first : last;
}

QB_INLINE struct tile next_tile(const struct sweep *s, struct place *at)
{
    const struct qb_amx_plan *const p = s->plan;
    const int t = at->number++;
    if (p->form == QB_AMX_LINEAR) {
        const size_t first = (size_t)clamped(t * p->rows, p->positions - p->rows);
        return (struct tile){s->src + first * s->step, s->sums + first * (size_t)s->blocks * QB_BLOCK};
    }
    const size_t x = (size_t)clamped(at->column * p->rows, s->conv->dst_w - p->rows);
    const struct tile tile = {s->src + (size_t)at->y * s->stride_y + x * s->step,
                              s->sums + (size_t)at->segment * s->segment};
    at->segment = (at->segment + 1) % QB_AMX_SEGMENTS;
    at->column = at->column + 1 < p->columns ? at->column + 1 : 0;
    at->y += at->column == 0;
    return tile;
}

/* Units that become available when tiles up to `number` of a pass are stored; rows: those counted so far. */
QB_INLINE int filled(const struct sweep *s, const struct qb_amx_cursor *k, int number, int tiles, int *rows)
{
    const struct qb_amx_plan *const p = s->plan;
    if (p->form != QB_AMX_LINEAR) {
        return tiles * k->units;
    }
    const int end = clamped(number * p->rows, p->positions), before = *rows;
    while (*rows < s->conv->dst_h && *rows * p->period + s->conv->dst_w <= end) {
        ++*rows;
    }
    return (*rows - before) * k->units;
}

QB_INLINE void sweep_blocks(struct sweep *s, struct qb_amx_cursor *k, int Q)
{
    struct place at = {0};
    for (int pass = 0; pass < s->passes; pass++) {
        int rows = 0;
        at.number = at.column = at.y = 0;
        while (at.number < s->plan->tiles) {
            struct qb_amx_cursor *const pending = s->old->available > 0 ? s->old : k;
            const struct tile a = next_tile(s, &at);
            if (at.number < s->plan->tiles) {
                const struct tile b = next_tile(s, &at);
                block(s, pending, a.src, b.src, a.to, b.to, 2, Q);
                k->available += filled(s, k, at.number, 2, &rows);
            } else {
                block(s, pending, a.src, a.src, a.to, a.to, 1, Q);
                k->available += filled(s, k, at.number, 1, &rows);
            }
        }
        s->wei += (size_t)s->plan->chunks * (size_t)Q * s->chunk;
    }
}

/* Up to two units of what the run before has left; then, once its sums have been there for a step, `count` of
 * a segment. */
QB_INLINE void late_units(struct qb_amx_cursor *old, struct qb_amx_cursor *k, bool ready, int count)
{
    if (old->available > 0) {
        qb_amx_next_unit(old);
        if (old->available > 0) {
            qb_amx_next_unit(old);
        }
        return;
    }
    for (int i = 0; ready && i < count; i++) {
        qb_amx_next_unit(k);
    }
}

/* Row r of src meets kernel rows 2, 1, 0 for rows r - 2, r - 1, r of dst. */
#define ROTATE_STORE(OLD)                                                                                    \
    do {                                                                                                     \
        QB_TILE_STORE(OLD, s->sums + (size_t)segment * s->segment, QB_TILE_BYTES);                           \
        segment = (segment + 1) % QB_AMX_SEGMENTS;                                                           \
        k->available += k->units;                                                                            \
        src += pitch;                                                                                        \
    } while (0)
#define ROTATE_STEP(OLD, MID, NEW)                                                                           \
    do {                                                                                                     \
        const bool ready = k->available >= 2 * k->units;                                                     \
        QB_TILE_LOAD(6, src, s->step);                                                                       \
        QB_TILE_DOT(OLD, 6, 5);                                                                              \
        late_units(s->old, k, ready, first);                                                                 \
        QB_TILE_ZERO(NEW);                                                                                   \
        QB_TILE_DOT(MID, 6, 4);                                                                              \
        QB_TILE_DOT(NEW, 6, 3);                                                                              \
        late_units(s->old, k, ready, second);                                                                \
        ROTATE_STORE(OLD);                                                                                   \
    } while (0)
#define ROTATE_LAST(OLD, MID)                                                                                \
    do {                                                                                                     \
        QB_TILE_LOAD(6, src, s->step);                                                                       \
        QB_TILE_DOT(OLD, 6, 5);                                                                              \
        QB_TILE_DOT(MID, 6, 4);                                                                              \
        late_units(s->old, k, k->available >= 2 * k->units, k->units);                                       \
        ROTATE_STORE(OLD);                                                                                   \
        QB_TILE_LOAD(7, src, s->step);                                                                       \
        QB_TILE_DOT(MID, 7, 5);                                                                              \
        late_units(s->old, k, k->available >= 2 * k->units, k->units);                                       \
        ROTATE_STORE(MID);                                                                                   \
    } while (0)

static void sweep_rotate(const struct sweep *s, struct qb_amx_cursor *k)
{
    const struct qb_conv *const c = s->conv;
    const struct qb_amx_plan *const p = s->plan;
    const size_t pitch = c->src_pitch;
    const int first = (k->units + 1) / 2, second = k->units / 2;
    int segment = 0;
    QB_TILE_LOAD(3, s->wei, QB_TILE_BYTES);
    QB_TILE_LOAD(4, s->wei + s->chunk, QB_TILE_BYTES);
    QB_TILE_LOAD(5, s->wei + 2 * s->chunk, QB_TILE_BYTES);
    for (int column = 0; column < p->columns; column++) {
        const uint8_t *src = s->src + (size_t)clamped(column * p->rows, c->dst_w - p->rows) * s->step;
        QB_TILE_LOAD(6, src, s->step);
        QB_TILE_ZERO(0);
        QB_TILE_DOT(0, 6, 3);
        QB_TILE_LOAD(7, src + pitch, s->step);
        QB_TILE_DOT(0, 7, 4);
        QB_TILE_ZERO(1);
        QB_TILE_DOT(1, 7, 3);
        late_units(s->old, k, k->available >= 2 * k->units, k->units);
        src += 2 * pitch;
        for (int left = c->dst_h - 2;;) {
            if (left-- == 0) {
                ROTATE_LAST(0, 1);
                break;
            }
            ROTATE_STEP(0, 1, 2);
            if (left-- == 0) {
                ROTATE_LAST(1, 2);
                break;
            }
            ROTATE_STEP(1, 2, 0);
            if (left-- == 0) {
                ROTATE_LAST(2, 0);
                break;
            }
            ROTATE_STEP(2, 0, 1);
        }
    }
}

/* All passes of `together` blocks from `block` on. */
static void sweep(struct sweep *s, struct qb_amx_cursor *k, int block, int together, int passes)
{
    const struct qb_conv *const c = s->conv;
    const struct qb_amx_plan *const p = s->plan;
    const char *const packed = (const char *)p;
    const size_t first = (size_t)block * QB_BLOCK;
    s->blocks = together;
    s->passes = passes;
    s->segment = qb_amx_segment(p, together);
    k->unit = qb_amx_unit(c, together);
    k->tail = (struct qb_amx_tail){
        .tail = &c->tail,
        .dst_step = c->dst_step,
        .res_step = c->res_step,
        .bia = c->tail.bia + first,
        .scale = c->tail.scale + first,
        .comp = (const int32_t *)(const void *)(packed + p->comp) + first,
        .minus_zw = c->wei_zero_points ? (const int32_t *)(const void *)(packed + p->minus_zw) + first : NULL,
    };
    k->segment = s->segment;
    qb_amx_cursor_start(k, together);
    if (p->form == QB_AMX_ROTATE) {
        sweep_rotate(s, k);
    } else if (together == 2) {
        sweep_blocks(s, k, 2);
    } else {
        sweep_blocks(s, k, 1);
    }
    drain(s->old);
}

/* With nothing left by a run before it. */
static struct qb_amx_left nothing_left(void)
{
    return (struct qb_amx_left){.area = 1};
}

static void configure(const struct qb_amx_left *left, const struct qb_amx_plan *p)
{
    if (!left->config || memcmp(left->config, &p->config, sizeof p->config) != 0) {
        QB_TILE_CONFIG(&p->config);
    }
}

static void run_chained(const struct qb_conv *c, const void *packed, const uint8_t *src, const uint8_t *res,
                        uint8_t *dst, void *scratch, unsigned chain)
{
    const struct qb_amx_plan *const p = packed;
    if (p->form == QB_AMX_NONE) { /* never in a chain */
        qb_conv_avx512vnni.run(c, (const char *)packed + QB_AMX_HEADER, src, res, dst, scratch);
        return;
    }
    struct qb_amx_left left = nothing_left();
    if (chain & QB_CHAIN_RESUME) {
        memcpy(&left, scratch, sizeof left);
    }
    const int blocks = qb_blocks(c->oc), area = !left.area;
    char *const sums = (char *)scratch + QB_AMX_LEFT + area * QB_AMX_AREA;
    struct sweep s = {
        .conv = c,
        .plan = p,
        .offsets = (const int32_t *)(const void *)((const char *)packed + p->offsets),
        .wei = (const int8_t *)packed + p->wei,
        .src = src - (size_t)c->pad_t * c->src_pitch - (size_t)c->pad_l * c->src_step,
        .step = (size_t)c->stride_w * c->src_step,
        .stride_y = (size_t)c->stride_h * c->src_pitch,
        .chunk = (size_t)p->depth * QB_BLOCK,
        .sums = (int32_t *)(void *)sums,
        .old = &left.cursor,
    };
    struct qb_amx_cursor k = {
        .conv = c,
        .pixels = p->form == QB_AMX_LINEAR ? c->dst_w : p->rows,
        .columns = p->columns,
        .rows = c->dst_h,
        .by_rows = p->form == QB_AMX_ROTATE,
        .linear = p->form == QB_AMX_LINEAR,
        .first_acc = s.sums,
        .first_dst = dst,
        .first_res = c->tail.residual == QB_TAIL_NONE ? NULL : res,
    };
    if (c->wei_zero_points) {
        int32_t *const window_sums = (int32_t *)(void *)((char *)scratch + QB_AMX_SUMS);
        qb_conv_window_sums(c, src, window_sums);
        k.first_sums = window_sums;
    }
    configure(&left, p);
    if (blocks > 1) {
        sweep(&s, &k, 0, 2, blocks / 2);
    }
    if (blocks % 2 != 0) {
        drain(&k);
        sweep(&s, &k, blocks - 1, 1, 1);
    }
    if (chain & QB_CHAIN_LEAVE) {
        left = (struct qb_amx_left){.cursor = k, .config = &p->config, .area = area};
        memcpy(scratch, &left, sizeof left);
    } else {
        drain(&k);
        QB_TILE_RELEASE();
    }
}

static void run(const struct qb_conv *c, const void *packed, const uint8_t *src, const uint8_t *res,
                uint8_t *dst, void *scratch)
{
    run_chained(c, packed, src, res, dst, scratch, 0);
}

static size_t packed_bytes(const struct qb_conv *c)
{
    const struct qb_amx_plan p = qb_amx_plan_make(c);
    return p.form == QB_AMX_NONE ? QB_AMX_HEADER + qb_conv_avx512vnni.packed_bytes(c) : p.bytes;
}

static void pack(const struct qb_conv *c, void *packed)
{
    const struct qb_amx_plan p = qb_amx_plan_make(c);
    if (p.form == QB_AMX_NONE) {
        memcpy(packed, &p, sizeof p);
        qb_conv_avx512vnni.pack(c, (char *)packed + QB_AMX_HEADER);
    } else {
        qb_amx_pack(c, &p, packed);
    }
}

static size_t scratch_bytes(const struct qb_conv *c)
{
    const struct qb_amx_plan p = qb_amx_plan_make(c);
    return p.form == QB_AMX_NONE ? qb_conv_avx512vnni.scratch_bytes(c)
                                 : QB_AMX_SUMS + qb_vnni_scratch_bytes(c);
}

static const char *path(const struct qb_conv *c)
{
    static const char *const names[][2][2] = {
        [QB_AMX_BLOCKS] = {{"blocks,zero_points", "blocks,zero_points+add"}, {"blocks", "blocks+add"}},
        [QB_AMX_LINEAR] = {{"linear,zero_points", "linear,zero_points+add"}, {"linear", "linear+add"}},
        [QB_AMX_ROTATE] = {{"rotate,zero_points", "rotate,zero_points+add"}, {"rotate", "rotate+add"}},
    };
    const enum qb_amx_form form = qb_amx_plan_make(c).form;
    return form == QB_AMX_NONE ? "avx512vnni"
                               : names[form][qb_amx_plain(c)][c->tail.residual != QB_TAIL_NONE];
}

const struct qb_conv_impl qb_conv_amx = {.name = "amx",
                                         .isa = QB_ISA_AMX,
                                         .packed_bytes = packed_bytes,
                                         .pack = pack,
                                         .scratch_bytes = scratch_bytes,
                                         .path = path,
                                         .run = run,
                                         .run_chained = run_chained,
                                         .chains = qb_amx_chains};
