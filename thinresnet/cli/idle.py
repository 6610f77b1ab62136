"""Flags that would have no effect in a call are refused, never ignored."""

from __future__ import annotations

from collections.abc import Collection

import typer

from thinresnet.errors import InputError


def refuse_folder_of_digits(context: typer.Context, dataset: str) -> None:
    """Refuse `--data-dir` beside the images that come with a package."""
    if dataset == "digits":
        refuse_idle(context, "with --dataset digits", "these images come with scikit-learn", these=("data_dir",))


def refuse_idle(
    context: typer.Context, where: str, why: str, *, these: Collection[str] = (), all_but: Collection[str] = ()
) -> None:
    """Refuse flags of the command line (by the names of their parameters) that mean nothing in this call.

    A default, or a value from the environment, is nobody's mistake.
    """
    idle = [
        max(each.opts, key=len)
        for each in context.command.params
        if each.param_type_name == "option"
        and each.name
        and (each.name in these or (all_but and each.name not in all_but))
        if getattr(context.get_parameter_source(each.name), "name", "") == "COMMANDLINE"
    ]
    if idle:
        raise InputError(f"{', '.join(idle)}: no effect {where}; {why}")
