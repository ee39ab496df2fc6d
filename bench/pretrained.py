#!/usr/bin/env python3
"""Pretrained residual networks here and in PyTorch: the same logits?

    python3 bench/pretrained.py DEEPLIMIT CIFAR10 CHECKPOINT…

DEEPLIMIT is the built command, CIFAR10 a folder with data_batch_5.bin(.gz), a CHECKPOINT one of He et al.'s
CIFAR networks (section 4.2 of the paper) or of torchvision's, saved by torch.save. Each is imported, and its
logits for the first images of data_batch_5 are compared with PyTorch's (needs torch). Networks for images of
224×224 pixels take the same small images. With --random NAME a torchvision-like network of random weights is
made and compared, such as resnet18 or resnet50.
"""

import argparse
import csv
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
RECORD = 1 + 3 * 32 * 32


class Block(nn.Module):
    def __init__(self, inputs, hidden, outputs, stride, bottleneck, option):
        super().__init__()
        conv = lambda a, b, side, step: nn.Conv2d(a, b, side, step, side // 2, bias=False)
        sizes = [(inputs, hidden, 3, stride), (hidden, outputs, 3, 1)]
        if bottleneck:
            sizes = [(inputs, hidden, 1, 1), (hidden, hidden, 3, stride), (hidden, outputs, 1, 1)]
        for index, size in enumerate(sizes, 1):
            setattr(self, f"conv{index}", conv(*size))
            setattr(self, f"bn{index}", nn.BatchNorm2d(size[1]))
        self.links, self.stride, self.new = len(sizes), stride, outputs - inputs
        self.downsample = None
        if option == "B" and (stride > 1 or inputs != outputs):
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = x
        for index in range(1, self.links + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            if index < self.links:
                y = F.relu(y)
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.stride > 1:
            half = self.new // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(y + x)


class Net(nn.Module):
    def __init__(self, cifar, blocks, bottleneck, classes):
        super().__init__()
        self.cifar, width = cifar, 16 if cifar else 64
        self.conv1 = nn.Conv2d(3, width, *((3, 1, 1) if cifar else (7, 2, 3)), bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = (width << stage) * (4 if bottleneck else 1)
            made = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                option = "A" if cifar else "B"
                made.append(Block(inputs, width << stage, outputs, stride, bottleneck, option))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
        setattr(self, "linear" if cifar else "fc", nn.Linear(inputs, classes))
        self.stages = len(blocks)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.cifar:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return (self.linear if self.cifar else self.fc)(x.mean(dim=(2, 3)))


def images(folder, count):
    for name in ("data_batch_5.bin", "data_batch_5.bin.gz"):
        path = Path(folder) / name
        if path.is_file():
            data = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
            return data[: count * RECORD]
    sys.exit(f"{folder}: no data_batch_5.bin")


def compare(deeplimit, name, checkpoint, net, records, work):
    (work / "data").mkdir(exist_ok=True)
    for part in ("data_batch_1.bin", "test_batch.bin"):
        (work / "data" / part).write_bytes(records)
    weights, table = work / f"{name}.safetensors", work / f"{name}.csv"
    subprocess.run([deeplimit, "import", str(checkpoint), "--out", str(weights)], check=True, stdout=subprocess.DEVNULL)
    command = [deeplimit, "evaluate", str(weights), "--data", str(work / "data"), "--outputs", str(table), "--json"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    with table.open(newline="") as file:
        rows = [[float(row[key]) for key in row if key.startswith("output")] for row in csv.DictReader(file)]
    ours = torch.tensor(rows)
    raw = torch.frombuffer(bytearray(records), dtype=torch.uint8).reshape(-1, RECORD)
    x = (raw[:, 1:].reshape(-1, 3, 32, 32).float() / 255 - MEAN) / STD
    with torch.no_grad():
        theirs = torch.cat([net(part) for part in x.split(100)])
    same = (ours.argmax(1) == theirs.argmax(1)).sum().item()
    error = (ours - theirs).abs().max().item()
    print(
        f"| {name} | {same} of {len(ours)} | {error:.1e} | {theirs.abs().max().item():.1f} | "
        f"{100 * found['accuracy']:.2f} % |",
        flush=True,
    )
    return same == len(ours) and error <= 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deeplimit")
    parser.add_argument("cifar10")
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--random", action="append", default=[])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--golden", type=Path, help="write the logits of the first 16 images there")
    options = parser.parse_args()
    records = images(options.cifar10, options.images)
    usual = {
        "resnet18": ([2, 2, 2, 2], False),
        "resnet34": ([3, 4, 6, 3], False),
        "resnet50": ([3, 4, 6, 3], True),
        "resnet101": ([3, 4, 23, 3], True),
        "resnet152": ([3, 8, 36, 3], True),
    }
    holds, golden = True, {}
    print("| network | the same class | largest difference of a logit | largest logit | accuracy |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        for path in options.checkpoints:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
            state = {name.removeprefix("module."): value for name, value in state.items()}
            cifar = "linear.weight" in state
            blocks = [
                len({name.split(".")[1] for name in state if name.startswith(f"layer{stage}.")})
                for stage in range(1, 4 if cifar else 5)
            ]
            bottleneck = "layer1.0.conv3.weight" in state
            classes = state["linear.bias" if cifar else "fc.bias"].numel()
            net = Net(cifar, blocks, bottleneck, classes).eval()
            net.load_state_dict(state)
            holds &= compare(options.deeplimit, path.stem, path, net, records, work)
            raw = torch.frombuffer(bytearray(records[: 16 * RECORD]), dtype=torch.uint8).reshape(-1, RECORD)
            x = (raw[:, 1:].reshape(-1, 3, 32, 32).float() / 255 - MEAN) / STD
            with torch.no_grad():
                golden[path.name] = net(x).tolist()
        for name in options.random:
            torch.manual_seed(1)
            net = Net(False, *usual[name], 10)
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.running_mean, -0.1, 0.1)
                    nn.init.uniform_(module.running_var, 0.5, 1.5)
                    nn.init.uniform_(module.weight, 0.5, 1.0)
                    nn.init.uniform_(module.bias, -0.1, 0.1)
            torch.save(net.state_dict(), work / f"{name}.pth")
            holds &= compare(options.deeplimit, name, work / f"{name}.pth", net.eval(), records, work)
    if options.golden:
        options.golden.write_text(json.dumps(golden))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
