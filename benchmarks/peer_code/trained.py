"""The comparisons of methods on trained networks and while training: L1, network slimming, SFP, DepGraph."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from peer_code.bench import (
    Bench,
    accuracy,
    cut_like,
    data_of,
    fine_tuned,
    ours,
    recipe_of,
    renamed,
    weights_of,
    with_shortcuts,
)
from peer_code.compare import (
    Finding,
    accuracy_finding,
    kept_finding,
    layers_kept,
    relative_difference,
    weights_finding,
)
from peer_code.images import Batch
from peer_code.repositories import RETHINKING, SFP, SLIMMING, TORCH_PRUNING
from thinresnet.budget import Budget
from thinresnet.network import Network
from thinresnet.networks import build, describe, scale
from thinresnet.networks.cost import macs_and_params
from thinresnet.pruning.job import Pruned
from thinresnet.pruning.presets import preset

ROUNDING = 2e-3  # of the largest weight of a tensor: float32 over some updates
TIES_PERCENT = 1.0
_VGG = ((r"^features\.", "feature."), (r"^fc\.", "classifier."))
_FROM_VGG = ((r"^feature\.", "features."), (r"^classifier\.", "fc."))
_TO_SFP = (
    (r"^conv1", "conv_1_3x3"), (r"^bn1", "bn_1"), (r"^layer", "stage_"), (r"\.(conv|bn)1\.", r".\1_a."),
    (r"\.(conv|bn)2\.", r".\1_b."), (r"^fc\.", "classifier."),
)  # fmt: skip
_FROM_SFP = (
    (r"\.(conv|bn)_a\.", r".\g<1>1."), (r"\.(conv|bn)_b\.", r".\g<1>2."), (r"^stage_", "layer"),
    (r"^conv_1_3x3", "conv1"), (r"^bn_1", "bn1"), (r"^classifier\.", "fc."),
)  # fmt: skip


def _interiors(network: Network) -> list[str]:
    return [name for name in network.channels if name.startswith("layer") and name.endswith(".conv1")]


class _Detached(nn.Module):
    """A shortcut through which no gradient goes, as in the authors' code (they concatenate `x.data`)."""

    def __init__(self, pad: nn.Module):
        super().__init__()
        self._pad = pad

    def forward(self, x: Tensor, width: int) -> Tensor:
        found: Tensor = self._pad(x.detach(), width)
        return found


class _EverySecond(nn.Module):
    """The shortcut of SFP's code: every second pixel, and the zeros behind."""

    def forward(self, x: Tensor, width: int) -> Tensor:
        x = x[:, :, ::2, ::2]
        return functional.pad(x, (0, 0, 0, 0, 0, width - x.shape[1]))


def l1(bench: Bench) -> Iterator[Finding]:
    """Both of Li et al.'s lists on ResNet-56, by public weights where they are given; then ResNet-20 fine-tuned."""
    network = scale("resnet56_cifar")
    public = bench.public("resnet56-4bfd9763.th", network)
    dense = build(network, seed=bench.seed) if public is None else public
    weights = "weights as drawn" if public is None else "public weights"
    said = {"method": "l1", "peer": RETHINKING.address, "network": "ResNet-56"}
    for version in ("A", "B"):
        found = _l1_theirs(bench, dense, 56, version, 0)
        kept = dict(zip(_interiors(network), found["kept"], strict=True))
        outcome = ours("l1", network, dense, to=preset(f"R56-{version}", network))
        yield kept_finding(
            _layers(network, kept, outcome.pruned.kept), compared=f"kept channels, list {version}, {weights}", **said
        )
    yield from _l1_fine_tuned(bench)


def _l1_theirs(bench: Bench, dense: nn.Module, depth: int, version: str, epochs: int) -> dict[str, Any]:
    return bench.theirs(
        RETHINKING, "l1", weights=dict(dense.state_dict()), depth=depth, version=version, epochs=epochs, lr=0.001,
        train=bench.batches, test=bench.test_batches if epochs else bench.test_batches[:1],
    )  # fmt: skip


def _l1_fine_tuned(bench: Bench) -> Iterator[Finding]:
    """Their script on a ResNet-20, where list B takes 60 % of all first convolutions but two, and fine-tuning after."""
    network, epochs = scale("resnet20_cifar"), 2
    public = bench.public("resnet20-12fca82f.th", network)
    dense = build(network, seed=bench.seed) if public is None else public
    fine_tuned(dense, recipe_of(bench.dense_epochs, 0.05, 1e-4), bench.batches)  # their shortcut pools: adapt to that
    found = _l1_theirs(bench, dense, 20, "B", epochs)
    kept = dict(zip(_interiors(network), found["kept"], strict=True))
    counts = {**network.channels, **{name: len(own) for name, own in kept.items()}}
    pruned = ours("l1", network, dense, to=describe(network.arch, channels=counts)).pruned
    assert pruned.model is not None
    said = {"method": "l1", "peer": RETHINKING.address, "network": "ResNet-20"}
    yield kept_finding(_layers(network, kept, pruned.kept), compared="kept channels, list B, fine-tuned", **said)
    images, recipe = len(bench.test.targets), recipe_of(epochs, 0.001, 1e-4)
    yield accuracy_finding(
        found["accuracy_before"], accuracy(pruned.model, bench.test_batches), images, within=0.0,
        compared="accuracy before fine-tuning", **said,
    )  # fmt: skip
    updates = f"{epochs * bench.updates} updates of fine-tuning"
    cut_gradient = fine_tuned(with_shortcuts(pruned.model, _Detached), recipe, bench.batches)
    theirs = weights_of(found["tuned"])
    yield weights_finding(
        theirs, weights_of(renamed(cut_gradient.state_dict(), ((r"\._pad\.", "."),))), within=ROUNDING, **said,
        compared=f"weights after {updates}, gradients cut at shortcuts here too",
    )  # fmt: skip
    yield accuracy_finding(
        found["accuracy_after"], accuracy(cut_gradient, bench.test_batches), images, within=TIES_PERCENT,
        compared=f"accuracy after {updates}, gradients cut at shortcuts here too", **said,
    )  # fmt: skip
    whole = fine_tuned(copy.deepcopy(pruned.model), recipe, bench.batches)
    why = "their shortcut concatenates `x.data`, so that no gradient goes through it; ours lets it through"
    yield weights_finding(
        theirs, weights_of(whole.state_dict()), within=ROUNDING, why=why, compared=f"weights after {updates}", **said
    )
    yield accuracy_finding(
        found["accuracy_after"], accuracy(whole, bench.test_batches), images, within=TIES_PERCENT,
        compared=f"accuracy after {updates}", why=why, **said,
    )  # fmt: skip


def _layers(network: Network, theirs: Mapping[str, Sequence[int]], own: Mapping[str, Sequence[int]]) -> Any:
    return layers_kept(theirs, own, {name: count for name, count in network.channels.items() if name in own})


def slimming(bench: Bench) -> Iterator[Finding]:
    """Training with the penalty, then one threshold, on VGG-16 with scales that begin at one half, as theirs do."""
    network = scale("vgg16_cifar")
    model = build(network, seed=bench.seed)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.fill_(0.5)
    plan = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512]
    batches, epochs = bench.train.batches(32, 4), 2
    found = bench.theirs(
        SLIMMING, "slimming", weights=renamed(model.state_dict(), _VGG), plan=plan, depth=16, sparsity=1e-4,
        epochs=epochs, lr=0.01, percent=0.5, train=batches, test=bench.test_batches[:1],
    )  # fmt: skip
    kept = dict(zip(network.channels, found["kept"], strict=True))
    to = describe("vgg16_cifar", channels={name: len(own) for name, own in kept.items()})
    budget = [[Budget.parse("macs", macs_and_params(to).macs)]]
    outcome = ours(
        "slimming", network, model, budgets=budget, data=data_of(batches),
        recipe=recipe_of(epochs, 0.01, 1e-4, drop_after=1), stream=False,
    )  # fmt: skip
    said = {"method": "slimming", "peer": SLIMMING.address, "network": "VGG-16"}
    yield kept_finding(
        _layers(network, kept, outcome.pruned.kept),
        compared=f"kept channels after {epochs * len(batches)} updates with the penalty, half of all", **said,
    )  # fmt: skip
    theirs = cut_like(network, renamed(found["trained"], _FROM_VGG), outcome.pruned.kept)
    assert outcome.pruned.model is not None
    yield weights_finding(
        weights_of(theirs), weights_of(outcome.pruned.model.state_dict()), within=ROUNDING,
        compared=f"weights after {epochs * len(batches)} updates", **said,
    )  # fmt: skip


def sfp(bench: Bench) -> Iterator[Finding]:
    """Two epochs of soft pruning of each block's first convolution, by flags of the authors' script."""
    network = scale("resnet20_cifar")
    public = bench.public("resnet20-12fca82f.th", network)
    model = build(network, seed=bench.seed) if public is None else public
    model = with_shortcuts(model, lambda _: _EverySecond())
    epochs, lr = 2, 0.001
    found = bench.theirs(
        SFP, "sfp", weights=renamed(model.state_dict(), _TO_SFP), begin=3, end=51, inter=6, rate=0.7, epochs=epochs,
        lr=lr, train=bench.batches, test=bench.test_batches[:1],
    )  # fmt: skip
    state = renamed(found["trained"], _FROM_SFP)
    kept = {name: _nonzero(state[f"{name}.weight"]) for name in _interiors(network)}
    to = describe(network.arch, channels={**network.channels, **{name: len(own) for name, own in kept.items()}})

    def trained(start: nn.Module, batches: Sequence[Batch]) -> Pruned:
        recipe = recipe_of(epochs, lr, 5e-4, nesterov=True, drop_after=1)
        return ours("sfp", network, start, to=to, data=data_of(batches), recipe=recipe, stream=False).pruned

    once = ours("l2", network, model, to=to, stream=False).pruned.kept
    zeroed = _without(model, {name: once[name] for name in _interiors(network)})
    noise = _noise(trained(zeroed, bench.batches), trained(zeroed, bench.perturbed))
    why = "their script zeroes the weakest filters before the first epoch too; the paper's algorithm, and ours, after "
    for start, what, said_why in ((zeroed, ", zeroed before the first too", ""), (model, "", why + "each epoch")):
        said = {"method": "sfp", "peer": SFP.address, "network": "ResNet-20", "why": said_why}
        updates, pruned = f"{epochs} epochs of {bench.updates} updates{what}", trained(start, bench.batches)
        yield kept_finding(_layers(network, kept, pruned.kept), compared=f"kept filters after {updates}", **said)
        assert pruned.model is not None
        theirs = weights_of(cut_like(network, state, pruned.kept))
        yield weights_finding(
            theirs, weights_of(pruned.model.state_dict()), within=max(ROUNDING, 2 * noise),
            compared=f"weights after {updates} (images changed by 1e-7 move ours by {noise:.0e})", **said,
        )  # fmt: skip


def _without(model: nn.Module, kept: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy whose filters are zero that are not kept."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, indices in kept.items():
            weight = model.get_submodule(name).weight
            weight[sorted(set(range(len(weight))) - set(indices))] = 0
    return model


def _noise(one: Pruned, other: Pruned) -> float:
    """The largest difference of two networks' weights."""
    assert one.model is not None
    assert other.model is not None
    states = [weights_of(own.model.state_dict()) for own in (one, other) if own.model is not None]
    if any(states[0][name].shape != states[1][name].shape for name in states[0]):
        return 1.0
    return max(relative_difference(states[0][name], states[1][name]) for name in states[0])


def _nonzero(weight: Tensor) -> list[int]:
    return [int(index) for index in torch.nonzero(weight.flatten(1).abs().sum(1)).flatten()]


def depgraph(bench: Bench) -> Iterator[Finding]:
    """Sparse training, pruning and fine-tuning with Torch-Pruning, on ResNet-20 with projections, stream and all."""
    network = scale("resnet20_cifar", shortcut="B")
    public = bench.public("resnet20-12fca82f.th", network)
    model = build(network, seed=bench.seed) if public is None else public
    sparse_epochs, epochs, sparse_lr, lr, share, reg, steps = 1, 2, 0.01, 0.01, 0.5, 5e-4, 400
    found = bench.theirs(
        TORCH_PRUNING, "depgraph", arch=network.arch, kwargs=dict(network.kwargs), weights=dict(model.state_dict()),
        normalizer="max", sparsity=reg, steps=steps, share=share, sparse_epochs=sparse_epochs, sparse_lr=sparse_lr,
        epochs=epochs, lr=lr, train=bench.batches, test=bench.test_batches,
    )  # fmt: skip
    kept = {name: found["kept"][_norm_of(name)] for name in network.channels}
    to = describe(network.arch, channels={name: len(own) for name, own in kept.items()}, **network.kwargs)

    def pruned(batches: Sequence[Batch], start: nn.Module = model, **more: int) -> Pruned:
        settings = {"sparsity": reg, "divide_by": "max", "steps": steps, **more}
        return ours(
            "group-norm", network, start, settings, stream=True,
            budgets=[[Budget.parse("macs", macs_and_params(to).macs)]], data=data_of(batches),
            recipe=recipe_of(sparse_epochs, sparse_lr, 0.0),
        ).pruned  # fmt: skip

    own, perturbed = pruned(bench.batches), pruned(bench.perturbed)
    noise, moved = _noise(own, perturbed), sum(len({*own.kept[name]} ^ {*perturbed.kept[name]}) for name in kept)
    amplified = f"training amplifies rounding: images changed by 1e-7 move {moved} of the channels that ours keeps"
    said = {"method": "group-norm", "peer": f"{TORCH_PRUNING.name} {TORCH_PRUNING.version}", "network": "ResNet-20 B"}
    updates = sparse_epochs * bench.updates
    sparse = build(network, seed=bench.seed)
    sparse.load_state_dict(found["trained"])
    yield kept_finding(
        _layers(network, kept, pruned(bench.batches, sparse, epochs=0).kept), **said,
        compared=f"kept channels at {share:.0%} of the MACs, stream too, from their sparse weights",
    )  # fmt: skip
    yield kept_finding(
        _layers(network, kept, own.kept), compared=f"the same, each after {updates} sparse updates of its own",
        why=amplified if moved else "", **said,
    )  # fmt: skip
    assert own.model is not None
    theirs = weights_of(cut_like(network, found["trained"], own.kept))
    yield weights_finding(
        theirs, weights_of(own.model.state_dict()), within=max(ROUNDING, 2 * noise), **said,
        compared=f"weights after {updates} sparse updates (images changed by 1e-7 move ours by {noise:.0e})",
    )  # fmt: skip
    images = len(bench.test.targets)
    tuned = fine_tuned(own.model, recipe_of(epochs, lr, 5e-4), bench.batches)
    yield accuracy_finding(
        found["accuracy_after"], accuracy(tuned, bench.test_batches), images, within=TIES_PERCENT,
        compared=f"accuracy after {epochs * bench.updates} updates of fine-tuning", why=amplified if moved else "",
        **said,
    )  # fmt: skip


def _norm_of(group: str) -> str:
    return group.replace("conv", "bn")
