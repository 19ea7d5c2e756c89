/* Sums of the float network: convolutions and dense layers in the order in which PyTorch adds.
 *
 * A float32 sum depends on its order, and through a histogram's bins one last bit can move a scale by a
 * thousandth. So calibration adds as PyTorch 2.13's x86 build does on CPUs with AVX512, and gets its tensors
 * bit for bit (the golden case fp32 says so). Every term is one FMA; a chain adds terms one after the other.
 *
 * DIRECT (oneDNN's jit:avx512_core, kernels larger than 1x1): source channels in blocks of 16, each block a
 * chain from 0 over rows, columns, channels; dst = first chain + bias, then += each further chain.
 *
 * POINTWISE (oneDNN's jit_1x1:avx512_core): one chain over the channels that starts with the bias.
 *
 * GEMM (a batch of one small image: im2col and MKL's sgemm): terms over channels, rows, columns, cut into
 * ceil(terms / 256) equal pieces; dst = bias, then += the chain of each piece from 0. The pieces were
 * measured with sums of chosen numbers; MKL does not document them.
 *
 * Dense (MKL's sgemm): a chain from 0, then + bias. For a few rows, and on CPUs of other makers than Intel,
 * MKL has other orders; they are left out, as they move the logits by 2e-7 and nothing else.
 *
 * Which one PyTorch takes: use_mkldnn in aten/src/ATen/native/Convolution.cpp. */
#ifndef QB_ENGINE_REFERENCE_F32_SUMS_H
#define QB_ENGINE_REFERENCE_F32_SUMS_H

#include <stdbool.h>

#include "base/arena.h"
#include "engine/reference/f32_chain.h"
#include "model/graph.h"

/* Weights and bias of one CONV or DENSE, [tile of output channels][tap][ic][lane]; the last tile is filled up
 * with zeros. */
struct qb_float_weights {
    size_t ic, oc;
    const float *wei, *bia;
    const struct qb_chain *chain;
};
/* False: out of memory. No instruction set above `cap` is used. */
bool qb_float_weights_init(const struct qb_node *node, enum qb_isa cap, struct qb_arena *arena,
                           struct qb_float_weights *out);

/* dst of CONV `node` for one image, both NHWC. `alone`: the image is the whole batch. */
void qb_float_conv(const struct qb_node *node, const struct qb_float_weights *weights,
                   struct qb_shape src_shape, bool alone, const float *src, float *dst);
/* Each window's sum, row after row, divided by its size. */
void qb_float_avgpool(const struct qb_node *node, struct qb_shape src_shape, const float *src, float *dst);
void qb_float_dense(const struct qb_float_weights *weights, const float *src, float *dst);

#endif
