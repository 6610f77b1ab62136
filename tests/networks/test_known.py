"""One table for all networks that are known to work: build, train, count, fit, save, load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from thinresnet.budget import Budget
from thinresnet.known import KNOWN
from thinresnet.networks import build, count, fit, load, parse_network, save, scale
from thinresnet.networks.blueprint import blueprint, construct

WIDTHS = (0.25, 0.5, 0.77, 1.5)
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

    thin = scale(arch, width=0.25, input_size=size, num_classes=10)
    model = build(thin, seed=0)
    images = torch.randn(4, *size)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    torch.nn.functional.cross_entropy(model(images), torch.arange(4)).backward()
    assert all(p.grad is not None for p in model.parameters())
    optimizer.step()
    cost = count(thin)
    assert cost.params == sum(p.numel() for p in model.parameters())
    assert cost.macs == sum(layer.macs for layer in cost.layers)

    save(tmp_path, thin, model)
    network, loaded = load(tmp_path)
    assert network == thin
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), model.eval()(images))

    dense_cost = count(dense)
    budget = Budget.parse("macs", "40%")
    fitted = fit(arch, [budget], input_size=size, num_classes=10)
    limit = budget.limit(dense_cost.macs)
    assert 0.985 * limit <= count(fitted).macs <= limit
