"""Methods are found by discovery: in this package's files, in a file of one's own, in an installed package."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import thinresnet.pruning
from thinresnet.errors import InputError
from thinresnet.pruning import Method, registry
from thinresnet.pruning.method import KNOWN, NOT_READ, TRAINED, WHEN
from thinresnet.pruning.registry import asked_for, by_name, configured, declared, facts, method, methods

TOY = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thinresnet.pruning.job import Job
from thinresnet.pruning.method import Method
from thinresnet.pruning.selection import Scores


@dataclass(frozen=True)
class Toy(Method):
    """All channels are worth the same."""

    name: ClassVar[str] = "toy"
    paper: ClassVar[str] = "none"

    def scores(self, job: Job) -> Scores:
        return np.ones(job.channels.total)
'''


def test_a_file_in_the_package_is_all_that_a_method_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "toy" not in methods()
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(thinresnet.pruning, "__path__", [*thinresnet.pruning.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "methods", registry.methods.__wrapped__)
    try:
        assert type(method("toy")).__module__ == "thinresnet.pruning.toy"
        assert set(registry.methods()) == {*methods(), "toy"}
    finally:
        sys.modules.pop("thinresnet.pruning.toy", None)


def test_an_installed_package_may_declare_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code is imported when the command line asks for it, not when methods are listed or a study names one."""
    (tmp_path / "toys.py").write_text(TOY + "\nwith open(__file__ + '.imported', 'w'): pass\n")
    info = tmp_path / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[thinresnet.methods]\ntoy = toys:Toy\nnone = toys:np\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert {"toy", "none"} <= {point.name for point in declared()}
        assert "toy" not in methods()
        with pytest.raises(InputError, match="unknown method 'toy'"):
            method("toy")
        assert not (tmp_path / "toys.py.imported").exists()
        assert configured(asked_for("toy")).name == "toy"
        assert (tmp_path / "toys.py.imported").exists()
        with pytest.raises(InputError, match="toys:np is no subclass"):
            asked_for("none")
    finally:
        sys.modules.pop("toys", None)


def test_the_command_line_may_name_our_own_too() -> None:
    assert asked_for("l1") is methods()["l1"]
    with pytest.raises(InputError, match="did you mean 'synflow'"):
        asked_for("sinflow")


def test_every_method_says_what_there_is_to_know() -> None:
    for name, kind in methods().items():
        known = facts(kind)
        assert known["method"] == name
        assert known["does"].endswith(".")
        assert known["paper"]
        assert ("training" in kind.needs) == (kind.when == "while training")
        assert kind.when == WHEN[2] or "weights" in kind.needs
        assert not (kind.grows and kind.ranks_weights)  # ranked weights are those that there are


@pytest.mark.parametrize("name", methods())
def test_every_method_declares_its_papers_settings(name: str) -> None:
    """Each setting, and the scope, beside the authors' own, with where that was read; a difference has its reason."""
    kind = methods()[name]
    wanted = set(facts(kind)["settings"]) | (set() if kind.when == WHEN[2] else {"scope"})
    if kind.when == TRAINED and "data" in kind.needs:
        wanted.add("mode")
    assert wanted <= set(kind.published), f"{name}: not declared: {wanted - set(kind.published)}"
    for row in facts(kind)["published"]:
        where = f"{name}: {row['setting']}"
        assert row["source"] in (KNOWN, NOT_READ) or row["source"].startswith(("code: ", "paper: ")), where
        assert (row["theirs"] is None) == (row["source"] == NOT_READ), where
        assert row["ours"] is not None or row["setting"] in facts(kind)["settings"], where
        if row["theirs"] is not None:
            assert bool(row["why"]) == (row["theirs"] != row["ours"]), f"{where}: say why it differs, or nothing"


def test_one_name_for_two_methods_is_a_mistake() -> None:
    @dataclass(frozen=True)
    class Again(Method):
        """Another one."""

        name: ClassVar[str] = "l1"
        paper: ClassVar[str] = "none"

    with pytest.raises(ValueError, match="two methods are called 'l1'"):
        by_name([methods()["l1"], Again])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sinflow", {}, "did you mean 'synflow'"),
        ("fisher-tune", {}, "it is fisher now"),
        ("gradual", {"criterion": "slimming"}, "slimming is no method that scores.*one of chip, fisher-oneshot"),
        ("gradual", {"criterion": "l11"}, "did you mean 'l1'"),
        ("snip", {"batch": 2}, "prune snip: unknown setting 'batch'; did you mean 'batches'"),
        ("synflow", {"rounds": "0"}, "prune synflow: rounds: takes an integer, at least 1"),
        ("fisher-oneshot", {"images": "many"}, "prune fisher-oneshot: images: takes an integer.*got 'many'"),
        ("fisher-oneshot", {"images": True}, "an integer"),
        ("slimming", {"sparsity": float("nan")}, "sparsity"),
        ("fisher", {"cost": "time"}, "one of 'none', 'macs', 'params', got 'time'"),
    ],
)
def test_unknown_names_and_settings_are_refused(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        method(name, settings)


def test_settings_are_values_or_text() -> None:
    assert method("slimming", {"sparsity": "1e-3", "epochs": "none"}) == methods()["slimming"](
        sparsity=1e-3, epochs=None
    )
    assert method("synflow", {"rounds": "7"}) == method("synflow", {"rounds": 7})
