"""Groups of verbs whose files are imported when one of their verbs is called, so that the others cost no time."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from thinresnet.cli.plain_values import take_plain_values


class Verbs(Mapping[str, Any]):
    """The commands of a group by name: each has a file of this package, which is imported when it is looked up."""

    def __init__(self, verbs: Mapping[str, tuple[str, str]], groups: frozenset[str] = frozenset()) -> None:
        """`verbs`: the file, and the first line of the help; `groups`: those that are groups of verbs themselves."""
        self._verbs, self._groups = verbs, groups

    def __getitem__(self, name: str) -> Any:
        app = importlib.import_module(f"thinresnet.cli.{self._verbs[name][0]}").app
        group = typer.main.get_group(app)
        if name in self._groups:
            return group
        return group.commands[name]

    def __contains__(self, name: object) -> bool:
        return name in self._verbs

    def __iter__(self) -> Iterator[str]:
        return iter(self._verbs)

    def __len__(self) -> int:
        return len(self._verbs)

    def listed(self, name: str) -> TyperCommand:
        """What the list of verbs needs of one, without its file."""
        return TyperCommand(name, help=self._verbs[name][1])


class OnDemand(TyperGroup):
    """A group of `verbs`."""

    verbs: Verbs

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = self.verbs  # type: ignore[assignment]  # nothing is added to it
        self._lists = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        take_plain_values(self, ctx)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._lists = True
        super().format_help(ctx, formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.verbs:
            return None
        if self._lists:
            return self.verbs.listed(cmd_name)
        command = self.verbs[cmd_name]
        if ctx is not None:  # a command that is only looked at takes no values
            take_plain_values(command, ctx)
        return command
