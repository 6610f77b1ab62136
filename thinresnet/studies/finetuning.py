"""`finetune` of a study: how pruned networks are trained on. Several entries: each is a row of its own.

`recipe` (or flags alone) is the recipe's own schedule run again over the fine-tuning epochs, from its full rate on:
learning-rate rewinding. `authors` is the schedule that a method's authors fine-tune by, its rate as a share of the
dense one. `full` is the recipe's schedule over as many epochs as the dense training. Where no `epochs` are given there
are as many as the authors fine-tune for, as a share of their dense training. No entry is chosen by what is measured: a
study that asks for several shows them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Any

from thinresnet.convert import NAME, brief
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.studies.stages.stage import CostPoint
from thinresnet.training.epochs import over_epochs

RECIPE, AUTHORS, FULL = WORDS = ("recipe", "authors", "full")
_FORM = "takes recipe, authors, full, {epochs: 40, lr_base: 0.001}, or a list of these"
# Flags that write a schedule of their own: how the compressed recipe moves does not matter then.
_OF_SCHEDULE = frozenset({"sched", "decay_epochs", "decay_milestones"})
_LARGEST_CIFAR_CLASSES = 100


@dataclass(frozen=True)
class Published:
    """Fine-tuning as authors have it: epochs, those of their dense training, the rate as a share of the dense one."""

    epochs: int
    dense_epochs: int
    rate: float
    milestones: tuple[int, ...] = ()  # epochs after which the rate is a tenth

    @property
    def share(self) -> Fraction:
        """Of the dense epochs."""
        return Fraction(self.epochs, self.dense_epochs)


# Read in the authors' or the reproduction's code: Liu et al. (Eric-mingjie/rethinking-network-pruning, main_finetune.py
# of l1-norm-pruning and network-slimming) on CIFAR and ImageNet; DepGraph (VainF/Torch-Pruning, reproduce/main.py).
_CIFAR, _IMAGENET = Published(40, 160, 0.01), Published(20, 90, 0.01)
_BY_METHOD = {"group-norm": Published(100, 200, 0.1, (60, 80))}
_BY_METHOD_ON_IMAGENET = {"slimming": Published(5, 90, 0.01)}


def published(method: str, classes: int) -> Published:
    """The authors' fine-tuning of a method; where it could not be read, that of Liu et al. for L1-norm pruning."""
    if classes > _LARGEST_CIFAR_CLASSES:
        return _BY_METHOD_ON_IMAGENET.get(method, _IMAGENET)
    return _BY_METHOD.get(method, _CIFAR)


@dataclass(frozen=True)
class Finetuning:
    """One way of training on what pruning kept."""

    recipe: Recipe  # the dense one
    schedule: str = RECIPE
    epochs: int | None = None  # None: as the method's authors, in proportion
    flags: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""  # in tables and names; empty where a study has one way only
    budgets: tuple[str, ...] = ()  # the points that it is for, by tag; none: all

    def serves(self, point: CostPoint) -> bool:
        """Whether it is for this point."""
        return not self.budgets or point.tag in self.budgets

    @property
    def text(self) -> str:
        """How long, and by what, for people."""
        epochs = self.recipe.total_epochs if self.schedule == FULL else self.epochs
        long = "as long as the authors" if epochs is None else str(epochs)
        return f"{long} ({self.label})" if self.label else long

    def for_method(self, method: str, classes: int) -> Recipe:
        """The recipe of fine-tuning what a method pruned, on images of so many classes."""
        theirs = published(method, classes)
        dense = self.recipe.total_epochs
        own = dense if self.schedule == FULL else max(1, round(dense * theirs.share))
        epochs = own if self.epochs is None else self.epochs
        start = _as_published(self.recipe, theirs) if self.schedule == AUTHORS else self.recipe
        found = over_epochs(start, epochs)
        return _with_flags(found, self.recipe, epochs, self.flags) if self.flags else found

    def replace_recipe(self, **changes: Any) -> Finetuning:
        """The same on other images."""
        return replace(self, recipe=self.recipe.replace(**changes))


def _as_published(recipe: Recipe, theirs: Published) -> Recipe:
    """The recipe by the authors' schedule over the authors' epochs; its rate follows the batch as the recipe's does."""
    return recipe.replace(
        epochs=theirs.epochs, warmup_epochs=0, cooldown_epochs=0, sched="multistep", sched_on_updates=False,
        lr=None if recipe.lr is None else recipe.lr * theirs.rate, lr_base=recipe.lr_base * theirs.rate,
        decay_milestones=tuple(step + 1 for step in theirs.milestones) or (theirs.epochs + 1,), decay_rate=0.1,
    )  # fmt: skip


def _with_flags(found: Recipe, recipe: Recipe, epochs: int, flags: Mapping[str, Any]) -> Recipe:
    """Flags over the compressed recipe, which still takes so many epochs in all."""
    changes = dict(flags)
    if "lr_base" in changes:
        changes.setdefault("lr", None)
    if _OF_SCHEDULE & changes.keys():
        changes = {"sched": recipe.sched, "sched_on_updates": recipe.sched_on_updates, **changes}
    # Warm-up and cool-down may be other ones now.
    warmup = (
        changes.get("warmup_epochs", found.warmup_epochs) if changes.get("warmup_prefix", found.warmup_prefix) else 0
    )
    cooldown = changes.get("cooldown_epochs", found.cooldown_epochs)
    own = {"epochs": max(1, epochs - warmup - cooldown), **changes}
    return Recipe.from_mapping({**asdict(found), **own}, "finetune")


def read_finetunings(recipe: Recipe, given: Sequence[Any]) -> tuple[Finetuning, ...]:
    """Every way that is asked for; of several levels (document, recipe), flags go together and lists replace."""
    last = given[-1]
    if all(isinstance(one, dict) for one in given):
        last = {key: value for one in given for key, value in one.items()}
    entries = list(last) if isinstance(last, (list, tuple)) else [last]
    if not entries:
        raise InputError(f"finetune: {_FORM}; leave it out for the recipe's own schedule")
    found = [_entry(recipe, entry, alone=len(entries) == 1) for entry in entries]
    labels = [own.label for own in found]
    for own, entry in zip(found, entries, strict=True):
        if labels.count(own.label) > 1:
            raise InputError(f"finetune: {brief(entry)} is called {own.label!r} like another; give it a label")
        own.for_method("l1", 10)
    return tuple(found)


def _entry(recipe: Recipe, given: Any, *, alone: bool) -> Finetuning:
    values = {"schedule": given} if isinstance(given, str) else given
    if not isinstance(values, dict):
        raise InputError(f"finetune: {_FORM}, got {brief(given)}")
    flags = dict(values)
    schedule, epochs, label = (flags.pop(key, None) for key in ("schedule", "epochs", "label"))
    budgets = flags.pop("budgets", ())
    named = schedule or RECIPE
    if named not in WORDS:
        raise InputError(f"finetune: schedule: {_FORM}, got {brief(named)}")
    if epochs == FULL:
        named, epochs = (FULL, None) if named == RECIPE else (named, recipe.total_epochs)
    if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
        raise InputError(f"finetune: epochs: takes an integer, at least 1, or full, got {brief(epochs)}")
    own = label if label is not None else "" if alone and schedule is None else named
    if own and not (isinstance(own, str) and NAME[0].fullmatch(own)):
        raise InputError(f"finetune: label: takes {NAME[1]}, got {brief(own)}")
    if not isinstance(budgets, (list, tuple)) or not all(isinstance(tag, str) for tag in budgets):
        raise InputError(f"finetune: budgets: takes a list of the study's budgets by name, got {brief(budgets)}")
    return Finetuning(recipe, named, epochs, flags, own, tuple(budgets))


def shapes_of(name: str, ways: Sequence[Finetuning]) -> Iterator[tuple[str, Finetuning]]:
    """What each way's training is called."""
    for way in ways:
        yield (f"{name}-{way.label}" if way.label else name), way
