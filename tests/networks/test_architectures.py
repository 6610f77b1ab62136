"""An architecture of one's own is one file and one line in `architectures`: done here with a toy, in a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import thinresnet

TOY = """
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from thinresnet.networks.structures import ResidualBlock, Structure, of_depths

default_cfgs = generate_default_cfgs({"toy": {"num_classes": 10, "input_size": (3, 16, 16), "classifier": "fc"}})


class ToyBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(x + self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))))


class ToyNet(nn.Module):
    def __init__(self, depths=(3,), num_classes=10, in_chans=3):
        super().__init__()
        self.depths = depths
        self.stem = nn.Conv2d(in_chans, 8, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(ToyBlock(8) for _ in range(depths[0])))
        self.num_features = self.head_hidden_size = 8
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


STRUCTURES = {"ToyNet": Structure("depths", of_depths, blocks={"ToyBlock": ResidualBlock(("bn2",), "act")})}


@register_model
def toy(pretrained=False, **kwargs):
    return build_model_with_cfg(ToyNet, "toy", pretrained, **kwargs)
"""
WALK = """
import gc
gc.disable()  # a quarter of what the imports take
import timm, torch
from thinresnet.networks import build, count, fit, scale
from thinresnet.networks.depth import blocks_of

assert scale("toy", width=0.5).channels == {"stem": 4, **{f"blocks.{n}.conv1": 4 for n in range(3)}}
assert scale("toy", depth=2).kwargs == {"depths": [6]}
assert list(blocks_of(scale("toy")).ends) == ["blocks.1", "blocks.2"]
assert count(fit("toy", macs="50%")).macs <= 0.5 * count(scale("toy")).macs
assert build("toy", width=0.5)(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
assert timm.create_model("thin_toy", width=0.5).stem.out_channels == 4
print("done")
"""


def test_one_file_and_one_line(tmp_path: Path) -> None:
    package = tmp_path / "thinresnet"
    shutil.copytree(Path(thinresnet.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "networks" / "toy.py").write_text(TOY)
    architectures = package / "networks" / "architectures.py"
    before = architectures.read_text()
    architectures.write_text(before.replace('    "shufflenet",\n', '    "shufflenet",\n    "toy",\n'))
    assert architectures.read_text().count("\n") == before.count("\n") + 1
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", WALK], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert run.stdout.strip() == "done", run.stderr
