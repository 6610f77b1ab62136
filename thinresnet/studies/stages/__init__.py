"""What studies are made of: stages, each a frozen dataclass in a file of its kind."""

from __future__ import annotations

from thinresnet.studies.stages.imported import Import
from thinresnet.studies.stages.mask import Mask
from thinresnet.studies.stages.measure import Measure
from thinresnet.studies.stages.prune import Prune
from thinresnet.studies.stages.shape import Guide, Rescale, Rewind
from thinresnet.studies.stages.stage import CostPoint, Source, Stage
from thinresnet.studies.stages.timing import Timing
from thinresnet.studies.stages.train import Train

__all__ = [
    "CostPoint",
    "Guide",
    "Import",
    "Mask",
    "Measure",
    "Prune",
    "Rescale",
    "Rewind",
    "Source",
    "Stage",
    "Timing",
    "Train",
]
