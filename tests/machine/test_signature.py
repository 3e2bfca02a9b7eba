"""The signature: its lines, and what a program without one is told."""

from __future__ import annotations

import pytest

from rvsim.errors import ElfError, UsageError
from rvsim.machine.elf import Program, Symbol
from rvsim.machine.signature import write_signature

MEMORY = bytes(range(0xF0, 0x100)) + bytes(range(16))
BASE = 0x8000_1000


def program(**addresses: int) -> Program:
    labels = [Symbol(name=n, address=a, size=0, kind="label", section=".data") for n, a in addresses.items()]
    return Program(path="test.elf", entry=0x8000_0000, segments=(), labels=tuple(labels))


def read(address: int, size: int) -> bytes:
    assert address >= BASE and size > 0 and address + size <= BASE + len(MEMORY)
    return MEMORY[address - BASE : address - BASE + size]


@pytest.mark.parametrize(
    ("granularity", "begin", "end", "lines"),
    [
        (4, 0, 8, ["f3f2f1f0", "f7f6f5f4"]),
        (4, 12, 20, ["fffefdfc", "03020100"]),
        (1, 14, 18, ["fe", "ff", "00", "01"]),
        (2, 14, 18, ["fffe", "0100"]),
        (8, 0, 8, ["f7f6f5f4f3f2f1f0"]),
        (16, 0, 32, ["fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0", "0f0e0d0c0b0a09080706050403020100"]),
        (16, 0, 4, ["000000000000000000000000f3f2f1f0"]),
        (4, 1, 7, ["f4f3f2f1", "0000f6f5"]),
        (4, 8, 8, []),
    ],
)
def test_lines(granularity: int, begin: int, end: int, lines: list[str]) -> None:
    given = program(begin_signature=BASE + begin, end_signature=BASE + end)
    assert write_signature(given, read, granularity).splitlines() == lines


def test_words_unless_told_otherwise() -> None:
    assert write_signature(program(begin_signature=BASE, end_signature=BASE + 4), read) == "f3f2f1f0\n"


@pytest.mark.parametrize("missing", ["begin_signature", "end_signature"])
def test_missing_symbol(missing: str) -> None:
    symbols = {"begin_signature": BASE, "end_signature": BASE + 4}
    del symbols[missing]
    with pytest.raises(ElfError) as caught:
        write_signature(program(**symbols), read)
    assert str(caught.value) == (
        "test.elf: expected the symbols begin_signature and end_signature around the signature, "
        f"found no {missing}; define both, as riscv-arch-test does (RVMODEL_DATA_BEGIN, RVMODEL_DATA_END), "
        "and do not strip the program"
    )


def test_wrong_order() -> None:
    given = program(begin_signature=BASE + 4, end_signature=BASE)
    with pytest.raises(ElfError) as caught:
        write_signature(given, read)
    assert str(caught.value) == (
        "test.elf: expected end_signature behind begin_signature (0x80001004), found it at 0x80001000"
    )


@pytest.mark.parametrize("granularity", [0, 3, -4, 32])
def test_granularity(granularity: int) -> None:
    given = program(begin_signature=BASE, end_signature=BASE + 4)
    with pytest.raises(UsageError) as caught:
        write_signature(given, read, granularity)
    assert str(caught.value) == f"expected a signature granularity of 1, 2, 4, 8, 16 bytes, found {granularity}"
