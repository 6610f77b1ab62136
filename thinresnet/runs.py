"""The files of a run folder by name. Standard library only."""

from __future__ import annotations

NETWORK_FILE = "network.json"
CONFIG_FILE = "config.json"  # what timm and the Hugging Face hub read of a folder
WEIGHTS_FILE = "model.safetensors"
EMA_WEIGHTS_FILE = "model_ema.safetensors"
RECIPE_FILE = "recipe.yaml"
SETTINGS_FILE = "run.json"
RESULT_FILE = "result.json"
METRICS_FILE = "metrics.csv"
TIMING_FILE = "timing.csv"
IMPORTED_FILE = "imported.json"
EVALUATION_FILE = "evaluation.json"
