"""torchvision's ShuffleNetV2, registered with timm, which does not have it; one of the founding papers' networks.

For 32 px it is the same network with a first convolution of stride 1 and without the pooling after it.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torchvision.models import ShuffleNetV2

from thinresnet.networks.cifar import cifar_config

# torchvision's stage widths for each multiplier
_WIDTHS = {
    "x0_5": [24, 48, 96, 192, 1024],
    "x1_0": [24, 116, 232, 464, 1024],
    "x1_5": [24, 176, 352, 704, 1024],
    "x2_0": [24, 244, 488, 976, 2048],
}

default_cfgs = generate_default_cfgs(
    {
        f"shufflenet_v2_{size}": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "first_conv": "conv1.0",
            "classifier": "fc",
        }
        for size in _WIDTHS
    }
    | {f"shufflenet_v2_{size}_cifar": cifar_config("fc", "conv1.0") for size in _WIDTHS}
)


class TimmShuffleNetV2(ShuffleNetV2):
    """torchvision's network with the methods that timm asks of one."""

    def __init__(
        self,
        widths: list[int],
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        small_images: bool = False,
    ):
        super().__init__([4, 8, 4], widths, num_classes=num_classes)
        if in_chans != 3 or small_images:
            self.conv1[0] = nn.Conv2d(in_chans, widths[0], 3, 1 if small_images else 2, 1, bias=False)
        if small_images:
            self.maxpool = nn.Identity()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = widths[-1]
        self.drop = nn.Dropout(drop_rate)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        return self.conv5(self.stage4(self.stage3(self.stage2(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.drop(x.mean((2, 3)))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def _register(name: str, widths: list[int], *, small_images: bool) -> None:
    def entry(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        plan = {"widths": widths, "small_images": small_images}
        model: nn.Module = build_model_with_cfg(TimmShuffleNetV2, name, pretrained, **plan, **kwargs)
        return model

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = __name__
    register_model(entry)


for _size, _stage_widths in _WIDTHS.items():
    _register(f"shufflenet_v2_{_size}", _stage_widths, small_images=False)
    _register(f"shufflenet_v2_{_size}_cifar", _stage_widths, small_images=True)
