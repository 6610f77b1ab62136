"""The comparisons of methods at initialisation: SNIP, GraSP, SynFlow, FORCE and Iter-SNIP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from peer_code.bench import Bench, Share, renamed
from peer_code.compare import Array, Finding, mask_finding
from peer_code.repositories import FORCE, GRASP, SYNFLOW
from thinresnet.networks import build, scale

DENSITY = 0.1
TIES = 4  # weights whose scores are equal to the last bits of float32 fall to either side
_LOTTERY = (
    (r"^layer1\.(\d)", r"blocks.\1"), (r"^layer2\.0", "blocks.3"), (r"^layer2\.1", "blocks.4"),
    (r"^layer2\.2", "blocks.5"), (r"^layer3\.0", "blocks.6"), (r"^layer3\.1", "blocks.7"),
    (r"^layer3\.2", "blocks.8"), (r"^conv1", "conv"), (r"^bn1", "bn"), (r"\.downsample\.", ".shortcut."),
)  # fmt: skip
_NO_SOFTMAX = (
    "their gradients are of nll_loss on logits, without the log-softmax that it expects; the paper's loss, and ours, "
    "is the cross-entropy"
)
_GRASP = ((r"\.downsample\.1\.", ".bn3."), (r"^bn1", "bn"), (r"^fc\.", "linear."))
_PLAN = (0, 0, "M", 0, 0, "M", 0, 0, 0, "M", 0, 0, 0, "M", 0, 0, 0)  # widths and poolings
_VGG = ((r"^features\.", "feature."), (r"^fc\.", "classifier."))


def _arrays(masks: Sequence[Tensor]) -> list[Array]:
    return [mask.numpy() for mask in masks]


def synaptic_flow(bench: Bench) -> Iterator[Finding]:
    """SNIP, GraSP and SynFlow of Synaptic-Flow on its ResNet-20, whose shortcuts are projections."""
    network = scale("resnet20_cifar", shortcut="B")
    model = build(network, seed=bench.seed)
    share = Share.of(network, DENSITY)
    weights = renamed(model.state_dict(), _LOTTERY)
    said = {"peer": SYNFLOW.address, "network": "ResNet-20 B"}

    def masks(pruner: str, batches: Sequence[object], **how: object) -> list[Array]:
        asked = {"density": share.middle, "rounds": 1, "train_mode": True, "double": False, "down": False, **how}
        found = bench.theirs(SYNFLOW, "synaptic-flow", weights=weights, pruner=pruner, train=list(batches), **asked)
        return _arrays(found["masks"])

    batches = bench.batches[:2]
    own = share.masks("snip", model, batches, batches=2)
    said_snip = {"method": "snip", **said}
    yield mask_finding(masks("SNIP", batches), own, allowed=TIES, compared="masks, norms in training mode", **said_snip)
    yield mask_finding(
        masks("SNIP", batches, train_mode=False), own, compared="masks, as their command runs it", **said_snip,
        why="their command scores in evaluation mode, where the norms of a new network do nothing; SNIP's own authors "
        "and we score in training mode",
    )  # fmt: skip
    images, targets = bench.train.by_class(10, mixed=True)
    halves = list(zip(images.split(len(images) // 2), targets.split(len(targets) // 2), strict=True))
    own = share.masks("grasp", model, [(images, targets)])
    yield mask_finding(
        masks("GraSP", halves), own, allowed=TIES, method="grasp", compared="masks, norms in training mode", **said
    )
    own = share.masks("synflow", model, batches)
    how = {"density": share.density, "rounds": 100, "train_mode": False}
    for changes, allowed, compared, why in (
        ({"double": True, "down": True}, TIES, "float64, counts of rounds rounded down", ""),
        ({}, 0, "as their command runs it", "each of 100 rounds keeps the next larger number of weights there, the "
         "next smaller here, and float32 there; a weight more in one round changes all later scores"),
    ):  # fmt: skip
        theirs = masks("SynFlow", batches, **how, **changes)
        yield mask_finding(
            theirs, own, allowed=allowed, method="synflow", compared=f"masks, {compared}", why=why, **said
        )


def grasp(bench: Bench) -> Iterator[Finding]:
    """GraSP of its own authors on their ResNet-20, twice as wide as usual."""
    network = scale("resnet20_cifar", width=2.0, shortcut="B")
    model = build(network, seed=bench.seed)
    share = Share.of(network, DENSITY)
    sorted_batch, mixed_batch = (bench.train.by_class(10, mixed=mixed) for mixed in (False, True))
    found = bench.theirs(
        GRASP, "grasp", weights=renamed(model.state_dict(), _GRASP), depth=20, removed=1 - share.middle,
        per_class=10, temperature=200, train=[sorted_batch],
    )  # fmt: skip
    theirs = _arrays(found["masks"])
    said = {"method": "grasp", "peer": GRASP.address, "network": "ResNet-20 B, width 2"}
    own = share.masks("grasp", model, [sorted_batch])
    yield mask_finding(theirs, own, allowed=TIES, compared="masks, images class after class", **said)
    own = share.masks("grasp", model, [mixed_batch])
    yield mask_finding(
        theirs, own, compared="masks, images mixed as ours come", **said,
        why="their code sorts the images by class before it halves them, so that norms see five classes at a time; "
        "ours come mixed",
    )  # fmt: skip


def force(bench: Bench) -> Iterator[Finding]:
    """FORCE and Iter-SNIP of FORCE's authors on their VGG."""
    network = scale("vgg16_cifar", width=0.25)
    widths = iter(network.channels.values())
    plan = [own if own == "M" else next(widths) for own in _PLAN]
    model: nn.Module = build(network, seed=bench.seed)
    share = Share.of(network, DENSITY)
    rounds, batches = 5, bench.train.batches(32, 5)
    for name, number in (("force", 3), ("iter-snip", 1)):
        own = share.masks(name, model, batches, rounds=rounds, batches=1)
        for log_softmax in (True, False):
            found = bench.theirs(
                FORCE, "force", weights=renamed(model.state_dict(), _VGG), plan=plan, density=share.density,
                prune_method=number, rounds=rounds, train=batches, log_softmax=log_softmax,
            )  # fmt: skip
            yield mask_finding(
                _arrays(found["masks"]), own, allowed=0 if not log_softmax else 50, method=name, peer=FORCE.address,
                network="VGG-16, width 0.25", why="" if log_softmax else _NO_SOFTMAX,
                compared=f"masks, {rounds} rounds" + (", log-softmax added" if log_softmax else ""),
            )  # fmt: skip
