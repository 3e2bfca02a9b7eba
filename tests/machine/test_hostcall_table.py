"""Host calls without a program: files, vectors, time, structures; beside qemu-riscv32 where it has the call."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.machine import Machine
from rvsim.machine.hostcall import Clock, Exit, GuestMemory, HostCalls
from rvsim.machine.hostfs import LINUX_ERRNO, HostError, HostFiles
from tests.machine.host_port import BASE, ROM, SIZE, FakeHart, Streams

AT_FDCWD = -100
NAME, OTHER, BUFFER, BLOCK = BASE + 0x1000, BASE + 0x1100, BASE + 0x2000, BASE + 0x3000
END = BASE + SIZE


def error(name: str) -> int:
    return -LINUX_ERRNO[name]


class World(Streams):
    def __init__(self, folder: Path | None = None, *pieces: bytes, cycles: int = 0) -> None:
        super().__init__(*pieces)
        self.hart = FakeHart()
        self.files = HostFiles(folder)
        self.cycles = cycles
        self.calls = HostCalls(
            self.hart, (BASE + 0x8000, BASE + 0x9000),
            console=self.console, files=self.files, clock=Clock(lambda: self.cycles, 50.0),
        )  # fmt: skip
        self.hart.put(NAME, b"file\0")
        self.hart.put(OTHER, b"other\0")

    def call(self, number: int, *arguments: int) -> int:
        """A call through the registers; the result is signed."""
        for n, value in enumerate([*arguments, 0, 0, 0, 0, 0, 0][:6]):
            self.hart.registers[10 + n] = value & 0xFFFF_FFFF
        self.hart.registers[17] = number
        self.calls.serve()
        value = self.hart.registers[10]
        return value - (1 << 32) if value >> 31 else value

    def data(self, address: int, size: int) -> bytes:
        found = self.hart.peek(address, size)
        assert found is not None
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "file").write_bytes(b"0123456789")
    return World(tmp_path)


# ---------------------------------------------------------------------------------------------------------------- files


def test_a_file_from_open_to_close(world: World, tmp_path: Path) -> None:
    assert world.call(56, AT_FDCWD, NAME, 2, 0) == 3
    assert (world.call(63, 3, BUFFER, 4), world.data(BUFFER, 4)) == (4, b"0123")
    assert world.call(64, 3, NAME, 4) == 4
    assert [world.call(62, 3, 8, 0), world.call(62, 3, -2, 1), world.call(62, 3, -1, 2)] == [8, 6, 9]
    assert (world.call(67, 3, BUFFER, 4, 4), world.data(BUFFER, 4)) == (4, b"file")
    assert world.call(68, 3, OTHER, 2, 0) == 2
    assert [world.call(46, 3, 6), world.call(80, 3, BUFFER)] == [0, 0]
    assert [world.call(57, 3), world.call(57, 3), world.call(63, 3, BUFFER, 1)] == [0, error("EBADF"), error("EBADF")]
    assert (tmp_path / "file").read_bytes() == b"ot23fi"


def test_llseek_of_linux(world: World) -> None:
    world.call(56, AT_FDCWD, NAME, 0)
    assert world.call(62, 3, 0, 7, BUFFER, 0) == 0
    assert struct.unpack("<q", world.data(BUFFER, 8)) == (7,)
    assert world.call(62, 3, -1, -3, BUFFER, 1) == 0
    assert struct.unpack("<q", world.data(BUFFER, 8)) == (4,)
    assert world.call(62, 3, 1, 0, BUFFER, 0) == error("EINVAL")
    assert world.call(62, 3, 0, 1, ROM, 0) == error("EFAULT")
    assert world.call(62, 1, 0, 0, BUFFER, 0) == error("ESPIPE")


@pytest.mark.parametrize(
    ("flags", "after"),
    [
        (0x601, b"new"),  # newlib's fopen("w"): O_WRONLY | O_CREAT | O_TRUNC
        (0x209, b"0123456789new"),  # "a": O_WRONLY | O_CREAT | O_APPEND
        (0x002, b"new3456789"),  # "r+"
        (0xA01, None),  # "wx": O_CREAT | O_EXCL
    ],
)
def test_the_old_open_takes_newlibs_flags(world: World, tmp_path: Path, flags: int, after: bytes | None) -> None:
    world.hart.put(BUFFER, b"new")
    assert world.call(1024, NAME, flags, 0o666) == (3 if after else error("EEXIST"))
    if after:
        assert world.call(64, 3, BUFFER, 3) == 3
        assert (tmp_path / "file").read_bytes() == after


def test_names(world: World, tmp_path: Path) -> None:
    assert [world.call(1033, NAME, 0), world.call(48, AT_FDCWD, OTHER), world.call(439, AT_FDCWD, NAME)] == [
        0, error("ENOENT"), 0,
    ]  # fmt: skip
    assert [world.call(276, AT_FDCWD, NAME, AT_FDCWD, OTHER, 0), world.call(38, AT_FDCWD, OTHER, AT_FDCWD, NAME)] == [
        0,
        0,
    ]
    assert [world.call(34, AT_FDCWD, OTHER, 0o700), world.call(1026, OTHER)] == [0, error("EISDIR")]
    assert world.call(35, AT_FDCWD, OTHER, 0x200) == 0
    assert [world.call(1030, OTHER, 0o700), world.call(35, AT_FDCWD, NAME, 0), world.call(1026, NAME)] == [
        0, 0, error("ENOENT"),
    ]  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["other"]
    # There are no descriptors of folders.
    assert [world.call(56, fd, NAME, 0) for fd in (0, 3, -1)] == [error("ENOTDIR"), error("EBADF"), error("EBADF")]
    assert (world.call(17, BUFFER, 2), world.data(BUFFER, 2), world.call(17, BUFFER, 1)) == (2, b"/\0", error("ERANGE"))


def test_what_a_file_is(world: World) -> None:
    world.call(56, AT_FDCWD, NAME, 0)
    world.hart.put(OTHER, b"\0")
    for number, arguments in (
        (80, (3, BUFFER)), (79, (AT_FDCWD, NAME, BUFFER, 0)), (79, (3, OTHER, BUFFER, 0x1000)), (1038, (NAME, BUFFER)),
        (1039, (NAME, BUFFER)),
    ):  # fmt: skip
        world.hart.put(BUFFER, b"\xee" * 128)
        assert world.call(number, *arguments) == 0
        record = world.data(BUFFER, 128)
        assert (struct.unpack_from("<I", record, 16)[0] & 0o170000, struct.unpack_from("<q", record, 48)[0]) == (
            0o100000, 10,
        )  # fmt: skip
    for folder, path, flags in ((AT_FDCWD, NAME, 0), (3, OTHER, 0x1000)):
        world.hart.put(BUFFER, b"\xee" * 256)
        assert world.call(291, folder, path, flags, 0x7FF, BUFFER) == 0
        record = world.data(BUFFER, 256)
        assert (struct.unpack_from("<H", record, 28)[0] & 0o170000, struct.unpack_from("<Q", record, 40)[0]) == (
            0o100000, 10,
        )  # fmt: skip
    assert world.call(291, 1, OTHER, 0x1000, 0x7FF, BUFFER) == 0
    assert struct.unpack_from("<H", world.data(BUFFER, 256), 28)[0] & 0o170000 == 0o020000
    assert [world.call(29, fd) for fd in (0, 1, 2, 3, 4)] == [error("ENOTTY")] * 4 + [error("EBADF")]
    assert [world.call(25, 3, 3), world.call(25, 1, 3), world.call(25, 3, 2), world.call(25, 3, 9)] == [
        0, 1, 0, error("EINVAL"),
    ]  # fmt: skip


def test_without_a_folder_there_are_no_files() -> None:
    world = World()
    assert [world.call(56, AT_FDCWD, NAME, 0), world.call(1024, NAME, 0x601), world.call(1038, NAME, BUFFER)] == [
        error("ENOENT")
    ] * 3


# -------------------------------------------------------------------------------------------------------------- vectors


def test_vectors() -> None:
    world = World(None, b"abcdef")
    world.hart.words(BLOCK, BUFFER, 2, 0, 0, BUFFER + 8, 3)
    assert world.call(65, 0, BLOCK, 3) == 5
    assert (world.data(BUFFER, 2), world.data(BUFFER + 8, 3)) == (b"ab", b"cde")
    assert (world.call(66, 2, BLOCK, 3), world.err) == (5, b"abcde")
    assert [world.call(66, 1, BLOCK, 1025), world.call(66, 0, BLOCK, 3), world.call(65, 1, BLOCK, 3)] == [
        error("EINVAL"), error("EBADF"), error("EBADF"),
    ]  # fmt: skip
    # The stream keeps what could not be stored.
    world.hart.words(BLOCK, BUFFER, 1, ROM, 1)
    assert (world.call(65, 0, BLOCK, 2), world.call(63, 0, BUFFER, 9), world.data(BUFFER, 1)) == (
        error("EFAULT"),
        1,
        b"f",
    )


# ----------------------------------------------------------------------------------------------------- time and process


@pytest.mark.parametrize(
    ("cycles", "seconds", "nanoseconds"),
    # at 50 MHz
    [(0, 0, 0), (1, 0, 20), (50_000_000, 1, 0), ((1 << 60) + 1, 23_058_430_092, 136_939_540)],
)
def test_time_goes_by_cycles(cycles: int, seconds: int, nanoseconds: int) -> None:
    world = World(cycles=cycles)
    for clock in (0, 1, 7):
        assert world.call(403, clock, BUFFER) == 0
        assert struct.unpack("<qq", world.data(BUFFER, 16)) == (seconds, nanoseconds)
    assert world.call(113, 0, BUFFER) == 0
    assert struct.unpack("<II", world.data(BUFFER, 8)) == (seconds & 0xFFFF_FFFF, nanoseconds)
    assert world.call(169, BUFFER) == 0
    assert struct.unpack("<qq", world.data(BUFFER, 16)) == (seconds, nanoseconds // 1000)
    assert (world.call(1062, BUFFER) & 0xFFFF_FFFF, *struct.unpack("<q", world.data(BUFFER, 8))) == (
        seconds & 0xFFFF_FFFF, seconds,
    )  # fmt: skip
    assert world.call(153, BUFFER) == (seconds * 100 + nanoseconds // 10_000_000) & 0x7FFF_FFFF
    assert [world.call(403, 99, BUFFER), world.call(403, 0, ROM)] == [error("EINVAL"), error("EFAULT")]


def test_random_bytes_are_the_same_in_every_run() -> None:
    world, other = World(), World()
    assert (world.call(278, BUFFER, 20), other.call(278, BUFFER, 20)) == (20, 20)
    first = world.data(BUFFER, 20)
    assert first == other.data(BUFFER, 20)
    state = world.calls.state()
    world.call(278, BUFFER, 20)
    assert world.data(BUFFER, 20) != first
    other.calls.restore(state)
    other.call(278, BUFFER, 20)
    assert other.data(BUFFER, 20) == world.data(BUFFER, 20)
    assert (world.call(278, BUFFER, 1 << 31), world.call(278, ROM, 1)) == (4096, error("EFAULT"))


def test_splitmix64() -> None:
    # The first outputs for seed 0, as in the reference implementation's published test vectors.
    world = World()
    world.call(278, BUFFER, 16)
    assert struct.unpack("<QQ", world.data(BUFFER, 16)) == (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)


@pytest.mark.parametrize(
    ("number", "arguments", "code"),
    [(129, (1, 6), 134), (130, (1, 9), 137), (131, (1, 1, 6), 134), (93, (3,), 3), (94, (256,), 0)],
)
def test_ends(number: int, arguments: tuple[int, ...], code: int) -> None:
    with pytest.raises(Exit) as ending:
        World().call(number, *arguments)
    assert ending.value.code == code


def test_signals_that_do_not_end_it() -> None:
    assert [World().call(129, 1, 0), World().call(129, 1, 65)] == [0, error("EINVAL")]


ANONYMOUS, FIXED, PAGE = 0x22, 0x10, 4096
HEAP, TOP = BASE + 0x8000, BASE + 0x9000


def test_anonymous_memory_is_taken_from_the_top_of_the_heap() -> None:
    world = World()
    world.calls = HostCalls(world.hart, (HEAP, HEAP + 8 * PAGE - 16))
    world.hart.put(HEAP, b"\xee" * (8 * PAGE))

    def map_(pages: int) -> int:
        return world.call(222, 0, pages * PAGE - 5, 3, ANONYMOUS, -1, 0) & 0xFFFF_FFFF

    blocks = [map_(n) for n in (1, 2, 1)]
    assert blocks == [HEAP + 6 * PAGE, HEAP + 4 * PAGE, HEAP + 3 * PAGE]
    assert world.data(blocks[1], 2 * PAGE) == bytes(2 * PAGE) and world.data(HEAP, 1) == b"\xee"
    # brk and mmap meet, and do not cross
    assert world.call(214, HEAP + 3 * PAGE) & 0xFFFF_FFFF == HEAP + 3 * PAGE
    assert world.call(214, HEAP + 3 * PAGE + 1) & 0xFFFF_FFFF == HEAP + 3 * PAGE
    assert map_(1) == error("ENOMEM") & 0xFFFF_FFFF
    # what is given back is given out again, zeroed
    world.hart.put(blocks[1], b"used")
    assert world.call(215, blocks[1], 2 * PAGE) == 0
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(world.calls.state()))
    assert [map_(1), map_(1), map_(1)] == [HEAP + 5 * PAGE, HEAP + 4 * PAGE, error("ENOMEM") & 0xFFFF_FFFF]
    assert world.data(blocks[1], 4) == bytes(4)
    world.calls.restore(state)
    assert (map_(2), world.call(215, HEAP + 3 * PAGE, 4 * PAGE)) == (blocks[1], 0)
    assert world.call(214, HEAP + 8 * PAGE - 16) & 0xFFFF_FFFF == HEAP + 8 * PAGE - 16


def test_memory_that_is_not_mapped() -> None:
    world = World()
    assert [world.call(222, 0, size, 3, flags, -1, 0) for size, flags in ((0, 0x22), (PAGE, 0x32), (PAGE, 2))] == [
        error("EINVAL"), error("EINVAL"), error("ENODEV"),
    ]  # fmt: skip
    assert [world.call(222, 0, size, 3, ANONYMOUS, -1, 0) for size in (0xFFFF_FFFF, 0x8000_0000)] == [
        error("ENOMEM")
    ] * 2
    assert [world.call(215, *range_) for range_ in ((HEAP, PAGE), (TOP, PAGE), (0, 0), (0xFFFF_F000, 0xFFFF_FFFF))] == [
        error("EINVAL")
    ] * 4


def test_uname() -> None:
    world = World()
    assert world.call(160, BUFFER) == 0
    names = [world.data(BUFFER + 65 * n, 65).split(b"\0")[0] for n in range(6)]
    assert (names[0], names[4]) == (b"Linux", b"riscv32")


@pytest.mark.parametrize(
    ("number", "result"),
    [*((n, 0) for n in (99, 124, 134, 135, 173, 174, 175, 176, 177, 226, 233, 259)), (96, 1), (172, 1), (178, 1)],
)  # fmt: skip
def test_calls_with_a_fixed_answer(number: int, result: int) -> None:
    assert World().call(number, 1, 2, 3) == result


# --------------------------------------------------------------------------------------------------------- bad pointers

POINTERS = [
    0,
    1,
    ROM,
    ROM + 4095,
    BASE,
    BASE + 1,
    END - 1,
    END - 3,
    END,
    BASE - 1,
    0x7FFF_FFFF,
    0xFFFF_FFF8,
    0xFFFF_FFFF,
]
argument = st.one_of(st.sampled_from([*POINTERS, NAME, BLOCK, 0, 1, 2, 3, 4, AT_FDCWD]), st.integers(0, 0xFFFF_FFFF))


@given(st.lists(st.tuples(st.integers(0, 2047), st.lists(argument, min_size=6, max_size=6)), min_size=1, max_size=5))
def test_nothing_a_program_passes_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, sequence: list[tuple[int, list[int]]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "calls"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_bytes(b"0123456789")
    world = World(folder, b"input")
    world.call(56, AT_FDCWD, NAME, 2)
    served = sorted(world.calls._calls)
    for n, arguments in sequence:
        try:
            # Numbers that are served, and some that are not.
            world.call(served[n % len(served)] if n < 1900 else n, *arguments)
        except Exit as ending:
            assert 0 <= ending.code <= 255
    world.files.close_all()
    shutil.rmtree(folder)


@pytest.mark.parametrize("bad", [0, ROM, END - 1, END, 0xFFFF_FFFF])
@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (63, (0, None, 8)), (67, (3, None, 8, 0)), (80, (0, None)), (79, (AT_FDCWD, NAME, None, 0)),
        (1038, (NAME, None)), (291, (AT_FDCWD, NAME, 0, 0, None)), (403, (0, None)), (113, (0, None)), (169, (None,)),
        (160, (None,)),
        (278, (None, 8)), (17, (None, 8)), (62, (3, 0, 0, None, 0)),
    ],
)  # fmt: skip
def test_places_that_cannot_be_written(world: World, number: int, arguments: tuple[int | None, ...], bad: int) -> None:
    world.call(56, AT_FDCWD, NAME, 0)
    if number == 62 and not bad:
        return  # a null result pointer means the other lseek
    assert world.call(number, *(bad if a is None else a for a in arguments)) == error("EFAULT")


def test_strings() -> None:
    hart = FakeHart()
    memory = GuestMemory(hart)
    hart.put(END - 5, b"tail\0")
    hart.put(BUFFER, b"x" * 5000 + b"\0")
    assert (memory.string(END - 5), memory.string(END - 1)) == (b"tail", b"")
    hart.put(END - 1, b"x")
    for address, name in ((END - 5, "EFAULT"), (0, "EFAULT"), (BUFFER, "ENAMETOOLONG"), (0xFFFF_FFFF, "EFAULT")):
        with pytest.raises(HostError) as refused:
            memory.string(address)
        assert refused.value.number == error(name)


def test_a_string_does_not_go_round_the_end_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    hart = FakeHart()
    monkeypatch.setattr(hart, "peek", lambda address, size: b"x" * size)
    with pytest.raises(HostError) as refused:
        GuestMemory(hart).string(0xFFFF_FF80)
    assert refused.value.number == error("EFAULT")


# ------------------------------------------------------------------------------------------------------ beside QEMU

PROGRAM = r"""
#include <stdint.h>
#define MAX 4096
static char out[MAX]; static unsigned used;
static long call(long n, long a, long b, long c, long d, long e) {
    register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c, a3 __asm__("a3") = d,
        a4 __asm__("a4") = e, a7 __asm__("a7") = n;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7) : "memory");
    return a0;
}
static void number(long v) {
    char t[12]; int n = 0; unsigned long u = v < 0 ? -v : v;
    do t[n++] = '0' + u % 10; while (u /= 10);
    if (v < 0) out[used++] = '-';
    while (n) out[used++] = t[--n];
    out[used++] = '\n';
}
static long long at[1]; static char buffer[64]; static unsigned iov[4];
static unsigned char record[256];
#define T(...) number(call(__VA_ARGS__))
void _start(void) {
    iov[0] = (unsigned)buffer; iov[1] = 3; iov[2] = (unsigned)(buffer + 8); iov[3] = 2;
    T(56, -100, (long)"made", 0x242, 0600, 0); T(64, 3, (long)"abcdefgh", 8, 0, 0);
    T(56, -100, (long)"made", 0xc2, 0600, 0); T(56, -100, (long)"none", 0, 0, 0); T(56, -100, (long)"made/x", 0, 0, 0);
    T(62, 3, 0, 2, (long)at, 0); number(at[0]); T(62, 3, -1, -1, (long)at, 2); number(at[0]);
    T(62, 3, -1, -9, (long)at, 0); T(62, 3, 0, 0, (long)at, 9); T(62, 9, 0, 0, (long)at, 0);
    T(62, 3, 0, 0, 1, 0);
    T(62, 3, 0, 0, (long)at, 0); T(65, 3, (long)iov, 2, 0, 0); number(buffer[9]); T(66, 3, (long)iov, 2, 0, 0);
    T(67, 3, (long)buffer, 4, 6, 0); number(buffer[1]); T(67, 3, (long)buffer, 4, 100, 0);
    T(68, 3, (long)"xy", 2, 20, 0);
    T(63, 3, (long)buffer, 0, 0, 0); T(63, 3, 1, 4, 0, 0); T(64, 3, 1, 4, 0, 0);
    T(291, -100, (long)"made", 0, 0x7ff, (long)record); number(*(int *)(record + 40)); number(record[29] & 0xf0);
    T(291, 3, (long)"", 0x1000, 0x7ff, (long)record); T(291, -100, (long)"", 0, 0x7ff, (long)record);
    T(57, 3, 0, 0, 0, 0); T(57, 3, 0, 0, 0, 0);
    T(34, -100, (long)"dir", 0700, 0, 0); T(34, -100, (long)"dir", 0700, 0, 0); T(35, -100, (long)"dir", 0, 0, 0);
    T(35, -100, (long)"made", 0x200, 0, 0);
    T(276, -100, (long)"made", -100, (long)"dir/made", 0); T(35, -100, (long)"dir", 0x200, 0, 0);
    T(48, -100, (long)"dir/made", 0, 0, 0); T(35, -100, (long)"dir/made", 0, 0, 0);
    T(35, -100, (long)"dir", 0x200, 0, 0); T(35, -100, (long)"dir", 0x200, 0, 0);
    T(64, 1, (long)out, 0, 0, 0); T(66, 1, (long)iov, 2000, 0, 0); T(403, 99, (long)record, 0, 0, 0);
    T(403, 1, (long)record, 0, 0, 0); T(278, (long)record, 16, 0, 0, 0); T(160, (long)out + 2000, 0, 0, 0, 0);
    T(64, 77, (long)out, 1, 0, 0); T(9999, 0, 0, 0, 0, 0);
    call(64, 1, (long)out, used, 0, 0);
    call(93, 5, 0, 0, 0, 0);
}
"""


@pytest.mark.peer("qemu-riscv32")
@pytest.mark.peer("riscv64-unknown-elf-gcc")
def test_results_beside_qemu(tmp_path: Path, require_peer: Callable[[str], str]) -> None:
    """A program whose every result is printed, on both; files in a folder of its own each."""
    (tmp_path / "program.c").write_text(PROGRAM)
    subprocess.run(
        [require_peer("riscv64-unknown-elf-gcc"), "-march=rv32im", "-mabi=ilp32", "-O1", "-nostdlib", "-ffreestanding",
         "-Wl,--no-relax", "-static", "program.c", "-o", "program"], cwd=tmp_path, check=True,
    )  # fmt: skip
    (tmp_path / "theirs").mkdir()
    theirs = subprocess.run(
        [require_peer("qemu-riscv32"), "../program"], cwd=tmp_path / "theirs", capture_output=True, timeout=60
    )
    (tmp_path / "ours").mkdir()
    out, code = run(tmp_path / "program", tmp_path / "ours")
    assert theirs.stdout.count(b"\n") > 40
    assert (out.splitlines(), code) == (theirs.stdout.splitlines(), theirs.returncode)


def run(program: Path, folder: Path) -> tuple[bytes, int | None]:
    out = bytearray()
    code = Machine.from_elf(program, stdout=out.extend, host_dir=str(folder)).run().exit_code
    return bytes(out), code
