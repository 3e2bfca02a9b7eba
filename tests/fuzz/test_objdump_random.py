"""The disassembler and GNU objdump on every halfword and on many random words, most of them one bit from valid."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from rvsim.isa.disassemble import disassemble
from tests.differential.program import ISA
from tests.isa.test_disassemble import documented_difference, normalised

GCC, OBJDUMP = "riscv64-unknown-elf-gcc", "riscv64-unknown-elf-objdump"
MARCH = "rv32imac_zicsr_zifencei_zba_zbb_zbs"
SEED = os.environ.get("RVSIM_FUZZ_SEED") or "rvsim"
WORDS = int(os.environ.get("RVSIM_FUZZ_WORDS") or 200_000)
PARTS = 4
# What objdump names although this machine has no such instruction.
OTHER_MODES = {"uret", "sret", "hret", "sfence.vma", "sfence.vm"}
SHIFTS = {"slli", "srli", "srai", "rori", "bclri", "bexti", "binvi", "bseti"}


def explained(word: int, ours: str, theirs: str) -> bool:
    """Whether a difference is one that is written down."""
    mnemonic = theirs.partition(" ")[0]
    if ours.startswith(".word") and mnemonic in OTHER_MODES:
        return True
    if ours.startswith(".word") and mnemonic in SHIFTS and word >> 25 & 1:
        return True  # shifts by 32 and more are reserved on RV32
    return documented_difference(word, ours, theirs) is not None


def random_words(draw: random.Random, count: int) -> list[int]:
    """32-bit words: two thirds are instructions, some with a bit turned over; the rest is rubbish of that length."""
    large = [i for i in ISA.instructions if i.size == 4]
    words = []
    while len(words) < count:
        if draw.random() < 0.67:
            chosen = draw.choice(large)
            word = draw.getrandbits(32) & ~chosen.mask | chosen.match
            if draw.random() < 0.5:
                word ^= 1 << draw.randrange(2, 32)
        else:
            word = draw.getrandbits(32) | 3
        if word & 0x1F != 0x1F:  # longer than 32 bits
            words.append(word)
    return words


def compare(words: list[int], folder: Path) -> tuple[list[tuple[str, str, str]], int]:
    """What differs without a reason, and how many words are instructions to both."""
    source, target = folder / "words.s", folder / "words.o"
    source.write_text(".option norelax\n" + "".join(f".insn {4 if w & 3 == 3 else 2}, {w:#x}\n" for w in words))
    subprocess.run([GCC, "-c", f"-march={MARCH}", "-mabi=ilp32", "-o", str(target), str(source)], check=True)
    dump = subprocess.run(
        [OBJDUMP, "-d", "-z", "-M", "no-aliases", str(target)], capture_output=True, text=True, check=True
    )
    found = re.findall(r"^\s*([0-9a-f]+):\t([0-9a-f]+)\s+\t?(.*)$", dump.stdout, re.MULTILINE)
    assert [int(word, 16) for _, word, _ in found] == words
    wrong, alike = [], 0
    for address, code, text in found:
        word, theirs = int(code, 16), normalised(text)
        ours = disassemble(ISA, word, int(address, 16))
        alike += ours == theirs and not ours.startswith(".")
        if ours != theirs and not explained(word, ours, theirs):
            wrong.append((hex(word), ours, theirs))
    return wrong, alike


@pytest.mark.peer(GCC)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_words(part: int, tmp_path: Path) -> None:
    words = random_words(random.Random(f"{SEED}/{part}"), WORDS // PARTS)
    wrong, alike = compare(words, tmp_path)
    assert wrong == []
    assert alike > len(words) // 4


@pytest.mark.peer(GCC)
def test_every_halfword(tmp_path: Path) -> None:
    wrong, alike = compare([word for word in range(1 << 16) if word & 3 != 3], tmp_path)
    assert wrong == []
    assert alike > 25_000
