"""Puts the repository on the path: these tests share `tests.isa.coredsl_rules` and `tests.isa.snippets`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
