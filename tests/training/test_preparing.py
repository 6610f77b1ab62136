"""What a recipe does to a network before training, and what the model says of its images, against timm's own."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.layers import convert_splitbn_model
from torch import nn

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.identity import differing
from thinresnet.recipe import Recipe
from thinresnet.training import preparing

CPU = torch.device("cpu")


def model(name: str = "resnet10t", **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = timm.create_model(name, num_classes=5, **kwargs)
    return made


def prepared(recipe: Recipe, of: nn.Module | None = None, processes: int = 1) -> nn.Module:
    return preparing.prepare(of or model(), recipe, processes=processes, device=CPU)


# --- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["resnet50", "resnet56_cifar", "efficientnet_b0", "inception_v3", "mobilenetv2_100"])
@pytest.mark.parametrize("said", [{}, {"crop_pct": 0.9}, {"mean": (0.5,), "interpolation": "bilinear"}])
def test_images_are_as_timm_resolves_them_for_the_model(arch: str, said: dict[str, Any]) -> None:
    recipe = preparing.with_preprocessing(Recipe(img_size=64, **said), arch)
    cfg = timm.get_pretrained_cfg(arch)
    assert cfg is not None
    theirs = resolve_data_config({"img_size": 64, **said}, pretrained_cfg=cfg.to_dict())
    ours = {key: getattr(recipe, key) or bare for key, bare in preparing.BARE.items()}
    ours["mean"] = ours["mean"] * (3 // len(ours["mean"]))
    assert ours == {key: theirs[key] for key in ours}


def test_a_cifar_network_is_not_resized() -> None:
    recipe = preparing.with_preprocessing(Recipe(img_size=32), "resnet56_cifar")
    assert (recipe.crop_pct, recipe.interpolation) == (1.0, "bilinear")


@pytest.mark.parametrize("name", [name for name in recipes.names() if name != "digits"])
def test_a_recipe_that_says_all_four_is_what_it_was(name: str) -> None:
    recipe = recipes.load(name)
    if all(getattr(recipe, key) for key in preparing.BARE):
        arch = recipe.model.removeprefix("thin_")
        assert preparing.with_preprocessing(recipe, arch) == recipe
        assert preparing.of_model(recipe, recipe) is None


def test_only_what_the_model_says_otherwise_is_in_the_identity() -> None:
    plain = Recipe()
    assert preparing.with_preprocessing(plain, "mobilenetv2_100") == plain  # has timm's bare values
    assert preparing.with_preprocessing(plain, "nobody's network") == plain
    found = preparing.of_model(plain, preparing.with_preprocessing(plain, "resnet50"))
    assert found == {"crop_pct": 0.95}
    assert differing({"preprocessing": None}, {"preprocessing": None}) == {}


# --- batch norms and the classifier ---------------------------------------------------------------------------------


def test_the_classifier_starts_as_in_timm() -> None:
    before, after = model(), prepared(Recipe(head_init_scale=0.5))
    assert torch.equal(after.fc.weight, before.fc.weight * 0.5)  # type: ignore[union-attr,arg-type,operator]
    biased = prepared(Recipe(head_init_bias=-4.5))
    assert biased.fc.bias.tolist() == [-4.5] * 5  # type: ignore[union-attr,operator]
    with pytest.raises(InputError, match="the network has no classifier"):
        prepared(Recipe(head_init_bias=1.0), nn.Conv2d(3, 4, 3))


def test_batch_norms_have_the_momentum_that_timm_gives_those_that_take_it() -> None:
    theirs = model("efficientnet_lite0", bn_momentum=0.03)
    ours = prepared(Recipe(bn_momentum=0.03), model("efficientnet_lite0"))
    found = [[norm.momentum for norm in one.modules() if isinstance(norm, nn.BatchNorm2d)] for one in (theirs, ours)]
    assert found[0] == found[1] == [0.03] * len(found[0])


def test_the_epsilon_of_batch_norms_is_part_of_the_network() -> None:
    with pytest.raises(InputError, match=r"bn_eps: 0\.01 is part of a network"):
        prepared(Recipe(bn_eps=0.01))
    prepared(Recipe(bn_eps=0.01), model("efficientnet_lite0", bn_eps=0.01))


def test_checkpointed_gradients_are_the_same() -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    gradients = []
    for recipe in (Recipe(), Recipe(grad_checkpointing=True)):
        one = prepared(recipe).train()
        one(images).square().sum().backward()
        gradients.append([parameter.grad for parameter in one.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="grad_checkpointing: this network cannot do it"):
        prepared(Recipe(grad_checkpointing=True), model("resnet20_cifar"))


def test_split_batch_norms_are_timm_s_and_one_is_kept() -> None:
    recipe = Recipe(split_bn=True, aug_splits=3, jsd_loss=True)
    ours, theirs = prepared(recipe), convert_splitbn_model(model(), 3)
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours.train()(images), theirs.train()(images))
    network = networks.describe("resnet10t", num_classes=5)
    with preparing.as_kept(ours) as kept:
        assert kept.state_dict().keys() == networks.build(network).state_dict().keys()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert torch.equal(ours(images), theirs(images))


def test_synchronised_batch_norms_want_a_gpu() -> None:
    prepared(Recipe(sync_bn=True))  # alone there is nothing to synchronise
    with pytest.raises(InputError, match=r"sync_bn: .* on GPUs only"):
        prepared(Recipe(sync_bn=True), processes=2)


def test_a_backend_that_there_is_not_is_refused_in_one_line() -> None:
    preparing.check_backend(Recipe(torchcompile="inductor"))
    with pytest.raises(
        InputError, match=r"torchcompile: 'inducter' is no backend here; there are .*inductor"
    ) as caught:
        preparing.check_backend(Recipe(torchcompile="inducter"))
    assert "\n" not in str(caught.value)


# --- precision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "narrow"), [(8, "layer3.0.conv1"), (16, "layer4.0.conv1"), (32, None)])
def test_strides_over_one_pixel_are_refused_in_bfloat16_on_a_cpu(side: int, narrow: str | None) -> None:
    """torch leaves part of such a gradient as the memory was, so that a run would not be a function of its recipe."""
    network = model().train()
    for precision, device in (("no", "cpu"), ("bf16", "cuda")):
        preparing.check_bfloat16(network, [side], precision, torch.device(device))
    if narrow is None:
        preparing.check_bfloat16(network, [side], "bf16", CPU)
    else:
        with pytest.raises(InputError, match=rf"^amp: {narrow} has strides and sees images of {side} pixels as one"):
            preparing.check_bfloat16(network, [32, side], "bf16", CPU)
    assert network.training
    assert all(module.training for module in network.modules())
