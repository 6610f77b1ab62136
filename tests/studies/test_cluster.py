"""A real Ray cluster of two nodes on this machine, one of which is killed in the middle of a study."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from unittest import mock

import pytest
import ray
import yaml
from ray.cluster_utils import Cluster
from rich.console import Console

from thinresnet.errors import InputError
from thinresnet.result import Result
from thinresnet.studies.cluster import Ray
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.running import run
from thinresnet.studies.stages import Train
from thinresnet.studies.stages.stage import Folders, undecided
from thinresnet.training import checkpoint

STUDY = {
    "study": "far",
    "arch": "resnet20_cifar",
    "kwargs": {"depths": [1, 1, 1]},
    "recipes": {"short": {"recipe": "digits", "epochs": 3, "warmup_epochs": 0}},
    "protocols": ["dense"],
    "seeds": [1, 2],
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Lost(Train):
    """A training that comes as far as its first checkpoint on the node that will be lost, and there waits to be."""

    doomed: str = undecided()
    marker: str = undecided()

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        reached = Path(self.marker)
        if ray.get_runtime_context().get_node_id() != self.doomed:
            _until(reached.exists)  # so that a node that is quick does not do both
            return super().run(inputs, folder, quiet=quiet)

        def write(*arguments: object, **named: object) -> object:
            found = written(*arguments, **named)
            reached.touch()
            threading.Event().wait()
            return found

        written = checkpoint.save
        with mock.patch.object(checkpoint, "save", write):
            return super().run(inputs, folder, quiet=quiet)


def _until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one core each."""
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # A node that is lost is missed after seconds; one that is slow has as long as ever.
        noticed = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
        head = {**node, "include_dashboard": False, "_system_config": noticed}
        found = Cluster(initialize_head=True, head_node_args=head)
        found.add_node(**node)
        yield found
        ray.shutdown()
        found.shutdown()


def graph_of(folder: Path, doomed: str, marker: Path) -> StudyGraph:
    """The study, each training of which is lost with the node."""
    path = folder / "far.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    (found,) = read_graphs(path)
    for key, stage in found.stages.items():
        values = {one.name: getattr(stage, one.name) for one in fields(stage)}
        found.stages[key] = Lost(**values, doomed=doomed, marker=str(marker))
    return found


def test_a_lost_worker_costs_what_it_did_since_its_last_checkpoint(cluster: Cluster, tmp_path: Path) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find the tests
    root, said, marker = tmp_path / "far", io.StringIO(), tmp_path / "reached"
    workers = Ray(cluster.address, cpus=1, gpus=0)
    assert workers.count == 2
    (node,) = cluster.worker_nodes

    def kill_one_node() -> None:
        _until(marker.exists)
        cluster.remove_node(node, allow_graceful=False)

    killing = threading.Thread(target=kill_one_node)
    killing.start()
    failed = run(graph_of(tmp_path, node.node_id, marker), root, workers, Console(file=said))
    killing.join()
    assert failed == {}, said.getvalue()
    results = [Result.read(folder) for folder in root.glob("*/") if (folder / "stage.json").exists()]
    assert [result.epochs for result in results] == [3, 3]
    assert sorted(result.sessions for result in results) == [1, 2]
    with pytest.raises(InputError, match=r"no room for one stage of 64 CPUs and 0 GPUs; the cluster has \d and 0"):
        Ray(cluster.address, cpus=64, gpus=0)
