/* The exact meaning of integer arithmetic behind the int32 accumulator: how accumulators, sums and pooling
 * windows become codes again. The reference engine is built from these functions; an engine that gets s32
 * results from a library finishes them here, and tests of kernels compare with them. Change nothing here
 * without the golden tests.
 *
 * Notation: every operation is one float32 operation with one rounding (-ffp-contract=off), rne() rounds to
 * nearest, ties to even, sat() clamps to 0..255; sx, sw, sy and zx, zy are scales and zero points of src, wei
 * and dst. n is the number of codes in a pooling window.
 *
 * acc[k] = sum over the window of (src - zx) * (wei - zw[k]), exact in int32. Padding adds nothing: it is the
 * code zx.
 *
 * fbgemm: PyTorch's fbgemm kernels (pytorch/FBGEMM include/fbgemm/OutputProcessing-inl.h and
 * src/QuantUtilsAvx2.cc; pytorch/pytorch aten/src/ATen/native/quantized/cpu/qconv.cpp,
 * kernels/QuantizedOpKernels.cpp), checked against torch 2.13:
 *   CONV, DENSE  aw = sx * sw[k]; m = aw / sy
 *                per-channel scales: v = (float)acc + bia[k] / aw
 *                per-tensor scale:   v = fma(bia[k], (float)(1.0 / (double)aw), (float)acc)
 *                dst = clamp(rne(v * m) + zy, relu ? zy : 0, 255)
 *   ADD          d(q) = fma(s, (float)q, s * (float)-z) of both sources; c = d0 + d1; relu: c = max(c, 0)
 *                dst = sat(rne(c * (1 / sy)) + zy)
 *   AVGPOOL      dst = sat(rne((float)(sum of (src - z)) * (1 / n)) + z)
 *   DENSE with `dynamic`, floats to floats: dynamic.h
 *
 * onednn: oneDNN 3's int8 kernels (oneapi-src/oneDNN doc/programming_model/attributes_quantization.md,
 * src/cpu/x64/jit_avx512_core_x8s8s32x_conv_kernel.cpp, jit_brgemm_post_ops.hpp, jit_uni_i8i8_pooling.cpp):
 *   CONV, DENSE  v = (float)acc * (sx * sw[k]) + bia[k]             two roundings, no FMA
 *                fused_add: v = fma(sr, (float)(res - zr), v)       the sum post-op
 *                relu: v = max(v, 0)
 *                dst = rne(sat(v * (1 / sy) + (float)zy))           zy added before rounding
 *   ADD          d(q) = s * (float)(q - z); c = d0 + d1; relu and dst as above
 *   AVGPOOL      dst = sat(rne((float)(sum of src) * (1 / n)))      raw codes: other ties than fbgemm
 *
 * Both: INPUT     dst = sat(rne(fma((float)p, 1 / s, (float)z))), as torch.quantize_per_tensor.
 *
 * onednn_3_12: onednn, but oneDNN 3.12's kernels for AVX512-VNNI multiply by the scales one after the other
 * (src/cpu/x64/brgemm/jit_brgemm_kernel.cpp, store_accumulators_apply_post_ops, and
 * jit_avx512_core_x8s8s32x_conv_kernel.cpp; those for AMX and AVX2 by the product, as 3.2 does everywhere).
 * Checked against the primitives in torch 2.13 (torch.ops.onednn.qconv2d_pointwise, with the sum too):
 *   CONV, DENSE  v = ((float)acc * sx) * sw[k] + bia[k]             three roundings, then as onednn
 *
 * torch_onednn, torch_x86: PyTorch's quantized engines onednn and x86 on a CPU with AVX512-VNNI and without
 * AMX (aten/src/ATen/native/quantized/cpu/qconv.cpp, qlinear.cpp; intel/ideep
 * include/ideep/operators/conv.hpp), checked against torch 2.13, whose oneDNN is 3.12. Scales travel as
 * reciprocals: r(s) = 1 / (1 / s).
 *   CONV         v = ((float)acc * r(sx)) * sw[k] + bia[k], then as onednn
 *   DENSE        torch_onednn: v = ((float)acc * r(sx)) * r(sw[k]) + bia[k], then as onednn
 *                torch_x86: fbgemm's, whose kernels this engine takes for dense layers
 *   the others   fbgemm's: they are PyTorch's own, whatever the engine
 *
 * ort: ONNX Runtime's CPU provider on x86 with FMA (microsoft/onnxruntime onnxruntime/core/mlas/lib/
 * qladd.cpp, qlmul.cpp, qlgavgpool.cpp, quantize.cpp, qgemm.h; onnxruntime/contrib_ops/cpu/quantization/
 * qlinear_pool.cc), checked against onnxruntime 1.32. q' and z' are codes and zero points in outside form
 * (qgraph.h), where a sum in float contains them; q' is saturated and shifted back. An ADD or MUL of
 * different types is one of unsigned tensors.
 *   INPUT        dst = sat(rne((float)p / s) + z)
 *   CONV, DENSE  m = (sx * sw[k]) / sy; v = (float)(acc + bia_codes[k]) * m
 *                dst = clamp(rne(v) + zy, relu ? zy : 0, 255)
 *   ADD          r0 = s0 / sy; r1 = s1 / sy; c = (float)zy' - fma(r0, (float)z0', r1 * (float)z1')
 *                dst' = rne(fma((float)q0', r0, fma((float)q1', r1, c))); relu: at least zy'
 *   MUL          m = (s0 * s1) / sy; dst' = rne((float)((q0 - z0) * (q1 - z1)) * m + (float)zy')
 *   AVGPOOL      of the whole plane: dst = sat(rne((float)(sum of (src - zx)) * (sx / (sy * n))) + zy)
 *                else: v = sum of sx * (float)(src - zx), added as floats, row after row
 *                dst' = rne((v / n) / sy + (float)zy')
 *   RELU         with another scale or zero point: DequantizeLinear, Relu, QuantizeLinear
 *                dst = sat(rne(max(sx * (float)(src - zx), 0) / sy) + zy)
 *
 * tflite: the reference kernels of TensorFlow Lite, in integers (tensorflow/tensorflow, tensorflow/lite/
 * kernels/internal/common.cc, quantization_util.cc, reference/integer_ops/conv.h, add.h, pooling.h, and
 * kernels/kernel_util.cc; google/gemmlowp fixedpoint/fixedpoint.h), checked against LiteRT 2.3:
 *   m, r         of a double M below 1: M = m * 2^-(31 + r), r >= 0, where m in 2^30 .. 2^31 - 1 is rounded
 *                from the mantissa of frexp, half away from zero; M below 2^-32 is 0
 *   twice(x, M)  h = floor((x * m + 2^30) / 2^31); h / 2^r, rounded half away from zero
 *   once(x, M)   floor((x * m + 2^(30 + r)) / 2^(31 + r))
 *   CONV         M = (double)sx * (double)sw[k] / (double)sy
 *                dst = clamp(twice(acc + bia_codes[k], M) + zy, relu ? zy : 0, 255)
 *   DENSE        the same with once; one scale for all weights: M = (double)(sx * sw) / (double)sy
 *   ADD          t = 2 * max(s0, s1); M0 = s0 / t, M1 = s1 / t, M2 = t / (2^20 * sy)
 *                v = twice((q0 - z0) * 2^20, M0) + twice((q1 - z1) * 2^20, M1)
 *                dst = clamp(twice(v, M2) + zy, relu ? zy : 0, 255)
 *   AVGPOOL      of int8 codes q - 128, whatever the type outside: S / n rounded half away from zero, + 128
 *   INPUT        dst = sat(rha((float)p / s) + z), rha() rounds half away from zero
 *
 * All: RELU within one scale and zero point is max(src, z); logits and DEQUANTIZE are s * (float)(code - z);
 * QUANTIZE is INPUT of any float, of codes INPUT of what DEQUANTIZE makes of them. Float nodes are those of
 * the float network (f32_sums.h).
 */
#ifndef QB_ENGINE_REFERENCE_ARITHMETIC_H
#define QB_ENGINE_REFERENCE_ARITHMETIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/qgraph.h"

/* A real number below 1 as tflite has it: mantissa * 2^-(31 + right). */
struct qb_multiplier {
    int32_t mantissa; /* 0, or 2^30 .. 2^31 - 1 */
    int32_t right;    /* negative: the number is 1 or more */
};
struct qb_multiplier qb_quantize_multiplier(double real);
/* x * m rounded in two steps, in one; m.right in 0..31. */
int32_t qb_multiply_twice(int32_t x, struct qb_multiplier m);
int32_t qb_multiply_once(int32_t x, struct qb_multiplier m);

/* The tail of one CONV or DENSE: accumulators to codes. */
struct qb_requant {
    enum qb_arithmetic arithmetic; /* whose formula: fbgemm, onednn, ort or tflite */
    int oc;
    bool relu;
    int32_t zero_point;       /* zy */
    int32_t low, high;        /* codes of dst; 0, 255 unless it has fewer bits */
    bool per_tensor;          /* fbgemm: one weight scale, the bias joins by FMA */
    float bia_factor;         /* fbgemm, per_tensor: 1 / aw */
    const float *bia;         /* [oc] fbgemm per channel: bia / aw; else bia */
    const int32_t *bia_codes; /* [oc], ort, tflite; else NULL */
    bool apart;               /* onednn_3_12, torch_onednn, torch_x86: */
    float acc_scale;          /* sx or r(sx), a factor of its own; else 1 */
    const float *scale;       /* [oc] fbgemm, ort: m; onednn: sx * sw, sw or r(sw) */
    float dst_inverse;        /* onednn: 1 / sy */
    float res_scale;          /* onednn, fused_add */
    int32_t res_zero_point;
    const struct qb_multiplier *multipliers; /* [oc], tflite */
    bool once;                               /* tflite: DENSE */
};
/* Arrays live in `arena`. Scales that leave float32's range in a product or quotient are QB_EUNSUPPORTED. */
enum qb_status qb_requant_init(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                               struct qb_requant *out, struct qb_error *err);
/* acc [pixels][oc] -> dst [pixels][oc]. residual: codes [pixels][oc] of src[1] when the node has fused_add,
 * else NULL. */
void qb_requant_run(const struct qb_requant *requant, const int32_t *acc, const uint8_t *residual,
                    size_t pixels, uint8_t *dst);

/* ADD: what every code of each source contributes. */
struct qb_add {
    enum qb_arithmetic arithmetic;
    bool relu;
    float src0[256];       /* the value; ort: the code, outside form */
    float src1[256];       /* the value; ort: fma(q1', r1, c) */
    float ratio[2], fixed; /* ort: r0, r1, c */
    float dst_inverse;     /* 1 / sy */
    int32_t zero_point;
    int32_t low, high;               /* as in qb_requant */
    int32_t shift;                   /* ort: outside code = inside code + shift */
    int32_t raw0[256], raw1[256];    /* tflite */
    struct qb_multiplier multiplier; /* tflite: M2 */
};
void qb_add_init(const struct qb_qgraph *graph, int node, struct qb_add *out);
/* dst may be src0 or src1. */
void qb_add_run(const struct qb_add *add, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst);

/* MUL, in arithmetics that have it (qb_arithmetic_traits). */
struct qb_mul {
    enum qb_arithmetic arithmetic;
    int32_t zero0, zero1;
    float ratio;      /* m */
    float zero_point; /* zy' */
    int32_t shift;    /* outside code = inside code + shift */
};
void qb_mul_init(const struct qb_qgraph *graph, int node, struct qb_mul *out);
/* dst may be src0 or src1. */
void qb_mul_run(const struct qb_mul *mul, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst);

/* AVGPOOL: windows of kh x kw = n codes, n <= 2^23. */
struct qb_avgpool {
    enum qb_arithmetic arithmetic;
    int kh, kw;
    bool whole; /* one window, all of the source */
    struct qb_qparams src, dst;
    float factor; /* of the sum: 1 / n; ort: sx / (sy * n) */
    bool floats;  /* ort, not the whole plane: terms are added as floats, one after the other */
};
void qb_avgpool_init(const struct qb_qgraph *graph, int node, struct qb_avgpool *out);
/* One channel of one window: code (i, j) is window[i * row + j * pixel]. */
uint8_t qb_avgpool_run(const struct qb_avgpool *pool, const uint8_t *window, size_t row, size_t pixel);
/* The same from the sum of the raw codes; not with `floats`. */
uint8_t qb_avgpool_code(const struct qb_avgpool *pool, int32_t sum);

/* INPUT: the code of every pixel value. */
void qb_input_table(enum qb_arithmetic arithmetic, const struct qb_qparams *q, uint8_t table[256]);
/* QUANTIZE. */
void qb_quantize_run(enum qb_arithmetic arithmetic, const struct qb_qparams *q, const float *src,
                     size_t count, uint8_t *dst);
/* RELU, and QUANTIZE of codes: the code of every code. */
void qb_code_table(const struct qb_qgraph *graph, int node, uint8_t table[256]);

/* To codes and back, in place: scale * (clamp(rne(x / scale) + zero_point) - zero_point). */
void qb_simulate(const struct qb_qparams *q, size_t count, float *tensor);

static inline float qb_dequantize(const struct qb_qparams *q, uint8_t code)
{
    return q->scale * (float)(code - q->zero_point);
}

#endif
