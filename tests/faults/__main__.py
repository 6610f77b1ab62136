"""The whole campaign: `python -m tests.faults`; a part of it: `--most 5 --only train`.

Prints a table and ends with 1 if any case is bad.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.faults.commands import commands
from tests.faults.crash import Case, campaign, worst


def main() -> int:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--most", type=int, metavar="N", help="so many kills a command, evenly (default: every change)")
    parser.add_argument("--only", nargs="*", metavar="COMMAND", help="these commands alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every case")
    options = parser.parse_args()
    every: list[Case] = []
    print("command\tkilled\tbad\tworst", flush=True)
    with tempfile.TemporaryDirectory(prefix="thinresnet-faults-") as home:
        for command in commands(Path(home), options.only or ()):
            cases = list(campaign(command, Path(home) / "work", options.most))
            every += cases
            bad = sum(bool(case.wrong) for case in cases)
            print(f"{command.name}\t{len(cases)}\t{bad}\t{worst(cases)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(case) for case in every], indent=1) + "\n")
    return int(any(case.wrong for case in every))


if __name__ == "__main__":
    sys.exit(main())
