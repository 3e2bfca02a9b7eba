"""Misaligned accesses: every load and store, split or trapping as the core says, at every place they can straddle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machine.guest import (
    A0,
    A1,
    A2,
    DATA,
    EXIT,
    MTVEC,
    RAM_END,
    S0,
    S1,
    SP,
    T0,
    T1,
    T2,
    ZERO,
    add,
    addi,
    bne,
    csrrw,
    flat,
    i_type,
    jal,
    lb,
    li,
    machine,
    r_type,
    store,
)

pytestmark = pytest.mark.usefixtures("tier")

LH, LW, LHU = (i_type(3, f, A0, S1, 0) for f in (1, 2, 5))
SH, SW = (store(f, A0, S1, 0) for f in (1, 2))
ISA = "rv32imac_zcb"
OPERATIONS = {
    # name: (word, bytes, sign-extends, stores); the address is in s1, and in sp
    "lh": (LH, 2, True, False), "lhu": (LHU, 2, False, False), "lw": (LW, 4, False, False),
    "sh": (SH, 2, False, True), "sw": (SW, 4, False, True),
    "c.lw": (0x4088, 4, False, False), "c.sw": (0xC088, 4, False, True),
    "c.lwsp": (0x4502, 4, False, False), "c.swsp": (0xC02A, 4, False, True),
    "c.lh": (0x84C8, 2, True, False), "c.lhu": (0x8488, 2, False, False), "c.sh": (0x8C88, 2, False, True),
}  # fmt: skip
BYTES = bytes(range(0x71, 0x91))
STORED = 0x1234_56F8
AT = 8
"""Offset of the tested words in `BYTES`."""
SPLIT, TRAPS = ({"settings": {"core.misaligned": how}} for how in ("split", "trap"))


def attempt(word: int, address: int, **options: Any) -> Any:
    """Setup, one access with a0 as its value, a mark in a1; the handler spins."""
    words: list[Any] = [jal(ZERO, 8), jal(ZERO, 0), li(T0, 0x8000_0004), csrrw(ZERO, MTVEC, T0), li(S1, address),
             li(SP, address), li(A0, STORED), word, addi(A1, ZERO, 1), jal(ZERO, 0)]  # fmt: skip
    m = machine(*words, isa=ISA, image={"data": BYTES, "objects": {"a": (DATA, AT + 4), "b": (DATA + AT + 4, 20)}},
                **options)  # fmt: skip
    assert m.run(1 + 3 + 6).instructions == 10
    before = m.cycles
    m.run(1)
    return m, before


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
@pytest.mark.parametrize("offset", range(8))
@pytest.mark.parametrize("name", OPERATIONS)
def test_split_accesses(name: str, offset: int, core: str) -> None:
    """Value, cycles, and traffic, which belongs to the symbol where the access begins; b begins at the second word."""
    word, size, signed, stores = OPERATIONS[name]
    m, before = attempt(word, DATA + AT + offset, core=core, **SPLIT)
    at = AT + offset
    data = bytearray(BYTES)
    if stores:
        data[at : at + size] = (STORED & (1 << 8 * size) - 1).to_bytes(size, "little")
    else:
        assert m.registers[A0] == int.from_bytes(BYTES[at : at + size], "little", signed=signed) % (1 << 32)
    assert m.read_memory(DATA, len(BYTES)) == data
    crosses = offset % 4 + size > 4
    assert m.cycles - before == (2 + crosses if core == "ibex-small" else 1)
    assert m.hart.misaligned_accesses == crosses
    result = m.result()
    here, other = ("a", "b") if offset < 4 else ("b", "a")
    found = {s.name: (s.load.count, s.load.bytes, s.store.count, s.store.bytes) for s in result.symbols}
    assert found.get(here) == ((0, 0, 1, size) if stores else (1, size, 0, 0))
    assert found.get(other, (0, 0, 0, 0)) == (0, 0, 0, 0)


@pytest.mark.parametrize("offset", range(8))
@pytest.mark.parametrize("name", OPERATIONS)
def test_trapping_accesses(name: str, offset: int) -> None:
    word, size, _, stores = OPERATIONS[name]
    m, _ = attempt(word, DATA + AT + offset, **TRAPS)
    if offset % size == 0:
        assert m.csrs.mcause == 0
        return
    assert (m.csrs.mcause, m.csrs.mtval, m.csrs.mepc) == (6 if stores else 4, DATA + AT + offset, 0x8000_0000 + 44)
    assert (m.registers[A0], m.registers[A1], m.read_memory(DATA, len(BYTES))) == (STORED, 0, BYTES)
    assert m.result().traffic["total"].load.count == m.result().traffic["total"].store.count == 0


@pytest.mark.parametrize("below", [1, 2, 3, 4])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_end_of_memory(name: str, below: int) -> None:
    """The first byte that is not there is in mtval, and nothing is stored before it."""
    word, size, _, stores = OPERATIONS[name]
    m, _ = attempt(word, RAM_END - below, **SPLIT)
    tail = m.read_memory(RAM_END - 4, 4)
    if below >= size:
        assert m.csrs.mcause == 0
        return
    assert (m.csrs.mcause, m.csrs.mtval) == (7 if stores else 5, RAM_END)
    assert (m.registers[A0], m.registers[A1]) == (STORED, 0)
    assert STORED & 0xFF not in tail
    # A core that traps misaligned accesses sees that first.
    m, _ = attempt(word, RAM_END - below, **TRAPS)
    if below % size:
        assert (m.csrs.mcause, m.csrs.mtval) == (6 if stores else 4, RAM_END - below)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("address", [0xFFFF_FFFF, 0x3FFF_FFFF, 0x0200_4001, 0x0200_3FFF])
def test_misaligned_accesses_outside_memory_and_in_devices(name: str, address: int) -> None:
    """Around the end of the address space, in nothing, and at the timer, which takes whole aligned accesses only."""
    word, _, _, stores = OPERATIONS[name]
    m, _ = attempt(word, address, **SPLIT)
    assert (m.csrs.mcause, m.csrs.mtval) == (7 if stores else 5, address)


ATOMICS = {"lr.w": 2, "sc.w": 3, "amoswap.w": 1, "amoadd.w": 0, "amoxor.w": 4, "amoand.w": 12, "amoor.w": 8,
           "amomin.w": 16, "amomax.w": 20, "amominu.w": 24, "amomaxu.w": 28}  # fmt: skip


@pytest.mark.parametrize("options", [SPLIT, TRAPS])
@pytest.mark.parametrize("name", ATOMICS)
@pytest.mark.parametrize("address", [DATA + 1, DATA + 2, DATA + 3, RAM_END - 1, 0x4000_0002])
def test_misaligned_atomics_always_trap(name: str, address: int, options: dict[str, Any]) -> None:
    """Whatever the core does with loads, and wherever the address is."""
    word = r_type(0x2F, 2, ATOMICS[name] << 2, A0, S1, 0 if name == "lr.w" else A0)
    m, _ = attempt(word, address, **options)
    assert (m.csrs.mcause, m.csrs.mtval) == (4 if name == "lr.w" else 6, address)
    assert (m.registers[A0], m.registers[A1], m.read_memory(DATA, len(BYTES))) == (STORED, 0, BYTES)


@settings(max_examples=60)
@given(
    offsets=st.lists(st.integers(0, 60), min_size=1, max_size=30),
    name=st.sampled_from(["lh", "lhu", "lw", "sh", "sw"]),
    bound=st.integers(1, 63),
    core=st.sampled_from(["ideal", "ibex-small"]),
)
def test_one_instruction_at_many_places(offsets: list[int], name: str, bound: int, core: str) -> None:
    """Its window moves between aligned and odd places of two symbols: values and counts are those of single bytes."""
    word, size, signed, stores = OPERATIONS[name]
    data = bytearray((37 * n + 11) % 251 for n in range(64)) + bytearray(offsets)
    body = [lb(T0, S0), addi(S1, A2, 0), add(S1, S1, T0), word, add(T1, T1, A0), addi(S0, S0, 1),
            addi(T2, T2, -1), bne(T2, ZERO, -28)]  # fmt: skip
    words = [li(S0, DATA + 64), li(A2, DATA), li(T2, len(offsets)), body]
    objects = {"a": (DATA, bound), "b": (DATA + bound, 64 - bound)}
    m = machine(*words, EXIT, core=core, image={"data": bytes(data), "objects": objects})
    m.run(6 + 8 * len(offsets))
    total, loads = 0, {"a": 0, "b": 0}
    for n in offsets:
        loads["a" if n < bound else "b"] += 1
        if stores:
            data[n : n + size] = bytes(size)
        else:
            total += int.from_bytes(data[n : n + size], "little", signed=signed)
    if not stores:
        assert m.registers[T1] == total % (1 << 32)
    assert m.read_memory(DATA, 64) == data[:64]
    result = m.result()
    found = {s.name: s.store.count if stores else s.load.count for s in result.symbols if s.name in loads}
    assert {name: found.get(name, 0) for name in loads} == loads
    splits = sum(n % 4 + size > 4 for n in offsets)
    assert m.hart.misaligned_accesses == splits
    if core == "ibex-small":
        rounds = len(offsets)
        assert m.cycles == 6 + rounds * (2 + 1 + 1 + 2 + 1 + 1 + 1 + 3) - 2 + splits
    assert len(flat(words)) == 14
