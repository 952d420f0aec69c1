"""`python -m latentstore` is the command `latentstore`."""

import sys

from latentstore.cli.main import main

if __name__ == "__main__":  # workers that are started as processes import this module too
    sys.exit(main())
