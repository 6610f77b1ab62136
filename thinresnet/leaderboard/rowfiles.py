"""Many rows from one file: YAML or CSV, and the commented YAML to start from."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from thinresnet.errors import InputError, nearest
from thinresnet.files import read_text
from thinresnet.leaderboard.amounts import SHORT
from thinresnet.leaderboard.schema import COLUMNS, DATASETS, FAMILIES, NAMES
from thinresnet.yamls import parse_documents

KNOWN = (*NAMES, *SHORT, "bibtex")
ENDINGS = (".yaml", ".yml", ".csv")
MAX_ROWS = 10_000
# What the template asks for in every row and once for all, with an example; the schema has the words.
_COMMON = ("dataset", "arch", "family", "dense_top1", "dense_macs", "locator", "read_repo")
_EXAMPLES = {
    "dataset": f"one of {', '.join(DATASETS)}",
    "arch": "by its timm name: resnet50, mobilenetv2_100; on CIFAR resnet56_cifar",
    "family": f"one of {', '.join(FAMILIES)}",
    "method": "as the paper calls it, with its variant: HRank, third model",
    "top1": "76.10, in percent and with the digits that are printed",
    "dense_top1": "76.15, of the paper's own dense network",
    "top1_drop": "0.05, where the drop is printed and the accuracy is not",
    "macs": "2.05G, 512M, or 4.1G FLOPs as printed (dense_macs then tells whether a MAC counts once or twice)",
    "dense_macs": "4.09G, as the same table prints it",
    "cost_cut_pct": "50.4, where only the share removed is printed",
    "params": "12.5M",
    "locator": "Table 4, row 3",
    "read_repo": "what you read: owner/repository, or the page's address",
    "tune_epochs": "90, epochs of fine-tuning, if the paper says so",
    "dense_epochs": "90, epochs of the dense parent",
    "train_epochs": "epochs from random weights; never for pruned rows",
    "note": "anything else a reader must know",
}
_IN_EVERY_ROW = ("method", "top1", "top1_drop", "macs", "cost_cut_pct", "params", "dense_epochs", "tune_epochs", "note")


def rows_from_file(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The rows in a YAML or CSV file, by its ending, as names and the text that stands there."""
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{path}: rows come from a file ending in {', '.join(ENDINGS)}{nearest(ending, ENDINGS)}")
    rows = _from_csv(path) if ending == ".csv" else _from_yaml(path)
    if len(rows) > MAX_ROWS:
        raise InputError(f"{path}: {len(rows)} rows; at most {MAX_ROWS} at once")
    for number, row in enumerate(rows, 1):
        if strange := [name for name in row if name not in KNOWN]:
            raise InputError(f"{path}, row {number}: {strange[0]!r} is not a column{nearest(strange[0], KNOWN)}")
    return rows


def template() -> str:
    """A commented YAML for many rows of one paper, to be filled in."""
    words = {column.name: column.help for column in COLUMNS}

    def line(name: str, indent: str) -> str:
        return f"{indent}{name}:  # {_EXAMPLES.get(name) or words[SHORT.get(name, name)]}\n"

    return (
        "# Results of one paper, for `thinresnet leaderboard add --file rows.yaml`. Keys in any order; what is empty\n"
        "# is left out; all rows are added or none, after their verdicts have been shown. Every column of the board\n"
        "# may stand here (`thinresnet leaderboard add --help` lists them). Figures are typed as they are printed.\n"
        "common:  # what holds for every row; a row may say otherwise\n"
        "  paper:  # citation key, if the paper is on the board; else leave it empty and paste its BibTeX:\n"
        "  bibtex: |\n"
        "\n" + "".join(line(name, "  ") for name in _COMMON) + "rows:\n"
        "  -\n" + "".join(line(name, "    ") for name in _IN_EVERY_ROW) + "  # - a second row, and so on\n"
    )


def _from_yaml(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    # All are strings: 76.10 stays 76.10.
    documents = parse_documents(read_text(path), str(path), strings=True)
    if len(documents) > 1:
        raise InputError(f"{path}: {len(documents)} documents (---), where one is expected")
    loaded = documents[0] if documents else None
    common: dict[str, str] = {}
    if isinstance(loaded, dict) and "rows" in loaded:
        if strange := [name for name in loaded if name not in ("rows", "common")]:
            raise InputError(f"{path}: {strange[0]!r} stands beside `rows`; only `common` may")
        common = _mapping(loaded.get("common") or {}, f"{path}, common", may_be_empty=True)
        loaded = loaded["rows"]
    rows = loaded if isinstance(loaded, list) else [loaded]
    if not rows:
        raise InputError(f"{path}: no rows")
    return [common | _mapping(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]


def _mapping(row: Any, where: str, *, may_be_empty: bool = False) -> dict[str, str]:
    """A mapping of names to plain text, of which what is empty is left out."""
    if isinstance(row, dict) and all(isinstance(each, str) for pair in row.items() for each in pair):
        filled = {name: text for name, text in row.items() if text.strip()}
        if filled or may_be_empty:
            return filled
        if row:
            raise InputError(f"{where}: {', '.join(list(row)[:3])} … are all empty; fill in what the paper prints")
    raise InputError(f"{where}: not a mapping of names to plain values, such as `top1: 76.10`")


def _from_csv(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header, *rows = [line for line in lines if any(cell.strip() for cell in line)] or [[]]
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: broken quoting or a cell too long ({error})") from None
    names = [name.strip() for name in header]
    if not rows:
        raise InputError(f"{path}: no rows; the first line names the columns, each further line is a row")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}, line 1: column {twice!r} stands there twice; each column once")
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise InputError(f"{path}, row {number}: {len(row)} cells; the header has {len(names)}")
    return [{name: cell for name, cell in zip(names, row, strict=True) if cell.strip()} for row in rows]
