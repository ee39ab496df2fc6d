"""Writes the small checkpoints of the tests: zip.pt, legacy.pt, plain.safetensors; whole.pt, a module that was saved
whole; odd.pt, with tensors in unusual order, of unusual kinds and beside other things; and those that must be refused:
expanded.pt, whose tensor is a view larger than the file, deflated.pt, whose members are compressed, and quantised.pt.

    python3 make.py
"""

import zipfile

import numpy
import torch
from torch import nn
from safetensors.torch import save_file

torch.manual_seed(1)
state = {
    "conv1.weight": torch.randn(4, 3, 3, 3),
    "bn1.weight": torch.rand(4),
    "bn1.num_batches_tracked": torch.tensor(7),
    "layer1.0.conv1.weight": torch.randn(4, 4, 3, 3),
    "fc.weight": torch.randn(2, 4),
    "fc.bias": torch.randn(2),
}
nested = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}
torch.save(nested, "zip.pt")
torch.save(nested, "legacy.pt", _use_new_zipfile_serialization=False)
save_file(state, "plain.safetensors")
torch.save({"conv1.weight": torch.zeros(1).expand(30000, 30000)}, "expanded.pt")
with zipfile.ZipFile("zip.pt") as stored, zipfile.ZipFile("deflated.pt", "w") as deflated:
    for member in stored.namelist():
        deflated.writestr(member, stored.read(member), zipfile.ZIP_DEFLATED)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, bias=False)

    def forward(self, x):
        return self.conv1(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.layer1, self.fc = nn.Sequential(Block()), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.layer1(self.bn1(self.conv1(x))).mean((2, 3)))


net = Net()
net.load_state_dict(state, strict=False)
torch.save(net, "whole.pt")
odd = {
    "model": {
        "conv1.weight": state["conv1.weight"].to(memory_format=torch.channels_last),
        "layer1.0.conv1.weight": state["layer1.0.conv1.weight"].permute(3, 2, 1, 0),
        "bn1.weight": nn.Parameter(state["bn1.weight"].double()),
        "bn1.num_batches_tracked": torch.tensor(7, dtype=torch.int32),
        "fc.weight": torch.cat([torch.zeros(3, 4), state["fc.weight"], torch.zeros(1, 4)])[3:5],
        "fc.bias": state["fc.bias"].half(),
    },
    "float8": torch.ones(3).to(torch.float8_e4m3fn),
    "sparse": torch.eye(3).to_sparse(),
    "complex": torch.zeros(2, dtype=torch.complex64),
    "size": torch.Size([1, 2]),
    "numpy": numpy.zeros(3),
    "scalar": numpy.float64(0.5),
    "best": float("nan"),
    "names": {"train", "test"},
}
torch.save(odd, "odd.pt")
torch.save({**state, "conv1.weight": torch.quantize_per_tensor(state["conv1.weight"], 0.1, 0, torch.qint8)}, "quantised.pt")
