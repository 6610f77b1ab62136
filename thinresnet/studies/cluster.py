"""Stages on a cluster, through Ray (extra `ray`): each goes to a worker with its share of cores and GPUs.

The folder of runs has to be one that every node sees under the same path: what a stage writes are files. A stage whose
worker is lost is handed to another, where a training resumes from its last checkpoint.
"""

from __future__ import annotations

import os
import socket
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import filelock

from thinresnet.errors import InputError
from thinresnet.stopping import TrainingError
from thinresnet.studies.work import Answer, Work

try:
    import ray
except ImportError:  # the extra is not installed
    ray = None

_LOST_AT_MOST = 5  # times that a stage may lose its worker
_SECONDS_TO_ANSWER = 5.0
# A worker that was lost may live a little longer than its node is known to; its stage waits for it to be gone.
_SECONDS_TO_DIE = 300.0


class Ray:
    """The workers of a running Ray cluster."""

    one_machine, quiet = False, True

    def __init__(self, address: str | None, *, cpus: float, gpus: float) -> None:
        if ray is None:
            raise InputError("--on ray: Ray is not installed; pip install 'thinresnet[ray]'")
        address = address or os.environ.get("RAY_ADDRESS")
        if not address:
            raise InputError("--on ray: give --address HOST:PORT or set RAY_ADDRESS (ray start --head prints it)")
        _reach(address)
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(f"--address {address}: {' '.join(str(error).split())[:160]}") from None
        self._cpus, self._gpus = cpus, gpus
        self.processes = max(1, int(gpus))
        self._do = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_LOST_AT_MOST)(_do)
        if not self.count:
            has = ray.cluster_resources()
            raise InputError(
                f"--on ray: no room for one stage of {cpus:g} CPUs and {gpus:g} GPUs; the cluster has "
                f"{has.get('CPU', 0):g} and {has.get('GPU', 0):g} (--cpus, --gpus)"
            )

    @property
    def count(self) -> int:
        """How many stages the nodes that are alive have room for."""
        room = 0
        for node in ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                rooms = [has.get(kind, 0) // need for kind, need in (("CPU", self._cpus), ("GPU", self._gpus)) if need]
                room += int(min(rooms, default=1))
        return room

    def submit(self, work: Work) -> Future[Answer]:
        """Hand it out; what a worker refuses is raised here as it was there."""
        done: Future[Answer] = Future()

        def end(answer: Future[Answer]) -> None:
            error = answer.exception()
            if error is None:
                done.set_result(answer.result())
            elif isinstance(error, ray.exceptions.RayTaskError):
                done.set_exception(error.cause)
            else:
                done.set_exception(TrainingError(f"no worker could finish it: {' '.join(str(error).split())[:200]}"))

        self._do.remote(replace(work, processes=self.processes)).future().add_done_callback(end)
        return done

    def close(self) -> None:
        """The cluster is not ours: it stays."""


def _do(work: Work) -> Answer:
    folder = Path(work.folder)
    if not folder.parent.is_dir():
        raise InputError(
            f"{folder.parent}: not on the worker's machine; --output has to be a folder that all nodes share"
        )
    with filelock.FileLock(folder.parent / f".{folder.name}.lock", timeout=_SECONDS_TO_DIE):
        return work.do()


def _reach(address: str) -> None:
    """Refuse an address where nobody answers, before Ray waits for it for a minute."""
    if address in ("auto", "local"):
        return
    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        host, port = parts.hostname, parts.port
        if host is None or port is None:
            raise ValueError
        with socket.create_connection((host, port), timeout=_SECONDS_TO_ANSWER):
            pass
    except ValueError:
        raise InputError(f"--address {address}: write HOST:PORT, as `ray start --head` prints it") from None
    except OSError as error:
        raise InputError(f"--address {address}: nobody answers there ({error.strerror or error})") from None
