"""Which images make up a step: sharding, repeated augmentation, hold-out, all as functions of the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.training.data import holdout
from thinresnet.training.data.plan import Draws, Plan, mixed_seed, philox, share


@settings(max_examples=50, deadline=None)
@given(count=st.integers(12, 200), batch=st.integers(1, 4), processes=st.integers(1, 3), epoch=st.integers(0, 5))
def test_processes_share_an_epoch_without_overlap(count: int, batch: int, processes: int, epoch: int) -> None:
    plans = [Plan(count, batch, 1, index, processes) for index in range(processes)]
    order = plans[0].order(epoch)
    assert sorted(order.tolist()) == list(range(count))
    seen = [order[plan.positions(step)] for plan in plans for step in range(plan.steps_per_epoch)]
    images = torch.cat(seen).tolist()
    assert len(set(images)) == len(images) == count // (batch * processes) * batch * processes


def test_a_step_has_the_same_images_whatever_the_number_of_processes() -> None:
    one = Plan(100, 12, 3)
    three = [Plan(100, 4, 3, index, 3) for index in range(3)]
    for step in range(one.steps_per_epoch):
        whole = one.order(2)[one.positions(step)].tolist()
        parts = [plan.order(2)[plan.positions(step)].tolist() for plan in three]
        assert sorted(whole) == sorted(image for part in parts for image in part)
        drawn = one.generator(2, step).uniform(6)
        own = [plan.generator(2, step).uniform(6) for plan in three]
        assert torch.equal(torch.stack(own, 1).flatten(0, 1), drawn)
        four = replace(one, together=4)
        assert torch.equal(four.generator(2, step // 4).uniform(6)[step % 4 * 12 :][:12], drawn)


def test_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    torch.manual_seed(0)
    first = Plan(50, 5, 7).order(1)
    torch.manual_seed(99)
    assert torch.equal(first, Plan(50, 10, 7, 1, 2).order(1))
    assert not torch.equal(first, Plan(50, 5, 7).order(2))
    assert not torch.equal(first, Plan(50, 5, 8).order(1))


@pytest.mark.parametrize("repeats", [2.0, 3.0, 1.5])
def test_repeated_augmentation_puts_copies_of_an_image_side_by_side(repeats: float) -> None:
    """As timm's sampler: the sequence has each image `repeats` times in a row and stops after as many as there are."""
    plan = Plan(60, 5, 1, repeats=repeats)
    order, plain = plan.order(0), Plan(60, 5, 1).order(0)
    assert order.tolist() == [plain[int(place / repeats)].item() for place in range(60)]
    seeds = {plan.sample_seed(0, position) for position in range(60)}
    assert len(seeds) == 60


def test_seeds_are_the_same_on_every_machine() -> None:
    assert mixed_seed(1, 2, 3) == mixed_seed(1, 2, 3)
    assert mixed_seed(1, 23) != mixed_seed(12, 3)
    assert mixed_seed(42, 0, 0) == 1853981297142569038


def test_random_words_are_those_of_philox() -> None:
    """The known answers of Salmon et al.'s Random123 for Philox4x32-10."""
    nothing = philox(0, np.zeros(1, np.uint64), range(1))
    assert [hex(word) for word in nothing[0]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    whole = philox(7, np.arange(5, dtype=np.uint64), range(3))
    assert np.array_equal(whole[2:3, 4:], philox(7, np.array([2], np.uint64), range(1, 3)))
    assert len(np.unique(whole)) == whole.size


def test_draws_are_even_and_normal() -> None:
    draws = Draws(3, torch.arange(20_000))
    even = draws.uniform(5)
    assert 0 <= even.min() < even.max() < 1
    assert torch.allclose(even.mean(0), torch.full((5,), 0.5), atol=0.01)
    assert torch.corrcoef(even.T).fill_diagonal_(0).abs().max() < 0.03
    assert torch.bincount(draws.integers(4, 1)[:, 0]).tolist() == pytest.approx([5000] * 4, rel=0.05)
    normal = draws.normal()
    assert (float(normal.mean()), float(normal.std())) == pytest.approx((0, 1), abs=0.03)
    assert float((normal.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=0.02)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(InputError, match=r"50 training images make no batch of 64 \(batch_size 32 x 2 processes\)"):
        Plan(50, 32, 0, 0, 2)


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 8])
def test_evaluation_shares_have_each_image_once(count: int, processes: int) -> None:
    shares = [share(count, index, processes).tolist() for index in range(processes)]
    assert sorted(image for part in shares for image in part) == list(range(count))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(20, 60), min_size=2, max_size=6), st.sampled_from([0.05, 0.1, 0.25, 0.5]))
def test_a_hold_out_takes_the_same_share_of_each_class(counts: list[int], fraction: float) -> None:
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, held = holdout.split(targets, fraction)
    assert sorted([*kept, *held]) == list(range(len(targets)))
    for label, count in enumerate(counts):
        assert int(np.sum(targets[held] == label)) == round(fraction * count)
    again = holdout.split(targets, fraction)[1]
    assert np.array_equal(held, again)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_share_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="--holdout"):
        holdout.split(np.zeros(10, np.int64), fraction)


def test_a_class_too_small_to_be_on_both_sides_is_refused() -> None:
    with pytest.raises(InputError, match="class 1 has 3 training images, of which 0"):
        holdout.split(np.array([0] * 50 + [1] * 3), 0.1)
