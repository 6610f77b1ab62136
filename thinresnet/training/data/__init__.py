"""Images for training: which ones, in which order, augmented how, by one of three loaders behind one interface.

Which images make up a step and their augmentation is a pure function of the seed, the epoch, the step and the
process (see `plan`), so there is no loader state to save: a resumed run asks for the next step.
"""

from __future__ import annotations

from thinresnet.training.data.loading import LOADERS, Data, EvalSplit, TrainSplit, open_data

__all__ = ["LOADERS", "Data", "EvalSplit", "TrainSplit", "open_data"]
