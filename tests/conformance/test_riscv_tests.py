"""riscv-tests: every program of rv32ui, rv32um, rv32uc and rv32mi (-p) ends by writing 1 to tohost.

The suite is not part of this project: RVSIM_RISCV_TESTS names the folder of its built programs (README.md).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rvsim.cli.main import main

pytestmark = pytest.mark.usefixtures("tier")

FOLDER = os.environ.get("RVSIM_RISCV_TESTS")
GROUPS = ("rv32ui", "rv32um", "rv32uc", "rv32mi")
PROGRAMS = (
    sorted(path for group in GROUPS for path in Path(FOLDER).glob(f"{group}-p-*") if path.suffix != ".dump")
    if FOLDER
    else []
)

# Never required: the suite comes from elsewhere, also where RVSIM_REQUIRE_PEERS is set.
needs_suite = pytest.mark.skipif(FOLDER is None, reason="RVSIM_RISCV_TESTS names no folder of built riscv-tests")


@needs_suite
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_passes(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = main(["run", "--quiet", "--isa", "rv32imac", "--max-instructions", "1000000", str(program)])
    # tohost is 1 for a pass, else twice the number of the failed case plus one; HTIF's exit code is half of it.
    assert status == 0, f"{program.name} ended with status {status}: {capfd.readouterr().err}"


@needs_suite
def test_all_groups_are_there() -> None:
    """67 programs in June 2026."""
    assert {re.match(r"\w+", path.name)[0] for path in PROGRAMS} == set(GROUPS)  # type: ignore[index]
    assert len(PROGRAMS) >= 67
