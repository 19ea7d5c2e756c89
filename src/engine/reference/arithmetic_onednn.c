/* Arithmetic `onednn`: formulas and sources in arithmetic.h. */
#include "engine/reference/arithmetic_parts.h"

void qb_onednn_requant(const struct qb_requant *r, const int32_t *acc, const uint8_t *residual, size_t pixels,
                       uint8_t *restrict dst)
{
    const size_t oc = (size_t)r->oc;
    const float *const scale = r->scale, *const bia = r->bia;
    const float zero_point = (float)r->zero_point, inverse = r->dst_inverse,
                floor = r->relu ? 0.0F : -INFINITY;
    for (size_t p = 0; p < pixels; p++, acc += oc, dst += oc) {
        for (size_t k = 0; k < oc; k++) {
            float value = (float)acc[k] * scale[k] + bia[k];
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

void qb_onednn_add_table(const struct qb_qparams *q, float table[256])
{
    for (int code = 0; code < 256; code++) {
        table[code] = q->scale * (float)(code - q->zero_point);
    }
}

void qb_onednn_add(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                   uint8_t *dst)
{
    const float zero_point = (float)add->zero_point;
    for (size_t i = 0; i < count; i++) {
        const float sum = add->src0[src0[i]] + add->src1[src1[i]];
        const float value = add->relu && sum < 0.0F ? 0.0F : sum;
        dst[i] = qb_add_then_round(value * add->dst_inverse, zero_point);
    }
}

uint8_t qb_onednn_avgpool(int32_t sum, int32_t n)
{
    return qb_add_then_round((float)sum * (1.0F / (float)n), 0.0F);
}
