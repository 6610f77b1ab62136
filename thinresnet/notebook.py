"""How results display in a notebook: small HTML tables, every cell escaped. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def html_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "", left: int = 1) -> str:
    """A table: the first `left` columns hold words, the others figures; None is an empty cell."""

    def cell(tag: str, index: int, value: object) -> str:
        side = "left" if index < left else "right"
        return f'<{tag} style="text-align:{side}">{escape("" if value is None else str(value))}</{tag}>'

    def line(tag: str, values: Sequence[object]) -> str:
        return f"<tr>{''.join(cell(tag, index, value) for index, value in enumerate(values))}</tr>"

    head = f"<thead>{line('th', columns)}</thead>" if any(columns) else ""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}{head}<tbody>{''.join(line('td', row) for row in rows)}</tbody></table>"


def html_facts(title: str, facts: Mapping[str, object]) -> str:
    """Names and values, one a line; what is None is left out."""
    return html_table(("", ""), [(name, value) for name, value in facts.items() if value is not None], caption=title)


def html_details(summary: str, inside: str) -> str:
    """HTML that is shown when asked for; `summary` is text."""
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def sides(size: Sequence[int]) -> str:
    """An input size as people write it: `3×32×32`."""
    return "×".join(map(str, size))
