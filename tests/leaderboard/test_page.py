"""The page in a real browser without a network: silent, complete, usable by mouse, finger, keyboard and reader."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from thinresnet.leaderboard.cite import BASELINE
from thinresnet.leaderboard.page import page
from thinresnet.leaderboard.papers import Paper, bib_beside, read_bib
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import default_board, read_board
from thinresnet.leaderboard.verdicts import ANY_PLAIN_CNN, Bar, headline, may_be_the_bar

Make = Callable[..., Entry]
HOSTILE = "</script><script>window.hacked=1</script><img src=http://evil.example/x onerror=window.hacked=2>"
TEMPLATE = "{{ 7*7 }} {% raw %} {{headline}} &lt;b&gt; &amp; ]]> <!-- ${window.hacked=3} `'\" "

# Every visible text against what lies behind it, as WCAG computes contrast; the faintest text of the page.
FAINTEST = """() => {
  const channel = (c) => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  let worst = [99, ""];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("svg, script, noscript, .skip, caption") || !element.getClientRects().length) continue;
    let behind = element, colour = [0, 0, 0, 0];
    while (behind && (colour.length > 3 && colour[3] === 0)) {
      colour = parse(getComputedStyle(behind).backgroundColor);
      behind = behind.parentElement;
    }
    if (colour[3] === 0) colour = parse(getComputedStyle(document.documentElement).backgroundColor);
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(colour)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 120)];
  }
  return worst;
}"""
NAMELESS = """() => [...document.querySelectorAll("input, select, button, [tabindex='0']")].filter((each) =>
  !each.hidden && !(each.labels && each.labels.length && each.labels[0].textContent.trim()) &&
  !each.textContent.trim() && !each.getAttribute("aria-label")).map((each) => each.outerHTML)"""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the real board, made once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    path = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "leaderboard.html"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            text = page(read_board(default_board()), read_bib(bib_beside(default_board())))
            path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def opened(
    chromium: str, path: Path, *, width: int = 1280, touch: bool = False, script: bool = True
) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page in Chromium with the network off, its console messages, and every request that it tried."""
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            offline=True,
            has_touch=touch,
            java_script_enabled=script,
        )
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        if script:
            tab.wait_for_selector("html[data-ready]", timeout=60_000)
        yield tab, said, asked
        browser.close()


def seen_rows(tab: Any) -> list[int]:
    """Numbers of the rows that can be seen, in the order in which they stand."""
    found: list[int] = tab.evaluate(
        """[...document.querySelectorAll("tr[data-row]:not([hidden])")].map((row) => +row.dataset.row)"""
    )
    return found


def test_chart_table_and_headline_work_without_a_network(whole: Path, chromium: str) -> None:
    board = read_board(default_board())
    bar = Bar(board)
    with opened(chromium, whole) as (tab, said, asked):
        assert tab.text_content("#says") == headline(board, bar).says
        tab.select_option("#against", ANY_PLAIN_CNN)
        assert tab.text_content("#says") == headline(board, bar, family=ANY_PLAIN_CNN).says
        tab.select_option("#against", "plain ResNets")

        chosen = [
            number for number, entry in enumerate(board) if (entry.dataset, entry.arch) == ("imagenet", "resnet50")
        ]
        assert set(chosen) <= set(seen_rows(tab))
        marks = tab.locator("#chart .mark-symbol path")
        drawn = sum(
            1
            for number in chosen
            if not may_be_the_bar(board[number]) and board[number].top1 and board[number].macs_g is not None
        )
        # Papers, the knots of the bar, and the ring that is waiting for a row.
        assert drawn < marks.count() < drawn + 40

        # Sort: every value that is there, largest first, then smallest first, unknown ones last.
        for way in (1, -1):
            tab.click("th[data-key=top1] button")
            values = [board[number].top1 for number in seen_rows(tab)]
            known = [value for value in values if value is not None]
            assert known == sorted(known, reverse=way == 1)
            assert values[: len(known)] == known
        assert tab.get_attribute("th[data-key=top1]", "aria-sort") == "ascending"

        # Filter: words in any order, in method, paper or note.
        tab.fill("#search", "pruning depgraph")
        found = seen_rows(tab)
        assert found
        assert all(board[number].method == "DepGraph" or "depgraph" in board[number].paper for number in found)
        assert tab.text_content("#count") == f"{len(found)} of {len(board)} rows"
        tab.check("#whole")
        assert len(seen_rows(tab)) > len(found)
        tab.uncheck("#whole")

        # Hover: the mark's own numbers; choose it: its source, then its row.
        mark = marks.last
        mark.hover(force=True)
        tab.wait_for_selector("#tip:not([hidden])")
        assert "DepGraph" in tab.inner_text("#tip")
        assert "top-1" in tab.inner_text("#tip")
        mark.click(force=True)
        assert "found in" in tab.inner_text("#picked")
        tab.click("#picked button:has-text('Show it in the table')")
        row = tab.locator("tr.here")
        assert row.locator("button").get_attribute("aria-expanded") == "true"
        assert tab.evaluate("document.activeElement === document.querySelector('tr.here button')")
        assert "BibTeX" in tab.inner_text("tr.details-row")

        # Everything else that can be switched, on every kind of data.
        tab.fill("#search", "")
        tab.check("input[value=params]")
        assert tab.text_content("#says") == headline(board, bar, budget="parameters").says
        tab.check("input[value=ratio]")
        tab.uncheck("#log")
        tab.uncheck("[data-family=pruned]")
        assert not any(board[number].family == "pruned" for number in seen_rows(tab))
        for dataset in tab.locator("#dataset option").all_inner_texts():
            tab.select_option("#dataset", dataset)
            assert {board[number].dataset for number in seen_rows(tab)} == {dataset}
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_timeout(300)
        assert asked == [whole.as_uri()]
        assert said == []


def test_a_phone_a_keyboard_and_a_reader_can_use_it(whole: Path, chromium: str) -> None:
    with opened(chromium, whole, width=390, touch=True) as (tab, said, asked):
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        assert tab.locator("#chart svg").bounding_box()["width"] <= 390 - 32
        tab.locator("#chart .mark-symbol path").last.tap(force=True)
        assert tab.is_visible("#picked")
        first = tab.locator("tr[data-row]:not([hidden]) th button").first
        first.focus()
        tab.keyboard.press("Enter")
        assert first.get_attribute("aria-expanded") == "true"
        assert tab.is_visible(f"#{first.get_attribute('aria-controls')}")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme)
            ratio, where = tab.evaluate(FAINTEST)
            assert ratio >= 4.5, (scheme, where)
        tab.keyboard.press("Enter")
        assert first.get_attribute("aria-expanded") == "false"
        assert tab.evaluate(NAMELESS) == []
        for table in tab.locator("table").all():
            assert table.locator("caption").count() == 1
            assert table.locator("th:not([scope])").count() == 0
        assert "bar of plain ResNets" in tab.get_attribute("#chart", "aria-label")
        assert (said, asked) == ([], [whole.as_uri()])


def test_hostile_text_comes_out_as_text(make: Make, tmp_path: Path, chromium: str) -> None:
    bare = {"dense_top1_printed": "", "cost_printed_g": "", "dense_cost_printed_g": ""}
    hostile = {"method": HOSTILE, "note": TEMPLATE.strip(), "locator": HOSTILE, "recipe": HOSTILE, "teacher": HOSTILE}
    rows = [
        make(id="hostile", read_repo="javascript:alert(1)", read_path=HOSTILE, **hostile),
        make(id="reference", family="dense", **{**bare, "method": HOSTILE, "top1_printed": "76"}),
    ]
    title = r"{HRank} <script>window.hacked=4</script> \& </title>"
    paper = Paper("lin2020hrank", "misc", {"title": title, "year": "2020", "url": 'https://example.org/"><script>'})
    path = tmp_path / "a <b> & 'c'.html"
    path.write_text(page(rows, {"lin2020hrank": paper}), encoding="utf-8")
    with opened(chromium, path) as (tab, said, asked):
        assert tab.inner_text("tr[data-row='0'] th button") == HOSTILE
        tab.locator("#chart .mark-symbol path").last.hover(force=True)
        tab.wait_for_selector("#tip:not([hidden])")
        tab.click("tr[data-row='0'] th button")
        details = tab.inner_text("tr.details-row")
        assert HOSTILE in details
        assert TEMPLATE.strip() in details
        assert tab.locator("a[href^=javascript]").count() == 0
        assert tab.evaluate("window.hacked") is None
        assert tab.locator("main img, main script, tr b").count() == 0
        assert (said, asked) == ([], [path.as_uri()])


def test_without_javascript_the_table_and_headline_are_there(board: Path, chromium: str) -> None:
    entries = read_board(board)
    path = board.with_name("page.html")
    path.write_text(page(entries, read_bib(bib_beside(board))), encoding="utf-8")
    with opened(chromium, path, script=False) as (tab, _, asked):
        assert tab.text_content("#says") == headline(entries, Bar(entries)).says
        assert tab.locator("tr[data-row]").count() == len(entries)
        assert asked == [path.as_uri()]


class _Elements(HTMLParser):
    """All elements of a page with their attributes, and the text of its scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.reading = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.reading = tag if tag in self.texts and not dict(attrs).get("type") else ""
        if self.reading:
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.reading:
            self.texts[self.reading][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.reading = ""


def test_the_file_names_nothing_to_load_and_its_policy_allows_only_itself(whole: Path) -> None:
    read = _Elements()
    text = whole.read_text(encoding="utf-8")
    read.feed(text)
    for tag, attributes in read.elements:
        assert not set(attributes) & {"src", "srcset", "style", "onclick", "onload", "data-src"}, tag
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
    policy = next(each["content"] for _, each in read.elements if each.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        hashes = {base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in read.texts[tag]}
        assert set(re.findall(r"sha256-([^']+)'", policy.split(f"{tag}-src")[1].split(";")[0])) == hashes
    assert BASELINE.bibtex.splitlines()[0] in text
    assert len(text) < 6_000_000


def test_the_data_of_the_page_are_the_boards(whole: Path) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', whole.read_text("utf-8"), re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    board = read_board(default_board())
    bar = Bar(board)
    assert [row["id"] for row in data["rows"]] == [entry.id for entry in board]
    for row, entry in list(zip(data["rows"], board, strict=True))[::40]:
        assert row["top1"] == (None if entry.top1 is None else pytest.approx(float(entry.top1)))
        if may_be_the_bar(entry):
            assert row["verdicts"] is None
            continue
        for packed, verdict in zip(row["verdicts"], bar.all_verdicts(entry), strict=True):
            outcome, gap, reference, near, why = packed
            assert data["outcomes"][outcome] == verdict.outcome
            assert gap == (None if verdict.gap is None else float(verdict.gap))
            assert (None if reference is None else board[reference]) == verdict.reference
            assert (bool(near), data["reasons"][why]) == (verdict.near, verdict.why)


def test_an_empty_board_makes_a_page_too() -> None:
    assert "0 rows" in page([], {})
