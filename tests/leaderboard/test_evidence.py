"""A run becomes a row only if its files belong together, when it is added and whenever the board is checked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.leaderboard.check import check
from thinresnet.leaderboard.measured import read_results
from thinresnet.network import Network

EVIDENCE = Path(__file__).parents[2] / "baselines" / "results"
Damage = Callable[[Path], object]


@pytest.fixture
def run(tmp_path: Path, run_result: Callable[..., dict[str, object]], write_run: Callable[..., None]) -> Path:
    """A faultless run."""
    write_run(tmp_path / "run", run_result())
    return tmp_path / "run"


def another_network(folder: Path) -> None:
    (folder / "network.json").write_text(Network("resnet20_cifar", {}, (3, 8, 8), {"conv1": 9}).to_json())


def last_row(old: str, new: str) -> Damage:
    def damage(folder: Path) -> None:
        head, *rows = (folder / "metrics.csv").read_text().splitlines()
        (folder / "metrics.csv").write_text("\n".join([head, *rows[:-1], rows[-1].replace(old, new)]) + "\n")

    return damage


def recipe(**changes: object) -> Damage:
    return lambda folder: (folder / "recipe.yaml").write_text(recipes.load(folder / "recipe.yaml", changes).to_yaml())


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no metrics": (lambda folder: (folder / "metrics.csv").unlink(), "metrics.csv: no such file"),
    "no recipe": (lambda folder: (folder / "recipe.yaml").unlink(), "recipe.yaml: no such file"),
    "no network": (lambda folder: (folder / "network.json").unlink(), "network.json: no such file"),
    "empty metrics": (lambda folder: (folder / "metrics.csv").write_bytes(b""), "metrics.csv: has no row"),
    "another table": (lambda folder: (folder / "metrics.csv").write_text("a,b\n1,2\n"), "metrics.csv: epoch: takes a"),
    "bytes": (lambda folder: (folder / "metrics.csv").write_bytes(b"\xff\0"), "metrics.csv: not a CSV table"),
    "empty recipe": (lambda folder: (folder / "recipe.yaml").write_bytes(b""), "recipe.yaml"),
    "another recipe": (recipe(lr=0.7), "recipe.yaml: recipe_hash: .* not of one run"),
    "another seed": (recipe(seed=7), "recipe.yaml: seed: 7, but result.json says 1"),
    "another network": (another_network, "network.json: network_sha256: "),
    "the last epoch is missing": (last_row("20,", "19,"), "metrics.csv: epoch: 19.0, but result.json says 20"),
    "another accuracy": (last_row(",83.3", ",84.3"), "metrics.csv: test_top1: 84.3"),
    "another loss": (last_row("0.25", "0.26"), "metrics.csv: test_loss: 0.26"),
    "fewer updates": (last_row("220", "210"), "metrics.csv: updates: 210.0, but result.json says 220"),
    "epochs out of order": (last_row("20,", "1,"), "metrics.csv: its epochs are not in order"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_files_that_do_not_belong_together_are_refused(run: Path, case: str) -> None:
    assert len(read_results([run])) == 1
    damage, said = DAMAGES[case]
    damage(run)
    with pytest.raises(InputError, match=said) as caught:
        read_results([run])
    assert "\n" not in str(caught.value)


def test_the_check_of_a_board_reads_the_evidence_too(tmp_path: Path) -> None:
    """Every run of this project's own board is whole, and one byte of a network that is changed is found."""
    root = EVIDENCE.parents[1]
    for name in ("leaderboard.csv", "leaderboard.bib"):
        shutil.copy(root / name, tmp_path / name)
    (alone,) = check(tmp_path / "leaderboard.csv")  # one line, not one a row
    assert re.search(
        r"evidence: 'baselines/results' is not a folder beside the board; the evidence of \d+ rows", str(alone)
    )
    shutil.copytree(EVIDENCE, tmp_path / "baselines" / "results")
    assert check(tmp_path / "leaderboard.csv") == []
    network = next(tmp_path.glob("baselines/results/*/*/network.json"))
    network.write_text(network.read_text().replace("32,\n", "33,\n", 1))
    assert [problem.column for problem in check(tmp_path / "leaderboard.csv")] == ["evidence"]
