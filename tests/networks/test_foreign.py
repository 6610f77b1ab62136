"""Foreign weights: the logits of the code that they come from, channels read off, and what is refused in words.

`foreign_logits.json` holds logits that the authors' own code gave in float64: for weights by a formula (always tested)
and for public files, which are no part of this repository (tested where THINRESNET_WEIGHTS names their folder).
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from thinresnet.errors import InputError
from thinresnet.networks import build, count, describe, load_weights, scale
from thinresnet.networks.foreign import BY_ORDER, Foreign, adopt, read_state

STORED: dict[str, Any] = json.loads(Path(__file__).with_name("foreign_logits.json").read_text(encoding="utf-8"))
State = dict[str, Tensor]


def _images(side: int) -> Tensor:
    values = torch.sin(torch.arange(2 * 3 * side * side, dtype=torch.float64) * 0.37)
    return values.reshape(2, 3, side, side) * 1.5


def _formula(name: str, shape: tuple[int, ...]) -> Tensor:
    """Values of a tensor from its foreign name and shape."""
    shift = zlib.crc32(name.encode()) % 1000 / 1000
    values = torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * (0.7 + shift) + shift).reshape(shape)
    if name.endswith("running_var"):
        return 1 + 0.5 * values
    if len(shape) == 1:
        return 0.5 + 0.3 * values if name.endswith("weight") else 0.2 * values
    return values * math.sqrt(4 / math.prod(shape[1:]))


def _theirs(name: str) -> str:
    """Our name of a tensor as the ThinResNet authors call it."""
    return name.replace("conv1.", "embed.0.", 1) if name.startswith("conv1.") else (
        name.replace("bn1.", "embed.1.", 1) if name.startswith("bn1.") else name
    )  # fmt: skip


def _authors(what: str, classes: int = 10, **kwargs: Any) -> State:
    """A state dict of a network as the ThinResNet authors' code would write it, with values by the formula."""
    state = build(describe(what, num_classes=classes, **kwargs), seed=0).state_dict()
    return {
        _theirs(name): tensor if tensor.dim() == 0 else _formula(_theirs(name), tuple(tensor.shape))
        for name, tensor in state.items()
    }


def _classic(depth: int) -> State:
    """The same in the names of pytorch_resnet_cifar10, without counters, as old PyTorch wrote them."""
    state = build(describe(f"resnet{depth}_cifar", shortcut="A-strided"), seed=0).state_dict()
    renamed = {name.replace("fc.", "linear."): tensor for name, tensor in state.items() if tensor.dim()}
    return {name: _formula(name, tuple(tensor.shape)) for name, tensor in renamed.items()}


def _logits(adopted: Any, side: int, every: int) -> Tensor:
    model = build(adopted.network)
    model.load_state_dict(adopted.state)
    with torch.no_grad():
        return model.double().eval()(_images(side))[:, ::every]


def _adopt(state: State, arch: str | None = None, **kwargs: Any) -> Any:
    return adopt(Foreign(Path("weights.pt"), state, ""), arch, **kwargs)


@pytest.mark.parametrize("name", STORED["formula"])
def test_logits_are_those_of_the_authors_code(name: str) -> None:
    stored = STORED["formula"][name]
    state = _classic(20) if name == "resnet20_cifar" else _authors(name, stored["classes"])
    adopted = _adopt(state)
    model = build(adopted.network).double().eval()
    # Adopted in single precision, as files hold them; the comparison is of the networks, so in double.
    double = {adopted.names.get(key, key): tensor for key, tensor in state.items()}
    model.load_state_dict({**adopted.state, **double})
    with torch.no_grad():
        found = model(_images(stored["side"]))[:, :: stored["every"]]
    expected = torch.tensor(stored["logits"], dtype=torch.float64)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-6)


@pytest.mark.real_weights
@pytest.mark.parametrize("name", STORED["files"])
def test_logits_of_public_files(name: str) -> None:
    found = list(Path(os.environ["THINRESNET_WEIGHTS"]).rglob(name))
    assert found, f"{name} is not below THINRESNET_WEIGHTS"
    stored = STORED["files"][name]
    adopted = adopt(read_state(found[0]))
    side = adopted.network.input_size[1]
    expected = torch.tensor(stored["logits"], dtype=torch.float64)
    assert (_logits(adopted, side, stored["every"]) - expected).abs().max() < 1e-6


def test_names_are_mapped_by_rule_and_families_recognised() -> None:
    adopted = _adopt(_authors("thinresnet20-w5"))
    assert adopted.network == describe("thinresnet20-w5", num_classes=10)
    assert adopted.names["embed.0.weight"] == "conv1.weight"
    assert adopted.rule == "the ThinResNet authors' names"
    classic = _adopt(_classic(32))
    assert (classic.network.arch, classic.network.kwargs["shortcut"]) == ("resnet32_cifar", "A-strided")
    assert classic.state["bn1.num_batches_tracked"] == 0
    assert _adopt(_authors("thinresnet50-w8", 3)).network == describe("thinresnet50-w8", num_classes=3)


def test_pruned_channels_are_read_off() -> None:
    """By an architecture's name the counts are those of the shapes; by a network's they have to be its own."""
    thin = describe("resnet20_cifar", channels={"layer1.0.conv1": 5, "layer3.1.conv1": 40}, shortcut="B")
    state = build(thin, seed=0).state_dict()
    adopted = _adopt(dict(state))
    assert dict(adopted.network.channels) == dict(thin.channels)
    with pytest.raises(InputError, match=r"layer1\.0\.conv1\.weight has shape \(5, 16, 3, 3\)"):
        _adopt(dict(state), "thinresnet20-w16")


def test_unknown_names_are_paired_by_order() -> None:
    state = {f"part{number}": tensor for number, tensor in enumerate(build(scale("vgg16_cifar")).state_dict().values())}
    state = {name: tensor for name, tensor in state.items() if tensor.dim()}
    adopted = _adopt(state, "vgg16_cifar")
    assert adopted.rule == BY_ORDER
    assert adopted.names["part0"] == "features.0.weight"
    with pytest.raises(InputError, match="its layers do not tell which network it is; name it with --arch"):
        _adopt(state)


def _nan(state: State) -> State:
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = math.nan
    return state


def _without(state: State) -> State:
    del state["layer2.0.conv2.weight"]
    return state


def _twice_as_many_classes(state: State) -> State:
    return {**state, "fc.weight": torch.zeros(20, 16), "fc.bias": torch.zeros(20)}


@pytest.mark.parametrize(
    ("spoil", "arch", "said"),
    [
        (_nan, None, "layer1.0.conv1.weight has 1 of 144 values that are not finite"),
        (_without, None, r"not weights of thinresnet20-w4: 1 of its \d+ tensors are missing .layer2.0.conv2.weight"),
        (_twice_as_many_classes, None, "has 20 outputs, not 10"),
        (lambda state: state, "thinresnet20-w5", r"has shape \(4, 3, 3, 3\); the network's channel counts make it"),
        (lambda state: state, "resnet56_cifar", "not weights of resnet56_cifar: .* are missing"),
        (lambda state: state, "resnet18", "not weights of resnet18"),
        (lambda state: state, "resnt18", "unknown architecture 'resnt18'; did you mean"),
        (lambda state: state, "thinresnet20-w99", "it is 1 to 64"),
    ],
)
def test_what_does_not_fit_is_refused(spoil: Callable[[State], State], arch: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        _adopt(spoil(_authors("thinresnet20-w4")), arch, num_classes=10)
    assert "\n" not in str(refusal.value)


# Files --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def state() -> State:
    return {name: tensor.float() for name, tensor in _authors("thinresnet20-w1").items()}


@pytest.mark.parametrize("form", ["plain", "legacy", "state_dict", "model_ema", "wrapped", "safetensors"])
def test_every_usual_form_is_read(form: str, state: State, tmp_path: Path) -> None:
    path, inside = tmp_path / "weights", ""
    if form == "safetensors":
        save_file(state, path)
    elif form == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif form == "wrapped":
        torch.save({f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}, path)
    else:
        inside = "" if form == "plain" else form
        others = {"epoch": 3, "optimizer": {"state": {}}, "state_dict": {"x": torch.zeros(1)}}
        torch.save({**others, form: state} if inside else state, path)
    found = read_state(path)
    assert found.inside == inside
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[name], tensor) for name, tensor in state.items())


def test_a_key_is_named(state: State, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"teacher": state, "state_dict": {"x": torch.zeros(1)}}, path)
    assert read_state(path, "teacher").state.keys() == state.keys()
    with pytest.raises(InputError, match=r"no key 'techer'; did you mean 'teacher'"):
        read_state(path, "techer")


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch exploded",)


def _bad_files(state: State) -> dict[str, bytes]:
    whole = io.BytesIO()
    torch.save(state, whole)
    bombs = io.BytesIO()
    torch.save({"state_dict": state, "extra": _Bomb()}, bombs)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("archive/data.pkl", bytes(1000))
    return {
        "truncated": whole.getvalue()[:-2000],
        "torch bomb": bombs.getvalue(),
        "pickle": pickle.dumps(_Bomb()),
        "plain pickle": pickle.dumps({"conv1.weight": [1.0]}),
        "text": b"MIT License",
        "empty": b"",
        "zip": archive.getvalue(),
    }


@pytest.mark.parametrize("kind", ["truncated", "torch bomb", "pickle", "plain pickle", "text", "empty", "zip"])
def test_no_file_is_unpickled_or_believed(
    kind: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    path.write_bytes(_bad_files(state)[kind])
    with pytest.raises(InputError, match=r"weights\.pt: ") as refusal:
        read_state(path)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("inside", ["model", "checkpoint"])
def test_a_pickled_model_is_read_by_those_who_trust_it(inside: str, state: State, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    model = build(describe("thinresnet20-w2", num_classes=10), seed=3)
    torch.save(model if inside == "model" else {"epoch": 3, "model": model}, path)
    with pytest.raises(InputError, match=r"would run the code that it names; .* --trust"):
        read_state(path)
    found = read_state(path, trust=True)
    assert all(torch.equal(value, found.state[name]) for name, value in model.state_dict().items())


def test_trust_in_a_file_whose_code_is_not_here_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"\x80\x04cnot_installed_here\nNet\n)\x81.")
    with pytest.raises(InputError, match=r"needs the code that wrote it .*not_installed_here"):
        read_state(path, trust=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": torch.zeros(2, dtype=torch.int8)}, "a is of type torch.int8"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "a is of type torch.complex64"),
        ({"a": torch.zeros(2).to_sparse()}, "a is sparse"),
        ({"a": torch.zeros(2), "b": "text"}, "'b' is a str"),
        ({"a": torch.zeros(2), 3: torch.zeros(2)}, "3 is a Tensor"),
        ([torch.zeros(2)], "holds a list"),
        ({"epoch": 3}, "no state dict in it; name the key that holds one with --key .it has epoch"),
    ],
)
def test_what_is_no_state_dict(value: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(value, path)
    with pytest.raises(InputError, match=said):
        read_state(path)


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinresnet.networks.foreign.LARGEST_BYTES", 4096)
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))
    with pytest.raises(InputError, match="unpacks to 100,000 bytes"):
        read_state(path)
    path.write_bytes(bytes(5000))
    with pytest.raises(InputError, match="5,000 bytes; weights are read up to 4,096"):
        read_state(path)


@given(
    body=st.binary(max_size=200), head=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", bytes(8) + b"{"])
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused_in_a_line(body: bytes, head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.pt"
    path.write_bytes(head + body)
    with pytest.raises(InputError) as refusal:
        read_state(path)
    assert "\n" not in str(refusal.value)


def test_costs_of_a_pruned_file_are_counted() -> None:
    """DepGraph's published ResNet-56: stream 12/30/25; its counts as the facts of its shapes give them."""
    channels = {"conv1": 12, "layer2.0.conv2": 30, "layer3.0.conv2": 25}
    network = describe("resnet56_cifar", channels=channels, shortcut="B")
    adopted = _adopt(dict(build(network, seed=0).state_dict()))
    assert adopted.network == describe("resnet56_cifar", channels=channels, shortcut="B", num_classes=10)
    assert count(adopted.network).macs == count(network).macs


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_other_code_go_into_a_model_that_they_fit(tmp_path: Path, wrapped: bool) -> None:
    state = _authors("thinresnet20-w2")
    file = tmp_path / "theirs.pth"
    inside = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(inside if wrapped else state, file)
    network = describe("thinresnet20-w2", num_classes=10)
    model, adopted = build(network, seed=1), adopt(read_state(file), "thinresnet20-w2")
    load_weights(model, network, file)
    assert all(torch.equal(value, adopted.state[name]) for name, value in model.state_dict().items())


def test_weights_of_another_width_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "theirs.pth"
    torch.save(_authors("thinresnet20-w2"), file)
    network = describe("thinresnet20-w3", num_classes=10)
    model = build(network, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"theirs\.pth: conv1 has 2 channels; the network has 3"):
        load_weights(model, network, file)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
