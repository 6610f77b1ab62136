"""Pruning to a latency: every way of choosing channels keeps it, by a made-up table; what saves no time is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.networks.made_up_latency import MACHINE, made_up_table
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import build, scale
from thinresnet.networks.latency import LatencyTable
from thinresnet.pruning.folder import prune_to_folders
from thinresnet.pruning.parent import Parent
from thinresnet.pruning.record import read_pruning
from thinresnet.pruning.registry import method
from thinresnet.pruning.session import How, Outcome, prune

NETWORK = scale("resnet20_cifar", input_size=(3, 8, 8), depths=[1, 1, 1])


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    return made_up_table(NETWORK, monkeypatch)


def budgets(*texts: str) -> Sequence[Sequence[Budget]]:
    return [[Budget.parse("latency", text)] for text in texts]


def pruned(name: str, table: LatencyTable, *shares: str, **how: Any) -> list[Outcome]:
    return list(prune(method(name, {}), NETWORK, build(NETWORK, seed=0), budgets(*shares), latency_table=table, **how))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("l1", {}),
        ("l1", {"scope": "global"}),
        ("random", {"stream": True}),
        ("l2", {"scope": "global", "stream": True}),
    ],
)
def test_channels_leave_until_the_latency_is_kept_and_no_longer(
    table: LatencyTable, name: str, how: dict[str, Any]
) -> None:
    for outcome, share in zip(pruned(name, table, "90%", "80%", **how), (0.9, 0.8), strict=True):
        spent = table.predict_ns(outcome.pruned.network.channels) / table.dense_ns
        assert share - 0.02 < spent <= share


@pytest.mark.parametrize("name", ["uniform", "synflow", "synexp"])
def test_methods_at_initialisation_keep_it_too(table: LatencyTable, name: str) -> None:
    (outcome,) = pruned(name, table, "75%")
    spent = table.predict_ns(outcome.pruned.network.channels) / table.dense_ns
    assert 0.72 < spent <= 0.75


@pytest.mark.parametrize(
    ("name", "share", "says"),
    [
        ("l1", "1%", "no pruned network .* costs so little; the smallest takes"),
        ("l1", "100%", "the network costs no more already"),
        ("synflow", "1%", "no pruned network of resnet20_cifar costs so little"),
        ("magnitude", "50%", "--latency: magnitude masks single weights, which are computed: no time is saved"),
        ("sss", "50%", "--latency: not with sss, which removes blocks"),
    ],
)
def test_refusals(table: LatencyTable, name: str, share: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        pruned(name, table, share)
    with pytest.raises(InputError, match="--latency-table: is for --latency"):
        list(prune(method("l1", {}), NETWORK, None, [[Budget.parse("macs", "50%")]], latency_table=table))


def test_the_folder_says_what_was_predicted_and_by_which_table(table: LatencyTable, tmp_path: Path) -> None:
    parent = Parent(name="a network", network=NETWORK, recipe=None, holdout=0.0)
    how = How(budgets=budgets("80%"), latency_table=table)
    ((folder, record),) = prune_to_folders(method("l1", {}), parent, how, output=tmp_path)
    assert record.latency is not None
    assert read_pruning(folder).latency == record.latency
    assert record.latency["predicted_ms"] <= 0.8 * record.latency["predicted_dense_ms"]
    assert (record.latency["measured_ms"], record.latency["device"]) == (None, MACHINE)
    assert record.latency["table_sha256"] == table.sha256
    # The same again does nothing; another table is another pruning.
    assert [path for path, _ in prune_to_folders(method("l1", {}), parent, how, output=tmp_path)] == [folder]
    other = How(budgets=budgets("80%"), latency_table=LatencyTable(**{**vars_of(table), "measured": "another day"}))
    ((another, _),) = prune_to_folders(method("l1", {}), parent, other, output=tmp_path)
    assert another != folder


def vars_of(table: LatencyTable) -> dict[str, Any]:
    return {name: getattr(table, name) for name in table.__dataclass_fields__}
