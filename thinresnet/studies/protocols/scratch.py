"""Pruned shapes, trained from scratch or rewound to the weights that training began with."""

from __future__ import annotations

from thinresnet.studies.builder import Builder
from thinresnet.studies.protocol import REWOUND, SCRATCH, Add, protocol
from thinresnet.studies.protocols.participants import can_rewind, is_smaller


def _scratch(
    name: str, *, equal_computation: bool = False, most_times: int | None = None, equal_total: bool = False
) -> Add:
    def add(to: Builder) -> None:
        for shape in to.pruned(name, is_smaller):
            finals = [
                to.train(
                    f"{shape.name}-{name}",
                    source,
                    seed,
                    at=(shape.pruner, shape.point),
                    equal_computation=equal_computation,
                    most_times=most_times,
                    equal_total=equal_total,
                )
                for seed, source in shape.sources.items()
            ]
            to.experiment_of(name, shape, finals)

    how = "as much computation" if equal_computation else "as many epochs"
    most = f", at most {most_times} times its epochs" if most_times else ""
    add.__doc__ = f"A pruned shape trained from scratch, with {how} as the dense network{most}."
    if equal_total:
        add.__doc__ = "A pruned shape trained from scratch for what the total training leaves."
    return add


for _name, _label, _equal, _most in (
    ("scratch-e", "{method}, Scratch-E", False, None),
    ("scratch-b", "{method}, Scratch-B", True, None),
    ("scratch-b-2x", "{method}, Scratch-B up to 2x", True, 2),
):
    protocol(_name, SCRATCH, _label, "budgets", "methods")(_scratch(_name, equal_computation=_equal, most_times=_most))


protocol("scratch-equal-total", SCRATCH, "{method}, from scratch, equal total training", "budgets", "methods")(
    _scratch("scratch-equal-total", equal_total=True)
)


@protocol("rewind", REWOUND, "{method}, rewound", "budgets", "methods")
def _rewind(to: Builder) -> None:
    """What pruning kept, back at the weights that training began with, trained by the whole recipe."""
    for shape in to.pruned("rewind", can_rewind):
        finals = []
        for seed, source in shape.sources.items():
            start = source
            if not shape.pruner.method.rewinds:
                start = to.rewind(f"{shape.name}-start-s{seed}", to.dense(seed), source, seed)
            finals.append(
                to.train(
                    f"{shape.name}-rewind",
                    start,
                    seed,
                    weights=start,
                    at=(shape.pruner, shape.point),
                )
            )
        to.experiment_of("rewind", shape, finals)
