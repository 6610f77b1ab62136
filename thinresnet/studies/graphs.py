"""From a study to its graph: the one place that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError, nearest
from thinresnet.studies.builder import Builder
from thinresnet.studies.checks import check
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.protocols import PROTOCOLS
from thinresnet.studies.reading import read_studies
from thinresnet.studies.study import Study
from thinresnet.studies.tiers import USUAL


def read_graphs(
    path: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    only: str | None = None,
    weights_dir: str | None = None,
    tier: str = USUAL,
) -> list[StudyGraph]:
    """The graphs of a file's studies (or of the one called `only`), all checked before anything is done.

    `changes` goes over every recipe (flags); `weights_dir` is where public weights are looked for.
    """
    studies = read_studies(path, protocols=list(PROTOCOLS), changes=changes, weights_dir=weights_dir, tier=tier)
    names = [study.name for study in studies]
    if only is not None and only not in names:
        raise InputError(f"--only {only}: {path} has no such study{nearest(only, names)} ({', '.join(names)})")
    return [graph_of(study) for study in studies if only in (None, study.name)]


def graph_of(study: Study) -> StudyGraph:
    """The stages and experiments of a study; what can be known to be impossible is refused."""
    protocols = [PROTOCOLS[name] for name in study.protocols]
    graph = StudyGraph(study)
    check(graph, protocols)
    for setup in study.setups:
        for protocol in protocols:
            protocol.add(Builder(graph, setup))
    return graph
