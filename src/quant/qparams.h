/* From a range to scale and zero point, by the rule that the scheme names (enum qb_scale_rule): by default
 * UniformQuantizationObserverBase._calculate_qparams and calculate_qmin_qmax of torch/ao/quantization (2.13).
 */
#ifndef QB_QUANT_QPARAMS_H
#define QB_QUANT_QPARAMS_H

#include "base/status.h"
#include "config/scheme.h"
#include "quant/qgraph.h"

/* Storage range of a dtype's codes, outside form. */
void qb_dtype_range(enum qb_dtype dtype, int *min, int *max);

/* The same with codes of `bits` bits, 0 for 8. */
void qb_bits_range(enum qb_dtype dtype, int bits, int *min, int *max);

/* The range that scale and zero point are derived from: quant_min and quant_max if given, else that of the
 * dtype's bits; halved with reduce_range (floor, so -127 becomes -64; QB_SCALE_NNCF: -64..64). */
void qb_spec_quant_range(const struct qb_observer_spec *spec, int *min, int *max);

/* Outside code = inside code + shift, zero points alike (qgraph.h: inside are u8 activations and s8 weights).
 */
static inline int qb_activation_shift(enum qb_dtype dtype)
{
    return dtype == QB_QINT8 ? -128 : 0;
}
static inline int qb_weight_shift(enum qb_dtype dtype)
{
    return dtype == QB_QUINT8 ? 128 : 0;
}

/* QB_SCALE_TFLITE: the least limit of symmetric codes. */
#define QB_TFLITE_LIMIT 5e-7F

/* scale, dtype (the spec's, except QB_SCALE_NNCF: symmetric quint8 with negative values is qint8), quant_min
 * and quant_max, and zero_point in OUTSIDE form (the caller subtracts that dtype's shift). A range that is
 * not finite, or too wide for a float32 scale, is QB_EINPUT. */
enum qb_status qb_qparams_derive(const struct qb_observer_spec *spec, float min, float max,
                                 struct qb_qparams *out, struct qb_error *err);

#endif
