"""QDQ files through ONNX's checker and ONNX Runtime (optional: skipped, exit code 77, where Python lacks the packages
onnx and onnxruntime): ort_test.py QDQ_SAMPLE SOURCE...

Each SOURCE (see qdq_sample.c) is written as a QDQ file and run by ONNX Runtime three times: as it stands (float operators
between the pairs), in integers with our float bias, and in integers as by default, where ONNX Runtime rounds the bias to
int32 units of the accumulator. The first two are our arithmetic up to the order of float sums and ties of the average
pool; the rounded bias moves about one code in a hundred a layer, which a network this small turns into other predictions
for up to 10 of 100 images. A wrong axis, zero point or padding leaves far fewer."""

import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
except ImportError as error:
    print(f"SKIP: {error}")
    sys.exit(77)

IMAGES = 1000
RUNS = (
    # name, optimization level, optimizers left out, least share of equal predictions; measured over ten sources with
    # onnxruntime 1.32, lowest on CIFAR-10 and on synthetic images: 0.993 and 0.980, 0.998 and 0.993, 0.945 and 0.903
    ("as it stands", "ORT_DISABLE_ALL", [], 0.96),
    ("integers, float bias", "ORT_ENABLE_ALL", ["WeightBiasQuantization"], 0.98),
    ("integers", "ORT_ENABLE_ALL", [], 0.85),
)


def logits_of(path, images, level, left_out):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out)
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    assert source.name == "input" and source.shape == ["batch", 3, 32, 32], (source.name, source.shape)
    assert target.name == "logits" and target.shape == ["batch", 10], (target.name, target.shape)
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    return np.concatenate([session.run(None, {"input": pixels[i : i + 100]})[0] for i in range(0, len(pixels), 100)])


def check(sample, source):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sample, source, folder, str(IMAGES)], check=True)
        path = os.path.join(folder, "model.onnx")
        onnx.checker.check_model(onnx.load(path), full_check=True)
        images, ours = (np.load(os.path.join(folder, name)) for name in ("images.npy", "logits.npy"))
        good = True
        for name, level, left_out, least in RUNS:
            theirs = logits_of(path, images, level, left_out)
            agreement = float(np.mean(theirs.argmax(1) == ours.argmax(1)))
            equal = float(np.mean(theirs == ours))
            print(f"{os.path.basename(source)}: {name}: {agreement:.1%} of predictions, {equal:.1%} of logits equal")
            good = good and agreement >= least
        return good


def main():
    sample, *sources = sys.argv[1:]
    present = [source for source in sources if os.path.exists(source)]
    results = [check(sample, source) for source in present]
    for source in sorted(set(sources) - set(present)):
        print(f"not there: {source}")
    return 0 if all(results) else 1


sys.exit(main())
