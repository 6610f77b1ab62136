"""What several processes are asked to do in test_devices: nothing that needs an import of seconds."""

from __future__ import annotations

import gc
import os
import signal

from thinresnet.errors import InputError


def rank_of(text: str) -> str:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    if os.environ["RANK"] == "1" and text == "fail":
        raise InputError("the second one fails")
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text != "go":
        signal.pause()  # as in a collective whose other side has left
    assert gc.isenabled()  # which it is not while a call's modules are imported
    return " ".join(os.environ[name] for name in names)
