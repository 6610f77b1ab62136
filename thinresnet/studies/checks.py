"""What can be known to be impossible before anything of a study is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from thinresnet.budget import Budget
from thinresnet.errors import InputError
from thinresnet.networks import describe
from thinresnet.networks.cost import macs_and_params
from thinresnet.pruning.method import INITIALISATION
from thinresnet.pruning.presets import preset
from thinresnet.pruning.session import check_targets
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.protocol import Protocol
from thinresnet.studies.stages import CostPoint
from thinresnet.studies.study import Pruner, Study, TrainingSetup

_NEEDS: dict[str, tuple[Callable[[Study], object], str]] = {
    "budgets": (lambda study: study.points, "'budgets'"),
    "methods": (lambda study: [own for own in study.pruners if own.method.when != INITIALISATION], "'methods'"),
    "methods at initialisation": (
        lambda study: [own for own in study.pruners if own.method.when == INITIALISATION],
        "'methods' that prune at initialisation",
    ),
    "transfer": (lambda study: study.transfer, "'transfer'"),
}


def check(graph: StudyGraph, protocols: Sequence[Protocol]) -> None:
    """Refuse a study that lacks what its protocols need, or whose methods cannot reach its budgets."""
    study = graph.study
    for protocol in protocols:
        for need in protocol.needs:
            there, named = _NEEDS[need]
            if not there(study):
                raise InputError(
                    f"study {study.name}: the protocol {protocol.name!r} needs {named}, which are not given"
                )
    for setup in study.setups:
        _check_weights(graph, setup)
        for pruner in study.pruners:
            for point in study.points:
                try:
                    _check_target(graph, setup, pruner, point)
                except InputError as error:
                    raise InputError(f"study {study.name}: {pruner.label} at {point.text}: {error}") from None


def _check_weights(graph: StudyGraph, setup: TrainingSetup) -> None:
    """Public weights have to be of the study's network."""
    if setup.weights is None:
        return
    dense, theirs = graph.network(setup), setup.weights.network
    if describe(theirs, input_size=dense.input_size, num_classes=dense.kwargs["num_classes"]) != dense:
        raise InputError(
            f"study {graph.study.name}: {setup.name}: weights: {theirs} is another network than {setup.subject.arch}; "
            f"give `arch: {theirs}`"
        )


def _check_target(graph: StudyGraph, setup: TrainingSetup, pruner: Pruner, point: CostPoint) -> None:
    method, dense = pruner.method, graph.network(setup)
    if method.when == INITIALISATION and (pruner.stream or pruner.scope):
        raise InputError("scope and stream are for methods on trained networks; leave them out")
    budgets = point.budgets
    to = None if point.to is None else preset(point.to, dense)
    if to is not None and method.when == INITIALISATION:  # it goes to the list's MACs
        budgets, to = (Budget.parse("macs", macs_and_params(to).macs),), None
    check_targets(
        method,
        dense,
        [budgets] if to is None else [],
        to=to,
        scope=pruner.scope,
        stream=pruner.stream,
        grow=pruner.grow,
        latency_table=graph.study.table_for(point),
    )
