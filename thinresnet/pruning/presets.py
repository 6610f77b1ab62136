"""Channel counts that papers prescribe, by the names that they give them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from thinresnet.errors import InputError, nearest
from thinresnet.network import Network
from thinresnet.networks.describe import describe


@dataclass(frozen=True)
class _Residual:
    """Li et al.'s lists: a share of filters that goes from the first convolution of each block, stage by stage.

    They number the 3×3 convolutions from 1, the first of the network, so that the k-th block begins at 2k; `skipped`
    are those left whole.
    """

    blocks: tuple[int, ...]
    shares: tuple[float, ...]
    skipped: tuple[int, ...]

    def counts(self, network: Network) -> dict[str, int]:
        """The counts that differ from the dense network's."""
        found, block = {}, 0
        for stage, (blocks, share) in enumerate(zip(self.blocks, self.shares, strict=True), start=1):
            for index in range(blocks):
                block += 1
                name = f"layer{stage}.{index}.conv1"
                if 2 * block not in self.skipped:
                    # The small push keeps 0.7 * 10 = 6.999… from losing a channel.
                    found[name] = math.floor(network.channels[name] * (1 - share) + 1e-9)
        return found


_R34_SKIPPED = (2, 8, 14, 16, 26, 28, 30, 32)
_RESIDUAL: dict[str, tuple[str, _Residual]] = {
    "R56-A": ("resnet56_cifar", _Residual((9, 9, 9), (0.1, 0.1, 0.1), (16, 20, 38, 54))),
    "R56-B": ("resnet56_cifar", _Residual((9, 9, 9), (0.6, 0.3, 0.1), (16, 18, 20, 34, 38, 54))),
    "R110-A": ("resnet110_cifar", _Residual((18, 18, 18), (0.5, 0.0, 0.0), (36,))),
    "R110-B": ("resnet110_cifar", _Residual((18, 18, 18), (0.5, 0.4, 0.3), (36, 38, 74))),
    "R34-A": ("resnet34", _Residual((3, 4, 6, 3), (0.3, 0.3, 0.3, 0.0), _R34_SKIPPED)),
    "R34-B": ("resnet34", _Residual((3, 4, 6, 3), (0.5, 0.6, 0.4, 0.0), _R34_SKIPPED)),
}


def _vgg16(network: Network) -> dict[str, int]:
    """Half of the first convolution and of the eighth to the thirteenth."""
    return {
        name: count // 2 for number, (name, count) in enumerate(network.channels.items(), 1) if not 2 <= number <= 7
    }


@dataclass(frozen=True)
class _Interior:
    """ThiNet's ResNet-50: the same share of the two inner widths of every bottleneck, the stream whole."""

    share: Fraction

    def counts(self, network: Network) -> dict[str, int]:
        """The counts that differ from the dense network's."""
        return {
            name: int(count * self.share) for name, count in network.channels.items() if name.endswith(_INNER_OF_50)
        }


@dataclass(frozen=True)
class _Listed:
    """Counts one by one, in the order of the network's layers whose names match."""

    layers: tuple[str, ...]  # beginnings or ends of their names
    widths: tuple[int, ...]

    def counts(self, network: Network) -> dict[str, int]:
        """The counts of these layers."""
        names = [name for name in network.channels if name.startswith(self.layers) or name.endswith(self.layers)]
        return dict(zip(names, self.widths, strict=True))


_INNER_OF_50 = (".conv1", ".conv2")
# The inner widths, first and second convolution of each bottleneck. Their network also reads each block's input through
# a gather, by an index file; that is no list of widths, so here the first convolution reads all channels.
_RESNET_2X = (
    64, 55, 51, 39, 50, 37,
    128, 106, 105, 72, 105, 72, 128, 110,
    256, 225, 209, 147, 204, 158, 212, 155, 211, 148, 256, 213,
    512, 433, 512, 437, 512, 440,
)  # fmt: skip
_VGG_5X = (24, 22, 41, 51, 108, 89, 111, 184, 276, 228, 512, 512, 512)
_THINET_CONV = (32, 32, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512)

# Li et al. 2017, arXiv:1608.08710; ThiNet, arXiv:1707.06342, and He et al. 2017, arXiv:1707.06168, as the networks of
# Eric-mingjie/rethinking-network-pruning 92e41085 have them: imagenet/thinet/models and imagenet/regression-pruning.
PRESETS: dict[str, tuple[str, Callable[[Network], dict[str, int]]]] = {
    **{name: (arch, rule.counts) for name, (arch, rule) in _RESIDUAL.items()},
    "VGG16-A": ("vgg16_cifar", _vgg16),
    **{f"ThiNet-{percent}": ("resnet50", _Interior(Fraction(percent, 100)).counts) for percent in (30, 50, 70)},
    "ThiNet-Conv": ("vgg16", _Listed(("features.",), _THINET_CONV).counts),
    "ResNet-2x": ("resnet50", _Listed(_INNER_OF_50, _RESNET_2X).counts),
    "VGG-5x": ("vgg16", _Listed(("features.",), _VGG_5X).counts),
}


def preset(name: str, network: Network) -> Network:
    """`network` with the counts of a paper's list."""
    if name not in PRESETS:
        raise InputError(
            f"--to {name}: no file, and no list of that name{nearest(name, PRESETS)} ({', '.join(PRESETS)})"
        )
    arch, counts = PRESETS[name]
    if network.arch != arch:
        raise InputError(f"--to {name}: that list is for {arch}, not for {network.arch}")
    return describe(
        arch, channels={**network.channels, **counts(network)}, input_size=network.input_size, **network.kwargs
    )
