"""BibTeX as CVF, DBLP, OpenReview, Semantic Scholar, ACM and arXiv print it, made into this board's strict form.

Capitals and signs in keys, fields that nobody cites (keywords, abstract, time stamps), months without braces and
unescaped signs are put right. What would run in a reader's LaTeX is refused, as everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from thinresnet.errors import InputError
from thinresnet.leaderboard.papers import FIELDS, REQUIRED, BibError, Paper, Reader, parse_bib, plain
from thinresnet.leaderboard.schema import KEY

# Types that sites print, and what they are here.
_KINDS = {"conference": "inproceedings", "online": "misc", "preprint": "misc", "unpublished": "misc", "thesis": "misc"}
_DROPPED = ("url", "doi", "eprint", "urldate", "month")
_MONTHS = "jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec"
_LITTLE_WORDS = (
    "a",
    "an",
    "the",
    "on",
    "in",
    "of",
    "for",
    "to",
    "and",
    "with",
    "towards",
    "toward",
    "via",
    "by",
    "from",
)
_ARXIV = re.compile(r"(?:arxiv[:./\s]*(?:abs/)?|abs/)([0-9]{4}\.[0-9]{4,5})", re.IGNORECASE)


@dataclass(frozen=True)
class Read:
    """A paper in the board's form, and the key under which its source prints it."""

    printed_key: str
    paper: Paper


def read_bibtex(text: str) -> list[Read]:
    """The papers in BibTeX from anywhere; what cannot be put right is refused by line."""
    reader = _Lenient(_without_chatter(text))
    found: list[Read] = []
    try:
        while reader.seek_entry():
            line = reader.line
            kind, key, fields = reader.entry()
            found.append(_tidied(line, kind, key, fields))
    except BibError as error:
        raise InputError(f"BibTeX, line {reader.line}, BibTeX: {error.found!r} is not {error.expected}") from None
    if text.strip() and not found:
        raise InputError("BibTeX: no entry in it; give one such as @inproceedings{key, title = {...}, ...}")
    return found


def arxiv_paper(eprint: str, title: str, authors: str = "") -> Paper:
    """A preprint from its arXiv number and what its page says; the number has the year."""
    written = re.fullmatch(r"([0-9]{2})[0-9]{2}\.[0-9]{4,5}", eprint)
    if not written:
        raise InputError(f"arXiv: {eprint!r} is not a number such as 2002.10179")
    author = f"  author = {{{authors}}},\n" if authors else ""
    text = (
        f"@misc{{x,\n  title = {{{title}}},\n{author}  year = {{20{written[1]}}},\n"
        f"  eprint = {{{eprint}}},\n  archiveprefix = {{arXiv}}\n}}"
    )
    (read,) = read_bibtex(text)
    return read.paper


class _Lenient(Reader):
    """A reader to which a month needs no braces, and the key may hold what sites put there."""

    def value(self) -> str:
        month = re.compile(rf"(?:{_MONTHS})\b", re.IGNORECASE).match(self.text, self.at)
        if month:
            self.at = month.end()
            return month[0]
        return super().value()


def _without_chatter(text: str) -> str:
    """Byte-order mark and Markdown fences gone, as they come along when an entry is copied."""
    return re.sub(r"^```.*$", "", text.removeprefix("\ufeff"), flags=re.MULTILINE)


def _tidied(line: int, kind: str, printed_key: str, fields: Mapping[str, str]) -> Read:
    kind = _KINDS.get(kind, kind)
    kept = {name: _escaped(name, _one_line(value)) for name, value in fields.items() if name in FIELDS and value}
    _name_preprint(fields, kept)
    if kind in REQUIRED and any(not kept.get(name) for name in REQUIRED[kind]) and kept.get("title"):
        kind = "misc"  # a preprint that is called an article without a journal
    # A wrong link or number helps nobody; the entry is as good without it.
    for name in _DROPPED:
        if name in kept and parse_bib(f"@misc{{abc, title = {{x}}, {name} = {{{kept[name]}}}}}")[1]:
            del kept[name]
    if "eprint" not in kept:
        kept.pop("archiveprefix", None)
    key = printed_key.lower()
    if not re.fullmatch(KEY, key) or not re.search(r"[a-z]{3}", key) or ":" in printed_key:
        key = _key(kept) or key
    ordered = {name: kept[name] for name in FIELDS if name in kept}
    paper = Paper(key, kind, ordered)
    _, faults = parse_bib(paper.bibtex)
    if faults:
        raise InputError(f"BibTeX, line {line}, {faults[0]}")
    return Read(printed_key, paper)


def _one_line(value: str) -> str:
    text = unicodedata.normalize("NFC", re.sub(r"\s+", " ", value)).strip()
    return text.replace("\u2013", "--").replace("\u2014", "---").replace("\u2019", "'")


def _escaped(name: str, value: str) -> str:
    """Signs that mean something to TeX and stand bare, escaped; what is escaped already stays as it is."""
    if name in ("url", "doi"):
        return re.sub(r"\\([&%$#_])", r"\1", value)
    return re.sub(r"(?<!\\)([&%#_])", r"\\\1", value)


def _name_preprint(fields: Mapping[str, str], kept: dict[str, str]) -> None:
    """The arXiv number, where it stands in a journal's name, a volume or a link only."""
    if "eprint" in kept:
        kept.setdefault("archiveprefix", "arXiv")
        return
    for name in ("journal", "volume", "url", "note", "howpublished"):
        if found := _ARXIV.search(fields.get(name, "")):
            kept.update(eprint=found[1], archiveprefix="arXiv")
            return


def _key(fields: Mapping[str, str]) -> str:
    """`lin2020hrank`: first author, year, first telling word of the title."""
    first = plain(fields.get("author", "")).split(" and ")[0].strip()
    surname = first.split(",")[0] if "," in first else first.rsplit(" ", 1)[-1]
    words = (_letters(word) for word in re.split(r"[\s:-]+", plain(fields.get("title", ""))))
    word = next((each for each in words if each and each not in _LITTLE_WORDS), "")
    return f"{_letters(surname)}{fields.get('year', '')}{word}"[:60]


def _letters(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", folded.lower())
