"""From the host to the training device without waiting for it: small tensors in one copy, constants kept there."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

_ALIGNED = 16  # bytes; every type of number may begin there


def moved(device: torch.device, *tensors: Tensor) -> list[Tensor]:
    """The tensors on the device: by one copy from pinned memory, for which the host does not wait."""
    if device.type == "cpu" or not tensors:
        return list(tensors)
    starts, total = [], 0
    for tensor in tensors:
        starts.append(total)
        total += -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED
    parcel = torch.empty(total, dtype=torch.uint8, pin_memory=device.type == "cuda")
    spans = [slice(start, start + one.numel() * one.element_size()) for start, one in zip(starts, tensors, strict=True)]
    for span, tensor in zip(spans, tensors, strict=True):
        parcel[span] = tensor.contiguous().flatten().view(torch.uint8)
    there = parcel.to(device, non_blocking=True)
    return [there[span].view(one.dtype).view(one.shape) for span, one in zip(spans, tensors, strict=True)]


@functools.lru_cache(maxsize=64)
def constant(values: tuple[float, ...], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """A tensor of these numbers on the device, made once."""
    return torch.tensor(values, device=device).view(shape)


def ahead(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The same batches; on a GPU each is prepared on a stream of its own while the one before is trained on."""
    if device.type != "cuda":
        yield from batches
        return
    side, source = torch.cuda.Stream(device), iter(batches)
    side.wait_stream(torch.cuda.current_stream(device))

    def prepared() -> tuple[Tensor, Tensor] | None:
        with torch.cuda.stream(side):
            return next(source, None)

    following = prepared()
    while (batch := following) is not None:
        training = torch.cuda.current_stream(device)
        training.wait_stream(side)
        for tensor in batch:
            tensor.record_stream(training)  # its memory is not given away before training is through with it
        following = prepared()
        yield batch
