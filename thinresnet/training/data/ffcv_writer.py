"""FFCV's DatasetWriter, which ends with an error where one of its processes does. Importing this imports FFCV."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Iterable
from multiprocessing import Process, Queue, Value
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.rgb_image import IMAGE_MODES
from ffcv.memory_allocator import MemoryAllocator
from ffcv.writer import DatasetWriter

from thinresnet.errors import InputError
from thinresnet.progress import Progress

_CHUNK = 64


class ImageField(RGBImageField):
    """FFCV's image field, which also stores JPEG files as they are: FFCV's own compresses everything anew."""

    def __init__(self, max_resolution: int | None, jpeg_quality: int):
        super().__init__("raw", max_resolution)
        self.jpeg = RGBImageField("jpg", max_resolution, jpeg_quality=jpeg_quality)

    def encode(self, destination: Any, image: tuple[Any, ...], malloc: Callable[..., Any]) -> None:
        """Called by FFCV in a writing process."""
        content, *rest = image
        if isinstance(content, bytes):
            destination["mode"] = IMAGE_MODES["jpg"]
            destination["height"], destination["width"] = rest
            destination["data_ptr"], storage = malloc(len(content))
            storage[:] = np.frombuffer(content, np.uint8)
        elif rest[0]:
            self.jpeg.encode(destination, content, malloc)
        else:
            super().encode(destination, content, malloc)


class Writer(DatasetWriter):
    """FFCV waits for ever for a process that has died, on a full disk for one, and draws a bar of its own."""

    what: str
    progress: Progress
    rows: Any

    def _write_common(
        self, num_samples: int, queue_content: Iterable[Any], work_fn: Callable[..., Any], extra_worker_args: Any
    ) -> None:
        self.num_samples = num_samples
        self.prepare()
        work: Any = Queue()
        made: Any = Queue()
        for todo in [*queue_content, *[None] * self.num_workers]:
            work.put(todo)
        done, failed = Value(ctypes.c_uint64, 0), Value(ctypes.c_int, 0)
        allocator = MemoryAllocator(self.fname, self.data_region_start, self.page_size)
        given = work, self.metadata_sm, self.metadata_type, self.fields, allocator, done, made, *extra_worker_args
        processes = [Process(target=_guarded, args=(work_fn, failed, *given)) for _ in range(self.num_workers)]
        try:
            for process in processes:
                process.start()
            self.finalize(self._watched(processes, done, made, failed))
        finally:
            for process in processes:
                process.terminate()
                process.join()
            work.cancel_join_thread()
            self.metadata_sm.close()
            self.metadata_sm.unlink()

    def _watched(self, processes: list[Process], done: Any, made: Any, failed: Any) -> list[Any]:
        """Wait for what each process has written where; end as soon as one of them cannot go on."""
        allocations: list[Any] = []
        finished, told = 0, -1
        while finished < len(processes):
            try:
                allocations.extend(made.get(timeout=0.05))
                finished += 1
            except Empty:
                pass
            if self.rows.error.value:
                raise InputError(self.rows.error.value.decode(errors="replace"))
            if failed.value:
                raise OSError(failed.value, os.strerror(failed.value), str(self.fname))
            ended = [process.exitcode for process in processes if process.exitcode]
            if ended:
                raise InputError(f"{self.fname}: a writing process ended with code {ended[0]}; is memory short?")
            if done.value != told and done.value:
                told = done.value
                self.progress(self.what, told, self.num_samples)
        return allocations


def _guarded(work: Callable[..., Any], failed: Any, *given: Any) -> None:
    """A writing process: what the system refused is told by its number, without a trace; its parent ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        work(*given)
    except OSError as error:
        failed.value = error.errno or -1
        os._exit(1)


def write(part: Path, rows: Any, page_bytes: int, what: str, progress: Progress) -> None:
    """Write the rows to `part`."""
    encoding = rows.encoding
    fields = {"image": ImageField(encoding.max_resolution, encoding.jpeg_quality), "label": IntField()}
    workers = max(1, min(os.cpu_count() or 1, len(rows) // _CHUNK))
    writer = Writer(str(part), fields, page_size=page_bytes, num_workers=workers)
    writer.what, writer.progress, writer.rows = what, progress, rows
    writer.from_indexed_dataset(rows, chunksize=_CHUNK)
    if int(writer.header["alloc_table_ptr"]) % page_bytes:  # FFCV does not look whether a page was written whole
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))
