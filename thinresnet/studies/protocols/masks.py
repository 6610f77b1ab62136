"""What the masks of a trained network owe to the weights they keep, and to the random weights that training began with.

The sanity checks of masks: random reinitialisation (Frankle and Carbin 2019; Liu et al. 2019) and layerwise shuffling
(Su et al. 2020; Frankle et al. 2021). Those of methods at initialisation are in `initial`.
"""

from __future__ import annotations

from thinresnet.studies.builder import Builder
from thinresnet.studies.protocol import SCRATCH, Add, protocol
from thinresnet.studies.protocols.participants import masks_weights
from thinresnet.studies.stages.mask import OWN, REINITIALISED, SHUFFLED

_DOES = {REINITIALISED: "on other random weights", SHUFFLED: "shuffled within each layer, on the first weights"}


def _masked(name: str, change: str) -> Add:
    def add(to: Builder) -> None:
        for found in to.pruned(name, masks_weights):
            shape = f"{found.name}-masks-{change}"
            finals = []
            for seed, source in found.sources.items():
                start = to.mask(f"{shape}-start-s{seed}", source, OWN, seed, change)
                finals.append(to.train(shape, start, seed, weights=start, at=(found.pruner, found.point)))
            to.experiment_of(name, found, finals)

    add.__doc__ = (
        f"The masks of a pruned network's single weights {_DOES[change]}, then the whole recipe; zeros stay, and are "
        "computed."
    )
    return add


for _name, _change, _label in (
    ("masks-reinit", REINITIALISED, "on new random weights"),
    ("masks-shuffled", SHUFFLED, "shuffled within layers"),
):
    protocol(_name, SCRATCH, f"{{method}}, its masks {_label}", "budgets", "methods")(_masked(_name, _change))
