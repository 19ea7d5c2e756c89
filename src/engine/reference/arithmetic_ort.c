/* Arithmetic `ort`: formulas and sources in arithmetic.h. */
#include "engine/reference/arithmetic_parts.h"

static void channel(const struct qb_requant *r, float aw, float sy, float *scale, float *bia)
{
    (void)r;
    (void)bia; /* bia_codes take its place */
    *scale = aw / sy;
}

static void requant(const struct qb_requant *r, const int32_t *acc, const uint8_t *residual, size_t pixels,
                    uint8_t *restrict dst)
{
    (void)residual; /* no fused_add */
    const size_t oc = (size_t)r->oc;
    const int32_t *const bia = r->bia_codes;
    const int32_t zero_point = r->zero_point, low = r->relu ? zero_point : 0;
    const float *const scale = r->scale;
    for (size_t p = 0; p < pixels; p++, acc += oc, dst += oc) {
        for (size_t k = 0; k < oc; k++) {
            dst[k] = qb_round_then_add((float)(acc[k] + bia[k]) * scale[k], zero_point, low);
        }
    }
}

static float outside_zero(const struct qb_qparams *q)
{
    return (float)(q->zero_point + qb_activation_shift(q->dtype));
}

/* What MLAS precomputes (`fixed`), and one fused multiply-add a source, the second source's inside. */
/* Operands of different types become unsigned, as ONNX Runtime rewrites signed pairs
 * (core/optimizer/qdq_transformer/ qdq_s8_to_u8.cc). all[3]: src0, src1, dst. */
static void unify(const struct qb_qparams src[2], const struct qb_qparams *dst, struct qb_qparams all[3])
{
    all[0] = src[0];
    all[1] = src[1];
    all[2] = *dst;
    if (src[0].dtype != dst->dtype || src[1].dtype != dst->dtype) {
        all[0].dtype = all[1].dtype = all[2].dtype = QB_QUINT8;
    }
}

static void add_init(const struct qb_qparams src[2], const struct qb_qparams *dst, struct qb_add *add)
{
    struct qb_qparams q[3];
    unify(src, dst, q);
    const float ratio0 = q[0].scale / q[2].scale, ratio1 = q[1].scale / q[2].scale;
    const float fixed = outside_zero(&q[2]) - fmaf(ratio0, outside_zero(&q[0]), ratio1 * outside_zero(&q[1]));
    add->ratio[0] = ratio0;
    add->ratio[1] = ratio1;
    add->fixed = fixed;
    add->shift = qb_activation_shift(q[2].dtype);
    for (int code = 0; code < 256; code++) {
        add->src0[code] = (float)(code + add->shift);
        add->src1[code] = fmaf((float)(code + add->shift), ratio1, fixed);
    }
}

static void add(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst)
{
    const int32_t low = add->relu ? add->zero_point : 0;
    for (size_t i = 0; i < count; i++) {
        dst[i] =
            qb_round_then_add(fmaf(add->src0[src0[i]], add->ratio[0], add->src1[src1[i]]), -add->shift, low);
    }
}

static void mul_init(const struct qb_qparams src[2], const struct qb_qparams *dst, struct qb_mul *mul)
{
    struct qb_qparams q[3];
    unify(src, dst, q);
    mul->zero0 = src[0].zero_point;
    mul->zero1 = src[1].zero_point;
    mul->ratio = src[0].scale * src[1].scale / dst->scale;
    mul->zero_point = outside_zero(&q[2]);
    mul->shift = qb_activation_shift(q[2].dtype);
}

static void mul(const struct qb_mul *mul, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst)
{
    for (size_t i = 0; i < count; i++) {
        const int32_t product = (src0[i] - mul->zero0) * (src1[i] - mul->zero1);
        dst[i] = qb_round_then_add((float)product * mul->ratio + mul->zero_point, -mul->shift, 0);
    }
}

static void avgpool_init(struct qb_avgpool *pool)
{
    const float n = (float)(pool->kh * pool->kw);
    pool->floats = !pool->whole;
    pool->factor = pool->src.scale / (pool->dst.scale * n);
}

static uint8_t avgpool(const struct qb_avgpool *pool, int32_t sum)
{
    const int32_t n = pool->kh * pool->kw;
    return qb_round_then_add((float)(sum - n * pool->src.zero_point) * pool->factor, pool->dst.zero_point, 0);
}

uint8_t qb_ort_avgpool_floats(const struct qb_avgpool *pool, const uint8_t *window, size_t row, size_t pixel)
{
    float sum = 0.0F;
    for (size_t i = 0; i < (size_t)pool->kh; i++) {
        for (size_t j = 0; j < (size_t)pool->kw; j++) {
            sum += qb_dequantize(&pool->src, window[i * row + j * pixel]);
        }
    }
    const float mean = sum / (float)(pool->kh * pool->kw);
    return qb_round_then_add(mean / pool->dst.scale + outside_zero(&pool->dst),
                             -qb_activation_shift(pool->dst.dtype), 0);
}

/* QuantizeLinear: a division, limits in float, and the zero point behind the rounding. */
static uint8_t quantize(const struct qb_qparams *q, float value)
{
    return qb_round_then_add(value / q->scale, q->zero_point, 0);
}

static uint8_t input(const struct qb_qparams *q, float value)
{
    return quantize(q, value);
}

static uint8_t relu(const struct qb_qparams *src, const struct qb_qparams *dst, int code)
{
    const float value = qb_dequantize(src, (uint8_t)code);
    return quantize(dst, value > 0.0F ? value : 0.0F);
}

const struct qb_arithmetic_ops qb_arithmetic_ort = {
    .channel = channel,
    .requant = requant,
    .add_init = add_init,
    .add = add,
    .mul_init = mul_init,
    .mul = mul,
    .avgpool_init = avgpool_init,
    .avgpool = avgpool,
    .input = input,
    .relu = relu,
};
