"""A paper's tables out of evidence folders: every printed figure is computed again, another way."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats
from typer.testing import CliRunner

from thinresnet import cli
from thinresnet.errors import InputError
from thinresnet.result import Result
from thinresnet.studies.evidence import INDEX, pack
from thinresnet.studies.graph import StudyGraph
from thinresnet.studies.paper import findings, tables
from thinresnet.studies.paper.charts import write_figures
from thinresnet.studies.paper.documents import stale, write_parts
from thinresnet.studies.paper.rows import Evidence, Row, read_evidence
from thinresnet.studies.store import Store
from thinresnet.studies.summaries import summaries

from .conftest import PUBLIC_STUDY

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def evidence(public: tuple[StudyGraph, Store], weights: Path, tmp_path: Path) -> Evidence:
    graph, store = public
    pack(graph, store, tmp_path / "evidence")
    return read_evidence([tmp_path / "evidence"])


def test_evidence_holds_no_weights_and_says_the_same_as_the_runs(
    public: tuple[StudyGraph, Store], evidence: Evidence, tmp_path: Path
) -> None:
    files = [path for path in (tmp_path / "evidence").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".csv", ".yaml"}
    # Nor where anything lay: the runs themselves say it, because they resume by it.
    assert not [path for path in files if str(tmp_path.parent.parent) in path.read_text()]
    theirs = summaries(*public)
    for row, summary in zip(evidence.rows, theirs, strict=True):
        assert row.n == len(summary.results)
        assert row.mean == pytest.approx(summary.top1.mean)  # type: ignore[union-attr]
        assert (row.macs, row.params) == (summary.macs, summary.params)
        assert statistics.fmean(row.training_macs) == summary.training_macs_with_search


def test_packing_again_changes_nothing(public: tuple[StudyGraph, Store], evidence: Evidence, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "evidence").rglob("*") if path.is_file()}
    pack(*public, tmp_path / "evidence")
    assert before == {path: path.read_bytes() for path in (tmp_path / "evidence").rglob("*") if path.is_file()}


def test_rows_that_are_missing_are_said(evidence: Evidence, tmp_path: Path) -> None:
    (index,) = (tmp_path / "evidence").rglob(INDEX)
    content = json.loads(index.read_text())
    for row in content["rows"]:
        if row["method"] == "l1":
            row["seeds"] = []
    index.write_text(json.dumps(content))
    assert "not measured (n = 0 of 2)" in tables.pruning_against_thin(read_evidence([tmp_path / "evidence"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": None}, "rows: takes a list"),
        ({"rows": [{}]}, "rows, entry 1: the key 'recipe' is missing"),
        ({"seeds": [[]]}, "rows, entry 1: seeds: a seed without a folder"),
        (
            {"seeds": [["../../elsewhere"]]},
            r"rows, entry 1: seeds: '\.\./\.\./elsewhere' is no folder inside the evidence",
        ),
        ({"seeds": [["/etc"]]}, "seeds: '/etc' is no folder inside the evidence"),
        ({"timing": ".."}, r"timing: '\.\.' is no folder inside the evidence"),
        ({"timing": "x" * 300}, "is no folder inside the evidence"),
        ({"timing": "nowhere"}, r"timing\.json: no such file"),
        ({"planned": "two"}, "planned: takes an integer"),
    ],
)
def test_damaged_evidence_is_one_line(
    evidence: Evidence, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    (path,) = (tmp_path / "evidence").rglob(INDEX)
    content = json.loads(path.read_text())
    (content if "rows" in changes else content["rows"][0]).update(changes)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said) as refused:
        read_evidence([tmp_path / "evidence"])
    assert "\n" not in str(refused.value)


def test_the_speed_of_every_shape_is_shown(evidence: Evidence) -> None:
    timed = {(row.protocol, row.method, row.budget): row.timing for row in evidence.rows if row.timing is not None}
    table = [line for line in tables.speed(evidence).splitlines() if line.startswith("|")]
    _, _, dense, *shapes = [line.split(" | ") for line in table]
    assert "Inference of 1 images, updates of 2; " in tables.everything(evidence)
    assert dense[2::2] == ["100.0 %", "100 %", "100 % |"]
    assert len(shapes) == len(timed) > 1
    for (_, macs, share, latency, time_share, rate, update_share), timing in zip(shapes, timed.values(), strict=True):
        own, update = timing["network"], timing["training"]["network"]
        assert (macs, share) == (f"{own['macs']:,}", f"{100 * own['macs'] / timing['dense']['macs']:.1f} %")
        assert float(latency.split(" ± ")[0]) == pytest.approx(1e3 / own["images_per_second"], abs=0.006)
        assert float(rate.replace(",", "")) == pytest.approx(2e3 / update["latency_ms"], abs=0.51)
        assert time_share == f"{100 * own['latency_ms'] / timing['dense']['latency_ms']:.0f} %"
        assert update_share == f"{100 * update['latency_ms'] / timing['training']['dense']['latency_ms']:.0f} % |"
    assert "Not measured" in tables.speed(Evidence(tuple(replace(row, timing=None) for row in evidence.rows), ()))


def test_the_summary_has_what_three_seeds_on_both_sides_decide(evidence: Evidence) -> None:
    assert tables.summary(evidence) == "Nothing has three random seeds on both sides yet."
    rows = []
    for pruned, top1 in ((True, (80.0, 80.1, 80.2)), (False, (85.0, 85.1, 85.2)), (True, (79.0, 79.1))):
        row = replace(_row(evidence, pruned=pruned, top1=top1), method="l1" if len(top1) == 3 else "random")
        row.__dict__["top1"] = top1
        rows.append(row)
    _, _, thin, *pruned_rows = tables.summary(Evidence(tuple(rows), ())).splitlines()
    assert thin.startswith("| **thin network thinresnet20-w3** | 1 | 3 | 85.10 ± 0.10 |  |")
    (l1,) = pruned_rows
    assert l1.startswith("| L1, pruned to the same MACs | 1 | 3 | 80.10 ± 0.10 | -5.00 [-5.23, -4.77] worse |")


def test_two_seeds_decide_nothing(evidence: Evidence) -> None:
    assert "undecided (n=2)" in tables.pruning_against_thin(evidence)
    assert findings.thin_above_pruned(evidence).answer == findings.OPEN


def _row(evidence: Evidence, *, pruned: bool, top1: tuple[float, ...]) -> Row:
    """A row of the evidence with other accuracies."""
    protocol = "prune-finetune" if pruned else "scaled-public"
    row = next(
        own
        for own in evidence.rows
        if own.protocol == protocol and own.finetuning == "short" and own.method != "random"
    )
    results = tuple(row.results[0] for _ in top1)
    return Row(**{**{name: getattr(row, name) for name in Row.__dataclass_fields__}, "results": results,
                  "planned": len(top1), "training_macs": (1,) * len(top1), "seconds": (1.0,) * len(top1)})  # fmt: skip


@pytest.mark.parametrize(
    ("pruned", "thin", "answer"),
    [
        ((80.0, 80.1, 80.2), (85.0, 85.1, 85.2), findings.HOLDS),
        ((85.0, 85.1, 85.2), (80.0, 80.1, 80.2), findings.FAILS),
        ((80.0, 85.0, 82.0), (81.0, 84.0, 82.5), findings.OPEN),
        ((80.0, 80.1), (85.0, 85.1, 85.2), findings.OPEN),
    ],
)
def test_a_claim_goes_no_further_than_its_interval(
    evidence: Evidence, pruned: tuple[float, ...], thin: tuple[float, ...], answer: str
) -> None:
    rows = []
    for own, is_pruned in ((pruned, True), (thin, False)):
        row = _row(evidence, pruned=is_pruned, top1=own)
        row.__dict__["top1"] = own  # in place of what results say
        rows.append(row)
    found = Evidence(tuple(rows), ())
    assert findings.thin_above_pruned(found).answer == answer
    if len(pruned) == 3:
        difference = found.difference(rows[0])
        low, high = stats.ttest_ind(pruned, thin, equal_var=False).confidence_interval()
        assert difference is not None
        assert difference.half == pytest.approx((high - low) / 2)
        assert difference.gap == pytest.approx((high + low) / 2)


def test_of_several_schedules_the_stronger_one_is_held_against_the_stronger_one(evidence: Evidence) -> None:
    """Three schedules of as many epochs; a fourth of another length is not among them."""
    rows = []
    for pruned, way, mean, longer in (
        (True, "high", 84.0, 0), (True, "usual", 70.0, 0), (False, "high", 80.0, 0), (False, "usual", 88.0, 0),
        (False, "long", 95.0, 1),
    ):  # fmt: skip
        row = _row(evidence, pruned=pruned, top1=(mean - 0.1, mean, mean + 0.1))
        results = tuple(replace(one, epochs=one.epochs + longer) for one in row.results)
        row = replace(row, finetuning=way, results=results)
        row.__dict__["top1"] = (mean - 0.1, mean, mean + 0.1)
        rows.append(row)
    found = Evidence(tuple(rows), ())
    assert [found.reference(row).mean for row in rows[:2]] == [pytest.approx(88.0)] * 2  # type: ignore[union-attr]
    said = findings.thin_above_pruned(found)
    assert said.answer == findings.HOLDS
    assert "1 of 1 comparisons" in said.run
    assert "-4.00" in said.run


@pytest.mark.parametrize(
    ("random", "l1", "slimming", "answer", "of"),
    [
        ((70.0, 70.1, 70.2), (75.0, 75.1, 75.2), (76.0, 76.1, 76.2), findings.HOLDS, "2 of 2"),
        ((70.0, 70.1, 70.2), (75.0, 75.1, 75.2), (), findings.OPEN, "1 of 2"),  # one method does not speak for all
        ((70.0, 70.1, 70.2), (75.0, 75.1, 75.2), (76.0, 76.1), findings.OPEN, "1 of 2"),
        ((70.0, 70.1, 70.2), (65.0, 65.1, 65.2), (), findings.FAILS, "1 of 2"),  # one is enough against all
    ],
)
def test_criteria_are_above_random_channels_where_all_of_them_are(
    evidence: Evidence,
    random: tuple[float, ...],
    l1: tuple[float, ...],
    slimming: tuple[float, ...],
    answer: str,
    of: str,
) -> None:
    rows = []
    for method, top1 in (("random", random), ("l1", l1), ("slimming", slimming)):
        row = replace(_row(evidence, pruned=True, top1=top1), method=method)
        row.__dict__["top1"] = top1
        rows.append(row)
    found = findings.criteria_above_random(Evidence(tuple(rows), ()))
    assert found.answer == answer
    assert found.run.startswith(f"{of} comparisons")


def test_shapes_are_compared_by_macs_a_parameter_once_all_are_known(evidence: Evidence) -> None:
    thin = _row(evidence, pruned=False, top1=(80.0,))
    one = _row(evidence, pruned=True, top1=(80.0,))
    (result,) = one.results
    heavy = replace(one, method="l1", results=(replace(result, macs=3 * thin.macs, params=2 * thin.params),))
    found = findings.pruned_cost_more_macs_a_parameter(Evidence((thin, heavy, replace(heavy, finetuning="long")), ()))
    assert found.answer == findings.HOLDS
    assert found.run.startswith("1 of 1 pruned networks have 1.50 to 1.50 times the MACs")
    unknown = replace(heavy, method="slimming", results=())
    found = findings.pruned_cost_more_macs_a_parameter(Evidence((thin, heavy, unknown), ()))
    assert found.answer == findings.OPEN
    assert found.run.startswith("1 of 2 pruned networks")


def test_marked_parts_are_written_and_stale_ones_noticed(evidence: Evidence, tmp_path: Path) -> None:
    document = tmp_path / "paper.md"
    document.write_text("a\n<!-- paper tables: begin -->\nold\n<!-- paper tables: end -->\nb\n")
    assert stale(evidence, [document]) == [document]
    assert write_parts(evidence, [document]) == [document]
    assert stale(evidence, [document]) == []
    text = document.read_text()
    assert text.startswith("a\n")
    assert text.endswith("b\n")
    assert "old" not in text
    document.write_text("nothing\n")
    with pytest.raises(InputError, match="has no part to write"):
        write_parts(evidence, [document])


def test_a_document_that_is_no_utf8_is_refused_by_its_line(evidence: Evidence, tmp_path: Path) -> None:
    (tmp_path / "own.md").write_bytes(b"# Ours\n\xe4\n")
    with pytest.raises(InputError, match=r"own\.md, line 2: byte 0xE4 is not UTF-8"):
        stale(evidence, [tmp_path / "own.md"])


def test_figures_are_drawn(evidence: Evidence, tmp_path: Path) -> None:
    names = {path.name for path in write_figures(evidence, tmp_path / "figures")}
    assert {"paper-macs.png", "paper-macs.svg", "paper-training.png"} <= names


def test_no_evidence_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="thinresnet study pack"):
        read_evidence([tmp_path])


def test_every_printed_accuracy_is_what_the_committed_evidence_says() -> None:
    """Each mean and deviation in docs/findings.md and the README, from the result files alone; times are not theirs."""
    findings_text = (REPOSITORY / "docs" / "findings.md").read_text().partition("### Real speed")[0]
    text = findings_text + (REPOSITORY / "README.md").read_text()
    printed = re.findall(r"([0-9]{2}\.[0-9]{2}) ± ([0-9]\.[0-9]{2})", text)
    known = set()
    for index in (REPOSITORY / "baselines" / "evidence").rglob(INDEX):
        for row in json.loads(index.read_text())["rows"]:
            reached = [Result.read(index.parent / "stages" / chain[0]).test.top1 for chain in row["seeds"]]  # type: ignore[union-attr]
            if len(reached) > 1:
                known.add((f"{statistics.fmean(reached):.2f}", f"{statistics.stdev(reached):.2f}"))
    assert set(printed) <= known


def test_from_runs_to_a_document_by_the_command_line(
    public: tuple[StudyGraph, Store], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed into the folder of its tier, written, checked; then stale."""
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(PUBLIC_STUDY)
    Path("paper.md").write_text("<!-- paper findings: begin -->\n<!-- paper findings: end -->\n")
    runs = str(public[1].root.parent)
    call = CliRunner().invoke
    packed = call(cli.app, ["study", "pack", "study.yaml", "--output", runs])
    assert "stages in baselines/evidence/laptop/public" in packed.output.replace("\n", " ")
    options = ["--document", "paper.md", "--figures", "pictures", "--evaluations", "no"]
    assert call(cli.app, ["study", "paper", *options]).exit_code == 0
    assert Path("pictures/paper-macs.png").is_file()
    assert "undecided here" in Path("paper.md").read_text()
    assert call(cli.app, ["study", "paper", *options, "--check"]).exit_code == 0
    Path("paper.md").write_text("<!-- paper findings: begin -->\nall holds\n<!-- paper findings: end -->\n")
    found = call(cli.app, ["study", "paper", *options, "--check"])
    assert "paper.md: is not what the evidence says" in str(found.exception)
