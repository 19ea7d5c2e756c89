/* Convolution in plain C: the meaning of conv.h. Zero points are subtracted before the multiplication, as
 * written there. */
#include "kernels/conv/conv_impls.h"
#include "kernels/tail_ref.h"

static size_t depth(const struct qb_conv *c)
{
    return (size_t)c->kh * (size_t)c->kw * (size_t)c->ic;
}

static size_t packed_bytes(const struct qb_conv *c)
{
    return (size_t)c->oc * depth(c) * sizeof(int16_t);
}

/* [oc][kh][kw][ic]: wei - zw */
static void pack(const struct qb_conv *c, void *packed)
{
    int16_t *to = packed;
    for (int k = 0; k < c->oc; k++) {
        const int32_t zero_point = c->wei_zero_points ? c->wei_zero_points[k] : 0;
        for (int i = 0; i < c->kh; i++) {
            for (int j = 0; j < c->kw; j++) {
                for (int n = 0; n < c->ic; n++) {
                    *to++ = (int16_t)(c->wei[(size_t)k * c->wei_o + (size_t)n * c->wei_i +
                                             (size_t)i * c->wei_y + (size_t)j * c->wei_x] -
                                      zero_point);
                }
            }
        }
    }
}

static size_t scratch_bytes(const struct qb_conv *c)
{
    (void)c;
    return 0;
}

static const char *path(const struct qb_conv *c)
{
    (void)c;
    return "scalar";
}

static int32_t dot(const struct qb_conv *c, const uint8_t *window, const int16_t *wei)
{
    const size_t row = (size_t)c->kw * (size_t)c->ic;
    uint32_t acc = 0; /* wraps */
    for (int i = 0; i < c->kh; i++, window += c->src_pitch, wei += row) {
        for (int j = 0; j < c->kw; j++) {
            for (int n = 0; n < c->ic; n++) {
                acc += (uint32_t)((window[(size_t)j * c->src_step + (size_t)n] - c->src_zero_point) *
                                  wei[j * c->ic + n]);
            }
        }
    }
    return (int32_t)acc;
}

static void run(const struct qb_conv *c, const void *packed, const uint8_t *src, const uint8_t *res,
                uint8_t *dst, void *scratch)
{
    (void)scratch;
    const uint8_t *const first = src - (size_t)c->pad_t * c->src_pitch - (size_t)c->pad_l * c->src_step;
    for (size_t y = 0; y < (size_t)c->dst_h; y++) {
        for (size_t x = 0; x < (size_t)c->dst_w; x++) {
            const uint8_t *const window =
                first + y * (size_t)c->stride_h * c->src_pitch + x * (size_t)c->stride_w * c->src_step;
            const uint8_t *const r = res ? res + y * c->res_pitch + x * c->res_step : NULL;
            uint8_t *const d = dst + y * c->dst_pitch + x * c->dst_step;
            for (int k = 0; k < QB_BLOCK * qb_blocks(c->oc); k++) {
                d[k] = k < c->oc ? qb_tail_ref(&c->tail,
                                               dot(c, window, (const int16_t *)packed + (size_t)k * depth(c)),
                                               k, r ? r[k] : 0)
                                 : 0;
            }
        }
    }
}

const struct qb_conv_impl qb_conv_ref = {.name = "ref",
                                         .isa = QB_ISA_REF,
                                         .packed_bytes = packed_bytes,
                                         .pack = pack,
                                         .scratch_bytes = scratch_bytes,
                                         .path = path,
                                         .run = run};
