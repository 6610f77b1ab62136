"""Costs that can be worked out on paper, to the last digit that papers print, and the width lists of their networks."""

from __future__ import annotations

import pytest

from thinresnet.networks import count, describe, scale


def test_resnet50_by_hand() -> None:
    """Stem, then per stage (width w, n blocks, map side s): 1x1, 3x3 and 1x1 convolutions and the projections."""
    macs = 7 * 7 * 3 * 64 * 112**2 + 2048 * 1000
    params = 7 * 7 * 3 * 64 + 2 * 64 + 2048 * 1000 + 1000
    inputs = 64
    for width, blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        outputs = 4 * width
        for block in range(blocks):
            # The stride is in the 3x3 convolution, so that the first 1x1 of a stage still sees the larger map.
            larger = side * 2 if block == 0 and width > 64 else side
            weights = [inputs * width, 9 * width * width, width * outputs]
            macs += weights[0] * larger**2 + (weights[1] + weights[2]) * side**2
            params += sum(weights) + 2 * (width + width + outputs)
            if block == 0:
                macs += inputs * outputs * side**2
                params += inputs * outputs + 2 * outputs
            inputs = outputs
    cost = count(scale("resnet50"))
    assert (cost.macs, cost.params) == (macs, params) == (4_089_184_256, 25_557_032)


@pytest.mark.parametrize(
    ("arch", "params_m", "macs_m"),
    [
        ("resnet20_cifar", "0.270", "41"),
        ("resnet56_cifar", "0.853", "125"),
        ("resnet110_cifar", "1.728", "253"),
        ("vgg16_cifar", "14.72", "313"),
        ("wrn40_2_cifar", "2.24", "328"),
        ("wrn28_2_cifar", "1.47", "214"),
        ("wrn22_2_cifar", "1.08", "158"),
        ("wrn16_2_cifar", "0.69", "101"),
        ("wrn40_1_cifar", "0.56", "83"),
        ("densenetbc100_cifar", "0.769", "288"),
        ("densenet40_cifar", "1.06", "283"),
    ],
)
def test_cifar_networks(arch: str, params_m: str, macs_m: str) -> None:
    cost = count(scale(arch))
    digits = len(params_m.split(".")[1])
    assert (f"{cost.params / 1e6:.{digits}f}", f"{cost.macs / 1e6:.0f}") == (params_m, macs_m)


def test_wide_resnet_with_interiors_at_half() -> None:
    cost = count(scale("wrn40_2_cifar", interior=0.5))
    assert (f"{cost.params / 1e6:.2f}", f"{cost.macs / 1e6:.0f}") == ("1.13", "165")


@pytest.mark.parametrize(("growth", "params_m"), [(12, "0.769"), (8, "0.348"), (6, "0.199")])
def test_densenet_bc_at_other_growth_rates(growth: int, params_m: str) -> None:
    cost = count(scale("densenetbc100_cifar", growth_rate=growth))
    assert f"{cost.params / 1e6:.3f}" == params_m
    assert count(scale("densenetbc100_cifar", growth=growth / 12)).params == cost.params


def _first_convs(stages: tuple[int, ...], kept: tuple[int, ...], skipped: set[int]) -> dict[str, int]:
    """Counts for the first convolution of each block; convolutions are numbered from 1, the stem, as papers do."""
    counts, number = {}, 2
    for stage, (blocks, width) in enumerate(zip(stages, kept, strict=True), start=1):
        for block in range(blocks):
            if number not in skipped:
                counts[f"layer{stage}.{block}.conv1"] = width
            number += 2
    return counts


R34 = (3, 4, 6, 3)
R34_SKIPPED = {2, 8, 14, 16, 26, 28, 30, 32}


@pytest.mark.parametrize(
    ("arch", "stages", "kept", "skipped", "params_m", "macs"),
    [
        ("resnet56_cifar", (9, 9, 9), (14, 28, 57), {16, 20, 38, 54}, "0.773", "112M"),
        ("resnet56_cifar", (9, 9, 9), (6, 22, 57), {16, 18, 20, 34, 38, 54}, "0.736", "90.9M"),
        ("resnet110_cifar", (18, 18, 18), (8, 32, 64), {36}, "1.689", "213M"),
        ("resnet110_cifar", (18, 18, 18), (8, 19, 44), {36, 38, 74}, "1.168", "155M"),
        ("resnet34", R34, (44, 89, 179, 512), R34_SKIPPED, "20.15", "3.10G"),
        ("resnet34", R34, (32, 51, 153, 512), R34_SKIPPED, "19.47", "2.78G"),
    ],
    ids=["R56-A", "R56-B", "R110-A", "R110-B", "R34-A", "R34-B"],
)
def test_width_lists_of_l1_filter_pruning(
    arch: str, stages: tuple[int, ...], kept: tuple[int, ...], skipped: set[int], params_m: str, macs: str
) -> None:
    cost = count(describe(arch, channels=_first_convs(stages, kept, skipped)))
    digits = len(params_m.split(".")[1])
    scale_of, unit_digits = {"M": 1e6, "G": 1e9}[macs[-1]], len(macs[:-1].partition(".")[2])
    assert f"{cost.params / 1e6:.{digits}f}" == params_m
    assert f"{cost.macs / scale_of:.{unit_digits}f}{macs[-1]}" == macs


def test_width_list_of_vgg16() -> None:
    """L1 filter pruning halves the first convolution and the six of the last two stages."""
    features = [0, 24, 27, 30, 34, 37, 40]
    kept = {f"features.{layer}": 32 if layer == 0 else 256 for layer in features}
    cost = count(describe("vgg16_cifar", channels=kept))
    assert (f"{cost.params / 1e6:.2f}", f"{cost.macs / 1e6:.0f}") == ("5.26", "206")


def test_thinet_widths_are_one_count_a_stage() -> None:
    """ThiNet-50 as Rethinking builds it: interiors of 32, 64, 128, 256; the stream as it was."""
    thin = scale("resnet50", interior=0.5)
    assert {count for name, count in thin.channels.items() if "conv1" in name or "conv2" in name} == {32, 64, 128, 256}
    assert thin.channels["conv1"] == 64
    assert thin.channels["layer4.0.conv3"] == 2048
