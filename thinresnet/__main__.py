"""`python -m thinresnet` is the same as the `thinresnet` command."""

from thinresnet.cli import main

main()
