"""The papers' lists of widths: to the unit, through the L1 criterion, with the cost worked out by hand."""

from __future__ import annotations

import pytest

from thinresnet.errors import InputError
from thinresnet.networks import build, count, scale
from thinresnet.pruning import methods, prune
from thinresnet.pruning.presets import PRESETS, preset


def basic_blocks(widths: list[list[int]], stream: list[int], side: int, *, projected: bool) -> tuple[int, int]:
    """MACs and parameters of the stages of basic blocks of which the first convolution has these widths."""
    macs = params = 0
    last = stream[0]
    for stage, (inside, out) in enumerate(zip(widths, stream, strict=True)):
        for number, width in enumerate(inside):
            narrows = stage > 0 and number == 0
            side //= 2 if narrows else 1
            inputs = last if number == 0 else out
            weights = 9 * inputs * width + 9 * width * out
            params += weights + 2 * width + 2 * out
            macs += weights * side**2
            if narrows and projected:
                params += inputs * out + 2 * out
                macs += inputs * out * side**2
        last = out
    return macs, params


def cifar_resnet(widths: list[list[int]]) -> tuple[int, int]:
    """A CIFAR ResNet with padded shortcuts at 32 pixels, ten classes."""
    macs, params = basic_blocks(widths, [16, 32, 64], 32, projected=False)
    return macs + 27 * 16 * 32**2 + 640, params + 27 * 16 + 32 + 650


def resnet34(widths: list[list[int]]) -> tuple[int, int]:
    """ResNet-34 at 224 pixels, a thousand classes."""
    macs, params = basic_blocks(widths, [64, 128, 256, 512], 56, projected=True)
    return macs + 147 * 64 * 112**2 + 512_000, params + 147 * 64 + 128 + 513_000


def vgg16(widths: list[int]) -> tuple[int, int]:
    """VGG-16 with batch norm and one linear layer at 32 pixels, ten classes; convolutions have biases only in norms."""
    sides = [32] * 2 + [16] * 2 + [8] * 3 + [4] * 3 + [2] * 3
    inputs = [3, *widths[:-1]]
    weights = [9 * a * b for a, b in zip(inputs, widths, strict=True)]
    macs = sum(weight * side**2 for weight, side in zip(weights, sides, strict=True))
    return macs + 10 * widths[-1], sum(weights) + 2 * sum(widths) + 10 * widths[-1] + 10


def resnet50(inner: list[list[tuple[int, int]]]) -> tuple[int, int]:
    """ResNet-50 at 224 pixels, a thousand classes, with these inner widths of each bottleneck."""
    macs, params, side, inputs = 147 * 64 * 112**2 + 2_048_000, 147 * 64 + 128 + 2_049_000, 56, 64
    for stage, (widths, out) in enumerate(zip(inner, (256, 512, 1024, 2048), strict=True)):
        for number, (first, second) in enumerate(widths):
            before, side = side, side // 2 if stage > 0 and number == 0 else side
            weights = [(inputs * first, before), (9 * first * second, side), (second * out, side)]
            norms = 2 * (first + second + out)
            if number == 0:
                weights.append((inputs * out, side))
                norms += 2 * out
            macs += sum(count * pixels**2 for count, pixels in weights)
            params += sum(count for count, _ in weights) + norms
            inputs = out
    return macs, params


def vgg16_of_imagenet(widths: list[int]) -> tuple[int, int]:
    """VGG-16 at 224 pixels with biases, and its three linear layers."""
    sides = [224] * 2 + [112] * 2 + [56] * 3 + [28] * 3 + [14] * 3
    weights = [9 * a * b for a, b in zip([3, *widths[:-1]], widths, strict=True)]
    linear = [49 * widths[-1] * 4096, 4096 * 4096, 4096 * 1000]
    macs = sum(weight * side**2 for weight, side in zip(weights, sides, strict=True))
    return macs + sum(linear), sum(weights) + sum(widths) + sum(linear) + 9192


def stages(blocks: int, kept: tuple[int, ...], dense: tuple[int, ...], whole: set[int]) -> list[list[int]]:
    """`kept` in each block of a stage, but for those left whole, which are counted over all stages."""
    found, block = [], 0
    for few, many in zip(kept, dense, strict=True):
        found.append([many if block + i in whole else few for i in range(blocks)])
        block += blocks
    return found


C, D = (16, 32, 64), (64, 128, 256, 512)
R34_WHOLE = [[0], [0, 3], [0, 5], [0, 1, 2]]  # of each stage


def r34(kept: tuple[int, ...]) -> list[list[int]]:
    return [
        [many if block in whole else few for block in range(blocks)]
        for few, many, whole, blocks in zip(kept, D, R34_WHOLE, (3, 4, 6, 3), strict=True)
    ]


# widths of the blocks, worked out by hand from the paper's shares and the convolutions that it leaves alone:
# convolution 2k is the first of block k (from 1), so that 16, 20, 38, 54 are blocks 7, 9, 18, 26 counted from 0
LISTS = {
    "R56-A": (cifar_resnet, stages(9, (14, 28, 57), C, {7, 9, 18, 26}), 0.773e6, 112e6),
    "R56-B": (cifar_resnet, stages(9, (6, 22, 57), C, {7, 8, 9, 16, 18, 26}), 0.736e6, 90.9e6),
    "R110-A": (cifar_resnet, stages(18, (8, 32, 64), C, {17}), 1.689e6, 213e6),
    "R110-B": (cifar_resnet, stages(18, (8, 19, 44), C, {17, 18, 36}), 1.168e6, 155e6),
    "R34-A": (resnet34, r34((44, 89, 179, 512)), 20.15e6, 3.10e9),
    "R34-B": (resnet34, r34((32, 51, 153, 512)), 19.47e6, 2.78e9),
    "VGG16-A": (vgg16, [32, 64, 128, 128, 256, 256, 256, *[256] * 6], 5.26e6, 206e6),
}


def thinet(widths: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    return [[(width, width)] * blocks for width, blocks in zip(widths, (3, 4, 6, 3), strict=True)]


# As the published networks have them, and what counting them by hand comes to.
OF_IMAGENET = {
    "ThiNet-30": (resnet50, thinet((19, 38, 76, 153))),
    "ThiNet-50": (resnet50, thinet((32, 64, 128, 256))),
    "ThiNet-70": (resnet50, thinet((44, 89, 179, 358))),
    "ThiNet-Conv": (vgg16_of_imagenet, [32, 32, 64, 64, *[128] * 3, *[256] * 3, *[512] * 3]),
    "ResNet-2x": (
        resnet50,
        [
            [(64, 55), (51, 39), (50, 37)],
            [(128, 106), (105, 72), (105, 72), (128, 110)],
            [(256, 225), (209, 147), (204, 158), (212, 155), (211, 148), (256, 213)],
            [(512, 433), (512, 437), (512, 440)],
        ],
    ),
    "VGG-5x": (vgg16_of_imagenet, [24, 22, 41, 51, 108, 89, 111, 184, 276, 228, 512, 512, 512]),
}


def test_every_list_is_held_here() -> None:
    assert LISTS.keys() | OF_IMAGENET.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", OF_IMAGENET)
def test_lists_of_imagenet_to_the_unit(name: str) -> None:
    rule, widths = OF_IMAGENET[name]
    cost = count(preset(name, scale(PRESETS[name][0])))
    assert (cost.macs, cost.params) == rule(widths)  # type: ignore[operator]  # each rule its own lists


@pytest.mark.parametrize("name", LISTS)
def test_lists_to_the_unit(name: str) -> None:
    rule, widths, params_said, macs_said = LISTS[name]
    network = scale(PRESETS[name][0])
    wanted = preset(name, network)
    (outcome,) = prune(methods()["l1"](), network, build(network, seed=0), to=wanted)
    found = outcome.pruned.network
    assert found == wanted
    if name == "VGG16-A":
        assert list(found.channels.values()) == widths
    else:
        blocks = [[found.channels[f"layer{s + 1}.{b}.conv1"] for b in range(len(w))] for s, w in enumerate(widths)]
        assert blocks == widths
    cost = count(found)
    assert (cost.macs, cost.params) == outcome.cost == rule(widths)  # type: ignore[operator]  # each rule its own lists
    assert cost.params == pytest.approx(params_said, rel=1e-3)
    assert cost.macs == pytest.approx(macs_said, rel=5e-3)


def test_a_list_is_for_one_network() -> None:
    with pytest.raises(InputError, match="R56-A: that list is for resnet56_cifar, not for resnet20_cifar"):
        preset("R56-A", scale("resnet20_cifar"))
    with pytest.raises(InputError, match=r"R56-C.*did you mean"):
        preset("R56-C", scale("resnet56_cifar"))
