/* Between arithmetic.c and the two arithmetics only: roundings, and what each arithmetic implements. */
#ifndef QB_ENGINE_REFERENCE_ARITHMETIC_PARTS_H
#define QB_ENGINE_REFERENCE_ARITHMETIC_PARTS_H

#include <math.h>

#include "engine/reference/arithmetic.h"

/* rne(x) for |x| < 2^22: the sum with 1.5 * 2^23 leaves no bits behind the point, so float addition itself
 * rounds, to nearest even. Unlike lrintf this is plain arithmetic, which compilers turn into vectors. */
static inline int32_t qb_rne(float x)
{
    return (int32_t)((x + 12582912.0F) - 12582912.0F);
}

static inline float qb_limit(float x, float low, float high)
{
    const float raised = x > low ? x : low;
    return raised < high ? raised : high;
}

/* clamp(rne(x) + zero_point, low, 255) for low in 0..255. Limiting x first changes no result, because limits
 * and zero point are integers within +-255. */
static inline uint8_t qb_round_then_add(float x, int32_t zero_point, int32_t low)
{
    const int32_t code = qb_rne(qb_limit(x, -512.0F, 512.0F)) + zero_point, raised = code > low ? code : low;
    return (uint8_t)(raised < 255 ? raised : 255);
}

/* sat(rne(x + zero_point)), the sum in float. */
static inline uint8_t qb_add_then_round(float x, float zero_point)
{
    return (uint8_t)qb_rne(qb_limit(x + zero_point, 0.0F, 255.0F));
}

void qb_fbgemm_requant(const struct qb_requant *r, const int32_t *acc, size_t pixels, uint8_t *restrict dst);
void qb_fbgemm_add_table(const struct qb_qparams *q, float table[256]);
void qb_fbgemm_add(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                   uint8_t *dst);
uint8_t qb_fbgemm_avgpool(int32_t sum, int32_t n, int32_t zero_point);

void qb_onednn_requant(const struct qb_requant *r, const int32_t *acc, const uint8_t *residual, size_t pixels,
                       uint8_t *restrict dst);
void qb_onednn_add_table(const struct qb_qparams *q, float table[256]);
void qb_onednn_add(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                   uint8_t *dst);
uint8_t qb_onednn_avgpool(int32_t sum, int32_t n);

#endif
