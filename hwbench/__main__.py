"""``python -m hwbench``: the same as the console script ``hwbench``."""

from __future__ import annotations

import sys

from hwbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
