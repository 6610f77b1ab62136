"""Whether our methods do what their authors' code does: both run on the same weights and the same images.

    python benchmarks/peers.py --peers DIR --data-dir cifar10-jpeg
    python benchmarks/peers.py --peers DIR --data-dir cifar10-jpeg --weights classic-weights --methods l1 sfp

Of the authors' repositories nothing is here. DIR has a checkout of each, by the name of the repository:

{repositories}

and DepGraph's authors' library is installed: pip install {library}. What is not there is skipped, said, and counted.

This runs the authors' code, which is why it has to be asked for: each file that is executed is first compared with its
hash at that commit, and it runs in a process of its own, in an empty folder, without a GPU. The files stay as they
are; what stands in for parts of old torch that are gone (shims) is said in the result. The code of torch, torchvision
and this package runs on both sides.

--data-dir has train/ and test/ with ten class folders of 32-pixel images. --weights has public checkpoints of
akamaster/pytorch_resnet_cifar10 (resnet20-12fca82f.th, resnet56-4bfd9763.th); without it weights are drawn from the
seed. Kept channels are printed side by side; where something differs, the table says why.

Writes peers.md and peers.json into --output.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from child import ROOT, account
from peer_code import at_initialisation, trained
from peer_code.bench import Bench, Case, problem
from peer_code.compare import Finding, findings_table, layers_table
from peer_code.images import Pictures
from peer_code.repositories import (
    FORCE,
    GRASP,
    REPOSITORIES,
    RETHINKING,
    SFP,
    SLIMMING,
    SYNFLOW,
    TORCH_PRUNING,
    Library,
    Repository,
)
from peer_code.shims import SHIMS

CASES: dict[str, tuple[Repository | Library, Case]] = {
    "l1": (RETHINKING, trained.l1),
    "slimming": (SLIMMING, trained.slimming),
    "sfp": (SFP, trained.sfp),
    "depgraph": (TORCH_PRUNING, trained.depgraph),
    "snip-grasp-synflow": (SYNFLOW, at_initialisation.synaptic_flow),
    "grasp": (GRASP, at_initialisation.grasp),
    "force": (FORCE, at_initialisation.force),
}

_SETTINGS = ("seed", "batch", "updates", "dense_epochs", "test_images", "threads")


def main() -> None:
    """Compare, print, and write the results."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # of the other side too
    bench = Bench(
        args.peers, args.weights, Pictures.read(args.data_dir / "train", 1500, args.seed),
        Pictures.read(args.data_dir / "test", args.test_images, args.seed), args.seed, args.batch, args.updates,
        args.dense_epochs,
    )  # fmt: skip
    findings: list[Finding] = []
    skipped: dict[str, str] = {}
    begun = time.perf_counter()
    for name in args.methods:
        source, case = CASES[name]
        if (why := problem(source, args.peers)) is not None:
            skipped[name] = why
            print(f"{name}: skipped: {why}", flush=True)
            continue
        for finding in case(bench):
            findings.append(finding)
            print(f"{finding.method}: {finding.compared}: {finding.theirs} | {finding.ours}", flush=True)
        _write(
            args, findings, skipped, time.perf_counter() - begun
        )  # after each: a long run that ends early is not lost
    print(f"\n{_write(args, findings, skipped, time.perf_counter() - begun)}\nwritten: {args.output}/peers.{{md,json}}")


def _arguments() -> argparse.Namespace:
    commands = "\n".join(f"    {command}" for source in REPOSITORIES for command in source.commands())
    about = str(__doc__).format(repositories=commands, library=f"{TORCH_PRUNING.name}=={TORCH_PRUNING.version}")
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="folder with the authors' checkouts, whose code is then run")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with train/ and test/ of class folders")
    parser.add_argument("--weights", type=Path, help="folder with public checkpoints")
    parser.add_argument("--methods", nargs="+", choices=CASES, default=list(CASES), help="only these (default: all)")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--updates", type=int, default=8, help="updates in an epoch (default: 8)")
    parser.add_argument("--dense-epochs", type=int, default=8, help="epochs of the dense network for l1 (default: 8)")
    parser.add_argument("--test-images", type=int, default=500, help="test images (default: 500)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; 1 repeats to the bit (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    return parser.parse_args()


def _write(args: argparse.Namespace, findings: Sequence[Finding], skipped: dict[str, str], seconds: float) -> str:
    """Write what there is so far; returns the Markdown."""
    used = [source for name, (source, _) in CASES.items() if name in args.methods and name not in skipped]
    result = {
        **account("torch", "torchvision", "timm", "numpy"),
        "seconds": round(seconds),
        "peers": {
            _called(source): {"at": _at(source), "shims": [SHIMS[own][0] for own in source.shims]} for source in used
        },
        "data": args.data_dir.name,
        "weights": args.weights.name if args.weights else None,
        **{name: getattr(args, name) for name in _SETTINGS},
        "skipped": skipped,
        "findings": [_jsonable(finding) for finding in findings],
    }  # fmt: skip
    text = _text(result, findings)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "peers.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (args.output / "peers.md").write_text(text)
    return text


def _text(result: dict[str, Any], findings: Sequence[Finding]) -> str:
    """The results as Markdown: what ran, all comparisons, kept channels of each."""
    same, explained = (sum(own) for own in ([f.same for f in findings], [not f.same and bool(f.why) for f in findings]))
    parts = [
        "# Checked against the authors' code",
        f"{len(findings)} comparisons: {same} the same, {explained} that differ for the reason given, "
        f"{len(findings) - same - explained} that differ without one; {len(result['skipped'])} skipped. "
        f"`python benchmarks/peers.py`, seed {result['seed']}, images of {result['data']}, torch "
        f"{result['versions']['torch']} on a CPU.",
        *(f"- {name} {own['at']}; shims: {'; '.join(own['shims']) or 'none'}" for name, own in result["peers"].items()),
        *(f"- skipped: {name}: {why}" for name, why in result["skipped"].items()),
        findings_table(findings),
        *(
            f"## {own.method}, {own.network}: {own.compared}\n\n{layers_table(own.layers)}"
            for own in findings
            if own.layers
        ),
    ]
    lines = "\n".join(part for part in parts if part.startswith("- "))
    return "\n\n".join([*parts[:2], lines, *(part for part in parts[2:] if not part.startswith("- "))]) + "\n"


def _jsonable(finding: Finding) -> dict[str, Any]:
    found = dataclasses.asdict(finding)
    found["layers"] = [
        {"name": own.name, "channels": own.channels, "theirs": list(own.theirs), "only_theirs": own.only_theirs,
         "only_ours": own.only_ours}
        for own in finding.layers
    ]  # fmt: skip
    return found


def _called(source: Repository | Library) -> str:
    return source.address if isinstance(source, Repository) else source.name


def _at(source: Repository | Library) -> str:
    return f"at {source.commit[:8]}" if isinstance(source, Repository) else source.version


if __name__ == "__main__":
    main()
