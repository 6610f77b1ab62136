"""Dense and scaled: what pruned networks are held against."""

from __future__ import annotations

from thinresnet.errors import InputError
from thinresnet.network import Network
from thinresnet.networks import fit
from thinresnet.recipe import Recipe
from thinresnet.studies.builder import Builder
from thinresnet.studies.protocol import DENSE, SCALED, Add, protocol

BASELINE = "scaled-width"


@protocol("dense", DENSE, "dense")
def _dense(to: Builder) -> None:
    """The whole network, which pruning starts from."""
    # One parent of several seeds is one training, not as many that agree to the bit.
    to.experiment("dense", list(dict.fromkeys(to.dense(seed) for seed in to.study.seeds)))


def _scaled(name: str, way: str, *, equal_computation: bool = False, equal_total: bool = False) -> Add:
    def add(to: Builder) -> None:
        dense = to.network
        for point in to.study.points:
            try:
                network = fit(
                    dense.arch, to.budgets(point), scaling=way, latency_table=to.study.table_for(point),
                    input_size=dense.input_size, **dense.kwargs,
                )  # fmt: skip
            except InputError as error:
                raise InputError(f"study {to.study.name}: {name} at {point.text}: {error}") from None
            recipe = _at_side(to.setup.recipe, dense, network) if way == "resolution" else to.setup.recipe
            finals = [
                to.train(
                    f"{name}-{point.tag}",
                    network,
                    seed,
                    recipe=recipe,
                    equal_computation=equal_computation,
                    equal_total=equal_total,
                )
                for seed in to.study.seeds
            ]
            timing = to.timing(f"scaled-{way}-{point.tag}", network)
            to.experiment(name, finals, point=point, timing=timing)

    how = ", with as much computation as the dense network" if equal_computation else ""
    how = ", for the same total training" if equal_total else how
    add.__doc__ = f"The architecture scaled in {way} to the budget, trained from scratch{how}."
    return add


def _at_side(recipe: Recipe, dense: Network, network: Network) -> Recipe:
    """The recipe with images of the network's side, training sizes in proportion.

    A padded crop keeps the pixels of an image as they are; of a resized one, the same range of visible area is cropped.
    """
    before, side = dense.input_size[1], network.input_size[1]
    changes: dict[str, object] = {"img_size": side}
    if recipe.train_img_sizes is not None:
        changes["train_img_sizes"] = tuple(max(1, size * side // before) for size in recipe.train_img_sizes)
    if recipe.crop_padding:
        least = max(1, before - recipe.crop_padding) / before
        changes |= {"crop_padding": 0, "scale": (least**2, 1.0), "ratio": (1.0, 1.0)}
    return recipe.replace(**changes)


protocol(BASELINE, SCALED, "plain width", "budgets")(_scaled(BASELINE, "width"))
# What Scratch-B is fairly held against.
protocol("scaled-width-b", SCALED, "plain width, as much training as dense", "budgets")(
    _scaled("scaled-width-b", "width", equal_computation=True)
)
# What pruned rows of an equal total are fairly held against.
protocol("scaled-width-equal-total", SCALED, "plain width, equal total training", "budgets")(
    _scaled("scaled-width-equal-total", "width", equal_total=True)
)
for _name, _way, _label in (
    ("scaled-interior", "interior", "interior width"),
    ("scaled-depth", "depth", "depth"),
    ("scaled-resolution", "resolution", "resolution"),
):
    protocol(_name, SCALED, _label, "budgets")(_scaled(_name, _way))
