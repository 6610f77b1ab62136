"""What a recipe makes of optimizer, schedule, loss, mixup, EMA and clipping, against closed forms and timm's own."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data import Mixup
from timm.loss import BinaryCrossEntropy, JsdCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2, scheduler_kwargs
from torch import nn
from torch.nn import functional

from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training import optim
from thinresnet.training.loop import seed_update


def rates(recipe: Recipe, updates_per_epoch: int) -> list[float]:
    """The learning rate of every update of a run, as the loop sets it."""
    model = nn.Linear(2, 2)
    optimizer = optim.build_optimizer(recipe, model, processes=1)
    schedule, epochs = optim.build_schedule(recipe, optimizer, updates_per_epoch)
    found = []
    for update in range(epochs * updates_per_epoch):
        optim.set_rate(schedule, update // updates_per_epoch, update)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def epochs_of(recipe: Recipe) -> int:
    """timm's steps go on for ever: only the schedules that end have a cooldown."""
    cooldown = 0 if recipe.sched in ("step", "multistep") else recipe.cooldown_epochs
    assert recipe.total_epochs == recipe.epochs + cooldown + (recipe.warmup_epochs if recipe.warmup_prefix else 0)
    return recipe.epochs + cooldown + (recipe.warmup_epochs if recipe.warmup_prefix else 0)


def expected(recipe: Recipe, updates_per_epoch: int, processes: int = 1) -> list[float]:
    """The same in closed form, from the recipe's words alone."""
    peak = recipe.learning_rate(processes)
    unit = updates_per_epoch if recipe.sched_on_updates else 1
    warm, length = recipe.warmup_epochs * unit, recipe.epochs * unit
    found = []
    for update in range(epochs_of(recipe) * updates_per_epoch):
        t = update if recipe.sched_on_updates else update // updates_per_epoch
        if t < warm:
            found.append(recipe.warmup_lr + (peak - recipe.warmup_lr) * t / warm)
            continue
        t -= warm if recipe.warmup_prefix else 0
        if recipe.sched == "step":
            found.append(peak * recipe.decay_rate ** (t // (recipe.decay_epochs * unit)))
        elif recipe.sched == "multistep":
            passed = sum(t + 1 >= step * unit for step in recipe.decay_milestones)
            found.append(peak * recipe.decay_rate**passed)
        elif t >= length:
            found.append(recipe.min_lr)
        elif recipe.sched == "cosine":
            found.append(recipe.min_lr + (peak - recipe.min_lr) * (1 + math.cos(math.pi * t / length)) / 2)
        else:
            found.append(recipe.min_lr + (peak - recipe.min_lr) * (1 - t / length) ** recipe.decay_rate)
    return found


@pytest.mark.parametrize("name", recipes.names())
def test_the_schedule_of_every_recipe_is_its_closed_form(name: str) -> None:
    recipe = recipes.load(name).replace(lr_noise=None)
    assert rates(recipe, updates_per_epoch=7) == pytest.approx(expected(recipe, 7), rel=1e-9, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    sched=st.sampled_from(["cosine", "step", "multistep", "poly"]),
    on_updates=st.booleans(),
    epochs=st.integers(2, 12),
    warmup=st.integers(0, 2),
    prefix=st.booleans(),
    cooldown=st.integers(0, 3),
    updates=st.integers(1, 5),
)
def test_schedules_are_their_closed_forms(
    sched: str, on_updates: bool, epochs: int, warmup: int, prefix: bool, cooldown: int, updates: int
) -> None:
    recipe = Recipe(
        sched=sched, sched_on_updates=on_updates, epochs=epochs, warmup_epochs=warmup, warmup_prefix=prefix,
        cooldown_epochs=cooldown, lr=0.4, min_lr=0.001, warmup_lr=0.01, decay_epochs=2, decay_rate=0.5,
        decay_milestones=(1, 3),
    )  # fmt: skip
    found = rates(recipe, updates)
    assert len(found) == epochs_of(recipe) * updates
    assert found == pytest.approx(expected(recipe, updates), rel=1e-9, abs=1e-12)


# Every flag of a schedule, and what else timm's factory has to be handed for it.
SCHEDULES: list[dict[str, Any]] = [
    {"sched": "cosine", "lr_cycle_limit": 3, "lr_cycle_mul": 1.5, "lr_cycle_decay": 0.3},
    {"sched": "cosine", "lr_k_decay": 2.0, "cooldown_epochs": 2},
    {"sched": "poly", "lr_cycle_limit": 2, "lr_k_decay": 1.5, "decay_rate": 2.0, "sched_on_updates": True},
    {"sched": "tanh", "warmup_prefix": True, "cooldown_epochs": 1},
    {"sched": "step", "lr_noise": (0.4, 0.9), "lr_noise_pct": 0.3, "lr_noise_std": 0.5, "cooldown_epochs": 10},
    {"sched": "multistep", "lr_noise": (0.5,), "seed": 7},
    {"sched": "constant"},
    {"sched": "wsd", "decay_epochs": 3.0, "sched_on_updates": True},
    {"sched": "rsqrt", "decay_epochs": 2.0, "warmup_prefix": True, "cooldown_epochs": 1},
]


@pytest.mark.parametrize("flags", SCHEDULES, ids=lambda flags: flags["sched"])
def test_the_rate_of_every_update_is_that_of_timm_s_own_factory(flags: dict[str, Any]) -> None:
    recipe = Recipe(**{"epochs": 10, "warmup_epochs": 2, "lr": 0.4, "min_lr": 1e-3, "decay_epochs": 3.0, **flags})
    updates = 3
    found = rates(recipe, updates)
    assert len(found) == recipe.total_epochs * updates
    # As timm's train.py does it: its own arguments, stepped at the end of an update and of an epoch.
    args = SimpleNamespace(**vars(recipe))
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.4)
    schedule, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(args), updates_per_epoch=updates)
    assert schedule is not None
    expected_rates = []
    for update in range(epochs * updates):
        expected_rates.append(optimizer.param_groups[0]["lr"])
        schedule.step_update(update + 1)
        if (update + 1) % updates == 0:
            schedule.step((update + 1) // updates)
    assert found == expected_rates
    assert len(set(found)) > 1


def test_a_plateau_follows_the_training_loss_and_is_led_again_where_a_run_resumes() -> None:
    recipe = Recipe(
        sched="plateau", epochs=9, warmup_epochs=1, warmup_lr=0.1, lr=0.4, patience_epochs=1, decay_rate=0.5
    )
    losses = [5.0, 3.0, 2.0, 2.5, 2.6, 2.7, 2.8, 1.0, 1.0]

    def led(first: int) -> tuple[Any, torch.optim.Optimizer, list[float]]:
        optimizer = optim.build_optimizer(recipe, nn.Linear(2, 2), processes=1)
        schedule, epochs = optim.build_schedule(recipe, optimizer, updates_per_epoch=2)
        assert epochs == recipe.total_epochs == 9
        found = []
        for epoch, loss in enumerate(losses[:first]):
            optim.set_rate(schedule, epoch, 2 * epoch)
            found.append(optimizer.param_groups[0]["lr"])
            optim.end_epoch(schedule, epoch + 1, loss)
        return schedule, optimizer, found

    found = led(9)[2]
    assert found == [0.1, 0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1]
    schedule, optimizer, _ = led(5)
    for epoch, loss in enumerate(losses[5:], start=5):
        assert optimizer.param_groups[0]["lr"] == found[epoch]
        optim.end_epoch(schedule, epoch + 1, loss)


def test_a_schedule_that_timm_cannot_make_is_refused_in_one_line() -> None:
    recipe = Recipe(sched="wsd", epochs=10, decay_epochs=90.0)
    with pytest.raises(InputError, match="sched wsd: ") as caught:
        optim.build_schedule(recipe, optim.build_optimizer(recipe, nn.Linear(2, 2), 1), 2)
    assert "\n" not in str(caught.value)


def test_layers_have_the_rates_of_timm_s_layer_decay() -> None:
    model = timm.create_model("resnet10t", num_classes=3)
    recipe = Recipe(lr=0.1, weight_decay=0.02, layer_decay=0.7, layer_decay_min_scale=0.2)
    ours = optim.build_optimizer(recipe, model, processes=1)
    theirs = create_optimizer_v2(model, "sgd", lr=0.1, weight_decay=0.02, layer_decay=0.7, layer_decay_min_scale=0.2)
    for one, other in zip(ours.param_groups, theirs.param_groups, strict=True):
        assert {key: value for key, value in one.items() if key != "params"} == {
            key: value for key, value in other.items() if key != "params"
        }
        assert [id(parameter) for parameter in one["params"]] == [id(parameter) for parameter in other["params"]]
    schedule, _ = optim.build_schedule(recipe, ours, 2)
    optim.set_rate(schedule, 100, 200)
    scales = {group["lr_scale"] for group in ours.param_groups}
    assert min(scales) == 0.2
    assert len({round(group["lr"] / group["lr_scale"], 9) for group in ours.param_groups}) == 1


def test_named_norms_and_biases_are_decayed_too() -> None:
    """As ffcv-imagenet has it: no decay on what has bn in its name, and the norms of the shortcuts have not."""
    recipe = recipes.load("imagenet-ffcv")
    model = timm.create_model("resnet50")
    optimizer = optim.build_optimizer(recipe, model, processes=8)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {name for name in names.values() if "bn" not in name}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 1e-4}


def test_the_rate_follows_the_images_of_an_update() -> None:
    recipe = Recipe(lr_base=0.1, lr_base_size=256, batch_size=64, grad_accum_steps=2)
    optimizer = optim.build_optimizer(recipe, nn.Linear(2, 2), processes=4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 64 * 2 * 4 / 256)


class Norm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    ("filtered", "decayed"), [(True, {"0.weight"}), (False, {"0.weight", "0.bias", "1.weight", "1.bias"})]
)
def test_norms_and_biases_are_decayed_only_where_the_recipe_says_so(filtered: bool, decayed: set[str]) -> None:
    model = Norm()
    kwargs = {} if filtered else {"filter_bias_and_bn": False}
    optimizer = optim.build_optimizer(Recipe(weight_decay=0.1, opt_kwargs=kwargs), model, processes=1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert found == decayed


@pytest.mark.parametrize("opt", ["sgd", "momentum", "adamw", "lamb", "rmsproptf"])
def test_the_optimizers_of_the_recipes_learn(opt: str) -> None:
    torch.manual_seed(0)
    model, target = nn.Linear(8, 1), torch.randn(64, 1)
    inputs = torch.randn(64, 8)
    optimizer = optim.build_optimizer(Recipe(opt=opt, lr=0.02), model, processes=1)
    losses = []
    for _ in range(30):
        loss = functional.mse_loss(model(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_an_unknown_optimizer_argument_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="opt sgd with opt_kwargs") as caught:
        optim.build_optimizer(Recipe(opt_kwargs={"nesterof": True}), nn.Linear(2, 2), processes=1)
    assert "\n" not in str(caught.value)


# --- losses --------------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.3, 0.1, -2.0, 1.0]])
CLASSES = torch.tensor([0, 3])


def soft(smoothing: float, classes: int = 4) -> torch.Tensor:
    return functional.one_hot(CLASSES, classes) * (1 - smoothing) + smoothing / classes


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_smooths_like_torch(smoothing: float) -> None:
    loss = optim.build_loss(Recipe(smoothing=smoothing))
    wanted = functional.cross_entropy(LOGITS, CLASSES, label_smoothing=smoothing)
    assert loss(LOGITS, CLASSES).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_with_mixing_the_labels_are_shares_and_smoothed_once() -> None:
    recipe = Recipe(mixup=0.2, smoothing=0.1)
    mixup = optim.build_mixup(recipe, classes=4)
    assert mixup is not None
    mixup.mixup_enabled = False
    _, target = mixup(torch.zeros(2, 3, 4, 4), CLASSES)
    assert torch.allclose(target, soft(0.1))
    wanted = functional.cross_entropy(LOGITS, soft(0.1))
    assert optim.build_loss(recipe)(LOGITS, target).item() == pytest.approx(wanted.item(), rel=1e-6)


@pytest.mark.parametrize("mixed", [False, True])
def test_binary_cross_entropy_counts_what_is_above_the_threshold(mixed: bool) -> None:
    recipe = Recipe(bce_loss=True, bce_target_thresh=0.2, smoothing=0.1, mixup=0.2 if mixed else 0.0)
    target = torch.tensor([[0.7, 0.3, 0.0, 0.0], [0.0, 0.1, 0.0, 0.9]]) if mixed else CLASSES
    wanted = (target > 0.2).float() if mixed else functional.one_hot(CLASSES, 4).float()
    loss = optim.build_loss(recipe)(LOGITS, target)
    assert loss.item() == pytest.approx(functional.binary_cross_entropy_with_logits(LOGITS, wanted).item(), rel=1e-6)


def test_binary_cross_entropy_without_mixing_and_smoothing_is_still_binary() -> None:
    loss = optim.build_loss(Recipe(bce_loss=True, smoothing=0.0))(LOGITS, CLASSES)
    wanted = functional.binary_cross_entropy_with_logits(LOGITS, functional.one_hot(CLASSES, 4).float())
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)


@pytest.mark.parametrize(
    "flags", [{"bce_sum": True}, {"bce_pos_weight": 3.0}, {"bce_sum": True, "bce_pos_weight": 0.5}]
)
def test_binary_cross_entropy_is_timm_s_with_its_flags(flags: dict[str, Any]) -> None:
    loss = optim.build_loss(Recipe(bce_loss=True, smoothing=0.1, **flags))(LOGITS, CLASSES)
    theirs = BinaryCrossEntropy(0.1, sum_classes=flags.get("bce_sum", False), pos_weight=flags.get("bce_pos_weight"))
    assert loss.item() == theirs(LOGITS, CLASSES).item()
    assert loss.item() != optim.build_loss(Recipe(bce_loss=True, smoothing=0.1))(LOGITS, CLASSES).item()


def test_the_jensen_shannon_loss_is_timm_s() -> None:
    logits, classes = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), CLASSES.repeat(3)
    loss = optim.build_loss(Recipe(jsd_loss=True, aug_splits=3, smoothing=0.1))(logits, classes)
    assert loss.item() == JsdCrossEntropy(num_splits=3, smoothing=0.1)(logits, classes).item()


@pytest.mark.parametrize(
    "settings_",
    [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}, {"cutmix_minmax": (0.2, 0.6)}],
)
@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_mixing_is_timms_own(settings_: dict[str, Any], mode: str) -> None:
    recipe = Recipe(**settings_, mixup_mode=mode, mixup_prob=0.9, mixup_switch_prob=0.4, smoothing=0.05)
    images, target = torch.randn(8, 3, 6, 6), torch.arange(8) % 4
    seed_update(1, 2, 3, 0)
    ours = optim.build_mixup(recipe, classes=4)
    assert ours is not None
    image, label = ours(images.clone(), target)
    seed_update(1, 2, 3, 0)
    theirs = Mixup(
        mixup_alpha=recipe.mixup, cutmix_alpha=recipe.cutmix, cutmix_minmax=recipe.cutmix_minmax, prob=0.9,
        switch_prob=0.4, mode=mode, label_smoothing=0.05, num_classes=4,
    )  # fmt: skip
    wanted_image, wanted_label = theirs(images.clone(), target)
    assert torch.equal(image, wanted_image)
    assert torch.equal(label, wanted_label)
    assert label.sum(1) == pytest.approx(np.ones(8), abs=1e-5)


def test_no_mixing_without_alphas() -> None:
    assert optim.build_mixup(Recipe(), classes=4) is None


# --- moving average and clipping ------------------------------------------------------------------------------------


def test_the_moving_average_is_its_closed_form() -> None:
    model = nn.Linear(1, 1, bias=False)
    ema = optim.build_ema(Recipe(model_ema=True, model_ema_decay=0.9), model)
    assert ema is not None
    values, average = [3.0, -1.0, 4.0, 1.0], None
    for update, value in enumerate(values, start=1):
        nn.init.constant_(model.weight, value)
        ema.update(model, step=update)
        average = value if average is None else 0.9 * average + 0.1 * value
    assert ema.module.weight.item() == pytest.approx(average, rel=1e-6)
    assert optim.build_ema(Recipe(), model) is None


def with_gradients() -> nn.Module:
    torch.manual_seed(0)
    model = Norm()
    model(torch.randn(4, 3, 5, 5)).square().sum().backward()
    return model


def test_clipping_by_norm_and_by_value() -> None:
    model = with_gradients()
    optim.clip(Recipe(clip_grad=0.5), model)
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-4)
    model = with_gradients()
    optim.clip(Recipe(clip_grad=0.01, clip_mode="value"), model)
    assert max(p.grad.abs().max().item() for p in model.parameters() if p.grad is not None) == pytest.approx(0.01)
    model, same = with_gradients(), with_gradients()
    optim.clip(Recipe(), model)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), same.parameters(), strict=True))


def test_adaptive_clipping_bounds_each_filter_and_leaves_the_head() -> None:
    model = with_gradients()
    before = model[1].bias.grad.clone()
    optim.clip(Recipe(clip_grad=0.01, clip_mode="agc"), model)
    weight = model[0].weight
    bound = 0.01 * weight.flatten(1).norm(dim=1).clamp(min=1e-3)
    assert (weight.grad.flatten(1).norm(dim=1) <= bound * (1 + 1e-4)).all()
    # timm takes the last two parameters for the head
    assert torch.equal(model[1].bias.grad, before)
