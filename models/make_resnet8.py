#!/usr/bin/env python3
"""Turn the trained weights of train_resnet8.py into resnet8.onnx.

    pip install numpy onnx
    python make_resnet8.py resnet8.npz resnet8.onnx

The same weights always give the same bytes (checked with onnx 1.23.2; README.md has the hash). Batch normalization is
folded into the 3x3 convolutions in float32 and in the order of torch.nn.utils.fusion.fuse_conv_bn_weights; the
factor 1/255 of the input is then multiplied into the stem's folded kernel (README.md says why then). Layer names are
those of the training script.
"""
import argparse
import hashlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F = np.float32
BN_EPSILON = F(1e-3)
INPUT_SCALE = F(1 / 255)


def fold_bn(weights, name):
    """Kernel and bias of a bias-free convolution `name`.conv with `name`.bn behind it."""
    kernel = weights[name + ".conv.weight"]
    gamma, beta = weights[name + ".bn.weight"], weights[name + ".bn.bias"]
    mean, var = weights[name + ".bn.running_mean"], weights[name + ".bn.running_var"]
    rsqrt = F(1) / np.sqrt(var + BN_EPSILON)
    return kernel * (gamma * rsqrt)[:, None, None, None], (F(0) - mean) * rsqrt * gamma + beta


class Builder:
    """Collects nodes and initializers; every method returns the name of the tensor it made."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def constant(self, name, value):
        assert value.dtype == F
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op, inputs, name, output=None, **attributes):
        output = output or name
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(self, src, name, kernel, bias, stride):
        size = kernel.shape[2]
        # Keras' SAME on an even size: stride 2 pads only bottom and right.
        pads = [0, 0, 0, 0] if size == 1 else [1, 1, 1, 1] if stride == 1 else [0, 0, 1, 1]
        inputs = [src, self.constant(name + ".weight", kernel), self.constant(name + ".bias", bias)]
        return self.node("Conv", inputs, name, kernel_shape=[size, size], strides=[stride, stride], pads=pads,
                         dilations=[1, 1], group=1)

    def relu(self, src, name):
        return self.node("Relu", [src], name)


def build(weights):
    b = Builder()
    kernel, bias = fold_bn(weights, "stem")
    x = b.relu(b.conv("input", "stem.conv", kernel * INPUT_SCALE, bias, 1), "stem.relu")
    for i, stride in enumerate([1, 2, 2]):
        name = f"blocks.{i}"
        y = b.relu(b.conv(x, name + ".a.conv", *fold_bn(weights, name + ".a"), stride), name + ".a.relu")
        y = b.conv(y, name + ".b.conv", *fold_bn(weights, name + ".b"), 1)
        if stride != 1:
            shortcut = name + ".shortcut"
            x = b.conv(x, shortcut, weights[shortcut + ".weight"], weights[shortcut + ".bias"], stride)
        x = b.relu(b.node("Add", [x, y], name + ".add"), name + ".relu")
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x], "avgpool")], "flatten", axis=1)
    dense = [b.constant("dense." + part, weights["dense." + part]) for part in ("weight", "bias")]
    b.node("Gemm", [x] + dense, "dense", output="logits", transB=1)
    graph = helper.make_graph(
        b.nodes, "resnet8",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        b.initializers, doc_string="ResNet8 trained on CIFAR-10; input: raw pixels 0..255, RGB")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="qbench", producer_version="models/make_resnet8.py")
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights", help="resnet8.npz as train_resnet8.py writes it")
    p.add_argument("output", help="the .onnx file to write")
    a = p.parse_args()
    with np.load(a.weights, allow_pickle=False) as archive:
        weights = {name: archive[name] for name in archive.files}
    data = build(weights)
    with open(a.output, "wb") as f:
        f.write(data)
    print(f"{a.output}: {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
