"""Puts the repository on the path: these tests share modules with tests/differential and tests/isa."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
