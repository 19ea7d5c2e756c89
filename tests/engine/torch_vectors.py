"""Prints the table of test_arithmetic_torch.c: digests of what PyTorch's quantized operators give for codes that both sides draw
from the same generator. Needs the packages numpy and torch and a CPU with AVX512-VNNI; the committed table is torch 2.13.0's, with
its oneDNN 3.12 held to that instruction set (with AMX other kernels round otherwise)."""

import hashlib
import os

os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"

import numpy as np  # noqa: E402
import torch  # noqa: E402

PIXELS, IC, OC = 4096, 4, 64
f32 = np.float32

# sx, sy, zy. The products of weight scales with sx are sy / 2 give or take a unit in the last place, and biases are multiples of
# sy: every other sum is at a tie, where each rounding shows. 1 / (1 / sx) is not sx in rows 0 and 2.
ROWS = ((0.1876, 1.37, 0), (0.0625, 0.9, 3), (0.0526, 2.71, 1))
RESIDUAL = (0.61, 101)


def draw(seed, count):
    """Bytes of the generator of Numerical Recipes; the test has the same three lines."""
    state, out = seed, np.empty(count, np.uint8)
    for i in range(count):
        state = (1664525 * state + 1013904223) & 0xFFFFFFFF
        out[i] = state >> 24
    return out


def weight_scales(sx, sy):
    middle = f32(f32(f32(sy) / f32(sx)) / f32(2))
    return np.array([np.nextafter(middle, middle * f32(k % 3)) for k in range(OC)], f32)  # below, there, above


SRC = draw(1, PIXELS * IC).reshape(1, 64, PIXELS // 64, IC).transpose(0, 3, 1, 2)
WEI = (draw(2, OC * IC).astype(int) % 3 - 1).astype(np.int8).reshape(OC, IC, 1, 1)
RES = draw(3, PIXELS * OC).reshape(1, 64, PIXELS // 64, OC).transpose(0, 3, 1, 2)


def biases(sy):
    return torch.from_numpy(np.array([f32(sy) * f32(k % 7 - 3) for k in range(OC)], f32))


def last(codes):
    return torch.from_numpy(codes.copy()).contiguous(memory_format=torch.channels_last)


def quantized(codes, scale, zero_point):
    tensor = torch._make_per_tensor_quantized_tensor(codes, float(f32(scale)), zero_point)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def digest(codes):
    codes = codes.numpy()
    if codes.ndim == 4:
        codes = codes.transpose(0, 2, 3, 1)
    return hashlib.sha256(np.ascontiguousarray(codes).tobytes()).hexdigest()


def eager(operation, relu, sx, sy, zy):
    ops = torch.ops.quantized
    if operation == "ADD":
        out = (ops.add_relu if relu else ops.add)(
            quantized(last(RES), *RESIDUAL), quantized(last(RES[:, ::-1]), sx, 7), float(f32(sy)), zy
        )
        return out.int_repr()
    if operation == "POOL":
        return torch.nn.functional.avg_pool2d(quantized(last(RES), *RESIDUAL), 2).int_repr()
    wei = torch.from_numpy(WEI if operation == "CONV" else WEI.reshape(OC, IC))
    scales = torch.from_numpy(weight_scales(sx, sy).astype(np.float64))
    wei = torch._make_per_channel_quantized_tensor(wei, scales, torch.zeros(OC, dtype=torch.int64), 0)
    bia = biases(sy)
    if operation == "CONV":
        packed = ops.conv2d_prepack(wei, bia, [1, 1], [0, 0], [1, 1], 1)
        run = ops.conv2d_relu if relu else ops.conv2d
        return run(quantized(last(SRC), sx, 0), packed, float(f32(sy)), zy).int_repr()
    rows = torch.from_numpy(SRC.transpose(0, 2, 3, 1).reshape(PIXELS, IC).copy())
    run = ops.linear_relu if relu else ops.linear
    return run(quantized(rows, sx, 0), ops.linear_prepack(wei, bia), float(f32(sy)), zy).int_repr()


def primitive(operation, relu, sx, sy, zy):
    ops = torch.ops.onednn
    sx, sy = float(f32(sx)), float(f32(sy))
    scales, zeros = torch.from_numpy(weight_scales(sx, sy)), torch.zeros(OC, dtype=torch.int32)
    packed = ops.qconv_prepack(torch.from_numpy(WEI), scales, sx, 0, [1, 1], [0, 0], [1, 1], 1, list(SRC.shape))
    geometry = ([1, 1], [0, 0], [1, 1], 1, sy, zy, torch.uint8)
    after = "relu" if relu else "none"
    if operation == "CONV":
        return ops.qconv2d_pointwise(last(SRC), sx, 0, packed, scales, zeros, biases(sy), *geometry, after, [], "")
    scale, zero = float(f32(RESIDUAL[0])), RESIDUAL[1]
    return ops.qconv2d_pointwise.binary(
        last(SRC), sx, 0, packed, scales, zeros, last(RES), biases(sy), *geometry, scale, zero, "sum", 1.0, after, [], ""
    )


def main():
    torch.set_num_threads(1)
    cases = [("ONEDNN_3_12", o) for o in ("CONV", "SUM")]
    cases += [(a, o) for a in ("TORCH_ONEDNN", "TORCH_X86") for o in ("CONV", "DENSE", "ADD", "POOL")]
    for arithmetic, operation in cases:
        if arithmetic.startswith("TORCH"):
            torch.backends.quantized.engine = arithmetic[6:].lower()
        for row, (sx, sy, zy) in enumerate(ROWS):
            relu = row != 1
            run = eager if arithmetic.startswith("TORCH") else primitive
            text = digest(run(operation, relu, sx, sy, zy))
            print(f'    {{QB_ARITHMETIC_{arithmetic}, {operation}, {row}, "{text}"}},')


main()
