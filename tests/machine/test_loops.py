"""Loops done by compiled functions leave registers, memory, every count and every stop as the interpreter does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rvsim
from rvsim import Machine
from rvsim.asm import assemble
from rvsim.errors import UsageError
from rvsim.loops import cache
from rvsim.machine.elf import parse_elf
from tests.conftest import ROOT, find_peer

pytestmark = pytest.mark.skipif(
    not any(find_peer(name) for name in ("cc", "gcc", "clang")), reason="no C compiler on this machine"
)
ENGINES = ("interp", "jit")


@pytest.fixture(scope="module", autouse=True)
def compiled_at_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVSIM_CACHE", str(tmp_path_factory.mktemp("loops")))
        patch.setenv("RVSIM_JIT", "128,1")
        yield


# ------------------------------------------------------------ programs
def program(loops: list[tuple[str, str]], rounds: int = 16, data: bytes = b"") -> bytes:
    """An ELF that executes each loop (what goes before it, its body with the branch to ``1b``) `rounds` times.

    It writes x5 to x31 after each loop, and the data in the end.
    """
    text = ["        .text", f"_start: li s0, {rounds}", "        la s1, saved"]
    for n, (before, body) in enumerate(loops):
        text += [f"        j round{n}" if n == 0 else "", f"round{n}:", before, "1:", body, "        la gp, saved"]
        text += [f"        sw x{r}, {4 * r}(gp)" for r in range(5, 32) if r not in (8, 9, 10, 11, 12, 17)]
        text += ["        mv s2, a0", "        mv s3, a1", "        mv s4, a2"]
        text += ["        sw a0, 128(gp)", "        sw a1, 132(gp)", "        sw a2, 136(gp)"]
        text += ["        li a0, 1", "        mv a1, gp", "        li a2, 140", "        li a7, 64", "        ecall"]
        text += ["        addi s0, s0, -1", f"        bnez s0, round{n}", f"        li s0, {rounds}"]
    text += ["        li a0, 1", "        la a1, data", "        li a2, 4096", "        li a7, 64", "        ecall"]
    text += ["        li a0, 0", "        li a7, 93", "        ecall", "        .data"]
    text += ["        .type saved, @object", "        .size saved, 256", "saved: .zero 256"]
    for name, size in (("data", 1024), ("more", 1024), ("other", 2048)):
        text += [f"        .type {name}, @object", f"        .size {name}, {size}", f"{name}:"]
        held = data[:size].ljust(size, b"\0")
        data = data[size:]
        text += ["        .byte " + ", ".join(map(str, held[at : at + 16])) for at in range(0, size, 16)]
    return assemble("\n".join(text), text=0x10000)


BYTES = bytes((37 * n + n // 7) & 255 for n in range(4096))


def machine(elf: bytes, loops: str, engine: str = "interp") -> tuple[Machine, bytearray]:
    written = bytearray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVSIM_LOOPS", loops)
        made = Machine.from_elf(parse_elf(elf), engine=engine, stdout=written.extend)
    return made, written


def profile(made: Machine) -> dict[tuple[int, int, int], tuple[int, int]]:
    """Executions and cycles by instruction; blocks may overlap."""
    rows: dict[tuple[int, int, int], tuple[int, int]] = {}
    for pc, number, size, executions, cycles in made.hart.profile():
        before = rows.get((pc, number, size), (0, 0))
        rows[pc, number, size] = before[0] + executions, before[1] + cycles
    return rows


def state(made: Machine, written: bytearray) -> dict[str, Any]:
    result = {k: v for k, v in made.result().to_dict().items() if k not in ("engine", "host_seconds")}
    memory = [made.read_memory(r.base, r.size) for r in made.regions if not r.permissions & 8]
    return {
        "result": result,
        "profile": profile(made),
        "registers": made.registers,
        "pc": made.pc,
        "memory": memory,
        "written": bytes(written),
    }


def check(elf: bytes, pieces: list[int] | None = None, ends: bool = True) -> int:
    """Compare with and without loops, in pieces of so many instructions; how many iterations the functions did."""
    plain, plain_out = machine(elf, "0")
    others = [(engine, *machine(elf, "wait", engine)) for engine in ENGINES]
    for limit in [*(pieces or []), *([None] if ends else [])]:
        for made in (plain, *(m for _, m, _ in others)):
            made.resume(limit)
        expected = state(plain, plain_out)
        for engine, made, out in others:
            found = state(made, out)
            assert found == expected, (engine, limit)
    return min(sum(n for _, n in made.hart.loop_counts()) for engine, made, _ in others)


# ------------------------------------------------------------ a table of loops
def table(text: str) -> dict[str, tuple[str, str]]:
    """Three lines each: a name, what goes before the loop, the loop."""
    lines = [line.strip().replace(";", "\n") for line in text.strip().splitlines()]
    return {lines[n]: (lines[n + 1], lines[n + 2]) for n in range(0, len(lines), 3)}


TABLE = table("""
up to an address
    la a0, data; addi a1, a0, 100
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; bne a0, a1, 1b
down to an address
    la a1, data; addi a0, a1, 99
    lb t3, 0(a0); addi a0, a0, -1; add t4, t4, t3; bne a0, a1, 1b
down to zero
    la a0, data; li t5, 77
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; addi t5, t5, -1; bnez t5, 1b
below, unsigned
    la a0, data; la a1, data+99
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; bltu a0, a1, 1b
not above, unsigned
    la a0, data; la a1, data+99
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; bgeu a1, a0, 1b
below, signed
    la a0, data; li t5, -50; li t6, 50
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; addi t5, t5, 3; blt t5, t6, 1b
not above, signed
    la a0, data; li t5, -50; li t6, 49
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; addi t5, t5, 3; bge t6, t5, 1b
above zero
    la a0, data; li t5, 50
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; addi t5, t5, -3; bgtz t5, 1b
not below zero
    la a0, data; li t5, 50
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; addi t5, t5, -3; bgez t5, 1b
both move
    la a0, data; li t5, 50; li t6, 0
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; addi t5, t5, -1; addi t6, t6, 1; bne t5, t6, 1b
words
    la a0, data; la a1, data+400
    lw t3, 0(a0); addi a0, a0, 4; xor t4, t4, t3; mulhu t4, t4, t3; bne a0, a1, 1b
halves
    la a0, data; la a1, data+400
    lh t3, -2(a1); addi a1, a1, -2; add t4, t4, t3; mulh t4, t4, t3; bne a0, a1, 1b
every other
    la a0, data; la a1, data+400
    lhu t3, 2(a0); addi a0, a0, 4; sub t4, t4, t3; bne a0, a1, 1b
fill
    la a0, data; la a1, data+1024
    sw s0, 0(a0); addi a0, a0, 4; bne a0, a1, 1b
copy
    la a0, data; la a1, other; la a2, data+512
    lw t3, 0(a0); sw t3, 0(a1); addi a0, a0, 4; addi a1, a1, 4; bne a0, a2, 1b
in place
    la a0, data; la a2, data+512
    lb t3, 0(a0); addi t3, t3, 9; sb t3, 0(a0); addi a0, a0, 1; bne a0, a2, 1b
from the one before
    la a0, data; la a2, data+512
    lb t3, 0(a0); addi t3, t3, 9; sb t3, 1(a0); addi a0, a0, 1; bne a0, a2, 1b
from five before
    la a0, data; la a2, data+512
    lb t3, 0(a0); addi t3, t3, 9; sb t3, 5(a0); addi a0, a0, 1; bne a0, a2, 1b
from what follows
    la a0, data; la a2, data+512
    lw t3, 4(a0); add t3, t3, a0; sw t3, 0(a0); addi a0, a0, 4; bne a0, a2, 1b
bytes of words just written
    la a0, data; la a2, data+512
    lbu t3, 1(a0); add t4, t4, t3; sw t4, 4(a0); addi a0, a0, 4; bne a0, a2, 1b
the same word
    la a0, data; li t5, 60
    lw t3, 0(a0); add t3, t3, t5; sw t3, 0(a0); addi t5, t5, -1; bnez t5, 1b
scaled index
    la a0, data; li t5, 60
    addi t5, t5, -1; slli t3, t5, 2; add t3, t3, a0; lw t3, 0(t3); add t4, t4, t3; bnez t5, 1b
last values
    la a0, data; li t5, 60
    lw t3, 0(a0); mv t6, a0; srai a2, t3, 3; addi a0, a0, 4; addi t5, t5, -1; bnez t5, 1b
no access
    li t5, 3000; li t4, 1
    slli t3, t4, 3; xor t4, t4, t3; srli t3, t4, 5; xor t4, t4, t3; addi t5, t5, -1; bnez t5, 1b
compare and choose
    la a0, data; la a1, data+60
    lb t3, 0(a0); slt t6, t4, t3; neg t6, t6; and a2, t3, t6; xor t4, t4, a2; addi a0, a0, 1; bne a0, a1, 1b
longer than a slice
    li t5, 40000
    addi t4, t4, 3; addi t5, t5, -1; bnez t5, 1b
across zero
    li t5, -50; li t6, 50
    add t4, t4, t5; addi t5, t5, 1; bne t5, t6, 1b
""")
# The guard lets only some of the iterations through.
PARTLY = table("""
over the end of a symbol
    la a0, data+900; la a1, data+1500
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; bne a0, a1, 1b
over the beginning of a symbol
    la a1, data+900; la a0, data+1500
    lbu t3, 0(a0); addi a0, a0, -1; add t4, t4, t3; bne a0, a1, 1b
""")
# Not even looked at, or the guard lets none through.
NONE = table("""
misaligned
    la a0, data+1; la a1, data+401
    lw t3, 0(a0); addi a0, a0, 4; xor t4, t4, t3; bne a0, a1, 1b
odd steps
    la a0, data; la a1, data+300
    lhu t3, 0(a0); addi a0, a0, 3; xor t4, t4, t3; bne a0, a1, 1b
an address that was loaded
    la a0, data; la a2, data; li t5, 30
    lbu t3, 0(a0); add a0, a2, t3; addi t5, t5, -1; bnez t5, 1b
an end that was loaded
    la a0, data; la a1, data+100
    lbu t3, 0(a0); addi a0, a0, 1; bnez t3, 1b
division
    la a0, data; la a1, data+100
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; divu t5, t4, t3; bne a0, a1, 1b
three
    la a0, data; addi a1, a0, 3
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; bne a0, a1, 1b
one
    la a0, data; addi a1, a0, 1
    lbu t3, 0(a0); addi a0, a0, 1; add t4, t4, t3; bne a0, a1, 1b
""")


@pytest.mark.parametrize("name", [*TABLE, *PARTLY])
def test_every_count_is_the_interpreters(name: str) -> None:
    assert check(program([{**TABLE, **PARTLY}[name]], data=BYTES)) > 100


@pytest.mark.parametrize("name", NONE)
def test_what_is_not_counted_is_left_to_the_others(name: str) -> None:
    assert check(program([NONE[name]], data=BYTES)) == 0


@pytest.mark.parametrize(
    ("start", "step"),
    [
        ("li t5, 0xffffff00; li t6, 0xffffffff", "addi t5, t5, 6; bltu t5, t6, 1b"),
        ("li t5, 0x7fffff00; li t6, 0x7fffffff", "addi t5, t5, 6; blt t5, t6, 1b"),
        ("li t5, 0x100; li t6, 0", "addi t5, t5, -6; bltu t6, t5, 1b"),
        ("li t5, 0x100; li t6, 0", "addi t5, t5, -6; bgeu t5, t6, 1b"),
        ("li t5, 0x100; li t6, 0x80000000", "addi t5, t5, -6; bge t5, t6, 1b"),
        ("li t5, 1; li t6, 0", "addi t5, t5, 2; bne t5, t6, 1b"),
        ("li t5, 1; li t6, 1", "addi t4, t4, 2; beq t5, t6, 1b"),
    ],
)
def test_a_loop_that_wraps_around_goes_on(start: str, step: str) -> None:
    elf = program([(start.replace(";", "\n"), "addi t4, t4, 3\n" + step.replace(";", "\n"))])
    check(elf, [5000, 20000, 3000], ends=False)


@pytest.mark.peer("qemu-riscv32")
def test_registers_and_memory_are_those_of_qemu(tmp_path: Path) -> None:
    elf = tmp_path / "loops"
    elf.write_bytes(program([*TABLE.values(), *PARTLY.values(), *NONE.values()], rounds=3, data=BYTES))
    elf.chmod(0o755)
    qemu = subprocess.run([str(find_peer("qemu-riscv32")), str(elf)], capture_output=True, timeout=60)
    assert qemu.returncode == 0
    made, written = machine(elf.read_bytes(), "wait")
    made.run()
    # The stack pointer is not the same; it is no register of these loops, and x2 is not written.
    assert bytes(written) == qemu.stdout


@pytest.mark.parametrize("pieces", [[1001, 2, 7, 1000], [4000, 1, 1, 1, 999], [50, 3001, 10001]])
def test_a_limit_in_the_middle_is_exact(pieces: list[int]) -> None:
    loops = [TABLE["in place"], TABLE["longer than a slice"], TABLE["words"]]
    assert check(program(loops, data=BYTES), pieces) > 100


def test_a_breakpoint_in_the_loop_stops_each_iteration() -> None:
    elf = program([TABLE["down to zero"]], data=BYTES)
    found = []
    for loops in ("0", "wait"):
        made, _ = machine(elf, loops)
        made.resume(2000)
        made.add_breakpoint(made.pc)
        stops = [made.resume(5000) for _ in range(20)]
        made.remove_breakpoint(stops[-1].pc)
        made.run()
        found.append(([(s.reason, s.pc) for s in stops], made.instructions, made.registers))
    assert found[0] == found[1]


def test_a_timer_interrupts_a_loop_at_its_cycle() -> None:
    text = """
        .text
_start: la t0, handler
        csrw mtvec, t0
        li s1, 0x02004000
        sw zero, 4(s1)
        li t0, 3001
        sw t0, 0(s1)
        li t0, 0x80
        csrw mie, t0
        csrsi mstatus, 8
        li s0, 12
2:      la a0, data
        addi a1, a0, 1024
1:      lbu t3, 0(a0)
        addi a0, a0, 1
        add t4, t4, t3
        bne a0, a1, 1b
        addi s0, s0, -1
        bnez s0, 2b
        li t0, 0x100000
        li t1, 0x5555
        sw t1, 0(t0)
3:      j 3b
        .balign 4
handler: csrr t5, mepc
        mul s5, s5, t5
        add s5, s5, a0
        lw t6, 0(s1)
        addi t6, t6, 1777
        sw t6, 0(s1)
        mret
        .data
        .type data, @object
        .size data, 1024
data:   .zero 1024
"""
    assert check(assemble(text)) > 1000


def test_code_that_the_loop_before_it_wrote() -> None:
    """A loop copies the next loop's instructions over themselves, changed; their function goes with them."""
    text = """
        .text
_start: li s0, 8
2:      la a0, code
        la a1, code+16
3:      lw t3, 0(a0)            # stores to code are never the function's
        sw t3, 0(a0)
        addi a0, a0, 4
        bne a0, a1, 3b
        la t0, code
        lw t1, 8(t0)            # addi t4, t4, imm
        li t2, 0x00100000
        add t1, t1, t2
        sw t1, 8(t0)
        li t5, 500
        .balign 4
code:   .option norvc
        addi t3, t3, 2
        addi t6, t6, 1
        addi t4, t4, 1
        addi t5, t5, -1
        bnez t5, code
        addi s0, s0, -1
        bnez s0, 2b
        mv a0, t4
        li a7, 93
        ecall
"""
    # Each round's loop is another one, and new when it begins.
    check(assemble(text, text=0x10000))
    check(assemble(text.replace("li t5, 500", "li t5, 5000"), text=0x10000))


# ------------------------------------------------------------ random loops
POINTERS, VALUES, BOUND = ("a0", "a1", "a2"), ("t3", "t4", "t6", "s5", "s6", "s7"), "t5"


@st.composite
def random_loop(draw: st.DrawFn) -> tuple[str, str]:
    pick, number = (lambda *items: draw(st.sampled_from(items))), (lambda a, b: draw(st.integers(a, b)))
    steps = {p: pick(0, 1, 1, -1, 2, 4, 4, -4, 8, 12, -2) for p in POINTERS}
    trips = pick(1, 3, 4, 5, 16, 31, 33, 100, 127, 300)
    before = [f"li {v}, {number(-(2**31), 2**31 - 1)}" for v in VALUES if draw(st.booleans())]
    for p, step in steps.items():
        low = 1024 + (trips * -step if step < 0 else 0) + pick(0, 0, 0, 4, 8, 1, 2, 400)
        before.append(f"la {p}, data+{min(low, 3500)}" if low < 3500 else f"la {p}, data+2048")
    body = []
    for _ in range(number(1, 6)):
        p, value, other, third = pick(*POINTERS), pick(*VALUES), pick(*VALUES), pick(*VALUES)
        match pick("load", "load", "store", "op", "op", "op", "unary", "index"):
            case "load":
                body.append(f"{pick('lb', 'lbu', 'lh', 'lhu', 'lw')} {value}, {pick(0, 0, 4, -4, 1, 2)}({p})")
            case "store":
                body.append(f"{pick('sb', 'sh', 'sw')} {value}, {pick(0, 0, 4, -4, 1, 2)}({p})")
            case "op":
                names = (
                    "add",
                    "sub",
                    "and",
                    "or",
                    "xor",
                    "mul",
                    "mulh",
                    "mulhu",
                    "mulhsu",
                    "sll",
                    "srl",
                    "sra",
                    "slt",
                    "sltu",
                )
                body.append(f"{pick(*names)} {value}, {other}, {third}")
            case "unary":
                names = (
                    "addi {}, {}, -7",
                    "slli {}, {}, 3",
                    "srli {}, {}, 5",
                    "srai {}, {}, 9",
                    "andi {}, {}, 255",
                    "sltiu {}, {}, 9",
                    "slti {}, {}, -3",
                )
                body.append(pick(*names).format(value, other))
            case "index":
                body.append(f"sub {value}, {p}, {pick(*POINTERS)}")
    updates = [f"addi {p}, {p}, {step}" for p, step in steps.items() if step]
    match pick("count", "count", "up", "address", "signed", "unsigned"):
        case "count":
            before.append(f"li {BOUND}, {trips}")
            updates.append(f"addi {BOUND}, {BOUND}, -1")
            branch = pick(f"bnez {BOUND}, 1b", f"bgtz {BOUND}, 1b", f"bgez {BOUND}, 1b")
        case "up":
            before += [f"li {BOUND}, 0", f"li s8, {trips * 4 + pick(0, 0, 3)}"]
            updates.append(f"addi {BOUND}, {BOUND}, 4")
            branch = pick(f"bltu {BOUND}, s8, 1b", f"blt {BOUND}, s8, 1b", f"bge s8, {BOUND}, 1b")
        case "address":
            moving = [p for p, step in steps.items() if step]
            if not moving:
                before.append(f"li {BOUND}, {trips}")
                updates.append(f"addi {BOUND}, {BOUND}, -1")
                branch = f"bnez {BOUND}, 1b"
            else:
                p = pick(*moving)
                before += [f"li s8, {trips * steps[p]}", f"add s8, s8, {p}"]
                branch = f"bne {p}, s8, 1b"
        case "signed":
            before += [f"li {BOUND}, {-trips}", "li s8, 3"]
            updates.append(f"addi {BOUND}, {BOUND}, {pick(1, 2, 5)}")
            branch = pick(f"blt {BOUND}, s8, 1b", f"bge s8, {BOUND}, 1b")
        case _:
            before += [f"li {BOUND}, {trips}", "li s8, 3"]
            updates.append(f"addi {BOUND}, {BOUND}, -1")
            branch = pick(f"bltu s8, {BOUND}, 1b", f"bgeu {BOUND}, s8, 1b")
    lines = draw(st.permutations([*body, *updates]))
    return "\n".join(before), "\n".join([*lines, branch])


@settings(max_examples=12, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(
    loops=st.lists(random_loop(), min_size=6, max_size=6),
    data=st.randoms(use_true_random=False),
    stops=st.lists(st.integers(1, 3000), max_size=3),
)
def test_random_loops(loops: list[tuple[str, str]], data: Any, stops: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVSIM_CC", "cc -O1")
        check(program(loops, data=data.randbytes(4096), rounds=5), stops)


# ------------------------------------------------------------ the cache
CONV = ROOT / "kernels" / "bench" / "conv3x3.elf"


def run(elf: Path, folder: Path | str, **environment: str) -> tuple[int, bytes, str]:
    variables = {**os.environ, "RVSIM_CACHE": str(folder), "RVSIM_LOOPS": "wait", **environment}
    command = [sys.executable, "-m", "rvsim", "run", "--engine", "interp", str(elf)]
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, timeout=120)
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    elf = tmp_path / "small.elf"
    elf.write_bytes(program([TABLE["words"], TABLE["copy"]], data=BYTES))
    return elf


def libraries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix == ".so" and p.stat().st_size > 8000)


def test_a_library_is_made_once_and_kept(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    first = run(small, folder)
    made = {p: p.stat().st_mtime_ns for p in libraries(folder)}
    assert len(made) == 2 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run(small, folder, RVSIM_CC="") == first
    assert {p: p.stat().st_mtime_ns for p in libraries(folder)} == made
    assert not [p for p in folder.iterdir() if p not in made and p.stat().st_size > 8000]
    run(small, folder, RVSIM_CC="cc -O1")
    assert len(libraries(folder)) == 4  # the options of the compiler are another key


def test_a_folder_that_others_may_write_is_refused(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    expected = run(small, folder, RVSIM_LOOPS="0")
    status, out, err = run(small, folder)
    assert (status, out) == expected[:2]
    assert list(folder.iterdir()) == []
    assert err == (
        f"rvsim: note: expected a folder of your own that nobody else may write to, found {folder}; "
        "loops are not compiled (RVSIM_CACHE names another folder)\n"
    )


def test_a_file_that_others_may_write_is_not_loaded(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    expected = run(small, folder)
    for path in libraries(folder):
        path.chmod(0o666)
        os.utime(path, ns=(0, 0))
    assert run(small, folder) == expected
    assert all(p.stat().st_mtime_ns == 0 for p in libraries(folder))


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "text", "another"])
def test_a_damaged_file_is_made_anew(small: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "cache"
    expected = run(small, folder)
    first, second = libraries(folder)
    data = first.read_bytes()
    changed = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "bit": data[:100] + bytes([data[100] ^ 1]) + data[101:],
        "text": data[:-40] + b"?" + data[-39:],
        "another": second.read_bytes(),
    }[damage]
    first.write_bytes(changed)
    assert run(small, folder) == expected
    assert cache.library_of(first.read_bytes(), b"") is None and len(first.read_bytes()) == len(data)
    assert first.read_bytes() != changed


@pytest.mark.parametrize(
    "how", ["a file", "below a file", "no such program", "a failing program", "sleeps", "read-only"]
)
def test_without_a_cache_or_a_compiler_programs_run_the_same(small: Path, tmp_path: Path, how: str) -> None:
    expected = run(small, tmp_path / "none", RVSIM_LOOPS="0")
    file = tmp_path / "file"
    file.write_text("")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    found = {
        "a file": lambda: run(small, file),
        "below a file": lambda: run(small, file / "cache"),
        "no such program": lambda: run(small, tmp_path / "cache", RVSIM_CC="no-such-compiler"),
        "a failing program": lambda: run(small, tmp_path / "cache", RVSIM_CC="false"),
        "sleeps": lambda: run(small, tmp_path / "cache", RVSIM_CC="sleep 1", RVSIM_LOOPS="1"),
        "read-only": lambda: run(small, closed),
    }[how]()
    assert found == expected


def test_two_processes_share_a_cache(small: Path, tmp_path: Path) -> None:
    expected = run(small, tmp_path / "cache", RVSIM_LOOPS="0")
    variables = {**os.environ, "RVSIM_CACHE": str(tmp_path / "cache"), "RVSIM_LOOPS": "wait"}
    command = [sys.executable, "-m", "rvsim", "run", str(small)]
    both = [subprocess.Popen(command, env=variables, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
    assert [p.communicate(timeout=120)[0] for p in both] == [expected[1]] * 2
    assert len(libraries(tmp_path / "cache")) == 2
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_oldest_libraries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rvsim.loops import compile as compiler

    for n in range(5):
        (tmp_path / f"loop-{n}.so").write_bytes(bytes(100))
        os.utime(tmp_path / f"loop-{n}.so", (1000 - n, 1000 - n))
    (tmp_path / "make-left").mkdir()
    (tmp_path / "make-left" / "loop.c").write_text("")
    os.utime(tmp_path / "make-left", (0, 0))
    (tmp_path / "somebody's").write_bytes(bytes(1000))
    monkeypatch.setattr(compiler, "ROOM", 250)
    compiler.prune(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loop-0.so", "loop-1.so", "somebody's"]


def test_another_value_of_rvsim_loops_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RVSIM_LOOPS", "yes")
    with pytest.raises(UsageError, match="RVSIM_LOOPS: expected 0, 1 or wait, found 'yes'"):
        Machine.from_elf(CONV)


def test_a_loop_that_is_there_costs_few_imports() -> None:
    code = (
        "import sys; import rvsim.machine; before = set(sys.modules); from rvsim.loops.cache import Loops; "
        "Loops().find('', False); print(sorted({*sys.modules} - before - {'binascii'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "['rvsim.loops', 'rvsim.loops.cache']\n"


def test_a_short_run_imports_nothing_of_it() -> None:
    code = (
        "import sys; from rvsim import Machine; Machine.from_elf('kernels/bench/nop.elf').run(); "
        "print([m for m in sys.modules if m.startswith('rvsim.loops')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert rvsim.__version__ in cache.Loops().host
