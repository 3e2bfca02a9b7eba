"""Host calls: what each returns and does, for good and bad arguments; arguments and the stack at the start."""

from __future__ import annotations

import io
from typing import Any

import pytest

import kernels
from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A7,
    BASE,
    DATA,
    ECALL,
    NOP,
    RAM_END,
    SP,
    code,
    elf,
    flat,
    li,
    machine,
)

pytestmark = pytest.mark.usefixtures("tier")

CLOSE, READ, WRITE, FSTAT, EXIT, EXIT_GROUP, BRK = 57, 63, 64, 80, 93, 94, 214
EBADF, EFAULT, ENOSYS = -9, -14, -38
ROM = 0x2000_0000


def call(number: int, *arguments: int) -> list[int]:
    """A host call: up to three arguments, 9 instructions."""
    values = [*arguments, 0, 0, 0][:3]
    return flat([li(A0, values[0]), li(A1, values[1]), li(A2, values[2]), li(A7, number), ECALL])


class World:
    """A machine whose streams are kept."""

    def __init__(self, *calls: list[int], stdin: bytes = b"", **options: Any) -> None:
        self.out: list[bytes] = []
        self.err: list[bytes] = []
        image = {"data": b"Hello, guest!\n" + bytes(18), "segments": [(ROM, b"const", 5, 5)]}
        self.machine = machine(
            *calls,
            NOP,
            image=image,
            stdout=self.out.append,
            stderr=self.err.append,
            stdin=io.BytesIO(stdin).read,
            **options,
        )

    def step(self) -> int:
        """Make one call; its result, signed."""
        result = self.machine.run(9)
        assert (result.stop_reason, result.instructions % 9) == ("limit", 0), result.message
        value = self.machine.registers[A0]
        return value - (1 << 32) if value >> 31 else value


# -------------------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize(
    ("arguments", "result", "out", "err"),
    [
        ((1, DATA, 14), 14, b"Hello, guest!\n", b""),
        ((2, DATA + 7, 5), 5, b"", b"guest"),
        ((1, DATA, 0), 0, b"", b""),
        ((1, 0x4000_0000, 0), 0, b"", b""),
        ((1, ROM, 5), 5, b"const", b""),
        # bad file descriptors, before the address is looked at
        ((0, DATA, 1), EBADF, b"", b""),
        ((3, DATA, 1), EBADF, b"", b""),
        ((-1, 0x4000_0000, 1), EBADF, b"", b""),
        # bad addresses: outside, and over the end of memory; nothing is written
        ((1, 0x4000_0000, 1), EFAULT, b"", b""),
        ((1, RAM_END - 2, 4), EFAULT, b"", b""),
        ((1, RAM_END - 2, 2), 2, b"\0\0", b""),
        ((1, 0xFFFF_FFFF, 0xFFFF_FFFF), EFAULT, b"", b""),
    ],
)
def test_write(arguments: tuple[int, int, int], result: int, out: bytes, err: bytes) -> None:
    world = World(call(WRITE, *arguments), args=["x" * 100])
    if arguments[1] == RAM_END - 2:
        out = out and b"x\0"  # the arguments lie there
    assert world.step() == result
    assert (b"".join(world.out), b"".join(world.err)) == (out, err)


def test_a_large_write_is_served_in_part() -> None:
    world = World(call(WRITE, 1, BASE, 3 << 20))
    assert world.step() == 1 << 20
    assert sum(map(len, world.out)) == 1 << 20


def test_read() -> None:
    world = World(
        call(READ, 0, DATA, 4), call(READ, 0, DATA + 8, 100), call(READ, 0, DATA, 4), call(READ, 0, DATA, 0),
        stdin=b"abcdefg",
    )  # fmt: skip
    assert [world.step() for _ in range(4)] == [4, 3, 0, 0]
    assert world.machine.read_memory(DATA, 12) == b"abcdo, gefgt"
    # The host's writes are no traffic of the guest's.
    assert world.machine.run(0).traffic["total"].store.count == 0


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ((1, DATA, 4), EBADF),
        ((3, DATA, 4), EBADF),
        ((-1, DATA, 4), EBADF),
        ((0, 0x4000_0000, 4), EFAULT),
        ((0, RAM_END - 2, 4), EFAULT),
        ((0, ROM, 4), EFAULT),
        ((0, DATA, 0xFFFF_FFFF), 7),
    ],
)
def test_read_refuses(arguments: tuple[int, int, int], result: int) -> None:
    world = World(call(READ, *arguments), call(READ, 0, DATA, 100), stdin=b"abcdefg")
    assert world.step() == result
    # What could not be stored was not taken from the stream.
    assert world.step() == (7 if result < 0 else 0)
    assert world.machine.read_memory(ROM, 5) == b"const"


def test_a_read_may_bring_code() -> None:
    # The call overwrites the instruction behind it with an exit code of 5.
    words = [li(A0, 0), li(A1, BASE + 4 * 9), li(A2, 4), li(A7, READ), ECALL, NOP, li(A7, EXIT), ECALL]
    new = code(0x0050_0513)  # addi a0, zero, 5
    for _ in range(2):
        assert machine(*words, stdin=lambda size: new).run().exit_code == 5


def test_a_stdin_that_gives_too_much_is_cut() -> None:
    m = machine(call(READ, 0, DATA, 2), image={"data": bytes(4)}, stdin=lambda size: b"xyz")
    m.run(9)
    assert (m.registers[A0], m.read_memory(DATA, 4)) == (2, b"xy\0\0")


def test_streams_default_to_the_process(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    image = {"data": b"out\xff"}
    machine(call(WRITE, 1, DATA, 4), call(WRITE, 2, DATA, 3), image=image).run(18)
    assert capfdbinary.readouterr() == (b"out\xff", b"out")


def test_streams_of_text_are_served_too(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr("sys.stdout", text)
    monkeypatch.setattr("sys.stdin", io.StringIO("no file behind it"))
    m = machine(call(WRITE, 1, DATA, 4), call(READ, 0, DATA, 4), image={"data": b"out\xff"})
    m.run(18)
    assert text.getvalue() == "out\N{REPLACEMENT CHARACTER}"
    assert m.registers[A0] == 0


@pytest.mark.parametrize(
    ("number", "arguments", "result"),
    [
        *[(CLOSE, (fd,), 0) for fd in (0, 1, 2)],
        *[(CLOSE, (fd,), EBADF) for fd in (3, -1)],
        *[(FSTAT, (fd, DATA), EBADF) for fd in (3, -1)],
        (FSTAT, (1, 0x4000_0000), EFAULT),
        (FSTAT, (1, RAM_END - 127), EFAULT),
        (FSTAT, (1, ROM), EFAULT),
        # numbers that Linux has and we have not, and none at all
        *[(number, (1, 2, 3), ENOSYS) for number in (0, 78, 95, 213, 1023, 0x7FFF_FFFF, 0xFFFF_FFFF)],
    ],
)
def test_other_calls(number: int, arguments: tuple[int, ...], result: int) -> None:
    world = World(call(number, *arguments))
    assert world.step() == result
    assert world.machine.pc == BASE + 36


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_fstat_says_that_streams_are_character_devices(fd: int) -> None:
    world = World(call(FSTAT, fd, DATA))
    assert world.step() == 0
    record = world.machine.read_memory(DATA, 128)
    assert int.from_bytes(record[16:20], "little") & 0o170000 == 0o020000
    assert record[:16] == bytes(16) and record[20:] == bytes(108)


# ------------------------------------------------------------------------------------------------------- exit and brk


@pytest.mark.parametrize("number", [EXIT, EXIT_GROUP])
@pytest.mark.parametrize(
    ("code_", "status"), [(0, 0), (1, 1), (125, 125), (255, 255), (256, 0), (300, 44), (-1, 255), (-256, 0)]
)
def test_exit_codes_are_a_byte(number: int, code_: int, status: int) -> None:
    result = machine(call(number, code_)).run()
    assert (result.stop_reason, result.exit_code, result.exit_status, result.message) == ("exit", status, status, None)
    assert result.instructions == 9


def test_brk() -> None:
    # .data ends at DATA + 32, which is the first break; the upper quarter of the RAM is the stack's.
    start, top = DATA + 32, BASE + (12 << 20)
    calls = [
        (0, start), (start, start), (start + 1, start + 1), (top, top), (top + 1, top), (start - 1, top),
        (0xFFFF_FFFF, top), (start + 64, start + 64), (0, start + 64), (start, start),
    ]  # fmt: skip
    world = World(*[call(BRK, address) for address, _ in calls])
    # Addresses are unsigned: those of the RAM look negative.
    assert [world.step() & 0xFFFF_FFFF for _ in calls] == [expected for _, expected in calls]


def test_brk_of_a_program_linked_outside_the_ram() -> None:
    # The last writable region grows by 1 MiB for it.
    text = code(
        call(BRK, 0), call(BRK, 0xFFFF_FFFF), call(BRK, 0x1_2000 + (1 << 20)), call(BRK, 0x1_2000 + (1 << 20) + 1)
    )
    program = parse_elf(elf(text, base=0x1_0000, data=bytes(16), data_base=0x1_1000))
    m = Machine(program)
    breaks = []
    for _ in range(4):
        m.run(9)
        breaks.append(m.registers[A0])
    assert breaks == [0x1_1010, 0x1_1010, 0x1_2000 + (1 << 20), 0x1_2000 + (1 << 20)]


# ------------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize("arguments", [[], ["a"], ["one", "", "three four", "ünï"], [str(n) for n in range(100)]])
def test_the_stack_holds_the_arguments_as_linux_lays_them_out(arguments: list[str]) -> None:
    m = machine(NOP, args=arguments)
    sp = m.registers[SP]

    def word(n: int) -> int:
        return int.from_bytes(m.read_memory(sp + 4 * n, 4), "little")

    def text(address: int) -> str:
        return m.read_memory(address, RAM_END - address).split(b"\0")[0].decode()

    assert sp % 16 == 0
    argc = word(0)
    assert [text(word(1 + n)) for n in range(argc)] == ["guest.elf", *arguments]
    # argv's end, no environment, an auxiliary vector of AT_NULL
    assert [word(1 + argc + n) for n in range(4)] == [0, 0, 0, 0]


def test_hello_prints_its_arguments() -> None:
    out: list[bytes] = []
    result = Machine.from_elf(kernels.example("hello"), args=["a", "b c"], stdout=out.append).run()
    assert (b"".join(out), result.exit_code) == (b"Hello from RV32IMC: a b c\n", 0)
