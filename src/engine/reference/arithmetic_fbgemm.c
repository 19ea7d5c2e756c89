/* Arithmetic `fbgemm`: formulas and sources in arithmetic.h. */
#include "engine/reference/arithmetic_parts.h"

void qb_fbgemm_requant(const struct qb_requant *r, const int32_t *acc, size_t pixels, uint8_t *restrict dst)
{
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

void qb_fbgemm_add_table(const struct qb_qparams *q, float table[256])
{
    const float offset = q->scale * (float)-q->zero_point;
    for (int code = 0; code < 256; code++) {
        table[code] = fmaf(q->scale, (float)code, offset);
    }
}

void qb_fbgemm_add(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                   uint8_t *dst)
{
    for (size_t i = 0; i < count; i++) {
        const float sum = add->src0[src0[i]] + add->src1[src1[i]];
        const float value = add->relu && sum < 0.0F ? 0.0F : sum;
        dst[i] = qb_round_then_add(value * add->dst_inverse, add->zero_point, 0);
    }
}

uint8_t qb_fbgemm_avgpool(int32_t sum, int32_t n, int32_t zero_point)
{
    return qb_round_then_add((float)(sum - zero_point * n) * (1.0F / (float)n), zero_point, 0);
}
