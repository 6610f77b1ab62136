"""What training a row costs at least, in epoch-GMACs: epochs times the forward MACs of what is trained.

Ninety epochs of dense ResNet-50 are 368 epoch-GMACs. Whatever no source states counts as nothing, so the figure is a
lower bound; the training MACs are this times three (forward and backward) times the images of an epoch.
"""

from __future__ import annotations

from thinresnet.leaderboard.schema import DATASETS, Entry


def training_at_least(entry: Entry) -> float | None:
    """A lower bound of the epoch-GMACs behind a row, its dense parent included; None where no epochs are known."""
    if entry.training_macs_printed_g is not None:
        return float(entry.training_macs_printed_g) / (3 * DATASETS[entry.dataset].train_images)
    own, dense = _trained_g(entry, entry.macs_g, entry.resolution), None
    if entry.dense is not None:
        dense = _trained_g(entry, entry.dense.macs / 1e9, entry.usual_resolution)
    stages = (
        (entry.train_epochs, own),
        (entry.dense_epochs, dense),
        (entry.tune_epochs, own),
        # What is trained while it is being pruned shrinks from the dense network to the row.
        (entry.prune_epochs, own),
    )
    known = [epochs * macs_g for epochs, macs_g in stages if epochs is not None and macs_g is not None]
    return sum(known) if any(known) else None


def training_of_reference(entry: Entry) -> float | None:
    """The epoch-GMACs of a reference trained from random weights; None where they are not known in full."""
    if entry.training_macs_printed_g is None and (entry.train_epochs is None or entry.macs_g is None):
        return None
    return training_at_least(entry)


def _trained_g(entry: Entry, macs_g: float | None, tested_at: int) -> float | None:
    """GMACs at the training resolution, which is the test resolution where the source says none."""
    return None if macs_g is None else macs_g * ((entry.train_resolution or tested_at) / tested_at) ** 2
