"""Counting: fvcore's figures in one convention, and a model that is left as it was."""

from __future__ import annotations

import pytest
import timm
import torch
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from torch import nn

from thinresnet.errors import InputError
from thinresnet.networks import build, count, scale
from thinresnet.networks.cost import count_shapes


def test_agrees_with_fvcores_own_totals() -> None:
    """fvcore's total also counts norms and pooling: 4.1115 G for ResNet-50 instead of 4.0891 G."""
    model, image = timm.create_model("resnet50").eval(), torch.zeros(1, 3, 224, 224)
    analysis = FlopCountAnalysis(model, image).unsupported_ops_warnings(False)
    cost = count(model)
    assert cost.macs == analysis.by_operator()["conv"] + analysis.by_operator()["linear"] == 4_089_184_256
    assert f"{analysis.total() / 1e9:.4f}" == "4.1115"
    assert cost.activations == ActivationCountAnalysis(model, image).unsupported_ops_warnings(False).total()


def test_a_network_and_its_model_cost_the_same() -> None:
    network = scale("mobilenetv3_small_100", width=0.6)
    assert count(network) == count(build(network), input_size=network.input_size)


def test_counting_leaves_mode_state_and_random_numbers() -> None:
    model = build("resnet18", width=0.25, drop_rate=0.5, drop_path_rate=0.3).train()
    model.layer2.eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    count(model, input_size=(3, 64, 64))
    assert torch.equal(torch.rand(3), expected)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_layers_add_up() -> None:
    cost = count(scale("efficientnet_b0", width=0.5))
    assert sum(layer.macs for layer in cost.layers) == cost.macs
    assert sum(layer.params for layer in cost.layers) == cost.params


@pytest.mark.parametrize(
    "arch",
    ["resnet50", "ecaresnet26t", "resnetblur18", "densenet121", "mixnet_s", "convnextv2_atto", "shufflenet_v2_x1_0"],
)
def test_counting_from_shapes_is_counting(arch: str) -> None:
    network = scale(arch, width=0.5, input_size=(3, 64, 64))
    assert count_shapes(network, network.input_size) == count(network)


def test_large_images_are_counted_from_shapes() -> None:
    """A convolution's MACs are four times as many at twice the side; the classifier's stay."""
    small, large = (count(scale("resnet50", input_size=(3, side, side))) for side in (2048, 4096))
    classifier = 2048 * 1000
    assert large.macs - classifier == 4 * (small.macs - classifier)
    assert large.macs == 1_366_606_954_496


def test_a_double_precision_model_and_a_compiled_one_are_counted() -> None:
    model = build("resnet20_cifar").double()
    assert count(model).macs == count(torch.compile(model, backend="eager")).macs == count(scale("resnet20_cifar")).macs


def test_a_model_without_an_input_size_asks_for_it() -> None:
    with pytest.raises(InputError, match="say the input size of this Sequential"):
        count(nn.Sequential(nn.Conv2d(3, 4, 1)))
