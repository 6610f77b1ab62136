"""How fast images come: FFCV's own Loader against every loader here, at equal augmentation, in turns.

    python benchmarks/loaders.py --cifar cifar10-jpeg --photos imagenette

Everything is measured side by side in one run: one process opens every loader and takes turns, round by round; then two
processes do so together, each with its own rows. What is compared are medians of the ratios within a round. Each loader
has one worker a process and gives batches of uint8 images, randomly cropped, resized and flipped, on the CPU; nobody
trains, nothing is normalised.

  FFCV         FFCV's Loader with its own decoder and flip, whose batches are another every time
  ffcv         FFCV's Loader with crops and flips that are hashes: what `--loader ffcv` is
  beton        the same file, FFCV's JPEG decoder, crops by Pillow as timm's: what `--loader beton` is
  torch        timm's transforms in a DataLoader, from the image files
  memory       all images in memory, where they are of one size

Cold is an epoch after the system has been told to forget the file (or files), warm the same epoch once more. Opening
and compiling is in neither, and is given apart, in seconds. Writes loaders.json into --output.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from child import ROOT, account, output_of
from training import subset

LOADERS = ("FFCV", "ffcv", "beton", "torch", "memory")
MODES = ("raw", "jpg")
WHOLE = ("torch", "memory")  # they read the folder itself


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", type=Path, help="folder with train/ and test/ of class folders of 32-pixel images")
    parser.add_argument("--photos", type=Path, help="folder with train/ and val/ of class folders of photographs")
    parser.add_argument("--images", type=int, default=4_096, help="images an epoch (default: 4096)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each thing (default: 3)")
    parser.add_argument("--loaders", nargs="+", default=LOADERS, choices=LOADERS, help="which loaders (default: all)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    args = parser.parse_args()
    jobs = {"cifar": (args.cifar, "test", 32, 128), "photos": (args.photos, "val", 112, 64)}
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    with tempfile.TemporaryDirectory() as place:
        os.environ["THINRESNET_CACHE"] = place
        found = {
            folder.name: _rounds(args, prepared(folder, split, args.images, Path(place)), size, batch)
            for folder, split, size, batch in jobs.values()
            if folder
        }
    if not found:
        parser.error("give --cifar, --photos or both")
    _report(args, found)


def prepared(folder: Path, split: str, images: int, place: Path) -> dict[str, str]:
    """The images as class folders, and as .beton files of pixels and of JPEG files."""
    data = subset(folder, place / folder.name, images, split)
    (data / split).rename(data / "val") if split != "val" else None
    for mode in MODES:
        write = ["-m", "thinresnet", "data", "write", "--data-dir", str(data), "--mode", mode]
        output_of([*write, "--output", str(place / f"{folder.name}-{mode}")])
    return {"folder": str(data), **{mode: str(place / f"{folder.name}-{mode}") for mode in MODES}}


def _rounds(args: argparse.Namespace, data: dict[str, str], size: int, batch: int) -> dict[str, dict[str, list[float]]]:
    """Every loader in one process, then in two at once, which begin each epoch together."""
    found: dict[str, dict[str, list[float]]] = {}
    loaders = [loader for loader in args.loaders if loader != "memory" or size == 32]  # of photographs no two are alike
    cases = [(loader, mode) for loader in loaders for mode in (("files",) if loader in WHOLE else MODES)]
    for processes in (1, 2):
        context = multiprocessing.get_context("spawn")
        queue, barrier = context.Queue(), context.Barrier(processes)
        asked = {"data": data, "size": size, "batch": batch, "rounds": args.rounds, "processes": processes}
        children = [
            context.Process(target=measure, args=({**asked, "index": index}, cases, barrier, queue))
            for index in range(processes)
        ]
        for child in children:
            child.start()
        for _ in range(len(cases) * (2 * args.rounds + 1) * processes):
            (loader, mode), what, value = queue.get(timeout=1200)
            name = f"{loader}, {mode}, {processes} process{'es' * (processes > 1)}"
            print(f"{name}: {what} {value:,.1f}", flush=True)
            rates = found.setdefault(name, {"cold": [], "warm": [], "compiling_seconds": []})
            rates[{"compiling": "compiling_seconds"}.get(what, what)].append(value)
        for child in children:
            child.join()
    return {
        name: {what: _of_all(values, what, name) for what, values in rates.items()} for name, rates in found.items()
    }


def _of_all(values: list[float], what: str, name: str) -> list[float]:
    """Round by round, the sum over processes (which answer in turn); of compiling, the longest."""
    if not name.endswith("2 processes"):
        return values
    pairs = zip(values[::2], values[1::2], strict=True)
    return [max(pair) if what == "compiling_seconds" else sum(pair) for pair in pairs]


def measure(asked: dict[str, Any], cases: list[tuple[str, str]], barrier: Any, queue: Any) -> None:
    """In a process: open every loader, then take turns: an epoch from the disk and one after it, round by round."""
    opened = {}
    for loader, mode in cases:
        told = {**asked, "loader": loader, "data": asked["data"]["folder" if mode == "files" else mode]}
        begun = time.perf_counter()
        held = _plain_ffcv(told) if loader == "FFCV" else _ours(told)
        epochs = next(held)
        for _ in islice(epochs(0), 2):  # compiles, starts workers
            pass
        queue.put(((loader, mode), "compiling", time.perf_counter() - begun))
        opened[loader, mode] = held, epochs, Path(told["data"])
    for number in range(asked["rounds"]):
        for case, (_, epochs, place) in opened.items():
            _forget(place)
            for what in ("cold", "warm"):
                barrier.wait()
                begun, steps = time.perf_counter(), 0
                for _ in epochs(1 + number):
                    steps += 1
                queue.put((case, what, steps * asked["batch"] / (time.perf_counter() - begun)))
    for held, _, _ in opened.values():
        next(held, None)


def _forget(place: Path) -> None:
    """Tell the system to drop what it keeps of these files: what has to be read from the disk again."""
    for file in place.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def _ours(asked: dict[str, Any]) -> Iterator[Callable[[int], Iterator[Any]]]:
    """The raw batches of a loader here, by epoch."""
    import torch

    from thinresnet.recipe import Recipe
    from thinresnet.training.data import open_data

    recipe = Recipe(
        data_dir=asked["data"], img_size=asked["size"], batch_size=asked["batch"], workers=1, color_jitter=None,
        train_interpolation="bilinear",
    )  # fmt: skip
    place = {"process_index": asked["index"], "process_count": asked["processes"]}
    with open_data(recipe, input_size=None, device=torch.device("cpu"), loader=asked["loader"], **place) as data:

        def epoch(number: int) -> Iterator[Any]:
            plan = data.train.plan
            order = plan.order(number)
            steps = ((step, asked["size"], order[plan.positions(step)]) for step in range(plan.steps_per_epoch))
            return data.train.loader.train_batches(plan, steps, number)

        yield epoch


def _plain_ffcv(asked: dict[str, Any]) -> Iterator[Callable[[int], Iterator[Any]]]:
    """FFCV as its documentation has it."""
    import numpy as np
    from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    (file,) = Path(asked["data"]).glob("train.beton")
    size, processes = (asked["size"], asked["size"]), asked["processes"]
    count = Loader(str(file), 1, 1, pipelines={"image": None, "label": None}).reader.num_samples
    pipelines = {"image": [RandomResizedCropRGBImageDecoder(size), RandomHorizontalFlip(), ToTensor()], "label": None}
    rows = np.arange(asked["index"], int(count), processes)
    loader = Loader(
        str(file), asked["batch"], 1, os_cache=True, order=OrderOption.RANDOM, seed=0, indices=rows, pipelines=pipelines
    )
    yield lambda number: iter(loader)


def _ratios(found: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """The median over rounds of one warm rate against another of the same round."""

    def ratio(one: str, other: str) -> float:
        return median(a / b for a, b in zip(found[one]["warm"], found[other]["warm"], strict=True))

    pairs = {}
    for processes in ("1 process", "2 processes"):
        for mode in MODES:
            ends = f"{mode}, {processes}"
            for one, other in (("ffcv", "FFCV"), ("ffcv", "beton"), ("FFCV", "beton")):
                pairs[f"{one} / {other}, {ends}"] = (f"{one}, {ends}", f"{other}, {ends}")
            for one in ("FFCV", "ffcv", "beton"):
                pairs[f"{one} / torch, {ends}"] = (f"{one}, {ends}", f"torch, files, {processes}")
    return {name: round(ratio(*pair), 2) for name, pair in pairs.items() if set(pair) <= set(found)}


def _report(args: argparse.Namespace, found: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    result = {
        **account("ffcv", "numba", "torch", "timm", "pillow", "numpy"),
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "rounds": args.rounds,
        "images": args.images,
        "images_per_second": found,
        "ratios_of_warm_epochs": {name: _ratios(rates) for name, rates in found.items()},
    }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "loaders.json").write_text(json.dumps(result, indent=2) + "\n")
    for name, rates in found.items():
        print(f"\n{name}: median images a second of {args.rounds} rounds, cold and warm; seconds of compiling")
        for what, values in rates.items():
            cold, warm, seconds = (median(values[key]) for key in ("cold", "warm", "compiling_seconds"))
            print(f"  {what:<28}{cold:>10,.0f}{warm:>10,.0f}{seconds:>8.1f}")
        for what, value in result["ratios_of_warm_epochs"][name].items():
            print(f"  {what:<40}{value:>6.2f}")
    print(f"\nwritten: {args.output / 'loaders.json'}")


if __name__ == "__main__":
    main()
