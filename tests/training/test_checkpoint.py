"""Checkpoints: whole or passed over, the newest first, and never another run's."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from thinresnet.errors import InputError
from thinresnet.training import checkpoint

MINE = {"network": {"arch": "resnet20_cifar"}, "recipe": {"lr": 0.1, "opt": "sgd"}, "seed": 1}


def save(folder: Path, epoch: int, step: int = 0, kept: int = 10) -> None:
    state = {"weights": torch.full((100,), float(epoch)), "epoch": epoch, "step": step}
    checkpoint.save(folder, MINE, state, epoch=epoch, step=step, kept=kept)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pt"))


def test_the_newest_wins_by_epoch_then_step(tmp_path: Path) -> None:
    for epoch, step in [(9, 5), (10, 0), (9, 40), (10, 3)]:
        save(tmp_path, epoch, step)
    state, notes = checkpoint.load_newest(tmp_path, MINE)
    assert state is not None
    assert (state["epoch"], state["step"], notes) == (10, 3, [])
    assert torch.equal(state["weights"], torch.full((100,), 10.0))


def test_the_one_before_is_kept_however_few_are_asked_for(tmp_path: Path) -> None:
    for epoch in range(5):
        save(tmp_path, epoch, kept=1)
    assert [path.name[:11] for path in files(tmp_path)] == ["epoch000003", "epoch000004"]
    for epoch in range(5, 12):
        save(tmp_path, epoch, kept=3)
    assert len(files(tmp_path)) == 3


def test_nothing_saved_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path / "none", MINE) == (None, [])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_falls_back_and_says_so(tmp_path: Path, share: float) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    newest = files(tmp_path)[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(share * len(whole))])
    state, notes = checkpoint.load_newest(tmp_path, MINE)
    assert state is not None
    assert state["epoch"] == 1
    assert len(notes) == 1
    assert newest.name in notes[0]


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    path = files(tmp_path)[0]
    with zipfile.ZipFile(path) as parts:
        largest = max(parts.infolist(), key=lambda part: part.file_size)
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((100,), 1.0).numpy().tobytes()) + largest.file_size // 2] ^= 1
    path.write_bytes(content)
    state, notes = checkpoint.load_newest(tmp_path, MINE)
    assert state is None
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ({**MINE, "recipe": {"lr": 0.2, "opt": "sgd"}}, "its recipe: lr is 0.1, here it is 0.2"),
        (
            {**MINE, "network": {"arch": "resnet56_cifar"}},
            "its network: arch is 'resnet20_cifar', here it is 'resnet56",
        ),
        ({**MINE, "seed": 2}, "its seed is 1, here it is 2"),
    ],
)
def test_another_runs_checkpoint_is_refused_by_what_differs(
    tmp_path: Path, theirs: dict[str, object], named: str
) -> None:
    save(tmp_path, 1)
    before = files(tmp_path)[0].read_bytes()
    with pytest.raises(InputError, match="belongs to another run") as caught:
        checkpoint.load_newest(tmp_path, theirs)
    assert named in str(caught.value)
    assert files(tmp_path)[0].read_bytes() == before


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('/tmp/thinresnet-was-here', 'w')",))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "epoch000001-step00000000.pt"
    torch.save({"identity": MINE, "state": Evil()}, path)
    with pytest.raises(InputError, match="not a checkpoint of thinresnet"):
        checkpoint.load_newest(tmp_path, MINE)
    path.write_bytes(pickle.dumps(Evil()))
    assert checkpoint.load_newest(tmp_path, MINE)[0] is None
    assert not Path("/tmp/thinresnet-was-here").exists()


def test_a_pipe_in_the_place_of_a_checkpoint_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "epoch000001-step00000000.pt")
    state, notes = checkpoint.load_newest(tmp_path, {"seed": 1})
    assert state is None
    assert "truncated or damaged" in notes[0]
