"""A row from questions: each answer is checked at once, and asked for again where it cannot be.

What is printed and typed goes through two functions, so that the questions work in any terminal, and in a test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from thinresnet.errors import InputError, nearest
from thinresnet.files import read_text
from thinresnet.leaderboard import dense
from thinresnet.leaderboard.adding import Proposal, propose
from thinresnet.leaderboard.amounts import SHORT, read_amount, unit_of_flops
from thinresnet.leaderboard.bibtex import arxiv_paper, read_bibtex
from thinresnet.leaderboard.papers import Paper
from thinresnet.leaderboard.schema import DATASETS, FAMILIES, INPUT_SIZES, NAMES, Entry, parse

Answer = TypeVar("Answer")
_ARXIV = re.compile(
    r"(?:(?:https?://)?(?:www\.)?arxiv\.org/(?:abs|pdf)/|arxiv:\s*)?([0-9]{4}\.[0-9]{4,5})(?:v[0-9]+)?(?:\.pdf)?",
    re.ASCII | re.IGNORECASE,
)
_SHARE = re.compile(r"([0-9.]+)\s*%\s*(cut|removed|less|kept|left)", re.IGNORECASE)
_TIMES = re.compile(r"([0-9.]+)\s*[x×]", re.IGNORECASE)
_MOST_LINES = 400
_ARCHS_SHOWN = 12


@dataclass(frozen=True)
class Talk:
    """How to ask (the question, and what Enter stands for) and how to say something."""

    ask: Callable[[str, str], str]
    say: Callable[[str], None]

    def until(self, question: str, check: Callable[[str], Answer], default: str = "") -> Answer:
        """The first answer that the check accepts; what is wrong with the others is said."""
        while True:
            try:
                return check(self.ask(question, default).strip())
            except InputError as error:
                self.say(str(error))


def interview(entries: Sequence[Entry], papers: Mapping[str, Paper], talk: Talk) -> Proposal:
    """A proposal from answers; nothing is written."""
    cells: dict[str, str] = {}
    paper = talk.until(
        "Paper (arXiv number, citation key, a .bib file, or paste its BibTeX)", lambda text: _paper(text, papers, talk)
    )
    cells["paper"] = paper.key
    cells["dataset"] = _choice(talk, "Dataset", list(DATASETS), "imagenet")
    cells["arch"] = _arch(talk, cells["dataset"], entries)
    cells["method"] = talk.until("Method, with its variant, as the paper calls it", _column("method"))
    cells["family"] = _choice(talk, "Kind", list(FAMILIES), "pruned")
    cells["top1"] = talk.until("Top-1 accuracy in percent", lambda text: _percent("top1", text, talk))
    examples = "2.05G MACs, 4.1G FLOPs, 50.4% cut, 49.6% kept, 2.02x"
    cells |= talk.until(f"Cost with its unit, as printed ({examples}; Enter: not printed)", _cost)
    if "macs" in cells:
        cells |= _dense_cost(talk, cells)
    cells["locator"] = talk.until("Where in the paper (Table 4, row 3)", _column("locator"))
    cells["read_repo"] = talk.until(
        "What you read (owner/repository, or the page's address)", _column("read_repo"), paper.url
    )
    _more(talk, cells)
    return propose(cells, entries, papers, bibtex="" if paper.key in papers else paper.bibtex)


def _paper(text: str, papers: Mapping[str, Paper], talk: Talk) -> Paper:
    if text.startswith("@"):
        return _one(_pasted(text, talk), papers, talk)
    if text in papers:
        return papers[text]
    if found := _ARXIV.fullmatch(text):
        known = next((paper for paper in papers.values() if paper.eprint == found[1]), None)
        if known:
            talk.say(f"On the board as {known.key}: {known.title}")
            return known
        title = talk.until("New to the board. Its title", _not_empty)
        authors = talk.ask("Its authors, joined by `and` (Enter: left out)", "").strip()
        return arxiv_paper(found[1], title, authors)
    if text.endswith(".bib"):
        return _one(read_text(Path(text)), papers, talk)
    raise InputError(
        f"{text!r} is not an arXiv number such as 2002.10179, a citation key of the board{nearest(text, papers)} "
        "or a .bib file; BibTeX begins with @"
    )


def _one(bibtex: str, papers: Mapping[str, Paper], talk: Talk) -> Paper:
    read = read_bibtex(bibtex)
    if len(read) != 1:
        raise InputError(f"BibTeX: {len(read)} entries; paste the one of this paper")
    paper = read[0].paper
    same = [known for known in papers.values() if known.eprint and known.eprint == paper.eprint]
    if same:
        talk.say(f"On the board as {same[0].key}: {same[0].title}")
        return same[0]
    talk.say(f"Read as {paper.key}: {paper.title}")
    return paper


def _pasted(first: str, talk: Talk) -> str:
    """Lines until the braces of the entry are balanced."""
    lines = [first]
    while "".join(lines).count("{") > "".join(lines).count("}") or "{" not in "".join(lines):
        if len(lines) > _MOST_LINES:
            raise InputError(f"BibTeX: no end after {_MOST_LINES} lines; are the braces balanced?")
        lines.append(talk.ask("", ""))
    return "\n".join(lines)


def _choice(talk: Talk, what: str, choices: Sequence[str], default: str) -> str:
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(choices, 1))

    def check(text: str) -> str:
        if text.isascii() and text.isdigit() and 1 <= int(text) <= len(choices):
            return choices[int(text) - 1]
        if text in choices:
            return text
        raise InputError(f"{what}: {text!r} is none of {', '.join(choices)}{nearest(text, choices)}")

    return talk.until(f"{what} ({listed})", check, default)


def _arch(talk: Talk, dataset: str, entries: Sequence[Entry]) -> str:
    """A counted architecture; those with the most results on this dataset have a number."""
    counts = Counter(entry.arch for entry in entries if entry.dataset == dataset)
    listed = [name for name, _ in counts.most_common(_ARCHS_SHOWN)]

    def check(text: str) -> str:
        if text.isascii() and text.isdigit() and 1 <= int(text) <= len(listed):
            return listed[int(text) - 1]
        size = INPUT_SIZES.get((dataset, text), DATASETS[dataset].input_size)
        if dense.dense_cost(text, size, DATASETS[dataset].classes) is None:
            known = sorted(dense.archs())
            raise InputError(
                f"Architecture: {text!r} has not been counted on {dataset}{nearest(text, known)} "
                "(count a new one with `thinresnet count NAME`)"
            )
        return text

    numbered = ", ".join(f"{number} {name}" for number, name in enumerate(listed, 1))
    return talk.until(f"Architecture, by its timm name ({numbered}, or another)", check, listed[0] if listed else "")


def _column(name: str) -> Callable[[str], str]:
    """A check by the rule of one column."""

    def check(text: str) -> str:
        column = SHORT.get(name, name)
        _, faults = parse({column: text})
        if mine := [fault for fault in faults if fault.column == column]:
            raise InputError(str(mine[0]))
        if not text:
            raise InputError(f"{name}: needed")
        return text

    return check


def _percent(name: str, text: str, talk: Talk) -> str:
    """An accuracy; a fraction is asked about."""
    figure = _column(name)(text.removesuffix("%").strip())
    if 0 < float(figure) <= 1:
        moved = format(Decimal(figure).scaleb(2), "f")
        if _yes(talk, f"{figure} is a fraction. Did you mean {moved} percent?"):
            return moved
    return figure


def _cost(text: str) -> dict[str, str]:
    """A cost, however the paper gives it."""
    if not text:
        return {}
    if found := _SHARE.fullmatch(text):
        name = "cost_kept_pct" if found[2].lower() in ("kept", "left") else "cost_cut_pct"
        return {name: _column(name)(found[1])}
    if text.endswith("%"):
        raise InputError(f"cost: {text} of what? Say `{text} cut` or `{text} kept`")
    if found := _TIMES.fullmatch(text):
        return {"speedup_x": _column("speedup_x")(found[1])}
    read_amount("macs", text)
    return {"macs": text}


def _dense_cost(talk: Talk, cells: Mapping[str, str]) -> dict[str, str]:
    """What the same table says of the dense network: it tells how the paper counts."""
    size = INPUT_SIZES.get((cells["dataset"], cells["arch"]), DATASETS[cells["dataset"]].input_size)
    counted = dense.dense_cost(cells["arch"], size, DATASETS[cells["dataset"]].classes)
    known = f"counted here: {counted.macs / 1e9:.4g}G MACs; " if counted else ""

    def check(text: str) -> dict[str, str]:
        return {"dense_macs": text} if text and read_amount("dense_macs", text) else {}

    found = talk.until(f"The dense network's cost in the same table ({known}Enter: not printed)", check)
    if not read_amount("macs", cells["macs"])[1]:
        return found
    printed = read_amount("dense_macs", found["dense_macs"])[0] if found else ""
    try:
        unit = unit_of_flops({**cells, "dense_cost_printed_g": printed})
    except InputError:
        unit = _choice(talk, "What do its FLOPs count", ["macs", "2-per-mac", "unknown"], "unknown")
    else:
        talk.say(f"Read as cost_unit {unit}, since {found['dense_macs']} is the dense network's")
    return {**found, "cost_unit": unit}


def _more(talk: Talk, cells: dict[str, str]) -> None:
    """Any other column, as `name=value`, until Enter."""
    names = [*SHORT, *(name for name in NAMES if name not in SHORT.values() and name != "id")]

    def check(text: str) -> tuple[str, str] | None:
        if not text:
            return None
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in names:
            raise InputError(f"{text!r}: write name=value{nearest(name, names)}; names are those of `add --help`")
        if name in ("macs", "dense_macs", "params", "dense_params"):
            read_amount(name, value)
        elif name.endswith("top1") or name.endswith("top5"):
            value = _percent(name, value, talk)
        else:
            _column(name)(value)
        return name, value

    question = "Anything else, as name=value (params=12.5M, dense_top1=76.15, tune_epochs=90; Enter: no)"
    while (found := talk.until(question, check)) is not None:
        cells[found[0]] = found[1]


def _not_empty(text: str) -> str:
    if not text:
        raise InputError("needed")
    return text


def _yes(talk: Talk, question: str) -> bool:
    return talk.ask(f"{question} (y/n)", "y").strip().lower() in ("y", "yes")
