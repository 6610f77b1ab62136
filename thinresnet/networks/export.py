"""Networks for other runtimes: ONNX, TorchScript and torch.export, with a free batch size, checked before use.

What is written is read again and run on images of its own at several batch sizes; its outputs are compared with the
network's. How images are prepared and the classes' names travel inside the file, under `METADATA_KEY`.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thinresnet.errors import InputError, nearest

try:
    import onnxruntime
    import onnxscript  # noqa: F401  # torch writes ONNX with it
except ImportError:  # the extra is not installed
    onnxruntime = None

METADATA_KEY = "thinresnet.json"
TOLERANCE = 1e-4
_INPUT, _OUTPUT = "images", "logits"
_EXAMPLE_BATCH, _BATCHES = 2, (1, 2, 5)
_MOST_BATCH = 65_536
_MOST_ONNX_BYTES = 2 * 10**9  # of one file of that format
_Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Exported:
    """The bytes of a file, and the largest difference of its outputs from the network's."""

    content: bytes
    difference: float


def export(
    model: nn.Module,
    input_size: tuple[int, int, int],
    to: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """The model as a file of the format `to`, refused if its outputs differ by more than `tolerance`."""
    if to not in FORMATS:
        raise InputError(f"--to {to}: one of {', '.join(FORMATS)}{nearest(to, FORMATS)}")
    write, read = FORMATS[to]
    generator = torch.Generator().manual_seed(0)
    model = model.cpu().eval()
    example = torch.randn(_EXAMPLE_BATCH, *input_size, generator=generator)
    text = json.dumps(dict(metadata or {}), allow_nan=False)
    with torch.no_grad(), warnings.catch_warnings():
        # torch points from TorchScript to torch.export; whoever asks for TorchScript has a runtime that reads it.
        warnings.simplefilter("ignore")
        try:
            content = write(model, example, text)
        except InputError:
            raise
        except Exception as error:  # torch's exporters raise many kinds for what they cannot follow
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise InputError(f"--to {to}: torch cannot export this network ({reason}); try another format") from error
        run = read(content)
        batches = [torch.randn(batch, *input_size, generator=generator) for batch in _BATCHES]
        difference = float(torch.stack([(run(images) - model(images)).abs().max() for images in batches]).max())
    if not difference <= tolerance:  # what is not a number is no match either
        raise InputError(
            f"--to {to}: outputs differ by {difference:.2g}, more than {tolerance:g}: nothing was written; "
            "allow more with --tolerance"
        )
    return Exported(content, difference)


def metadata_of(content: bytes, to: str) -> dict[str, Any]:
    """What travels inside an exported file."""
    if to == "onnx":
        meta = _session(content).get_modelmeta().custom_metadata_map
        return dict(json.loads(meta[METADATA_KEY]))
    files: dict[str, Any] = {METADATA_KEY: ""}
    load = torch.jit.load if to == "torchscript" else None
    if load is not None:
        load(io.BytesIO(content), _extra_files=files)
    else:
        torch.export.load(io.BytesIO(content), extra_files=files)
    return dict(json.loads(files[METADATA_KEY]))


def _write_onnx(model: nn.Module, example: Tensor, text: str) -> bytes:
    if onnxruntime is None:
        raise InputError("--to onnx: the packages for it are not installed: pip install 'thinresnet[onnx]'")
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props[METADATA_KEY] = text
    content = bytes(program.model_proto.SerializeToString())
    if len(content) > _MOST_ONNX_BYTES:
        raise InputError(f"--to onnx: {len(content):,} bytes; one file of that format holds {_MOST_ONNX_BYTES:,}")
    return content


def _session(content: bytes) -> Any:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def _read_onnx(content: bytes) -> _Run:
    session = _session(content)

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run([_OUTPUT], {_INPUT: images.numpy()})
        return torch.from_numpy(np.asarray(logits))

    return run


def _write_torchscript(model: nn.Module, example: Tensor, text: str) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(model, example), file, _extra_files={METADATA_KEY: text})
    return file.getvalue()


def _read_torchscript(content: bytes) -> _Run:
    loaded: _Run = torch.jit.load(io.BytesIO(content))
    return loaded


def _write_program(model: nn.Module, example: Tensor, text: str) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=_MOST_BATCH)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA_KEY: text})
    return file.getvalue()


def _read_program(content: bytes) -> _Run:
    loaded: _Run = torch.export.load(io.BytesIO(content)).module()
    return loaded


FORMATS: dict[str, tuple[Callable[[nn.Module, Tensor, str], bytes], Callable[[bytes], _Run]]] = {
    "onnx": (_write_onnx, _read_onnx),
    "torchscript": (_write_torchscript, _read_torchscript),
    "torch-export": (_write_program, _read_program),
}
