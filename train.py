"""The front door: `accelerate launch train.py --width 0.5` trains; `python train.py --help` says what can be said."""

import sys

from thinresnet.leaderboard.verdicts import place
from thinresnet.training.command import main

if __name__ == "__main__":
    sys.exit(main(place=place))
