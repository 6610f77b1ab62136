"""The architectures of this project, which timm finds once this module is imported; one file each, one name here."""

from __future__ import annotations

from thinresnet.networks import cifar, shufflenet

NAMES = (*cifar.default_cfgs, *shufflenet.default_cfgs)
