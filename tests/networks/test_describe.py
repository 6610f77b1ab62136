"""Network descriptions from strangers: keyword arguments that cannot be, and sizes that are refused before building."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thinresnet.errors import InputError
from thinresnet.networks import blueprint, parse_network, scale


def _json(arch: str, /, **kwargs: Any) -> str:
    return json.dumps({"format": 1, "arch": arch, "kwargs": kwargs, "input_size": [3, 32, 32], "channels": {}})


@pytest.mark.parametrize("name", ["arch", "complete", "channels", "input_size", "interior", "round_to", "macs", "seed"])
def test_names_of_this_projects_own_arguments(name: str) -> None:
    with pytest.raises(InputError, match=f"FILE: kwargs: '{name}' is not a property of an architecture; leave it out"):
        parse_network(_json("resnet18", **{name: 1}), where="FILE")


@pytest.mark.parametrize(
    ("arch", "kwargs", "reason"),
    [
        ("resnet18", {"layers": [1]}, r"cannot be made with .*: float division by zero"),
        ("resnet20_cifar", {"depths": [1]}, "cannot be made"),
        ("resnet20_cifar", {"depths": [-3, 1, 1]}, "at least 1 block for each stage"),
        ("resnet18", {"layers": [1, 1, 0, 1]}, "at least 1 block for each stage"),
        ("resnet18", {"layers": []}, "at least 1 block for each stage"),
        ("resnet18", {"layers": [[1], 1, 1, 1]}, "at least 1 block for each stage"),
        ("resnet18", {"layers": [1.5, 1, 1, 1]}, "at least 1 block for each stage"),
        ("resnet18", {"layers": 3}, "cannot be made"),
        ("resnet20_cifar", {"depths": [100_000, 1, 1]}, "100002 blocks; at most 1000"),
        ("resnet18", {"layers": [1] * 100_000}, "100000 numbers; at most 1000"),
        ("resnet18", {"num_classes": 10**9}, "1000000000; at most 100000 is built"),
        ("resnet18", {"base_width": -(10**9)}, "at most 100000 is built"),
        ("resnet50", {"base_width": 10**5}, r"2.76e\+13 parameters with these keyword arguments; at most 2e\+10"),
    ],
)
def test_sizes_are_refused_before_anything_is_traced(
    arch: str, kwargs: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced(*args: Any) -> None:
        raise AssertionError("traced")

    monkeypatch.setattr(blueprint, "find_ties", traced)
    with pytest.raises(InputError, match=reason) as refused:
        parse_network(_json(arch, **kwargs), where="FILE")
    assert str(refused.value).startswith("FILE: ")
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=reason):
        scale(arch, **kwargs)
