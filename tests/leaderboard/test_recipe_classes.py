"""Classical, modern or not known: from the tag, the length, or what the source states; never guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from thinresnet.leaderboard.recipe_classes import CLASSICAL, FACTS, MODERN, UNKNOWN, recipe_class
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board

BARE = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": "", "family": "dense"}
BOARD = Path(__file__).parents[2] / "leaderboard.csv"


@pytest.mark.parametrize(
    ("cells", "label"),
    [
        ({"recipe": "tv_in1k"}, CLASSICAL),
        ({"recipe": "tv2_in1k"}, MODERN),
        ({"recipe": "a1h_in1k"}, MODERN),
        ({"recipe": "a3_in1k", "train_epochs": "100"}, MODERN),
        ({"recipe": "c3_in1k"}, MODERN),
        ({"recipe": "racm_in1k"}, MODERN),
        ({"recipe": "ra4_e3600_r224_in1k"}, MODERN),
        ({"recipe": "e500_r224_in1k"}, MODERN),  # by its length alone
        ({"recipe": "gluon_in1k"}, UNKNOWN),
        ({"recipe": "bt_in1k"}, UNKNOWN),
        ({"recipe": "in1k"}, UNKNOWN),
        ({"paper": "somebody2020"}, UNKNOWN),
        ({"paper": "somebody2020", "train_epochs": "90"}, UNKNOWN),  # short is not yet classical
        ({"paper": "somebody2020", "train_epochs": "151"}, MODERN),
        ({"paper": "somebody2020", "train_epochs": "240", "arch": "mobilenetv2_100"}, UNKNOWN),
        ({"paper": "somebody2020", "train_epochs": "301", "arch": "mobilenetv2_100"}, MODERN),
        ({"paper": "somebody2020", "train_epochs": "300", "dataset": "cifar10", "arch": "vgg16_cifar"}, UNKNOWN),
        ({"paper": "torchvision", "method": "torchvision IMAGENET1K_V1"}, CLASSICAL),
        ({"paper": "torchvision", "method": "torchvision IMAGENET1K_V2"}, MODERN),
        ({"paper": "torchvision_v2", "method": "recipe increment: + LR optimizations"}, CLASSICAL),
        ({"paper": "torchvision_v2", "method": "recipe increment: + TrivialAugment"}, MODERN),
        ({"paper": "nvidia_rn50", "method": "NVIDIA RN50 v1.5, 250 ep", "train_epochs": "250"}, MODERN),
        ({"paper": "nvidia_rn50", "method": "NVIDIA RN50 v1.5, 90 ep", "train_epochs": "90"}, CLASSICAL),
        ({"paper": "paddleclas", "method": "PaddleClas ResNet50"}, CLASSICAL),
        ({"paper": "paddleclas", "method": "PaddleClas ResNet50_vd", "arch": "resnet50d"}, MODERN),
        ({"paper": "yu2019slimmable", "method": "individually trained, uniform width 0.5x"}, CLASSICAL),
        ({"paper": "yu2019slimmable", "arch": "mobilenetv1_100"}, UNKNOWN),
        ({"source": "measured", "recipe": "classic", "train_epochs": "5"}, CLASSICAL),
        ({"source": "measured", "recipe": "imagenet-a3", "train_epochs": "100"}, MODERN),
        ({"source": "measured", "recipe": "short", "train_epochs": "2"}, UNKNOWN),
    ],
)
def test_classes(make: Callable[..., Entry], cells: dict[str, str], label: str) -> None:
    assert recipe_class(make(**{**BARE, **cells})) == label


def test_every_fact_is_about_a_row_of_the_board() -> None:
    board = read_board(BOARD)
    for fact in FACTS:
        assert fact.states
        assert any(fact.fits(entry) for entry in board), fact
