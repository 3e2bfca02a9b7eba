"""Programs that a C compiler made, with the hosts they were made for; and programs that mean harm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from tests.machine.guest import (
    A0,
    A1,
    BASE,
    DATA,
    ECALL,
    MRET,
    NOP,
    addi,
    branch,
    code,
    csrrs,
    csrrw,
    elf,
    jal,
    lb,
    lh,
    li,
    lw,
    sb,
    sh,
    sw,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("tier")

Compile = Callable[..., Path]


@pytest.fixture
def compile_c(tmp_path: Path, require_peer: Callable[[str], str]) -> Compile:
    """`compile_c(source, *options)`: path of the program."""
    gcc = require_peer("riscv64-unknown-elf-gcc")

    def compile_(source: str, *options: str, isa: str = "rv32imac") -> Path:
        (tmp_path / "program.c").write_text(source)
        command = [gcc, f"-march={isa}", "-mabi=ilp32", "-O2", "program.c", "-o", "program.elf", *options]
        subprocess.run(command, cwd=tmp_path, check=True)
        return tmp_path / "program.elf"

    return compile_


def run(program: Path, stdin: bytes = b"", **options: Any) -> tuple[str, int | None, str | None]:
    """What it printed, its exit code, and why it failed."""
    printed, left = bytearray(), bytearray(stdin)

    def read(size: int) -> bytes:
        data = bytes(left[:size])
        del left[:size]
        return data

    m = Machine.from_elf(program, isa="rv32imac", stdout=printed.extend, stderr=printed.extend, stdin=read, **options)
    result = m.run(5_000_000)
    assert m.warnings == []
    return printed.decode(), result.exit_code, result.message


# ------------------------------------------------------------------------------------------------ semihosting: picolibc
PICOLIBC = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
    printf("pi %.6f, %g, %e; %d arguments, %s\n", 3.14159265, 1e-3, sqrt(2.0), argc, argv[1]);
    char line[32], back[32];
    if (!fgets(line, sizeof line, stdin)) return 1;
    double x = strtod(line, 0);
    fprintf(stderr, "%.3f\n", x * x);
    FILE *file = fopen("note.txt", "w+");
    if (!file) return 2;
    fprintf(file, "%s %.2f\n", argv[2], x);
    fseek(file, 0, SEEK_SET);
    if (!fgets(back, sizeof back, file)) return 3;
    fclose(file);
    printf("%s", back);
    if (fopen("../outside", "w") || fopen("/etc/passwd", "r")) return 4;
    char *much = malloc(100000);
    memset(much, 1, 100000);
    exit(much[99999] + 41);
}
"""
PICOLIBC_OPTIONS = (
    "--specs=picolibc.specs", "--oslib=semihost", "--crt0=semihost", "-Wl,--defsym=__flash=0x80000000",
    "-Wl,--defsym=__flash_size=0x200000", "-Wl,--defsym=__ram=0x80200000", "-Wl,--defsym=__ram_size=0x200000",
)  # fmt: skip


@pytest.mark.peer("picolibc")
def test_a_picolibc_program_runs_unchanged(compile_c: Compile, tmp_path: Path) -> None:
    """Floating point in software, streams, a file, the command line, the heap."""
    here = tmp_path / "host"
    here.mkdir()
    program = compile_c(PICOLIBC, *PICOLIBC_OPTIONS, "-lm")
    text, exit_code, message = run(program, b"1.5\n", args=["first", "second"], host_dir=str(here))
    # picolibc's argv[0] is a constant; the command line, of which the program's name is the first word, follows.
    expected = "pi 3.141593, 0.001, 1.414214e+00; 4 arguments, program.elf\n2.250\nfirst 1.50\n"
    assert (text, exit_code, message) == (expected, 42, None)
    assert (here / "note.txt").read_text() == "first 1.50\n" and sorted(os.listdir(tmp_path)) == sorted(
        ["host", "program.c", "program.elf"]
    )


# ------------------------------------------------------------------------------------------------ Linux's calls
LINUX = r"""
typedef unsigned size;
static long call(long n, long a, long b, long c, long d) {
    register long a7 asm("a7") = n, a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a3 asm("a3") = d;
    asm volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3) : "memory");
    return a0;
}
static size length(const char *s) { size n = 0; while (s[n]) n++; return n; }
static void say(const char *s) { call(64, 1, (long)s, length(s), 0); }
static const char *escapes[] = {"../secret", "/../secret", "sub/../../secret", "link", "sub/link/x", "loop", "fifo",
                                "/etc/passwd", "/dev/zero", "/proc/self/mem", ".", "sub", "", "hidden/../../secret"};
int program(int argc, char **argv) {
    for (int i = 1; i < argc; i++) { say(argv[i]); say(" "); }
    char line[16];
    long n = call(63, 0, (long)line, 16, 0);
    call(64, 2, (long)line, n, 0);
    long fd = call(56, -100, (long)"sub/data", 0102, 0644);
    if (fd < 3 || call(64, fd, (long)line, n, 0) != n) return 1;
    call(62, fd, 1, 0, 0);
    if (call(63, fd, (long)line, 16, 0) != n - 1) return 2;
    call(64, 1, (long)line, n - 1, 0);
    call(57, fd, 0, 0, 0);
    /* Nothing outside the folder opens, for reading, writing or creating; nor is it told of, renamed or removed. */
    for (size i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        for (int flags = 0; flags <= 0102; flags += 0102 / 2)
            if (call(56, -100, (long)escapes[i], flags, 0644) >= 0) return 10 + i;
        if (call(276, -100, (long)escapes[i], -100, (long)"../moved") >= 0) return 40 + i;
        if (call(276, -100, (long)"sub/data", -100, (long)escapes[i]) >= 0 && escapes[i][0] != 'l') return 60 + i;
    }
    long heap = call(214, 0, 0, 0, 0);
    if (call(214, heap + 4096, 0, 0, 0) != heap + 4096) return 5;
    *(volatile int *)heap = 7;
    call(93, 30 + *(volatile int *)heap, 0, 0, 0);
    return 6;
}
asm(".globl _start\n_start: .option push\n.option norelax\nla gp, __global_pointer$\n.option pop\n"
    "lw a0, 0(sp)\naddi a1, sp, 4\ncall program\nli a7, 93\necall");
"""
FREESTANDING = ("-nostdlib", "-ffreestanding", "-static", "-Wl,-n,-Ttext=0x80000000", "-Wl,--build-id=none")


@pytest.fixture
def trap_folder(tmp_path: Path) -> Path:
    """A folder with every kind of way out of it."""
    here = tmp_path / "host"
    (here / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (here / "link").symlink_to(tmp_path / "secret")
    (here / "sub" / "link").symlink_to(tmp_path)
    (here / "loop").symlink_to("loop")
    os.mkfifo(here / "fifo")
    return here


def test_a_static_program_of_linux(compile_c: Compile, trap_folder: Path) -> None:
    """Arguments, input, files below the folder, the heap; and every way out of the folder is shut."""
    program = compile_c(LINUX, *FREESTANDING)
    text, exit_code, message = run(program, b"input", args=["one", "two words"], host_dir=str(trap_folder))
    assert (text, exit_code, message) == ("one two words inputnput", 37, None)
    assert (trap_folder.parent / "secret").read_text() == "secret"
    assert {file.name for file in trap_folder.parent.iterdir()} == {"host", "secret", "program.c", "program.elf"}


def test_without_a_folder_there_are_no_files(compile_c: Compile) -> None:
    assert run(compile_c(LINUX, *FREESTANDING), b"x")[1] == 1


# ------------------------------------------------------------------------------------------------ bare metal: QEMU virt
BARE = r"""
#define UART ((volatile unsigned char *)0x10000000)
#define FINISHER (*(volatile unsigned *)0x100000)
static void put(int c) { while (!(UART[5] & 0x20)) ; UART[0] = c; }
static int get(void) { while (!(UART[5] & 1)) ; return UART[0]; }
void program(void) {
    UART[3] = 0x80; UART[0] = 1; UART[1] = 0; UART[3] = 3; UART[2] = 1;
    for (const char *s = "echo: "; *s; s++) put(*s);
    int c, n = 0;
    while ((c = get()) != '\n') { put(c ^ 0x20); n++; }
    FINISHER = n << 16 | 0x3333;
    for (;;) ;
}
asm(".globl _start\n_start: la sp, stack + 1024\ncall program\n.bss\n.balign 16\nstack: .zero 1024");
"""


def test_a_bare_metal_program_of_qemu_virt(compile_c: Compile) -> None:
    program = compile_c(BARE, *FREESTANDING, isa="rv32imac_zicsr")
    assert run(program, b"hello\n") == ("echo: HELLO", 5, None)
    text, _, message = run(program, devices=["none"])
    assert text == "" and message is not None and "access fault at address 0x1000000" in message
    # The board's UART elsewhere, as `--device uart=ADDRESS` has it.
    text, _, message = run(program, b"hello\n", devices=["none", "finisher", "uart=0x20000000"])
    assert text == "" and message is not None and "access fault" in message


# -------------------------------------------------------------------------------------------- programs that mean harm
# A table of (a7, a0 to a5) is fetched row by row and called; the last row's turn is followed by the first's.
REGISTERS = [17, *range(10, 16)]
ROWS = DATA + 0x1000
# Words that pointers lead to.
BLOCK = DATA + 64
CALLS = [
    *li(8, ROWS), *li(9, 12), *[lw(r, 8, 4 * n) for n, r in enumerate(REGISTERS)], ECALL, sw(A0, 8, 28),
    addi(8, 8, 32), addi(9, 9, -1),
    branch(1, 9, 0, -4 * 11), jal(0, 0),
]  # fmt: skip
SEMIHOSTED = [
    *li(8, ROWS), *li(9, 12), lw(A0, 8, 0), lw(A1, 8, 4), 0x01F0_1013, 0x0010_0073, 0x4070_5013,
    addi(8, 8, 32), addi(9, 9, -1), branch(1, 9, 0, -4 * 7), jal(0, 0),
]  # fmt: skip
# An access that traps is skipped.
STORES = [
    jal(0, 20), csrrs(5, 0x341), addi(5, 5, 4), csrrw(0, 0x341, 5), MRET,
    *li(5, BASE + 4), csrrw(0, 0x305, 5),
    *li(8, ROWS), *li(9, 12), lw(A0, 8, 0), lw(A1, 8, 4), *(f(A1, A0) for f in (sw, sh, sb, lw, lh, lb)),
    addi(8, 8, 32), addi(9, 9, -1), branch(1, 9, 0, -4 * 10), jal(0, 0),
]  # fmt: skip

POINTERS = st.sampled_from(
    [DATA, BLOCK, BLOCK + 4, BLOCK + 24, ROWS, BASE, 0, 0xFFFF_FFFF, BASE + (16 << 20) - 4, 0x1000_0000]
)
NUMBERS = st.one_of(
    POINTERS, st.integers(0, 70), st.integers(0, 0xFFFF_FFFF), st.sampled_from([-100 & 0xFFFF_FFFF, 1 << 31, 4096])
)
WORDS = st.lists(NUMBERS, max_size=16)
LINUX_NUMBERS = st.one_of(st.sampled_from(
    [17, 25, 29, 34, 35, 38, 46, 48, 56, 57, 62, 63, 64, 65, 66, 67, 68, 79, 80, 113, 129, 131, 153, 160, 169, 214, 215,
     222, 276, 278, 291, 403, 439, 1024, 1026, 1030, 1033, 1038, 1039, 1062]
), st.integers(0, 2000))  # fmt: skip
DEVICES = st.one_of(
    *(st.integers(base, base + size) for base, size in ((0x1000_0000, 9), (0x0200_0000, 8), (0x0200_3FF8, 24),
                                                        (0x0200_BFF8, 8), (0x10_0000, 8), (DATA + 0x800, 8))),
    st.sampled_from([0x0200_4000, 0x0200_4004, 0x0200_BFF8, DATA + 0x800, DATA + 0x804]),
)  # fmt: skip


def harm(words: list[int], rows: list[list[int]], folder: Path, block: list[int]) -> None:
    """Run it: it ends somehow, and nothing but that happens."""
    table = b"".join(b"".join(v.to_bytes(4, "little") for v in (row + [0] * 8)[:8]) for row in rows)
    content = b"name\0../up\0".ljust(64) + b"".join(v.to_bytes(4, "little") for v in block)
    content = content.ljust(0x1000, b"\0") + table.ljust(12 * 32, b"\0")
    objects = {"tohost": (DATA + 0x800, 8), "fromhost": (DATA + 0x900, 8)}
    image = elf(code(words, NOP), data=content, objects=objects)
    printed = 0

    def take(piece: bytes) -> None:
        nonlocal printed
        printed += len(piece)

    m = Machine(
        parse_elf(image, "harm.elf"), host_dir=str(folder), stdout=take, stderr=take,
        stdin=lambda size: b"in"[:size], args=["x"], memory_limit=64 << 20,
    )  # fmt: skip
    m.resume(100)
    m.rollback(m.checkpoint())
    result = m.run(400) if m.stop.reason != "exit" else m.result()
    assert result.stop_reason in ("exit", "limit", "access-fault", "illegal-instruction", "breakpoint", "trap")
    assert result.exit_code is None or 0 <= result.exit_code <= 255
    result.to_json()
    assert printed < 32 << 20 and not (folder.parent / "up").exists()
    for path in sorted(folder.rglob("*"), key=lambda p: -len(p.parts)):
        assert path.lstat().st_size <= 1 << 30
        path.rmdir() if path.is_dir() else path.unlink()


def rows(first: st.SearchStrategy[int]) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(
        st.tuples(first, st.lists(NUMBERS | POINTERS, min_size=6, max_size=6)).map(lambda t: [t[0], *t[1]]),
        min_size=4,
        max_size=12,
    )


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harm") / "host"
    folder.mkdir()
    return folder


@settings(max_examples=400)
@given(rows=rows(LINUX_NUMBERS), block=WORDS)
def test_any_ecall(rows: list[list[int]], block: list[int], harmed: Path) -> None:
    harm(CALLS, rows, harmed, block)


@settings(max_examples=150)
@given(
    rows=rows(st.sampled_from([1, 2, 5, 6, 9, 10, 12, 13, 14, 15, 21, 22, 24, 32]) | st.integers(0, 0x32)), block=WORDS
)
def test_any_semihosting(rows: list[list[int]], block: list[int], harmed: Path) -> None:
    harm(SEMIHOSTED, rows, harmed, block)


@settings(max_examples=150)
@given(rows=rows(DEVICES), block=WORDS)
def test_any_device_traffic(rows: list[list[int]], block: list[int], harmed: Path) -> None:
    """Words to the registers of devices, and to tohost."""
    harm(STORES, rows, harmed, block)
