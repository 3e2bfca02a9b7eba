"""Semihosting: every operation on a fake hart, and that nothing a program passes breaks it."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from rvsim.machine.hostcall import Clock, Exit
from rvsim.machine.hostfs import MAX_OPEN, HostFiles
from rvsim.machine.semihosting import Semihosting
from tests.machine.guest import A0, A1, DATA, MTVEC, T0, code, csrrw, elf, li
from tests.machine.host_port import BASE, ROM, SIZE, FakeHart, Streams

pytestmark = pytest.mark.usefixtures("tier")

(OPEN, CLOSE, WRITEC, WRITE0, WRITE, READ, READC, ISERROR, ISTTY, SEEK, FLEN, TMPNAM, REMOVE, RENAME, CLOCK, TIME,
 SYSTEM, ERRNO, GET_CMDLINE, HEAPINFO, EXIT, EXIT_EXTENDED, ELAPSED, TICKFREQ) = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 0xA, 0xC, 0xD, 0xE, 0xF, 0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x18, 0x20, 0x30, 0x31,
)  # fmt: skip
BLOCK, NAME, OTHER, BUFFER = BASE + 0x1000, BASE + 0x1100, BASE + 0x1200, BASE + 0x2000
EBADF, EFAULT, ENOENT, EACCES, EINVAL, EMFILE, ESPIPE, ENOSYS = 9, 14, 2, 13, 22, 24, 29, 38


class World(Streams):
    def __init__(self, folder: Path | None = None, *pieces: bytes, cycles: int = 0) -> None:
        super().__init__(*pieces)
        self.hart = FakeHart()
        self.files = HostFiles(folder)
        self.host = Semihosting(
            self.hart, self.console, self.files, clock=Clock(lambda: cycles, 50.0),
            command_line=[b"prog", b"one", b"two"],
            heap=(BASE + 0x4000, BASE + 0x8000), stack=(BASE + SIZE, BASE + 0x8000),
        )  # fmt: skip

    def raw(self, operation: int, parameter: int) -> int:
        self.hart.registers[10:12] = [operation, parameter]
        self.host.serve()
        value = self.hart.registers[10]
        return value - (1 << 32) if value >> 31 else value

    def call(self, operation: int, *fields: int) -> int:
        return self.raw(operation, self.hart.words(BLOCK, *fields) if fields else 0)

    def open(self, name: bytes, mode: int) -> int:
        return self.call(OPEN, self.hart.put(NAME, name + b"\0"), mode, len(name))

    def failure(self) -> int:
        return self.call(ERRNO)

    def data(self, size: int, address: int = BUFFER) -> bytes:
        found = self.hart.peek(address, size)
        assert found is not None
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "file").write_bytes(b"0123456789")
    return World(tmp_path)


# ------------------------------------------------------------------------------------------------------- recognising it

SLLI, EBREAK, SRAI, C_EBREAK, NOP = 0x01F01013, 0x00100073, 0x40705013, 0x9002, 0x00000013


@pytest.mark.parametrize(
    ("code", "offset", "result"),
    [
        (struct.pack("<III", SLLI, EBREAK, SRAI), 4, True),
        # halfword alignment is enough
        (struct.pack("<HIII", 1, SLLI, EBREAK, SRAI), 6, True),
        (struct.pack("<III", NOP, EBREAK, SRAI), 4, False),
        (struct.pack("<III", SLLI, EBREAK, NOP), 4, False),
        (struct.pack("<IIH", SLLI, EBREAK, 1), 4, False),
        (struct.pack("<IHI", SLLI, C_EBREAK, SRAI), 4, False),
        (struct.pack("<III", SLLI, EBREAK, SRAI), 0, False),
        (struct.pack("<II", SLLI, EBREAK), 4, False),
    ],
)
def test_the_sequence(code: bytes, offset: int, result: bool) -> None:
    hart = FakeHart()
    hart.put(BASE, code)
    assert Semihosting.matches(hart.peek, BASE + offset) is result


@pytest.mark.parametrize("pc", [0, 2, ROM, BASE, BASE + SIZE - 8, BASE + SIZE, 0xFFFF_FFFC, 0xFFFF_FFFE])
def test_no_sequence_at_the_edges_of_memory(pc: int) -> None:
    hart = FakeHart()
    hart.put(BASE, struct.pack("<II", EBREAK, SRAI))
    hart.put(BASE + SIZE - 8, struct.pack("<II", SLLI, EBREAK))
    assert not Semihosting.matches(hart.peek, pc)


# -------------------------------------------------------------------------------------------------------------- streams


def test_the_console() -> None:
    world = World(None, b"xyz", b"more")
    world.hart.put(BUFFER, b"Hello\0hidden")
    world.raw(WRITEC, BUFFER)
    world.raw(WRITE0, BUFFER)
    # mode: 0-3 is stdin, 4-7 stdout, 8-11 stderr
    handles = [world.open(b":tt", mode) for mode in (1, 6, 9)]
    assert handles == [3, 4, 5]
    for out, err in ((handles[1], handles[2]), (1, 2)):
        assert [world.call(WRITE, out, BUFFER, 5), world.call(WRITE, err, BUFFER, 2)] == [0, 0]
    assert (world.out, world.err) == (b"HHelloHelloHello", b"HeHe")
    assert [world.raw(READC, 0), world.raw(READC, 0)] == [ord("x"), ord("y")]
    assert [world.call(READ, 3, BUFFER, 8), world.data(1)] == [7, b"z"]
    assert [world.call(READ, 0, BUFFER, 4), world.data(4)] == [0, b"more"]
    # the end of input
    assert [world.call(READ, 3, BUFFER, 8), world.raw(READC, 0)] == [8, -1]
    assert [world.call(ISTTY, h) for h in (0, 1, 2, *handles)] == [1] * 6
    assert [world.call(FLEN, 3), world.failure(), world.call(SEEK, 3, 0), world.failure()] == [-1, ESPIPE, -1, ESPIPE]
    assert [world.call(WRITE, 0, BUFFER, 1), world.call(WRITE, 3, BUFFER, 1), world.call(READ, 4, BUFFER, 1)] == [
        -1
    ] * 3
    assert [world.call(CLOSE, 4), world.call(WRITE, 4, BUFFER, 1), world.failure()] == [0, -1, EBADF]
    assert [world.call(CLOSE, 1), world.call(WRITE, 1, BUFFER, 1)] == [0, 0]


def test_features() -> None:
    world = World()
    handle = world.open(b":semihosting-features", 0)
    assert [world.call(FLEN, handle), world.call(ISTTY, handle), world.call(READ, handle, BUFFER, 4)] == [5, 0, 0]
    assert (world.data(4), world.call(READ, handle, BUFFER, 4), world.data(1)) == (b"SHFB", 3, b"\x03")
    assert [world.call(SEEK, handle, 1), world.call(READ, handle, BUFFER, 3), world.data(3)] == [0, 0, b"HFB"]
    assert [world.call(WRITE, handle, BUFFER, 1), world.call(CLOSE, handle)] == [-1, 0]
    assert world.open(b":semihosting-features", 4) == -1


# ---------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("mode", "first", "after"),
    [
        (0, b"012", b"0123456789"), (1, b"012", b"0123456789"), (2, b"012", b"012ab56789"), (3, b"012", b"012ab56789"),
        (4, None, b"ab"), (5, None, b"ab"), (6, b"", b"ab"), (7, b"", b"ab"),
        (8, None, b"0123456789ab"), (9, None, b"0123456789ab"), (10, b"012", b"0123456789ab"),
        (11, b"012", b"0123456789ab"),
    ],
)  # fmt: skip
def test_modes(world: World, tmp_path: Path, mode: int, first: bytes | None, after: bytes) -> None:
    handle = world.open(b"file", mode)
    assert handle >= 3
    left = world.call(READ, handle, BUFFER, 3)
    assert left == (-1 if first is None else 3 - len(first))
    assert not first or world.data(3) == first
    world.hart.put(BUFFER, b"ab")
    assert world.call(WRITE, handle, BUFFER, 2) == (-1 if mode < 2 else 0)
    assert (tmp_path / "file").read_bytes() == after


def test_files(world: World, tmp_path: Path) -> None:
    assert [world.open(b"none", 0), world.failure(), world.open(b"file", 12), world.failure()] == [
        -1,
        ENOENT,
        -1,
        EINVAL,
    ]
    assert [world.open(b"../file", 0), world.failure()] == [-1, EACCES]
    handle = world.open(b"file", 0)
    assert [world.call(FLEN, handle), world.call(ISTTY, handle), world.call(SEEK, handle, 8)] == [10, 0, 0]
    assert [world.call(READ, handle, BUFFER, 4), world.data(2), world.call(READ, handle, BUFFER, 4)] == [2, b"89", 4]
    assert [world.call(CLOSE, handle), world.call(CLOSE, handle), world.call(FLEN, handle)] == [0, -1, -1]
    world.hart.put(NAME, b"file\0")
    world.hart.put(OTHER, b"other\0")
    assert world.call(RENAME, NAME, 4, OTHER, 5) == 0
    assert [world.call(REMOVE, NAME, 4), world.failure(), world.call(REMOVE, OTHER, 5)] == [-1, ENOENT, 0]
    assert [world.call(TMPNAM, BUFFER, 7, 64), world.call(TMPNAM, BUFFER + 64, 8, 64)] == [0, 0]
    names = [world.data(64, BUFFER + 64 * n).split(b"\0")[0] for n in (0, 1)]
    assert len(set(names)) == 2
    assert [world.call(TMPNAM, BUFFER, 7, 4), world.call(TMPNAM, BUFFER, 256, 64)] == [-1, -1]
    assert world.open(names[0], 4) >= 3
    assert [p.name for p in tmp_path.iterdir()] == [names[0].decode()]


def test_the_number_of_handles_is_bounded(world: World) -> None:
    handles = [world.open(b":tt", 0) for _ in range(MAX_OPEN + 5)]
    assert handles[-1] == -1 and world.failure() == EMFILE
    assert world.call(CLOSE, 7) == 0
    assert world.open(b"file", 0) == 7


# -------------------------------------------------------------------------------------------------------------- process


def test_status_and_system(world: World) -> None:
    assert [world.call(ISERROR, value) != 0 for value in (0, 1, -1, -100, 0x7FFF_FFFF)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert [world.call(SYSTEM, NAME, 4), world.failure(), world.raw(0x99, 0), world.failure()] == [
        -1,
        ENOSYS,
        -1,
        ENOSYS,
    ]


@pytest.mark.parametrize(
    ("cycles", "centiseconds", "seconds"), [(0, 0, 0), (50_000_000, 100, 1), (50_000_000 * 3 - 1, 299, 2)]
)
def test_time(cycles: int, centiseconds: int, seconds: int) -> None:
    world = World(cycles=cycles)
    assert [world.raw(CLOCK, 0), world.raw(TIME, 0), world.raw(TICKFREQ, 0)] == [centiseconds, seconds, 50_000_000]
    assert world.raw(ELAPSED, BUFFER) == 0
    assert struct.unpack("<Q", world.data(8)) == (cycles,)


def test_the_command_line() -> None:
    world = World()
    assert world.call(GET_CMDLINE, BUFFER, 13) == 0
    assert (world.data(13), world.data(8, BLOCK)) == (b"prog one two\0", struct.pack("<II", BUFFER, 12))
    assert world.call(GET_CMDLINE, BUFFER, 12) == -1


def test_heap_info() -> None:
    world = World()
    world.hart.words(BLOCK, BUFFER)
    assert world.raw(HEAPINFO, BLOCK) == 0
    assert struct.unpack("<IIII", world.data(16)) == (BASE + 0x4000, BASE + 0x8000, BASE + SIZE, BASE + 0x8000)


@pytest.mark.parametrize(
    ("operation", "parameter", "fields", "code"),
    [
        (EXIT, 0x20026, (), 0), (EXIT, 0x20023, (), 1), (EXIT, 0, (), 1),
        (EXIT_EXTENDED, None, (0x20026, 7), 7), (EXIT_EXTENDED, None, (0x20026, 0), 0),
        (EXIT_EXTENDED, None, (0x20026, -1), 255), (EXIT_EXTENDED, None, (0x20023, 0), 1),
    ],
)  # fmt: skip
def test_exit(operation: int, parameter: int | None, fields: tuple[int, ...], code: int) -> None:
    world = World()
    with pytest.raises(Exit) as ending:
        world.raw(operation, world.hart.words(BLOCK, *fields) if parameter is None else parameter)
    assert ending.value.code == code


# --------------------------------------------------------------------------------------------- bad pointers, snapshots


@pytest.mark.parametrize("operation", [OPEN, CLOSE, WRITEC, WRITE0, WRITE, READ, ISERROR, ISTTY, SEEK, FLEN, TMPNAM,
                                       REMOVE, RENAME, GET_CMDLINE, HEAPINFO, EXIT_EXTENDED, ELAPSED])  # fmt: skip
@pytest.mark.parametrize("bad", [0, BASE + SIZE, 0xFFFF_FFFF])
def test_blocks_outside_memory(operation: int, bad: int) -> None:
    world = World()
    assert [world.raw(operation, bad), world.failure()] == [-1, EFAULT]


argument = st.one_of(
    st.sampled_from([0, 1, 2, 3, 4, 5, 11, 12, ROM, BASE, BASE + SIZE - 1, BUFFER, NAME, 0x7FFF_FFFF, 0xFFFF_FFFF]),
    st.integers(0, 0xFFFF_FFFF),
)


@given(st.lists(st.tuples(st.integers(0, 0x40), st.lists(argument, min_size=4, max_size=4), st.booleans()), max_size=6))
def test_nothing_a_program_passes_breaks_it_and_states_continue(
    tmp_path_factory: pytest.TempPathFactory, sequence: list[tuple[int, list[int], bool]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "semihosting"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_bytes(b"0123456789")
    world = World(folder, b"input")
    assert world.open(b"file", 2) == 3
    for operation, fields, direct in sequence:
        try:
            if direct:
                world.raw(operation, fields[0])
            else:
                world.call(operation, *fields)
        except Exit as ending:
            assert 0 <= ending.code <= 255
        other = Semihosting(world.hart, world.console, world.files)
        other.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(world.host.state())))
        assert other.state() == world.host.state()
    world.files.close_all()
    shutil.rmtree(folder)


# --------------------------------------------------------------------------------------------------- through a Machine


@pytest.mark.parametrize("mtvec", [0, BASE + 0x100])
def test_a_program(mtvec: int) -> None:
    """A call is served whether the program has a trap handler or not; another `ebreak` is what it was."""
    text = code(
        li(T0, mtvec), csrrw(0, MTVEC, T0), li(A0, WRITE0), li(A1, DATA), SLLI, EBREAK, SRAI,
        li(A0, EXIT), li(A1, 0x20026), SLLI, EBREAK, SRAI,
    )  # fmt: skip
    out = bytearray()
    result = machine_of(text, out).run(100)
    assert (bytes(out), result.exit_code, result.stop_reason) == (b"Hello", 0, "exit")
    result = machine_of(code(li(A0, WRITE0), EBREAK), out).run(100)
    assert (bytes(out), result.stop_reason) == (b"Hello", "breakpoint")


def machine_of(text: bytes, out: bytearray) -> Machine:
    return Machine(parse_elf(elf(text, data=b"Hello\0")), stdout=out.extend)
