"""The table, its verdicts and training costs against figures worked out by hand; the charts and the page."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinresnet.cli.terminal import console
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.plot import against_cost
from thinresnet.studies.records import as_records
from thinresnet.studies.report import markdown, print_tables, write_report
from thinresnet.studies.store import Store
from thinresnet.studies.summaries import Summary, distinct, groups, summaries
from thinresnet.studies.verdicts import verdicts

Finish = Callable[..., Any]


def show(graph: StudyGraph, store: Store, output: Path) -> None:
    """As `thinresnet study show` does."""
    found = distinct(summaries(graph, store))
    print_tables(found, console())
    write_report(graph, found, output)


def test_means_and_deviations(finish: Finish) -> None:
    graph, store = finish()
    found = {line.name: line for line in summaries(graph, store)}
    width, finetuned = found["plain width"], found["l1, fine-tuned"]
    assert width.top1 is not None
    # 324 and 328 of 360: 90 and 91.11 %, their sample deviation is the difference over the root of 2.
    assert width.top1.mean == pytest.approx(100 * 326 / 360)
    assert width.top1.deviation == pytest.approx(100 * 4 / 360 / 2**0.5)
    assert width.holdout is not None
    assert width.holdout.values == (100 * 129 / 144,) * 2
    assert width.top1_ema is None
    assert finetuned.macs == max(result.macs for result in finetuned.results) > finetuned.results[0].macs
    assert finetuned.speedup == "1.25x"
    assert finetuned.timing is not None
    noisy = {**finetuned.timing, "dense": {**finetuned.timing["dense"], "latency_spread_ms": 2.0}}
    assert dataclasses.replace(finetuned, timing=noisy).speedup == "unsteady"


def test_training_costs_by_hand(finish: Finish) -> None:
    """Training MACs are 3 x forward x images x epochs; a seed's parent and pruning are paid by what comes of them."""
    graph, store = finish()
    found = {line.name: line for line in summaries(graph, store)}
    dense = 3 * found["dense"].dense.macs * 1293 * 2
    assert found["dense"].costs_with_search == (dense, dense)
    assert found["plain width"].costs_with_search == (3 * found["plain width"].macs * 1293 * 2,) * 2
    for name, epochs in (("l1, fine-tuned", 1), ("l1, Scratch-E", 2)):
        own = [3 * result.macs * 1293 * epochs for result in found[name].results]
        assert found[name].costs_with_search == (dense + 7_000_000 + own[0], dense + 14_000_000 + own[1])
        assert found[name].training_macs == sum(own) / 2
    # A shape out of both seeds' prunings needs both parents, each once.
    guided = found["l1, guided (our rule)"]
    own = 3 * guided.macs * 1293 * 2
    assert (
        guided.costs_with_search == ((2 * dense + 7_000_000 + 14_000_000) // 2 + own,) * 2
    )  # of the search its half each


def test_nothing_is_cut_off_and_no_column_is_lost_where_there_is_little_width(
    finish: Finish, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = distinct(summaries(*finish()))
    for columns in (72, 100, 120, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        print_tables(found, console())
        out = capsys.readouterr().out
        assert "…" not in out
        assert max(map(len, out.splitlines())) <= columns
        for cell in ("90.56 ± 0.79", "undecided (n=2)", "training MACs", "last training", "hold-out", "speed-up"):
            assert cell in out
        words = out.split()
        for record in as_records(found):
            assert all(word in words for word in record["name"].split()), "wrapped between words, never in one"
        first, _, rest = out.partition("(more columns)")
        assert rest or columns > 120
        assert "at training" in first or columns < 120, "what a reader came for stands in the first part"


def test_two_seeds_decide_nothing_and_say_so(finish: Finish) -> None:
    graph, store = finish(when=lambda name: not name.endswith("-s2") or "scaled-width" in name)
    found = summaries(graph, store)
    said = {line.name: {own.says for own in verdicts(line, found).values()} for line in found}
    assert said["plain width"] == {"the bar"}
    assert said["dense"] == said["l1, guided (our rule)"] == {""}  # the second is not finished
    assert said["interior width"] == said["l1, Scratch-E"] == {"undecided (n=1)"}


def test_what_costs_more_than_the_budget_is_over_it_in_every_verdict(finish: Finish) -> None:
    graph, store = finish(kept=14)
    found = summaries(graph, store)
    said = {line.name: {own.says for own in verdicts(line, found).values()} for line in found}
    assert said["l1, fine-tuned"] == {"over budget"}
    assert said["interior width"] == {"undecided (n=2)"}


def test_the_table_as_printed_as_markdown_and_as_json(
    finish: Finish, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "260")
    found = distinct(summaries(*finish(when=lambda name: "scratch-e" not in name or name.endswith("-s1"))))
    print_tables(found, console())
    printed = capsys.readouterr().out
    rows = {row["name"]: row for row in as_records(found)}
    width = rows["plain width"]
    shares = [
        f"{100 * width[f'{cost}_share']:.{digits}f}" for cost, digits in [("macs", 1), ("params", 1), ("training", 0)]
    ]
    # Plain width needs no parent: its share of the dense training is that of its MACs.
    assert width["training_share"] == pytest.approx(width["macs_share"])
    assert re.search(rf"plain width +90\.56 ± 0\.79 +2 +{' +'.join(shares)}( +the bar){{3}} .* 1\.0x .*1\.25x", printed)
    assert re.search(r"l1, Scratch-E +90\.56 +1 of 2 .*undecided \(n=1\)", printed)
    assert "this project's own rules" in printed
    text = markdown("made-up", found)
    assert f"| plain width | 90.56 ± 0.79 | 2 | {' | '.join(shares)} | the bar | the bar | the bar |" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert "Welch's 95 % interval" in text
    assert rows["l1, Scratch-E"]["seeds"] == [1]
    assert rows["l1, Scratch-E"]["verdicts"]["training"]["outcome"] == "undecided"
    assert width["top1"]["mean"] == pytest.approx(90.5556, abs=1e-4)


def test_the_page_works_offline_and_escapes_what_comes_from_outside(finish: Finish, tmp_path: Path) -> None:
    graph, store = finish()
    show(graph, store, tmp_path)
    names = {"report.html", "tables.md"} | {
        f"{chart}.{kind}"
        for chart in ("equal-budget", "accuracy-macs", "accuracy-params", "accuracy-training", "accuracy-latency")
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


def test_points_stand_at_their_true_cost_and_axes_end_with_the_data(finish: Finish) -> None:
    found = distinct(summaries(*finish()))
    chart = json.loads(against_cost(found, "accuracy-macs").to_json())
    (panel,) = chart["hconcat"]
    *_, marks = panel["layer"]
    points = marks["data"]["values"] if "data" in marks else chart["datasets"][marks["data"]["name"]]
    assert [point["macs"] for point in points] == [summary.macs for own in _by_point(found) for summary in own]
    assert len(points) == len(found), "one mark for one network"
    low, high = marks["encoding"]["x"]["scale"]["domain"]
    costs = [summary.macs for summary in found]
    assert low < min(costs) <= max(costs) < high
    assert max(costs) / high > 0.8
    assert min(costs) / low < 1.2
    colours = marks["encoding"]["color"]
    assert (colours["field"], colours["scale"]["domain"]) == ("method", ["plain scaling", "l1"])


def test_a_network_with_two_names_is_one_mark_with_one_label_that_says_both(finish: Finish) -> None:
    rows = {line.name: line for line in summaries(*finish())}
    inside, scratch, width = rows["interior width"], rows["l1, Scratch-E"], rows["plain width"]
    twin = dataclasses.replace(scratch, results=inside.results, folders=inside.folders)
    # One training that fills two budgets: a row under each of them, and one mark.
    again = dataclasses.replace(
        width, point="params 50%", experiment=dataclasses.replace(width.experiment, point="params50pct")
    )
    tuned = rows["l1, fine-tuned"]
    elsewhere = dataclasses.replace(
        tuned, point="params 50%", experiment=dataclasses.replace(tuned.experiment, point="params50pct")
    )
    found = distinct([*{**rows, "l1, Scratch-E": twin}.values(), again, elsewhere])
    assert len(found) == len(rows) + 1, "a row for each budget"
    for name in ("accuracy-macs", "accuracy-params", "accuracy-training", "accuracy-latency"):
        marks, labels = _marks_and_labels(found, name)
        assert sorted(labels) == sorted({mark["label"] for mark in marks}), "each once"
        if name == "accuracy-latency":
            continue  # not every row of this study is timed
        assert len(marks) == len(rows) - 1
        assert labels.count("interior width = l1, Scratch-E") == 1
        assert not {"interior width", "l1, Scratch-E"} & set(labels)
        (mark,) = [mark for mark in marks if mark["label"] == "plain width"]
        assert mark["point"] == "macs 50%, params 50%"


def _marks_and_labels(found: list[Summary], name: str) -> tuple[list[dict[str, Any]], list[str]]:
    chart = json.loads(against_cost(found, name).to_json())
    (panel,) = chart["hconcat"]
    data = [
        layer["data"]["values"] if "values" in layer["data"] else chart["datasets"][layer["data"]["name"]]
        for layer in panel["layer"]
    ]
    # Every label is written twice, on white and in its colour, from the same rows as the lines to the marks.
    return data[-1], [text["label"] for text in data[2]]


def test_many_names_of_one_network_are_counted_in_its_label(finish: Finish) -> None:
    rows = {line.name: line for line in summaries(*finish())}
    first, *others = rows.values()
    row = dataclasses.replace(first, also=(*others, first))
    assert row.label == f"dense = plain width = {len(rows) - 2} more"
    assert all(row.names.split(" = ").count(name) == 1 for name in rows)


def _by_point(found: list[Summary]) -> list[list[Summary]]:
    return [own for by_point in groups(found).values() for own in by_point.values()]
