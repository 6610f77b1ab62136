"""The commands that verbs print for what comes next: they run as they are pasted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thinresnet import networks
from thinresnet.cli import app, train
from thinresnet.cli.next_steps import training_line
from thinresnet.network import Network
from thinresnet.networks import read_network, save
from thinresnet.result import Result

LINE = re.compile(r"thinresnet train (--recipe .*)")


def _printed(*verb: str) -> list[str]:
    """The flags of the line that a verb prints, its last one."""
    done = CliRunner().invoke(app, [*verb], env={"COLUMNS": "500"})
    assert done.exit_code == 0, done.output
    found = LINE.search(done.output)
    assert found, done.output
    return shlex.split(found[1])


def _trained(flags: list[str], output: Path) -> Network:
    assert train.main([*flags, "--epochs", "1", "--warmup-epochs", "0", "--output", str(output)]) == 0
    (folder,) = output.iterdir()
    assert Result.read(folder).epochs == 1
    return read_network(folder)


def test_what_fit_prints_trains_the_network(tmp_path: Path) -> None:
    file = tmp_path / "half.json"
    flags = _printed("fit", "resnet20_cifar", "--input", "8", "--macs", "10%", "-o", str(file))
    assert _trained(flags, tmp_path / "runs").channels == read_network(file).channels


def test_what_prune_prints_fine_tunes_its_weights(tmp_path: Path) -> None:
    dense = networks.scale("resnet20_cifar", width=0.25, num_classes=10, input_size=(3, 8, 8))
    save(tmp_path / "dense", dense, networks.build(dense))
    flags = _printed("prune", "l1", str(tmp_path / "dense"), "--macs", "3%", "-o", str(tmp_path / "pruned"))
    (pruned,) = (tmp_path / "pruned").iterdir()
    assert flags[flags.index("--initial-checkpoint") + 1] == str(pruned)
    assert _trained(flags, tmp_path / "runs").channels == read_network(pruned).channels


@pytest.mark.parametrize(
    ("side_px", "fine_tune", "recipe", "epochs"),
    [
        (32, False, "cifar-modern", 300),
        (32, True, "cifar-finetune", 40),
        (224, False, "imagenet-a2", 300),
        (224, True, "imagenet-finetune", 20),
    ],
)
def test_lines_for_other_images_are_understood(
    side_px: int, fine_tune: bool, recipe: str, epochs: int, tmp_path: Path
) -> None:
    arch = "resnet20_cifar" if side_px == 32 else "resnet18"
    network = networks.scale(arch, width=0.25, num_classes=10, input_size=(3, side_px, side_px))
    save(tmp_path, network, networks.build(network))
    line = training_line(tmp_path, side_px, fine_tune=fine_tune)
    found = LINE.fullmatch(line)
    assert found
    options, used, name = train.read_flags(shlex.split(found[1].replace("DATA", str(tmp_path))))
    make, size, _ = train.choose_network(options, used)
    assert (name, used.epochs, used.data_dir) == (recipe, epochs, str(tmp_path))
    assert (make(10).channels, size[1]) == (network.channels, side_px)
    assert bool(used.initial_checkpoint) == fine_tune
