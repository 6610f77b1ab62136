"""Running a study: every stage that is not finished, after those that it needs, with progress over all of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children, get_context
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import filelock
from rich.console import Console

from thinresnet import child_process
from thinresnet.errors import InputError
from thinresnet.progress import duration
from thinresnet.stopping import ending
from thinresnet.studies.devices import environments
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.stages import Stage, Timing
from thinresnet.studies.store import Store
from thinresnet.studies.work import Answer, Work

_PATIENCE_S = 45.0  # for trainings that are asked to stop


class Workers(Protocol):
    """Who does the stages."""

    @property
    def count(self) -> int: ...  # how many at a time

    one_machine: bool  # then timing waits until the others rest
    processes: int  # that do a stage together, where it is a training
    quiet: bool  # whether a stage keeps to itself how far it is

    def submit(self, work: Work) -> Future[Answer]: ...

    def close(self) -> None: ...


class ThisProcess:
    """One stage after another, here."""

    count, one_machine, processes = 1, True, 1

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    def submit(self, work: Work) -> Future[Answer]:
        """Done before it returns."""
        done: Future[Answer] = Future()
        try:
            done.set_result(work.do())
        except Exception as error:
            done.set_exception(error)
        return done

    def close(self) -> None:
        """There is nothing to end."""


class Processes:
    """Several processes of this machine, each with a stage at a time and its GPUs; they stop when this one does."""

    one_machine, quiet = True, True

    def __init__(self, count: int, *, gpus_per_stage: int = 1) -> None:
        self.count, self.processes = count, gpus_per_stage
        self._handed_out: list[Future[Answer]] = []
        context, begin = get_context("spawn"), child_process.begin
        self._pools = [
            ProcessPoolExecutor(1, mp_context=context, initializer=begin, initargs=(environment,))
            for environment in environments(count, gpus_per_stage)
        ]
        self._free: SimpleQueue[int] = SimpleQueue()
        for number in range(count):
            self._free.put(number)

    def submit(self, work: Work) -> Future[Answer]:
        """Give it to a process that has none; there is one, since `count` are busy at most."""
        number = self._free.get()
        done = self._pools[number].submit(_do_for_parent, replace(work, processes=self.processes))
        done.add_done_callback(lambda _: self._free.put(number))
        self._handed_out.append(done)
        return done

    def close(self) -> None:
        """End them; left to the interpreter, their pools trip over themselves as they go.

        A training that is under way saves its state first; what takes longer than that is ended, and done again.
        """
        if left := [future for future in self._handed_out if not future.done()]:
            for child in active_children():
                os.kill(child.pid or 0, signal.SIGINT)
            if wait(left, timeout=_PATIENCE_S).not_done:
                for child in active_children():
                    child.kill()
        for pool in self._pools:
            pool.shutdown()


def _do_for_parent(work: Work) -> Answer:
    """Do it, and end with the parent: a worker without one would wait for the next stage for ever."""
    child_process.imported()
    try:
        return work.do()
    finally:
        child_process.end_if_alone()


def run(graph: StudyGraph, root: Path, workers: Workers, console: Console) -> dict[str, str]:
    """Do every stage that is not finished; returns what could not be done and why, by the stage's name.

    Raises:
        InputError: The images are not here, or the folder is in use.
        TrainingInterruptedError: Asked to stop; the same call resumes.
    """
    if missing := next((images.missing for images in graph.data() if images.missing), None):
        raise InputError(f"study {graph.study.name}: {missing}")
    for stage in graph.stages.values() if workers.processes > 1 else ():
        stage.shared_by(workers.processes)
    with _locked(root):
        return _Running(graph, Store(root), workers, console).go()


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / ".lock", blocking=False):
            yield
    except filelock.Timeout:
        raise InputError(
            f"{root}: this study is being run by another process; wait for it, or use another --output"
        ) from None
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{root}: cannot be made ({error.strerror}); give another --output") from None


class _Running:
    """What is waiting, what is being done, and how far it all is."""

    def __init__(self, graph: StudyGraph, store: Store, workers: Workers, console: Console) -> None:
        self.store, self.workers, self.console = store, workers, console
        every = graph.by_worth
        self.waiting = [stage for stage in every if not store.finished(stage)]
        self.count, self._started = len(every), len(every) - len(self.waiting)
        self.failed: dict[str, str] = {}
        self.running: dict[Future[Answer], tuple[Stage, int]] = {}
        self._work = sum(stage.training_macs for stage in self.waiting)
        self._worked = 0
        self._start_time = time.monotonic()
        if self._started:
            self._say(f"{self._started} of {self.count} stages are finished already")

    def go(self) -> dict[str, str]:
        """Until nothing is left that can be done."""
        while self.waiting or self.running:
            while len(self.running) < max(1, self.workers.count) and (stage := self._next()):
                self._start(stage)
            if not self.running:
                break
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                self._end(future)
        for stage in self.waiting:
            self.failed.setdefault(stage.name, "what it depends on could not be done")
        return self.failed

    def _next(self) -> Stage | None:
        """A stage whose inputs are all there; timing comes last, and alone where the workers share a machine."""
        ready = [stage for stage in self.waiting if all(self.store.finished(s.stage) for s in stage.inputs.values())]
        others = [stage for stage in ready if not isinstance(stage, Timing)]
        if others or not self.workers.one_machine:
            return next(iter(others or ready), None)
        return ready[0] if ready and not self.running else None

    def _start(self, stage: Stage) -> None:
        """Hand it out, unless it turns out to be finished: what it depends on may have been done again to the bit."""
        self.waiting.remove(stage)
        self._started += 1
        if self.store.finished(stage):
            self._say(f"[{self._started}/{self.count}] {stage.name}: unchanged")
            self._work -= stage.training_macs
            return
        if wrong := self.store.state(stage).wrong:
            self._say(f"{stage.folder}: {wrong}: done again")
            self.store.clear(stage)
        self._say(f"[{self._started}/{self.count}] {stage.name}: started")
        inputs = {role: str(self.store.path(source).resolve()) for role, source in stage.inputs.items()}
        folder = str(self.store.folder(stage).resolve())
        future = self.workers.submit(Work(stage, inputs, folder, self.workers.quiet))
        self.running[future] = (stage, self._started)

    def _end(self, future: Future[Answer]) -> None:
        stage, number = self.running.pop(future)
        try:
            answer = future.result()
        except (InputError, RuntimeError, MemoryError) as error:
            if not (ended := ending(error)):
                raise
            self.failed[stage.name], _ = ended
            self._say(f"[{number}/{self.count}] {stage.name}: {self.failed[stage.name]}")
            return
        self.store.write(stage, answer)
        self._worked += stage.training_macs
        self._say(f"[{number}/{self.count}] {stage.name}: done in {duration(answer['seconds'])}{self._left()}")

    def _left(self) -> str:
        """How much of the training is done, and how long the rest may take."""
        if not self._worked or not self._work:
            return ""
        share = self._worked / self._work
        left = (time.monotonic() - self._start_time) * (1 - share) / share
        return f"; {share:.0%} of the training done, about {duration(left)} left"

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
