"""`leaderboard.bib`: the papers behind the rows, read strictly and written in one canonical form.

Only plain entries are read: no @string, @preamble or @comment, no concatenation, and of TeX only accents, letters and
escaped signs, so that nothing in a stranger's entry runs in a reader's LaTeX. Authors stand only where a source that
was read names them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from thinresnet.errors import InputError, nearest
from thinresnet.files import read_text
from thinresnet.leaderboard.schema import KEY

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "article": ("title", "journal", "year"),
    "inproceedings": ("title", "booktitle", "year"),
    "misc": ("title",),
    "mastersthesis": ("title", "year"),
    "phdthesis": ("title", "year"),
    "techreport": ("title", "year"),
    "book": ("title", "year"),
}
# fmt: off
FIELDS = (
    "title", "author", "editor", "year", "month", "booktitle", "journal", "school", "institution", "publisher",
    "series", "edition", "volume", "number", "pages", "eprint", "archiveprefix", "primaryclass", "doi", "isbn", "issn",
    "url", "urldate", "howpublished", "note", "key",
)
# fmt: on
MAX_VALUE = 2000
_ACCENTS = r"""\\["'`^~=.]\s*(\{\\?[A-Za-z]\}|\\[ij]|[A-Za-z])|\\[uvHcdbkrt]\s*(\{\\?[A-Za-z]{1,2}\}|\s[A-Za-z])"""
_HARMLESS = re.compile(rf"{_ACCENTS}|\\(?:ss|o|O|l|L|ae|AE|oe|OE|aa|AA|i|j)(?![A-Za-z])|\\[&%$#_]|\\[\^~]\{{\}}")
_PATTERNS = {
    "year": re.compile(r"(19|20)[0-9]{2}"),
    "eprint": re.compile(r"[0-9]{4}\.[0-9]{4,5}|[a-z-]+(\.[A-Z]{2})?/[0-9]{7}"),
    "url": re.compile(r"https?://[!-~]+"),
    "doi": re.compile(r"10\.[0-9]{4,9}/[!-~]+"),
}


@dataclass(frozen=True)
class Paper:
    """One entry: its key, its type (`article`, `misc`, ...) and its fields as TeX, in canonical order."""

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def title(self) -> str:
        """The title as plain text."""
        return plain(self.fields["title"])

    @property
    def authors(self) -> str:
        """The authors as plain text, empty where no source that was read names them."""
        return plain(self.fields.get("author", ""))

    @property
    def year(self) -> int | None:
        """The year; None for a repository or a page without one."""
        return int(self.fields["year"]) if "year" in self.fields else None

    @property
    def venue(self) -> str:
        """Conference or journal, as plain text; `arXiv` for a preprint."""
        for name in ("booktitle", "journal", "school", "institution", "howpublished"):
            if name in self.fields:
                return plain(self.fields[name])
        return "arXiv" if self.eprint else ""

    @property
    def eprint(self) -> str:
        """arXiv number or an empty string."""
        return self.fields.get("eprint", "")

    @property
    def url(self) -> str:
        """Where to find it: its own URL, else its DOI's or arXiv's; empty if none is known."""
        if "url" in self.fields:
            return self.fields["url"]
        if "doi" in self.fields:
            return f"https://doi.org/{self.fields['doi']}"
        return f"https://arxiv.org/abs/{self.eprint}" if self.eprint else ""

    @property
    def bibtex(self) -> str:
        """The entry as BibTeX, ending with a line end."""
        lines = [f"  {name} = {{{self.fields[name]}}},\n" for name in FIELDS if name in self.fields]
        return f"@{self.kind}{{{self.key},\n{''.join(lines)}}}\n"


def missing(paper: Paper) -> list[str]:
    """What a reader would want and no source that was read gives: authors, a year, a link."""
    wanted = {"authors": paper.authors, "year": paper.year, "link": paper.url}
    return [name for name, value in wanted.items() if not value]


@dataclass(frozen=True)
class BibFault:
    """What is wrong on one line of a .bib file."""

    line: int
    where: str
    value: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.where}: {self.value!r} is not {self.allowed}"


def read_bib(path: str | os.PathLike[str]) -> dict[str, Paper]:
    """All papers of a .bib file by key; the first fault refuses the file, named by line."""
    papers, faults = parse_bib(read_text(path))
    if faults:
        raise InputError(f"{path}, line {faults[0].line}, {faults[0]}")
    return papers


def parse_bib(text: str) -> tuple[dict[str, Paper], list[BibFault]]:
    """The papers in a BibTeX text and the faults met; parsing stops at the first fault of form."""
    papers: dict[str, Paper] = {}
    faults: list[BibFault] = []
    reader = Reader(text)
    try:
        while reader.seek_entry():
            line = reader.line
            kind, key, fields = reader.entry()
            faults += _entry_faults(line, kind, key, fields, papers)
            papers[key] = Paper(key, kind, {name: fields[name] for name in FIELDS if name in fields})
    except BibError as error:
        faults.append(BibFault(reader.line, "BibTeX", error.found, error.expected))
    return papers, faults


def render_bib(papers: Iterable[Paper]) -> str:
    """The canonical text of a .bib file: entries by key, one blank line between."""
    return "\n".join(paper.bibtex for paper in sorted(papers, key=lambda paper: paper.key))


def bib_beside(board: str | os.PathLike[str]) -> Path:
    """The .bib file that belongs to a board: the same name beside it."""
    path = Path(board)
    if path.name in ("", ".."):
        raise InputError(f"{path}: is a folder; give the name of a board, such as leaderboard.csv")
    return path.with_suffix(".bib")


def plain(tex: str) -> str:
    """TeX text as people read it: accents applied, braces and escapes gone."""
    text = re.sub(r"\\([&%$#_])|\\([~^])\{\}", r"\1\2", tex)
    for command, mark in _COMBINING.items():
        text = re.sub(
            rf"\\{re.escape(command)}\s*(?:\{{\\?([A-Za-z])\}}|\\?([A-Za-z]))",
            lambda found, mark=mark: (found[1] or found[2]) + mark,  # type: ignore[misc]
            text,
        )
    for command, letter in _LETTERS.items():
        text = re.sub(rf"\\{command}(?![A-Za-z])\s?", letter, text)
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", text))


def escape(text: str) -> str:
    """Plain text as TeX: signs that mean something to TeX lose their meaning, braces and backslashes have none."""
    text = text.translate({ord("\\"): "/", ord("{"): "(", ord("}"): ")"})
    return re.sub(r"([~^])", r"\\\1{}", re.sub(r"([&%$#_])", r"\\\1", text))


_COMBINING = {
    '"': "\u0308",
    "'": "\u0301",
    "`": "\u0300",
    "^": "\u0302",
    "~": "\u0303",
    "=": "\u0304",
    ".": "\u0307",
    "u ": "\u0306",
    "v ": "\u030c",
    "H ": "\u030b",
    "c ": "\u0327",
    "k ": "\u0328",
    "r ": "\u030a",
}
_LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa": "å", "AA": "Å",
    "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "i": "i", "j": "j",
}  # fmt: skip


def _entry_faults(
    line: int, kind: str, key: str, fields: Mapping[str, str], known: Mapping[str, Paper]
) -> list[BibFault]:
    def fault(where: str, value: str, allowed: str) -> BibFault:
        return BibFault(line, where, value if len(value) <= 60 else value[:57] + "...", allowed)

    faults = []
    if kind not in REQUIRED:
        return [
            fault("type", f"@{kind}", f"one of {', '.join('@' + each for each in REQUIRED)}{nearest(kind, REQUIRED)}")
        ]
    if not re.fullmatch(KEY, key):
        faults.append(fault("key", key, f"a key such as lin2020hrank (form {KEY})"))
    if key in known:
        faults.append(fault("key", key, "used once only"))
    faults += [fault(key, name, f"there: @{kind} needs it") for name in REQUIRED[kind] if not fields.get(name)]
    for name, value in fields.items():
        if name not in FIELDS:
            faults.append(fault(f"{key} field", name, f"a BibTeX field{nearest(name, FIELDS)}"))
        elif wrong := _value_fault(name, value):
            faults.append(fault(f"{key} {name}", value, wrong))
    return faults


def _value_fault(name: str, value: str) -> str:
    if not value or len(value) > MAX_VALUE:
        return f"1 to {MAX_VALUE} characters"
    if not value.isprintable():
        return "plain text without control, right-to-left or zero-width characters"
    if "\\" in _HARMLESS.sub("", value):
        return "free of TeX commands other than accents, letters and escaped signs"
    if name in _PATTERNS and not _PATTERNS[name].fullmatch(value):
        return f"of the form {_PATTERNS[name].pattern}"
    if name not in ("url", "doi") and re.search(r"[%#$&_^]", _HARMLESS.sub("", value)):
        return "safe for TeX: write \\%, \\#, \\$, \\&, \\_ and \\^{} for these signs"
    return ""


class BibError(ValueError):
    """Text that is no BibTeX: what stands there, and what should."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(expected)
        self.found, self.expected = found, expected


class Reader:
    """A cursor over BibTeX text."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    @property
    def line(self) -> int:
        """The number of the line of the cursor."""
        return self.text.count("\n", 0, self.at) + 1

    def take(self, pattern: str, expected: str) -> str:
        found = re.compile(pattern).match(self.text, self.at)
        if not found:
            shown = self.text[self.at : self.at + 20].split("\n")[0]
            raise BibError(shown or "the end of the file or line", expected)
        self.at = found.end()
        return found[0]

    def space(self) -> None:
        self.take(r"\s*", "space")

    def seek_entry(self) -> bool:
        """Go to the next `@`; between entries only space and comment lines may stand."""
        self.take(r"(?:\s+|%[^\n]*)*", "space")
        if self.at == len(self.text):
            return False
        if self.text[self.at] != "@":
            self.take(r"@", "an entry such as @article{key, ...} (or a comment line that begins with %)")
        return True

    def entry(self) -> tuple[str, str, dict[str, str]]:
        """The type, key and fields of the entry at the cursor."""
        kind = self.take(r"@[A-Za-z]+\s*", "an entry type such as @article")[1:].strip().lower()
        self.take(r"\{\s*", "{ after the entry type")
        key = self.take(r"[^\s,{}\"#%'()=\\]+", "a key")
        fields: dict[str, str] = {}
        self.space()
        while not self._closes():
            self.take(r",\s*", "a comma before the next field, or } at the end of the entry")
            if self._closes():
                break
            name = self.take(r"[A-Za-z][A-Za-z_-]*", "a field name").lower()
            self.take(r"\s*=\s*", "= after the field name")
            if name in fields:
                raise BibError(name, "a field that stands once in its entry")
            fields[name] = re.sub(r"\s*\n\s*", " ", self.value()).strip()
            self.space()
        return kind, key, fields

    def _closes(self) -> bool:
        if self.text.startswith("}", self.at):
            self.at += 1
            return True
        return False

    def value(self) -> str:
        """The value of a field, at whose first sign the cursor stands."""
        opening = self.take(r'[{"]|[0-9]+', "a value in braces or quotes, or a number")
        if opening not in ("{", '"'):
            return opening
        start, depth = self.at, 0
        while self.at < len(self.text):
            char = self.text[self.at]
            if depth == 0 and char == ("}" if opening == "{" else '"'):
                self.at += 1
                return self.text[start : self.at - 1]
            # A backslash escapes the brace after it for TeX, not for BibTeX, which counts every brace.
            depth += {"{": 1, "}": -1}.get(char, 0)
            if depth < 0:
                break
            self.at += 1
        self.at = start
        raise BibError(self.text[start : start + 20].split("\n")[0], "a value whose braces are balanced")
