"""The table, its verdicts and bills against figures worked out by hand; the charts and the page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinresnet.cli.terminal import console
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.report import print_tables, write_report
from thinresnet.studies.store import Store
from thinresnet.studies.table import as_records, summaries, verdict

Finish = Callable[..., Any]


def show(graph: StudyGraph, store: Store, output: Path) -> None:
    """As `thinresnet study show` does."""
    found = summaries(graph, store)
    print_tables(found, console())
    write_report(graph, found, output)


def test_means_deviations_and_verdicts(finish: Finish) -> None:
    graph, store = finish()
    found = {line.name: line for line in summaries(graph, store)}
    width, tuned, guided = found["plain width"], found["l1, fine-tuned"], found["l1, guided (our rule)"]
    assert width.top1 is not None
    # 324 and 328 of 360: 90 and 91.11 %, their sample deviation is the difference over the root of 2.
    assert width.top1.mean == pytest.approx(100 * 326 / 360)
    assert width.top1.deviation == pytest.approx(100 * 4 / 360 / 2**0.5)
    assert width.holdout is not None
    assert width.holdout.values == (100 * 129 / 144,) * 2
    assert width.top1_ema is None
    times = guided.training_macs_with_search / width.training_macs_with_search
    said = {name: verdict(line, list(found.values())) for name, line in found.items()}
    assert said == {
        "dense": "",
        "plain width": "the bar",
        "interior width": "tie (-1.11)",
        "l1, fine-tuned": "loses by 6.94",
        "l1, Scratch-E": "tie (+0.42)",
        # Two dense parents, two prunings and the training itself, against one training.
        "l1, guided (our rule)": f"clears the bar by 2.78 at {times:.1f}x its training",
    }
    assert times > 4
    assert tuned.macs == max(result.macs for result in tuned.results) > tuned.results[0].macs
    assert tuned.speedup == "1.25x"
    noisy = {**tuned.timing, "dense": {**tuned.timing["dense"], "latency_spread_ms": 2.0}}
    assert dataclasses.replace(tuned, timing=noisy).speedup == "unsteady"


def test_training_costs_by_hand(finish: Finish) -> None:
    """Training MACs are 3 x forward x images x epochs; a seed's parent and pruning are paid by what comes of them."""
    graph, store = finish()
    found = {line.name: line for line in summaries(graph, store)}
    dense = 3 * found["dense"].dense.macs * 1293 * 2
    assert found["dense"].costs_with_search == (dense, dense)
    assert found["plain width"].costs_with_search == (3 * found["plain width"].macs * 1293 * 2,) * 2
    for name, epochs in (("l1, fine-tuned", 1), ("l1, Scratch-E", 2)):
        own = [3 * result.macs * 1293 * epochs for result in found[name].results]
        assert found[name].costs_with_search == (dense + 7_000 + own[0], dense + 14_000 + own[1])
        assert found[name].training_macs == sum(own) / 2
    # A shape out of both seeds' prunings needs both parents, each once.
    guided = found["l1, guided (our rule)"]
    own = 3 * guided.macs * 1293 * 2
    assert guided.costs_with_search == (2 * dense + 7_000 + 14_000 + own,) * 2


@pytest.mark.parametrize("columns", [72, 100, 140, None])
def test_no_figure_is_cut_off_where_there_is_little_room(
    finish: Finish, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    graph, store = finish()
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    show(graph, store, tmp_path / "report")
    out = capsys.readouterr().out
    assert "…" not in out
    assert "90.56 ± 0.79" in out
    assert "loses by 6.94" in out
    assert ("own training" in out) == (columns is None)  # a file has room for all


def test_one_seed_gives_no_verdict(finish: Finish) -> None:
    graph, store = finish(when=lambda name: not name.endswith("-s2"))
    found = summaries(graph, store)
    said = {line.name: verdict(line, found) for line in found}
    assert said["interior width"] == "-1.11 against plain width; one seed, no verdict"
    assert said["l1, guided (our rule)"] == "not finished"


def test_what_costs_more_than_the_budget_is_not_judged(finish: Finish) -> None:
    graph, store = finish(kept=14)
    found = summaries(graph, store)
    said = {line.name: verdict(line, found) for line in found}
    assert said["l1, fine-tuned"] == "not judged: it costs more than the budget"
    assert said["interior width"] == "tie (-1.11)"


def test_the_table_as_printed_and_as_json(
    finish: Finish, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    graph, store = finish(when=lambda name: "scratch-e" not in name or name.endswith("-s1"))
    show(graph, store, tmp_path / "out")
    printed = capsys.readouterr().out
    assert re.search(r"plain width +90\.56 ± 0\.79 +the bar +2 .* 1\.0x +1\.25x", printed)
    assert re.search(r"l1, Scratch-E +90\.56 .*no verdict +1 of 2 ", printed)
    assert "this project's own rules" in printed
    rows = {row["name"]: row for row in as_records(summaries(graph, store))}
    assert rows["l1, Scratch-E"]["seeds"] == [1]
    assert rows["plain width"]["top1"]["mean"] == pytest.approx(90.5556, abs=1e-4)


def test_the_page_works_offline_and_escapes_what_comes_from_outside(finish: Finish, tmp_path: Path) -> None:
    graph, store = finish()
    show(graph, store, tmp_path)
    names = {"report.html"} | {
        f"{chart}.{kind}"
        for chart in ("equal-budget", "accuracy-macs", "accuracy-training")
        for kind in ("png", "svg", "html")
    }
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == names
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Nothing of it was trained &lt;b&gt;" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert page.count("<tr>") == 1 + len(graph.experiments)
    svg = (tmp_path / "equal-budget.svg").read_text(encoding="utf-8")
    assert all(
        name in svg for name in ("plain width", "l1, fine-tuned", "pruned shape, from scratch", "short: macs 50%")
    )
