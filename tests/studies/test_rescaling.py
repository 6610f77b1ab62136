"""Rescaling: the shape that was found at any budget, exactly within it."""

from __future__ import annotations

import pytest

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import Network, count, describe, scale
from thinresnet.pruning.presets import preset
from thinresnet.studies.rescaling import kept_shares, rescaled


def _macs(text: str) -> Budget:
    return Budget.parse("macs", text)


@pytest.fixture(scope="module")
def reference() -> Network:
    """ResNet-20 with the shares of ResNet-56-B: 0.4, 0.7 and 0.9 of the stages' interiors, first blocks whole."""
    cut = {f"layer{stage}.{block}.conv1": width for stage, width in ((1, 6), (2, 22), (3, 57)) for block in (1, 2)}
    return describe("resnet20_cifar", channels=cut)


def test_at_its_own_cost_the_reference_comes_out(reference: Network) -> None:
    assert rescaled(reference, [_macs(str(count(reference).macs))]) == reference
    assert rescaled(reference, [_macs("100%")]) == scale("resnet20_cifar")


@pytest.mark.parametrize("share", [85, 60, 45])
def test_within_the_budget_by_less_than_a_step(reference: Network, share: int) -> None:
    dense = count(scale("resnet20_cifar")).macs
    member = rescaled(reference, [_macs(f"{share}%")])
    # A channel inside a block of stage 1 at 32 px, both of its convolutions: nothing costs more.
    step = 2 * 9 * 16 * 32 * 32
    assert share / 100 * dense - step < count(member).macs <= share / 100 * dense


def test_the_shape_is_kept(reference: Network) -> None:
    member = rescaled(reference, [_macs("40%")])
    dense = scale("resnet20_cifar").channels
    shares = kept_shares(reference)
    assert set(shares) == {name for name in dense if name.endswith("conv1") and name.startswith("layer")}
    assert all(member.channels[name] == dense[name] for name in dense if name not in shares)
    # min(1, alpha p) of each, rounded down, and at most one channel more: one alpha explains them all.
    least = max((member.channels[name] - 1) / (shares[name] * dense[name]) for name in shares)
    most = min((member.channels[name] + 1) / (shares[name] * dense[name]) for name in shares)
    assert least < most


def test_a_factor_above_one_stops_at_whole(reference: Network) -> None:
    member = rescaled(reference, [_macs("90%")])
    dense = scale("resnet20_cifar").channels
    assert member.channels["layer3.0.conv1"] == dense["layer3.0.conv1"]  # 0.9 of it in the reference
    assert reference.channels["layer1.1.conv1"] < member.channels["layer1.1.conv1"] < dense["layer1.1.conv1"]


def test_what_the_reference_cut_of_the_stream_moves_too() -> None:
    dense = scale("resnet20_cifar", shortcut="B").channels
    cut = describe("resnet20_cifar", channels={"layer2.0.conv2": 16, "layer1.0.conv1": 8}, shortcut="B")
    member = rescaled(cut, [_macs("40%")])
    assert member.channels["layer2.0.conv2"] < 16
    assert (member.channels["conv1"], member.channels["layer3.0.conv2"]) == (dense["conv1"], dense["layer3.0.conv2"])


def test_networks_without_blocks_move_everywhere() -> None:
    vgg = preset("VGG16-A", scale("vgg16_cifar"))
    member = rescaled(vgg, [_macs("20%"), Budget.parse("params", "10%")], round_to=8)
    cost, dense = count(member), count(scale("vgg16_cifar"))
    assert cost.macs <= 0.2 * dense.macs
    assert 0.09 * dense.params < cost.params <= 0.1 * dense.params
    assert all(width % 8 == 0 for width in member.channels.values())
    assert all(width < scale("vgg16_cifar").channels[name] for name, width in member.channels.items())


def test_what_cannot_be_met_says_what_the_smallest_costs(reference: Network) -> None:
    with pytest.raises(InputError, match=r"--macs 1%: no rescaled network of resnet20_cifar .* the smallest has"):
        rescaled(reference, [_macs("1%")])
