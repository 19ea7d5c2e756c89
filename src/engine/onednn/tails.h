/* Fast forms of the reference's arithmetic (engine/reference/arithmetic.h), equal to it bit for bit: whole
 * vectors of accumulators or codes at a time, in the widest registers that oneDNN itself may use.
 * tests/engine/test_onednn_tails.c compares them with the definition. */
#ifndef QB_ENGINE_ONEDNN_TAILS_H
#define QB_ENGINE_ONEDNN_TAILS_H

#include "base/arena.h"
#include "engine/reference/arithmetic.h"

enum qb_simd { QB_SIMD_BASE, QB_SIMD_AVX2, QB_SIMD_AVX512, QB_SIMD_COUNT };

/* CONV, DENSE: raw accumulators sum(src * wei) to codes. */
struct qb_tail {
    size_t oc, period;     /* tables are repeated to `period` elements, so that the loop over them is long */
    const int32_t *offset; /* what zero points add to a raw accumulator */
    const float *bia, *scale;
    float factor, acc_scale, dst_inverse, res_scale, floor, low, high, float_zero_point;
    int32_t zero_point, res_zero_point;
    void (*run)(const struct qb_tail *tail, const int32_t *acc, const uint8_t *residual, size_t count,
                uint8_t *dst);
};
/* `offset` has requant->oc values; arrays are made in `arena`, false when it is out of memory. */
bool qb_tail_init(const struct qb_requant *requant, const int32_t *offset, bool residual, enum qb_simd simd,
                  struct qb_arena *arena, struct qb_tail *out);
/* acc, residual (NULL unless asked for at init), dst: [pixels][oc]; dst may be residual. */
void qb_tail_run(const struct qb_tail *tail, const int32_t *acc, const uint8_t *residual, size_t pixels,
                 uint8_t *dst);

/* ADD. */
struct qb_sum {
    float scale[2], shift[2]; /* fbgemm: fma(scale, q, shift); onednn: scale * (q - shift) */
    float dst_inverse, floor, low, high;
    float zero_point;
    void (*run)(const struct qb_sum *sum, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst);
};
void qb_sum_init(const struct qb_qgraph *graph, int node, enum qb_simd simd, struct qb_sum *out);
void qb_sum_run(const struct qb_sum *sum, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst);

#endif
