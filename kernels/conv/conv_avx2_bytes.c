/* AVX2 without VNNI, bytes: see conv_avx2.h. A tile is 4 pixels x 16 channels.
 *
 * Packed: what conv_vnni.h packs (for the top bits), then for each block of 16 channels its quads in the
 * order in which they are multiplied: `triples` threes, `pairs` twos, then single ones. */
#include <immintrin.h>

#include "kernels/conv/conv_256.h"
#include "kernels/conv/conv_avx2.h"
#include "kernels/conv/conv_vnni.h"

enum {
    PIXELS = 4,
    QUAD = 4 * QB_BLOCK /* bytes of one quad of a block */,
    LANES = QUAD / 2,
    LOOK = 64,
    LOW_BITS = 127
};

struct order {
    int32_t triples, pairs;
    int32_t offsets[]; /* of the quads, as in struct qb_vnni */
};

static size_t order_bytes(size_t quads)
{
    return qb_round64(sizeof(struct order) + quads * sizeof(int32_t));
}

static size_t quads_of(const struct qb_conv *c)
{
    return ((size_t)c->ic + 3) / 4 * (size_t)(c->kh * c->kw);
}

static size_t vnni_bytes(const struct qb_conv *c)
{
    return qb_round64(qb_vnni_bytes(c));
}

size_t qb_bytes_packed(const struct qb_conv *c)
{
    const size_t quads = quads_of(c);
    return vnni_bytes(c) + (size_t)qb_blocks(c->oc) * (order_bytes(quads) + quads * QUAD);
}

/* Weights of one sign that can meet in a 16-bit lane. */
struct burden {
    int positive[LANES], negative[LANES];
};

/* True, and the quad added, when every lane holds with it whatever the codes are. */
static bool add_quad(struct burden *l, const int8_t *wei)
{
    struct burden sum = *l;
    for (int n = 0; n < QUAD; n++) {
        sum.positive[n / 2] += wei[n] > 0 ? wei[n] : 0;
        sum.negative[n / 2] += wei[n] < 0 ? -wei[n] : 0;
    }
    for (int lane = 0; lane < LANES; lane++) {
        if (sum.positive[lane] * LOW_BITS > INT16_MAX || sum.negative[lane] * LOW_BITS > -INT16_MIN) {
            return false;
        }
    }
    *l = sum;
    return true;
}

static void swap_quads(int8_t *wei, int32_t *offsets, size_t a, size_t b)
{
    int8_t bytes[QUAD];
    memcpy(bytes, wei + a * QUAD, QUAD);
    memcpy(wei + a * QUAD, wei + b * QUAD, QUAD);
    memcpy(wei + b * QUAD, bytes, QUAD);
    const int32_t offset = offsets[a];
    offsets[a] = offsets[b];
    offsets[b] = offset;
}

/* Moves partners for quad `first` behind it; how many quads are together then, `size` at most. */
static size_t gather(int8_t *wei, int32_t *offsets, size_t first, size_t end, size_t size)
{
    struct burden l = {{0}, {0}};
    size_t found = add_quad(&l, wei + first * QUAD); /* one quad always fits */
    for (size_t i = first + 1; i < end && i < first + LOOK && found < size; i++) {
        if (add_quad(&l, wei + i * QUAD)) {
            swap_quads(wei, offsets, i, first + found);
            found++;
        }
    }
    return found;
}

/* Groups of `size` from `first` on; quads that find no partners go to the end. Returns how many groups. */
static size_t group(int8_t *wei, int32_t *offsets, size_t first, size_t quads, size_t size)
{
    size_t groups = 0;
    for (size_t end = quads; first + size <= end;) {
        if (gather(wei, offsets, first, end, size) == size) {
            first += size;
            groups++;
        } else {
            end--;
            swap_quads(wei, offsets, first, end);
        }
    }
    return groups;
}

/* A usual top bit of 1 is 128 in every code, which the zero point takes back; window sums do not leave it
 * out.
 */
void qb_bytes_pack(const struct qb_conv *c, void *packed)
{
    struct qb_conv low = *c;
    low.src_zero_point -= qb_bytes_top(c) ? 128 : 0;
    qb_vnni_pack(&low, false, packed);
    const struct qb_vnni v = qb_vnni_open(c, packed);
    int32_t *const comp = (int32_t *)(void *)((char *)packed + ((const char *)v.comp - (const char *)packed));
    for (int k = 0; c->wei_zero_points && qb_bytes_top(c) && k < c->oc; k++) {
        comp[k] += 128 * c->wei_zero_points[k] * c->ic * c->kh * c->kw;
    }
    char *to = (char *)packed + vnni_bytes(c);
    const int8_t *from = v.wei;
    for (int block = 0; block < qb_blocks(c->oc); block++, from += v.quads * QUAD) {
        struct order *const o = (struct order *)(void *)to;
        int8_t *const wei = (int8_t *)to + order_bytes(v.quads);
        memcpy(wei, from, v.quads * QUAD);
        memcpy(o->offsets, v.offsets, v.quads * sizeof *v.offsets);
        o->triples = (int32_t)group(wei, o->offsets, 0, v.quads, 3);
        o->pairs = (int32_t)group(wei, o->offsets, 3 * (size_t)o->triples, v.quads, 2);
        to += order_bytes(v.quads) + v.quads * QUAD;
    }
}

QB_INLINE __m256i load(const void *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

/* Sums of two products each, 16 bits. */
QB_INLINE __m256i multiply(__m256i u, __m256i s)
{
    __m256i product;
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(product) : "x"(u), "x"(s));
    return product;
}

/* The same with weights from memory: there are too few registers for all of three quads. */
QB_INLINE __m256i multiply_at(__m256i u, const int8_t *s)
{
    __m256i product;
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(product) : "x"(u), "m"(*(const __m256i *)(const void *)s));
    return product;
}

QB_INLINE __m256i fold(__m256i acc, __m256i sum, __m256i ones)
{
    __asm__("vpmaddwd %2, %1, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "+x"(sum) : "x"(ones));
    return acc;
}

/* A constant that begins its life here: else clang keeps it across all loops, on the stack where registers
 * are scarce. */
QB_INLINE __m256i local(__m256i constant)
{
    __asm__ volatile("" : "+x"(constant));
    return constant;
}

/* low: without the top bits. */
QB_INLINE __m256i quad_at(const uint8_t *p, bool low, __m256i mask)
{
    __m256i u = _mm256_set1_epi32(qb_load32(p));
    if (low) {
        __asm__("vpand %1, %0, %0" : "+x"(u) : "x"(mask));
    }
    return u;
}

/* `groups` groups of `size` quads each onto P x 2 accumulators. */
QB_INLINE void dots(__m256i *acc, const uint8_t *const *window, const int32_t **offsets,
                    const int8_t **weights, size_t groups, int size, int P, bool low)
{
    const __m256i ones = local(_mm256_set1_epi16(1)), mask = local(_mm256_set1_epi8(LOW_BITS));
    const int8_t *wei = *weights;
    const int32_t *offset = *offsets;
    QB_NO_UNROLL
    for (; groups > 0; groups--, wei += size * QUAD, offset += size) {
        const ptrdiff_t o0 = offset[0], o1 = size > 1 ? offset[1] : 0, o2 = size > 2 ? offset[2] : 0;
        const __m256i w0 = load(wei), w1 = load(wei + 32), w2 = size > 1 && !low ? load(wei + 64) : w0;
        QB_REPEAT_4(p, P, {
            __m256i u = quad_at(window[p] + o0, low, mask);
            __m256i a = multiply(u, w0);
            __m256i b = multiply(u, w1);
            if (size > 1) {
                u = quad_at(window[p] + o1, low, mask);
                a = _mm256_add_epi16(a, low ? multiply_at(u, wei + 64) : multiply(u, w2));
                b = _mm256_add_epi16(b, multiply_at(u, wei + 96));
            }
            if (size > 2) {
                u = quad_at(window[p] + o2, low, mask);
                a = _mm256_add_epi16(a, multiply_at(u, wei + 128));
                b = _mm256_add_epi16(b, multiply_at(u, wei + 160));
            }
            acc[2 * p] = fold(acc[2 * p], a, ones);
            acc[2 * p + 1] = fold(acc[2 * p + 1], b, ones);
        })
    }
    *weights = wei;
    *offsets = offset;
}

/* One block of the packing. */
struct block {
    const struct order *order;
    const int8_t *wei, *natural; /* in this order, and in that of conv_vnni.h */
    const int32_t *comp, *minus_zw;
    size_t quads, channel; /* the first */
};

/* 128 times the weights that meet a set top bit, taken away where set is usual: the sums of one output. */
QB_INLINE void add_top_bits(uint32_t bits, bool usual, const int8_t *wei, int32_t *sums)
{
    const __m256i u = _mm256_set1_epi32((int32_t)bits), ones = _mm256_set1_epi16(1);
    for (size_t half = 0; half < 2; half++) {
        __m256i *const to = (__m256i *)(void *)(sums + 8 * half);
        const __m256i bit = _mm256_madd_epi16(_mm256_maddubs_epi16(u, load(wei + 32 * half)), ones);
        *to = usual ? _mm256_sub_epi32(*to, bit) : _mm256_add_epi32(*to, bit);
    }
}

/* The sums of all rows that have any, and of those in one tile with them. A quad of the source meets the
 * windows that reach it. */
static void add_odd_quads(const struct qb_conv *c, const struct block *b, const uint8_t *src,
                          const struct qb_odd *odd)
{
    const int width = c->dst_w, quads = (c->ic + 3) / 4;
    const uint32_t top = 0x80808080U, usual = qb_bytes_top(c) ? top : 0;
    for (size_t y = 0; y < (size_t)c->dst_h; y++) {
        if (odd->rows[y] || width % PIXELS != 0) {
            memset(odd->sums + y * (size_t)width * QB_BLOCK, 0, (size_t)width * QB_BLOCK * sizeof *odd->sums);
        }
    }
    for (size_t n = 0; n < odd->count; n++) {
        const struct qb_odd_quad o = odd->quads[n];
        const uint8_t *const quad = src + (size_t)o.y * c->src_pitch + (size_t)o.x * c->src_step + 4 * o.quad;
        const uint32_t bits = ((uint32_t)qb_load32(quad) & top) ^ usual;
        for (int y = o.y / c->stride_h; y >= 0 && o.y - y * c->stride_h < c->kh; y--) {
            for (int x = o.x / c->stride_w; x >= 0 && o.x - x * c->stride_w < c->kw; x--) {
                if (y < c->dst_h && x < width) {
                    const int i = o.y - y * c->stride_h, j = o.x - x * c->stride_w;
                    add_top_bits(bits, usual, b->natural + (size_t)((i * quads + o.quad) * c->kw + j) * QUAD,
                                 odd->sums + (size_t)(y * width + x) * QB_BLOCK);
                }
            }
        }
    }
}

QB_INLINE struct qb_at256 tile(const struct qb_run256 *r, const struct block *b, struct qb_at256 at, int P,
                               const struct qb_odd *odd, const int32_t *sums)
{
    const uint8_t *window[PIXELS];
    struct qb_at256 end = at;
    QB_REPEAT_4(p, P, {
        window[p] = end.src;
        if (p + 1 < P) {
            qb_advance256(r, &end);
        }
    })
    bool any = false;
    for (size_t y = at.y; y <= end.y; y++) {
        any = any || odd->rows[y];
    }
    __m256i acc[2 * PIXELS];
    QB_REPEAT_8(i, 2 * P, acc[i] = load(b->comp + i % 2 * 8);)
    if (any) {
        const int32_t *const top = odd->sums + (at.y * (size_t)r->conv->dst_w + at.x) * QB_BLOCK;
        QB_REPEAT_8(i, 2 * P, acc[i] = _mm256_add_epi32(acc[i], load(top + 8 * i));)
    }
    const size_t triples = (size_t)b->order->triples, pairs = (size_t)b->order->pairs,
                 rest = b->quads - 3 * triples - 2 * pairs;
    const int32_t *offsets = b->order->offsets;
    const int8_t *wei = b->wei;
    if (any || qb_bytes_top(r->conv)) {
        dots(acc, window, &offsets, &wei, triples, 3, P, true);
        dots(acc, window, &offsets, &wei, pairs, 2, P, true);
        dots(acc, window, &offsets, &wei, rest, 1, P, true);
    } else {
        dots(acc, window, &offsets, &wei, triples, 3, P, false);
        dots(acc, window, &offsets, &wei, pairs, 2, P, false);
        dots(acc, window, &offsets, &wei, rest, 1, P, false);
    }
    if (sums) {
        qb_subtract_sums256(acc, b->minus_zw, sums + at.y * (size_t)r->conv->dst_w + at.x, P);
    }
    return qb_finish256(r, acc, at, P, b->channel);
}

void qb_bytes_run(const struct qb_conv *c, const void *packed, const uint8_t *src, const uint8_t *res,
                  uint8_t *dst, const struct qb_odd *odd, const int32_t *sums)
{
    const struct qb_vnni v = qb_vnni_open(c, packed);
    const char *from = (const char *)packed + vnni_bytes(c);
    const uint8_t *const first = src - (size_t)c->pad_t * c->src_pitch - (size_t)c->pad_l * c->src_step;
    const struct qb_run256 r = qb_run256(c, first, c->src_step, c->src_pitch, res, dst);
    const size_t pixels = (size_t)c->dst_h * (size_t)c->dst_w;
    for (size_t n = 0; n < (size_t)qb_blocks(c->oc); n++) {
        const struct block b = {
            .order = (const struct order *)(const void *)from,
            .wei = (const int8_t *)from + order_bytes(v.quads),
            .natural = v.wei + n * v.quads * QUAD,
            .comp = v.comp + n * QB_BLOCK,
            .minus_zw = sums ? v.minus_zw + n * QB_BLOCK : NULL,
            .quads = v.quads,
            .channel = n * QB_BLOCK,
        };
        from += order_bytes(v.quads) + v.quads * QUAD;
        if (odd->count) {
            add_odd_quads(c, &b, first, odd);
        }
        struct qb_at256 at = qb_at256(&r, 0);
        for (size_t p = 0; pixels < PIXELS && p < pixels; p++) {
            at = tile(&r, &b, at, 1, odd, sums);
        }
        for (size_t p = 0; pixels >= PIXELS && p < pixels; p += PIXELS) {
            if (p + PIXELS > pixels) {
                at = qb_at256(&r, pixels - PIXELS);
            }
            at = tile(&r, &b, at, PIXELS, odd, sums);
        }
    }
}
