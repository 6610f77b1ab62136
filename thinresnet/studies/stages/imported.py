"""Public weights as the beginning of a study: a network that its authors trained, read from their file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from thinresnet import public_weights
from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.public_weights import PublicWeights
from thinresnet.studies.stages.stage import Folders, Stage
from thinresnet.training.importing import Wanted, open_weights, write

WEIGHTS_DIR = "THINRESNET_WEIGHTS"


@dataclass(frozen=True, eq=False, kw_only=True)
class Import(Stage):
    """A public file of weights, known by git's hash of its bytes wherever it lies."""

    kind: ClassVar[str] = "import"

    git_blob: str
    network: Network  # that the file has to hold
    weights: PublicWeights = field(metadata={"decides": False})
    weights_dir: str | None = field(
        default=None, metadata={"decides": False}
    )  # where the file is looked for, folders below included

    def spent(self, folder: Path) -> int:
        """The training by its authors, where their recipe is known: every cost is counted from the origin."""
        return public_weights.origin_training_macs(self.weights) or 0

    def run(self, inputs: Folders, folder: Path, *, quiet: bool) -> dict[str, str]:
        """Read the file and write a run folder with its network and weights."""
        path = find_file(self.weights, self.weights_dir)
        wanted = Wanted(num_classes=int(self.network.kwargs["num_classes"]), input_size=self.network.input_size)
        opened = open_weights(str(path), wanted)
        if opened.adopted.network != self.network:
            raise InputError(
                f"{path}: holds another network than {self.weights.network}; take the file of {self.weights.url}"
            )
        write(opened, folder)
        return {}


def find_file(weights: PublicWeights, weights_dir: str | None) -> Path:
    """The file with these bytes below a folder; one of its own name is tried first."""
    name = Path(weights.path).name
    if weights_dir is None:
        raise InputError(
            f"{name}: the study begins with these public weights; say where the file is with --weights-dir DIR, "
            f"{WEIGHTS_DIR} or the key weights_dir (from {weights.url})"
        )
    folder = Path(weights_dir)
    if not folder.is_dir():
        raise InputError(f"--weights-dir {folder}: no such folder; give the one that holds {name}")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in sorted(found, key=lambda path: path.name != name):
        if public_weights.git_hash(path) == weights.git_blob:
            return path
    raise InputError(
        f"--weights-dir {folder}: none of its {len(found):,} files is {name} of {weights.repository} at "
        f"{weights.commit[:8]}; put it there (from {weights.url})"
    )
