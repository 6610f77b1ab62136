"""Feature maps of a thin network, as `timm.create_model(…, features_only=True)` gives them of a dense one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models._features import FeatureHookNet
from torch import nn

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks.modes import evaluating


def feature_maps(model: nn.Module, network: Network, out_indices: Sequence[int] | None = None) -> nn.Module:
    """The network without its classifier, whose outputs are the maps that timm names for its architecture.

    `feature_info.channels()` tells their thin channel counts, which were counted by running it once.
    """
    infos = getattr(model, "feature_info", None)
    modules = {name for name, _ in model.named_modules()}
    if not isinstance(infos, list) or not infos or not all(info.get("module") in modules for info in infos):
        raise InputError(f"features_only: timm names no feature maps of {network.arch}; use the network's own forward")
    indices = range(len(infos)) if out_indices is None else out_indices
    chosen = tuple(index + len(infos) if index < 0 else index for index in indices)
    if not chosen or not all(0 <= index < len(infos) for index in chosen) or list(chosen) != sorted(set(chosen)):
        raise InputError(
            f"out_indices: {list(indices)!r:.60}; {network.arch} has the maps 0 to {len(infos) - 1}, in order"
        )
    config = model.pretrained_cfg
    try:
        net = FeatureHookNet(model, out_indices=chosen, no_rewrite=True)
        widths = [int(features.shape[1]) for features in _run(net, network)]
    except InputError:
        raise
    except Exception as error:  # timm's wrapper and the network itself raise many kinds
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"features_only: {network.arch} does not give its feature maps ({reason})") from error
    for index, channels in zip(chosen, widths, strict=True):
        net.feature_info.info[index]["num_chs"] = channels
    net.pretrained_cfg = net.default_cfg = {**config, "classifier": None}
    return net


def _run(net: Any, network: Network) -> list[torch.Tensor]:
    """The maps of one image."""
    device = next(net.parameters()).device
    with evaluating(net):
        maps: list[torch.Tensor] = net(torch.zeros(1, *network.input_size, device=device))
    return maps
