"""Tied channels: against Torch-Pruning where it works, and against what the code of harder networks says."""

from __future__ import annotations

import pytest
import timm
import torch
import torch_pruning
from torch import Tensor, nn

from thinresnet.errors import InputError
from thinresnet.networks import scale
from thinresnet.networks.blueprint import blueprint
from thinresnet.networks.ties import find_ties


def _groups_of_torch_pruning(arch: str, side: int) -> set[frozenset[str]]:
    """For each group of its dependency graph, the convolutions and linear layers whose outputs it would prune."""
    model = timm.create_model(arch).eval()
    graph = torch_pruning.DependencyGraph().build_dependency(model, torch.randn(1, 3, side, side))
    names = {module: name for name, module in model.named_modules()}
    found = set()
    for group in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]):
        layers = set()
        for dependency, _ in group:
            module = dependency.target.module
            if isinstance(module, (nn.Conv2d, nn.Linear)) and graph.is_out_channel_pruning_fn(dependency.handler):
                layers.add(names[module])
        if model.get_classifier() not in [dependency.target.module for dependency, _ in group[:1]]:
            found.add(frozenset(layers))
    return found


@pytest.mark.parametrize("arch", ["resnet50", "mobilenetv2_100", "regnety_004", "vgg11_bn", "efficientnet_b0"])
def test_agrees_with_torch_pruning(arch: str) -> None:
    ties = blueprint(arch, {}, (3, 64, 64)).ties
    layers = ties.layers
    ours = {
        frozenset(name for name in group.layers if layers[name].kind in ("conv", "depthwise", "linear"))
        for group in ties.groups.values()
    }
    assert ours == _groups_of_torch_pruning(arch, 64)


@pytest.mark.parametrize(
    ("arch", "groups"),
    [("resnet50", 37), ("densenet121", 120), ("mobilenetv2_100", 25), ("efficientnet_b0", 40), ("regnety_004", 53)],
)
def test_numbers_of_groups(arch: str, groups: int) -> None:
    assert len(blueprint(arch, {}, (3, 64, 64)).ties.groups) == groups


def test_shuffle_has_one_width_a_stage() -> None:
    """In ShuffleNetV2 half of a stage's channels pass by and are shuffled with the rest: one width for all units."""
    groups = blueprint("shufflenet_v2_x1_0", {}, (3, 64, 64)).ties.groups
    stage = groups["stage2.0.branch1.2"]
    assert {"stage2.0.branch2.5", "stage2.1.branch2.5", "stage2.3.branch2.5"} <= set(stage.layers)
    assert "stage2.1.branch2.0" in groups  # the inside of a unit has a width of its own
    assert groups["stage3.0.branch1.2"].width == 116


def test_res2net_splits_stay_equal() -> None:
    groups = blueprint("res2net50_26w_4s", {}, (3, 64, 64)).ties.groups
    group = groups["layer1.0.conv1"]
    assert (group.width, group.unit, group.multiple) == (104, 4, 4)
    assert groups["layer1.0.convs.0"].width == 26  # what a branch puts out has a width of its own


def test_padded_shortcut_ties_a_part() -> None:
    """Option A adds the narrower stream to the first channels of the wider one; the others are free of it."""
    groups = blueprint("resnet20_cifar", {}, (3, 32, 32)).ties.groups
    assert "layer3.2.conv2" in groups["conv1"].layers
    assert groups["layer2.0.conv2[1]"].width == 16
    assert groups["layer3.0.conv2[2]"].width == 32


def test_both_sides_of_a_strided_shortcut_are_groups_of_their_own() -> None:
    """Its zeros are buffers: they follow channels, and are no parameters."""
    ties = blueprint("resnet20_cifar", {"shortcut": "A-strided"}, (3, 32, 32)).ties
    assert [ties.groups[f"layer2.0.conv2[{part}]"].width for part in (0, 2)] == [8, 8]
    assert [ties.groups[f"layer3.0.conv2[{part}]"].width for part in (0, 4)] == [16, 16]
    assert ties.cost(ties.dense_widths()) == (40_551_040, 269_722)


@pytest.mark.parametrize(
    ("arch", "inside", "stream"),
    [
        ("resnet50", "layer2.1.conv2", "layer2.0.conv3"),
        ("densenet121", "features.denseblock1.denselayer1.conv1", "features.denseblock1.denselayer1.conv2"),
        ("mobilenetv2_100", "blocks.2.1.conv_pw", "blocks.2.0.conv_pwl"),
        ("convnextv2_atto", "stages.0.blocks.0.mlp.fc1", "stem.0"),
        ("regnety_004", "s2.b1.conv2.conv", "s2.b1.conv3.conv"),
        ("dla34", "level2.tree1.conv1", "level2.project.0"),
        ("wrn16_2_cifar", "layer2.0.conv1", "layer2.0.conv2"),
    ],
)
def test_interior_and_stream(arch: str, inside: str, stream: str) -> None:
    ties = blueprint(arch, {}, scale(arch).input_size).ties
    assert ties.groups[inside].interior
    assert not ties.groups[ties.aliases.get(stream, stream)].interior


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


class _Net(nn.Module):
    """A small network whose middle is given by a function of two maps."""

    def __init__(self, middle: str, outputs: int = 8):
        super().__init__()
        self.a, self.b, self.c = _conv(3, 8), _conv(3, 8), _conv(outputs, 5)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        return self.c(eval(self.middle, {"a": a, "b": b, "torch": torch, "self": self})).mean((2, 3))


@pytest.mark.parametrize(
    ("middle", "outputs", "expected"),
    [
        ("a + b", 8, {"a": 8}),
        ("torch.cat([a, b], 1)", 16, {"a": 8, "b": 8}),
        ("torch.where(a > 0, a, b)", 8, {"a": 8}),
        ("a[:, :3]", 3, {"a[0]": 3}),
        ("torch.cat([a[:, :3] + b[:, :3], a[:, 3:]], 1)", 8, {"a[0]": 3, "a[1]": 5}),
        ("torch.stack([a, b]).sum(0)", 8, {"a": 8}),
        ("a * b.mean((2, 3), keepdim=True)", 8, {"a": 8}),
        ("a * b.mean(1, keepdim=True)", 8, {"a": 8, "b": 8}),
        ("a * self.scale + self.scale", 8, {"a": 8}),
        ("a.permute(0, 2, 3, 1).permute(0, 3, 1, 2) + b.flip(1)", 8, {"a": 8}),
        ("a.view(a.shape[0], 2, 4, *a.shape[2:]).sum(1)", 4, {"a": 8}),
        ("torch.nn.functional.pad(a, (1, 1, 1, 1))", 8, {"a": 8}),
    ],
)
def test_operations(middle: str, outputs: int, expected: dict[str, int]) -> None:
    with torch.device("meta"):
        net = _Net(middle, outputs)
    groups = find_ties(net, (3, 4, 4), "net").groups
    relevant = {name: group.width for name, group in groups.items() if name in expected}
    assert relevant == expected


@pytest.mark.parametrize(
    "middle",
    [
        "torch.softmax(a.flatten(2) @ b.flatten(2).transpose(1, 2), -1) @ a.flatten(2) ",
        "torch.sort(a, 1).values",
        "torch.fft.rfft2(a).real",
    ],
)
def test_what_mixes_channels_is_refused(middle: str) -> None:
    with torch.device("meta"):
        net = _Net(middle)
    with pytest.raises(InputError, match="net cannot be served"):
        find_ties(net, (3, 4, 4), "net")


@pytest.mark.parametrize(
    "arch", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224", "levit_128s"]
)
def test_attention_networks_are_refused_by_name(arch: str) -> None:
    with pytest.raises(InputError, match=f"{arch} cannot be served: in .*"):
        scale(arch, width=0.5)


def test_tracing_leaves_the_model_as_it_was() -> None:
    with torch.device("meta"):
        model = timm.create_model("resnet18")
    model.train()
    model.layer1.eval()
    find_ties(model, (3, 64, 64), "resnet18")
    assert model.training
    assert not model.layer1[0].bn1.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())
