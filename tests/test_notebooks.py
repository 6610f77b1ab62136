"""docs/notebooks: a kernel runs every cell, scaled down; what does not depend on the machine is what the file shows.

Each takes about ten seconds, most of them for a process of its own that imports torch: a notebook is that process.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
EXACT = "exact"  # the tag of cells whose outputs are the same everywhere
# An epoch is enough to see that a cell runs.
SCALED_DOWN = (
    (r"(\"?epochs\"?: )\d+", r"\g<1>1"),
    (r"(\"?warmup_epochs\"?: )1", r"\g<1>0"),
    (r"seeds: \[0, 1\]", "seeds: [0]"),
)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_cell_runs_and_shows_what_the_file_holds(path: Path, tmp_path: Path) -> None:
    stored, notebook = nbformat.read(path, as_version=4), nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    for cell in notebook.cells:
        for pattern, by in SCALED_DOWN:
            cell.source = re.sub(pattern, by, cell.source)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = f"import gc\ngc.disable()  # a quarter of what the imports take\n{first.source}"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for kept, ran in zip(stored.cells, notebook.cells, strict=True):
        if ran.cell_type == "code":
            shown = [output for output in ran.outputs if output.get("name") != "stderr"]
            assert [output.output_type for output in shown] == [output.output_type for output in kept.outputs], (
                ran.source
            )
            if EXACT in ran.metadata.get("tags", ()):
                assert [_content(output) for output in shown] == [_content(output) for output in kept.outputs]


def _content(output: nbformat.NotebookNode) -> object:
    return output.get("data") or output.get("text")
