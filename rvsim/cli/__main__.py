"""`python -m rvsim.cli`, the same as `rvsim`."""

from __future__ import annotations

import sys

from rvsim.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
