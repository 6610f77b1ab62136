"""Descriptions: what JSON is read, what is refused, and how little a stranger's file can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.networks import build, describe, parse_network, read_network, scale

NETWORK = scale("resnet20_cifar", width=0.5)


@settings(max_examples=20, deadline=None)
@given(width=st.floats(0.05, 3), classes=st.integers(2, 200))
def test_text_and_back(width: float, classes: int) -> None:
    network = scale("resnet20_cifar", width=width, num_classes=classes)
    text = network.to_json()
    assert parse_network(text) == network
    assert parse_network(text).to_json() == text
    assert parse_network(text).sha256 == network.sha256


def test_key_order_does_not_matter() -> None:
    content = json.loads(NETWORK.to_json())
    content["channels"] = dict(reversed(content["channels"].items()))
    assert parse_network(json.dumps(content)).sha256 == NETWORK.sha256


def test_build_takes_names_json_and_files(tmp_path: Path) -> None:
    file = tmp_path / "network.json"
    file.write_text(NETWORK.to_json())
    built = [build(NETWORK), build(NETWORK.to_json()), build(file), build(str(file)), build(tmp_path)]
    built += [build("resnet20_cifar", width=0.5), build("resnet20_cifar", channels=NETWORK.channels)]
    assert {sum(p.numel() for p in model.parameters()) for model in built} == {68_050}


def test_tied_layers_may_be_named_instead_of_their_group() -> None:
    network = describe("resnet50", channels={"layer1.2.conv3": 200, "layer1.0.bn1": 30})
    assert (network.channels["layer1.0.conv3"], network.channels["layer1.0.conv1"]) == (200, 30)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"layer9.conv": 3}, "no group 'layer9.conv'"),
        ({"layer1.0.conv11": 3}, "did you mean 'layer1.0.conv1'"),
        ({"conv1": 0}, "at least 1"),
        ({"conv1": -4}, "at least 1"),
        ({"conv1": 2.0}, "integer"),
        ({"conv1": True}, "integer"),
        ({"conv1": "8"}, "integer"),
        ({"conv1": 8, "layer1.0.conv2": 9}, "are tied"),
        ({"conv1": 10**12}, "parameters; at most"),
    ],
)
def test_bad_channels(channels: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        describe("resnet20_cifar", channels=channels)


def test_counts_that_break_a_grouped_convolution() -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        describe("resnext50_32x4d", channels={"layer1.0.conv1": 100})


def _changed(**changes: Any) -> str:
    return json.dumps({**json.loads(NETWORK.to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "not a JSON object"),
        ("{", "not valid JSON"),
        ('{"arch": "resnet18"}', "'format' is missing"),
        ("[" * 100_000, "not valid JSON"),
        (_changed(format=2), "format: takes 1"),
        (_changed(arch=3), "arch: takes a string, got 3"),
        (_changed(arch="os.system"), "unknown architecture"),
        (_changed(arch="hf-hub:someone/model"), "unknown architecture"),
        (_changed(kwargs=[]), "kwargs: takes a mapping of names to values, got"),
        (_changed(kwargs={"pretrained": True}), "not a property of an architecture"),
        (_changed(kwargs={"checkpoint_path": "/etc/passwd"}), "not a property of an architecture"),
        (_changed(kwargs={"nonsense": 1}), "cannot be made"),
        (_changed(kwargs={"shortcut": None}), "leave it out"),
        (_changed(kwargs={"depths": "many"}), "cannot be made"),
        (_changed(input_size=[3, 32]), "input_size"),
        (_changed(input_size=[3, 32, 10**9]), "input_size"),
        (_changed(input_size=[3, 32, 32.5]), "input_size"),
        (_changed(channels={"conv1": 8}), "no count for"),
        (_changed(chanels={}), "did you mean 'channels'"),
        (NETWORK.to_json().replace('"conv1": 8', '"conv1": NaN'), "not valid JSON"),
        (NETWORK.to_json().replace('"conv1": 8', '"conv1": 8, "conv1": 9'), "stands twice"),
        ('{"a": "' + "x" * (5 << 20) + '"}', "at most"),
    ],
)
def test_bad_json(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        parse_network(text, where="their.json")
    assert str(refusal.value).startswith(("their.json: ", "their.json, line 1: "))
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


@settings(max_examples=100, deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    key=st.sampled_from(["format", "arch", "kwargs", "input_size", "channels", "more"]),
)
def test_any_value_anywhere_is_read_or_refused(value: Any, key: str) -> None:
    text = json.dumps({**json.loads(NETWORK.to_json()), key: value})
    try:
        assert parse_network(text) == NETWORK
    except InputError:
        return


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json: cannot be read"):
        read_network(tmp_path / "nothing.json")
