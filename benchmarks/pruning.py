"""How long each criterion takes on ResNet-50, and how much memory: by weights alone, and from photographs.

    python benchmarks/pruning.py --photos imagenette

Each method runs in a process of its own, to half the MACs. Those that only look (at weights, or at images) are measured
on the whole work; those that train are left out: their time is that of training. Memory is the largest resident set
while pruning beyond what there was before, in multiples of the model's weights.

Writes pruning.json and pruning.png into --output.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

from child import ROOT, account, measured_by_child

MOST_SECONDS = {"weights": 10, "data": 120}


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder with train/ and val/ of class folders")
    parser.add_argument("--arch", default="resnet50", help="the network (default: resnet50)")
    parser.add_argument("--images", type=int, default=256, help="images for methods that look at some (default: 256)")
    parser.add_argument("--size", type=int, default=64, help="their side in pixels (default: 64)")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args)))
        return
    rows = [_run(name) for name in args.methods or _methods()]
    _report(args, rows)


def _methods() -> list[str]:
    from thinresnet.pruning import methods

    return [name for name, kind in methods().items() if kind.when == "trained network"]


def _run(name: str) -> dict[str, Any]:
    row = measured_by_child(name)
    print(
        f"{name:<12} {row['seconds']:>7.1f} s of {row['most_seconds']}   {row['memory_ratio']:.1f} × the model",
        flush=True,
    )
    return row


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One method on the network, in this process."""
    import torch

    from thinresnet import recipe as recipes
    from thinresnet.budget import Budget
    from thinresnet.networks import build, scale
    from thinresnet.pruning import method, methods, prune
    from thinresnet.training.data import open_data

    kind = methods()[args.child]
    classes = len([entry for entry in (args.photos / "train").iterdir() if entry.is_dir()])
    size = (3, args.size, args.size)
    network = scale(args.arch, num_classes=classes, input_size=size)
    model = build(network, seed=0)
    changes = {"data_dir": str(args.photos), "val_split": "val", "img_size": args.size, "batch_size": 64, "workers": 2}
    recipe = recipes.load("imagenet-classic", {**changes, "seed": 0})
    settings = {"images": args.images} if "data" in kind.needs else {}
    data = open_data(recipe, input_size=size, device=torch.device("cpu"), loader="torch")
    with data:
        before_mib = _peak_mib()
        start = time.perf_counter()
        (outcome,) = prune(
            method(kind.name, settings), network, model, [[Budget.parse("macs", "50%")]], data=data, recipe=recipe
        )
        seconds = time.perf_counter() - start
    model_mib = sum(value.numel() * value.element_size() for value in model.state_dict().values()) / 2**20
    return {
        "method": kind.name,
        "looks_at": "data" if "data" in kind.needs else "weights",
        "seconds": seconds,
        "most_seconds": MOST_SECONDS["data" if "data" in kind.needs else "weights"],
        "memory_mib": _peak_mib() - before_mib,
        "model_mib": model_mib,
        "memory_ratio": (_peak_mib() - before_mib) / model_mib,
        "macs_ratio": outcome.cost[0] / outcome.dense_cost[0],
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _report(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    import altair as alt

    result = {
        **account("torch", "timm", "numpy", "scikit-learn"),
        "arch": args.arch,
        "images": args.images,
        "size_px": args.size,
        "methods": rows,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "pruning.json").write_text(json.dumps(result, indent=2) + "\n")
    base = alt.Chart(alt.Data(values=rows), width=320).encode(y=alt.Y("method:N", sort="x", title=None))
    seconds = base.mark_bar().encode(x=alt.X("seconds:Q", title="seconds"), color=alt.Color("looks_at:N", title="from"))
    memory = base.mark_bar().encode(
        x=alt.X("memory_ratio:Q", title="memory, times the model"), color=alt.Color("looks_at:N", title="from")
    )
    (seconds | memory).save(args.output / "pruning.png", scale_factor=2)
    print(f"written: {args.output / 'pruning.json'}, {args.output / 'pruning.png'}")


if __name__ == "__main__":
    main()
