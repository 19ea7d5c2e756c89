/* A dense layer of integer weights between floats, which quantizes what it reads at run time by its range:
 * one image's, so that images do not depend on their neighbours. PyTorch takes the range of a whole batch; of
 * one image its quantized::linear_dynamic under the engine fbgemm gives the same bits (aten/src/ATen/native/
 * quantized/cpu/qlinear_dynamic.cpp and QuantUtils.h, ChooseQuantizationParams without preserve_sparsity and
 * force_scale_power_of_two), checked against torch 2.13:
 *
 *   min, max   of the source, and 0
 *   top        127 with reduce_range, else 255
 *   s          (max - min) / top in double; 0.1 where its float32 is 0 or has no finite reciprocal
 *   small s    below t = (float)6.1e-5 it becomes t, and the range grows with it, in float32:
 *              max = t * top where min is 0, min = -t * top where max is 0, else both times t / s
 *   z          rne(0 - min / s) or rne(top - max / s) in double, clamped to 0..top:
 *              the first where 0 - abs(min / s) < top - abs(max / s)
 *   q          sat(rne(fma(x, 1 / (float)s, (float)z)))
 *   acc[k]     sum of (q - z) * (wei[k] - zw[k]), exact in int32
 *   dst[k]     fma((float)acc[k], (float)s * sw[k], bia[k])
 */
#ifndef QB_ENGINE_REFERENCE_DYNAMIC_H
#define QB_ENGINE_REFERENCE_DYNAMIC_H

#include "base/arena.h"
#include "quant/qgraph.h"

struct qb_dynamic_dense {
    const struct qb_qnode *node;
    const int16_t *wei; /* [oc][ic] wei - zw */
};
enum qb_status qb_dynamic_dense_init(const struct qb_qnode *node, struct qb_arena *arena,
                                     struct qb_dynamic_dense *out, struct qb_error *err);
/* src [ic] -> dst [oc], before a ReLU. */
void qb_dynamic_dense_run(const struct qb_dynamic_dense *dense, const float *src, float *dst);

/* s and z of finite values between min and max. */
struct qb_qparams qb_dynamic_qparams(float min, float max, int top);

#endif
