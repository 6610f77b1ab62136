"""What a pruning method is: one interface for those that act on a trained network, while training, and before it.

A method is a frozen dataclass whose fields are its settings, in any file of this package: `registry.py` finds it there.
It says what scores (`scores`), what trains while pruning (`train`) and what is removed (`run`); a criterion on a
trained network overrides `scores` alone, one at initialisation (`initialisation/criterion.py`) `find`. Its docstring
says which paper's definition it is, and its first line is what `thinresnet prune --list` shows.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from thinresnet.convert import check_fields, fields_of
from thinresnet.pruning.job import Job, Pruned
from thinresnet.pruning.selection import Scores

NEEDS = ("weights", "data", "gradients", "training")
SCOPES = ("layer", "global")
TRAINED, TRAINING, INITIALISATION = WHEN = ("trained network", "while training", "at initialisation")


@dataclass(frozen=True)
class Published:
    """A setting as a method's authors have it, beside ours: a row of `thinresnet prune --list --settings`.

    `source` says where theirs was read: `code: OWNER/NAME` or `paper: ...`; what could not be read is None with the
    source `not read`, and what is only generally known has the source `general knowledge, not read`.
    """

    theirs: Any  # a JSON value; None: not known
    source: str
    why: str = ""  # what ours does differently, and why; empty where it does the same
    ours: Any = None  # where it is neither a setting of the method nor a class variable of this name


NOT_READ = "not read"
KNOWN = "general knowledge, not read"


def finetuned(theirs: str, source: str) -> Published:
    """How the authors train after pruning: that is for whoever trains the pruned network."""
    why = "training after pruning is a study's `finetune`; baselines/ give the authors' epochs and rate"
    return Published(theirs, source, why, ours="as the study says")


def not_finetuned(source: str) -> Published:
    """That the authors train no more after pruning, and a study that trains with their method from scratch neither."""
    why = "a study fine-tunes after `sparse-train` only where its method says `finetune: true`"
    return Published("none", source, why, ours="none; after pruning a dense parent as the study says")


class Method:
    """A pruning method; subclasses are frozen dataclasses, found by their name."""

    name: ClassVar[str]
    formerly: ClassVar[tuple[str, ...]] = ()  # names under which it, or nearly it, was known
    revision: ClassVar[int] = 1  # of what the name means: what was pruned by an earlier one is another result
    paper: ClassVar[str]
    when: ClassVar[str] = TRAINED  # of WHEN: what it acts on
    needs: ClassVar[frozenset[str]] = frozenset({"weights"})  # of NEEDS
    scope: ClassVar[str] = "layer"  # by default: the same fraction of every group, or one ranking of all channels
    stream: ClassVar[bool] = False  # by default: whether its authors prune the residual stream too
    serves: ClassVar[str] = "any network"
    removes: ClassVar[str] = "channels"  # or blocks, or weights (masks)
    rewinds: ClassVar[bool] = False  # whether the weights that come out are those that training began with
    from_scratch: ClassVar[bool] = False  # whether its authors train with it from scratch, without a dense parent
    finetunes: ClassVar[bool] = True  # whether its authors train on after the cut; else it is measured as it is
    at_scratch: ClassVar[Mapping[str, Any]] = {}  # settings that are for training from scratch, where none are given
    as_cut: ClassVar[Mapping[str, Any]] = {}  # settings for what is not fine-tuned, where none are given
    anew: ClassVar[bool] = False  # whether it trains for each budget from the start
    grows: ClassVar[bool] = False  # at initialisation: whether a layer may become wider than it is (PreConfig)
    ranks_weights: ClassVar[bool] = False  # at initialisation: whether it also says which single weights stay
    published: ClassVar[Mapping[str, Published]] = {}  # every setting, the scope and more, as the authors have them
    reconstruction: ClassVar[str | None] = None  # what of it is ours, where the paper could not be read

    def __post_init__(self) -> None:
        """Check the settings."""
        check_fields(self)

    def check(self, job: Job) -> None:
        """Refuse (InputError) a network that the method cannot serve."""

    def train(self, job: Job) -> None:
        """What trains while pruning: changes `job.model` in place."""

    def scores(self, job: Job) -> Scores:
        """One figure a channel: the larger, the longer it is kept."""
        raise NotImplementedError(f"{type(self).__name__} has neither scores nor a run of its own")

    def run(self, job: Job) -> Iterator[Pruned]:
        """What is removed: one smaller network for each of the job's targets, in their order."""
        self.train(job)
        scores = job.checked(self.scores(job))
        for target in job.targets:
            yield job.cut(target.select(job.channels, job.movable, scores))


def settings_of(method: Method) -> dict[str, Any]:
    """A method's settings as JSON values."""
    return dict(vars(method))


def summary(what: object) -> str:
    """The first line of a docstring, which is what lists show."""
    return str(inspect.getdoc(what)).splitlines()[0]


def published_rows(kind: type[Method]) -> list[dict[str, Any]]:
    """What the authors of a method have beside what is had here, setting by setting, as JSON values."""
    defaults = {name: one.default for name, one in fields_of(kind).items()}
    rows = []
    for name, one in kind.published.items():
        ours = one.ours if one.ours is not None else defaults[name] if name in defaults else getattr(kind, name)
        rows.append({"setting": name, "theirs": one.theirs, "ours": ours, "why": one.why, "source": one.source})
    return rows
