"""What a recipe does to a network before it is trained, beside its shape: batch norms, the classifier's start, memory.

timm's own converters do it. What is split or synchronised is one batch norm again in the weights that are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_data_config
from timm.layers import convert_splitbn_model, convert_sync_batchnorm
from timm.layers.split_batchnorm import SplitBatchNorm2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from thinresnet.errors import InputError
from thinresnet.files import read_object
from thinresnet.identity import plain
from thinresnet.networks.modes import evaluating
from thinresnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS
from thinresnet.recipe import Recipe
from thinresnet.runs import SETTINGS_FILE

# What timm takes where a model says nothing, and what identities of runs take for not said.
BARE = {"crop_pct": 0.875, "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic"}


def with_preprocessing(recipe: Recipe, arch: str | None) -> Recipe:
    """The recipe with the model's own crop, mean, deviation and interpolation, as timm resolves them.

    What the recipe says stays, and so does what the model has at timm's bare values: so a recipe that says all four,
    and a model that says nothing, are what they were.
    """
    known = timm.get_pretrained_cfg(arch) if arch is not None and timm.is_model(arch) else None
    if known is None:
        return recipe
    said = {key: getattr(recipe, key) for key in BARE}
    found = resolve_data_config(said, pretrained_cfg=known.to_dict())
    changed = {key: found[key] for key, bare in BARE.items() if not said[key] and found[key] != bare}
    if (resizing := changed.get("interpolation")) is not None and resizing not in INTERPOLATIONS:
        raise InputError(
            f"interpolation: {arch} wants {resizing}, which is not one of {', '.join(INTERPOLATIONS)}; give one of them"
        )
    return recipe.replace(**changed)


def of_model(given: Recipe, resolved: Recipe) -> dict[str, Any] | None:
    """What the model has said of `resolved` and the recipe as it was given has not, as plain JSON values."""
    changed = {key: getattr(resolved, key) for key in BARE if getattr(resolved, key) != getattr(given, key)}
    return plain(changed) if changed else None


def as_trained(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe of a run's folder with what the model said of its images when it was trained."""
    path = folder / SETTINGS_FILE
    said = read_object(path).get("preprocessing") if path.is_file() else None
    return recipe.replace(**{key: said[key] for key in BARE if key in said}) if isinstance(said, dict) else recipe


def prepare(model: nn.Module, recipe: Recipe, *, processes: int, device: torch.device) -> nn.Module:
    """The model as the recipe wants it trained; its first weights are loaded already."""
    _start_classifier(model, recipe)
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if recipe.bn_eps is not None and any(norm.eps != recipe.bn_eps for norm in norms):
        raise InputError(
            f"bn_eps: {recipe.bn_eps:g} is part of a network, and this one is described with another; give "
            f"model_kwargs bn_eps={recipe.bn_eps:g} where the architecture takes it"
        )
    if recipe.bn_momentum is not None:
        for norm in norms:
            norm.momentum = recipe.bn_momentum
    if recipe.grad_checkpointing:
        _checkpoint(model)
    if recipe.split_bn:
        model = convert_splitbn_model(model, recipe.aug_splits)
    if recipe.sync_bn and processes > 1:
        if device.type == "cpu":
            raise InputError("sync_bn: batch norms of several processes are synchronised on GPUs only; leave it out")
        model = convert_sync_batchnorm(model)
    return model


@contextmanager
def as_kept(model: nn.Module) -> Iterator[nn.Module]:
    """The model with one batch norm where there were several, one for each version of the images."""
    split = [module for module in model.modules() if isinstance(module, SplitBatchNorm2d)]
    others: list[Any] = [module._modules.pop("aux_bn") for module in split]
    try:
        yield model
    finally:
        for module, other in zip(split, others, strict=True):
            module.aux_bn = other


def check_bfloat16(model: nn.Module, sides: Iterable[int], precision: str, device: torch.device) -> None:
    """Refuse a network that torch's bfloat16 kernels train wrongly on a CPU.

    Where the input of a convolution with strides is one pixel wide, oneDNN leaves the gradients of those weights that
    meet nothing but padding as the memory was (seen with PyTorch 2.4 and 2.15).
    """
    if precision != "bf16" or device.type != "cpu":
        return
    for side in sides:
        if (name := _one_pixel_wide(model, side)) is not None:
            raise InputError(
                f"amp: {name} has strides and sees images of {side} pixels as one pixel, where PyTorch's bfloat16 on "
                "a CPU leaves part of its gradient uninitialised; leave out --amp, or give larger images (--img-size)"
            )


def _one_pixel_wide(model: nn.Module, side: int) -> str | None:
    """The first convolution with strides whose input is one pixel wide when an image has this side."""
    found: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda _, inputs: found.append(name) if inputs[0].shape[-1] == 1 else None

    strided = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride[-1] > 1 and module.kernel_size[-1] > 1
    ]
    hooks = [module.register_forward_pre_hook(hook(name)) for name, module in strided]
    try:
        with evaluating(model):
            model(torch.zeros(1, 3, side, side))
    finally:
        for one in hooks:
            one.remove()
    return found[0] if found else None


def check_backend(recipe: Recipe) -> None:
    """Refuse a backend of torch.compile that there is not."""
    if recipe.torchcompile is not None:
        known = torch._dynamo.list_backends(exclude_tags=())
        if recipe.torchcompile not in known:
            raise InputError(f"torchcompile: {recipe.torchcompile!r} is no backend here; there are {', '.join(known)}")


def _start_classifier(model: nn.Module, recipe: Recipe) -> None:
    if recipe.head_init_scale is None and recipe.head_init_bias is None:
        return
    classifier: Any = model.get_classifier() if callable(getattr(model, "get_classifier", None)) else None
    if not isinstance(getattr(classifier, "weight", None), nn.Parameter) or classifier.bias is None:
        raise InputError("head_init_scale, head_init_bias: the network has no classifier with weights and biases")
    with torch.no_grad():
        if recipe.head_init_scale is not None:
            classifier.weight.mul_(recipe.head_init_scale)
            classifier.bias.mul_(recipe.head_init_scale)
        if recipe.head_init_bias is not None:
            nn.init.constant_(classifier.bias, recipe.head_init_bias)


def _checkpoint(model: nn.Module) -> None:
    try:
        model.set_grad_checkpointing(enable=True)
    except (AttributeError, AssertionError):
        raise InputError("grad_checkpointing: this network cannot do it; leave it out") from None
