"""What pyproject.toml cannot say: files of the root that travel inside the package, and data files.

A wheel lies like a checkout: `thinresnet/leaderboard.csv` stands beside `thinresnet/baselines/results`, the evidence
of its measured rows.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

BOARD = ["leaderboard.csv", "leaderboard.bib"]


class BuildWithBoard(build_py):
    """Copies the board of the root into the package; an editable install reads the checkout's."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, built in zip(BOARD, self._built(), strict=True):
                self.copy_file(source, built)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *([] if self.editable_mode else self._built())]

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *BOARD]

    def _built(self) -> list[str]:
        return [str(Path(self.build_lib) / "thinresnet" / name) for name in BOARD]


setup(
    cmdclass={"build_py": BuildWithBoard},
    packages=[*find_packages(include=["thinresnet*"]), "thinresnet.recipes", "thinresnet.baselines"],
    package_dir={"thinresnet.recipes": "recipes", "thinresnet.baselines": "baselines"},
    package_data={
        "thinresnet": ["*.csv", "py.typed"],
        "thinresnet.pruning": ["methods.json"],
        "thinresnet.recipes": ["*.yaml"],
        "thinresnet.baselines": ["*.yaml", "*.json", "results/**/*", "evaluations/**/*"],
        "thinresnet.studies": ["*.html", "protocols.json"],
        "thinresnet.leaderboard": ["*.csv", "*.html", "*.css", "*.js"],
    },
)
