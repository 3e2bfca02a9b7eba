"""Physical memory protection: which accesses of machine mode its entries stop, and what the lock keeps.

The model here is section 3.7 of Privileged Architecture 20240411, byte by byte. Entries have whole words
(G is 0), and what leaves an aligned word is two accesses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    BASE,
    MTVEC,
    NOP,
    RA,
    S0,
    S1,
    T0,
    T1,
    T2,
    ZERO,
    addi,
    bne,
    code,
    csrrs,
    csrrw,
    csrrwi,
    flat,
    i_type,
    jal,
    jalr,
    lb,
    lh,
    li,
    lw,
    machine,
    r_type,
    sb,
    sh,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")

CFG, ADDRESS = 0x3A0, 0x3B0
R, W, X, TOR, NA4, NAPOT, L = 1, 2, 4, 1 << 3, 2 << 3, 3 << 3, 1 << 7
AREA = BASE + 0x8000
HANDLER = BASE + 0x4000
ALL = 0xFFFF_FFFF
C_RETURN, RETURN = 0x8082, jalr(ZERO, RA)


class Entry(NamedTuple):
    """pmpaddr, as an address (bits 1:0 are cut), and the byte of pmpcfg."""

    address: int
    cfg: int


def napot(base: int, size: int) -> int:
    """The address that stands for `size` bytes, a power of two from 8, in pmpaddr shifted left by two."""
    return base | (size // 2 - 1) & ~3


def protect(entries: list[Entry]) -> list[Any]:
    """Instructions that write the entries: addresses first."""
    words: list[Any] = [[li(T0, e.address >> 2), csrrw(ZERO, ADDRESS + n, T0)] for n, e in enumerate(entries)]
    cfg = bytes(e.cfg for e in entries).ljust(16, b"\0")
    for n in range((len(entries) + 3) // 4):
        words += [li(T0, int.from_bytes(cfg[4 * n : 4 * n + 4], "little")), csrrw(ZERO, CFG + n, T0)]
    return words


def matches(entries: list[Entry], n: int, byte: int) -> bool:
    address, mode = entries[n].address & ~3, entries[n].cfg & 3 << 3
    if mode == TOR:
        return (entries[n - 1].address & ~3 if n else 0) <= byte < address
    if mode == NA4:
        return address <= byte < address + 4
    if mode == NAPOT:
        ones, at = 0, address >> 2
        while at >> ones & 1:
            ones += 1
        return byte >> 3 + ones == address >> 3 + ones
    return False


def permits(entries: list[Entry], byte: int, kind: int) -> bool:
    for n, entry in enumerate(entries):
        if matches(entries, n, byte):
            # Write without read is reserved; here it is neither.
            cfg = entry.cfg & ~(0 if entry.cfg & R else W)
            return not cfg & L or bool(cfg & kind)
    return True


@pytest.fixture(scope="module")
def board() -> Machine:
    return machine(NOP)


def run_on(m: Machine, *words: Any) -> Machine:
    """Run the words to their end, or to the first instruction of the handler."""
    m.reset()
    m.write_memory(BASE, code(li(T1, HANDLER), csrrw(ZERO, MTVEC, T1), *words))
    m.write_memory(HANDLER, code(addi(A1, ZERO, 1), jal(ZERO, 0)))
    m.run(3 + len(flat(words)))
    return m


ACCESSES = {
    R: [(lb(A0, S1), 1), (lh(A0, S1), 2), (lw(A0, S1), 4), (i_type(3, 4, A0, S1, 0), 1), (i_type(3, 5, A0, S1, 0), 2)],
    W: [(sb(A0, S1), 1), (sh(A0, S1), 2), (sw(A0, S1), 4)],
    X: [(jalr(RA, S1), 2), (jalr(RA, S1), 4)],
}
CAUSE = {R: 5, W: 7, X: 1}


def check(m: Machine, entries: list[Entry], kind: int, which: int, at: int) -> None:
    """One access behind the entries' setup: it comes through, or traps as the model says."""
    word, size = ACCESSES[kind][which % len(ACCESSES[kind])]
    if kind == X:
        at &= ~1
    setup = flat([li(S1, at), protect(entries)])
    m.reset()
    m.write_memory(BASE, code(li(T1, HANDLER), csrrw(ZERO, MTVEC, T1), setup, word, NOP))
    m.write_memory(HANDLER, code(jal(ZERO, 0)))
    m.write_memory(at, code(C_RETURN if size == 2 else RETURN) if kind == X else b"\xa5" * size)
    pc = BASE + 4 * (3 + len(setup))
    m.run(3 + len(setup))
    assert m.pc == pc
    stop = m.resume(3 if kind == X else 2)
    assert stop.reason == "limit", stop.message
    refused = next((byte for byte in range(at, at + size) if not permits(entries, byte, kind)), None)
    if refused is None:
        assert m.pc == pc + 8
    else:
        assert m.csrs.mcause == CAUSE[kind]
        # A fetch stops at its first half, or at its second.
        assert m.csrs.mtval == refused
        assert m.csrs.mepc == (at if kind == X else pc)
        assert m.registers[A0] == 0
        assert m.read_memory(at, size) == (code(C_RETURN if size == 2 else RETURN) if kind == X else b"\xa5" * size)


addresses = st.integers(0, 15).map(lambda n: AREA + 4 * n)
regions = st.one_of(
    st.tuples(addresses, st.sampled_from([0, TOR, NA4])),
    st.tuples(
        st.builds(lambda n, size: napot(AREA + n * size, size), st.integers(0, 7), st.sampled_from([8, 16, 32])),
        st.just(NAPOT),
    ),
)
entries_ = st.lists(
    st.builds(lambda region, rwx, lock: Entry(region[0], region[1] | rwx | lock), regions, st.integers(0, 7),
              st.sampled_from([0, L, L])),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=400)
@given(entries=entries_, kind=st.sampled_from([R, W, X]), which=st.integers(0, 4), at=st.integers(0, 64))
# the second half of an instruction is forbidden; a misaligned word whose second half is; unlocked in front of locked
@example([Entry(AREA + 4, NA4 | L | R)], X, 1, 2)
@example([Entry(AREA + 4, NA4 | L | X)], R, 2, 2)
@example([Entry(AREA + 4, NA4), Entry(napot(AREA, 64), NAPOT | L)], W, 2, 4)
@example([Entry(AREA + 4, NA4), Entry(napot(AREA, 64), NAPOT | L)], W, 2, 6)
@example([Entry(AREA + 4, TOR), Entry(AREA, TOR | L), Entry(AREA + 8, TOR | L)], R, 2, 4)
def test_accesses_against_the_model(board: Machine, entries: list[Entry], kind: int, which: int, at: int) -> None:
    # The first entry is the bottom of a range in the second: nothing reaches down to the program.
    check(board, [Entry(AREA - 64, 0), *entries], kind, which, AREA + at)


@pytest.mark.parametrize("kind", [R, W, X])
@pytest.mark.parametrize("allowed", [0, R, R | W, X, R | X, R | W | X])
def test_each_permission_has_its_cause(board: Machine, kind: int, allowed: int) -> None:
    for which in range(len(ACCESSES[kind])):
        check(board, [Entry(napot(AREA, 4096), NAPOT | L | allowed)], kind, which, AREA + 16)


@pytest.mark.parametrize("n", [0, 3, 4, 15])
def test_all_sixteen_entries_work_and_the_first_decides(board: Machine, n: int) -> None:
    """Entry n forbids writes, those behind it everything: the load passes, the store does not."""
    entries = [Entry(0, 0)] * n + [Entry(AREA, NA4 | L | R)] + [Entry(napot(AREA, 8), NAPOT | L)] * (15 - n)
    check(board, entries, R, 2, AREA)
    check(board, entries, W, 2, AREA)
    check(board, entries, R, 2, AREA + 4)


def test_the_whole_address_space_in_one_entry(board: Machine) -> None:
    for cfg in (R | W | X, R | X):
        entries = [Entry(ALL << 2, NAPOT | L | cfg)]
        check(board, entries, R, 2, AREA)
        check(board, entries, W, 2, AREA)
        check(board, entries, X, 1, AREA)
    # A top of range beyond 4 GiB
    check(board, [Entry(ALL << 2, TOR | L | R | X)], W, 2, AREA)


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        (r_type(0x2F, 2, 2 << 2, A0, S1), 5),  # lr.w
        (r_type(0x2F, 2, 3 << 2, A0, S1), 7),  # sc.w, though without reservation
        (r_type(0x2F, 2, 0, A0, S1), 7),  # amoadd.w
    ],
)
@pytest.mark.parametrize("allowed", [0, R, R | W])
def test_atomics(word: int, cause: int, allowed: int) -> None:
    m = machine(NOP, isa="rv32imac")
    setup = flat([li(S1, AREA), protect([Entry(AREA, NA4 | L | allowed)])])
    run_on(m, setup, word)
    passes = allowed & (W if cause == 7 else R)
    assert (m.csrs.mcause, m.csrs.mtval, m.registers[A1]) == ((0, 0, 0) if passes else (cause, AREA, 1))


# --------------------------------------------------------------------------------------------------------------- locks


@pytest.mark.parametrize(
    ("cfg", "kept"),
    [
        # cfg of entries 0 to 3, then which of pmpaddr0 to pmpaddr3 stay
        ([0, 0, 0, 0], []),
        ([NA4, NAPOT, TOR, NA4], []),
        ([0, NA4 | L, 0, 0], [1]),
        ([0, NAPOT | L | R, 0, 0], [1]),
        ([0, TOR | L | R, 0, 0], [0, 1]),
        ([0, L, TOR, 0], [1]),  # locked though off
        ([TOR | L | R | W | X, 0, 0, TOR | L], [0, 2, 3]),
        ([0, TOR | L, TOR | L, TOR], [0, 1, 2]),
    ],
)
def test_locked_entries_stay(board: Machine, cfg: list[int], kept: list[int]) -> None:
    """Neither their configuration nor their address changes; a locked top of range keeps its bottom too."""
    entries = [Entry(AREA + 16 * n, c) for n, c in enumerate(cfg)]
    again = [[li(T0, 0x1234 + n), csrrw(ZERO, ADDRESS + n, T0)] for n in range(4)]
    m = run_on(board, protect(entries), again, csrrwi(ZERO, CFG, 0), li(T0, ALL), csrrw(ZERO, CFG + 1, ZERO))
    found = [m.csrs.read(ADDRESS + n) for n in range(4)]
    assert found == [(AREA + 16 * n) >> 2 if n in kept else 0x1234 + n for n in range(4)]
    assert m.csrs.read(CFG).to_bytes(4, "little") == bytes(c if c & L else 0 for c in cfg)


def test_a_lock_in_the_next_register_keeps_the_address_below(board: Machine) -> None:
    entries = [Entry(0, 0)] * 3 + [Entry(AREA, 0), Entry(AREA + 4, TOR | L)]
    m = run_on(board, protect(entries), csrrwi(ZERO, ADDRESS + 3, 1), csrrwi(ZERO, CFG, 0), csrrwi(ZERO, CFG + 1, 0))
    assert (m.csrs.read(ADDRESS + 3), m.csrs.read(CFG + 1)) == (AREA >> 2, TOR | L)


def test_reset_unlocks(board: Machine) -> None:
    m = run_on(board, li(S1, AREA), protect([Entry(AREA, NA4 | L)]), lw(A0, S1))
    assert m.csrs.mcause == 5
    m = run_on(board, li(S1, AREA), lw(A0, S1))
    assert (m.csrs.mcause, m.csrs.read(CFG), m.csrs.read(ADDRESS)) == (0, 0, 0)


# ------------------------------------------------------------------------------------------- rules made while it runs


@pytest.mark.parametrize("kind", [R, W])
def test_a_rule_binds_the_next_instruction_of_a_running_loop(board: Machine, kind: int) -> None:
    """The access has run through its window twice; the third turn locks its word, and a new one unlocks nothing."""
    access = lw(A0, S1) if kind == R else sw(A1, S1)
    loop = [csrrw(ZERO, CFG, T2), access, csrrs(T2, 0x340), addi(S0, S0, -1), bne(S0, ZERO, -16)]
    words: list[Any] = [li(S1, AREA), li(T0, AREA >> 2), csrrw(ZERO, ADDRESS, T0), addi(S0, ZERO, 2), loop]
    # The second round takes the cfg of mscratch.
    m = run_on(board, li(T0, NA4 | L | (R if kind == W else 0)), csrrw(ZERO, 0x340, T0), words, [NOP] * 4)
    at = BASE + 4 * (3 + 3 + 6 + 1)
    assert (m.csrs.mcause, m.csrs.mepc, m.csrs.mtval) == (CAUSE[kind], at, AREA)


def test_predecoded_code_is_forbidden_too(board: Machine) -> None:
    """A function is called, then locked without X, then called again; also the very next instruction may be."""
    words: list[Any] = [li(S1, AREA), jalr(RA, S1), protect([Entry(AREA, NA4 | L | R)]), jalr(RA, S1)]
    m = board
    m.reset()
    m.write_memory(AREA, code(RETURN))
    m.write_memory(BASE, code(li(T1, HANDLER), csrrw(ZERO, MTVEC, T1), words))
    m.write_memory(HANDLER, code(jal(ZERO, 0)))
    m.run(3 + 3 + 1 + 6 + 1 + 1)
    assert (m.csrs.mcause, m.csrs.mepc, m.pc) == (1, AREA, HANDLER)
    here = BASE + 4 * (3 + 6)
    m = run_on(board, protect([Entry(here, NA4 | L)]), NOP, NOP)
    assert (m.csrs.mcause, m.csrs.mepc, m.csrs.mtval) == (1, here, here)


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
def test_what_is_permitted_counts_as_without_rules(core: str) -> None:
    """Loads, stores, misaligned ones and code beside locked regions: the same results, cycles and traffic."""
    body: list[Any] = [
        li(S1, AREA), addi(S0, ZERO, 40), sw(S0, S1), sh(S0, S1, 7), lw(T2, S1, 2), addi(A0, T2, 3), sb(A0, S1, 9),
        lb(A1, S1, 9), addi(S0, S0, -1), bne(S0, ZERO, -28),
    ]  # fmt: skip
    length = 3 + 40 * 8
    locked = [Entry(AREA, 0), Entry(AREA + 16, TOR | L | R | W), Entry(napot(AREA + 0x100, 64), NAPOT | L)]
    with_rules, without = (machine(protect([Entry(e.address, e.cfg * on) for e in locked]), body, core=core)
                           for on in (1, 0))  # fmt: skip
    setup = len(flat(protect(locked)))
    results = [m.run(setup + length) for m in (with_rules, without)]
    assert with_rules.csrs.read(CFG) and not without.csrs.read(CFG)
    assert with_rules.registers[A0 : A1 + 1] == without.registers[A0 : A1 + 1]
    assert with_rules.read_memory(AREA, 16) == without.read_memory(AREA, 16)
    first, second = results
    assert (first.cycles, first.classes, first.traffic, first.instructions) == (
        second.cycles, second.classes, second.traffic, second.instructions)  # fmt: skip


def test_a_snapshot_keeps_the_rules(board: Machine) -> None:
    m = run_on(board, li(S1, AREA), protect([Entry(AREA, NA4 | L)]), NOP)
    checkpoint = m.checkpoint()
    m.reset()
    m.rollback(checkpoint)
    m.write_memory(m.pc, code(lw(A0, S1), NOP))
    m.run(1)
    assert (m.csrs.mcause, m.csrs.mtval) == (5, AREA)
