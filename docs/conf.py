"""The documentation as a site: `sphinx-build -W --keep-going -c docs . docs/_build`; see docs/README.md."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

project = "thinresnet"
author = "The thinresnet authors"
extensions = ["myst_parser"]
include_patterns = ["README.md", "CONTRIBUTING.md", "docs/**.md"]
exclude_patterns = ["docs/_build"]
root_doc = "README"
html_theme = "furo"
html_title = project
myst_heading_anchors = 3
smartquotes = False  # quotes in commands stay what has to be typed
INDEX = Path(__file__).with_name("README.md")


def add_contents(app: Any, page: str, source: list[str]) -> None:
    """Give the front page the sections of docs/README.md as its table of contents; no file has to hold one."""
    if page != root_doc:
        return
    source[0] += _toctree("", ["docs/README"])
    for caption, links in re.findall(
        r"^\*\*(.+?)\*\*.*\n\n((?:- .*\n)+)", INDEX.read_text(encoding="utf-8"), re.MULTILINE
    ):
        pages = re.findall(r"\]\(([\w/.-]+)\.md\)", links)
        source[0] += _toctree(
            caption, ["CONTRIBUTING" if "CONTRIBUTING" in one else str(PurePosixPath("docs", one)) for one in pages]
        )


def _toctree(caption: str, pages: list[str]) -> str:
    lines = ["", "```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), "", *pages, "```", ""]
    return "\n".join(lines)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
