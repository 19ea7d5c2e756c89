/* Arithmetic `fbgemm`: formulas and sources in arithmetic.h. */
#include "engine/reference/arithmetic_parts.h"

static void channel(const struct qb_requant *r, float aw, float sy, float *scale, float *bia)
{
    *scale = aw / sy;
    *bia = r->per_tensor ? *bia : *bia / aw;
}

static void requant(const struct qb_requant *r, const int32_t *acc, const uint8_t *residual, size_t pixels,
                    uint8_t *restrict dst)
{
    (void)residual; /* no fused_add */
    const size_t oc = (size_t)r->oc;
    const float *const bia = r->bia, *const scale = r->scale, factor = r->bia_factor;
    const int32_t zero_point = r->zero_point, low = r->relu ? zero_point : 0;
    for (size_t p = 0; p < pixels; p++, acc += oc, dst += oc) {
        if (r->per_tensor) {
            for (size_t k = 0; k < oc; k++) {
                dst[k] = qb_round_then_add(fmaf(bia[k], factor, (float)acc[k]) * scale[k], zero_point, low);
            }
        } else {
            for (size_t k = 0; k < oc; k++) {
                dst[k] = qb_round_then_add(((float)acc[k] + bia[k]) * scale[k], zero_point, low);
            }
        }
    }
}

static void add_table(const struct qb_qparams *q, float table[256])
{
    const float offset = q->scale * (float)-q->zero_point;
    for (int code = 0; code < 256; code++) {
        table[code] = fmaf(q->scale, (float)code, offset);
    }
}

static void add_init(const struct qb_qparams src[2], const struct qb_qparams *dst, struct qb_add *add)
{
    (void)dst;
    add_table(&src[0], add->src0);
    add_table(&src[1], add->src1);
}

static void add(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst)
{
    for (size_t i = 0; i < count; i++) {
        const float sum = add->src0[src0[i]] + add->src1[src1[i]];
        const float value = add->relu && sum < 0.0F ? 0.0F : sum;
        dst[i] = qb_round_then_add(value * add->dst_inverse, add->zero_point, 0);
    }
}

static uint8_t avgpool(const struct qb_avgpool *pool, int32_t sum)
{
    const int32_t n = pool->kh * pool->kw, zero_point = pool->dst.zero_point;
    return qb_round_then_add((float)(sum - zero_point * n) * pool->factor, zero_point, 0);
}

const struct qb_arithmetic_ops qb_arithmetic_fbgemm = {
    .channel = channel,
    .requant = requant,
    .add_init = add_init,
    .add = add,
    .avgpool = avgpool,
    .input = qb_torch_input,
};
