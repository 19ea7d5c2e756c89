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

static size_t round64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t channels(const struct qb_conv *c)
{
    return (size_t)qb_blocks(c->oc) * QB_BLOCK;
}

size_t qb_vnni_bytes(const struct qb_conv *c)
{
    return round64(window_quads(c) * sizeof(int32_t)) + 2 * channels(c) * sizeof(int32_t) +
           channels(c) * window_quads(c) * 4;
}

struct qb_vnni qb_vnni_open(const struct qb_conv *c, const void *packed)
{
    const char *const base = packed;
    const size_t comp = round64(window_quads(c) * sizeof(int32_t)), bytes = channels(c) * sizeof(int32_t);
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
    int32_t *const comp = (int32_t *)(void *)(base + round64(quads * sizeof(int32_t)));
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

/* Sums of windows, of one row of columns (kh pixels high), of pixels. */
size_t qb_vnni_scratch_bytes(const struct qb_conv *c)
{
    const size_t count = (size_t)c->dst_h * (size_t)c->dst_w + (1 + reach_h(c)) * reach_w(c);
    return c->wei_zero_points ? round64(count * sizeof(int32_t)) : 0;
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

/* dst[x] += src[x * stride]; the plain loop is what compilers turn into vectors. */
static void add_row(int32_t *restrict dst, const int32_t *restrict src, size_t count, size_t stride)
{
    if (stride == 1) {
        for (size_t x = 0; x < count; x++) {
            dst[x] += src[x];
        }
        return;
    }
    for (size_t x = 0; x < count; x++) {
        dst[x] += src[x * stride];
    }
}

void qb_conv_window_sums(const struct qb_conv *c, const uint8_t *src, void *scratch)
{
    const size_t width = reach_w(c), height = reach_h(c), dst_w = (size_t)c->dst_w;
    int32_t *const sums = scratch, *const column = sums + (size_t)c->dst_h * dst_w,
                   *const pixels = column + width;
    src -= (size_t)c->pad_t * c->src_pitch + (size_t)c->pad_l * c->src_step;
    for (size_t y = 0; y < height; y++, src += c->src_pitch) {
        for (size_t x = 0; x < width; x++) {
            pixels[y * width + x] = sum_bytes(src + x * c->src_step, (size_t)c->ic);
        }
    }
    memset(sums, 0, (size_t)c->dst_h * dst_w * sizeof *sums);
    for (size_t y = 0; y < (size_t)c->dst_h; y++) {
        memset(column, 0, width * sizeof *column);
        for (size_t i = 0; i < (size_t)c->kh; i++) {
            add_row(column, pixels + (y * (size_t)c->stride_h + i) * width, width, 1);
        }
        for (size_t j = 0; j < (size_t)c->kw; j++) {
            add_row(sums + y * dst_w, column + j, dst_w, (size_t)c->stride_w);
        }
    }
}
