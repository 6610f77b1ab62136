"""A pretend accelerator: real values on the CPU, and every tensor knows on which device it would be.

Inside `Pretend("cuda")` a tensor that was moved to `cuda` says so, an operation on tensors of two devices is refused as
CUDA refuses it, and what would launch a kernel, or make the host wait for the device, is counted. Nothing is computed
on another device, so that whatever trains on a CPU runs under it.

Two modes do it. The one over functions sees the devices that a program asks for and what it reads of a tensor; the one
over dispatch sees every operation, those of the backward pass too. The device belongs to the storage: views share it.

What CUDA allows is allowed: a CPU tensor of no dimensions among pointwise operations, and CPU indices into a tensor of
the device (which wait for their copy). `Pretend("mps")` has no float64.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from thinresnet.training.data.transfer import constant

CPU = torch.device("cpu")
# What reads a number of elements or a value of the device, beside `_local_scalar_dense` (item, bool, float, int).
_WAITS = {
    "_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique", "_unique2", "unique_dim",
    "unique_consecutive", "bincount", "equal", "is_nonzero", "histc", "nonzero_numpy", "argwhere",
}  # fmt: skip
_NO_KERNEL = {
    "empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "empty_permuted", "detach", "alias",
    "_unsafe_view", "lift_fresh", "lift", "_reshape_alias", "set_", "resize_", "detach_", "squeeze_", "unsqueeze_",
}  # fmt: skip
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
# These take values, or a result that is written to, from another device.
_COPIES = {"_to_copy", "to", "copy_", "copy", "set_"}
_GETTERS = {getattr(Tensor, name).__get__: name for name in ("device", "is_cuda", "is_cpu", "is_mps")}


class MixedDevicesError(RuntimeError):
    """What CUDA refuses; the message is torch's."""


class Pretend:
    """The modes, the counts, and the stand-ins for what a build of torch without CUDA lacks."""

    def __init__(self, kind: str = "cuda") -> None:
        self.device = torch.device(kind)
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()  # synchronisations of the host with the device, by what asks for them
        self._places: dict[int, tuple[StorageWeakRef, torch.device]] = {}
        self._pinned: dict[int, StorageWeakRef] = {}
        self.calls: list[_Call] = []

    @contextlib.contextmanager
    def counting(self) -> Iterator[SimpleNamespace]:
        """Counts of what happens inside, by name."""
        before = self.operations.copy(), self.waits.copy()
        found = SimpleNamespace(operations=Counter(), waits=Counter())
        yield found
        found.operations, found.waits = self.operations - before[0], self.waits - before[1]

    def __enter__(self) -> Pretend:
        constant.cache_clear()  # those of another pretended device
        self._stack = contextlib.ExitStack()
        # Of bfloat16 oneDNN's kernel for a gradient leaves memory as it was (see check_bfloat16): no GPU has that.
        was = torch.backends.mkldnn.enabled
        torch._C._set_mkldnn_enabled(False)
        self._stack.callback(torch._C._set_mkldnn_enabled, was)
        for stand_in in _stand_ins(self):
            self._stack.enter_context(stand_in)
        self._stack.enter_context(_Dispatch(self))
        self._stack.enter_context(_Functions(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- where a tensor is --------------------------------------------------------------------------------------------

    def place(self, tensor: Tensor) -> torch.device:
        """The device of a tensor."""
        if tensor.layout != torch.strided or _real_device(tensor).type != "cpu":
            return _real_device(tensor)
        found = self._places.get(tensor.untyped_storage()._cdata)
        return CPU if found is None else found[1]

    def put(self, tensor: Tensor, device: torch.device) -> None:
        """Say that a tensor's storage is on that device."""
        if tensor.layout != torch.strided or _real_device(tensor).type != "cpu":
            return
        storage = tensor.untyped_storage()
        if device.type == "cpu":
            self._places.pop(storage._cdata, None)
            return
        if len(self._places) > 5000:  # a reference keeps an address from being used again, and has to go at last
            self._places = {key: one for key, one in self._places.items() if not one[0].expired()}
        # A tensor's own device has a number, one that is asked for may have none, as on CUDA.
        whole = torch.device(device.type, device.index or 0) if device.type == "cuda" else device
        self._places[storage._cdata] = (StorageWeakRef(storage), whole)
        if device.type == "mps" and tensor.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor in pinned memory."""
        copy = tensor.detach().clone()
        storage = copy.untyped_storage()
        self._pinned = {key: one for key, one in self._pinned.items() if not one.expired()}
        self._pinned[storage._cdata] = StorageWeakRef(storage)
        return copy

    def pinned(self, tensor: Tensor) -> bool:
        """Whether a tensor is in pinned memory."""
        return tensor.untyped_storage()._cdata in self._pinned

    def there(self, device: object) -> bool:
        """Whether a device that is asked for is the pretended one."""
        return device is not None and torch.device(device).type == self.device.type  # type: ignore[arg-type]

    def wait(self, what: str) -> None:
        """The host waits for the device."""
        self.waits[f"{what} at {_asked_at()}"] += 1


class _Call:
    """A call of a torch function: the device that it names, and that of its tensors."""

    def __init__(self, wanted: torch.device | None, inferred: torch.device | None, non_blocking: bool) -> None:
        self.wanted, self.inferred, self.non_blocking = wanted, inferred, non_blocking


class _Functions(TorchFunctionMode):
    """What a program says of devices."""

    def __init__(self, pretend: Pretend) -> None:
        super().__init__()
        self.pretend = pretend

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        pretend, kwargs = self.pretend, dict(kwargs or {})
        if func in _GETTERS:
            return self._read(_GETTERS[func], args[0])
        name = getattr(func, "__name__", "")
        if name == "_parse_to":  # of Module.to, which then moves every tensor
            return func(*args, **kwargs)
        if func is Tensor.backward:  # the engine calls functions written in Python: they see devices too
            with self:
                return torch.autograd.backward(
                    args[0], kwargs.get("gradient"), kwargs.get("retain_graph"), kwargs.get("create_graph", False)
                )
        if name in ("to", "cpu", "cuda", "numpy", "__array__", "tolist", "pin_memory", "is_pinned"):
            handled = getattr(self, f"_{name.strip('_')}")(func, *args, **kwargs)
            if handled is not NotImplemented:
                return handled
        wanted = kwargs.get("device")
        wanted = torch.device(wanted) if wanted is not None else None
        if wanted is not None and pretend.there(wanted):
            kwargs["device"] = CPU
        self._check_generator(kwargs.get("generator"), wanted, args)
        pin = bool(kwargs.pop("pin_memory", False))
        result = self._called(func, args, kwargs, wanted)
        if name in ("tensor", "as_tensor", "new_tensor", "__deepcopy__") and isinstance(result, Tensor):
            own = pretend.place(args[0]) if name in ("new_tensor", "__deepcopy__") else None
            device = wanted or own
            if device is not None and device.type == pretend.device.type:
                if name != "__deepcopy__" and pretend.place(result) == CPU:
                    pretend.wait(name)
                pretend.put(result, device)
        return pretend.pin(result) if pin else result

    def _called(self, func: Any, args: Any, kwargs: Any, wanted: torch.device | None, quick: bool = False) -> Any:
        tensors = itertools.chain(_tensors(args), _tensors(kwargs))
        there = next(
            (place for place in map(self.pretend.place, tensors) if place.type == self.pretend.device.type), None
        )
        self.pretend.calls.append(_Call(wanted, there, quick or bool(kwargs.get("non_blocking"))))
        try:
            return func(*args, **kwargs)
        finally:
            self.pretend.calls.pop()

    def _check_generator(self, generator: Any, wanted: torch.device | None, args: Any) -> None:
        """A generator draws on its own device only."""
        if generator is None:
            return
        place = wanted or (self.pretend.place(args[0]) if args and isinstance(args[0], Tensor) else CPU)
        if generator.device.type != place.type:
            raise RuntimeError(f"Expected a '{place.type}' device type for generator but found '{generator.device}'")

    def _read(self, name: str, tensor: Tensor) -> Any:
        place = self.pretend.place(tensor)
        return place if name == "device" else place.type == name.removeprefix("is_")

    def _to(self, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        place, device, dtype = self.pretend.place(tensor), kwargs.pop("device", None), kwargs.pop("dtype", None)
        other = kwargs.pop("other", None)
        flags = [arg for arg in args if isinstance(arg, bool)]
        for arg in args:
            if isinstance(arg, Tensor):
                other = arg
            elif isinstance(arg, torch.dtype):
                dtype = arg
            elif isinstance(arg, str | torch.device | int) and not isinstance(arg, bool):
                device = f"{self.pretend.device.type}:{arg}" if isinstance(arg, int) else arg
        if other is not None:
            device, dtype = self.pretend.place(other), other.dtype
        if device is not None and torch.device(device).type == "meta":
            return NotImplemented
        kwargs.setdefault("non_blocking", flags[0] if flags else False)
        kwargs.setdefault("copy", flags[1] if len(flags) > 1 else False)
        target = place if device is None else torch.device(device)
        kwargs["copy"] |= target.type != place.type
        return self._called(func, (tensor, dtype or tensor.dtype), kwargs, target)

    def _cpu(self, func: Any, tensor: Tensor, **kwargs: Any) -> Tensor:
        return self._to(Tensor.to, tensor, "cpu")

    def _cuda(self, func: Any, tensor: Tensor, device: Any = None, **kwargs: Any) -> Tensor:
        return self._to(Tensor.to, tensor, device or "cuda", **kwargs)

    def _numpy(self, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.pretend.there(place := self.pretend.place(tensor)):
            raise TypeError(f"can't convert {place} device type tensor to numpy. Use Tensor.cpu() first.")
        return NotImplemented

    _array = _numpy

    def _tolist(self, func: Any, tensor: Tensor) -> Any:
        if not self.pretend.there(self.pretend.place(tensor)):
            return NotImplemented
        self.pretend.wait("tolist")
        with torch.utils._python_dispatch._disable_current_modes():
            return func(tensor)

    def _pin_memory(self, func: Any, tensor: Tensor, *args: Any) -> Tensor:
        assert not self.pretend.there(self.pretend.place(tensor)), "only CPU tensors can be pinned"
        return self.pretend.pin(tensor)

    def _is_pinned(self, func: Any, tensor: Tensor, *args: Any) -> bool:
        return self.pretend.pinned(tensor)


class _Dispatch(TorchDispatchMode):
    """Every operation: whether its tensors are together, and what it costs."""

    def __init__(self, pretend: Pretend) -> None:
        super().__init__()
        self.pretend = pretend

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        pretend, kwargs = self.pretend, dict(kwargs or {})
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "meta":
            return func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        call = pretend.calls[-1] if pretend.calls else _Call(None, None, False)
        device, inputs = self._device(func, name, args, kwargs, call)
        result = func(*args, **kwargs)
        there = pretend.there(device)
        if there and name not in _NO_KERNEL and not _is_view(func):
            pretend.operations[name] += 1
        if there and name in _WAITS:
            pretend.wait(name)
        if name in _COPIES:
            self._copied(name, args, inputs, device, kwargs, call)
        if name in ("copy_", "set_"):
            return result
        for one in _tensors(result):
            pretend.put(one, device)
        return result

    def _device(self, func: Any, name: str, args: Any, kwargs: Any, call: _Call) -> tuple[torch.device, list[Tensor]]:
        """Where the result will be; refused where the tensors are not together."""
        pretend = self.pretend
        inputs = [*_tensors(args), *_tensors(kwargs)]
        if not inputs:
            return call.wanted or call.inferred or CPU, inputs
        if call.wanted is not None and (name in ("_to_copy", "to", "clone") or _takes_device(func)):
            return call.wanted, inputs
        if name in _COPIES:
            return pretend.place(inputs[0]), inputs
        checked = inputs
        if name in _INDEXED:
            whole = args[0] if isinstance(args[0], Tensor) else inputs[0]
            indices = list(_tensors(args[1]))
            if pretend.there(pretend.place(whole)):
                checked = [one for one in inputs if not any(one is index for index in indices)]
                checked = [one for one in checked if one.dim()]
                for index in indices:
                    if index.dtype in (torch.bool, torch.uint8):
                        pretend.wait(f"{name} by a mask")
                    elif pretend.place(index) == CPU:
                        pretend.wait(f"{name} by indices on the CPU")
                checked = checked or [whole]
        places = {pretend.place(one) for one in checked}
        if len(places) > 1 and (torch.Tag.pointwise in func.tags or name.startswith("_foreach") or name == "where"):
            places = {pretend.place(one) for one in checked if one.dim()} or places
        if len(places) > 1:
            found = " and ".join(sorted(map(str, places)))
            raise MixedDevicesError(
                f"Expected all tensors to be on the same device, but found at least two devices, {found}! ({func})"
            )
        return places.pop(), inputs

    def _copied(
        self, name: str, args: Any, inputs: list[Tensor], device: torch.device, kwargs: Any, call: _Call
    ) -> None:
        """A copy between devices: without waiting only from pinned memory, or to it."""
        source = inputs[-1] if name.startswith("copy") else inputs[0]
        before = self.pretend.place(source)
        if before.type == device.type or not (self.pretend.there(before) or self.pretend.there(device)):
            return
        quick = call.non_blocking or bool(kwargs.get("non_blocking")) or (name == "copy_" and len(args) > 2 and args[2])
        if not (quick and self.pretend.pinned(source if self.pretend.there(device) else inputs[0])):
            self.pretend.wait(f"copy from {before.type} to {device.type}")


class _Generator(torch.Generator):
    """A generator that says that it is on the device."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        found: _Generator = super().__new__(cls, "cpu")
        found.pretended = torch.device(device)  # type: ignore[attr-defined]
        return found

    @property
    def device(self) -> torch.device:
        return self.pretended  # type: ignore[attr-defined,no-any-return]


class _Stream:
    """A stream, or an event on it: all is done at once here."""

    def __init__(self, *_: object, **__: object) -> None:
        self.waited: list[object] = []

    def wait_stream(self, other: object) -> None:
        self.waited.append(other)

    wait_event = record_event = wait_stream

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _stand_ins(pretend: Pretend) -> Iterator[Any]:
    """What this build of torch refuses, in place while it is pretended; autocast is the CPU's."""
    autocast, scaler, on = torch.amp.autocast, torch.amp.GradScaler, pretend.device.type

    class Autocast(autocast):  # type: ignore[misc,valid-type]
        def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
            super().__init__("cpu" if device_type == on else device_type, *args, **kwargs)

    class Scaler(scaler):  # type: ignore[misc,valid-type]
        def __init__(self, device: str = "cuda", *args: Any, **kwargs: Any) -> None:
            super().__init__("cpu", *args, **kwargs)

        def _lazy_init_scale_growth_tracker(self, dev: torch.device) -> None:
            super()._lazy_init_scale_growth_tracker(dev)
            for one in (self._scale, self._growth_tracker):
                pretend.put(one, pretend.device)

    def traced(*args: Any, **kwargs: Any) -> Any:  # for the MACs of a network on the CPU: the modes hide its operations
        with torch._C.DisableTorchFunction(), torch.utils._python_dispatch._disable_current_modes():
            return trace(*args, **kwargs)

    def record_stream(tensor: Tensor, stream: object) -> None:
        assert pretend.there(pretend.place(tensor)), "record_stream is for tensors of the device"

    trace, stream = torch.jit._get_trace_graph, _Stream()
    yield mock.patch("fvcore.nn.jit_analysis._get_trace_graph", traced)
    yield mock.patch.object(Tensor, "record_stream", record_stream)
    yield mock.patch.object(torch, "Generator", _Generator)
    for owner in (torch, torch.amp, torch.amp.autocast_mode):
        yield mock.patch.object(owner, "autocast", Autocast)
    yield mock.patch.object(torch.amp, "GradScaler", Scaler)
    if on == "cuda":
        yield mock.patch.multiple(
            torch.cuda,
            Stream=_Stream, Event=_Stream, stream=lambda one: one or stream, current_stream=lambda *_: stream,
            synchronize=lambda *_: pretend.wait("synchronize"), max_memory_allocated=lambda *_: 2**20,
            get_device_name=lambda *_: "a pretended GPU", is_bf16_supported=lambda **_: True,
            get_device_capability=lambda *_: (9, 0),
            get_device_properties=lambda *_: SimpleNamespace(L2_cache_size=2**22, multi_processor_count=1),
        )  # fmt: skip


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists and dicts; torch's own walk over them takes longer than the operations."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)


def _real_device(tensor: Tensor) -> torch.device:
    """The device that torch knows, whichever mode is on."""
    with torch._C.DisableTorchFunction():
        return tensor.device


def _takes_device(func: Any) -> bool:
    return any(argument.name == "device" for argument in func._schema.arguments)


def _is_view(func: Any) -> bool:
    returned = func._schema.returns
    return bool(returned) and all(one.alias_info is not None and not one.alias_info.is_write for one in returned)


def _asked_at() -> str:
    """The innermost line of the product that is running, or of what calls it where there is none."""
    frame, first = sys._getframe(1), None
    while frame is not None:
        name = frame.f_code.co_filename
        if "/thinresnet/" in name:
            return f"{name.rpartition('/')[2]}:{frame.f_lineno}"
        if first is None and "/torch/" not in name and not name.endswith("pretend.py"):
            first = f"{name.rpartition('/')[2]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return first or "?"
