"""Run authors' code on a case, in this process alone: `theirs.py CASE RESULT`, both files of tensors.

The code is that of the folder which the case names, whose files the parent has compared with their hashes. The runners
know how each is called: scripts are executed as from the command line, functions are called.
"""

from __future__ import annotations

import importlib
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from shims import GIVEN, REPLACED, SHIMS, TEST, TRAIN, Batches
from torch import Tensor, nn

Case = dict[str, Any]
Result = dict[str, Any]


def main() -> None:
    """Run the case, and write what came out and which files of the folder were loaded."""
    case_file, result_file = sys.argv[1:]  # scripts get arguments of their own later
    case: Case = torch.load(case_file, weights_only=True)
    torch.manual_seed(0)
    GIVEN[TRAIN], GIVEN[TEST] = case.get("train", []), case.get("test", [])
    for name in case["shims"]:
        SHIMS[name][1]()
    result = RUNNERS[case["runner"]](case)
    folder = case.get("folder")
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    result["loaded"] = sorted(_SCRIPTS | {os.path.relpath(file, folder) for file in files if _inside(file, folder)})
    torch.save(result, result_file)


_SCRIPTS: set[str] = set()


def _inside(file: str | None, folder: str | None) -> bool:
    return bool(file and folder) and Path(str(file)).resolve().is_relative_to(Path(str(folder)).resolve())


def script(folder: str, file: str, *arguments: object) -> dict[str, Any]:
    """Run a script as from the command line in the current folder; its global names afterwards."""
    path = Path(folder) / file
    source = path.read_text(encoding="utf-8")
    for old, new in REPLACED:
        source = source.replace(old, new)
    _SCRIPTS.add(file)
    sys.argv = [str(path), *map(str, arguments)]
    if sys.path[0] != str(path.parent):
        sys.path.insert(0, str(path.parent))
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    exec(compile(source, str(path), "exec"), names)
    return names


def module(folder: str, name: str) -> Any:
    """A module of the folder."""
    if sys.path[0] != folder:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, detached."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@torch.no_grad()
def accuracy(model: nn.Module, batches: Batches) -> float:
    """Percent of the images whose class has the largest logit."""
    model.eval()
    right = sum(int((model(images).argmax(1) == targets).sum()) for images, targets in batches)
    return 100 * right / sum(len(targets) for _, targets in batches)


# The scripts ---------------------------------------------------------------------------------------------------------


def l1(case: Case) -> Result:
    """res56prune.py, then main_finetune.py from what it wrote."""
    folder, place = case["folder"], "cifar/l1-norm-pruning"
    torch.save({"epoch": 0, "best_prec1": 0.0, "state_dict": case["weights"]}, "dense.pth")
    flags = ("--dataset", "cifar10", "--depth", case["depth"])
    names = script(
        folder, f"{place}/res56prune.py", *flags, "-v", case["version"], "--model", "dense.pth", "--save", "."
    )
    result: Result = {
        "kept": [torch.nonzero(mask).flatten().tolist() for mask in names["cfg_mask"]],
        "pruned": state_of(names["newmodel"]),
        "accuracy_before": accuracy(names["newmodel"], GIVEN[TEST]),
    }
    if case["epochs"]:
        flags = (*flags, "--arch", "resnet", "--refine", "pruned.pth.tar", "--epochs", case["epochs"], "--save", ".")
        names = script(folder, f"{place}/main_finetune.py", *flags, "--lr", case["lr"])
        result |= {"tuned": state_of(names["model"]), "accuracy_after": accuracy(names["model"], GIVEN[TEST])}
    return result


def slimming(case: Case) -> Result:
    """main.py with the penalty, then vggprune.py on what it wrote."""
    folder, plan = case["folder"], case["plan"]
    torch.save({"cfg": plan, "state_dict": case["weights"]}, "start.pth")
    flags = ("--dataset", "cifar10", "--depth", case["depth"])
    training = ("--arch", "vgg", "-sr", "--s", case["sparsity"], "--refine", "start.pth", "--epochs", case["epochs"])
    trained = script(folder, "main.py", *flags, *training, "--lr", case["lr"], "--save", ".")["model"]
    weights = state_of(trained)
    names = script(
        folder, "vggprune.py", *flags, "--percent", case["percent"], "--model", "checkpoint.pth.tar", "--save", "."
    )
    kept = [torch.nonzero(mask).flatten().tolist() for mask in names["cfg_mask"]]
    return {"trained": weights, "kept": kept, "pruned": state_of(names["newmodel"])}


def sfp(case: Case) -> Result:
    """pruning_cifar10_resnet.py from given weights."""
    models = module(case["folder"], "models")
    made, saved = models.resnet20, {}

    def given(classes: int) -> nn.Module:
        model = made(classes)
        model.load_state_dict(case["weights"])
        return model

    models.resnet20 = given
    real_save, torch.save = torch.save, lambda what, *_: saved.update(what)
    layers = ("--layer_begin", case["begin"], "--layer_end", case["end"], "--layer_inter", case["inter"])
    schedule = ("--epochs", case["epochs"], "--schedule", 1, "--gammas", 0.1, "--learning_rate", case["lr"])
    rest = ("--decay", 0.0005, "--rate", case["rate"], "--epoch_prune", 1, "--manualSeed", 1, "--save_path", "out")
    Path("out/checkpoint.pth.tar").parent.mkdir()
    Path("out/checkpoint.pth.tar").touch()
    flags = (".", "--dataset", "cifar10", "--arch", "resnet20")
    script(case["folder"], "pruning_cifar10_resnet.py", *flags, *layers, *schedule, *rest)
    torch.save = real_save
    return {"trained": state_of(saved["state_dict"].module)}


# The functions -------------------------------------------------------------------------------------------------------


class _RoundedDown(float):
    """A density whose powers are those that keep the next smaller number of weights."""

    weights: int

    def __pow__(self, exponent: Any, _: Any = None) -> float:
        return float((math.floor(float(self) ** exponent * self.weights) - 0.5) / self.weights)


def synaptic_flow(case: Case) -> Result:
    """prune_loop of Synaptic-Flow with one of its pruners."""
    if case["double"]:
        torch.set_default_dtype(torch.float64)
    folder = case["folder"]
    pruners, generator = module(folder, "Pruners.pruners"), module(folder, "Utils.generator")
    model = module(folder, "Models.lottery_resnet").resnet20((3, 32, 32), 10)
    model.load_state_dict(case["weights"], strict=False)  # not in there: masks, and scales of shortcuts, all ones
    pruner = getattr(pruners, case["pruner"])(generator.masked_parameters(model))
    density = case["density"]
    if case["down"]:
        density = _RoundedDown(density)
        density.weights = sum(mask.numel() for mask, _ in pruner.masked_parameters)
    module(folder, "prune").prune_loop(
        model, nn.CrossEntropyLoss(), pruner, case["train"], "cpu", density, "exponential", "global", case["rounds"],
        train_mode=case["train_mode"],
    )  # fmt: skip
    return {"masks": [mask.bool().flatten() for mask, _ in pruner.masked_parameters]}


def grasp(case: Case) -> Result:
    """GraSP of its authors' pruner/GraSP.py; the batch comes twice, since it reads on until each class is full."""
    folder = case["folder"]
    model = module(folder, "models.base.resnet").resnet(depth=case["depth"], dataset="cifar10")
    model.load_state_dict(case["weights"])
    masks = module(folder, "pruner.GraSP").GraSP(
        model, case["removed"], case["train"] * 2, "cpu", num_classes=10, samples_per_class=case["per_class"],
        T=case["temperature"], reinit=False,
    )  # fmt: skip
    return {"masks": [mask.bool().flatten() for mask in masks.values()]}


class _NextBatch:
    """A loader of which every new iterator starts at the batch after the last one's, as shuffling gives another."""

    def __init__(self, batches: Batches):
        self._cycle = itertools.cycle(batches)
        self._count = len(batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self._cycle

    def __len__(self) -> int:
        return self._count


def force(case: Case) -> Result:
    """iterative_pruning of FORCE's pruning/pruning_algos.py."""
    folder = case["folder"]
    model: nn.Module = module(folder, "experiments.models").VGG(cfg=case["plan"])
    model.load_state_dict(case["weights"])
    if case["log_softmax"]:
        model = nn.Sequential(model, nn.LogSoftmax(1))
    masks = module(folder, "pruning.pruning_algos").iterative_pruning(
        model, _NextBatch(case["train"]), "cpu", case["density"], prune_method=case["prune_method"],
        num_steps=case["rounds"], mode="exp", num_batches=1,
    )  # fmt: skip
    return {"masks": [mask.bool().flatten() for mask in masks]}


def depgraph(case: Case) -> Result:
    """Torch-Pruning's GroupNormPruner on a network of ours: sparse training, pruning step by step, fine-tuning."""
    tp = importlib.import_module("torch_pruning")
    networks = importlib.import_module("thinresnet.networks")
    network = networks.scale(case["arch"], **case["kwargs"])

    def loaded(weights: dict[str, Tensor]) -> nn.Module:
        model: nn.Module = networks.build(network, seed=0)
        model.load_state_dict(weights)
        return model

    def pruner(model: nn.Module) -> Any:
        importance = tp.importance.GroupMagnitudeImportance(p=2, normalizer=case["normalizer"])
        return tp.pruner.GroupNormPruner(
            model, torch.randn(1, 3, 32, 32), importance, reg=case["sparsity"], global_pruning=True, pruning_ratio=1.0,
            iterative_steps=case["steps"], ignored_layers=[model.fc],
        )  # fmt: skip

    def pruned(model: nn.Module) -> nn.Module:
        cutter, example = pruner(model), torch.randn(1, 3, 32, 32)
        dense = now = tp.utils.count_ops_and_params(model, example)[0]
        while now > dense * case["share"] and cutter.current_step < case["steps"]:
            cutter.step()
            now = tp.utils.count_ops_and_params(model, example)[0]
        return model

    model = loaded(case["weights"])
    _train(model, case["sparse_epochs"], case["sparse_lr"], 0.0, pruner(model).regularize)
    weights = state_of(model)
    tagged = {
        name: torch.arange(len(tensor), dtype=tensor.dtype) if name.endswith("running_mean") else tensor
        for name, tensor in weights.items()
    }
    kept = {
        name.removesuffix(".running_mean"): [int(index) for index in tensor]
        for name, tensor in pruned(loaded(tagged)).state_dict().items()
        if name.endswith("running_mean")
    }
    model = pruned(loaded(weights))
    before = accuracy(model, GIVEN[TEST])
    _train(model, case["epochs"], case["lr"], 5e-4, None)
    after = accuracy(model, GIVEN[TEST])
    return {"trained": weights, "kept": kept, "accuracy_before": before, "accuracy_after": after}


def _train(model: nn.Module, epochs: int, lr: float, decay: float, penalty: Callable[[nn.Module], None] | None) -> None:
    """The loop of Torch-Pruning's reproduction at a constant rate."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
    model.train()
    for _ in range(epochs):
        for images, targets in GIVEN[TRAIN]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), targets).backward()
            if penalty is not None:
                penalty(model)
            optimizer.step()


RUNNERS: dict[str, Callable[[Case], Result]] = {
    "l1": l1, "slimming": slimming, "sfp": sfp, "synaptic-flow": synaptic_flow, "grasp": grasp, "force": force,
    "depgraph": depgraph,
}  # fmt: skip

if __name__ == "__main__":
    main()
