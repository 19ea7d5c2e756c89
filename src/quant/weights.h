/* Weights: observed once and quantized, as torch.ao.nn.quantized.modules.utils._quantize_weight does. */
#ifndef QB_QUANT_WEIGHTS_H
#define QB_QUANT_WEIGHTS_H

#include "base/arena.h"
#include "base/status.h"
#include "config/scheme.h"
#include "quant/qgraph.h"

struct qb_quantized_weights {
    const int8_t *codes;        /* inside form, order of the float weights */
    int scale_count;            /* 1 or channels */
    const float *scales;        /* [scale_count] */
    const int32_t *zero_points; /* [scale_count], inside form */
    const float *seen;          /* [scale_count][2], extremes of the float weights */
};

/* `wei` holds `channels` slices of `each` floats. Arrays live in `arena`. */
enum qb_status qb_weights_quantize(const struct qb_observer_spec *spec, const float *wei, int channels,
                                   size_t each, struct qb_arena *arena, struct qb_quantized_weights *out,
                                   struct qb_error *err);

/* Codes of `count` weights that share a scale, another one than was derived, by the rule of `spec`. The zero
 * point, inside form, is kept. Codes are as far from it as the dtype and `bits` allow: symmetric ones without
 * the least code where the derived range is without it, and no further than a reduced range. */
void qb_weights_requantize(const struct qb_observer_spec *spec, const float *wei, size_t count, float scale,
                           int32_t zero_point, int8_t *codes);

/* A scale so small that a bias would have no int32 code in the accumulator's units (a channel whose weights
 * are all but 0) is widened, and its weights' codes change with it: `weights` are then other arrays of
 * `arena`. bia: [channels], finite; `each` weights a channel. Arithmetic `ort`:
 * _adjust_weight_scale_for_int32_bias of qdq_quantizer.py, which leaves unsigned and affine weights alone.
 * `tflite`: SetBiasParamsWithAdjustments of quantization_driver.cc, whose biases keep to half of the int32
 * range. Others have float biases: nothing to do. */
enum qb_status qb_weights_widen(const struct qb_observer_spec *spec, const float *wei, int channels,
                                size_t each, const float *bia, float src_scale, enum qb_arithmetic arithmetic,
                                struct qb_arena *arena, struct qb_quantized_weights *weights,
                                struct qb_error *err);

/* Gives CONV or DENSE `to` the codes of its float bias in accumulator units, and what the codes stand for in
 * the bias's place. Weight scales are known; the accumulator's is a float32 product. Arithmetic `ort`:
 * onnxruntime/python/tools/quantization/base_quantizer.py (double, half to even). `tflite`:
 * SymmetricBiasQuantize of quantization_utils.cc (float32, times the reciprocal, half away from zero). */
enum qb_status qb_bia_quantize(struct qb_qnode *to, float src_scale, enum qb_arithmetic arithmetic,
                               struct qb_arena *arena, struct qb_error *err);

#endif
