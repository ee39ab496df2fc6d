"""Writes variants.json: logits of residual networks of many layouts in PyTorch.

    python3 variants.py

Weights are shift + scale sin(0.7 i² + key), i the place in a tensor and key the tensor's place among the names in
alphabetical order, counters of batches left out; the inputs are the same with key 0, scale and shift 0.5.
"""

import json

import torch
import torch.nn.functional as F
from torch import nn

SAMPLES, SIDE = 3, 16


def conv(inputs, outputs, side, stride=1):
    return nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)


class Block(nn.Module):
    """He et al. (2015): relu after the sum."""

    def __init__(self, inputs, hidden, width, stride, net):
        super().__init__()
        early, late = (stride, 1) if net.stride_in_1x1 else (1, stride)
        sizes = [(inputs, hidden, 3, stride), (hidden, width, 3, 1)]
        if net.bottleneck:
            sizes = [(inputs, hidden, 1, early), (hidden, hidden, 3, late), (hidden, width, 1, 1)]
        self.links = len(sizes)
        for index, size in enumerate(sizes, 1):
            setattr(self, f"conv{index}", conv(*size))
            setattr(self, f"bn{index}", nn.BatchNorm2d(size[1]))
        self.stride, self.new, self.way = stride, width - inputs, None
        if (stride > 1 or self.new) and net.shortcuts != "pad":
            self.way = net.shortcuts
            setattr(self, self.way, nn.Sequential(conv(inputs, width, 1, stride), nn.BatchNorm2d(width)))

    def forward(self, x):
        y = x
        for index in range(1, self.links + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            y = F.relu(y) if index < self.links else y
        if self.way:
            x = getattr(self, self.way)(x)
        elif self.stride > 1 or self.new:
            half = self.new // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.new - half))
        return F.relu(y + x)


class PreactivationBlock(nn.Module):
    """He et al. (2016): norm and relu before every convolution, and nothing after the sum."""

    def __init__(self, inputs, hidden, width, stride, net):
        super().__init__()
        sizes = [(inputs, hidden, 3, stride), (hidden, width, 3, 1)]
        if net.bottleneck:
            sizes = [(inputs, hidden, 1, 1), (hidden, hidden, 3, stride), (hidden, width, 1, 1)]
        self.links, self.raw, self.way = len(sizes), net.raw_shortcuts, None
        for index, size in enumerate(sizes, 1):
            setattr(self, f"bn{index}", nn.BatchNorm2d(size[0]))
            setattr(self, f"conv{index}", conv(*size))
        if stride > 1 or width != inputs:
            self.way = net.shortcuts
            setattr(self, self.way, nn.Sequential(conv(inputs, width, 1, stride)))

    def forward(self, x):
        first = F.relu(self.bn1(x))
        y = self.conv1(first)
        for index in range(2, self.links + 1):
            y = getattr(self, f"conv{index}")(F.relu(getattr(self, f"bn{index}")(y)))
        if self.way:
            x = getattr(self, self.way)(x if self.raw else first)
        return x + y


class Net(nn.Module):
    def __init__(self, blocks, window, stem, hidden, width, shortcuts, head, bottleneck=False, pool=False,
                 stride_in_1x1=False, preactivation=False, final_norm=False, raw_shortcuts=False):
        super().__init__()
        self.preactivation, self.raw_shortcuts = preactivation, raw_shortcuts
        self.bottleneck, self.shortcuts, self.stride_in_1x1 = bottleneck, shortcuts, stride_in_1x1
        self.pool, self.head, self.stages = pool, head, len(blocks)
        self.conv1 = conv(3, stem, window, 1 if window == 3 else 2)
        if not preactivation:
            self.bn1 = nn.BatchNorm2d(stem)
        kind, inputs = PreactivationBlock if preactivation else Block, stem
        for stage, count in enumerate(blocks):
            layers = []
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(kind(inputs, hidden << stage, width << stage, stride, self))
                inputs = width << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        if final_norm:
            self.bn = nn.BatchNorm2d(inputs)
        self.final_norm = final_norm
        setattr(self, head, nn.Linear(inputs, 5))

    def forward(self, x):
        x = self.conv1(x)
        x = x if self.preactivation else F.relu(self.bn1(x))
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        x = F.relu(self.bn(x)) if self.final_norm else x
        return getattr(self, self.head)(x.mean((2, 3)))


def numbers(shape, key, scale, shift):
    count = torch.Size(shape).numel()
    i = torch.arange(count, dtype=torch.float64)
    return (shift + scale * torch.sin(0.7 * i * i + key)).float().reshape(shape)


def filled(net):
    state = net.state_dict()
    names = sorted(name for name in state if not name.endswith("num_batches_tracked"))
    for key, name in enumerate(names):
        shape, part = state[name].shape, name.rsplit(".", 1)[1]
        fan_in = torch.Size(shape[1:]).numel()
        scale, shift = {
            "running_mean": (0.1, 0.0),
            "running_var": (0.3, 1.0),
            "bias": (0.2, 0.0),
            "weight": (0.3, 1.0) if len(shape) == 1 else (2.0 / fan_in**0.5, 0.0),
        }[part]
        state[name] = numbers(shape, key, scale, shift)
    net.load_state_dict(state)
    return net.eval()


# No bottleneck, maxima or early strides.
LAST = False, False, False

VARIANTS = {
    "cifar": ([2, 2, 2], 3, 4, 4, 4, "pad", "linear"),
    "cifar, fc and downsample": ([2, 3, 2], 3, 4, 4, 4, "downsample", "fc"),
    "3x3 stem, shortcut": ([2, 2, 2, 2], 3, 4, 4, 4, "shortcut", "linear"),
    "3x3 stem, fc": ([2, 2, 2, 2], 3, 4, 4, 4, "downsample", "fc"),
    "3x3 stem, bottleneck": ([2, 2, 2], 3, 4, 4, 16, "shortcut", "linear", True),
    "wide bottleneck": ([2, 2, 2], 7, 4, 6, 12, "downsample", "fc", True, True),
    "bottleneck, v1": ([2, 2, 2], 7, 4, 4, 16, "downsample", "fc", True, True, True),
    "bottleneck, pad": ([2, 2, 2], 3, 4, 4, 16, "pad", "linear", True),
    "preactivation": ([2, 2, 2, 2], 3, 4, 4, 4, "shortcut", "linear", *LAST, True),
    "preactivation, bottleneck": ([2, 2, 2], 3, 4, 4, 16, "shortcut", "linear", True, *LAST[1:], True),
    "preactivation, final norm": ([2, 2, 2, 2], 3, 4, 4, 4, "shortcut", "linear", *LAST, True, True),
    "preactivation, downsample": ([3, 2, 2], 3, 4, 4, 4, "downsample", "fc", *LAST, True, True, True),
    "preactivation, downsample, bottleneck": ([2, 2, 2], 3, 4, 4, 16, "downsample", "fc", True, *LAST[1:], True, True,
                                              True),
    "preactivation, downsample, no norm": ([2, 2, 2], 3, 4, 6, 6, "downsample", "fc", *LAST, True, False, True),
    "preactivation, shortcut of x": ([2, 2, 2], 3, 4, 4, 4, "shortcut", "linear", *LAST, True, True, True),
    "preactivation, downsample of relu": ([2, 2, 2], 3, 4, 4, 4, "downsample", "fc", *LAST, True, True, False),
    "preactivation, 7x7 stem": ([2, 2, 2], 7, 4, 4, 4, "shortcut", "fc", False, True, False, True),
    "wider than its stem": ([2, 2, 2], 3, 4, 8, 8, "downsample", "fc"),
}

FIELDS = ["blocks", "window", "stem", "hidden", "width", "shortcuts", "head", "bottleneck", "pool", "stride_in_1x1",
          "preactivation", "final_norm", "raw_shortcuts"]

x = numbers((SAMPLES, 3, SIDE, SIDE), 0, 0.5, 0.5)
found = []
for name, arguments in VARIANTS.items():
    with torch.no_grad():
        logits = filled(Net(*arguments))(x)
    rows = [[round(value, 6) for value in row] for row in logits.tolist()]
    found.append({"name": name, **dict(zip(FIELDS, arguments)), "logits": rows})
    print(name, float(logits.abs().max()), float((logits - logits.mean(0)).abs().max()))
with open("variants.json", "w") as file:
    lines = [json.dumps(variant) for variant in found]
    file.write("[\n" + ",\n".join(lines) + "\n]\n")
