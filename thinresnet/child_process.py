"""The beginning of a child process: its environment, before anything that reads it is imported. Standard library only.

CUDA reads which GPUs there are once, so a child must know its own before torch is asked for any.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
from collections.abc import Mapping
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from thinresnet.stopping import REQUEUE_EXIT_CODE, stop_with_parent


def begin(environment: Mapping[str, str]) -> None:
    """Take the environment on, and stop when the parent does.

    Garbage is not looked for until `imported`: what a pickled call imports is none.
    """
    gc.disable()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a training makes it a request to stop; nothing else ends by it
    stop_with_parent()
    end_if_alone()  # it may have ended before that


def imported() -> None:
    """All that the call needs is imported: from now on there is garbage."""
    gc.enable()


def end_if_alone() -> None:
    """End where the parent has: a worker without one would wait for the next piece of work for ever."""
    parent = parent_process()
    if parent is None or not parent.is_alive():
        os._exit(REQUEUE_EXIT_CODE)


def answer(environment: Mapping[str, str], call: bytes, answers: Connection) -> None:
    """Send what a pickled function returns for its pickled arguments, or the error that it raised."""
    begin(environment)
    function, *arguments = pickle.loads(call)
    imported()
    try:
        answers.send((function(*arguments), None))
    except Exception as error:
        answers.send((None, error))
