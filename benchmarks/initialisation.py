"""What training costs when a network is pruned at initialisation, and when it is masked to the same densities.

    python benchmarks/initialisation.py
    python benchmarks/initialisation.py --arch resnet50 --size 224 --batch 32 --rounds 5

SynExp prunes the network to a share of its MACs; the densities that this leaves become masks on the whole network
(drawn weights, kept at zero through training); and there is the whole network without masks. Round by round, each
trains a few steps of SGD on drawn images in a process of its own. Speed is images a second of the median step; memory
is the largest resident set (on a GPU: what torch allocates) while training beyond what there was before the model was
made. What is compared are medians of the ratios within a round.

Writes initialisation.json into --output.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from child import ROOT, account, measured_by_child

WAYS = ("dense", "masked", "pruned")


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet20_cifar", help="the network (default: resnet20_cifar)")
    parser.add_argument("--macs", default="25%", help="what the pruned network may cost (default: 25%%)")
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels (default: 32)")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch (default: 128)")
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each process (default: 8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the result")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args)))
        return
    rows = [{"round": number, **_run(way)} for number in range(1, args.rounds + 1) for way in WAYS]
    _report(args, rows)


def _run(way: str) -> dict[str, Any]:
    row = measured_by_child(way)
    print(f"{way:<8} {row['images_per_second']:>9.1f} images/s   {row['memory_mib']:>8.1f} MiB", flush=True)
    return row


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """A few steps of one of the three, in this process."""
    import torch
    from torch import nn

    from thinresnet.budget import Budget
    from thinresnet.networks import build, scale
    from thinresnet.pruning import method, prune
    from thinresnet.pruning.initialisation.densities import densities_left
    from thinresnet.pruning.initialisation.masking import masks
    from thinresnet.pruning.magnitude import keep_masks

    dense = scale(args.arch, input_size=(3, args.size, args.size))
    (outcome,) = prune(method("synexp"), dense, None, [[Budget.parse("macs", args.macs)]])
    thin = outcome.pruned.network
    images = torch.randn(args.batch, *dense.input_size, device=args.device)
    targets = torch.arange(args.batch, device=args.device) % 10
    before_mib = _peak_mib(args.device)
    model = build(thin if args.child == "pruned" else dense, seed=0).to(args.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    densities = densities_left(dense, thin)
    kept = keep_masks(model, masks(dense, densities, "weight", seed=0)) if args.child == "masked" else nullcontext()
    seconds = []
    with kept:
        for _ in range(args.steps + 2):  # two to warm up
            start = time.perf_counter()
            nn.functional.cross_entropy(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            if args.device != "cpu":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    cost = outcome.cost if args.child == "pruned" else outcome.dense_cost
    return {
        "way": args.child,
        "macs": cost[0],
        "params": cost[1],
        "images_per_second": args.batch / median(seconds[2:]),
        "memory_mib": _peak_mib(args.device) - before_mib,
    }


def _peak_mib(device: str) -> float:
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def _ratio(rows: list[dict[str, Any]], key: str, way: str, other: str) -> float:
    found = {(row["round"], row["way"]): row[key] for row in rows}
    return median(found[number, way] / found[number, other] for number in {row["round"] for row in rows})


def _report(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    ratios = {
        f"{way}_against_{other}": {
            "images_per_second": _ratio(rows, "images_per_second", way, other),
            "memory": _ratio(rows, "memory_mib", way, other),
            "macs": _ratio(rows, "macs", way, other),
        }
        for way, other in (("pruned", "masked"), ("pruned", "dense"), ("masked", "dense"))
    }
    result = {
        **account("torch", "timm"),
        **{name: getattr(args, name) for name in ("arch", "macs", "size", "batch", "steps", "device")},
        "ratios": ratios,
        "runs": rows,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    target = args.output / "initialisation.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    for name, own in ratios.items():
        speed, memory, macs = own["images_per_second"], own["memory"], own["macs"]
        print(f"{name.replace('_', ' '):<24} {speed:.2f} × speed   {memory:.2f} × memory   {macs:.2f} × MACs")
    print(f"written: {target}")


if __name__ == "__main__":
    main()
