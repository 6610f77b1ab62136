"""What the networks for 32-pixel images are made of: their common base, shortcuts without weights, the basic block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional


class CifarNet(nn.Module):
    """What timm asks of a network: features, pooled features, a classifier that can be replaced."""

    def __init__(self, num_classes: int, drop_rate: float, global_pool: str):
        super().__init__()
        if global_pool not in ("avg", ""):
            raise ValueError(f"global_pool is 'avg' or ''; got {global_pool!r}")
        self.num_classes = num_classes
        self.drop_rate = drop_rate
        self.global_pool = global_pool
        self.num_features = self.head_hidden_size = 0

    def _finish(self, num_features: int) -> None:
        """The classifier, then He et al.'s initialisation: fan out for convolutions, the layer's own for the rest."""
        self.num_features = self.head_hidden_size = num_features
        self.fc = nn.Linear(num_features, self.num_classes) if self.num_classes > 0 else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.global_pool = self.global_pool if global_pool is None else global_pool
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        assert not enable, "gradient checkpointing is not supported"

    def forward_features(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if self.global_pool == "avg":
            x = x.mean((2, 3))
        x = functional.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def drop_paths(depths: Sequence[int], rate: float) -> list[nn.Module]:
    """Stochastic depth that grows linearly with depth, one module a block."""
    count = sum(depths)
    return [DropPath(rate * i / max(count - 1, 1)) if rate else nn.Identity() for i in range(count)]


# ResNet -------------------------------------------------------------------------------------------------------------


class PadShortcut(nn.Module):
    """Option A: no parameters; the map is averaged down and channels of zeros at the end make up the width."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor, width: int) -> Tensor:
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        return functional.pad(x, (0, 0, 0, 0, 0, width - x.shape[1]))


class StridedShortcut(nn.Module):
    """Option A as akamaster/pytorch_resnet_cifar10 has it: every second pixel, and zeros on both sides.

    The zeros are buffers, so that each side's channels can be followed, scaled and pruned on their own.
    """

    before: Tensor
    after: Tensor

    def __init__(self, stride: int, inputs: int, width: int):
        super().__init__()
        self.stride = stride
        first = (width - inputs) // 2
        self.register_buffer("before", torch.zeros(first, 1, 1), persistent=False)
        self.register_buffer("after", torch.zeros(width - inputs - first, 1, 1), persistent=False)

    def forward(self, x: Tensor, width: int) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        size = (len(x), -1, *x.shape[2:])
        return torch.cat([self.before.to(x.dtype).expand(size), x, self.after.to(x.dtype).expand(size)], 1)


SHORTCUTS = ("A", "A-strided", "B")


class _BasicBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, shortcut: str, drop_path: nn.Module):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.drop_path = drop_path
        self.act2 = nn.ReLU(inplace=True)
        changes = stride > 1 or inputs != width
        self.pad: nn.Module | None = None
        if changes and shortcut != "B":
            self.pad = PadShortcut(stride) if shortcut == "A" else StridedShortcut(stride, inputs, width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if changes and shortcut == "B"
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.drop_path(self.bn2(self.conv2(y)))
        if self.pad is not None:
            x = self.pad(x, y.shape[1])
        elif self.downsample is not None:
            x = self.downsample(x)
        return self.act2(x + y)
