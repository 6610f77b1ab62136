"""`accelerate launch train.py --width 0.5` trains; `python train.py --help` lists the flags."""

import sys

from thinresnet.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
