"""The 16550: registers, output and input, loopback, interrupts by priority, snapshots."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.machine.device import DeviceFault
from rvsim.machine.uart import Uart
from tests.machine.guest import S0, T0, T1, ZERO, beq, flat, i_type, jal, lb, li, machine, sb, sw
from tests.machine.host_port import FakeBus, Streams

pytestmark = pytest.mark.usefixtures("tier")

RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR = range(8)
THR, FCR = RBR, IIR
EXTERNAL = 1 << 11


class World(Streams):
    def __init__(self, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self.bus = FakeBus()
        self.uart = Uart(self.bus, self.console)

    def read(self, offset: int) -> int:
        return self.uart.read(offset, 1)

    def write(self, offset: int, value: int) -> None:
        self.uart.write(offset, 1, value)


def test_reset_values() -> None:
    world = World()
    assert [world.read(n) for n in (IER, IIR, LCR, LSR, SCR)] == [0, 1, 0, 0x60, 0]
    assert world.read(MSR) & 0x0F == 0
    assert (world.uart.base, world.uart.pending(), world.uart.deadline()) == (0x1000_0000, 0, None)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_accesses_of_every_width_reach_one_register(size: int) -> None:
    world = World(b"xy")
    world.uart.write(THR, size, 0xAABB_CC00 | ord("A"))
    world.uart.write(SCR, size, 0x1234_5678)
    assert (world.out, world.uart.read(SCR, size), world.uart.read(RBR, size)) == (b"A", 0x78, ord("x"))
    for offset in (8, 9, 0xFF):
        with pytest.raises(DeviceFault):
            world.uart.read(offset, size)
        with pytest.raises(DeviceFault):
            world.uart.write(offset, size, 0)


def test_output_and_the_divisor_latch() -> None:
    world = World()
    world.write(LCR, 0x83)
    world.write(THR, 0x34)
    world.write(IER, 0x12)
    assert (world.out, world.read(RBR), world.read(IER)) == (b"", 0x34, 0x12)
    world.write(LCR, 0x03)
    for byte in b"Hello\xff\0":
        assert world.read(LSR) & 0x60 == 0x60
        world.write(THR, byte)
    assert (world.out, world.err, world.read(IER)) == (b"Hello\xff\0", b"", 0)


def test_input_until_its_end() -> None:
    world, got = World(b"ab", b"c"), b""
    while world.read(LSR) & 1:
        got += bytes([world.read(RBR)])
    assert got == b"abc"
    reads = world.input.reads
    assert [world.read(LSR) & 1, world.read(RBR), world.input.reads - reads] == [0, 0, 0]


def test_reading_without_looking() -> None:
    assert World(b"x").read(RBR) == ord("x")


def test_loopback() -> None:
    world = World(b"input")
    world.write(FCR, 1)
    world.write(MCR, 0x10)
    for byte in b"loop":
        world.write(THR, byte)
    assert bytes(world.read(RBR) for _ in range(4)) == b"loop"
    assert (world.out, world.read(LSR), world.input.reads) == (b"", 0x60, 0)


@pytest.mark.parametrize(("mcr", "lines"), [(0x11, 0x20), (0x12, 0x10), (0x14, 0x40), (0x18, 0x80), (0x1F, 0xF0)])
def test_loopback_of_the_modem_lines(mcr: int, lines: int) -> None:
    world = World()
    world.write(MCR, 0x10)
    world.read(MSR)
    world.write(MCR, mcr)
    first, second = world.read(MSR), world.read(MSR)
    assert (first & 0xF0, second) == (lines, lines)
    # deltas: CTS, DSR and DCD on each change; RI on its end
    assert first & 0x0F == lines >> 4 & ~4
    world.write(MCR, 0x10)
    assert world.read(MSR) == lines >> 4


@pytest.mark.parametrize(("fcr", "kept", "result"), [(0, 1, b"b"), (1, 16, bytes(range(16)))])
def test_overrun(fcr: int, kept: int, result: bytes) -> None:
    world = World()
    world.write(IER, 4)
    world.write(FCR, fcr)
    world.write(MCR, 0x10)
    for byte in b"ab" if kept == 1 else bytes(range(17)):
        world.write(THR, byte)
    assert (world.uart.pending(), world.read(IIR) & 0x0F) == (EXTERNAL, 6)
    assert [world.read(LSR), world.read(LSR), world.uart.pending()] == [0x63, 0x61, 0]
    assert bytes(world.read(RBR) for _ in range(kept)) == result


def test_the_empty_transmitter_interrupts() -> None:
    world = World()
    world.write(IER, 2)
    assert world.uart.pending() == EXTERNAL
    # Reading IIR clears it, writing THR and enabling it again raise it.
    assert [world.read(IIR), world.read(IIR), world.uart.pending()] == [0x02, 0x01, 0]
    world.write(THR, 0x41)
    assert [world.read(IIR), world.read(IIR)] == [0x02, 0x01]
    world.write(IER, 2)
    assert world.read(IIR) == 1
    world.write(IER, 0)
    world.write(IER, 2)
    assert (world.uart.pending(), world.bus.calls > 0) == (EXTERNAL, True)
    world.write(IER, 0)
    assert world.uart.pending() == 0


def test_input_interrupts_and_is_looked_for_on_a_grid_of_cycles() -> None:
    world = World(b"ab")
    world.write(IER, 1)
    world.bus.cycles = 1000
    assert world.uart.pending() == EXTERNAL
    assert [world.read(IIR), world.read(RBR), world.uart.pending()] == [0x04, ord("a"), 0]
    assert world.uart.deadline() == 1 << 14
    reads = world.input.reads
    world.bus.cycles = (1 << 14) - 1
    assert (world.uart.pending(), world.input.reads) == (0, reads)
    world.bus.cycles = 1 << 14
    assert (world.uart.pending(), world.read(RBR)) == (EXTERNAL, ord("b"))
    world.bus.cycles = world.uart.deadline() or 0
    # the end of input: nothing to wait for
    assert (world.uart.pending(), world.uart.deadline()) == (0, None)


@pytest.mark.parametrize(("trigger", "count", "identity"), [(0, 1, 0xC4), (1, 3, 0xCC), (1, 4, 0xC4), (3, 14, 0xC4)])
def test_trigger_levels(trigger: int, count: int, identity: int) -> None:
    world = World()
    world.write(FCR, trigger << 6 | 1)
    world.write(IER, 1)
    world.write(MCR, 0x10)
    for _ in range(count):
        world.write(THR, 0)
    assert world.read(IIR) == identity


def test_priorities() -> None:
    world = World()
    world.write(MCR, 0x10)
    world.write(IER, 0x0F)
    world.write(THR, 1)
    world.write(THR, 2)  # overrun
    seen = [world.read(IIR)]
    world.read(LSR)
    seen.append(world.read(IIR))
    world.read(RBR)
    seen += [world.read(IIR), world.read(IIR)]
    world.read(MSR)
    seen.append(world.read(IIR))
    assert seen == [0x06, 0x04, 0x02, 0x00, 0x01]


def test_clearing_the_fifo() -> None:
    world = World()
    world.write(FCR, 1)
    world.write(MCR, 0x10)
    world.write(THR, 1)
    world.write(FCR, 3)
    assert (world.read(LSR) & 1, world.read(IIR)) == (0, 0xC1)


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.integers(0, 255)), max_size=40))
def test_no_sequence_breaks_it_and_states_continue(steps: list[tuple[int, bool, int]]) -> None:
    world = World(b"some", b"input")
    for n, (offset, write, value) in enumerate(steps):
        world.bus.cycles = n * 5000
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(world.uart.state()))
        copy = Uart(world.bus, world.console)
        copy.restore(state)
        assert vars(copy) == vars(world.uart)
        world.uart = copy
        if write:
            world.write(offset, value)
        else:
            assert 0 <= world.read(offset) <= 255
        assert world.uart.pending() in (0, EXTERNAL)
        deadline = world.uart.deadline()
        assert deadline is None or deadline > world.bus.cycles


def test_a_program() -> None:
    """Through `Machine`: echo standard input until it ends, then pass through the finisher."""
    uart, finisher = 0x1000_0000, 0x10_0000
    words = flat([
        li(S0, uart),
        lb(T0, S0, LSR), i_type(0x13, 7, T0, T0, 1), beq(T0, ZERO, 16),
        lb(T1, S0, RBR), sb(T1, S0, THR), jal(ZERO, -20),
        li(T0, finisher), li(T1, 0x5555), sw(T1, T0),
    ])  # fmt: skip
    streams = Streams(b"echo", b" me")
    result = machine(words, stdout=streams.out.extend, stdin=streams.input).run(1000)
    assert (bytes(streams.out), result.exit_code, result.message) == (b"echo me", 0, None)
