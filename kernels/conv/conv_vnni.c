/* Packing and window sums of the VNNI convolutions: see conv_vnni.h. Plain C and SSE2, which every x86-64
 * has. */
#include "kernels/conv/conv_vnni.h"

#include <emmintrin.h>
#include <string.h>

static size_t pixel_quads(const struct qb_conv *c)
{
    return ((size_t)c->ic + 3) / 4;
}

static size_t window_quads(const struct qb_conv *c)
{
    return pixel_quads(c) * (size_t)(c->kh * c->kw);
}

static size_t channels(const struct qb_conv *c)
{
    return (size_t)qb_blocks(c->oc) * QB_BLOCK;
}

size_t qb_vnni_bytes(const struct qb_conv *c)
{
    return qb_round64(window_quads(c) * sizeof(int32_t)) + 2 * channels(c) * sizeof(int32_t) +
           channels(c) * window_quads(c) * 4;
}

struct qb_vnni qb_vnni_open(const struct qb_conv *c, const void *packed)
{
    const char *const base = packed;
    const size_t comp = qb_round64(window_quads(c) * sizeof(int32_t)), bytes = channels(c) * sizeof(int32_t);
    return (struct qb_vnni){
        .row_quads = pixel_quads(c) * (size_t)c->kw,
        .quads = window_quads(c),
        .offsets = (const int32_t *)(const void *)base,
        .comp = (const int32_t *)(const void *)(base + comp),
        .minus_zw = c->wei_zero_points ? (const int32_t *)(const void *)(base + comp + bytes) : NULL,
        .wei = (const int8_t *)(base + comp + 2 * bytes),
    };
}

/* Weights of output channel k for one quad (bytes beyond ic are 0), and their sum. */
static int32_t quad_of(const struct qb_conv *c, int k, int i, int j, size_t quad, int8_t out[4])
{
    int32_t sum = 0;
    for (size_t n = 0; n < 4; n++) {
        const size_t channel = quad * 4 + n;
        out[n] = k < c->oc && channel < (size_t)c->ic ? c->wei[(size_t)k * c->wei_o + channel * c->wei_i +
                                                               (size_t)i * c->wei_y + (size_t)j * c->wei_x]
                                                      : 0;
        sum += out[n];
    }
    return sum;
}

/* Channel k: its sixteenth of every quad. */
static void pack_channel(const struct qb_conv *c, int k, int8_t *wei, size_t stride, int32_t *comp,
                         int32_t *minus_zw)
{
    int64_t sum = 0;
    for (int i = 0; i < c->kh; i++) {
        for (size_t q = 0; q < pixel_quads(c); q++) {
            for (int j = 0; j < c->kw; j++, wei += stride) {
                sum += quad_of(c, k, i, j, q, wei);
            }
        }
    }
    const int64_t zw = c->wei_zero_points && k < c->oc ? c->wei_zero_points[k] : 0,
                  n = (int64_t)c->ic * c->kh * c->kw;
    *comp = (int32_t)(uint32_t)(c->src_zero_point * (n * zw - sum)); /* modulo 2^32, as the accumulator */
    *minus_zw = (int32_t)-zw;
}

void qb_vnni_pack(const struct qb_conv *c, bool pairs, void *packed)
{
    char *const base = packed;
    const size_t quads = window_quads(c);
    int32_t *offset = (int32_t *)(void *)base;
    int32_t *const comp = (int32_t *)(void *)(base + qb_round64(quads * sizeof(int32_t)));
    int32_t *const minus_zw = comp + channels(c);
    int8_t *const wei = (int8_t *)(minus_zw + channels(c));
    for (size_t i = 0; i < (size_t)c->kh; i++) {
        for (size_t q = 0; q < pixel_quads(c); q++) {
            for (size_t j = 0; j < (size_t)c->kw; j++) {
                *offset++ = (int32_t)(i * c->src_pitch + j * c->src_step + q * 4);
            }
        }
    }
    const int blocks = qb_blocks(c->oc);
    for (int k = 0; k < blocks * QB_BLOCK; k++) {
        const int block = k / QB_BLOCK, paired = pairs && (block | 1) < blocks;
        const size_t first = (size_t)(paired ? block & ~1 : block) * quads * 64;
        const size_t inside = (size_t)(paired ? (block & 1) * 64 : 0) + (size_t)(k % QB_BLOCK) * 4;
        pack_channel(c, k, wei + first + inside, paired ? 128 : 64, comp + k, minus_zw + k);
    }
}

/* Rows and columns of src that windows reach. */
static size_t reach_w(const struct qb_conv *c)
{
    return (size_t)((c->dst_w - 1) * c->stride_w + c->kw);
}

static size_t reach_h(const struct qb_conv *c)
{
    return (size_t)((c->dst_h - 1) * c->stride_h + c->kh);
}

/* Sums of windows, of the kw pixels next to each other in every row, of the pixels of one row. */
size_t qb_vnni_scratch_bytes(const struct qb_conv *c)
{
    const size_t width = (size_t)c->dst_w, count = ((size_t)c->dst_h + reach_h(c)) * width + reach_w(c);
    return c->wei_zero_points ? qb_round64(count * sizeof(int32_t)) : 0;
}

/* Sum of the `count` bytes at p; reads count rounded up to 4. */
static int32_t sum_bytes(const uint8_t *p, size_t count)
{
    const __m128i zero = _mm_setzero_si128();
    __m128i sum = zero;
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_loadu_si128((const void *)(p + i)), zero));
    }
    for (; i < count; i += 4) {
        uint32_t quad;
        memcpy(&quad, p + i, sizeof quad);
        quad &= count - i >= 4 ? UINT32_MAX : UINT32_MAX >> (32 - 8 * (count - i));
        sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_cvtsi32_si128((int32_t)quad), zero));
    }
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum)));
}

/* Two halves of the sum of 16 * n bytes at p. */
static inline __m128i half_sums(const uint8_t *p, size_t n)
{
    __m128i sum = _mm_setzero_si128();
    for (size_t i = 0; i < n; i++) {
        sum = _mm_add_epi32(sum,
                            _mm_sad_epu8(_mm_loadu_si128((const void *)(p + 16 * i)), _mm_setzero_si128()));
    }
    return sum;
}

/* Pixels of 16 * n channels, four at a time. */
static inline void sum_pixels_of(int32_t *sums, const uint8_t *row, size_t width, size_t step, size_t n)
{
    size_t x = 0;
    for (; x + 4 <= width; x += 4, row += 4 * step) {
        const __m128i a = half_sums(row, n), b = half_sums(row + step, n), c = half_sums(row + 2 * step, n),
                      d = half_sums(row + 3 * step, n);
        const __m128i ab = _mm_or_si128(a, _mm_slli_epi64(b, 32)),
                      cd = _mm_or_si128(c, _mm_slli_epi64(d, 32));
        _mm_storeu_si128((__m128i *)(void *)(sums + x),
                         _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd)));
    }
    for (; x < width; x++, row += step) {
        sums[x] = sum_bytes(row, 16 * n);
    }
}

static void sum_pixels(const struct qb_conv *c, int32_t *sums, const uint8_t *row)
{
    const size_t width = reach_w(c);
    switch (c->ic) {
    case 16: sum_pixels_of(sums, row, width, c->src_step, 1); return;
    case 32: sum_pixels_of(sums, row, width, c->src_step, 2); return;
    case 64: sum_pixels_of(sums, row, width, c->src_step, 4); return;
    default: break;
    }
    for (size_t x = 0; x < width; x++) {
        sums[x] = sum_bytes(row + x * c->src_step, (size_t)c->ic);
    }
}

/* dst[x] = sum of `terms` numbers, the first src[x * stride], the others `apart` from each other. Plain loops
 * of constant length: compilers make vectors of them. */
static void add_terms(int32_t *restrict dst, const int32_t *restrict src, size_t count, size_t stride,
                      size_t terms, size_t apart)
{
    if (terms == 3 && stride == 1) {
        const int32_t *const second = src + apart, *const third = second + apart;
        for (size_t x = 0; x < count; x++) {
            dst[x] = src[x] + second[x] + third[x];
        }
        return;
    }
    for (size_t x = 0; x < count; x++) {
        int32_t sum = 0;
        for (size_t i = 0; i < terms; i++) {
            sum += src[x * stride + i * apart];
        }
        dst[x] = sum;
    }
}

void qb_conv_window_sums(const struct qb_conv *c, const uint8_t *src, void *scratch)
{
    const size_t height = reach_h(c), width = (size_t)c->dst_w;
    int32_t *const sums = scratch, *const rows = sums + (size_t)c->dst_h * width,
                   *const pixels = rows + height * width;
    src -= (size_t)c->pad_t * c->src_pitch + (size_t)c->pad_l * c->src_step;
    for (size_t y = 0; y < height; y++, src += c->src_pitch) {
        sum_pixels(c, pixels, src);
        add_terms(rows + y * width, pixels, width, (size_t)c->stride_w, (size_t)c->kw, 1);
    }
    for (size_t y = 0; y < (size_t)c->dst_h; y++) {
        add_terms(sums + y * width, rows + y * (size_t)c->stride_h * width, width, 1, (size_t)c->kh, width);
    }
}
