"""How many images of which side a training sees, before it is run: what a plan counts is what the run will record.

As the loader has it in one process: whole batches only, at the recipe's training sizes. Where each batch draws its size
(several `train_img_sizes`) it is the mean over what may be drawn, which a run meets but for chance.
"""

from __future__ import annotations

from fractions import Fraction

from thinresnet.network import Network
from thinresnet.networks.cost import count
from thinresnet.recipe import Recipe
from thinresnet.training.data.loading import size_schedule
from thinresnet.training.data.plan import Plan


def images_an_epoch(recipe: Recipe, images: int, holdout: float = 0.0) -> int:
    """Of so many training images with the hold-out, those of an epoch's whole batches."""
    kept = round(images * (1 - holdout))
    return kept // recipe.batch_size * recipe.batch_size or kept  # too few for one batch: the training refuses them


def size_share(recipe: Recipe, network: Network) -> Fraction:
    """MACs of a training image as a share of those at the network's own size, mean over the recipe's epochs."""
    channels, side = network.input_size[:2]
    sizes = recipe.train_img_sizes or (side,)
    if set(sizes) == {side}:
        return Fraction(1)
    at_sizes = [Fraction(count(network, (channels, size, size)).macs, count(network).macs) for size in sizes]
    schedule = size_schedule(recipe, Plan(recipe.batch_size, recipe.batch_size, recipe.seed), sizes)
    if schedule is None:
        return at_sizes[0]
    epochs = [schedule.choice_weights_for_epoch(epoch).tolist() for epoch in range(recipe.total_epochs)]
    drawn = [sum(map(Fraction, own), Fraction(0)) / len(epochs) for own in zip(*epochs, strict=True)]
    return sum((share * own for share, own in zip(drawn, at_sizes, strict=True)), Fraction(0))
