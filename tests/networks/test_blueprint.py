"""Building: initialised at the thin shapes, ready for whatever torch does with networks, honest about widths."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from torch import nn

from thinresnet.networks import build, scale
from thinresnet.networks.blueprint import construct


def test_dense_network_is_the_architecture_itself() -> None:
    torch.manual_seed(3)
    ours = build("resnet18")
    torch.manual_seed(3)
    theirs = timm.create_model("resnet18")
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


@pytest.mark.parametrize(("arch", "layer"), [("resnet18", "layer3.1.conv1"), ("efficientnet_b0", "blocks.3.1.conv_pw")])
def test_spread_follows_the_thin_fan(arch: str, layer: str) -> None:
    """Both initialise convolutions with a variance of 2 / fan-out; fan-out is that of the thin layer."""
    conv = build(arch, width=0.25, seed=0).get_submodule(layer)
    fan_out = conv.out_channels * math.prod(conv.kernel_size)
    samples = conv.weight.numel()
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=5 / math.sqrt(2 * samples))


def test_depthwise_convolutions_stay_depthwise() -> None:
    model = build("mobilenetv2_100", width=0.37)
    depthwise = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.groups > 1]
    assert len(depthwise) == 17
    assert all(conv.groups == conv.in_channels == conv.out_channels for conv in depthwise)


def test_grouped_convolutions_keep_their_groups() -> None:
    model = build("resnext50_32x4d", width=0.25)
    grouped = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert {conv.groups for conv in grouped} == {32}


def test_same_seed_same_weights_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, other = build("resnet20_cifar", width=0.5, seed=5), build("resnet20_cifar", width=0.5, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.conv1.weight, other.conv1.weight)
    assert not torch.equal(one.conv1.weight, build("resnet20_cifar", width=0.5, seed=6).conv1.weight)


def test_constructors_are_put_back() -> None:
    original = nn.Conv2d.__init__
    build("resnet20_cifar", width=0.5)
    with pytest.raises(ValueError, match="cannot be made"):
        build("resnet18", block_args=3)
    assert nn.Conv2d.__init__ is original
    assert nn.Conv2d(3, 7, 1).out_channels == 7


def test_layer_scales_follow_their_channels() -> None:
    model = build("convnext_atto", width=0.5)
    block = model.stages[0].blocks[0]
    assert block.gamma.shape == (block.mlp.fc2.out_channels,) == (20,)
    assert torch.equal(block.gamma, torch.full((20,), 1e-6))


def test_the_classifier_can_be_replaced_and_features_say_their_width() -> None:
    model = build("resnet50", width=0.5)
    assert [info["num_chs"] for info in model.feature_info] == [32, 128, 256, 512, 1024]
    model.reset_classifier(3)
    assert model.eval()(torch.randn(2, 3, 64, 64)).shape == (2, 3)


def test_scripts_compiles_and_exports() -> None:
    model = build("resnet20_cifar", width=0.5, seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits = model(images)
        exported = torch.export.export(model, (images,)).module()
        assert torch.allclose(exported(images), logits, atol=1e-6)
        assert torch.allclose(torch.jit.trace(model, images)(images), logits, atol=1e-6)
        scripted = torch.jit.script(build("resnet18", width=0.25, seed=0).eval())
        assert scripted(torch.randn(1, 3, 64, 64)).shape == (1, 1000)
        # The eager backend checks that the graph is captured whole; code generation is torch's own business.
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(images), logits, atol=1e-6)


def test_a_hollow_network_takes_no_memory() -> None:
    model = construct(scale("resnet101", width=4), device="meta")
    assert all(parameter.is_meta for parameter in model.parameters())
