"""Puts the repository on the path: these tests share `tests.accel.reference` and `tests.accel.strategies`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
