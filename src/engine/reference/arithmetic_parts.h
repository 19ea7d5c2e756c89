/* Between arithmetic.c and the arithmetics only: what an arithmetic implements; and the roundings (f32.c
 * too). A new one is a file arithmetic_NAME.c with a struct qb_arithmetic_ops, and its line in the table of
 * arithmetic.c. */
#ifndef QB_ENGINE_REFERENCE_ARITHMETIC_PARTS_H
#define QB_ENGINE_REFERENCE_ARITHMETIC_PARTS_H

#include <math.h>

#include "engine/reference/arithmetic.h"
#include "quant/qparams.h"

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

struct qb_arithmetic_ops {
    /* Constants of channel k: aw = sx * sw[k], sy; only where the general ones (bia, sx * sw) do not serve.
     */
    void (*channel)(const struct qb_requant *r, float aw, float sy, float *scale, float *bia);
    /* Further constants; NULL: none. */
    enum qb_status (*constants)(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                                struct qb_requant *r, struct qb_error *err);
    void (*requant)(const struct qb_requant *r, const int32_t *acc, const uint8_t *residual, size_t pixels,
                    uint8_t *dst);
    void (*add_init)(const struct qb_qparams src[2], const struct qb_qparams *dst, struct qb_add *add);
    void (*add)(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst);
    /* NULL where the arithmetic has no MUL. */
    void (*mul_init)(const struct qb_qparams src[2], const struct qb_qparams *dst, struct qb_mul *mul);
    void (*mul)(const struct qb_mul *mul, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst);
    void (*avgpool_init)(struct qb_avgpool *pool); /* NULL: nothing to add */
    uint8_t (*avgpool)(const struct qb_avgpool *pool, int32_t sum);
    uint8_t (*input)(const struct qb_qparams *q, float value);
    /* Into another scale or zero point; NULL where those are always the source's. */
    uint8_t (*relu)(const struct qb_qparams *src, const struct qb_qparams *dst, int code);
};

extern const struct qb_arithmetic_ops qb_arithmetic_fbgemm, qb_arithmetic_onednn, qb_arithmetic_ort,
    qb_arithmetic_tflite;

/* qb_avgpool_run with `floats`. */
uint8_t qb_ort_avgpool_floats(const struct qb_avgpool *pool, const uint8_t *window, size_t row, size_t pixel);

/* INPUT and QUANTIZE of fbgemm and onednn. */
uint8_t qb_torch_input(const struct qb_qparams *q, float value);

#endif
