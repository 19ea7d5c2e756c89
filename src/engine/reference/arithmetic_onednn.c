/* Arithmetic `onednn`: formulas and sources in arithmetic.h. */
#include "engine/reference/arithmetic_parts.h"

static void requant(const struct qb_requant *r, const int32_t *acc, const uint8_t *residual, size_t pixels,
                    uint8_t *restrict dst)
{
    const size_t oc = (size_t)r->oc;
    const float *const scale = r->scale, *const bia = r->bia, acc_scale = r->acc_scale;
    const float zero_point = (float)r->zero_point, inverse = r->dst_inverse,
                floor = r->relu ? 0.0F : -INFINITY;
    for (size_t p = 0; p < pixels; p++, acc += oc, dst += oc) {
        for (size_t k = 0; k < oc; k++) {
            float value = (float)acc[k] * acc_scale * scale[k] + bia[k];
            if (residual) {
                value = fmaf(r->res_scale, (float)(residual[k] - r->res_zero_point), value);
            }
            value = value > floor ? value : floor;
            dst[k] = qb_add_then_round(value * inverse, zero_point);
        }
        if (residual) {
            residual += oc;
        }
    }
}

static void add_table(const struct qb_qparams *q, float table[256])
{
    for (int code = 0; code < 256; code++) {
        table[code] = q->scale * (float)(code - q->zero_point);
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
    const float zero_point = (float)add->zero_point;
    for (size_t i = 0; i < count; i++) {
        const float sum = add->src0[src0[i]] + add->src1[src1[i]];
        const float value = add->relu && sum < 0.0F ? 0.0F : sum;
        dst[i] = qb_add_then_round(value * add->dst_inverse, zero_point);
    }
}

static uint8_t avgpool(const struct qb_avgpool *pool, int32_t sum)
{
    return qb_add_then_round((float)sum * pool->factor, 0.0F);
}

const struct qb_arithmetic_ops qb_arithmetic_onednn = {
    .requant = requant,
    .add_init = add_init,
    .add = add,
    .avgpool = avgpool,
    .input = qb_torch_input,
};
