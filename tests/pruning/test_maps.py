"""HRank and CHIP against closed forms, brute force, and maps taken by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from thinresnet import recipe as recipes
from thinresnet.networks import build, scale
from thinresnet.pruning.chip import CHIP, losses
from thinresnet.pruning.hrank import HRank, ranks
from thinresnet.pruning.job import Job
from thinresnet.pruning.maps import mean_over_images, places_of
from thinresnet.training.data import Data, open_data

NETWORK = scale("resnet20_cifar", width=0.25, input_size=(3, 8, 8), num_classes=10)
Images = tuple[recipes.Recipe, Data]


@pytest.fixture(scope="module")
def digits() -> Iterator[Images]:
    recipe = recipes.load("digits", {"epochs": 1, "warmup_epochs": 0, "batch_size": 32})
    with open_data(recipe, input_size=(3, 8, 8), device=torch.device("cpu")) as data:
        yield recipe, data


def job_on(digits: Images, arch: str = "resnet20_cifar") -> Job:
    network = NETWORK if arch == NETWORK.arch else scale(arch, width=0.25, input_size=(3, 32, 32), num_classes=10)
    model = build(network, seed=0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.5)
    return Job("test", network, model, (), digits[0], digits[1], 0)


def brute(rows: Tensor) -> Tensor:
    """What the sum of singular values loses without each row."""
    whole = torch.linalg.svdvals(rows).sum()
    kept = [[other for other in range(len(rows)) if other != row] for row in range(len(rows))]
    return torch.stack([whole - torch.linalg.svdvals(rows[own]).sum() for own in kept])


def test_ranks_of_maps_that_are_known() -> None:
    column, row = torch.arange(1.0, 7), torch.arange(2.0, 8)
    maps = torch.stack([torch.zeros(6, 6), torch.outer(column, row), torch.eye(6), torch.eye(6).cumsum(0)])
    maps = torch.cat([maps, torch.diag(torch.tensor([1.0, 1, 1, 1e-9, 0, 0]))[None]])
    assert ranks(maps[None]).tolist() == [[0, 1, 6, 6, 3]]


def test_independence_of_rows_that_are_known() -> None:
    orthogonal = torch.diag(torch.tensor([1.0, 2.0, 3.0, 0.0]))[:, :4]
    assert losses(orthogonal[None])[0].tolist() == pytest.approx([1, 2, 3, 0], abs=1e-6)
    # Two equal rows have one singular value, sqrt(2) times their length; either alone has its length.
    equal = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    assert losses(equal[None])[0].tolist() == pytest.approx([5 * (2**0.5 - 1)] * 2, abs=1e-6)
    assert losses(torch.zeros(2, 3, 5)).tolist() == [[0.0] * 3] * 2


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 7), st.integers(1, 9)), seed=st.integers(0, 99), exponent=st.integers(-6, 6),
    copies=st.booleans(),
)  # fmt: skip
def test_independence_is_what_brute_force_finds(shape: tuple[int, int], seed: int, exponent: int, copies: bool) -> None:
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).relu() * 10**exponent
    if copies:
        rows[0] = rows[1]
    size = float(torch.linalg.svdvals(rows)[0])
    torch.testing.assert_close(losses(rows[None])[0], brute(rows), rtol=0, atol=1e-6 * max(size, 1e-12))


def test_scores_are_of_the_maps_after_norm_and_activation(digits: Images) -> None:
    """Of a block's own channels what its second convolution reads, as the authors' code has it; in evaluation mode."""
    images = 70  # more than two batches, and not a whole number of them
    job = job_on(digits)
    found = {kind: kind(images=images).scores(job) for kind in (HRank, CHIP)}
    assert job.forward_at == {8: 2 * images}
    assert not job.scored_at
    maps: list[Tensor] = []
    model = job.model.eval()
    handle = model.layer2[1].conv2.register_forward_pre_hook(lambda module, inputs: maps.append(inputs[0]))
    with torch.no_grad():
        for batch, _ in job.batches(images):
            model(batch)
    handle.remove()
    each = torch.cat(maps)
    assert len(each) == images
    span = job.channels.slices["layer2.1.conv1"]
    expected = torch.linalg.matrix_rank(each).double().mean(0)
    np.testing.assert_allclose(found[HRank][span], expected)
    own = torch.stack([brute(rows) for rows in each.flatten(2).double()]).mean(0)
    np.testing.assert_allclose(found[CHIP][span], own, atol=1e-5)


@pytest.mark.parametrize("arch", ["vgg16_cifar", "densenet40_cifar", "mobilenetv2_cifar", "convnext_atto"])
def test_every_channel_has_one_map(arch: str, digits: Images) -> None:
    job = job_on(digits, arch)
    places = places_of(job.model, job.channels)
    numbers = torch.cat([place.channels for place in places])
    assert sorted(numbers.tolist()) == list(range(job.channels.total))


def test_maps_are_measured_a_part_at_a_time(digits: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_on(digits)
    whole = mean_over_images(job, 40, ranks)
    monkeypatch.setattr("thinresnet.pruning.maps._MOST_ELEMENTS", 300)
    sizes: list[int] = []

    def measure(maps: Tensor) -> Tensor:
        sizes.append(maps.numel())
        return ranks(maps)

    assert np.array_equal(mean_over_images(job, 40, measure), whole)
    assert max(sizes) <= 512  # one image of the largest layer, at least
