"""A real Ray cluster of two nodes on this machine, one of which is killed in the middle of a study."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import yaml
from ray.cluster_utils import Cluster
from rich.console import Console

from thinresnet.errors import InputError
from thinresnet.studies.cluster import Ray
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.graphs import read_graphs
from thinresnet.studies.run import run
from thinresnet.training import Result

STUDY = {
    "study": "far",
    "arch": "resnet20_cifar",
    "kwargs": {"depths": [1, 1, 1]},
    "recipes": {"long": {"recipe": "digits", "epochs": 15, "warmup_epochs": 0}},
    "protocols": ["dense"],
    "seeds": [1, 2],
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one core each."""
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        found = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        found.add_node(**node)
        yield found
        ray.shutdown()
        found.shutdown()


def graph_of(folder: Path) -> StudyGraph:
    path = folder / "far.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    (found,) = read_graphs(path)
    return found


def test_a_lost_worker_costs_what_it_did_since_its_last_checkpoint(cluster: Cluster, tmp_path: Path) -> None:
    root, said = tmp_path / "far", io.StringIO()
    workers = Ray(cluster.address, cpus=1, gpus=0)
    assert workers.count == 2

    def kill_one_node() -> None:
        deadline = time.monotonic() + 120
        while len({path.parent for path in root.glob("*/checkpoints/*.pt")}) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)

    killing = threading.Thread(target=kill_one_node)
    killing.start()
    failed = run(graph_of(tmp_path), root, workers, Console(file=said))
    killing.join()
    assert failed == {}, said.getvalue()
    results = [Result.read(folder) for folder in root.glob("*/") if (folder / "stage.json").exists()]
    assert [result.epochs for result in results] == [15, 15]
    assert sorted(result.sessions for result in results) == [1, 2]
    with pytest.raises(InputError, match=r"no room for one stage of 64 CPUs and 0 GPUs; the cluster has \d and 0"):
        Ray(cluster.address, cpus=64, gpus=0)
