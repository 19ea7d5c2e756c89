/* How a convolution is cut into tiles, and its weights packed: see conv_amx.h. Plain C. */
#include <string.h>

#include "kernels/conv/conv_amx.h"
#include "kernels/conv/conv_vnni.h"

/* A unit of the tail takes this many pixels of one block; narrower pictures are not worth tiles. */
enum { LEAST_WIDTH = QB_AMX_UNIT };
enum { COMMON_DEPTH = 48, COMMON_STEP = 32 };

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

static int channel_bytes(const struct qb_conv *c)
{
    return divide_up(c->ic, 4) * 4;
}

/* Bytes of src that chunks cut up: a whole kernel row, or one pixel of it where the step is not in quads or
 * gaps would cost more chunks. */
struct span {
    int bytes, chunks, depth;
    bool row;
};

static struct span cut(int bytes, bool row)
{
    const int chunks = divide_up(bytes, QB_TILE_BYTES);
    return (struct span){bytes, chunks, divide_up(divide_up(bytes, chunks), 4) * 4, row};
}

/* Small windows far from each other (1x1 shortcuts) take the depth of their neighbours' chunks: it costs
 * nothing or little, another tile configuration 182 cycles. */
static struct span common_depth(const struct qb_conv *c, struct span s)
{
    const size_t step = (size_t)c->stride_w * c->src_step;
    if (s.depth < COMMON_DEPTH && s.depth >= COMMON_DEPTH - QB_CONV_EXTRA && step >= COMMON_STEP) {
        s.depth = COMMON_DEPTH;
    }
    return s;
}

static struct span span_of(const struct qb_conv *c)
{
    const struct span pixel = cut(channel_bytes(c), false);
    if (c->src_step % 4 != 0 || c->src_step > (size_t)pixel.chunks * QB_TILE_BYTES) {
        return pixel;
    }
    const struct span row = cut((c->kw - 1) * (int)c->src_step + channel_bytes(c), true);
    return row.chunks <= c->kw * pixel.chunks ? common_depth(c, row) : pixel;
}

static int chunks_of(const struct qb_conv *c, struct span s)
{
    return c->kh * (s.row ? 1 : c->kw) * s.chunks;
}

/* Cycles of a dot product by rows of src, measured: 8 rows take 11 to 13, 16 take 17.7. */
static int dot_cycles(int rows)
{
    return rows <= 8 ? 12 : rows + 2;
}

/* Tiles that run on through the frame: possible where a row of dst is a whole number of steps from the next.
 */
static void make_linear(const struct qb_conv *c, struct qb_amx_plan *p)
{
    const size_t row = (size_t)c->stride_h * c->src_pitch, step = (size_t)c->stride_w * c->src_step;
    if (row % step != 0) {
        return;
    }
    const int64_t period = (int64_t)(row / step), positions = (c->dst_h - 1) * period + c->dst_w;
    const int64_t tiles = (positions + QB_TILE_ROWS - 1) / QB_TILE_ROWS;
    const int rows = (int)((positions + tiles - 1) / tiles);
    /* Three tiles are two blocks: a block's sums never land on those that the block before left. */
    if (period < c->dst_w || positions > QB_AMX_POSITIONS || tiles < 3 ||
        tiles * dot_cycles(rows) >= p->tiles * dot_cycles(p->rows)) {
        return;
    }
    p->form = QB_AMX_LINEAR;
    p->rows = rows;
    p->columns = 1;
    p->tiles = (int32_t)tiles;
    p->period = (int32_t)period;
    p->positions = (int32_t)positions;
}

/* Registers: conv_amx.c. */
static void make_config(struct qb_amx_plan *p)
{
    p->config.palette = 1;
    for (int t = 0; t < QB_TILES; t++) {
        const bool wei = p->form == QB_AMX_ROTATE ? t >= 3 && t < 6 : t >= 6,
                   src = p->form == QB_AMX_ROTATE ? t >= 6 : t == 4 || t == 5;
        p->config.rows[t] = (uint8_t)(wei ? p->depth / 4 : p->rows);
        p->config.row_bytes[t] = (uint16_t)(src ? p->depth : QB_TILE_BYTES);
    }
}

static void lay_out(const struct qb_conv *c, struct qb_amx_plan *p)
{
    const size_t blocks = (size_t)qb_blocks(c->oc), channels = blocks * QB_BLOCK * sizeof(int32_t);
    p->offsets = QB_AMX_HEADER;
    p->comp = p->offsets + round_up((size_t)p->chunks * sizeof(int32_t), 64);
    p->minus_zw = p->comp + channels;
    p->wei = p->minus_zw + channels;
    p->bytes = p->wei + blocks * (size_t)p->chunks * (size_t)p->depth * QB_BLOCK;
}

struct qb_amx_plan qb_amx_plan_make(const struct qb_conv *c)
{
    if (c->dst_w < LEAST_WIDTH) {
        return (struct qb_amx_plan){.form = QB_AMX_NONE};
    }
    const struct span span = span_of(c);
    struct qb_amx_plan p = {.depth = span.depth, .chunks = chunks_of(c, span)};
    p.columns = divide_up(c->dst_w, QB_TILE_ROWS);
    p.rows = divide_up(c->dst_w, p.columns);
    p.tiles = p.columns * c->dst_h;
    p.form = QB_AMX_BLOCKS;
    if (span.row && p.chunks == 3 && c->kh == 3 && c->stride_h == 1 && c->dst_h >= 3 &&
        qb_blocks(c->oc) == 1) {
        p.form = QB_AMX_ROTATE;
    } else {
        make_linear(c, &p);
    }
    make_config(&p);
    lay_out(c, &p);
    return p;
}

/* The first row of dst whose tail may be left to the next run: of the last block, or ROTATE: of the last
 * three steps. */
static int first_left(const struct qb_conv *c, const struct qb_amx_plan *p)
{
    const int before = p->tiles - (p->tiles % 2 ? 1 : 2);
    switch (p->form) {
    case QB_AMX_NONE: break;
    case QB_AMX_BLOCKS: return before / p->columns;
    case QB_AMX_LINEAR:
        return before * p->rows < c->dst_w ? 0 : (before * p->rows - c->dst_w) / p->period + 1;
    case QB_AMX_ROTATE: return c->dst_h - 3;
    }
    return 0;
}

/* The last row of src that is read before all is done that the run before has left: by the first block, or
 * ROTATE: eight steps are more than enough. */
static int last_read(const struct qb_conv *c, const struct qb_amx_plan *p)
{
    if (p->form == QB_AMX_ROTATE) {
        return 8 - c->pad_t;
    }
    const int y = p->form == QB_AMX_LINEAR ? (2 * p->rows - 1) / p->period : p->columns == 1;
    return y * c->stride_h + c->kh - 1 - c->pad_t;
}

bool qb_amx_chains(const struct qb_conv *first, const struct qb_conv *second, bool reads)
{
    const struct qb_amx_plan a = qb_amx_plan_make(first), b = qb_amx_plan_make(second);
    if (a.form == QB_AMX_NONE || b.form == QB_AMX_NONE || second->wei_zero_points) {
        return false;
    }
    /* Wide pictures would leave more than the first steps of ROTATE can do. */
    return first->dst_w <= 64 && (!reads || last_read(second, &b) < first_left(first, &a));
}

/* Where chunk n of a span begins: the last one reaches back. */
static int first_byte(struct span s, int n)
{
    return n == 0 || n * s.depth < s.bytes - s.depth ? n * s.depth : s.bytes - s.depth;
}

/* Channel k, byte `at` of chunk n of a span that starts at kernel row i, pixel j. */
static int8_t weight_at(const struct qb_conv *c, struct span s, int k, int i, int j, int n, int at)
{
    const int byte = first_byte(s, n) + at;
    const int pixel = s.row ? byte / (int)c->src_step : 0, channel = byte - pixel * (int)c->src_step;
    if (byte < n * s.depth || byte >= s.bytes || channel >= c->ic || k >= c->oc) {
        return 0;
    }
    return c->wei[(size_t)k * c->wei_o + (size_t)channel * c->wei_i + (size_t)i * c->wei_y +
                  (size_t)(j + pixel) * c->wei_x];
}

static void pack_zero_points(const struct qb_conv *c, int32_t *comp, int32_t *minus_zw)
{
    const int64_t n = (int64_t)c->ic * c->kh * c->kw;
    for (int k = 0; k < qb_blocks(c->oc) * QB_BLOCK; k++) {
        const int64_t zw = c->wei_zero_points && k < c->oc ? c->wei_zero_points[k] : 0;
        int64_t sum = 0;
        for (size_t i = 0; k < c->oc && i < (size_t)c->kh; i++) {
            for (size_t j = 0; j < (size_t)c->kw; j++) {
                for (size_t m = 0; m < (size_t)c->ic; m++) {
                    sum += c->wei[(size_t)k * c->wei_o + m * c->wei_i + i * c->wei_y + j * c->wei_x];
                }
            }
        }
        comp[k] = (int32_t)(uint32_t)(c->src_zero_point * (n * zw - sum)); /* modulo 2^32 */
        minus_zw[k] = (int32_t)-zw;
    }
}

/* One chunk of one block of 16 channels. */
static int8_t *pack_tile(const struct qb_conv *c, struct span s, int block, int i, int j, int n, int8_t *to)
{
    for (int at = 0; at < s.depth; at += 4) {
        for (int k = block * QB_BLOCK; k < (block + 1) * QB_BLOCK; k++) {
            for (int b = 0; b < 4; b++) {
                *to++ = weight_at(c, s, k, i, j, n, at + b);
            }
        }
    }
    return to;
}

void qb_amx_pack(const struct qb_conv *c, const struct qb_amx_plan *p, void *packed)
{
    char *const base = packed;
    const struct span s = span_of(c);
    const int pixels = s.row ? 1 : c->kw, blocks = qb_blocks(c->oc);
    int32_t *offset = (int32_t *)(void *)(base + p->offsets);
    int8_t *wei = (int8_t *)(base + p->wei);
    memcpy(base, p, sizeof *p);
    for (int block = 0; block < blocks; block += 2) {
        for (int i = 0; i < c->kh; i++) {
            for (int j = 0; j < pixels; j++) {
                for (int n = 0; n < s.chunks; n++) {
                    if (block == 0) {
                        *offset++ = (int32_t)((size_t)i * c->src_pitch + (size_t)j * c->src_step +
                                              (size_t)first_byte(s, n));
                    }
                    for (int q = block; q < block + 2 && q < blocks; q++) {
                        wei = pack_tile(c, s, q, i, j, n, wei);
                    }
                }
            }
        }
    }
    pack_zero_points(c, (int32_t *)(void *)(base + p->comp), (int32_t *)(void *)(base + p->minus_zw));
}
