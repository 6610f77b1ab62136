"""What pyproject.toml cannot say: the recipes of the repository's root travel inside the package, and data files."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["thinresnet*"]), "thinresnet.recipes"],
    package_dir={"thinresnet.recipes": "recipes"},
    package_data={
        "thinresnet.recipes": ["*.yaml"],
        "thinresnet.leaderboard": ["*.csv", "*.html", "*.css", "*.js"],
    },
)
