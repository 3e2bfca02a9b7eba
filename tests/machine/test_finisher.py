"""The test finisher: what each store means for the run."""

from __future__ import annotations

import pytest

from rvsim.machine.device import DeviceFault
from rvsim.machine.finisher import Finisher
from rvsim.machine.hostcall import Exit
from tests.machine.host_port import FakeBus


@pytest.mark.parametrize(
    ("value", "size", "code"),
    [
        (0x5555, 4, 0), (0x5555, 2, 0), (0x0007_5555, 4, 0),
        (0x0003_3333, 4, 3), (0x00FF_3333, 4, 255), (0x3333, 2, 1),
        # a failure is never 0
        (0x3333, 4, 1), (0x0100_3333, 4, 1), (0x0102_3333, 4, 2),
        (0x7777, 4, 0x77),
    ],
)  # fmt: skip
def test_stores_that_end_the_run(value: int, size: int, code: int) -> None:
    with pytest.raises(Exit) as ending:
        Finisher(FakeBus()).write(0, size, value)
    assert ending.value.code == code


def test_other_accesses() -> None:
    device = Finisher(FakeBus())
    for offset, value in ((0, 0), (0, 0x1234), (4, 0x5555), (0xFFC, 0x3333)):
        device.write(offset, 4, value)
    with pytest.raises(DeviceFault):
        device.write(0, 1, 0x55)
    assert [device.read(offset, size) for offset in (0, 4) for size in (1, 2, 4)] == [0] * 6
    assert (device.pending(), device.deadline(), device.state()) == (0, None, {})
