"""Lower bounds of training in epoch-GMACs, against figures worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.training_cost import training_at_least, training_of_reference

DENSE = 4.089184256
BARE = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}


@pytest.mark.parametrize(
    ("cells", "epoch_gmacs"),
    [
        ({}, None),
        ({"dense_epochs": "90"}, 90 * DENSE),  # 368: the dense parent alone
        ({"dense_epochs": "90", "tune_epochs": "20", "cost_printed_g": "2"}, 90 * DENSE + 20 * 2),
        ({"dense_epochs": "90", "tune_epochs": "20"}, 90 * DENSE),  # its own cost is not known
        ({"tune_epochs": "60", "prune_epochs": "10", "cost_printed_g": "2"}, 140),
        ({"train_epochs": "100", "cost_printed_g": "2"}, 200),
        ({"train_epochs": "100", "cost_printed_g": "2", "train_resolution": "112"}, 50),
        ({"training_macs_printed_g": "3843501"}, 1),  # 3 x 1,281,167 images x 1 G
    ],
)
def test_lower_bounds(make: Callable[..., Entry], cells: dict[str, str], epoch_gmacs: float | None) -> None:
    assert training_at_least(make(**{**BARE, **cells})) == pytest.approx(epoch_gmacs)


def test_a_short_training_at_a_low_resolution(make: Callable[..., Entry]) -> None:
    # ResNet-50 by A3: 100 epochs at 160 px are 209 epoch-GMACs, wherever it is tested.
    cells = {**BARE, "family": "dense", "train_epochs": "100", "train_resolution": "160"}
    for pixels in ("160", "224"):
        assert training_of_reference(make(**cells, test_resolution=pixels)) == pytest.approx(208.7, abs=0.5)
    assert training_of_reference(make(**{**cells, "train_epochs": ""})) is None
