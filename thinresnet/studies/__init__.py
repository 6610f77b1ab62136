"""Studies: methods and plain scaling under one budget, as a graph of cached stages that one YAML file describes.

What the names below do is in `thinresnet.studies.api`; the keys of the file are in docs/studies.md.
"""

from thinresnet.studies.api import StudyTable, read, run, table
from thinresnet.studies.graph import StudyGraph

__all__ = ["StudyGraph", "StudyTable", "read", "run", "table"]


def __dir__() -> list[str]:
    """What tab completion offers: the public names."""
    return sorted(__all__)
