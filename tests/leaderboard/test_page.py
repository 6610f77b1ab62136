"""The page in a real browser without a network: silent, complete, usable by mouse, finger, keyboard and reader."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from thinresnet.leaderboard.bar import Bar
from thinresnet.leaderboard.cite import BASELINE
from thinresnet.leaderboard.matrix import matrix
from thinresnet.leaderboard.page import page
from thinresnet.leaderboard.papers import Paper, bib_beside, read_bib
from thinresnet.leaderboard.references import ANY_PLAIN_CNN, Assumptions, may_be_the_bar
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import default_board, read_board
from thinresnet.leaderboard.verdicts import all_verdicts, judge

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


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """One Chromium, which takes longer to start than to show the page; each test has a context of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@contextmanager
def opened(
    browser: Any, path: Path, *, width: int = 1280, touch: bool = False, script: bool = True
) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page in Chromium with the network off, its console messages, and every request that it tried."""
    said: list[str] = []
    asked: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900}, offline=True, has_touch=touch, java_script_enabled=script
    )
    tab = context.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    if script:
        tab.wait_for_selector("html[data-ready]", timeout=60_000)
    try:
        yield tab, said, asked
    finally:
        context.close()


def seen_rows(tab: Any) -> list[int]:
    """Numbers of the rows that can be seen, in the order in which they stand."""
    found: list[int] = tab.evaluate(
        """[...document.querySelectorAll("tr[data-row]:not([hidden])")].map((row) => +row.dataset.row)"""
    )
    return found


def judged(board: list[Entry], **assumptions: str) -> dict[str, str]:
    """The outcome of every row that is no reference."""
    bar = Bar(board)
    return {row.id: judge(bar, row, Assumptions(**assumptions)).outcome for row in board if not may_be_the_bar(row)}


def test_matrix_chart_and_table_work_without_a_network(whole: Path, browser: Any) -> None:
    board = read_board(default_board())
    with opened(browser, whole) as (tab, said, asked):
        found = matrix(board, Bar(board))
        cells = [cell for cell in found.cells if cell.assumptions.budget == "macs"]
        shown = [row.inner_text().split() for row in tab.locator("#matrix tbody tr").all()]
        for words, cell in zip(shown, cells, strict=True):
            counts = [str(each) for each in (cell.loses, cell.ties, cell.clears, cell.unjudged)]
            assert words[-5:-1] == counts
        assert re.match(r"[0-9]+ to [0-9]+ of [0-9]+", tab.inner_text("#big"))

        # One cell chosen in the matrix: the chart, the table and the address follow.
        tab.click("#matrix button[aria-label='any plain CNN, any recipe, own resolution']")
        assert tab.input_value("#against") == ANY_PLAIN_CNN
        assert "against=any+plain+CNN&resolution=own" in tab.url
        outcomes = judged(board, references=ANY_PLAIN_CNN, resolution="own")
        tab.select_option("#verdict", "loses")
        chosen = {
            number
            for number, row in enumerate(board)
            if (row.dataset, row.arch) == ("imagenet", "resnet50") and outcomes.get(row.id) == "loses"
        }
        assert set(seen_rows(tab)) == chosen
        tab.click("#reset")

        # Sort: every value that is there, largest first, then smallest first, unknown ones last.
        for way in (1, -1):
            tab.click("th[data-key=top1] button")
            values = [board[number].top1 for number in seen_rows(tab)]
            known = [value for value in values if value is not None]
            assert known == sorted(known, reverse=way == 1)
            assert values[: len(known)] == known
        assert tab.get_attribute("th[data-key=top1]", "aria-sort") == "ascending"

        # Filter: words in any order, in method, paper or note; the axes stay where they are.
        axis = tab.locator("#chart .tick").all_inner_texts()
        tab.fill("#search", "pruning depgraph")
        assert seen_rows(tab)
        assert all(board[n].method == "DepGraph" or "depgraph" in board[n].paper for n in seen_rows(tab))
        assert tab.locator("#chart .tick").all_inner_texts() == axis
        tab.fill("#search", "")
        tab.fill("#from", "2021")
        tab.fill("#to", "2022")
        papers = read_bib(bib_beside(default_board()))
        assert {papers[board[number].paper].year for number in seen_rows(tab)} == {2021, 2022}
        tab.click("#reset")

        # Hover: the mark's own numbers; choose it: its source, then its row.
        mark = tab.locator("#chart .point:not(.faint)").last
        mark.hover(force=True)
        tab.wait_for_selector("#tip:not([hidden])")
        assert "top-1" in tab.inner_text("#tip")
        mark.click(force=True)
        assert "found in" in tab.inner_text("#picked")
        tab.click("#picked button:has-text('Show it in the table')")
        row = tab.locator("tr.here[data-row]")
        assert row.locator("button").get_attribute("aria-expanded") == "true"
        assert "BibTeX" in tab.inner_text("tr.details-row")

        # Everything else that can be switched, on every kind of data.
        for axis_name in ("params", "ratio", "both"):
            tab.check(f"input[value={axis_name}]")
        tab.uncheck("#log")
        tab.uncheck("[data-family=pruned]")
        assert not any(board[number].family == "pruned" for number in seen_rows(tab))
        tab.click("#reset")
        for dataset in tab.locator("#dataset option").all_inner_texts():
            tab.select_option("#dataset", dataset)
            assert {board[number].dataset for number in seen_rows(tab)} == {dataset}
        tab.emulate_media(color_scheme="dark")
        assert asked == [whole.as_uri()]
        assert said == []


def test_an_address_brings_back_what_was_chosen(whole: Path, browser: Any) -> None:
    board = read_board(default_board())
    number, row = next((n, row) for n, row in enumerate(board) if row.arch == "resnet56_cifar" and row.top1)
    with opened(browser, whole) as (tab, said, _):
        for address in (f"#{row.id}", f"#row={row.id}&axis=ratio&log=&recipes=classical", "#row=nothing&axis=evil"):
            tab.goto("about:blank")
            tab.goto(whole.as_uri() + address)
            tab.wait_for_selector("html[data-ready]")
            if "nothing" in address:
                assert (tab.input_value("#arch"), tab.is_checked("input[value=macs]")) == ("resnet50", True)
                continue
            assert (tab.input_value("#dataset"), tab.input_value("#arch")) == (row.dataset, row.arch)
            assert tab.locator(f"tr.here[data-row='{number}']").count() == 1
        tab.goto("about:blank")
        tab.goto(f"{whole.as_uri()}#paper={row.paper}")
        tab.wait_for_selector(f"#paper-{row.paper}[open] li")
        results = sum(each.paper == row.paper for each in board)
        assert tab.locator(f"#paper-{row.paper} li").count() == results
        assert said == []


def test_what_is_shown_comes_as_csv(whole: Path, browser: Any, tmp_path: Path) -> None:
    board = read_board(default_board())
    with opened(browser, whole) as (tab, _, _):
        tab.select_option("#verdict", "clears")
        with tab.expect_download() as download:
            tab.click("#download")
        download.value.save_as(tmp_path / "shown.csv")
        rows = list(csv.DictReader((tmp_path / "shown.csv").open(encoding="utf-8", newline="")))
        assert [row["id"] for row in rows] == [board[number].id for number in seen_rows(tab)]
        assert {(row["verdict"], row["rules"]) for row in rows} == {("clears", "2")}


def test_a_phone_a_keyboard_and_a_reader_can_use_it(whole: Path, browser: Any) -> None:
    with opened(browser, whole, width=390, touch=True) as (tab, said, asked):
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        for table in ("#matrix", "#holes"):  # no column is cut off
            around = f"document.querySelector('{table}').parentElement"
            assert tab.evaluate(f"{around}.scrollWidth <= {around}.clientWidth"), table
        assert tab.locator("#chart svg").bounding_box()["width"] <= 390 - 32
        tab.locator("#chart .point").last.tap(force=True)
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


def test_hostile_text_comes_out_as_text(make: Make, tmp_path: Path, browser: Any) -> None:
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
    with opened(browser, path) as (tab, said, asked):
        assert tab.text_content("tr[data-row='0'] th button") == HOSTILE
        tab.locator("#chart .point").last.hover(force=True)
        tab.wait_for_selector("#tip:not([hidden])")
        tab.click("tr[data-row='0'] th button")
        details = tab.inner_text("tr.details-row")
        assert HOSTILE in details
        assert TEMPLATE.strip() in details
        assert tab.locator("a[href^=javascript]").count() == 0
        assert tab.evaluate("window.hacked") is None
        assert tab.locator("main img, main script, tr b").count() == 0
        assert (said, asked) == ([], [path.as_uri()])


def test_without_javascript_the_tables_are_there(board: Path, browser: Any) -> None:
    entries = read_board(board)
    path = board.with_name("page.html")
    path.write_text(page(entries, read_bib(bib_beside(board))), encoding="utf-8")
    with opened(browser, path, script=False) as (tab, _, asked):
        assert tab.locator("tr[data-row]").count() == len(entries)
        assert tab.locator("#matrix tbody tr").count() == 12
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
    assert len(text) < 2_000_000


def test_the_verdicts_of_the_page_are_the_boards(whole: Path, browser: Any) -> None:
    board = read_board(default_board())
    bar = Bar(board)
    with opened(browser, whole) as (tab, _, _):
        unpacked = tab.evaluate("""() => {
            const data = JSON.parse(document.getElementById("data").textContent);
            const {rows, verdictOf} = unpack(data);
            return rows.filter((row) => row.index % 40 === 0).map((row) => [row.id, row.top1,
              data.assumptions.map((_, at) => { const v = verdictOf(row, at);
                return [v.outcome, v.decided, v.gap, v.wide, v.near.map((index) => rows[index].id)]; })]);
        }""")
    assert [each[0] for each in unpacked] == [row.id for row in board[::40]]
    for (_, top1, found), row in zip(unpacked, board[::40], strict=True):
        assert top1 == (None if row.top1 is None else pytest.approx(float(row.top1)))
        if may_be_the_bar(row):
            assert {each[0] for each in found} == {"reference"}
            continue
        for (outcome, decided, gap, wide, near), verdict in zip(found, all_verdicts(bar, row), strict=True):
            assert (outcome, decided, wide) == (verdict.outcome, verdict.decided, verdict.wide)
            assert gap == (None if verdict.gap is None else pytest.approx(verdict.gap, abs=0.0051))
            assert near == [each.id for each in verdict.neighbours]


def test_an_empty_board_makes_a_page_too() -> None:
    assert "0 rows" in page([], {})
