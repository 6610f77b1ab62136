"""ThiNet and LASSO: choices and fits against independent solutions, responses that come nearer to what they were."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from thinresnet import recipe as recipes
from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import Network, build, cutting, scale
from thinresnet.pruning import prune, reconstruction
from thinresnet.pruning.job import Job
from thinresnet.pruning.reconstruction import Lane, Reading, sampled
from thinresnet.pruning.registry import method
from thinresnet.pruning.regression import Lasso, fitted, selection
from thinresnet.pruning.thinet import ThiNet, greedy, scales
from thinresnet.training.data import Data, open_data

FEW = [[Budget.parse("macs", "5%")]]
SOME = [[Budget.parse("macs", "15%")]]  # of the whole ResNet-20: about half of the one used here
_SIZE = (3, 8, 8)


@pytest.fixture(scope="module")
def digits() -> tuple[recipes.Recipe, Data]:
    recipe = recipes.load("digits")
    return recipe, open_data(recipe, input_size=_SIZE, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def small(digits: tuple[recipes.Recipe, Data]) -> tuple[Network, nn.Module]:
    """A thin ResNet-20 that has learnt a little: its channels are of different use."""
    network = scale("resnet20_cifar", width=0.5, input_size=_SIZE, num_classes=10)
    model = build(network, seed=0)
    _, data = digits
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for image, target in itertools.islice(data.train.epoch(0), 20):
        functional.cross_entropy(model.train()(image), target).backward()
        optimizer.step()
        optimizer.zero_grad()
    return network, model.eval()


def reading(
    layer: nn.Conv2d, x: Tensor, places: np.ndarray[Any, Any], original: Tensor | None = None, locations: int = 100
) -> Reading:
    patches = sampled(layer, x, locations, torch.Generator().manual_seed(0))
    weights = layer.weight.detach().flatten(2)
    return Reading("layer", places, patches, weights, original, torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.Conv2d(3, 4, (3, 5), stride=(2, 3), padding=(0, 4), dilation=(2, 1), bias=False),
        nn.Conv2d(3, 4, 1, stride=2, bias=False),
        nn.Conv2d(3, 4, 7, bias=False),
    ],
    ids=["padded", "everything", "pointwise", "whole map"],
)
def test_patches_times_weights_are_the_responses(layer: nn.Conv2d) -> None:
    x = torch.randn(5, 3, 7, 7)
    with torch.no_grad():
        maps = layer(x).flatten(2)
    everywhere = sampled(layer, x, maps.shape[2], torch.Generator().manual_seed(0))
    found = (everywhere.flatten(1) @ layer.weight.detach().flatten(1).T).unflatten(0, (5, -1))
    for image in range(5):  # each place once, in an order that was drawn
        places = torch.cdist(found[image], maps[image].T).argmin(1)
        assert sorted(places.tolist()) == list(range(maps.shape[2]))
        torch.testing.assert_close(found[image], maps[image].T[places], rtol=1e-4, atol=1e-5)


def test_patches_of_a_linear_layer() -> None:
    layer, x = nn.Linear(6, 2), torch.randn(4, 3, 3, 6)
    patches = sampled(layer, x, 2, torch.Generator().manual_seed(0))
    assert patches.shape == (8, 6, 1)
    assert all((patch == x[number // 2].flatten(0, 1)).all(1).any() for number, patch in enumerate(patches[:, :, 0]))


@pytest.mark.parametrize("before", [[], [2, 5]])
def test_the_greedy_set_is_that_of_the_paper(before: list[int]) -> None:
    """Enumerated from the entries themselves: of all ways to add a channel the one with the least summed squares."""
    shares = np.random.default_rng(0).normal(size=(50, 10)) + 0.3
    removed = list(before)
    for _ in range(4):
        errors = {
            channel: sum(float(sum(entry[c] for c in [*removed, channel])) ** 2 for entry in shares)
            for channel in range(10)
            if channel not in removed
        }
        removed.append(min(errors, key=lambda channel: errors[channel]))
    gone = np.isin(np.arange(10), before)
    chosen = greedy(shares.T @ shares, gone, [Lane(np.flatnonzero(~gone), 4)])
    assert set(np.flatnonzero(chosen)) == set(removed) - set(before)


def test_greedy_takes_equally_many_of_each_lane() -> None:
    shares = np.random.default_rng(0).normal(size=(50, 8)) * np.array([1, 1, 1, 1, 9, 9, 9, 9])
    chosen = greedy(shares.T @ shares, np.zeros(8), [Lane(np.arange(4), 2), Lane(np.arange(4, 8), 2)])
    assert [int(part.sum()) for part in np.split(chosen, 2)] == [2, 2]


def test_scales_are_least_squares() -> None:
    random = np.random.default_rng(0)
    shares, missing = random.normal(size=(60, 7)), random.normal(size=60)
    expected = np.linalg.solve(shares.T @ shares, shares.T @ (shares.sum(1) + missing))
    np.testing.assert_allclose(scales(shares, missing), expected)
    # A channel that is zero in all samples keeps its weights: nothing is known of it.
    shares[:, 3] = 0
    assert scales(shares, missing)[3] == pytest.approx(1)


def test_thinet_rebuilds_a_layer_as_the_formulas_say() -> None:
    """One output channel, so that the sampled entries are all there are; places by an unfold of the whole map."""
    torch.manual_seed(0)
    layer, x = nn.Conv2d(6, 1, 3, padding=1, bias=False).double(), torch.randn(8, 6, 4, 4).double() + 0.5
    kept = np.ones(8, dtype=bool)
    places = np.array([3, 1, 2, 7, 5, cutting.STAYS])  # two inputs change places, and one is no channel
    weights = ThiNet(images=8, locations=16).rebuild(
        reading(layer, x, places), [Lane(np.array([1, 2, 3, 5, 7]), 2)], kept
    )

    weight = layer.weight.detach().flatten(1)
    shares = (functional.unfold(x, 3, padding=1) * weight.T).unflatten(1, (6, 9)).sum(2).transpose(1, 2).flatten(0, 1)
    inputs = {3: 0, 1: 1, 2: 2, 7: 3, 5: 4}
    removed: list[int] = []
    for _ in range(2):
        rest = [channel for channel in inputs if channel not in removed]
        errors = [float(shares[:, [inputs[c] for c in [*removed, one]]].sum(1).square().sum()) for one in rest]
        removed.append(rest[int(np.argmin(errors))])
    assert np.flatnonzero(~kept).tolist() == sorted(removed)
    left = [inputs[channel] for channel in inputs if channel not in removed]
    y = shares[:, :5].sum(1)  # what is no channel stays as it is
    factors = torch.linalg.lstsq(shares[:, left], y[:, None]).solution[:, 0]
    torch.testing.assert_close(weights[0, left], weight.view(6, 9)[left] * factors[:, None])
    torch.testing.assert_close(weights[0, 5], weight.view(6, 9)[5])


def _objective(design: np.ndarray[Any, Any], y: np.ndarray[Any, Any], penalty: float) -> Any:
    """|y - (plus - minus)|^2 + lambda (plus + minus) with its gradient, for a solver that knows no LASSO."""

    def value(both: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        plus, minus = np.split(both, 2)
        error = design @ (plus - minus) - y
        slope = 2 * design.T @ error
        return float(error @ error + penalty * both.sum()), np.concatenate([slope + penalty, penalty - slope])

    return value


@pytest.mark.parametrize("stay", [1, 3, 6])
def test_the_lasso_solution(stay: int) -> None:
    random = np.random.default_rng(1)
    design = random.normal(size=(80, 9)) @ random.normal(size=(9, 9))  # columns that depend on each other
    y = design.sum(1) + random.normal(size=80)
    gram, products = design.T @ design, design.T @ y
    factors, joined_at = selection(gram, products, stay)
    assert np.count_nonzero(factors) == stay
    # Karush, Kuhn, Tucker: the slope of the squares is lambda against every factor's sign, and no more at zeros.
    slope = 2 * (products - gram @ factors)
    penalty = np.abs(slope).max()
    np.testing.assert_allclose(slope[factors != 0], penalty * np.sign(factors[factors != 0]), rtol=1e-8)
    assert (joined_at[factors != 0] >= penalty * (1 - 1e-9)).all()
    # And a general solver finds the same.
    found = scipy.optimize.minimize(
        _objective(design, y, penalty), np.zeros(18), jac=True, bounds=[(0, None)] * 18, method="L-BFGS-B",
        options={"ftol": 1e-14, "gtol": 1e-10, "maxiter": 10_000},
    )  # fmt: skip
    np.testing.assert_allclose(found.x[:9] - found.x[9:], factors, atol=1e-4)


def test_a_channel_that_is_always_zero_never_joins() -> None:
    design = np.random.default_rng(0).normal(size=(30, 4)) * np.array([1, 0, 1, 1])
    gram = design.T @ design
    factors, joined_at = selection(gram, gram.sum(1), 4)
    assert np.flatnonzero(factors == 0).tolist() == [1]
    assert joined_at[1] == 0


def test_lasso_rebuilds_a_layer_as_the_formulas_say() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 5, 3, padding=1, bias=False).double()
    mixed = torch.randn(6, 6).double() + torch.eye(6).double()  # channels that can stand in for each other
    before = torch.einsum("nchw,cd->ndhw", torch.randn(12, 6, 4, 4).double(), mixed)
    now = before + 0.1 * torch.randn_like(before)  # what is left of the network ahead answers a little differently
    places, kept = np.array([3, 1, 2, 7, 5, cutting.STAYS]), np.ones(8, dtype=bool)
    original = reading(layer, before, places).responses
    weights = Lasso().rebuild(
        reading(layer, now, places, original), [Lane(np.array([1, 2, 3]), 1), Lane(np.array([5, 7]), 1)], kept
    )
    assert [int(kept[[1, 2, 3]].sum()), int(kept[[5, 7]].sum())] == [2, 1]

    # The regression on all samples and outputs, with its columns written out.
    patches = sampled(layer, now, 100, torch.Generator().manual_seed(0))
    weight = layer.weight.detach().flatten(2)
    columns = torch.stack([(patches[:, i] @ weight[:, i].T).flatten() for i in range(5)], 1).numpy()
    y = (original - patches[:, 5] @ weight[:, 5].T).flatten().numpy()
    factors = selection(columns.T @ columns, columns.T @ y, 3)[0]
    assert np.count_nonzero(factors) == 3
    by_channel = dict(zip([3, 1, 2, 7, 5], np.abs(factors).tolist(), strict=True))
    for lane in ([1, 2, 3], [5, 7]):
        left = [channel for channel in lane if kept[channel]]
        assert min(by_channel[c] for c in left) >= max(by_channel[c] for c in lane if c not in left)
    # The fit is better than none, and least squares bound what it can do.
    inputs = [i for i in range(6) if places[i] == cutting.STAYS or kept[places[i]]]
    x, fitted_to = patches[:, inputs].flatten(1), weights[:, inputs].flatten(1)
    best = (x @ torch.linalg.lstsq(x, original).solution - original).square().sum()
    bare = (x @ weight[:, inputs].flatten(1).T - original).square().sum()
    assert best <= (x @ fitted_to.T - original).square().sum() < 0.8 * bare


def test_the_fit_is_ridge_regression_with_the_penalty_of_the_held_out_images() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 24))
    noisy = x @ random.normal(size=(24, 3)) + 30 * random.normal(size=(40, 3))
    change = fitted(x, noisy)
    scale_ = np.square(x).sum(0).mean()

    def ridge(rows: slice, strength: float) -> np.ndarray[Any, Any]:
        part = x[rows]
        return np.linalg.solve(part.T @ part + strength * scale_ * np.eye(24), part.T @ noisy[rows])

    strengths = [1e-6, 1e-4, 1e-2, 1, 1e2]
    errors = [np.square(x[30:] @ ridge(slice(30), strength) - noisy[30:]).sum() for strength in strengths]
    np.testing.assert_allclose(change.T, ridge(slice(None), strengths[int(np.argmin(errors))]), rtol=1e-6)
    assert strengths[int(np.argmin(errors))] >= 1  # noise is not learnt by heart
    assert not fitted(np.zeros((8, 4)), noisy[:8]).any()


@pytest.mark.parametrize("name", ["thinet", "lasso"])
def test_responses_come_nearer_to_what_they_were(
    name: str, small: tuple[Network, nn.Module], digits: tuple[recipes.Recipe, Data]
) -> None:
    """On images that were not used to fit; and the choice of channels is better than that of chance."""
    network, model = small
    recipe, data = digits
    images = torch.cat([image for image, _ in data.test])

    def errors(of: str, settings: dict[str, Any]) -> tuple[float, float]:
        (outcome,) = prune(method(of, settings), network, model, SOME, data=data, recipe=recipe)
        bare = cutting.cut(model, network, outcome.pruned.kept)[1]
        with torch.no_grad():
            wanted = model(images)
            found, unfitted = (
                float((one.eval()(images) - wanted).square().sum() / wanted.square().sum())
                for one in (outcome.pruned.model, bare)
            )
        return found, unfitted

    found, unfitted = errors(name, {"images": 128})
    assert found < 0.9 * unfitted
    assert unfitted < errors("random", {})[1]


@pytest.mark.parametrize("name", ["thinet", "lasso"])
def test_the_same_seed_gives_the_same_network(
    name: str, small: tuple[Network, nn.Module], digits: tuple[recipes.Recipe, Data]
) -> None:
    network, model = small
    recipe, data = digits

    def states(budgets: list[str], seed: int) -> list[dict[str, Tensor]]:
        parsed = [[Budget.parse("macs", text)] for text in budgets]
        found = prune(method(name, {"images": 32}), network, model, parsed, data=data, recipe=recipe, seed=seed)
        return [outcome.pruned.model.state_dict() for outcome in found]

    (alone,) = states(["15%"], 1)
    after_another = states(["20%", "15%"], 1)[1]  # which starts anew
    assert all(torch.equal(after_another[key], alone[key]) for key in alone)
    (other,) = states(["15%"], 2)
    assert not all(torch.equal(other[key], alone[key]) for key in alone)


@pytest.mark.parametrize("name", ["thinet", "lasso"])
def test_only_layers_that_read_what_may_go_change(
    name: str, small: tuple[Network, nn.Module], digits: tuple[recipes.Recipe, Data]
) -> None:
    network, model = small
    recipe, data = digits
    (outcome,) = prune(method(name, {"images": 32}), network, model, SOME, data=data, recipe=recipe)
    bare = cutting.cut(model, network, outcome.pruned.kept)[1].state_dict()
    changed = {key for key, value in outcome.pruned.model.state_dict().items() if not torch.equal(value, bare[key])}
    assert changed == {f"layer{stage}.{block}.conv2.weight" for stage in (1, 2, 3) for block in range(3)}


@pytest.mark.parametrize("name", ["thinet", "lasso"])
def test_streams_with_many_readers(name: str, digits: tuple[recipes.Recipe, Data]) -> None:
    recipe, data = digits
    network = scale("wrn16_2_cifar", width=0.5, input_size=_SIZE, num_classes=10)
    model = build(network, seed=0)
    (outcome,) = prune(
        method(name, {"images": 16}), network, model, [[Budget.parse("macs", "12%")]], stream=True, data=data,
        recipe=recipe,
    )  # fmt: skip
    assert all(count < network.channels[group] for group, count in outcome.pruned.network.channels.items())
    assert outcome.pruned.model(torch.randn(2, *_SIZE)).isfinite().all()


@pytest.mark.parametrize("name", ["thinet", "lasso"])
def test_what_cannot_be_served_is_refused(
    name: str, small: tuple[Network, nn.Module], digits: tuple[recipes.Recipe, Data]
) -> None:
    recipe, data = digits
    grouped = scale("resnext50_32x4d", width=0.25, input_size=(3, 32, 32), num_classes=10)
    with pytest.raises(InputError, match=r"resnext50_32x4d reads what is to be cut in 'layer1\.0\.conv2'"):
        prune(method(name), grouped, build(grouped, seed=0), FEW, data=data, recipe=recipe)
    network, model = small
    with pytest.raises(InputError, match="--scope layer"):
        prune(method(name), network, model, SOME, scope="global", data=data, recipe=recipe)
    with pytest.raises(InputError, match="needs data"):
        prune(method(name), network, model, SOME)
    with pytest.raises(InputError, match="images: takes an integer, at least 4"):
        method(name, {"images": "2"})
    broken = build(network, seed=0)
    nn.init.constant_(broken.layer2[0].conv1.weight, float("nan"))
    with pytest.raises(InputError, match=r"what 'layer2\.0\.conv2' reads"):
        list(prune(method(name, {"images": 16}), network, broken, SOME, data=data, recipe=recipe))


class Live(TorchDispatchMode):
    """The most bytes that tensors held at once of what was computed inside."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for own in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(own, Tensor):
                storage = own.untyped_storage()
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {key: own for key, own in self._alive.items() if not own[0].expired()}
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return found


def _with_batches(data: Data, sides: list[int], batch: int) -> Data:
    """The data with another loader: so many batches, of images of these sides in turn."""

    class Split:
        sizes, images_per_epoch, steps_per_epoch = sides, len(sides) * batch, len(sides)

        def scheduled(self, recipe: recipes.Recipe) -> Split:
            return self

        def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
            random = torch.Generator().manual_seed(number)
            for side in sides:
                images = torch.randn(batch, 3, side, side, generator=random)
                yield images, torch.randint(10, (batch,), generator=random)

    return dataclasses.replace(data, train=Split())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["thinet", "lasso"])
def test_images_of_several_sizes(
    name: str, small: tuple[Network, nn.Module], digits: tuple[recipes.Recipe, Data]
) -> None:
    """Progressive resizing: each batch has a size of its own."""
    network, model = small
    recipe, data = digits
    chosen = method(name, {"images": 24})
    (outcome,) = prune(chosen, network, model, SOME, data=_with_batches(data, [8, 16, 12], 8), recipe=recipe)
    assert outcome.cost.macs <= SOME[0][0].limit(outcome.dense_cost.macs)
    assert outcome.images_at == {8: 24, 16: 24, 12: 24}  # nine layers, and forward alone is a third


def test_thinet_looks_at_ten_images_of_each_class(
    small: tuple[Network, nn.Module], digits: tuple[recipes.Recipe, Data]
) -> None:
    network, model = small
    recipe, data = digits
    job = Job("thinet", network, model, (), recipe, data, 0)
    classes = torch.cat([target for _, target in ThiNet().sample(job)])
    assert torch.bincount(classes).tolist() == [10] * 10
    assert sum(len(target) for _, target in ThiNet(images=30).sample(job)) == 30


def test_what_is_held_is_one_layers_sample(
    digits: tuple[recipes.Recipe, Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times the images hold their own samples more, and neither maps nor, where they are many, the images."""
    network = scale("resnet20_cifar", depths=[1, 1, 1], width=0.5, input_size=_SIZE, num_classes=10)
    model = build(network, seed=0)
    recipe, data = digits
    monkeypatch.setattr(reconstruction, "LARGEST_HELD_BYTES", 0)
    most = {}
    for batches in (1, 4):
        live = Live()
        for name in ("_read", "rebuild"):  # not around the counter of MACs, which is such a mode too
            work = getattr(ThiNet, name)

            def watched(*given: Any, work: Any = work, live: Live = live) -> Any:
                with live:
                    return work(*given)

            monkeypatch.setattr(ThiNet, name, watched)
        many = _with_batches(data, [32] * batches, 16)
        chosen = method("thinet", {"images": 16 * batches, "locations": 1})
        list(prune(chosen, network, model, SOME, data=many, recipe=recipe))
        most[batches] = live.most
    widest = 32 * 9 * 4  # bytes of a sample: what the widest layer reads for one place
    # Joining the parts of a sample takes it twice; the shares and their sums are a fraction of it.
    assert most[4] - most[1] <= 3 * (4 - 1) * 16 * widest
    maps = (4 - 1) * 16 * 8 * 32 * 32 * 4  # of one layer alone, for all images together
    assert most[4] - most[1] < maps / 4


def test_images_that_are_read_again_give_the_same(
    small: tuple[Network, nn.Module], digits: tuple[recipes.Recipe, Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, model = small
    recipe, data = digits
    found = []
    for limit in (0, 2**30):
        monkeypatch.setattr(reconstruction, "LARGEST_HELD_BYTES", limit)
        (outcome,) = prune(method("thinet", {"images": 32}), network, model, SOME, data=data, recipe=recipe)
        found.append(outcome)
    held, again = (outcome.pruned.model.state_dict() for outcome in found)
    assert all(torch.equal(held[key], again[key]) for key in held)
    assert found[0].images_at == found[1].images_at


def test_thinet_fine_tunes_after_each_layer(
    small: tuple[Network, nn.Module], digits: tuple[recipes.Recipe, Data]
) -> None:
    network, model = small
    recipe, data = digits
    few = _with_batches(data, [8], 8)
    (outcome,) = prune(method("thinet", {"images": 8, "epochs": 1}), network, model, SOME, data=few, recipe=recipe)
    (bare,) = prune(method("thinet", {"images": 8}), network, model, SOME, data=few, recipe=recipe)
    assert outcome.images_at[8] == bare.images_at[8] + 9 * 8
    assert not torch.equal(outcome.pruned.model.conv1.weight, model.conv1.weight)
