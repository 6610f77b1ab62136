"""docs/thinresnet.md is what the board and its evaluations say, and costs a reader little."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard import authors_chart, authors_page
from thinresnet.leaderboard.api import read_board
from thinresnet.leaderboard.authors import COPY, Evidence, evidence

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "thinresnet.md"
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def charts(found: Evidence) -> tuple[Any, Any]:
    return authors_chart.published(found), authors_chart.measured(found)


@pytest.fixture(scope="module")
def found() -> Evidence:
    return evidence(read_board(ROOT / "leaderboard.csv"), ROOT)


def _values(chart: Any) -> list[dict[str, Any]]:
    """All rows that a chart draws."""
    spec = chart.to_dict()
    text = json.dumps(spec)
    assert "datasets" not in spec, text[:100]
    rows: list[dict[str, Any]] = []

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            rows.extend(part.get("values", []) if isinstance(part.get("values"), list) else [])
            for each in part.values():
                walk(each)
        elif isinstance(part, list):
            for each in part:
                walk(each)

    walk(spec)
    return [row for row in rows if isinstance(row, dict) and "kind" in row]


def test_the_page_and_its_pictures_are_current(found: Evidence) -> None:
    assert authors_page.outdated(found, PAGE) == []


def test_pictures_are_light() -> None:
    pictures = sorted((PAGE.parent / authors_page.PICTURES).glob("thinresnet-*.svg"))
    assert len(pictures) == 2
    assert all(picture.stat().st_size < MOST_BYTES for picture in pictures)


def test_one_figure_that_changes_is_noticed(found: Evidence) -> None:
    thin = found.thin(20, COPY)[0]
    other = replace(thin, evaluation=replace(thin.evaluation, correct1=thin.evaluation.correct1 + 50))
    changed = replace(found, measured=tuple(other if one is thin else one for one in found.measured))
    assert authors_page.outdated(changed, PAGE) == [PAGE, PAGE.parent / "pictures" / f"thinresnet-{COPY}.svg"]
    assert f"| 1 | 0.185 | {other.evaluation.top1:.2f} |" in authors_page.part(changed)


def test_figures_of_the_copy_and_published_ones_share_no_axis(found: Evidence, charts: tuple[Any, Any]) -> None:
    published = {row["kind"] for row in _values(charts[0])}
    measured = _values(charts[1])
    assert published == set(authors_chart._KINDS)
    assert {row["kind"] for row in measured} == set(authors_chart._MEASURED)
    on_the_copy = {round(one.evaluation.top1, 2) for one in found.measured if one.evaluation.dataset == COPY}
    assert {row["top1"] for row in measured} <= on_the_copy


def test_thin_widths_on_imagenet_have_costs_and_no_accuracy(found: Evidence, charts: tuple[Any, Any]) -> None:
    panel = found.published[-1]
    assert [one.width for one in panel.unmeasured] == [*range(8, 64, 4)]
    rows = [row for row in _values(charts[0]) if row["kind"] == authors_chart.UNKNOWN]
    bottoms = {row["top1"] for row in rows if row["macs"] in {authors_chart.macs_g(panel, w) for w in panel.unmeasured}}
    assert len(bottoms) == 1  # they lie on the axis, and not at an accuracy
    assert bottoms.pop() < min(float(v.entry.top1 or 100) for v in panel.verdicts if v.judged)


def test_writing_keeps_what_is_around_the_marks(found: Evidence, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Mine\n\n{authors_page.BEGIN}\nold\n{authors_page.END}\nafter\n")
    written = authors_page.write(found, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Mine\n\n{authors_page.BEGIN}\n\n## Printed")
    assert text.endswith(f"{authors_page.END}\nafter\n")
    assert all(path.is_file() for path in written)


def test_a_page_without_the_marks_is_refused(found: Evidence, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    with pytest.raises(InputError, match="no such file"):
        authors_page.outdated(found, page)
    page.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        authors_page.outdated(found, page)
    page.write_text("# A page\n")
    with pytest.raises(InputError, match=r"the lines .* are not there"):
        authors_page.write(found, page)
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_the_verb_checks_without_torch() -> None:
    code = (
        "import sys; from thinresnet.cli import app; "
        "app(['baseline', 'page', '--check'], standalone_mode=False); "
        "print({'torch', 'timm', 'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["the page and its pictures are current", "set()"]
