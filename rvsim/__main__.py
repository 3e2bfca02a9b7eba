"""`python -m rvsim`, the same as `rvsim`."""

from __future__ import annotations

from rvsim.cli.main import program

if __name__ == "__main__":
    program()
