"""The commit log: byte for byte what Spike prints, on golden programs, and on random ones where there is a Spike."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rvsim.cli.main import main
from tests.machine.golden_programs import GOLDEN, PROGRAMS, Program, assemble, find_spike, spike_log

pytestmark = pytest.mark.usefixtures("tier")

LINE = re.compile(
    r"core   0: 3 0x(?P<pc>[0-9a-f]{8}) \(0x(?P<word>[0-9a-f]{8}|[0-9a-f]{4})\)"
    r"(?: x(?P<rd>[1-9]|[123][0-9]) {1,2}0x(?P<value>[0-9a-f]{8}))?"
    r"(?P<csrs>(?: c\d+_\w+ 0x[0-9a-f]{8})*)"
    r"(?P<accesses>(?: mem 0x[0-9a-f]{8}(?: 0x(?:[0-9a-f]{2}|[0-9a-f]{4}|[0-9a-f]{8}))?)*)\n"
)

# Reads instructions as numbers, prints their lines.
HARNESS = r"""
#include <stdio.h>
#include <stdlib.h>
#include "commitlog.h"

int main(void)
{
    struct commit c;
    unsigned size, rd, accesses, csrs;
    while (scanf("%x %x %u %u %x %u %u", &c.pc, &c.word, &size, &rd, &c.value, &accesses, &csrs) == 7) {
        static char names[COMMIT_CSRS][COMMIT_NAME_MAX + 1];
        char *line = malloc(COMMIT_LINE_MAX); /* for AddressSanitizer and valgrind to watch */
        c.size = size, c.rd = rd, c.accesses = accesses, c.csrs = csrs;
        for (unsigned i = 0; i < csrs; i++) {
            unsigned number;
            scanf("%u %31s %x", &number, names[i], &c.csr[i].value);
            c.csr[i].number = number, c.csr[i].name = names[i];
        }
        for (unsigned i = 0; i < accesses; i++) {
            unsigned bytes, store;
            scanf("%x %u %u %x", &c.access[i].address, &bytes, &store, &c.access[i].value);
            c.access[i].size = bytes, c.access[i].store = store;
        }
        fwrite(line, 1, commit_line(line, &c), stdout);
        free(line);
    }
    return 0;
}
"""


def run_logged(elf: Path, log: Path, isa: str, misaligned: str = "trap") -> str:
    """Commit log of a run from the command line."""
    settings = ["--isa", isa, "--set", f"core.misaligned={misaligned}"]
    status = main(["run", *settings, "--quiet", "--max-instructions", "100000", "--commit-log", str(log), str(elf)])
    assert status == 0
    return log.read_text()


def numbers(line: str) -> Iterator[str]:
    """What the harness reads for one line of a log."""
    found = LINE.fullmatch(line)
    assert found is not None, line
    csrs = re.findall(r" c(\d+)_(\w+) 0x(\w+)", found["csrs"])
    accesses = re.findall(r" mem 0x(\w+)(?: 0x(\w+))?", found["accesses"])
    yield f"{found['pc']} {found['word']} {len(found['word']) // 2} {found['rd'] or 0} {found['value'] or 'abcdef01'}"
    yield f"{len(accesses)} {len(csrs)}"
    yield from (" ".join(csr) for csr in csrs)
    # Bits above a store's size are not part of it.
    yield from (
        f"{address} {len(value) // 2} {bool(value):d} {'abcdef01'[len(value) :]}{value}" for address, value in accesses
    )


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    folder = tmp_path_factory.mktemp("harness")
    (folder / "harness.c").write_text(HARNESS)
    include = f"-I{root / 'rvsim' / 'machine'}"
    subprocess.run([compiler, "-O1", "-w", include, "-o", folder / "harness", folder / "harness.c"], check=True)
    return folder / "harness"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_formatter_writes_what_spike_printed(program: Program, harness: Path) -> None:
    log = program.log.read_text()
    given = "\n".join(word for line in log.splitlines(keepends=True) for word in numbers(line))
    assert subprocess.run([harness], input=given, capture_output=True, text=True, check=True).stdout == log


def test_formatter_writes_the_longest_line(harness: Path) -> None:
    name = "n" * 31
    given = "ffffffff ffffffff 4 31 ffffffff 2 8" + f" 4095 {name} ffffffff" * 8 + " ffffffff 4 1 ffffffff" * 2
    expected = (
        "core   0: 3 0xffffffff (0xffffffff) x31 0xffffffff"
        + f" c4095_{name} 0xffffffff" * 8
        + " mem 0xffffffff 0xffffffff" * 2
        + "\n"
    )
    assert subprocess.run([harness], input=given, capture_output=True, text=True, check=True).stdout == expected


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_log_is_spikes(program: Program, tmp_path: Path) -> None:
    found = run_logged(program.elf, tmp_path / "log", program.isa, program.misaligned)
    assert found.splitlines() == program.log.read_text().splitlines()
    assert found.endswith("\n")


@pytest.fixture(scope="module")
def spike() -> str:
    """Spike: never required, because Debian has none."""
    found = find_spike()
    if found is None:
        pytest.skip("Spike is neither on PATH nor in RVSIM_SPIKE")
    return found


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_golden_log_is_todays_spikes(program: Program, spike: str) -> None:
    assert spike_log(spike, program.elf, program.isa, program.misaligned) == program.log.read_text()


# x5 and x26 to x31 are the trap handler's, x8 holds the address of the data.
REGISTERS = [f"x{n}" for n in range(26) if n not in (5, 8)]
SHORT = [f"x{n}" for n in range(9, 16)]
CSRS = ("mscratch", "mepc", "mcause", "mtval", "mie", "mstatus", "mstatush")


def random_instruction(rng: random.Random) -> str:
    """One instruction in assembly, or a forward branch with what it skips."""

    def pick(names: str) -> str:
        return rng.choice(names.split())

    d, a, b = (rng.choice(REGISTERS) for _ in range(3))
    s, t = (rng.choice(SHORT) for _ in range(2))
    offset, small = rng.randrange(256), rng.randrange(-32, 32)
    choices: list[Callable[[], str]] = [
        lambda: (
            f"{pick('add sub sll slt sltu xor srl sra or and mul mulh mulhsu mulhu div divu rem remu')} {d}, {a}, {b}"
        ),
        lambda: f"{pick('addi slti sltiu xori ori andi')} {d}, {a}, {rng.randrange(-2048, 2048)}",
        lambda: f"{pick('slli srli srai')} {d}, {a}, {rng.randrange(32)}",
        lambda: f"{pick('lui auipc')} {d}, {rng.randrange(1 << 20)}",
        lambda: f"{pick('lb lbu lh lhu lw')} {d}, {offset}(x8)",
        lambda: f"{pick('sb sh sw')} {a}, {offset}(x8)",
        lambda: f"{pick('beq bne blt bge bltu bgeu')} {a}, {b}, 1f\naddi {d}, {d}, {small}\n1:",
        lambda: f"jal {d}, 1f\n.2byte 0x4001\n1:",
        lambda: f"{pick('csrrw csrrs csrrc')} {d}, {rng.choice(CSRS[:4])}, {a}",
        lambda: f"{pick('csrrwi csrrsi csrrci')} {d}, {rng.choice(CSRS)}, {rng.randrange(32) & 0x13}",
        lambda: f"c.{pick('sub xor or and')} {s}, {t}",
        lambda: f"c.{pick('li addi andi')} {s}, {small or 1}",
        lambda: f"c.{pick('slli srli srai')} {s}, {rng.randrange(1, 32)}",
        lambda: f"c.{pick('lw sw')} {s}, {offset // 2 & ~3}(x8)",
        lambda: f"{pick('amoswap amoadd amoxor amoand amoor amomin amomax amominu amomaxu')}.w {d}, {a}, (x8)",
        # Spike also drops a reservation at traps and every 5000 instructions: none stays open here.
        lambda: f"lr.w {d}, (x8)\n{rng.choice(('', 'addi x9, x9, 1'))}\nsc.w {b}, {a}, (x8)",
        lambda: f"sc.w {d}, {a}, (x8)",
        lambda: pick("ecall ebreak c.ebreak"),
        lambda: f".4byte {rng.getrandbits(32) | 0x7F:#x}",  # longer than 32 bits: illegal
    ]
    return rng.choice(choices)()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.peer("riscv64-unknown-elf-gcc")
def test_log_of_random_programs_is_spikes(seed: int, spike: str, tmp_path: Path) -> None:
    rng = random.Random(seed)
    body = "\n".join(random_instruction(rng) for _ in range(500))
    source, elf = tmp_path / "random.S", tmp_path / "random.elf"
    source.write_text(
        '.include "golden.inc"\n.data\n.balign 8\narea: .zero 512\nbegin\n.option rvc\nla x8, area\nli s11, 0\n'
        f"csrw mepc, x0\ncsrw mcause, x0\ncsrw mtval, x0\ncsrw mscratch, x0\ncsrw mstatus, x0\n{body}\nfinish\n"
    )
    assemble(source, elf, "rv32imac")
    misaligned = rng.choice(("trap", "split"))
    expected = spike_log(spike, elf, "rv32imac", misaligned)
    found = run_logged(elf, tmp_path / "log", "rv32imac", misaligned)
    assert found.splitlines() == expected.splitlines()


def test_the_programs_are_all_there() -> None:
    assert {p.source for p in PROGRAMS} == {path.stem for path in GOLDEN.glob("*.S")}
    assert {p.log for p in PROGRAMS} == set(GOLDEN.glob("*.log"))
    assert {p.elf for p in PROGRAMS} == set(GOLDEN.glob("*.elf"))
