"""What all tests share: one thread a process, no garbage among what is imported, no optional part missing in CI."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# Two workers on two cores: a torch process that takes both only gets in the other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Until the tests are collected, which imports all there is: looking for garbage among it takes a quarter of that time.
gc.disable()


def optional_part(name: str, present: bool, how: str) -> None:
    """Skip a test whose optional part is not installed; in CI (`CI=true`) a missing part is a failure."""
    if present:
        return
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(f"{name} is not installed: {how}")
    pytest.fail(f"CI must have {name}: {how}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need what no package carries run where a variable names it: timm's train.py, public weights."""
    for variable, marker in (("TIMM_TRAIN", "real_timm"), ("THINRESNET_WEIGHTS", "real_weights")):
        if variable not in os.environ:
            beside = [item for item in items if item.get_closest_marker(marker)]
            config.hook.pytest_deselected(items=beside)
            items[:] = [item for item in items if item not in beside]


def pytest_collection_finish() -> None:
    """From now on there is garbage, and none of it among what is there already."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Extensions complain of what is never freed."""
    gc.unfreeze()


@pytest.fixture
def ffcv_installed() -> None:
    """Ask for this fixture in tests that read or write .beton files."""
    optional_part("ffcv", importlib.util.find_spec("ffcv") is not None, 'apt packages, then pip install -e ".[ffcv]"')


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium to drive."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    optional_part("Chromium", found is not None, "apt-get install -y chromium")
    return str(found)


@pytest.fixture(scope="session")
def pdflatex() -> str:
    """The path of a LaTeX to compile tables with."""
    found = shutil.which("pdflatex")
    optional_part("LaTeX", found is not None, "apt-get install -y texlive-latex-recommended")
    return str(found)
