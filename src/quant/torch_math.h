/* Float32 operations whose roundings are PyTorch's, where the order of additions or an FMA decides bits. */
#ifndef QB_QUANT_TORCH_MATH_H
#define QB_QUANT_TORCH_MATH_H

#include <math.h>
#include <stddef.h>

/* torch.sum of a contiguous float32 tensor on one thread: a cascade over 8 lanes and 4 columns
 * (aten/src/ATen/native/cpu/SumKernel.cpp; AVX2 and AVX512 builds alike). */
float qb_torch_sum(const float *values, size_t count);

/* Element i of torch.linspace(start, end, count), count >= 2; step = qb_torch_linspace_step(...). One
 * rounding each: the kernel's vector builds are contracted to FMA
 * (aten/src/ATen/native/cpu/RangeFactoriesKernel.cpp). */
static inline float qb_torch_linspace_step(float start, float end, size_t count)
{
    return (end - start) / (float)(count - 1);
}
static inline float qb_torch_linspace(float start, float end, float step, size_t count, size_t i)
{
    return i < count / 2 ? fmaf(step, (float)i, start) : fmaf(-step, (float)(count - 1 - i), end);
}

#endif
