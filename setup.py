"""What pyproject.toml cannot say: recipes and baselines of the root travel inside the package, and data files."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["thinresnet*"]), "thinresnet.recipes", "thinresnet.baselines"],
    package_dir={"thinresnet.recipes": "recipes", "thinresnet.baselines": "baselines"},
    package_data={
        "thinresnet": ["*.csv"],
        "thinresnet.recipes": ["*.yaml"],
        "thinresnet.baselines": ["*.yaml", "*.json"],
        "thinresnet.studies": ["*.html"],
        "thinresnet.leaderboard": ["*.csv", "*.html", "*.css", "*.js"],
    },
)
