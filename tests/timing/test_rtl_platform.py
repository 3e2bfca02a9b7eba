"""The programs of the RTL data end on the platform of their test bench with its counts and checksum."""

from __future__ import annotations

import pytest

from rvsim.machine import Machine
from tests.timing.rtl import ECALLS, Row, program
from tests.timing.test_rtl_ibex import ROWS

pytestmark = pytest.mark.usefixtures("tier")


@pytest.mark.parametrize("row", ROWS, ids=[each.program for each in ROWS])
def test_the_region_of_interest_is_that_of_the_bench(row: Row) -> None:
    result = Machine(program(row.program), platform="rtl-ideal", core="ibex-small").run()
    assert result.exit_code == 0 and result.roi is not None
    instructions = (row.instret or 0) - ECALLS.get(row.program, 0)
    assert tuple(result.roi) == (row.cycles, instructions, row.checksum)
