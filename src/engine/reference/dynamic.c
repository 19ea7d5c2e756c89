/* Ranges at run time: see dynamic.h. */
#include "engine/reference/dynamic.h"

#include <math.h>

#include "engine/reference/arithmetic.h"

/* Outputs and inputs at a time: codes and accumulators live on the stack, as threads share the layer. */
enum { OUTPUTS = 16, INPUTS = 256 };

struct qb_qparams qb_dynamic_qparams(float min, float max, int top)
{
    const float least = 6.1e-5F;
    min = min < 0 ? min : 0;
    max = max > 0 ? max : 0;
    double scale = ((double)max - (double)min) / top;
    if (!((float)scale > 0) || isinf(1.0F / (float)scale)) {
        scale = 0.1;
    }
    if (scale < (double)least) {
        const float factor = least / (float)scale;
        if (!(min < 0)) {
            max = least * (float)top;
        } else if (!(max > 0)) {
            min = -least * (float)top;
        } else {
            min *= factor;
            max *= factor;
        }
        scale = (double)least;
    }
    const double from_min = 0 - (double)min / scale, from_max = top - (double)max / scale;
    const bool lower = 0 - fabs((double)min / scale) < top - fabs((double)max / scale);
    const double zero = lower ? from_min : from_max;
    return (struct qb_qparams){.scale = (float)scale,
                               .zero_point = !(zero > 0)  ? 0
                                             : zero > top ? top
                                                          : (int32_t)nearbyint(zero),
                               .quant_max = top};
}

enum qb_status qb_dynamic_dense_init(const struct qb_qnode *node, struct qb_arena *arena,
                                     struct qb_dynamic_dense *out, struct qb_error *err)
{
    const size_t ic = (size_t)node->ic, oc = (size_t)node->oc;
    int16_t *const wei = qb_arena_array(arena, oc * ic, sizeof *wei);
    if (!wei) {
        return qb_fail_memory(err, oc * ic * sizeof *wei);
    }
    for (size_t i = 0; i < oc * ic; i++) {
        wei[i] = (int16_t)(node->wei[i] - node->wei_zero_points[node->wei_scale_count == 1 ? 0 : i / ic]);
    }
    *out = (struct qb_dynamic_dense){node, wei};
    return QB_OK;
}

/* acc[k] += codes * wei[k] for `outputs` rows of weights, `ic` apart. */
static void add_products(const struct qb_qparams *q, const uint8_t *codes, size_t inputs, const int16_t *wei,
                         size_t ic, size_t outputs, int32_t *acc)
{
    for (size_t k = 0; k < outputs; k++, wei += ic) {
        int32_t sum = 0;
        for (size_t i = 0; i < inputs; i++) {
            sum += (codes[i] - q->zero_point) * wei[i];
        }
        acc[k] += sum;
    }
}

void qb_dynamic_dense_run(const struct qb_dynamic_dense *dense, const float *src, float *dst)
{
    const struct qb_qnode *const n = dense->node;
    const size_t ic = (size_t)n->ic, oc = (size_t)n->oc;
    float min = src[0], max = src[0];
    for (size_t i = 1; i < ic; i++) {
        min = src[i] < min ? src[i] : min;
        max = src[i] > max ? src[i] : max;
    }
    const struct qb_qparams q = qb_dynamic_qparams(min, max, n->dynamic);
    for (size_t first = 0; first < oc; first += OUTPUTS) {
        const size_t outputs = oc - first < OUTPUTS ? oc - first : OUTPUTS;
        int32_t acc[OUTPUTS] = {0};
        for (size_t i = 0; i < ic; i += INPUTS) {
            const size_t inputs = ic - i < INPUTS ? ic - i : INPUTS;
            uint8_t codes[INPUTS];
            qb_quantize_run(QB_ARITHMETIC_FBGEMM, &q, src + i, inputs, codes);
            add_products(&q, codes, inputs, dense->wei + first * ic + i, ic, outputs, acc);
        }
        for (size_t k = 0; k < outputs; k++) {
            dst[first + k] =
                fmaf((float)acc[k], qb_acc_scale(n, q.scale, (int)(first + k)), n->bia[first + k]);
        }
    }
}
