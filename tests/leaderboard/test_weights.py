"""Evaluations of imported weights as rows, and public weights for holes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from thinresnet.base_width import BaseWidth
from thinresnet.errors import InputError
from thinresnet.evaluation import Evaluation
from thinresnet.imported import Imported, Origin
from thinresnet.leaderboard import weights
from thinresnet.leaderboard.adding import propose_run
from thinresnet.network import Network
from thinresnet.preprocessing import Preprocessing

MACS, PARAMS = BaseWidth(20, 8).cost(classes=10, side_px=32)
DENSE = BaseWidth(20, 16).cost(classes=10, side_px=32)
NETWORK = Network("resnet20_cifar", {"num_classes": 10}, (3, 32, 32), {"conv1": 8})
HOW = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMPORTED = Imported(
    arch="resnet20_cifar", arch_kwargs={"num_classes": 10}, shape="thinresnet20-w8", network_sha256=NETWORK.sha256,
    dataset="cifar10", classes=10, macs=MACS, params=PARAMS, dense_macs=DENSE[0], dense_params=DENSE[1],
    weights_sha256="b" * 64, origin=Origin("w8.pt", "c", "d", repository=weights.AUTHORS), preprocessing=HOW,
)  # fmt: skip
CONFUSION = [
    [800 if row == column else (200 if column == (row + 1) % 10 else 0) for column in range(10)] for row in range(10)
]
EVALUATION = Evaluation(
    name="w8", arch="resnet20_cifar", arch_kwargs={"num_classes": 10}, shape="thinresnet20-w8",
    network_sha256=NETWORK.sha256,
    weights_sha256="b" * 64, ema=False, dataset="cifar10-jpeg", images=10_000, images_sha256="e",
    classes=[str(number) for number in range(10)], outputs=10, restricted=False, correct1=8000, correct5=9900,
    correct1_of_all_outputs=8000, loss=0.5, confusion=CONFUSION, resolution=32, macs=MACS, params=PARAMS,
    preprocessing=HOW, images_per_second=1.0, device="x", versions={}, finished="2026-01-01T00:00:00+00:00",
)  # fmt: skip


def _folder(tmp_path: Path, imported: Imported = IMPORTED, evaluation: Evaluation | None = EVALUATION) -> Path:
    folder = tmp_path / "w8"
    folder.mkdir()
    imported.write(folder)
    (folder / "network.json").write_text(NETWORK.to_json())
    if evaluation is not None:
        evaluation.write(folder)
    return folder


def test_an_evaluation_is_a_row(tmp_path: Path) -> None:
    entry = propose_run([_folder(tmp_path)], []).entry
    assert (entry.source, entry.family, entry.weights, entry.n) == ("measured", "scaled", "theirs", 1)
    assert (entry.top1_printed, entry.train_epochs, entry.recipe) == (80, 1923, "cifar-thinresnet")
    assert entry.training_macs == pytest.approx(3 * MACS * 750_000 * 128)
    assert entry.extra_data == "trained on cifar10, not on this copy"
    assert entry.evidence.startswith("baselines/results/resnet20_cifar-thinresnet20-w8-cifar10-jpeg-")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"restricted": True, "outputs": 1000}, "restricted to 10 of 1000 classes"),
        ({"weights_sha256": "f" * 64}, "weights_sha256: of other weights"),
        ({"dataset": "pictures"}, "dataset: 'pictures' is not one of"),
    ],
)
def test_an_evaluation_that_is_no_row(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path, evaluation=replace(EVALUATION, **changes))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):
        weights.result_of(folder)


def test_the_network_is_evidence_too(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "network.json").write_text(replace(NETWORK, channels={"conv1": 9}).to_json())
    with pytest.raises(InputError, match=r"network\.json: not the network of imported\.json"):
        weights.result_of(folder)
    (folder / "network.json").unlink()
    with pytest.raises(InputError, match=r"network\.json: cannot be read: no such file"):
        weights.result_of(folder)


def test_weights_are_evaluated_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="measure them with: thinresnet evaluate"):
        weights.result_of(_folder(tmp_path, evaluation=None))
