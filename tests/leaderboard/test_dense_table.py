"""The dense table is what the project's own counter counts."""

from __future__ import annotations

import pytest

from thinresnet.leaderboard.dense import dense_cost, table

# One worker imports torch, once.

# Closed forms. A CIFAR ResNet of 6n+2 layers with shortcuts that pad, 32 px, 10 classes.
STAGES = ((16, 32), (32, 16), (64, 8))


def cifar_resnet(depth: int) -> tuple[int, int]:
    """MACs and parameters: 3x3 convolutions without bias, two norm parameters a channel, one classifier."""
    blocks, width = (depth - 2) // 6, 16
    macs, params = 3 * 9 * 16 * 32**2, 3 * 9 * 16 + 2 * 16
    for channels, side in STAGES:
        for _ in range(blocks):
            macs += 9 * (width + channels) * channels * side**2
            params += 9 * (width + channels) * channels + 4 * channels
            width = channels
    return macs + 64 * 10, params + 64 * 10 + 10


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_cifar_resnets_cost_what_the_closed_form_says(depth: int) -> None:
    cost = dense_cost(f"resnet{depth}_cifar", 32, 10)
    assert cost is not None
    assert (cost.macs, cost.params) == cifar_resnet(depth)


@pytest.mark.parametrize(
    ("arch", "size", "macs", "params"),
    [("resnet50", 224, 4_089_184_256, 25_557_032), ("resnet18", 224, 1_814_073_344, 11_689_512)],
)
def test_the_anchors_stand(arch: str, size: int, macs: int, params: int) -> None:
    cost = dense_cost(arch, size, 1000)
    assert cost is not None
    assert (cost.macs, cost.params) == (macs, params)


def test_the_number_of_classes_is_the_classifier_only() -> None:
    for (arch, size, classes), cost in table().items():
        if classes == 100:
            ten = dense_cost(arch, size, 10)
            assert ten is not None
            width = (cost.params - ten.params) // 90 - 1
            assert cost.macs - ten.macs == 90 * width, arch


@pytest.mark.parametrize(("arch", "size"), [("resnet18", 224), ("resnet18", 160), ("mobilenetv2_100", 224)])
def test_the_counter_counts_the_same_for_timm(arch: str, size: int) -> None:
    import timm

    from thinresnet import networks

    cost = networks.count(timm.create_model(arch), (3, size, size))
    counted = dense_cost(arch, size, 1000)
    assert counted is not None
    assert (cost.macs, cost.params) == (counted.macs, counted.params)


def test_the_counter_counts_the_same_for_our_own_cifar_networks() -> None:
    import timm

    from thinresnet import networks
    from thinresnet.networks import zoo  # noqa: F401 - registers them

    known = {arch for arch, _, _ in table() if arch.endswith("_cifar") and timm.is_model(arch)}
    assert {"resnet20_cifar", "resnet56_cifar", "wrn40_2_cifar", "vgg16_cifar"} <= known
    for arch in sorted(known):
        counted = table()[arch, 32, 10]
        if counted.macs < 200e6:
            cost = networks.count(timm.create_model(arch, num_classes=10), (3, 32, 32))
            assert (cost.macs, cost.params) == (counted.macs, counted.params), arch
