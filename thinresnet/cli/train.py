"""`train.py` and `thinresnet train`: from a command line to a recipe, a network and the call that trains it.

Nothing heavy is imported before the flags are read, so that help and a typing mistake are answered at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import typer

from thinresnet import base_width
from thinresnet import recipe as recipes
from thinresnet.budget import QUANTITIES, parse_budgets
from thinresnet.cli import flags
from thinresnet.cli.next_steps import EMBEDDED
from thinresnet.cli.slow_imports import imports_told
from thinresnet.errors import FAILED_EXIT_CODE, InputError, check_utf8, memory_error_line, nearest, one_line
from thinresnet.identity import plain
from thinresnet.network import Network
from thinresnet.recipe import Recipe
from thinresnet.result import Result
from thinresnet.stopping import (
    REQUEUE_EXIT_CODE,
    TrainingInterruptedError,
    end_on_signals,
    ending,
    stop_with_launcher,
)

app = typer.Typer()
_EPILOG = f"""exit codes:
  0   done (at once, if the run is complete already)
  2   something in the command or in a file has to be changed
  {REQUEUE_EXIT_CODE}  stopped by SIGTERM or Ctrl-C, state saved: the same command resumes; requeue on this code
  {FAILED_EXIT_CODE}   the run cannot continue: a non-finite loss, a full disk
accelerate launch and torchrun turn every code but 0 into 1; a script around them can tell by the last line."""
_NEXT = """This was the small embedded dataset (scikit-learn's digits). Next:
  CIFAR-10    thinresnet train --recipe cifar-modern --width 0.5 --data-dir DATA --download
  ImageNet    thinresnet train --recipe imagenet-a2 --arch resnet50 --width 0.5 --data-dir DATA
  many GPUs   accelerate launch --multi_gpu -m thinresnet train …  (the same flags)
  plan it     thinresnet fit resnet50 --macs 50%        (any flag of a recipe: thinresnet train --help)"""
_SCRIPT, _VERB = "train.py", "thinresnet train"


@app.command(
    "train", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def train_verb(context: typer.Context) -> None:
    """Train a network by a recipe; the same as train.py, whose flags are those of recipes.

    Example: thinresnet train --recipe cifar-modern --width 0.5 --data-dir data --download
    """
    raise typer.Exit(main(context.args, _VERB))


def main(argv: Sequence[str] | None = None, program: str = _SCRIPT) -> int:
    """Train as the command line says, `program` being what was typed; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)

    def work() -> Callable[[], None]:
        check_utf8(arguments)
        result, embedded = _train(arguments, program, visible=is_main_process())
        return lambda: _close(result, embedded=embedded)

    return exit_code(work, program)


def is_main_process() -> bool:
    """Whether this is the process that speaks for all, as the launcher says; before torch is imported."""
    return os.environ.get("RANK", "0") == "0"


def exit_code(work: Callable[[], Callable[[], None]], program: str) -> int:
    """The code that a training ends with; `work` trains, and returns what the main process says in the end."""
    visible = is_main_process()
    stop_with_launcher()
    try:
        # Before the first update and after the last one nothing has to be saved for the same command to go on.
        with end_on_signals(f"{program}: stopped; the same command goes on", REQUEUE_EXIT_CODE):
            with imports_told(sys.stderr if visible else None):
                close = work()
            _end_processes()
            if visible:
                close()
    except Exception as error:
        if isinstance(error, TrainingInterruptedError):
            _end_processes()  # which all stop at one update
        if ended := ending(error):
            line, code = ended
            of_each = bool(memory_error_line(error))  # each process has memory of its own
            return _end(f"{program}: {line}", code, visible=visible or of_each)
        if not (line := _lost_process_line(error)):
            raise
        # The main process may be the one that is gone: one on each machine tells it.
        return _end(f"{program}: {line}", FAILED_EXIT_CODE, visible=os.environ.get("LOCAL_RANK", "0") == "0")
    return 0


def _lost_process_line(error: BaseException) -> str:
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not isinstance(error, RuntimeError):
        return ""
    from thinresnet.training.processes import lost_process_line

    return lost_process_line(error)


def _end_processes() -> None:
    from thinresnet.training.processes import end_processes

    end_processes()


def _end(line: str, code: int, *, visible: bool) -> int:
    if visible:
        print(one_line(line), file=sys.stderr)
    return code


def _close(result: Result, *, embedded: bool) -> None:
    from rich.console import Console

    from thinresnet.leaderboard import place
    from thinresnet.training.report import report

    # The leaderboard has no rows for the embedded images.
    report(result, Console(), None if result.dataset == EMBEDDED else place(result.to_json()))
    if embedded:
        print(f"\n{_NEXT}")


def _train(arguments: list[str], program: str, *, visible: bool) -> tuple[Result, bool]:
    """The result, and whether it is that of the embedded default."""
    options, recipe, recipe_name = read_flags(arguments, program)
    folder, shape, holdout, arch = options.resume or None, None, options.holdout, None
    teacher, release_masks = options.teacher, options.release_masks
    network: Network | Callable[[int], Network]
    if folder is not None:
        from thinresnet.networks import read_network
        from thinresnet.training.run import read_settings

        settings = read_settings(folder)
        network, size = read_network(folder), None
        recipe_name, shape, holdout = settings["recipe_name"], settings["shape"], settings["holdout"]
        teacher = teacher or settings.get("teacher")
        release_masks = release_masks or settings.get("release_masks", False)
    else:
        network, size, shape = choose_network(options, recipe)
        arch = _architecture(options, recipe)
    if options.pretrained:
        recipe = _from_pretrained(options, recipe)
    embedded = options.recipe is None and folder is None and recipe.dataset == EMBEDDED
    if visible and embedded:
        print(f"No recipe was named: training on the small embedded dataset, with the recipe {EMBEDDED}.", flush=True)

    from thinresnet.training.session import train

    result = train(
        recipe,
        network,
        recipe_name=recipe_name,
        shape=shape,
        arch=arch,
        input_size=size,
        holdout=holdout,
        loader=options.loader,
        output=options.output,
        folder=folder,
        checkpoint_minutes=options.checkpoint_minutes,
        command=["train.py", *arguments],
        quiet=False,
        teacher=teacher,
        release_masks=release_masks,
    )
    return result, embedded


def _architecture(options: argparse.Namespace, recipe: Recipe) -> str:
    """The architecture of the network that is chosen."""
    from thinresnet.networks import read_network
    from thinresnet.networks.thinresnet import resolved

    if options.network is not None:
        return read_network(options.network).arch
    return resolved(recipe.model.removeprefix("thin_"), {})[0]


def _from_pretrained(options: argparse.Namespace, recipe: Recipe) -> Recipe:
    """The recipe that starts from the architecture's pretrained weights."""
    from thinresnet.cli.terminal import status
    from thinresnet.training.pretrained import pretrained_weights

    shaped = [name for name in ("width", "interior", "network", "resume", *QUANTITIES) if getattr(options, name)]
    if recipe.initial_checkpoint or shaped:
        other = "initial-checkpoint" if recipe.initial_checkpoint else shaped[0]
        raise InputError(f"--pretrained: weights of the architecture as it is; leave out --{other}")
    if recipe.model_kwargs:
        raise InputError("--pretrained: weights of the architecture as it is; the recipe or a flag sets model_kwargs")
    arch = recipe.model.removeprefix("thin_")
    # A file of some 100 MB, or a minute of attempts where there is no network.
    with status(f"loading pretrained weights of {arch}") if is_main_process() else nullcontext():
        _, weights = pretrained_weights(arch, recipe.num_classes)
    return recipe.replace(initial_checkpoint=str(weights))


def read_flags(arguments: Sequence[str], program: str = _SCRIPT) -> tuple[argparse.Namespace, Recipe, str]:
    """Flags of ours, and the recipe with the flags that change it; a mistake is refused with the nearest flag."""
    first = _Parser(add_help=False, allow_abbrev=False)
    _add_recipe(first)
    named, _ = first.parse_known_args(arguments)
    source: str | Path = named.recipe or EMBEDDED
    if named.resume:
        if not (named.resume / "run.json").is_file():
            raise InputError(f"--resume {named.resume}: no run there; give its folder, such as runs/<id>")
        source = named.resume / "recipe.yaml"
        if named.recipe is not None:
            raise InputError("--resume RUN brings its own recipe; leave out --recipe")
    flag_parser = parser(recipes.load(source), program)
    options, unknown = flag_parser.parse_known_args(arguments)
    read = recipes.from_timm(source)
    options.teacher = options.teacher or read.teacher
    if read.note and is_main_process():
        print(f"{source}: {read.note}", flush=True)
    if unknown:
        known = [flag for action in flag_parser._actions for flag in action.option_strings]
        raise InputError(f"unknown flag {unknown[0]!r}{nearest(unknown[0].partition('=')[0], known)}; see --help")
    if not (options.recipe or options.resume):
        _refuse_without_recipe(options)
    recipe = recipes.load(source, flags.overrides_from(options))
    if options.resume:
        given = [name for name in ("width", "interior", "network", *QUANTITIES) if getattr(options, name) is not None]
        if given:
            raise InputError(f"--resume RUN brings its own network; leave out --{given[0]}")
        changed = [
            name for name in ("scaling", "round_to", "holdout", "output") if _is_given(flag_parser, options, name)
        ]
        if changed:
            raise InputError(f"--resume RUN goes on as it began; leave out --{changed[0].replace('_', '-')}")
    return options, recipe, Path(source).stem


def parser(base: Recipe, program: str = _SCRIPT) -> argparse.ArgumentParser:
    """All flags; the help shows this recipe's values as defaults."""
    made = _Parser(
        prog=program,
        description=f"Train a network by a recipe: {'accelerate launch ' * (program == _SCRIPT)}{program} --width 0.5",
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_recipe(made)
    _add_own(made)
    flags.add_flags(made, base)
    return made


def _is_given(parser: argparse.ArgumentParser, options: argparse.Namespace, name: str) -> bool:
    return bool(getattr(options, name) != parser.get_default(name))


def _refuse_without_recipe(options: argparse.Namespace) -> None:
    """The embedded default is for the embedded images: whoever names data or a network means something else."""
    given = [name for name in ("data_dir", "dataset", "network") if getattr(options, name, None)]
    if given and getattr(options, "dataset", None) != EMBEDDED:
        fitting = ", ".join(name for name in recipes.names() if name != EMBEDDED)
        raise InputError(
            f"--{given[0].replace('_', '-')} {getattr(options, given[0])}: name a recipe too, such as --recipe "
            f"cifar-modern for 32 pixels or imagenet-a2 for 224 (there are {fitting}; without one, the embedded "
            f"{EMBEDDED} are trained on)"
        )


def choose_network(
    options: argparse.Namespace, recipe: Recipe
) -> tuple[Callable[[int], Network], tuple[int, int, int], str]:
    """The network as a function of the number of classes, its input, and what its shape is called in the run's name."""
    from thinresnet import networks
    from thinresnet.networks.blueprint import default_input_size
    from thinresnet.networks.describe import check_arch, check_kwargs

    budgets = parse_budgets(vars(options))
    factors: dict[str, Any] = {
        name: getattr(options, name) for name in ("width", "interior") if getattr(options, name) is not None
    }
    ways = [flag for flag, given in (("--network", options.network), ("--macs or --params", budgets)) if given]
    ways += [f"--{name}" for name in factors][:1]
    if len(ways) > 1:
        raise InputError(f"{' and '.join(ways)} each set the shape; give one of them")
    if options.scaling != "width" and not budgets:
        raise InputError(f"--scaling {options.scaling}: it says what a budget scales; give --macs or --params too")
    if options.round_to != 1 and (options.network or not ways):
        raise InputError(f"--round-to {options.round_to}: no channel count is changed here; leave it out")

    def input_of(size: tuple[int, int, int]) -> tuple[int, int, int]:
        return size if recipe.img_size is None else (size[0], recipe.img_size, recipe.img_size)

    if options.network is not None:
        described = networks.read_network(options.network)
        name = options.network.parent.name if options.network.name == "network.json" else options.network.stem

        def transferred(classes: int) -> Network:
            return networks.describe(
                described.arch,
                channels=described.channels,
                input_size=input_of(described.input_size),
                **{**described.kwargs, "num_classes": classes},
            )

        return transferred, input_of(described.input_size), name

    # A recipe that timm's train.py can run names this project's networks as timm knows them: thin_*, with a width.
    arch = recipe.model.removeprefix("thin_")
    kwargs = _kwargs_of(recipe)
    of_recipe: dict[str, Any] = {name: kwargs.pop(name) for name in ("width", "interior") if name in kwargs}
    if not ways:
        factors = of_recipe
    check_arch(arch)
    check_kwargs(arch, kwargs)
    size = input_of(default_input_size(arch))

    def scaled(classes: int) -> Network:
        given = {**kwargs, "num_classes": classes, "input_size": size, "round_to": options.round_to}
        if budgets:
            return networks.fit(arch, budgets, scaling=options.scaling, **given)
        return networks.scale(arch, **factors, **given)

    tags = [arch] if base_width.parse(arch) else []
    tags += [budget.tag for budget in budgets]
    tags += [f"{name[0]}{factor:g}" for name, factor in factors.items()]
    if budgets and options.scaling != "width":
        tags.append(options.scaling)
    return scaled, size, "-".join(tags) or "dense"


def _kwargs_of(recipe: Recipe) -> dict[str, Any]:
    """The keyword arguments of the architecture; the epsilon of its batch norms is one of them."""
    eps = {} if recipe.bn_eps is None else {"bn_eps": recipe.bn_eps}
    return {**plain(recipe.model_kwargs), **eps}


class _Parser(argparse.ArgumentParser):
    """Errors are one line, like all errors of a user here; argparse would print all flags first."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe and run")
    group.add_argument("--recipe", "--config", "-c", metavar="NAME|FILE", help=f"how to train (default: {EMBEDDED})")
    group.add_argument(
        "--resume",
        nargs="?",
        type=Path,
        const=None,
        metavar="RUN",
        help="resume the run in this folder (the same command again does so too)",
    )


def _add_own(parser: argparse.ArgumentParser) -> None:
    run = next(group for group in parser._action_groups if group.title == "recipe and run")
    run.add_argument("--output", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs (default: runs)")
    run.add_argument("--pretrained", action="store_true", help="start from the pretrained weights of timm")
    run.add_argument("--holdout", type=float, default=0.0, metavar="X", help="share of the training set held out (0)")
    run.add_argument("--loader", default="auto", metavar="NAME", help="auto, memory, beton, ffcv or torch (auto)")
    run.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=10.0,
        metavar="X",
        help="save this often within an epoch, minutes; 0: at the end of each epoch only (default: 10)",
    )
    run.add_argument(
        "--teacher",
        "--kd-model-name",
        metavar="RUN|FILE|NAME",
        help="distil from this trained network: a run folder, a file of weights, thinresnet20-w16, a name of timm",
    )
    run.add_argument(
        "--release-masks",
        action="store_true",
        help="train weights that masks beside --initial-checkpoint set to zero; they stay zero otherwise",
    )
    shape = parser.add_argument_group("shape of the network (one of these; the architecture is --arch)")
    shape.add_argument("--width", type=float, metavar="X", help="all channels times this")
    shape.add_argument("--interior", type=float, metavar="X", help="channels inside the residual blocks times this")
    shape.add_argument("--macs", metavar="BUDGET", help="the widest network of at most so many MACs: 2.05G or 50%%")
    shape.add_argument("--params", metavar="BUDGET", help="the same for parameters: 12M or 50%%")
    shape.add_argument("--network", type=Path, metavar="FILE", help="a network.json, or the folder of a run")
    shape.add_argument("--scaling", default="width", metavar="WAY", help="what a budget scales (default: width)")
    shape.add_argument("--round-to", type=int, default=1, metavar="N", help="channels are multiples of this (1)")
