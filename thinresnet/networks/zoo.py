"""What timm finds after this module is imported: the CIFAR networks, ShuffleNetV2, and networks of every shape.

`timm.create_model("thin_resnet50", width=0.5)` is a scaled network, and so is `thin_` before any other architecture of
timm; with `macs="50%"` or `params="12M"` it is a fitted one. `timm.create_model("thin_network", network=…)` is any
network: its JSON, its file, the folder of a run. The networks of the ThinResNet authors have names of their own:
`thinresnet50-w52`. The same works in timm's own train.py with
`--device-modules thinresnet.networks.zoo --model thin_resnet50 --model-kwargs width=0.5`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import timm
from timm.models import register_model
from timm.models._builder import load_pretrained, resolve_pretrained_cfg
from timm.models._pretrained import DefaultCfg, PretrainedCfg
from torch import nn

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks import architectures as _architectures  # noqa: F401  # registers them before they are listed
from thinresnet.networks import hub, thinresnet
from thinresnet.networks.blueprint import construct, default_input_size
from thinresnet.networks.build import as_network
from thinresnet.networks.describe import describe
from thinresnet.networks.features import feature_maps
from thinresnet.networks.fitting import fit
from thinresnet.networks.scaling import scale

THIN = tuple(f"thin_{name}" for name in timm.list_models() if not name.startswith("thin"))


def _config_of(arch: str) -> DefaultCfg:
    """The dense network's input and normalisation, without its weights."""
    bare = dataclasses.replace(timm.get_pretrained_cfg(arch) or PretrainedCfg(), **dict.fromkeys(hub.SOURCES))
    cfg = DefaultCfg()
    cfg.tags.append("")
    cfg.cfgs[""] = bare
    return cfg


_ARCH_OF = {name: name.removeprefix("thin_") for name in THIN} | {
    name: thinresnet.resolved(name, {})[0] for name in thinresnet.NAMES
}
_CONFIGS = {arch: _config_of(arch) for arch in set(_ARCH_OF.values())}
default_cfgs = {name: _CONFIGS[arch] for name, arch in _ARCH_OF.items()}
default_cfgs[hub.ENTRYPOINT] = _config_of(hub.ENTRYPOINT)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What timm's factory hands to every entrypoint beside the properties of the network."""

    pretrained: bool = False
    pretrained_cfg: Any = None
    pretrained_cfg_overlay: Any = None
    cache_dir: Any = None
    pretrained_model_args: Any = None  # how the checkpoint's own network was made: here it is the same
    features_only: bool = False
    out_indices: Sequence[int] | None = None


def _split(kwargs: dict[str, Any]) -> tuple[_Asked, dict[str, Any]]:
    names = {field.name for field in dataclasses.fields(_Asked)}
    asked = _Asked(**{name: value for name, value in kwargs.items() if name in names})
    if asked.out_indices is not None and not asked.features_only:
        raise InputError("out_indices: which feature maps features_only=True gives; leave it out, or give both")
    return asked, {name: value for name, value in kwargs.items() if name not in names}


def thin_network(network: Any = None, in_chans: int | None = None, **kwargs: Any) -> nn.Module:
    """Any network: `network` is its JSON (as text or as a mapping), its file, a run folder or a `Network`."""
    asked, kwargs = _split(kwargs)
    if network is None:
        raise InputError(f"{hub.ENTRYPOINT}: say which network: network='runs/<id>', a network.json or its text")
    found = as_network(json.dumps(network) if isinstance(network, dict) else network)
    if in_chans not in (None, found.input_size[0]):
        raise InputError(f"{hub.ENTRYPOINT}: in_chans={in_chans}, but the network takes {found.input_size[0]} channels")
    if kwargs:
        found = describe(
            found.arch, channels=found.channels, input_size=found.input_size, **{**found.kwargs, **kwargs}
        )  # fmt: skip
    return _made(hub.ENTRYPOINT, found, asked)


def _scaled(name: str) -> Callable[..., nn.Module]:
    arch = name.removeprefix("thin_")  # or a network's name

    def entry(
        *,
        width: float | None = None,
        interior: float | None = None,
        macs: Any = None,
        params: Any = None,
        round_to: int = 1,
        in_chans: int = 3,
        **kwargs: Any,
    ) -> nn.Module:
        asked, kwargs = _split(kwargs)
        _, height, side = default_input_size(arch)
        size = (in_chans, height, side)
        if macs is None and params is None:
            width, interior = (1.0 if factor is None else factor for factor in (width, interior))
            scaled = scale(arch, width=width, interior=interior, round_to=round_to, input_size=size, **kwargs)
            return _made(name, scaled, asked)
        if width is not None or interior is not None:
            raise InputError(f"{name}: width or interior, and macs or params, each set the shape; give one of them")
        return _made(name, fit(arch, macs=macs, params=params, round_to=round_to, input_size=size, **kwargs), asked)

    return entry


def _made(name: str, network: Network, asked: _Asked) -> nn.Module:
    """The network as timm's builder would hand it out: with its configuration, its weights, or as feature maps."""
    model = construct(network)
    hub.tell_timm(model, network, name)
    if asked.pretrained_cfg or asked.pretrained_cfg_overlay:
        config = resolve_pretrained_cfg(name, asked.pretrained_cfg, asked.pretrained_cfg_overlay).to_dict()
        model.pretrained_cfg = {**config, "architecture": name}
        model.default_cfg = model.pretrained_cfg
    if asked.pretrained:
        if not any(model.pretrained_cfg.get(source) for source in hub.SOURCES):
            raise ValueError(f"{name}: no pretrained weights of such a shape are known; leave pretrained out")
        load_pretrained(
            model, model.pretrained_cfg, num_classes=model.num_classes, in_chans=network.input_size[0],
            cache_dir=asked.cache_dir,
        )  # fmt: skip
    return feature_maps(model, network, asked.out_indices) if asked.features_only else model


def _register(name: str, entry: Callable[..., nn.Module]) -> None:
    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = __name__
    register_model(entry)


_register(hub.ENTRYPOINT, thin_network)
for _name in _ARCH_OF:
    _register(_name, _scaled(_name))
