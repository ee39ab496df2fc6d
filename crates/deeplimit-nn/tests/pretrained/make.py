"""Writes the small checkpoints of the tests: zip.pt, legacy.pt, plain.safetensors; and two that must be refused,
expanded.pt, whose tensor is a view larger than the file, and deflated.pt, whose members are compressed.

    python3 make.py
"""

import zipfile

import torch
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
