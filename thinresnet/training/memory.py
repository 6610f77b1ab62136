"""The C library's memory, told to keep what training frees, because the next step asks for the same again.

Left to itself, glibc gives activations of a few MiB back to the system after each step and takes them anew in the next:
thousands of page faults a step, up to a third of the time of a compiled step of a thin network on two cores.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of mallopt(3)
_KEEP_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Keep blocks of up to a GiB, and up to a GiB of them at the end of the heap; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Naming either threshold ends their adaptation, so that both are named.
    return bool(mallopt(_MMAP_THRESHOLD, _KEEP_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, _KEEP_BYTES))
