"""The reference of the documentation, written from the code: `python -m thinresnet.cli.reference`.

Three pages of docs/reference/: the command line from its own parsers, the YAML files from what validates them, and the
public names of Python from their signatures and docstrings. A test compares the files with what is written here.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

import thinresnet
from thinresnet import cli
from thinresnet.cli import train
from thinresnet.cli.catalogue import method_rows
from thinresnet.convert import Field, fields_of
from thinresnet.files import write_atomically
from thinresnet.leaderboard.amounts import SHORT
from thinresnet.leaderboard.schema import COLUMNS
from thinresnet.recipe import GROUPS, Recipe

FOLDER = Path(thinresnet.__file__).parents[1] / "docs" / "reference"
MODULES = ("networks", "recipe", "training", "pruning", "studies", "leaderboard")
_MADE = "Made by `python -m thinresnet.cli.reference`; a test keeps it current.\n"
_PLACEHOLDERS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
_WIDEST_SIGNATURE = 80
_SECTIONS = re.compile(r"^(Args|Returns|Raises|Yields|Example|Examples):$")


def contents() -> dict[Path, Callable[[], str]]:
    """The files, and what belongs into each."""
    return {FOLDER / "cli.md": command_line, FOLDER / "yaml.md": yaml_files, FOLDER / "python.md": python}


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table of Markdown."""
    names = list(head)
    lines = [names, ["-"] * len(names), *rows]
    return "".join(f"| {' | '.join(_cell(one) for one in line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


# ---- the command line


def command_line() -> str:
    """docs/reference/cli.md."""
    parts = ["# Command line\n", _MADE, "`thinresnet VERB --help` prints the same.\n"]
    parts.append(
        _table(
            ("verb", "what it does"), ((f"[`{verb}`](#thinresnet-{verb})", cli.VERBS[verb][1]) for verb in cli.VERBS)
        )
    )
    for name, verb in _verbs():
        parts += _verb(name, verb)
        if name == "train":
            parts += _flags()
    return "\n".join(parts)


def _verbs() -> Iterator[tuple[str, Any]]:
    """Every verb, a group before its own."""
    main: Any = typer.main.get_group(cli.app)
    for name in cli.VERBS:
        verb = main.get_command(None, name)
        yield name, verb
        for inner, one in getattr(verb, "commands", {}).items():
            yield f"{name} {inner}", one


def _verb(name: str, verb: Any) -> Iterator[str]:
    """A verb: what it does, an example, its usage, arguments and options."""
    yield f"{'###' if ' ' in name else '##'} thinresnet {name}\n"
    text, examples = _help(verb.help)
    yield f"{text}\n"
    if examples:
        yield "```bash\n" + "".join(f"{line}\n" for line in examples) + "```\n"
    if name == "train" or hasattr(verb, "commands"):
        return
    hints = typing.get_type_hints(inspect.unwrap(verb.callback))
    arguments = [one for one in verb.params if one.param_type_name == "argument"]
    options = [one for one in verb.params if one.param_type_name == "option" and not one.hidden]
    shown = " ".join(_argument(one) for one in arguments)
    yield f"Usage: `thinresnet {name} [OPTIONS]{' ' if shown else ''}{shown}`\n"
    if arguments:
        yield _table(("argument", "what it is"), ((_code(_argument(one)), one.help or "") for one in arguments))
    yield _table(("option", "default", "what it does"), (_option(one, hints.get(one.name)) for one in options))


def _help(docstring: str) -> tuple[str, list[str]]:
    """What a verb says of itself, and the commands among it."""
    said: list[str] = []
    examples: list[str] = []
    for paragraph in inspect.cleandoc(docstring).split("\n\n"):
        if "thinresnet " not in paragraph or (not examples and not paragraph.startswith("Example")):
            said.append(paragraph)
            continue
        lines = re.sub(r"\n(?=--)", " ", re.sub(r"^Examples?: ", "", paragraph)).splitlines()
        for line in lines:
            examples += [part.strip() for part in re.split(r",? and [a-z ]+: |^and [a-z ]+: ", line) if part.strip()]
    return "\n\n".join(said), examples


def _argument(one: Any) -> str:
    shown = (one.metavar or one.name.upper()).strip("[]")
    many = "..." if one.nargs == -1 else ""
    return f"{shown}{many}" if one.required else f"[{shown}{many}]"


def _option(one: Any, hint: Any) -> tuple[str, str, str]:
    """Its names with a placeholder, its default, and what it does."""
    names = ", ".join(_code(each) for each in [*sorted(one.opts, key=len, reverse=True), *one.secondary_opts])
    if not one.is_flag:
        names += f" {one.metavar or _placeholder(hint)}"
    if one.multiple:
        names += " (again for more)"
    default = "" if one.default in (None, "", (), False) or callable(one.default) else _code(str(one.default))
    return names, default, one.help or ""


def _placeholder(hint: Any) -> str:
    """What stands for a value of this type."""
    kinds = [each for each in (hint, *_within(hint)) if each in _PLACEHOLDERS]
    return _PLACEHOLDERS[kinds[0]] if kinds else "TEXT"


def _within(hint: Any) -> Iterator[Any]:
    for each in typing.get_args(hint):
        yield each
        yield from _within(each)


def _flags() -> Iterator[str]:
    """The flags of `train`: this project's, and a recipe's by its groups."""
    parser = train.parser(Recipe())
    yield "`python train.py` takes the same flags. Defaults are those of a recipe that says nothing.\n"
    for group in parser._action_groups:
        actions = [one for one in group._group_actions if one.help and one.dest != "help"]
        if actions:
            yield f"**{str(group.title).capitalize()}**\n"
            yield _table(("flag", "what it does"), ((_flag(one), str(one.help).replace("%%", "%")) for one in actions))


def _flag(action: argparse.Action) -> str:
    names = ", ".join(_code(each) for each in action.option_strings)
    return f"{names} {action.metavar}" if action.metavar and action.nargs != 0 else names


# ---- YAML


def yaml_files() -> str:
    """docs/reference/yaml.md."""
    return "\n".join(["# YAML files\n", _MADE, *_recipe(), *_studies(), *_methods(), *_rows()])


_KEYS = ("key", "takes", "default", "what it is")


def _recipe() -> Iterator[str]:
    yield "## Recipes\n"
    yield (
        "A flat file. Every key is a flag of `thinresnet train`, and of timm's `train.py`, which ignores "
        "`crop_padding`, its mode and `distill_*`.\n"
    )
    for group, title in GROUPS.items():
        found = [one for one in fields_of(Recipe).values() if one.limits["group"] == group]
        yield f"### {group}: {title}\n"
        yield _table(_KEYS, map(_key, found))


def _studies() -> Iterator[str]:
    from thinresnet.studies.reading import KEYS

    yield "## Studies\n"
    yield "One document is one study; a file may hold several, with `---` between them.\n"
    for where, kind in KEYS.items():
        yield f"### {where}\n"
        if short := getattr(kind, "SHORTHAND", None):
            yield f"A string alone stands for `{short}`.\n"
        yield _table(_KEYS, map(_key, fields_of(kind).values()))


def _key(one: Field) -> tuple[str, str, str, str]:
    return _code(one.name), one.wanted, _default(one.default), one.limits.get("about", "")


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if value is None or value in ("", (), {}, []) or dataclasses.is_dataclass(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_default(one) for one in value)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _methods() -> Iterator[str]:
    yield "## Settings of methods\n"
    yield (
        "`set` of a method in a study, `--set NAME=VALUE` of `thinresnet prune`. "
        "[Pruning](../pruning.md#every-setting-beside-its-papers) has each beside its paper's.\n"
    )
    rows = [
        (_code(method["method"]), _code(name), method["takes"][name], _default(default))
        for method in method_rows()
        for name, default in method["settings"].items()
    ]
    yield _table(("method", "setting", "takes", "default"), rows)
    without = [_code(method["method"]) for method in method_rows() if not method["settings"]]
    yield f"Without settings: {', '.join(without)}.\n"


def _rows() -> Iterator[str]:
    yield "## Rows of the board\n"
    yield (
        "`thinresnet leaderboard add --file rows.yaml` takes a list of rows, or `common` and `rows`; "
        "`thinresnet leaderboard add --template` prints one to fill in. Values are typed as they are printed. `bibtex` "
        "may hold a paper's entry. These names stand for columns, and take amounts with their unit (`2.05G`, `12.5M`): "
        + ", ".join(f"`{short}` (`{column}`)" for short, column in SHORT.items())
        + ".\n"
    )
    rows = ((_code(one.name), one.allowed, "required" if one.required else "", one.help) for one in COLUMNS)
    yield _table(_KEYS, ((name, f"{_plain(takes)}", default, about) for name, takes, default, about in rows))


def _plain(takes: str) -> str:
    """A rule in words, its pattern as code."""
    return re.sub(r" of the form (\S+),", r" of the form `\1`,", takes)


# ---- Python


def python() -> str:
    """docs/reference/python.md."""
    parts = ["# Python\n", _MADE, "What is not here is internal, and may change.\n"]
    seen: dict[Any, str] = {}
    for name in MODULES:
        module = importlib.import_module(f"thinresnet.{name}")
        parts += [f"## thinresnet.{name}\n", f"{_prose(inspect.getdoc(module) or '')}\n"]
        for public in public_names(module):
            value = inspect.unwrap(getattr(module, public))
            parts.append(f"### {name}.{public}\n")
            if inspect.isclass(value) or inspect.isfunction(value):
                first = seen.setdefault(value, f"{name}.{public}")
                again = first != f"{name}.{public}"
                parts += (
                    [f"The same as [{first}](#{first.replace('.', '').lower()}).\n"]
                    if again
                    else _public(public, value)
                )
            else:
                parts.append(f"A constant: {_constant(value)}.\n")
    return "\n".join(parts)


def public_names(module: ModuleType) -> list[str]:
    """What it exports: `__all__`, or the functions and classes of its own without an underscore."""
    exported = getattr(module, "__all__", None)
    own = (
        name
        for name, one in vars(module).items()
        if (inspect.isfunction(one) or inspect.isclass(one)) and one.__module__ == module.__name__ and name[0] != "_"
    )
    return sorted(own if exported is None else exported, key=lambda name: (name.isupper(), name.lower()))


def _public(name: str, value: Any) -> Iterator[str]:
    yield f"```python\n{_signature(name, value)}\n```\n"
    yield f"{_prose(inspect.getdoc(value) or '')}\n"
    if inspect.isclass(value):
        members = [(_code(member), _first_line(one)) for member, one in _members(value)]
        if members:
            yield _table(("member", "what it is"), members)


def _constant(value: Any) -> str:
    if isinstance(value, (str, int, float)):
        return _code(repr(value))
    return f"{len(value)} of `{type(next(iter(value))).__name__}`" if len(value) else "empty"


def _signature(name: str, value: Any) -> str:
    """The call as it is written, a parameter a line where one line is too long."""
    if inspect.isclass(value) and not inspect.isfunction(value.__init__):  # it takes what its base takes
        return f"class {name}({value.__bases__[0].__name__})".replace("(object)", "")
    call = inspect.signature(value)
    texts = list(_parameters(call))
    head = f"class {name}" if inspect.isclass(value) else f"def {name}"
    returned = "" if inspect.isclass(value) or call.return_annotation is call.empty else f" -> {call.return_annotation}"
    line = f"{head}({', '.join(texts)}){returned}"
    if len(line) <= _WIDEST_SIGNATURE:
        return line
    return f"{head}(\n" + "".join(f"    {text},\n" for text in texts) + f"){returned}"


def _parameters(call: inspect.Signature) -> Iterator[str]:
    starred = False
    for one in call.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not starred:
            yield "*"
        starred = starred or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        stars = "*" * (one.kind is one.VAR_POSITIONAL) + "**" * (one.kind is one.VAR_KEYWORD)
        kind = "" if one.annotation is one.empty else f": {one.annotation}"
        default = "" if one.default is one.empty else f" = {_shown(one.default)}"
        yield f"{stars}{one.name}{kind}{default}"


def _shown(default: Any) -> str:
    """A default as code; what has no text of its own is left out."""
    text = repr(default)
    if isinstance(default, Path):
        return f"Path({str(default)!r})"
    return "..." if " at 0x" in text or text == "<factory>" else text


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Methods and properties that it defines and says something about."""
    for name, one in vars(kind).items():
        called = isinstance(one, (staticmethod, classmethod)) or inspect.isfunction(one)
        function = getattr(one, "fget", None) or getattr(one, "func", None) or getattr(one, "__func__", one)
        if name[0] != "_" and inspect.isfunction(function) and inspect.getdoc(function):
            yield f"{name}()" if called else name, function


def _first_line(function: Any) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0]


def _prose(docstring: str) -> str:
    """A docstring as Markdown: sections of arguments become lists."""
    lines: list[str] = []
    listed = False
    for line in docstring.splitlines():
        if found := _SECTIONS.match(line):
            lines += [f"**{found[1]}**", ""]
            listed = True
        elif listed and re.match(r"^    \S", line):
            name, colon, about = line.strip().partition(": ")
            lines.append(f"- `{name}`: {about}" if colon and " " not in name else f"- {line.strip()}")
        elif listed and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            listed = listed and not line.strip()
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    for path, content in contents().items():
        write_atomically(path, content())
