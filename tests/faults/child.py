"""A command in a forked process of its own, with its output, its time and its memory bounded.

The fork has everything imported, so that a case costs what the command costs.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import functools
import gc
import hashlib
import importlib
import os
import pickle
import pkgutil
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import vl_convert

import thinresnet
import thinresnet.cli

LONGEST_SECONDS = 120.0
_TICK_SECONDS = 0.5
_LAST = {"thinresnet.__main__"}  # runs


@dataclass(frozen=True)
class Command:
    """A command line, run in a folder that begins as a copy of another's."""

    name: str
    arguments: tuple[str, ...]
    begins_with: Path | None = None


@dataclass(frozen=True)
class Ended:
    """How a command ended: its code (minus the signal), what it said to people and programs, and what it took."""

    code: int
    output: str
    errors: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    hung: bool

    @property
    def said(self) -> str:
        """The end of what it printed."""
        return " | ".join((self.output + self.errors).strip().splitlines()[-3:])


def import_all() -> None:
    """Import every module of the package, so that a fork imports none; nor looks for garbage among them."""
    for module in pkgutil.walk_packages(thinresnet.__path__, "thinresnet."):
        if module.name not in _LAST and not module.name.endswith(("ffcv_parts", "ffcv_writer", "cluster", "tracking")):
            importlib.import_module(module.name)
    codecs.lookup("utf-8-sig")  # a module too, which another user may not be able to read
    gc.freeze()
    atexit.register(gc.unfreeze)  # extensions complain of what is never freed
    gc.enable()


def draw_once(folder: Path) -> None:
    """Keep what charts are drawn as: the renderer takes seconds to start, and draws the same each time."""
    folder.mkdir()
    for name in ("javascript_bundle", "vegalite_to_png", "vegalite_to_svg", "vegalite_to_pdf"):
        setattr(vl_convert, name, _kept(getattr(vl_convert, name), folder))


def _kept(draw: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    @functools.wraps(draw)
    def call(*args: Any, **kwargs: Any) -> Any:
        asked = repr((draw.__name__, args, sorted(kwargs.items())))
        path = folder / hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            return pickle.loads(path.read_bytes())
        drawn = draw(*args, **kwargs)
        with contextlib.suppress(OSError):
            path.write_bytes(pickle.dumps(drawn))
        return drawn

    return call


def run(
    arguments: tuple[str, ...],
    folder: Path,
    *,
    before: Callable[[], object] = lambda: None,
    seconds: float = LONGEST_SECONDS,
    killed_after: float | None = None,
) -> Ended:
    """Run a command line as the console script would, in `folder`; `before` is called in the child.

    It hangs if it takes so many seconds of the processor, or waits as long for anything else than the processor, which
    a busy machine may not give it. It is killed once it has taken `killed_after` seconds of the processor.
    """
    started = time.monotonic()
    output, errors = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        _become(arguments, folder, before, output[1], errors[1])
    with contextlib.suppress(OSError):  # here too: whoever comes first, the group is there before it is killed
        os.setpgid(process, process)
    for writing in (output[1], errors[1]):
        os.close(writing)
    texts = {output[0]: b"", errors[0]: b""}
    watch = _Watch(process, seconds)
    over, waiting = False, set(texts)
    tick = min(_TICK_SECONDS, seconds) if killed_after is None else 0.002
    while waiting and not over:
        ready, _, _ = select.select(list(waiting), [], [], tick)
        over = watch.hangs() if killed_after is None else watch.cpu_seconds() >= killed_after
        for handle in ready:
            texts[handle] += (part := os.read(handle, 1 << 16))
            if not part:
                waiting.discard(handle)
    if over:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # what it has started ends with it
    _, status, used = os.wait4(process, 0)
    for handle in texts:
        os.close(handle)
    said = [text.decode(errors="replace") for text in texts.values()]
    code, cpu = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
    return Ended(code, *said, time.monotonic() - started, cpu, used.ru_maxrss / 1024, over and killed_after is None)


class _Watch:
    """How much of the processor a process has had, and whether it waits for anything else."""

    def __init__(self, process: int, seconds: float) -> None:
        self._process, self._seconds = process, seconds
        self._busy_until, self._had = time.monotonic(), 0.0

    def cpu_seconds(self) -> float:
        """Of the process alone, all of its threads."""
        with contextlib.suppress(OSError):  # it has just ended
            return time.clock_gettime((~self._process << 3) | 2)  # clock_getcpuclockid(3), which Python has not
        return 0.0

    def hangs(self) -> bool:
        now, had = time.monotonic(), self.cpu_seconds()
        if had > self._had or self._wants_the_processor():
            self._busy_until, self._had = now, had
        return had > self._seconds or now - self._busy_until > self._seconds

    def _wants_the_processor(self) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self._process}/stat").read_text().rpartition(")")[2].split()[0] in ("R", "D")
        return False


def _become(
    arguments: tuple[str, ...], folder: Path, before: Callable[[], object], output: int, errors: int
) -> NoReturn:
    """The child: it ends here."""
    code = 1
    try:
        os.chdir(folder)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for handle, stream in ((nothing, 0), (output, 1), (errors, 2)):
            os.dup2(handle, stream)
        for handle in (nothing, output, errors):
            os.close(handle)
        # pytest's own replacements hold what other tests have printed.
        sys.stdin, sys.stdout, sys.stderr = (
            open(stream, mode, encoding="utf-8", errors=how)  # noqa: PTH123, SIM115
            for stream, mode, how in ((0, "r", "strict"), (1, "w", "strict"), (2, "w", "backslashreplace"))
        )
        sys.argv = ["thinresnet", *arguments]
        os.environ["THINRESNET_CACHE"] = "cache"  # in the folder, where it is disturbed and compared like all else
        before()
        thinresnet.cli.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
