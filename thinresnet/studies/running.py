"""Running a study: every stage that is not finished, after those that it needs, with progress over all of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Protocol

import filelock
from rich.console import Console

from thinresnet.errors import InputError
from thinresnet.progress import duration
from thinresnet.stopping import REQUEUE_EXIT_CODE, TrainingError, stop_with_parent
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
    quiet: bool  # whether a stage keeps to itself how far it is

    def submit(self, work: Work) -> Future[Answer]: ...

    def close(self) -> None: ...


class ThisProcess:
    """One stage after another, here."""

    count, one_machine = 1, True

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
    """Several processes of this machine, each with a stage at a time; they stop when this one does."""

    one_machine, quiet = True, True

    def __init__(self, count: int) -> None:
        self.count = count
        self._handed_out: list[Future[Answer]] = []
        self._pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin_with_parent)

    def submit(self, work: Work) -> Future[Answer]:
        future = self._pool.submit(_do_for_parent, work)
        self._handed_out.append(future)
        return future

    def close(self) -> None:
        """End them; left to the interpreter, their pool trips over itself as it goes.

        A training that is under way saves its state first; what takes longer than that is ended, and done again.
        """
        if left := [future for future in self._handed_out if not future.done()]:
            for child in active_children():
                os.kill(child.pid or 0, signal.SIGINT)
            if wait(left, timeout=_PATIENCE_S).not_done:
                for child in active_children():
                    child.kill()
        self._pool.shutdown()


def _do_for_parent(work: Work) -> Answer:
    """Do it, and end with the parent: a worker without one would wait for the next stage for ever."""
    try:
        return work.do()
    finally:
        _end_if_alone()


def _begin_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a training makes it a request to stop; nothing else ends by it
    stop_with_parent()
    _end_if_alone()  # it may have ended before that


def _end_if_alone() -> None:
    parent = parent_process()
    if parent is None or not parent.is_alive():
        os._exit(REQUEUE_EXIT_CODE)


def run(graph: StudyGraph, root: Path, workers: Workers, console: Console) -> dict[str, str]:
    """Do every stage that is not finished; returns what could not be done and why, by the stage's name.

    Raises:
        InputError: The images are not here, or the folder is in use.
        TrainingInterruptedError: Asked to stop; the same call resumes.
    """
    if missing := next((images.missing for images in graph.data() if images.missing), None):
        raise InputError(f"study {graph.study.name}: {missing}")
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
        except (InputError, TrainingError) as error:
            self.failed[stage.name] = str(error)
            self._say(f"[{number}/{self.count}] {stage.name}: {error}")
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
        return f"; {share:.0%} of the training to do, about {duration(left)} left"

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
