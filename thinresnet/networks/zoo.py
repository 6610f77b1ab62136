"""What timm finds after this module is imported: the CIFAR networks, ShuffleNetV2, and `thin_` names.

`timm.create_model("thin_resnet50", width=0.5)` is a scaled network; the same works in timm's own train.py with
`--device-modules thinresnet.networks.zoo --model thin_resnet50 --model-kwargs width=0.5`. The networks of the
ThinResNet authors have names of their own, without a width: `thinresnet50-w52`.
"""

from __future__ import annotations

import copy
from typing import Any

import timm
from timm.models import register_model
from timm.models._pretrained import DefaultCfg
from torch import nn

from thinresnet.networks import architectures, thinresnet
from thinresnet.networks.blueprint import default_input_size
from thinresnet.networks.build import build
from thinresnet.networks.scaling import scale

_IMAGENET = ("resnet18", "resnet34", "resnet50", "resnet101")
THIN = tuple(f"thin_{name}" for name in (*_IMAGENET, *architectures.NAMES))


def _config_of(arch: str) -> DefaultCfg:
    """The dense network's input and normalisation, without its weights, which do not fit a thin one."""
    config = timm.get_pretrained_cfg(arch)
    bare = copy.deepcopy(config)
    for field in ("url", "file", "hf_hub_id", "hf_hub_filename"):
        setattr(bare, field, None)
    cfg = DefaultCfg()
    cfg.tags.append("")
    cfg.cfgs[""] = bare
    return cfg


_ARCH_OF = {name: name.removeprefix("thin_") for name in THIN} | {
    name: thinresnet.resolved(name, {})[0] for name in thinresnet.NAMES
}
_CONFIGS = {arch: _config_of(arch) for arch in set(_ARCH_OF.values())}
default_cfgs = {name: _CONFIGS[arch] for name, arch in _ARCH_OF.items()}


def _register(name: str) -> None:
    arch = name.removeprefix("thin_")  # or a network's name

    def entry(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Any = None,
        cache_dir: Any = None,
        width: float = 1.0,
        interior: float = 1.0,
        round_to: int = 1,
        in_chans: int = 3,
        **kwargs: Any,
    ) -> nn.Module:
        if pretrained:
            raise ValueError(f"{name}: there are no pretrained weights of scaled networks; leave pretrained out")
        _, height, side = default_input_size(arch)
        network = scale(
            arch,
            width=width,
            interior=interior,
            round_to=round_to,
            input_size=(in_chans, height, side),
            **kwargs,
        )
        return build(network)

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = __name__
    register_model(entry)


for _name in _ARCH_OF:
    _register(_name)
