"""Puts the repository on the path: tests of several folders share `tests.machine.guest`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
