"""HTIF: exit, console, proxied system calls, and the two words of a 32-bit hart."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.machine import Machine
from rvsim.machine.hostcall import Exit, HostCalls
from rvsim.machine.hostfs import LINUX_ERRNO, HostFiles
from rvsim.machine.htif import Htif
from tests.machine.guest import A0, A1, ECALL, branch, i_type, jal, li, lui, store
from tests.machine.host_port import BASE, SIZE, FakeHart, Streams

pytestmark = pytest.mark.usefixtures("tier")

TOHOST, FROMHOST, BLOCK, TEXT = BASE + 0x1000, BASE + 0x1040, BASE + 0x2000, BASE + 0x3000
PUTCHAR, GETCHAR = 0x0101 << 48, 0x0100 << 48


class World(Streams):
    def __init__(self, folder: Path | None = None, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self.hart = FakeHart()
        self.files = HostFiles(folder)
        calls = HostCalls(self.hart, (BASE + 0x8000, BASE + 0x9000), console=self.console, files=self.files)
        self.htif = Htif(TOHOST, FROMHOST, calls)

    def send(self, value: int) -> int | None:
        """Store all 64 bits; the exit code, if the run ends."""
        self.hart.put(TOHOST, value.to_bytes(8, "little"))
        return self.stored()

    def stored(self) -> int | None:
        try:
            self.htif.store(self.hart)
        except Exit as ending:
            return ending.code
        return None

    def quad(self, address: int) -> int:
        return self.hart.word(address) | self.hart.word(address + 4) << 32

    def proxy(self, *words: int) -> int:
        """A system call through the block; its result is signed."""
        block = [*words, *[0xDEAD_BEEF_DEAD_BEEF] * 8][:8]
        self.hart.put(BLOCK, struct.pack("<8Q", *(w & (1 << 64) - 1 for w in block)))
        assert self.send(BLOCK) is None
        assert (self.quad(TOHOST), self.quad(FROMHOST)) == (0, 1)
        self.hart.put(FROMHOST, bytes(8))
        (result,) = struct.unpack("<q", self.hart.peek(BLOCK, 8) or b"")
        return int(result)


@pytest.mark.parametrize(
    ("value", "code"),
    [(1, 0), (3, 1), (2 * 7 + 1, 7), (2 * 255 + 1, 255), (2 * 256 + 1, 1), (2 * 258 + 1, 2), ((1 << 48) - 1, 255)],
)
def test_odd_values_end_the_run(value: int, code: int) -> None:
    world = World()
    assert (world.send(value), world.quad(TOHOST)) == (code, 0)


def test_zero_is_no_command() -> None:
    world = World()
    assert (world.send(0), world.quad(FROMHOST)) == (None, 0)


def test_the_console() -> None:
    world = World(None, b"k\xff")
    for byte in b"Hi!\xff":
        assert world.send(PUTCHAR | byte) is None
    assert (world.out, world.quad(TOHOST), world.quad(FROMHOST)) == (b"Hi!\xff", 0, 0)
    for byte in b"k\xff":
        assert world.send(GETCHAR) is None
        assert world.quad(FROMHOST) == GETCHAR | 0x100 | byte
        world.hart.put(FROMHOST, bytes(8))
    # the end of input is never answered
    assert (world.send(GETCHAR), world.quad(FROMHOST)) == (None, 0)


@pytest.mark.parametrize("value", [0x02 << 56, 0x0102 << 48 | 1, 0x0001 << 48 | 1, 0xFFFF << 48 | 3])
def test_other_commands_are_ignored(value: int) -> None:
    world = World()
    assert (world.send(value), world.quad(TOHOST), world.quad(FROMHOST), world.out) == (None, 0, 0, b"")


def test_system_calls(tmp_path: Path) -> None:
    world = World(tmp_path, b"input")
    world.hart.put(TEXT, b"hello\0")
    # write and read as riscv-tests' benchmarks make them; an error is a 64-bit number
    assert [world.proxy(64, 1, TEXT, 5), world.out] == [5, b"hello"]
    assert [world.proxy(63, 0, TEXT + 8, 3), world.hart.peek(TEXT + 8, 3)] == [3, b"inp"]
    assert [world.proxy(64, 9, TEXT, 5), world.proxy(9999), world.proxy(64, 1, 0, 5)] == [
        -LINUX_ERRNO["EBADF"], -LINUX_ERRNO["ENOSYS"], -LINUX_ERRNO["EFAULT"],
    ]  # fmt: skip
    # fesvr's calls have the length of each path
    assert world.proxy(56, -100, TEXT, 6, 0o102, 0o600) == 3
    assert [world.proxy(64, 3, TEXT, 5), world.proxy(62, 3, 1, 0), world.proxy(63, 3, TEXT + 8, 9)] == [5, 1, 4]
    assert [world.proxy(67, 3, TEXT + 8, 9, 3), world.proxy(68, 3, TEXT, 1, 7), world.proxy(46, 3, 6)] == [2, 1, 0]
    assert [world.proxy(80, 3, TEXT + 64), world.hart.word(TEXT + 64 + 48)] == [0, 6]
    assert [world.proxy(1039, TEXT, 6, TEXT + 64), world.proxy(48, -100, TEXT, 6, 0), world.proxy(57, 3)] == [0, 0, 0]
    assert [world.proxy(35, -100, TEXT, 6, 0), list(tmp_path.iterdir())] == [0, []]


@pytest.mark.parametrize(("code", "status"), [(0, 0), (7, 7), (-1, 255)])
def test_a_proxied_exit(code: int, status: int) -> None:
    world = World()
    world.hart.put(BLOCK, struct.pack("<8Q", 93, code & (1 << 64) - 1, *[0] * 6))
    assert world.send(BLOCK) == status


@pytest.mark.parametrize("block", [2, BASE + SIZE, BASE + SIZE - 62, 0xFFFF_FFFE, (1 << 48) - 2])
def test_a_block_outside_memory_is_ignored(block: int) -> None:
    world = World()
    assert (world.send(block), world.quad(TOHOST), world.quad(FROMHOST)) == (None, 0, 1)


def test_a_program_without_fromhost() -> None:
    world = World()
    world.htif = Htif(TOHOST, None, world.htif.calls)
    world.hart.put(BLOCK, struct.pack("<8Q", 64, 1, BLOCK, 0, *[0] * 4))
    assert (world.send(BLOCK), world.send(5), world.htif.state()) == (None, 2, {})


# ------------------------------------------------------------------------------------------ two stores of a 32-bit hart


def compressed_sw(base: int, offset: int) -> int:
    return 0xC000 | (offset >> 3 & 7) << 10 | (base - 8) << 7 | (offset >> 2 & 1) << 6 | (offset >> 6 & 1) << 5 | 2 << 2


@pytest.mark.parametrize("value", [1, 3, PUTCHAR | 0x61, PUTCHAR | 0x62, PUTCHAR, GETCHAR])
@pytest.mark.parametrize("low_first", [True, False])
@pytest.mark.parametrize("kind", ["sw", "sw-", "c.sw"])
def test_a_command_in_two_stores_counts_when_it_is_complete(value: int, low_first: bool, kind: str) -> None:
    world = World(None, b"k")
    hart = world.hart
    second = TOHOST + 4 * low_first
    offset = {"sw": 12, "sw-": -8, "c.sw": 68}[kind]
    hart.registers[A1] = second - offset
    word = (
        struct.pack("<H", compressed_sw(A1, offset)) if kind == "c.sw" else struct.pack("<I", store(2, A0, A1, offset))
    )
    hart.put(hart.pc, word)
    halves = [value & 0xFFFF_FFFF, value >> 32]
    hart.words(TOHOST + 4 - 4 * low_first, halves[not low_first])
    assert (world.stored(), world.out, world.quad(FROMHOST)) == (None, b"", 0)
    hart.pc += len(word)
    hart.words(second, halves[low_first])
    code = world.stored()
    if value & PUTCHAR == PUTCHAR:
        assert (code, world.out) == (None, bytes([value & 0xFF]))
    elif value == GETCHAR:
        assert (code, world.quad(FROMHOST)) == (None, GETCHAR | 0x100 | ord("k"))
    else:
        assert code == value >> 1


@pytest.mark.parametrize("between", [b"", struct.pack("<IHI", 0x0000_0013, 0x0001, li(A0, 7)[0])])
def test_other_instructions_may_lie_between_the_stores(between: bytes) -> None:
    world = World()
    world.hart.registers[A1] = TOHOST
    world.hart.put(world.hart.pc, between + struct.pack("<I", store(2, A0, A1, 4)))
    world.hart.words(TOHOST, 0x61)
    assert world.stored() is None


@pytest.mark.parametrize(
    "between",
    # the base register is another one by then; a jump is before it; it is too far away
    [*(struct.pack("<I", word) for word in (lui(A1, 1), i_type(0x13, 0, A1, A1, 8), i_type(0x03, 2, A1, A0, 0))),
     *(struct.pack("<H", word) for word in (0x85AA, 0x4588, 0x458C, 0x8D8D, 0x0585, 0x4585, 0x45B2)),
     *(struct.pack("<I", word) for word in (branch(0, A0, A0, 8), jal(0, 8), 0x8067, ECALL)),
     *(struct.pack("<H", word) for word in (0xA001, 0xC101, 0xE101, 0x2001, 0x8082, 0x9002, 0x9502, 0)),
     struct.pack("<I", 0x13) * 32],
)  # fmt: skip
def test_what_lies_between_may_make_the_word_a_command(between: bytes) -> None:
    world = World()
    world.hart.registers[A1] = TOHOST
    world.hart.put(world.hart.pc, between + struct.pack("<I", store(2, A0, A1, 4)))
    world.hart.words(TOHOST, 0x61)
    assert world.stored() == (0x61 >> 1 if between != struct.pack("<H", 0x4588) else None)


@pytest.mark.parametrize(
    "following",
    # nothing, another store, a load from there, a store of a byte there
    [b"", struct.pack("<I", store(2, A0, A1, 8)), struct.pack("<I", i_type(0x03, 2, A0, A1, 4)),
     struct.pack("<I", store(0, A0, A1, 4)), struct.pack("<H", 0x0001)],
)  # fmt: skip
def test_a_single_odd_word_ends_the_run_at_once(following: bytes) -> None:
    world = World()
    world.hart.registers[A1] = TOHOST
    world.hart.put(world.hart.pc, following)
    world.hart.words(TOHOST, 5)
    assert world.stored() == 2


def test_a_pc_at_the_end_of_memory() -> None:
    world = World()
    for pc in (BASE + SIZE - 2, BASE + SIZE, 0, 0xFFFF_FFFE):
        world.hart.pc = pc
        assert world.send(3) == 1


@given(
    st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 12).map(lambda n: BLOCK + 8 * n), max_size=5), st.binary()
)
def test_nothing_a_program_stores_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], block: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "htif"
    folder.mkdir(exist_ok=True)
    world = World(folder, b"input")
    for value in values:
        world.hart.put(BLOCK, block[:256])
        code = world.send(value)
        assert code is None or 0 <= code <= 255
    world.files.close_all()
    shutil.rmtree(folder)


# ---------------------------------------------------------------------------------------------------- through a Machine

WHOLE = """
volatile unsigned long long tohost __attribute__((aligned(64))), fromhost __attribute__((aligned(64)));
static unsigned long long block[8] __attribute__((aligned(64)));
static void put(unsigned char c) {
    while (tohost) ;
    tohost = 0x0101000000000000ULL | c;
}
static int get(void) {
    while (tohost) ;
    tohost = 0x0100000000000000ULL;
    while (!fromhost) ;
    int c = fromhost & 0xff;
    fromhost = 0;
    return c;
}
static long write(const char *text, int size) {
    block[0] = 64; block[1] = 1; block[2] = (unsigned)text; block[3] = size;
    __sync_synchronize();
    while (tohost) ;
    tohost = (unsigned)block;
    while (!fromhost) ;
    fromhost = 0;
    return *(volatile long *)block;
}
void _start(void) {
    for (const char *s = "abcdef\\n"; *s; s++) put(*s);
    put(get()); put(get());
    long written = write("proxied", 7);
    while (tohost) ;
    tohost = (unsigned)written << 1 | 1;
    for (;;) ;
}
"""


@pytest.mark.peer("riscv64-unknown-elf-gcc")
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os", "-O3"])
def test_a_program(tmp_path: Path, require_peer: Callable[[str], str], level: str) -> None:
    """Through `Machine`: console, proxied write and exit, with the stores that a compiler makes."""
    (tmp_path / "program.c").write_text(WHOLE)
    subprocess.run(
        [require_peer("riscv64-unknown-elf-gcc"), "-march=rv32imc", "-mabi=ilp32", level, "-nostdlib", "-ffreestanding",
         "-Wl,--no-relax", "-static", "program.c", "-o", "program"], cwd=tmp_path, check=True,
    )  # fmt: skip
    streams = Streams(b"xy")
    result = Machine.from_elf(tmp_path / "program", stdout=streams.out.extend, stdin=streams.input).run(100_000)
    assert (bytes(streams.out), result.exit_code, result.message) == (b"abcdef\nxyproxied", 7, None)
