"""What docs/thinresnet.md rests on: published rows by their verdicts, and evaluations of public weights.

Nothing is typed: published figures are rows of the board, measured ones are evaluations kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from thinresnet import public_weights
from thinresnet.base_width import BaseWidth
from thinresnet.errors import InputError
from thinresnet.evaluation import Evaluation
from thinresnet.imported import Imported
from thinresnet.leaderboard.bar import Bar, BarPoint
from thinresnet.leaderboard.recipe_classes import CLASSICAL, recipe_class
from thinresnet.leaderboard.references import Assumptions, may_be_the_bar, usual_references
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.verdicts import Verdict, counts_for_headline, judge, points
from thinresnet.leaderboard.weights import by_base_width
from thinresnet.runs import EVALUATION_FILE

PAPER = "tessier2023thinresnet"
# Evaluations of weights that are no rows of the board: of pruned networks, and of a part of ImageNet's classes.
EVALUATIONS = Path("baselines/evaluations")
NETWORKS = (("cifar10", "resnet20_cifar"), ("cifar10", "resnet56_cifar"), ("imagenet", "resnet50"))
COPY = "cifar10-jpeg"


@dataclass(frozen=True)
class Published:
    """One network on one dataset, as published."""

    dataset: str
    arch: str
    assumptions: Assumptions
    bar: tuple[BarPoint, ...]
    verdicts: tuple[Verdict, ...]  # of the published pruning results
    printed: tuple[Entry, ...]  # by the ThinResNet authors, at the usual resolution
    classic: tuple[Entry, ...]  # dense, by a recipe that is known to be classical
    unmeasured: tuple[BaseWidth, ...]  # networks with public weights whose accuracy nobody printed

    def counted(self, outcome: str) -> int:
        """How many results have this outcome."""
        return sum(verdict.outcome == outcome for verdict in self.verdicts)


@dataclass(frozen=True)
class Measured:
    """One set of public weights, evaluated."""

    evaluation: Evaluation
    imported: Imported

    @property
    def network(self) -> BaseWidth | None:
        """The ThinResNet authors' network that it is; None of another source's."""
        return by_base_width(self.imported)

    @property
    def dense(self) -> bool:
        return self.evaluation.shape == "dense"


@dataclass(frozen=True)
class Evidence:
    """All that the page shows."""

    rows: tuple[Entry, ...]  # printed by the ThinResNet authors
    published: tuple[Published, ...]
    measured: tuple[Measured, ...]

    def thin(self, depth: int, dataset: str) -> list[Measured]:
        """The ThinResNet authors' weights of one depth, by base width."""
        found = [(one.network, one) for one in self.measured if one.evaluation.dataset == dataset]
        own = [(network.width, one) for network, one in found if network is not None and network.depth == depth]
        return [one for _, one in sorted(own, key=lambda each: each[0])]

    def others(self, dataset: str = COPY) -> list[Measured]:
        """The weights of other sources on one dataset: pruned ones first, then by MACs."""
        found = [one for one in self.measured if one.evaluation.dataset == dataset and one.network is None]
        return sorted(found, key=lambda one: (one.dense, one.evaluation.macs, one.evaluation.name))


def evidence(entries: Sequence[Entry], root: Path) -> Evidence:
    """Everything that the page shows; `root` is the folder of the board, beside which evaluations are kept."""
    bar = Bar(entries)
    printed = tuple(entry for entry in entries if entry.paper == PAPER)
    measured = tuple(_measured(entries, root))
    if not printed or not measured:
        what = "evaluations of public weights" if printed else f"rows of {PAPER}"
        raise InputError(f"{root}: a board there has no {what}; the page is made from the project's own board")
    return Evidence(printed, tuple(_published(entries, bar, dataset, arch) for dataset, arch in NETWORKS), measured)


def _published(entries: Sequence[Entry], bar: Bar, dataset: str, arch: str) -> Published:
    assumptions = Assumptions(usual_references(arch))
    rows = [e for e in entries if e.source == "published" and (e.dataset, e.arch) == (dataset, arch)]
    own = [e for e in rows if e.paper == PAPER and not e.resolution_scaled]
    classic = [e for e in rows if e.family == "dense" and may_be_the_bar(e) and recipe_class(e) == CLASSICAL]
    printed = [w.base_width for w in public_weights.every() if w.dataset == dataset and w.printed_top1 is None]
    return Published(
        dataset,
        arch,
        assumptions,
        points(bar, dataset, arch, assumptions),
        tuple(judge(bar, e, assumptions) for e in rows if counts_for_headline(e)),
        tuple(own),
        tuple(e for e in classic if not e.resolution_scaled),
        tuple(width for width in printed if width is not None and width.arch == arch and not width.is_dense),
    )


def _measured(entries: Sequence[Entry], root: Path) -> Iterator[Measured]:
    folders = [root / entry.evidence for entry in entries if entry.weights == "theirs" and entry.evidence]
    for folder in [*folders, root / EVALUATIONS]:
        for path in sorted(folder.glob(f"**/{EVALUATION_FILE}")):
            yield Measured(Evaluation.read(path.parent), Imported.read(path.parent))
