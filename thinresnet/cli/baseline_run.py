"""`thinresnet baseline run`: trains a frozen baseline as it is stated, and keeps what `baseline show` reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from thinresnet import baseline as frozen
from thinresnet.baseline import Baseline
from thinresnet.cli.terminal import say
from thinresnet.cli.train import exit_code, is_main_process
from thinresnet.errors import InputError
from thinresnet.recipe import Recipe


def run(name: str, recipe_name: str | None, data_dir: str | None, seeds: str, loader: str, output: Path) -> int:
    """Train every random seed whose result is not kept yet; returns the exit code, as train.py has it."""

    def work() -> Callable[[], None]:
        wanted = _seeds(seeds)
        found = frozen.baselines(name)
        if len(found) > 1:
            raise InputError(f"{name}: {len(found)} networks; name the one to train")
        known_as, recipe = frozen.frozen_recipe(found[0], recipe_name)
        _check_processes(found[0], known_as, recipe)
        kept = frozen.measured(found[0], known_as)
        missing = [seed for seed in wanted if kept is None or seed not in kept.seeds]
        if missing:
            recipes = [recipe.replace(data_dir=data_dir, seed=seed) for seed in missing]
            _train(found[0], known_as, recipes, loader, output)
        return lambda: _close(found[0], known_as)

    return exit_code(work, "thinresnet baseline run")


def _seeds(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        raise InputError(f"--seeds {text}: takes integers with commas between them, such as 0,1,2") from None


def _check_processes(baseline: Baseline, recipe_name: str, recipe: Recipe) -> None:
    """The images of an update are part of the baseline; so are those of a process, which its norms see."""
    processes, needed = int(os.environ.get("WORLD_SIZE", "1")), recipe.lr_base_size // recipe.batch_size
    if processes != needed:
        launch = f"accelerate launch --multi_gpu --num_processes {needed} -m" if needed > 1 else "python -m"
        raise InputError(
            f"{baseline.name} under {recipe_name}: {recipe.lr_base_size:,} images an update, {recipe.batch_size} a "
            f"process, not on {processes} process{'es' if processes > 1 else ''}; use: "
            f"{launch} thinresnet baseline run {baseline.name} --recipe {recipe_name} …"
        )


def _train(baseline: Baseline, recipe_name: str, recipes: list[Recipe], loader: str, output: Path) -> None:
    from thinresnet.leaderboard.measured import keep_evidence
    from thinresnet.training.data.datasets import open_dataset
    from thinresnet.training.session import train

    dataset = open_dataset(recipes[0])
    images = len(dataset.train)
    if (dataset.name, images) != (baseline.set.dataset, baseline.set.images):
        raise InputError(
            f"{recipes[0].data_dir or dataset.name}: is {dataset.name} with {images:,} training images; "
            f"{baseline.name} is trained on {baseline.set.dataset} with {baseline.set.images:,}"
        )
    evidence = frozen.EVIDENCE / f"{baseline.name}-{recipe_name}"
    asked = [baseline.name, "--recipe", recipe_name]
    for recipe in recipes:
        folder = output / f"{baseline.name}-{recipe_name}-s{recipe.seed}"
        train(
            recipe,
            baseline.network,
            recipe_name=recipe_name,
            shape=f"macs-{baseline.budget}",
            loader=loader,
            folder=folder,
            command=[*["thinresnet", "baseline", "run"], *asked, "--seeds", str(recipe.seed)],
            quiet=False,
        )
        if is_main_process():
            # What is there already is named too: it is taken as it is.
            others = [path for path in evidence.glob("[!.]*") if path.name != folder.name]
            keep_evidence(Path("leaderboard.csv"), str(evidence), [*others, folder])


def _close(baseline: Baseline, recipe_name: str) -> None:
    found = frozen.measured(baseline, recipe_name)
    kept = frozen.EVIDENCE / f"{baseline.name}-{recipe_name}"
    say(f"{baseline.name} under {recipe_name}: {found.says if found else 'not measured'}; results: {kept}")
