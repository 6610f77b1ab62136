"""How fast training is: against timm's own train.py, against a step without any input, loader by loader.

    python benchmarks/training.py --timm-train pytorch-image-models/train.py --cifar cifar10-jpeg --photos imagenette

Everything is measured side by side in one run: round by round, each thing once a round in a process of its own, and
what is compared are medians of the ratios within a round. timm and we train the same network by the same recipe on the
same images with the same operations (random resized crop and flip: timm has no padded crop).

  1  end to end: train.py here and timm's, each eager and compiled: images a second of the training part of an epoch
  2  end to end against a bare loop of the same step on one fixed batch, which has no input at all
  3  the three loaders alone, and augmented as cifar-modern does it
  4  the bare step: eager, channels-last, compiled, both

Writes training.json and training.png into --output; what is there of a dataset that is not measured now stays.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from child import ROOT, account, output_of

LEAST_OF_TIMM, LEAST_OF_BARE = 1.8, 0.95
_TIMM_LINE = re.compile(r"Train: (\d+) \[.*?\(\s*[\d.]+s,\s*([\d.]+)/s\)")


@dataclass(frozen=True)
class Job:
    """A network, a recipe and images to train it on."""

    name: str
    data: Path
    test_split: str
    recipe: str
    arch: str
    width: float
    size: int
    batch: int
    classes: int

    def flags(self, epochs: int, workers: int) -> list[str]:
        """What timm's train.py and ours are both given."""
        settings = {
            "--config": ROOT / "recipes" / f"{self.recipe}.yaml", "--data-dir": self.data, "--dataset": "",
            "--val-split": self.test_split, "--img-size": self.size, "--batch-size": self.batch, "--epochs": epochs,
            "--num-classes": self.classes, "--workers": workers, "--log-interval": 20,
        }  # fmt: skip
        return [str(part) for pair in settings.items() for part in pair]


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm-train", type=Path, help="train.py of a checkout of timm (the wheel does not carry it)")
    parser.add_argument("--cifar", type=Path, help="folder with train/ and test/ of class folders of 32-pixel images")
    parser.add_argument("--photos", type=Path, help="folder with train/ and val/ of class folders of photographs")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each thing (default: 3)")
    parser.add_argument("--images", type=int, default=10_240, help="CIFAR images an epoch (default: 10240)")
    parser.add_argument("--photo-images", type=int, default=1_280, help="photographs an epoch (default: 1280)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="loader workers (default: cores)")
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2, 3, 4], help="which parts (default: all)")
    parser.add_argument("--only", nargs="+", help="of those only these, by the names that are printed")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(_CHILDREN[json.loads(args.child)["what"]](json.loads(args.child))))
        return
    if 1 in args.parts and not args.timm_train:
        parser.error("part 1 needs --timm-train; leave it out with --parts 2 3 4")
    with tempfile.TemporaryDirectory() as place:
        jobs = list(_jobs(args, Path(place)))
        if not jobs:
            parser.error("give --cifar, --photos or both")
        _report(args, {job.name: _measure(args, job, Path(place)) for job in jobs})


def _jobs(args: argparse.Namespace, place: Path) -> Any:
    if args.cifar:
        data = subset(args.cifar, place / args.cifar.name, args.images, "test")
        classes = len(list((data / "train").iterdir()))
        yield Job(args.cifar.name, data, "test", "cifar-classic-200", "resnet20_cifar", 0.5, 32, 128, classes)
    if args.photos:
        data = subset(args.photos, place / args.photos.name, args.photo_images, "val")
        classes = len(list((data / "train").iterdir()))
        yield Job(args.photos.name, data, "val", "imagenet-classic", "resnet18", 0.25, 112, 64, classes)


def subset(folder: Path, target: Path, images: int, test_split: str) -> Path:
    """The first images of every class, as links."""
    for split, wanted in (("train", images), (test_split, 500)):
        classes = sorted(entry for entry in (folder / split).iterdir() if entry.is_dir())
        for label in classes:
            (target / split / label.name).mkdir(parents=True)
            for file in sorted(label.iterdir())[: -(-wanted // len(classes))]:
                (target / split / label.name / file.name).symlink_to(file.resolve())
    return target


def _measure(args: argparse.Namespace, job: Job, place: Path) -> dict[str, list[float]]:
    """Images a second of everything, round by round."""
    environment = {"THINRESNET_CACHE": str(place / "cache")}
    numbers = itertools.count()

    def child(what: str, **more: object) -> float:
        asked = {"what": what, "job": {**vars(job), "data": str(job.data)}, "workers": args.workers, **more}
        return float(output_of([__file__, "--child", json.dumps(asked)], environment).splitlines()[-1])

    def ours(*flags: str) -> float:
        output = place / f"{job.name}-run{next(numbers)}"
        model = ["--arch", job.arch, "--width", str(job.width), "--crop-padding", "0", "--output", str(output)]
        output_of([str(ROOT / "train.py"), *job.flags(2, args.workers), *model, *flags], environment)
        with next(output.glob("*/timing.csv")).open() as file:
            return float(list(csv.DictReader(file))[-1]["images_per_second"])

    def timm(*flags: str) -> float:
        model = ["--model", f"thin_{job.arch}", "--model-kwargs", f"width={job.width}", "--device", "cpu"]
        output = ["--output", str(place / "timm")]
        printed = output_of([str(args.timm_train), *job.flags(2, args.workers), *model, *output, *flags], environment)
        return [float(rate) for epoch, rate in _TIMM_LINE.findall(printed) if epoch == "1"][-1]

    compiled = ("--torchcompile", "inductor")
    measures: dict[str, Callable[[], float]] = {}
    if 1 in args.parts:
        measures |= {"timm": timm, "timm, compiled": lambda: timm(*compiled)}
    if {1, 2} & set(args.parts):
        measures |= {"ours": ours, "ours, compiled": lambda: ours(*compiled)}
    if {2, 4} & set(args.parts):
        measures |= {
            "step": lambda: child("step"),
            "step, compiled": lambda: child("step", compiled=True),
        }
    if 4 in args.parts:
        measures |= {
            "step, channels-last": lambda: child("step", channels_last=True),
            "step, channels-last, compiled": lambda: child("step", channels_last=True, compiled=True),
        }
    if 3 in args.parts:
        for loader in ("memory", "ffcv", "torch"):
            measures[f"loader {loader}"] = lambda loader=loader: child("loader", loader=loader)
            measures[f"loader {loader}, modern"] = lambda loader=loader: child("loader", loader=loader, modern=True)

    found: dict[str, list[float]] = {name: [] for name in measures if name in (args.only or measures)}
    for number in range(1, args.rounds + 1):
        for name in found:
            found[name].append(measures[name]())
            print(f"{job.name}, round {number}: {name}: {found[name][-1]:,.0f} images/s", flush=True)
    return found


def time_step(asked: dict[str, Any]) -> float:
    """A training loop with nothing but the step: forward, loss, backward, update, on one batch."""
    import torch

    from thinresnet import recipe
    from thinresnet.networks import zoo  # noqa: F401  # registers the thin networks
    from thinresnet.training import optim
    from thinresnet.training.memory import keep_freed_memory

    keep_freed_memory()  # as training does: what is compared is the loop and the input
    job, torch_layout = asked["job"], torch.channels_last if asked.get("channels_last") else torch.contiguous_format
    settings = recipe.load(job["recipe"])
    import timm

    model = timm.create_model(f"thin_{job['arch']}", width=job["width"], num_classes=job["classes"])
    model = model.to(memory_format=torch_layout).train()
    optimizer, loss = optim.build_optimizer(settings, model, 1), optim.build_loss(settings)
    if asked.get("compiled"):
        model.compile()
    images = torch.randn(job["batch"], 3, job["size"], job["size"]).contiguous(memory_format=torch_layout)
    targets = torch.randint(job["classes"], (job["batch"],))

    def step() -> None:
        loss(model(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return _rate(step, job["batch"])


def time_loader(asked: dict[str, Any]) -> float:
    """Augmented batches as the network would get them, with nobody training."""
    import torch

    from thinresnet import recipe
    from thinresnet.training.data import open_data

    job = asked["job"]
    settings = recipe.load("cifar-modern" if asked.get("modern") else job["recipe"]).replace(
        dataset="", data_dir=job["data"], val_split=job["test_split"], img_size=job["size"], batch_size=job["batch"],
        num_classes=None, workers=asked["workers"], crop_padding=0,
    )  # fmt: skip
    with open_data(settings, input_size=None, device=torch.device("cpu"), loader=asked["loader"]) as data:
        batches = itertools.chain.from_iterable(data.train.epoch(epoch) for epoch in itertools.count())
        return _rate(lambda: next(batches), job["batch"])


def _rate(step: Callable[[], object], images: int) -> float:
    """Images a second over at least 6 seconds, after a warm-up."""
    for _ in range(10):
        step()
    steps, begun = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begun) < 6 or steps < 5:
        step()
        steps += 1
    return images * steps / seconds


_CHILDREN = {"step": time_step, "loader": time_loader}


def ratio(found: dict[str, list[float]], one: str, other: str) -> float:
    """The median over rounds of one rate against another of the same round."""
    return median(a / b for a, b in zip(found[one], found[other], strict=True))


def _ratios(found: dict[str, list[float]]) -> dict[str, float]:
    pairs = {
        "ours / timm, both eager": ("ours", "timm"),
        "ours / timm, both compiled": ("ours, compiled", "timm, compiled"),
        "ours compiled / timm eager": ("ours, compiled", "timm"),
        "ours / bare step, both eager": ("ours", "step"),
        "ours / bare step, both compiled": ("ours, compiled", "step, compiled"),
        "step: channels-last / eager": ("step, channels-last", "step"),
        "step: compiled / eager": ("step, compiled", "step"),
        "step: both / eager": ("step, channels-last, compiled", "step"),
        "loaders: memory / torch": ("loader memory", "loader torch"),
        "loaders: ffcv / torch": ("loader ffcv", "loader torch"),
        "loaders, modern: memory / torch": ("loader memory, modern", "loader torch, modern"),
        "loaders, modern: ffcv / torch": ("loader ffcv, modern", "loader torch, modern"),
    }
    return {name: ratio(found, *pair) for name, pair in pairs.items() if set(pair) <= set(found)}


def _report(args: argparse.Namespace, found: dict[str, dict[str, list[float]]]) -> None:
    path = args.output / "training.json"
    kept = json.loads(path.read_text())["datasets"] if path.exists() else {}
    for name, rates in found.items():
        kept[name] = _account(args, rates)
    args.output.mkdir(parents=True, exist_ok=True)
    result = {"least": {"ours / timm": LEAST_OF_TIMM, "ours / bare step": LEAST_OF_BARE}, "datasets": kept}
    path.write_text(json.dumps(result, indent=2) + "\n")
    chart = _chart({name: own["images_per_second"] for name, own in kept.items()})
    chart.save(path.with_suffix(".png"), scale_factor=2)
    for name, rates in found.items():
        print(f"\n{name}: median images a second of {args.rounds} rounds")
        for what, values in rates.items():
            print(f"  {what:<32}{median(values):>12,.0f}   ({min(values):,.0f} to {max(values):,.0f})")
        for what, value in _ratios(rates).items():
            print(f"  {what:<40}{value:>6.2f}")
    print(f"\nwritten: {path}, {path.with_suffix('.png')}")


def _account(args: argparse.Namespace, rates: dict[str, list[float]]) -> dict[str, Any]:
    """One dataset's figures and how they came about: a run with another one leaves them as they are."""
    return {
        **account("torch", "timm", "accelerate", "pillow", "numpy"),
        "rounds": args.rounds,
        "images_per_second": rates,
        "ratios": _ratios(rates),
    }


def _chart(found: dict[str, dict[str, list[float]]]) -> Any:
    import altair as alt

    rows = [
        {"images": name, "what": what, "rate": median(values), "low": min(values), "high": max(values),
         "part": "loaders alone" if what.startswith("loader") else "training"}
        for name, rates in found.items()
        for what, values in rates.items()
    ]  # fmt: skip
    charts = []
    for part in dict.fromkeys(row["part"] for row in rows):
        base = alt.Chart(alt.Data(values=[row for row in rows if row["part"] == part])).encode(
            y=alt.Y("what:N", sort=None, title=None)
        )
        bars = base.mark_bar().encode(x=alt.X("rate:Q", title=f"images a second, {part}"))
        spans = base.mark_rule().encode(x="low:Q", x2="high:Q")
        texts = base.mark_text(align="left", dx=6).encode(x="high:Q", text=alt.Text("rate:Q", format=",.0f"))
        layered = alt.layer(bars, spans, texts).properties(width=380)
        charts.append(
            layered.facet(row=alt.Row("images:N", title=None)).resolve_scale(x="independent", y="independent")
        )
    return alt.vconcat(*charts).resolve_scale(x="independent")


if __name__ == "__main__":
    main()
