"""Pruning at initialisation: how dense each layer should be before anything is trained, and the channels that follow.

A criterion (`criterion.py`) is a method that says which share of each layer's weights should stay; `allocation.py`
turns that into channel counts under an exact budget, `masking.py` into masks of the same densities.
"""
