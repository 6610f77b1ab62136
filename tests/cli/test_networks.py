"""The verbs, as a shell runs them: output for people and machines, one line and code 2 for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from thinresnet.cli import counted, main
from thinresnet.networks import build, read_network, save, scale


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, with nothing in it."""
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "counted"


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["thinresnet", *words])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_count_prints_the_figures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, "count", "resnet50", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["macs"], record["params"], record["macs_ratio"]) == (4_089_184_256, 25_557_032, 1.0)
    assert _run(monkeypatch, "count", "resnet20_cifar", "--width", "0.5", "--layers") == 0
    printed = capsys.readouterr().out
    assert "10,248,512" in printed
    assert "layer3.2.conv2" in printed


def test_fit_writes_a_network_that_count_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "half.json"
    assert _run(monkeypatch, "fit", "resnet20_cifar", "--macs", "50%", "--params", "40%", "-o", str(file)) == 0
    assert f"--network {file}" in capsys.readouterr().out.replace("\n", " ")
    assert _run(monkeypatch, "count", str(file), "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["macs"] <= 0.5 * record["dense_macs"]
    assert record["params"] <= 0.4 * record["dense_params"]
    assert read_network(file).to_json() == file.read_text()


def test_fit_says_where_counts_are_odd_and_keeps_to_multiples_of_8_when_fast(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    half = ["fit", "resnet20_cifar", "--macs", "50%", "-o", str(tmp_path / "half.json")]
    assert _run(monkeypatch, *half) == 0
    printed = capsys.readouterr().out
    odd = sum(count % 8 != 0 for count in read_network(tmp_path / "half.json").channels.values())
    assert odd
    assert f"{odd} of 12 channel counts are no multiple of 8" in printed
    assert _run(monkeypatch, *half, "--fast") == 0
    assert "multiple of 8" not in capsys.readouterr().out
    assert all(count % 8 == 0 for count in read_network(tmp_path / "half.json").channels.values())
    assert _run(monkeypatch, *half, "--fast", "--round-to", "4") == 2
    assert "--fast: is --round-to 8; give one of the two" in capsys.readouterr().err


def test_count_reads_a_run_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    network = scale("resnet20_cifar", width=0.5)
    save(tmp_path, network, build(network))
    assert _run(monkeypatch, "count", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out)["params"] == 68_050


def test_what_was_counted_is_answered_again_without_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, cache: Path
) -> None:
    file = tmp_path / "network.json"
    file.write_text(scale("resnet20_cifar", width=0.5).to_json())
    assert _run(monkeypatch, "count", str(file), "--json", "--layers") == 0
    first = capsys.readouterr().out
    code = (
        "import sys; from thinresnet.cli import main\n"
        f"sys.argv = ['thinresnet', 'count', {str(file)!r}, '--json', '--layers']\n"
        "main(); assert 'torch' not in sys.modules"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (again.stdout, again.returncode) == (first, 0), again.stderr
    # Another network under the same name is another question; a damaged answer is none.
    file.write_text(scale("resnet20_cifar", width=0.25).to_json())
    assert _run(monkeypatch, "count", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out)["macs"] < json.loads(first)["macs"]
    for answer in cache.iterdir():
        answer.write_text('{"asked": ')
    assert _run(monkeypatch, "count", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out)["macs"] < json.loads(first)["macs"]


def test_what_was_fitted_is_answered_again_without_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "half.json"
    words = ["fit", "resnet20_cifar", "--macs", "50%", "--output", str(file)]
    assert _run(monkeypatch, *words) == 0
    first, written = capsys.readouterr().out, file.read_bytes()
    assert "--macs 50%: " in first
    file.unlink()
    code = (
        "import sys; from thinresnet.cli import main\n"
        f"sys.argv = ['thinresnet', *{words!r}]\n"
        "main(); assert 'torch' not in sys.modules"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (again.stdout, again.returncode, file.read_bytes()) == (first, 0, written), again.stderr
    assert _run(monkeypatch, *words[:3], "40%", "--json") == 0  # another question
    assert json.loads(capsys.readouterr().out)["macs_ratio"] <= 0.4


def test_an_answer_holds_for_the_code_that_gave_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path, tmp_path: Path
) -> None:
    names = {file.name for file in counted.counting_files()}
    assert {"cost.py", "tracer.py", "structures.py", "cifar.py", "network.py", "budget.py"} <= names
    changed = tmp_path / "changed.py"
    changed.write_text("first")
    monkeypatch.setattr(counted, "counting_files", lambda: [changed])
    for text in ("first", "first", "second"):
        changed.write_text(text)
        assert _run(monkeypatch, "count", "resnet20_cifar", "--json") == 0
    assert len(list(cache.iterdir())) == 2
    capsys.readouterr()


def test_time_compares_with_dense(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["time", "resnet20_cifar", "--width", "0.25", "--runs", "3", "--batch-size", "2", "--channels-last"]
    assert _run(monkeypatch, *words, "--json") == 0
    dense, thin = json.loads(capsys.readouterr().out)["timings"]
    assert (dense["macs_ratio"], dense["time_ratio"]) == (1.0, 1.0)
    assert thin["macs_ratio"] == pytest.approx(0.0648, abs=1e-3)
    assert thin["images_per_second"] == pytest.approx(2 / (thin["latency_ms"] / 1e3))
    assert _run(monkeypatch, *words, "--training") == 0
    assert "updates of batch 2" in capsys.readouterr().out


def test_networks_lists_and_checks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, "networks", "resnet*_cifar", "--json") == 0
    assert "resnet56_cifar" in json.loads(capsys.readouterr().out)["CIFAR"]
    assert _run(monkeypatch, "networks", "vit_tiny_patch16_224", "--check", "--json") == 0
    assert json.loads(capsys.readouterr().out)["vit_tiny_patch16_224"].startswith("refused: ")
    assert _run(monkeypatch, "networks", "resnet10t", "--check") == 0
    assert capsys.readouterr().out == "resnet10t: works\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["count", "resnet5"], "did you mean"),
        (["count", "resnet18", "--width", "0"], "width: 0"),
        (["count", "resnet18", "--width", "nan"], "width: nan"),
        (["count", "nowhere.json"], "nowhere.json: cannot be read"),
        (["count", "resnet18", "--input", "0"], "input_size"),
        (["fit", "resnet18", "--macs", "2,05G"], "--macs 2,05G: not a budget"),
        (["fit", "resnet18", "--macs", "1"], "the smallest has"),
        (["fit", "resnet18"], "give a budget"),
        (["time", "resnet18", "--device", "warp9"], "--device warp9"),
        (["time", "resnet20_cifar", "--runs", "1"], "greater than or equal to 3"),
        (["time", "resnet20_cifar", "--training"], "batch norm trains on 2 images or more"),
        (["networks", "nothing*"], "no known network"),
    ],
)
def test_one_line_and_code_2(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, *words) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["networks", "count", "fit", "time"])
def test_help_shows_an_example(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, verb, "--help") == 0
    assert f"Example: thinresnet {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["count", "time"])
@pytest.mark.parametrize(
    "flag", [("--width", "0.5"), ("--interior", "0.5"), ("--round-to", "8"), ("--input", "64"), ("--num-classes", "7")]
)
def test_flags_that_a_file_overrules_are_refused(
    verb: str,
    flag: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "network.json"
    file.write_text(scale("resnet20_cifar", width=0.25).to_json())
    assert _run(monkeypatch, verb, str(file), *flag) == 2
    assert f"{flag[0]}: {file} says its shape itself" in capsys.readouterr().err
