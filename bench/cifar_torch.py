#!/usr/bin/env python3
"""The network of examples/cifar10.toml in plain PyTorch: seconds an epoch, and where they go.

    python bench/cifar_torch.py --steps 20       extrapolates an epoch from 20 timed steps
    python bench/cifar_torch.py                  one whole epoch

    stem   5×5 convolution with stride 3, 3×32×32 to 16×10×10
    flow   x ← x + h f(x, θ_n), h = 1/16, n = 0 … 15, f = conv₂(gelu(conv₁ x + b₁)) + b₂, 3×3 windows
    head   mean of each channel over the image, affine map to 10 classes, cross-entropy

AdamW (ε = 10⁻⁵ as in Burn) with a cosine schedule over 10 epochs, whole batches of 256 random
images, cropped from 4 black pixels of padding and mirrored at random. The last 5,000 of the 50,000
images are the test set and 2 % of the others are for validation: neither is touched here. The
gradient is PyTorch's plain backprop, taken part by part as the library does, so that each part's
way forward and way back can be timed; eager execution on a CPU is synchronous. The random numbers
are not the library's, so losses are alike, not equal.
"""
import argparse
import gzip
import json
import math
import sys
import time
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

CHANNELS, DEPTH, CLASSES = 16, 16, 10
BATCH, EPOCHS, RATE, DECAY = 256, 10, 4e-3, 5e-4
TEST, VALIDATION, CROP = 5_000, 0.02, 4
WARM_UP = 3


def training_images(folder):
    """Images [samples, 3, 32, 32] as bytes and labels [samples], without test and validation."""
    records = []
    for number in range(1, 6):
        path = folder / f"data_batch_{number}.bin"
        data = path.read_bytes() if path.exists() else gzip.open(f"{path}.gz").read()
        records.append(torch.frombuffer(bytearray(data), dtype=torch.uint8).view(-1, 3073))
    records = torch.cat(records)[:-TEST]
    records = records[torch.randperm(len(records))[round(VALIDATION * len(records)):]]
    return records[:, 1:].reshape(-1, 3, 32, 32).contiguous(), records[:, 0].long()


class Batches:
    """Normalised, cropped and mirrored batches, in a new order every epoch."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        values = images.float().div(255).transpose(0, 1).flatten(1)  # [3, samples · 32 · 32]
        self.mean, self.std = (v.view(1, 3, 1, 1) for v in (values.mean(1), values.std(1)))
        self.steps = len(images) // BATCH
        self.order = torch.randperm(len(images)).tolist()

    def batch(self, step):
        if step % self.steps == 0:
            self.order = torch.randperm(len(self.images)).tolist()
        start = step % self.steps * BATCH
        chosen = torch.tensor(self.order[start:start + BATCH])
        padded = F.pad(self.images[chosen], [CROP] * 4)  # black: 0 before normalisation
        top, left = torch.randint(0, 2 * CROP + 1, (2, BATCH, 1))
        rows, columns = top + torch.arange(32), left + torch.arange(32)  # [batch, 32]
        mirrored = torch.rand(BATCH, 1) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
        samples, channels = torch.arange(BATCH).view(-1, 1, 1, 1), torch.arange(3).view(1, -1, 1, 1)
        images = padded[samples, channels, rows[:, None, :, None], columns[:, None, None, :]]
        return (images.float().div(255) - self.mean) / self.std, self.labels[chosen]


def uniform(*shape, fan_in):
    """Uniform in ±1/√fan_in."""
    return (2 * torch.rand(*shape) - 1) / math.sqrt(fan_in)


def smooth(*shape, fan_in):
    """Weights of all layers, smooth in depth: θ(s) = A₀ + cos(πs) A₁ + sin(2πs) A₂."""
    parts = [uniform(*shape, fan_in=fan_in) for _ in range(3)]
    places = [n / (DEPTH - 1) for n in range(DEPTH)]
    return [parts[0] + math.cos(math.pi * s) * parts[1] + math.sin(2 * math.pi * s) * parts[2]
            for s in places]


class Network:
    """Parameters of the three parts, and each part as a function."""

    def __init__(self, layout):
        def leaf(tensor):
            kept = {"memory_format": layout} if tensor.dim() == 4 else {}
            return tensor.contiguous(**kept).requires_grad_()

        window = 9 * CHANNELS
        self.stem_parameters = [leaf(uniform(CHANNELS, 3, 5, 5, fan_in=75)),
                                leaf(uniform(CHANNELS, fan_in=75))]
        kinds = [(CHANNELS, CHANNELS, 3, 3), (CHANNELS,)] * 2
        stacks = [[leaf(layer) for layer in smooth(*shape, fan_in=window)] for shape in kinds]
        self.layers = list(zip(*stacks))
        self.head_parameters = [leaf(uniform(CLASSES, CHANNELS, fan_in=CHANNELS)),
                                leaf(uniform(CLASSES, fan_in=CHANNELS))]

    def parameters(self):
        layers = [parameter for layer in self.layers for parameter in layer]
        return self.stem_parameters + layers + self.head_parameters

    def stem(self, x):
        return F.conv2d(x, *self.stem_parameters, stride=3)

    def flow(self, x):
        for w1, b1, w2, b2 in self.layers:
            f = F.conv2d(F.gelu(F.conv2d(x, w1, b1, padding=1)), w2, b2, padding=1)
            x = torch.add(x, f, alpha=1 / DEPTH)
        return x

    def head(self, x, labels):
        return F.cross_entropy(F.linear(x.mean((2, 3)), *self.head_parameters), labels)


class Watch:
    """Seconds of each part of a step."""

    def __init__(self):
        self.seconds = dict.fromkeys(["data", "stem", "flow", "head", "optimiser"], 0.0)
        self.last = time.perf_counter()

    def lap(self, part):
        now = time.perf_counter()
        self.seconds[part] += now - self.last
        self.last = now


def train_step(network, optimiser, schedule, batches, step, layout):
    """One step: the loss before it, and the seconds of its parts."""
    watch = Watch()
    images, labels = batches.batch(step)
    images = images.contiguous(memory_format=layout)
    optimiser.zero_grad(set_to_none=True)
    watch.lap("data")
    entered = network.stem(images)
    start = entered.detach().requires_grad_()
    watch.lap("stem")
    left = network.flow(start)
    end = left.detach().requires_grad_()
    watch.lap("flow")
    loss = network.head(end, labels)
    loss.backward()
    watch.lap("head")
    left.backward(end.grad)
    watch.lap("flow")
    entered.backward(start.grad)
    watch.lap("stem")
    optimiser.step()
    schedule.step()
    watch.lap("optimiser")
    return loss.item(), watch.seconds


def options():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=root / "../shared/data/cifar10",
                        help="folder of data_batch_1.bin … or .bin.gz [../shared/data/cifar10]")
    parser.add_argument("--steps", type=int, help="timed steps [an epoch]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", choices=["nchw", "nhwc"], default="nchw",
                        help="memory layout of images and weights [nchw]")
    return parser.parse_args()


def main():
    asked = options()
    torch.manual_seed(1)
    torch.set_num_threads(asked.threads)
    layout = torch.channels_last if asked.layout == "nhwc" else torch.contiguous_format
    batches = Batches(*training_images(asked.data))
    network = Network(layout)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, eps=1e-5, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * batches.steps)

    def step(number):
        return train_step(network, optimiser, schedule, batches, number, layout)

    for number in range(WARM_UP):
        step(number)
    count = asked.steps or batches.steps
    began = time.perf_counter()
    done = [step(WARM_UP + number) for number in range(count)]
    seconds = time.perf_counter() - began
    losses, laps = zip(*done)
    parts = {part: 1e3 * median(lap[part] for lap in laps) for part in laps[0]}
    print(json.dumps({
        "network": "examples/cifar10.toml", "depth": DEPTH, "batch": BATCH, "layout": asked.layout,
        "threads": asked.threads, "torch": torch.__version__,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "images_per_epoch": batches.steps * BATCH, "steps_per_epoch": batches.steps,
        "steps": count, "extrapolated": count != batches.steps,
        "seconds_per_epoch": round(seconds / count * batches.steps, 2),
        "images_per_s": round(count * BATCH / seconds, 1),
        "ms_step_median": round(1e3 * median(sum(lap.values()) for lap in laps), 2),
        "ms_parts_median": {part: round(ms, 2) for part, ms in parts.items()},
        "share_stem_head": round((parts["stem"] + parts["head"]) / sum(parts.values()), 4),
        "share_flow": round(parts["flow"] / sum(parts.values()), 4),
        "loss_first": round(losses[0], 4), "loss_last": round(losses[-1], 4)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
