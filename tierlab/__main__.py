"""``python -m tierlab``."""

import sys

from tierlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
