"""Puts the repository on the path: guest programs come from `tests.machine.guest`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
