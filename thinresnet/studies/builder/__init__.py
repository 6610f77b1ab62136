"""What protocols build a graph with: the stages and experiments of one recipe of a study.

`Builder` is made of layers: what is known of a recipe (`base`), what trains (`training`), what prunes (`pruning`), what
makes a network out of another (`shapes`), and what protocols share (`whole`). A new kind of stage has a method in its
layer.
"""

from __future__ import annotations

from thinresnet.studies.builder.pruning import images_seen
from thinresnet.studies.builder.whole import Builder, PrunedShape

__all__ = ["Builder", "PrunedShape", "images_seen"]
