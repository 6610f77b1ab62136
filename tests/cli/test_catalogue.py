"""Lists that are read without torch: current, complete, and never behind what there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thinresnet.cli import app, catalogue
from thinresnet.cli.prune import GROUP
from thinresnet.errors import InputError
from thinresnet.pruning import registry
from thinresnet.pruning.registry import methods


@pytest.mark.parametrize("path", catalogue.contents(), ids=lambda path: path.name)
def test_what_is_made_is_current(path: Path) -> None:
    made = catalogue.contents()[path]()
    assert path.read_text(encoding="utf-8") == made, "run python -m thinresnet.cli.catalogue"


def test_a_file_of_methods_that_the_list_does_not_know_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {row["method"] for row in catalogue.method_rows()} == set(methods())
    monkeypatch.setattr(catalogue, "method_files", lambda: ["toy.py"])
    monkeypatch.setattr(catalogue, "rows_of_methods", lambda: [{"method": "toy"}])
    assert catalogue.method_rows() == [{"method": "toy"}]
    assert GROUP == registry.GROUP


def test_lists_are_light() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom thinresnet.cli import app\n"
        "for line in ('prune --list', 'prune --list --json', 'prune --list --settings', 'prune fisher --list',\n"
        "             'study protocols', 'study protocols --json'):\n"
        "    done = CliRunner().invoke(app, line.split())\n    assert done.exit_code == 0 and done.stdout, line\n"
        "print([name for name in ('torch', 'timm', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def _listed(*flags: str) -> str:
    done = CliRunner().invoke(app, ["prune", *flags], env={"COLUMNS": "300"})
    if isinstance(done.exception, InputError):
        raise done.exception
    assert done.exit_code == 0
    return done.stdout


def test_settings_stand_beside_their_papers() -> None:
    rows = {row["setting"]: row for row in json.loads(_listed("fisher", "--list", "--settings", "--json"))}
    assert (rows["updates"]["theirs"], rows["updates"]["ours"], rows["updates"]["why"]) == (100, 100, "")
    assert rows["mode"]["ours"] == "train"
    every = json.loads(_listed("--list", "--settings", "--json"))
    assert {row["method"] for row in every} == set(methods())
    text = _listed("--list", "--settings", "--markdown")
    assert text.splitlines()[0] == "| method | setting | the paper | here | why, and where the paper's was read |"
    assert len(text.splitlines()) == len(every) + 2
    assert "not known" in text
    assert "BayesWatch/pytorch-prunes" in _listed("fisher", "--list", "--settings")


def test_a_name_that_is_no_longer_says_which_is() -> None:
    with pytest.raises(InputError, match="it is fisher now"):
        _listed("fisher-tune", "--list")
    for flags in (["--settings"], ["--list", "--markdown"]):
        with pytest.raises(InputError, match=r"--list"):
            _listed(*flags)
