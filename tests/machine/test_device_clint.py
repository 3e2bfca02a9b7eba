"""The core-local interruptor: registers, the timer's deadline, interrupts and snapshots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.machine.clint import NEVER, Clint
from tests.machine.host_port import FakeBus

pytestmark = pytest.mark.usefixtures("tier")

MSIP, MTIMECMP, MTIME = 0, 0x4000, 0xBFF8
SOFTWARE, TIMER = 1 << 3, 1 << 7

cycles = st.integers(0, (1 << 62) - 1)
times = st.integers(0, NEVER) | st.integers(0, 1 << 40)


def clint(at: int = 0) -> Clint:
    bus = FakeBus()
    bus.cycles = at
    return Clint(bus)


def write64(device: Clint, offset: int, value: int) -> None:
    device.write(offset, 4, value & 0xFFFF_FFFF)
    device.write(offset + 4, 4, value >> 32)


def read64(device: Clint, offset: int) -> int:
    return device.read(offset, 4) | device.read(offset + 4, 4) << 32


def test_reset() -> None:
    device = clint(100)
    assert (device.base, device.size) == (0x0200_0000, 0x1_0000)
    assert (read64(device, MTIMECMP), device.read(MSIP, 4), read64(device, MTIME)) == (NEVER, 0, 100)
    assert (device.pending(), device.deadline()) == (0, None)


def test_msip_has_one_bit() -> None:
    device = clint()
    device.write(MSIP, 4, 0xFFFF_FFFF)
    assert (device.read(MSIP, 4), device.pending()) == (1, SOFTWARE)
    device.write(MSIP, 4, 0xFFFF_FFFE)
    assert (device.read(MSIP, 4), device.pending()) == (0, 0)


@given(now=cycles, compare=times, start=times)
def test_the_deadline_is_the_first_cycle_at_which_pending_changes(now: int, compare: int, start: int) -> None:
    device = clint(now)
    write64(device, MTIMECMP, compare)
    write64(device, MTIME, start)
    assert (read64(device, MTIME), read64(device, MTIMECMP)) == (start, compare)
    before = device.pending()
    assert before == (TIMER if start >= compare else 0)
    deadline = device.deadline()
    if deadline is None:
        device.bus.cycles = now + (1 << 62) - 1
        assert device.pending() == before
        return
    assert deadline > now
    device.bus.cycles = deadline - 1
    assert device.pending() == before
    device.bus.cycles = deadline
    # One value has nothing before it: a comparison with 0 is always true.
    assert device.pending() != before or compare == 0


@pytest.mark.parametrize(
    ("mtime", "mtimecmp", "pending", "deadline"),
    [
        (0, 1, 0, 11),
        (5, 5, TIMER, None),
        # round the end of time: the timer's interrupt goes away
        (NEVER - 3, 5, TIMER, 14),
        (NEVER - 3, NEVER, 0, 13),
        (0, NEVER, 0, None),
    ],
)
def test_deadlines(mtime: int, mtimecmp: int, pending: int, deadline: int | None) -> None:
    device = clint(10)
    write64(device, MTIME, mtime)
    write64(device, MTIMECMP, mtimecmp)
    assert (device.pending(), device.deadline()) == (pending, deadline)


@given(offset=st.integers(0, 0xFFFF), size=st.sampled_from([1, 2, 4]), value=st.integers(0, 0xFFFF_FFFF))
def test_lanes_are_those_of_memory(offset: int, size: int, value: int) -> None:
    offset -= offset % size
    device, before = clint(), clint()
    memory = bytearray(0x1_0000)
    memory[MTIMECMP : MTIMECMP + 8] = b"\xff" * 8
    device.write(offset, size, value)
    live = any(start <= offset < start + length for start, length in ((MSIP, 4), (MTIMECMP, 8), (MTIME, 8)))
    if live:
        memory[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        memory[0:4] = bytes([memory[0] & 1, 0, 0, 0])
    for start in range(0, 0x1_0000, 4):
        if start in (MSIP, 4, MTIMECMP, MTIMECMP + 4, MTIME, MTIME + 4, offset & ~3):
            assert device.read(start, 4) == int.from_bytes(memory[start : start + 4], "little"), hex(start)
    assert device.read(offset, size) == int.from_bytes(memory[offset : offset + size], "little")
    assert bool(device.bus.calls) == live
    before.restore(device.state())
    assert before.state() == device.state() and before.pending() == device.pending()
