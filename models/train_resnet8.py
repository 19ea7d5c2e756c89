#!/usr/bin/env python3
"""Train ResNet8 (the MLPerf Tiny image-classification network) on CIFAR-10.

The network reads raw pixels, 0..255, and scales them by 1/255 in its first step, so that the factor folds into
the first convolution. Padding is Keras' SAME: a stride-2 3x3 convolution pads only at the bottom and the right.

    pip install torch==2.13.0 numpy
    python train_resnet8.py --data cifar-10-batches-bin --out resnet8.npz --bf16
    python make_resnet8.py resnet8.npz resnet8.onnx

--data holds the binary version of CIFAR-10 (data_batch_1..5.bin, test_batch.bin). The defaults are the recipe of the
published weights; --bf16 belongs to it. An interrupted training resumes from OUT.ckpt. The test set is used for
reporting only: no choice is made on it.
"""
import argparse
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def load(folder, names):
    """Images as u8 [N,3,32,32] and labels as int64 [N]."""
    raw = np.concatenate([np.fromfile(os.path.join(folder, n + ".bin"), np.uint8).reshape(-1, 3073) for n in names])
    return torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(raw[:, 0].astype(np.int64))


class Conv(nn.Module):
    """3x3 convolution with Keras' SAME padding, then batch normalization."""

    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.pad = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
        self.conv = nn.Conv2d(cin, cout, 3, stride, bias=False)
        self.bn = nn.BatchNorm2d(cout, eps=1e-3, momentum=0.05)

    def forward(self, x):
        return self.bn(self.conv(F.pad(x, self.pad)))


class Block(nn.Module):
    """Two convolutions and a shortcut: identity where the shape allows it, else 1x1 with stride."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.a, self.b = Conv(cin, cout, stride), Conv(cout, cout)
        self.shortcut = nn.Identity() if stride == 1 and cin == cout else nn.Conv2d(cin, cout, 1, stride)

    def forward(self, x):
        return F.relu(self.shortcut(x) + self.b(F.relu(self.a(x))))


class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Conv(3, 16)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.dense = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.stem(x * (1 / 255))))
        return self.dense(x.mean((2, 3)))


def augment(x, rng):
    """Random crop from a 4-pixel zero border and random mirror, one draw an image."""
    n = x.shape[0]
    padded = F.pad(x, (4, 4, 4, 4))
    dy, dx = rng.integers(0, 9, n), rng.integers(0, 9, n)
    windows = padded.unfold(2, 32, 1).unfold(3, 32, 1)  # n, 3, 9, 9, 32, 32
    out = windows[torch.arange(n), :, torch.from_numpy(dy), torch.from_numpy(dx)]
    flip = torch.from_numpy(rng.random(n) < 0.5)
    return torch.where(flip[:, None, None, None], out.flip(3), out)


@torch.no_grad()
def correct(model, x, y):
    model.eval()
    hits = sum(int((model(x[i:i + 1000].float()).argmax(1) == y[i:i + 1000]).sum()) for i in range(0, len(x), 1000))
    model.train()
    return hits


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--epochs", type=int, default=160)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--lr", type=float, default=0.3)
    p.add_argument("--decay", type=float, default=2e-4)
    p.add_argument("--ema", type=float, default=0.999)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--bf16", action="store_true", help="mixed precision (fast where the CPU has AMX or AVX512-BF16)")
    a = p.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    x, y = load(a.data, [f"data_batch_{i}" for i in range(1, 6)])
    xt, yt = load(a.data, ["test_batch"])
    model = ResNet8().to(memory_format=torch.channels_last)
    ema = ResNet8().to(memory_format=torch.channels_last)
    ema.load_state_dict(model.state_dict())
    decayed = [q for n, q in model.named_parameters() if q.ndim > 1]
    plain = [q for n, q in model.named_parameters() if q.ndim <= 1]
    opt = torch.optim.SGD([{"params": decayed, "weight_decay": a.decay}, {"params": plain, "weight_decay": 0}],
                          lr=a.lr, momentum=0.9, nesterov=True)
    steps_epoch = len(x) // a.batch
    total = steps_epoch * a.epochs
    warm = steps_epoch * 5

    def lr_at(step):
        if step < warm:
            return a.lr * (step + 1) / warm
        return a.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))

    start = 0
    ckpt = a.out + ".ckpt"
    if os.path.exists(ckpt):
        s = torch.load(ckpt, weights_only=True)
        model.load_state_dict(s["model"])
        ema.load_state_dict(s["ema"])
        opt.load_state_dict(s["opt"])
        start = s["epoch"]
    step = start * steps_epoch
    for epoch in range(start, a.epochs):
        rng = np.random.default_rng([a.seed, epoch])
        order = torch.from_numpy(rng.permutation(len(x)))
        t0, loss_sum = time.time(), 0.0
        for i in range(steps_epoch):
            for g in opt.param_groups:
                g["lr"] = lr_at(step)
            idx = order[i * a.batch:(i + 1) * a.batch]
            xb = augment(x[idx], rng).float().contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.bf16):
                out = model(xb)
            loss = F.cross_entropy(out.float(), y[idx])
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            step += 1
            loss_sum += loss.item()
            with torch.no_grad():
                d = min(a.ema, (1 + step) / (10 + step))
                for e, m in zip(ema.state_dict().values(), model.state_dict().values()):
                    if e.is_floating_point():
                        e.lerp_(m, 1 - d)
                    else:
                        e.copy_(m)
        torch.save({"model": model.state_dict(), "ema": ema.state_dict(), "opt": opt.state_dict(),
                    "epoch": epoch + 1}, ckpt)
        report = f" test {correct(ema, xt, yt)}" if epoch % 10 == 9 or epoch + 1 == a.epochs else ""
        seconds = time.time() - t0
        print(f"epoch {epoch + 1}/{a.epochs} loss {loss_sum / steps_epoch:.4f} {seconds:.1f} s{report}", flush=True)
    with open(a.out, "wb") as f:
        np.savez(f, **{n: v.contiguous().numpy() for n, v in ema.state_dict().items() if v.is_floating_point()})


if __name__ == "__main__":
    main()
