"""Prints the table of test_arithmetic_ort.c: digests of what ONNX Runtime's own operators give for codes that both sides
draw from the same generator. Needs the packages numpy, onnx and onnxruntime; the committed table is onnxruntime 1.32.0's,
on a CPU with AVX2 and FMA."""

import hashlib

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SIDE, CHANNELS = 16, 64  # an image is CHANNELS x SIDE x SIDE
COUNT = SIDE * SIDE * CHANNELS


def draw(seed, count):
    """Bytes of the generator of Numerical Recipes; the test has the same three lines."""
    state, out = seed, np.empty(count, np.uint8)
    for i in range(count):
        state = (1664525 * state + 1013904223) & 0xFFFFFFFF
        out[i] = state >> 24
    return out


def image(seed, dtype):
    """H, W, C as the test has it, as N, C, H, W; codes counted from the lowest."""
    codes = draw(seed, COUNT).reshape(1, SIDE, SIDE, CHANNELS).transpose(0, 3, 1, 2)
    return (codes.astype(int) + np.iinfo(dtype).min).astype(dtype)


def digest(codes):
    inside = (codes.astype(int) - np.iinfo(codes.dtype).min).astype(np.uint8)
    return hashlib.sha256(np.ascontiguousarray(inside.transpose(0, 2, 3, 1)).tobytes()).hexdigest()


def run(nodes, tensors, constants, dtype):
    kinds = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.int8): TensorProto.INT8}
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info(n, kinds[t.dtype], t.shape) for n, t in tensors.items()],
        [helper.make_tensor_value_info("y", kinds[np.dtype(dtype)], None)],
        [numpy_helper.from_array(np.array(v), n) for n, v in constants.items()],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    model = helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, tensors)[0]


def node(kind, inputs, domain="com.microsoft", **attributes):
    return helper.make_node(kind, inputs, ["y"], domain=domain, **attributes)


# scale and zero point (counted from the lowest code) of both sources and of the result
SCALES = (
    (0.047, 3, 0.061, 120, 0.07, 60),
    (0.25, 0, 0.125, 128, 0.25, 10),  # ties
    (0.11422195, 128, 0.22355123, 123, 0.05451426, 0),
)


def main():
    for dtype in (np.uint8, np.int8):
        low = np.iinfo(dtype).min
        for row, (s0, z0, s1, z1, sy, zy) in enumerate(SCALES):
            a, b = image(1, dtype), image(2, dtype)
            constants = {}
            for name, scale, zero in (("a", s0, z0), ("b", s1, z1), ("y", sy, zy)):
                constants[name + "s"] = np.float32(scale)
                constants[name + "z"] = np.array(zero + low, dtype)
            pair = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
            pool = ["a", "as", "az", "ys", "yz"]
            window = {"kernel_shape": [3, 2], "strides": [2, 2]}
            cases = {
                "ADD": ([node("QLinearAdd", pair)], {"a": a, "b": b}),
                "ADD_CONSTANT": ([node("QLinearAdd", pair)], {"a": a, "b": b[:, :, :1, :1].copy()}),
                "MUL": ([node("QLinearMul", pair)], {"a": a, "b": b}),
                "POOL_ALL": ([node("QLinearGlobalAveragePool", pool, channels_last=0)], {"a": a}),
                "POOL_WINDOWS": ([node("QLinearAveragePool", pool, **window)], {"a": a}),
                "RELU": (
                    [
                        helper.make_node("DequantizeLinear", ["a", "as", "az"], ["f"]),
                        helper.make_node("Relu", ["f"], ["g"]),
                        helper.make_node("QuantizeLinear", ["g", "ys", "yz"], ["y"]),
                    ],
                    {"a": a},
                ),
            }
            for name, (nodes, tensors) in cases.items():
                out = digest(run(nodes, tensors, constants, dtype))
                print(f'    {{{name}, {"QB_QUINT8" if low == 0 else "QB_QINT8"}, {row}, "{out}"}},')


main()
