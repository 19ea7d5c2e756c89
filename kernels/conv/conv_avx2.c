/* Convolution for AVX2 without VNNI: the choice between the two ways of conv_avx2.h.
 *
 * Both are packed, and every call looks at its codes: where more than one quad in ODD has an unusual top bit
 * the call goes by words. */
#include <immintrin.h>

#include "kernels/conv/conv_avx2.h"
#include "kernels/conv/conv_impls.h"
#include "kernels/conv/conv_vnni.h"
#include "kernels/simd.h"

enum { ODD = 16 };

static size_t bytes_packed(const struct qb_conv *c)
{
    return qb_round64(qb_bytes_packed(c));
}

static size_t packed_bytes(const struct qb_conv *c)
{
    return bytes_packed(c) + qb_words_packed(c);
}

static void pack(const struct qb_conv *c, void *packed)
{
    qb_bytes_pack(c, packed);
    qb_words_pack(c, (char *)packed + bytes_packed(c));
}

static size_t pixel_quads(const struct qb_conv *c)
{
    return ((size_t)c->ic + 3) / 4;
}

static size_t most_odd(const struct qb_conv *c)
{
    return qb_reach_h(c) * qb_reach_w(c) * pixel_quads(c) / ODD;
}

/* Sums, quads and rows of struct qb_odd. */
static size_t sums_bytes(const struct qb_conv *c)
{
    return (size_t)c->dst_h * (size_t)c->dst_w * QB_BLOCK * sizeof(int32_t);
}

static size_t odd_bytes(const struct qb_conv *c)
{
    return qb_round64(sums_bytes(c) + most_odd(c) * sizeof(struct qb_odd_quad) + (size_t)c->dst_h);
}

/* Window sums, then struct qb_odd; or what words need. */
static size_t scratch_bytes(const struct qb_conv *c)
{
    const size_t words = qb_words_scratch(c), bytes = qb_vnni_scratch_bytes(c) + odd_bytes(c);
    return words > bytes ? words : bytes;
}

static const char *path(const struct qb_conv *c)
{
    return c->wei_zero_points ? "bytes+sums|words" : "bytes|words";
}

/* The top bits of `count` bytes (a multiple of 4) that are unlike `usual`: not 0 when there are any. */
QB_INLINE uint32_t odd_bits(const uint8_t *p, size_t count, __m256i usual)
{
    __m256i any = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        any = _mm256_or_si256(any, _mm256_xor_si256(v, usual));
    }
    for (; i + 16 <= count; i += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        any = _mm256_or_si256(any, _mm256_xor_si256(_mm256_broadcastsi128_si256(v), usual));
    }
    for (; i < count; i += 4) {
        any = _mm256_or_si256(any, _mm256_xor_si256(_mm256_set1_epi32(qb_load32(p + i)), usual));
    }
    return (uint32_t)_mm256_movemask_epi8(any);
}

/* Rows of windows that reach row y. */
static void mark_rows(const struct qb_conv *c, int y, uint8_t *rows)
{
    for (int row = y / c->stride_h; row >= 0 && y - row * c->stride_h < c->kh; row--) {
        if (row < c->dst_h) {
            rows[row] = 1;
        }
    }
}

/* Adds the odd quads of one pixel; false when there are too many. */
static bool add_pixel(const struct qb_conv *c, const uint8_t *pixel, int y, int x, struct qb_odd_quad *quads,
                      size_t *count)
{
    const uint32_t top = 0x80808080U, usual = qb_bytes_top(c) ? top : 0;
    for (size_t q = 0; q < pixel_quads(c); q++) {
        if (((uint32_t)qb_load32(pixel + 4 * q) & top) != usual) {
            if (*count == most_odd(c)) {
                return false;
            }
            quads[(*count)++] = (struct qb_odd_quad){y, x, (int32_t)q};
        }
    }
    return true;
}

/* Lists the odd quads in scratch; false when there are too many. */
static bool find_odd(const struct qb_conv *c, const uint8_t *src, char *scratch, struct qb_odd *out)
{
    struct qb_odd_quad *const quads = (struct qb_odd_quad *)(void *)(scratch + sums_bytes(c));
    uint8_t *const rows = (uint8_t *)(quads + most_odd(c));
    const __m256i usual = qb_bytes_top(c) ? _mm256_set1_epi8(-128) : _mm256_setzero_si256();
    const size_t width = qb_reach_w(c), bytes = 4 * pixel_quads(c);
    size_t count = 0;
    memset(rows, 0, (size_t)c->dst_h);
    src -= (size_t)c->pad_t * c->src_pitch + (size_t)c->pad_l * c->src_step;
    for (int y = 0; y < (int)qb_reach_h(c); y++, src += c->src_pitch) {
        if (bytes == c->src_step && !odd_bits(src, width * bytes, usual)) {
            continue;
        }
        const size_t before = count;
        for (size_t x = 0; x < width; x++) {
            const uint8_t *const pixel = src + x * c->src_step;
            if (odd_bits(pixel, bytes, usual) && !add_pixel(c, pixel, y, (int)x, quads, &count)) {
                return false;
            }
        }
        if (count > before) {
            mark_rows(c, y, rows);
        }
    }
    *out = (struct qb_odd){quads, count, rows, (int32_t *)(void *)scratch};
    return true;
}

static void run(const struct qb_conv *c, const void *packed, const uint8_t *src, const uint8_t *res,
                uint8_t *dst, void *scratch)
{
    struct qb_odd odd;
    if (!find_odd(c, src, (char *)scratch + qb_vnni_scratch_bytes(c), &odd)) {
        qb_words_run(c, (const char *)packed + bytes_packed(c), src, res, dst, scratch);
        return;
    }
    if (c->wei_zero_points) {
        qb_conv_window_sums(c, src, scratch);
    }
    qb_bytes_run(c, packed, src, res, dst, &odd, c->wei_zero_points ? scratch : NULL);
}

const struct qb_conv_impl qb_conv_avx2 = {.name = "avx2",
                                          .isa = QB_ISA_AVX2,
                                          .packed_bytes = packed_bytes,
                                          .pack = pack,
                                          .scratch_bytes = scratch_bytes,
                                          .path = path,
                                          .run = run};
