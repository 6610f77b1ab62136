"""One table for all networks that are known to work: build, train, count, fit, save, load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from thinresnet.budget import Budget
from thinresnet.known import KNOWN
from thinresnet.networks import build, count, fit, load, parse_network, save, scale
from thinresnet.networks.blueprint import blueprint, construct

WIDTHS = (0.19, 1.5)  # odd numbers of channels at the narrow end, and more than the architecture has
NAMES = [name for names in KNOWN.values() for name in names]


def _size(arch: str) -> tuple[int, int, int]:
    side = 32 if arch.endswith("_cifar") else 64
    return (3, side, side)


@pytest.mark.parametrize("arch", NAMES)
def test_builds_trains_counts_fits_saves_and_loads(arch: str, tmp_path: Path) -> None:
    size = _size(arch)
    dense = scale(arch, input_size=size, num_classes=10)
    ties = blueprint(arch, dense.kwargs, size).ties
    for width in WIDTHS:
        thin = scale(arch, width=width, input_size=size, num_classes=10)
        model = construct(thin, device="meta")  # proves on shapes that it runs
        assert sum(p.numel() for p in model.parameters()) == ties.cost(dict(thin.channels))[1]
        for name, group in ties.groups.items():
            exact = width * group.width
            assert thin.channels[name] % group.multiple == 0
            assert thin.channels[name] == group.multiple or abs(thin.channels[name] - exact) <= group.multiple / 2
        assert parse_network(thin.to_json()) == thin

    # Counting traces what is run, which takes longer than all the rest: one network is fitted, trained and saved.
    fitted = fit(arch, [Budget.parse("macs", "40%")], input_size=size, num_classes=10)
    limit = Budget.parse("macs", "40%").limit(count(dense).macs)
    cost = count(fitted)
    assert 0.985 * limit <= cost.macs <= limit
    assert cost.macs == sum(layer.macs for layer in cost.layers)

    model = build(fitted, seed=0)
    assert cost.params == sum(p.numel() for p in model.parameters())
    images = torch.randn(2, *size)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    torch.nn.functional.cross_entropy(model(images), torch.arange(2)).backward()
    assert all(p.grad is not None for p in model.parameters())
    optimizer.step()

    save(tmp_path, fitted, model)
    network, loaded = load(tmp_path)
    assert network == fitted
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), model.eval()(images))
