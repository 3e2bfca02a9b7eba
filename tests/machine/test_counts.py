"""Counts are exact: of whatever retired, nothing more, however the machine cut the program into blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from rvsim.machine import Machine
from rvsim.machine.result import Count, RunResult
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A3,
    A7,
    BASE,
    C_NOP,
    DATA,
    EXIT,
    ILLEGAL,
    MCAUSE,
    MEPC,
    MRET,
    MTVEC,
    NOP,
    RA,
    RAM_END,
    SP,
    T0,
    T1,
    T2,
    ZERO,
    add,
    addi,
    auipc,
    beq,
    bne,
    c_addi,
    code,
    csrrs,
    csrrw,
    flat,
    jal,
    jalr,
    lb,
    lh,
    li,
    lui,
    lw,
    machine,
    muldiv,
    sb,
    sh,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")


class Counts(NamedTuple):
    """What a run counted: (count, bytes) of accesses."""

    instructions: int
    classes: dict[str, int]
    fetch: tuple[int, int]
    taken: int = 0
    load: tuple[int, int] = (0, 0)
    store: tuple[int, int] = (0, 0)


def count(result: RunResult) -> Counts:
    fetch, load, store = ((c.count, c.bytes) for c in (getattr(result.traffic["total"], k) for k in KINDS))
    return Counts(result.instructions, result.classes, fetch, result.taken_branches, load, store)


KINDS = ("fetch", "load", "store")


def symbols(result: RunResult) -> dict[str, tuple[int, int, int, int]]:
    """Load count and bytes, store count and bytes by name."""
    return {s.name: (s.load.count, s.load.bytes, s.store.count, s.store.bytes) for s in result.symbols}


def add_up(result: RunResult) -> None:
    """Every sum that a document promises."""
    total = result.traffic["total"]
    assert sum(result.classes.values()) == result.instructions == total.fetch.count
    assert sum(each.instructions for each in result.functions) == result.instructions
    assert sum(each.cycles for each in result.functions) == result.cycles
    for name, region in result.traffic.items():
        if name != "total":
            own = [s for s in result.symbols if s.region == name]
            assert sum((s.load for s in own), Count()) == region.load
            assert sum((s.store for s in own), Count()) == region.store


DATA_AT_A1 = lui(A1, DATA >> 12)
FAR_OUTSIDE = lui(A2, 0x40000)

PROGRAMS: dict[str, tuple[list[Any], Counts]] = {
    "straight": (
        [addi(A0, ZERO, 7), EXIT],
        Counts(3, {"alu": 2, "system": 1}, fetch=(3, 12)),
    ),
    # 1 + 3 * 2 + 2, the branch taken twice
    "loop": (
        [addi(T0, ZERO, 3), addi(T0, T0, -1), bne(T0, ZERO, -4), EXIT],
        Counts(9, {"alu": 5, "branch": 3, "system": 1}, taken=2, fetch=(9, 36)),
    ),
    # two 16-bit instructions a round: 4 + 3 * (2 + 2 + 4) + 8 bytes
    "compressed loop": (
        [addi(T0, ZERO, 3), C_NOP, c_addi(T0, -1), bne(T0, ZERO, -4), EXIT],
        Counts(12, {"alu": 8, "branch": 3, "system": 1}, taken=2, fetch=(12, 36)),
    ),
    # jal to the beq (not taken), jalr back to EXIT behind the jal
    "call and return": (
        [jal(RA, 12), EXIT, beq(ZERO, RA, 8), jalr(ZERO, RA)],
        Counts(5, {"alu": 1, "branch": 1, "jump": 2, "system": 1}, fetch=(5, 20)),
    ),
    "accesses": (
        [DATA_AT_A1, lb(T0, A1), lh(T0, A1, 2), lw(T0, A1, 4), lw(T0, A1, 8), sb(T0, A1), sh(T0, A1, 2), sw(T0, A1, 4),
         EXIT],
        Counts(10, {"alu": 2, "load": 4, "store": 3, "system": 1}, fetch=(10, 40), load=(4, 11), store=(3, 7)),
    ),
    # a misaligned access counts as one access of its size
    "misaligned": (
        [DATA_AT_A1, lw(T0, A1, 1), lh(T0, A1, 3), sw(T0, A1, 2), sh(T0, A1, 5), EXIT],
        Counts(7, {"alu": 2, "load": 2, "store": 2, "system": 1}, fetch=(7, 28), load=(2, 6), store=(2, 6)),
    ),
    "left by a load's fault": (
        [DATA_AT_A1, FAR_OUTSIDE, lw(T0, A1), lw(T0, A2), lw(T0, A1), EXIT],
        Counts(3, {"alu": 2, "load": 1}, fetch=(3, 12), load=(1, 4)),
    ),
    "left by a store's fault": (
        [DATA_AT_A1, FAR_OUTSIDE, sw(T0, A1), sw(T0, A2), sw(T0, A1), EXIT],
        Counts(3, {"alu": 2, "store": 1}, fetch=(3, 12), store=(1, 4)),
    ),
    "left by an illegal word": (
        [NOP, NOP, ILLEGAL, NOP, EXIT],
        Counts(2, {"alu": 2}, fetch=(2, 8)),
    ),
    # The third round's load leaves memory, in the middle of a block that ran twice to its end: 3 + 2 * 4 + 1.
    "fault in a later round": (
        [lui(A1, RAM_END >> 12), addi(A1, A1, -8), NOP,
         addi(T0, T0, 1), lw(T1, A1), addi(A1, A1, 4), jal(ZERO, -12)],
        Counts(12, {"alu": 8, "jump": 2, "load": 2}, fetch=(12, 48), load=(2, 8)),
    ),
    "multiply and divide": (
        [muldiv(0, A0, T0, T1), muldiv(1, A0, T0, T1), muldiv(3, A0, T0, T1), muldiv(4, A0, T0, T1),
         muldiv(7, A0, T0, T1), EXIT],
        Counts(7, {"alu": 1, "divide": 2, "multiply": 1, "multiply-high": 2, "system": 1}, fetch=(7, 28)),
    ),
    "csr and fences": (
        [csrrs(A1, MEPC), csrrw(ZERO, MEPC, A1), 0x0FF0_000F, 0x0000_100F, EXIT],
        Counts(6, {"alu": 1, "csr": 2, "fence": 1, "fence-i": 1, "system": 1}, fetch=(6, 24)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_count_exactly(name: str, core: str) -> None:
    words, expected = PROGRAMS[name]
    result = machine(*words, core=core, image={"data": bytes(16)}).run()
    assert count(result) == expected
    add_up(result)
    if core == "ideal":
        assert result.cycles == result.instructions


@pytest.mark.parametrize("length", [1, 62, 63, 64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize("rounds", [1, 3])
def test_blocks_cut_at_64_instructions(length: int, rounds: int) -> None:
    body = [addi(A0, A0, 1) for _ in range(length)]
    result = machine(
        addi(T0, ZERO, rounds), body, addi(T0, T0, -1), bne(T0, ZERO, -4 * (length + 1)), addi(A0, A0, -200), EXIT
    ).run()
    assert result.instructions == 4 + rounds * (length + 2)
    assert result.classes == {"alu": 3 + rounds * (length + 1), "branch": rounds, "system": 1}
    assert result.taken_branches == rounds - 1
    assert result.exit_code == (rounds * length - 200) & 0xFF
    add_up(result)


# -------------------------------------------------------------------------------------------------------------- limits

HANDLER = [
    # mepc += 4 over whatever trapped
    csrrs(T2, MEPC), addi(T2, T2, 4), csrrw(ZERO, MEPC, T2), MRET,
]  # fmt: skip

# Loads, stores, a loop, a call, a fault that the handler skips, a store into code ahead, a split access, divisions.
MIXED: list[Any] = [
    jal(ZERO, 4 + 16),
    HANDLER,
    lui(T0, BASE >> 12), addi(T0, T0, 4), csrrw(ZERO, MTVEC, T0),
    DATA_AT_A1, FAR_OUTSIDE,
    addi(A0, ZERO, 3),
    # round: patch the addi below with its own word
    lui(T0, BASE >> 12), lw(T1, T0, 4 * 18), sw(T1, T0, 4 * 18), addi(A3, A3, 1),
    sw(A0, A1), sw(A0, A1, 20), lw(T1, A1, 2), addi(A0, A0, -1),
    muldiv(4, T1, T1, A0),
    lw(T1, A2),
    addi(A3, A3, 100),
    bne(A0, ZERO, -52),
    jal(RA, 12), jal(ZERO, 16), NOP,
    C_NOP, jalr(ZERO, RA), C_NOP,
    addi(A0, A3, 0), lui(A1, DATA >> 12),
]  # fmt: skip


def state(m: Machine, result: RunResult) -> dict[str, Any]:
    return {
        **count(result)._asdict(), "cycles": result.cycles, "symbols": symbols(result),
        "pc": m.pc, "registers": m.registers,
        "data": m.read_memory(DATA, 32), "functions": {f.name: (f.instructions, f.cycles) for f in result.functions},
    }  # fmt: skip


IMAGE: dict[str, Any] = {
    "data": bytes(range(32)),
    "objects": {"first": (DATA, 4), "second": (DATA + 16, 16)},
    "functions": {"handler": (BASE + 4, 16), "body": (BASE + 20, 4 * 22)},
}


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
def test_every_limit_is_exact(core: str) -> None:
    whole = machine(*MIXED, core=core, image=IMAGE)
    end = whole.run(200)
    assert end.stop_reason == "limit", end.message
    stepping = machine(*MIXED, core=core, image=IMAGE)
    states = [state(stepping, stepping.run(0))]
    for n in range(1, 121):
        result = stepping.run(1)
        assert result.instructions == n
        states.append(state(stepping, result))
        assert states[-1]["cycles"] >= states[-2]["cycles"]
        add_up(result)
    for n in range(121):
        fresh = machine(*MIXED, core=core, image=IMAGE)
        result = fresh.run(n)
        assert (result.stop_reason, result.instructions) == ("limit", n)
        assert state(fresh, result) == states[n], f"at the limit {n}"
    # And stopping anywhere changes nothing of what follows.
    for n in range(0, 121, 7):
        twice = machine(*MIXED, core=core, image=IMAGE)
        twice.run(n)
        assert state(twice, twice.run(120 - n)) == states[120]


def test_limits_follow_the_program() -> None:
    words = [addi(A0, ZERO, 2), NOP, addi(A0, A0, -1), bne(A0, ZERO, -8), EXIT]
    pcs = [0, 4, 8, 12, 4, 8, 12, 16, 20]
    for limit, offset in enumerate(pcs):
        m = machine(*words)
        result = m.run(limit)
        assert (m.pc, result.stop_reason) == (BASE + offset, "limit")
    assert machine(*words).run(len(pcs)).stop_reason == "exit"


# ------------------------------------------------------------------------------------------------------ modified code

ADDI_A0_1, ADDI_A0_5 = addi(A0, A0, 1), addi(A0, A0, 5)


def _patch(offset: int, word: int) -> list[int]:
    """Store an instruction at BASE + offset: 4 instructions."""
    return [lui(T0, BASE >> 12), *li(T1, word), sw(T1, T0, offset)]


@pytest.mark.parametrize(
    ("words", "exit_code", "instructions"),
    [
        # the instruction right behind the store
        ([_patch(16, ADDI_A0_5), ADDI_A0_1, EXIT], 5, 7),
        # further on in the same block
        ([_patch(24, ADDI_A0_5), ADDI_A0_1, ADDI_A0_1, ADDI_A0_1, EXIT], 7, 9),
        # the store itself, and what lies before it: no effect any more
        ([_patch(12, ADDI_A0_5), ADDI_A0_1, EXIT], 1, 7),
        ([ADDI_A0_1, _patch(0, ADDI_A0_5), EXIT], 1, 7),
        # an earlier block, which then runs again: 1, then 5
        ([jal(ZERO, 4), ADDI_A0_1, bne(T2, ZERO, 28), addi(T2, ZERO, 1), _patch(4, ADDI_A0_5), jal(ZERO, -28), EXIT],
         6, 13),
        # a branch made to fall through
        ([_patch(16, NOP), jal(ZERO, 0), addi(A0, ZERO, 9), EXIT], 9, 8),
        # 32 bits over two 16-bit instructions
        ([_patch(16, ADDI_A0_5), C_NOP, C_NOP, EXIT], 5, 7),
        # the upper halfword alone: addi a0, a0, 1 becomes addi a0, a0, 0x21
        ([lui(T0, BASE >> 12), addi(T1, ZERO, 0x215), sh(T1, T0, 14), addi(A0, A0, 1), EXIT], 0x21, 6),
        # what is patched has never run
        ([_patch(24, ADDI_A0_5), jal(ZERO, 8), EBREAK := 0x0010_0073, ILLEGAL, EXIT], 5, 8),
    ],
)  # fmt: skip
def test_stores_into_code(words: list[Any], exit_code: int, instructions: int) -> None:
    for limit_first in (0, 5):
        m = machine(*words)
        if limit_first:
            m.run(limit_first)
        result = m.run()
        assert (result.exit_code, result.instructions) == (exit_code, instructions), result.message
        add_up(result)


def _self_patching(rounds: int) -> list[Any]:
    """Each round adds 1 to the immediate of the `addi a0, zero, n` behind it."""
    return [
        *li(T2, rounds), *li(A2, 1 << 20), lui(T0, BASE >> 12),
        lw(T1, T0, 32), add(T1, T1, A2), sw(T1, T0, 32), addi(A0, ZERO, 0),
        addi(T2, T2, -1), bne(T2, ZERO, -20), EXIT,
    ]  # fmt: skip


def test_a_loop_that_patches_itself() -> None:
    result = machine(_self_patching(100)).run()
    assert result.exit_code == 100
    assert count(result) == Counts(
        607,
        {"alu": 306, "branch": 100, "load": 100, "store": 100, "system": 1},
        (607, 2428),
        99,
        (100, 400),
        (100, 400),
    )
    add_up(result)


def test_memory_stays_bounded_when_code_is_rewritten_for_long() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    m = machine(_self_patching(60_000))
    if m.engine == "jit":
        pytest.skip("compiled code has one memory of a given size")
    m.run(5 + 6 * 10_000)
    before = resident()
    result = m.run()
    # A block that stayed would take some 500 bytes, 25 MB in all.
    assert resident() - before < 4 << 20
    assert result.instructions == 5 + 6 * 60_000 + 2
    assert len(m.hart.profile()) <= 16
    add_up(result)


def test_a_branch_target_that_is_rewritten_to_another_size() -> None:
    # The jump at 8 goes to 14: three times to a 32-bit instruction (one cycle more), then to two 16-bit ones.
    words = [
        lui(T0, BASE >> 12), addi(A0, ZERO, 3),  # 2 cycles
        jal(ZERO, 6), C_NOP, addi(A3, A3, 1), addi(A0, A0, -1), bne(A0, ZERO, -14),  # 3 * (3 + 2) + 3 + 3 + 1 = 22
        bne(T2, ZERO, 30),  # 1
        addi(T2, ZERO, 1), lui(T1, 0x10), addi(T1, T1, 1), sw(T1, T0, 14),  # 3 + 3
        addi(A0, ZERO, 3), jal(ZERO, -42),  # 3
        # again: 3 * (2 + 3) + 7 = 22, then 3
        C_NOP, EXIT,  # 4
    ]  # fmt: skip
    result = machine(*words, core="ibex-small").run()
    assert (result.stop_reason, result.cycles) == ("exit", 2 + 22 + 1 + 9 + 22 + 3 + 4)
    add_up(result)


@pytest.mark.parametrize("last", [ILLEGAL, lw(T0, A2)])
def test_cycles_of_blocks_that_never_came_to_their_end(last: int) -> None:
    # Four ALU instructions, a jump to a straddling instruction, a split load, then a trap, which ends the run.
    words = [auipc(T0, 0), addi(T0, T0, 18), DATA_AT_A1, FAR_OUTSIDE]
    result = machine(
        *words, jalr(ZERO, T0, 4), C_NOP, lw(T1, A1, 2), last, EXIT, core="ibex-small", image={"data": bytes(8)}
    ).run()
    assert (result.instructions, result.cycles) == (6, 4 + 2 + 1 + 2 + 1), result.message
    add_up(result)


@pytest.mark.parametrize("where", [BASE + 0x10000, BASE + 0x800, DATA])
def test_a_program_that_writes_functions_and_runs_them(where: int) -> None:
    # A subroutine stores two instructions, addi a0, a0, n and a return. They run before it stores others there.
    jump_back = jalr(ZERO, T1)
    write = [sw(A1, T0), sw(A2, T0, 4), jalr(ZERO, RA)]
    main: list[int] = flat([li(T0, where), li(A2, jump_back)])
    for n in (5, 9, 5, 100):
        main += flat([li(A1, addi(A0, A0, n)), jal(RA, -4 * (len(main) + 2) - 12), jalr(T1, T0)])
    result = machine(jal(ZERO, 16), write, main, EXIT, image={"data": bytes(8)}).run()
    assert result.exit_code == 119
    assert result.instructions == 1 + 4 + 4 * (4 + 3 + 2) + 2
    total = result.traffic["total"]
    assert (total.store.count, total.store.bytes, total.load.count) == (8, 32, 0)
    add_up(result)


def test_an_access_that_leaves_its_window_and_comes_back() -> None:
    # The same load, over and over: inside a, misaligned, inside a, beyond it, inside a, all counted where they begin.
    offsets = [0, 0, 1, 0, 4, 0, 0, 2, 8, 0]
    setup = [DATA_AT_A1, addi(A2, A1, 64), addi(T2, ZERO, len(offsets))]
    loop = [lb(T0, A2), add(T0, T0, A1), lw(T1, T0), addi(A2, A2, 1), addi(T2, T2, -1), bne(T2, ZERO, -20)]
    image = {
        "data": bytes(64) + bytes(offsets),
        "objects": {"a": (DATA, 4), "b": (DATA + 4, 8), "offsets": (DATA + 64, 10)},
    }
    result = machine(setup, loop, EXIT, core="ibex-small", image=image).run()
    assert symbols(result) == {"a": (8, 32, 0, 0), "b": (2, 8, 0, 0), "offsets": (10, 10, 0, 0)}
    # 3 of setup; a round of 2 + 1 + 2 + 1 + 1 + 3; two split accesses; the last branch not taken; 1 + 3 to leave
    assert result.cycles == 3 + 10 * 10 + 2 - 2 + 4
    add_up(result)


def test_cycles_of_a_jump_to_what_is_no_instruction() -> None:
    # The jump to a 32-bit word at a halfword boundary takes its straddle cycle, though nothing retires there.
    result = machine(auipc(T0, 0), jalr(ZERO, T0, 10), C_NOP, ILLEGAL, core="ibex-small").run()
    assert (result.stop_reason, result.instructions, result.cycles) == ("illegal-instruction", 2, 1 + 2 + 1)
    assert result.classes == {"alu": 1, "jump": 1}
    add_up(result)


def test_stores_beside_code_in_its_page() -> None:
    # Data 8 bytes behind the code, one granule with it, and 64 bytes further on.
    words = flat(
        [lui(A1, BASE >> 12), addi(T0, ZERO, 50), sw(T0, A1, 64), sw(T0, A1, 128), sb(T0, A1, 70), lw(A0, A1, 64),
         addi(T0, T0, -1), bne(T0, ZERO, -20), EXIT]
    )  # fmt: skip
    text = code(words).ljust(64, b"\0") + bytes(128)
    from rvsim.machine.elf import parse_elf
    from tests.machine.guest import elf

    objects = {"near": (BASE + 64, 16), "far": (BASE + 128, 4)}
    result = Machine(parse_elf(elf(text, objects=objects)), core="ideal").run()
    assert result.exit_code == 1
    assert result.instructions == 2 + 6 * 50 + 2
    assert symbols(result) == {"near": (50, 200, 100, 250), "far": (0, 0, 50, 200)}
    add_up(result)


# ------------------------------------------------------------------------------------------------------- data symbols

OBJECTS = {"a": (DATA, 4), "b": (DATA + 4, 4), "bytes": (DATA + 11, 3), "far": (DATA + 0x100, 8)}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([lw(T0, A1), lw(T0, A1, 4)], {"a": (1, 4, 0, 0), "b": (1, 4, 0, 0)}),
        # an access belongs to where it begins
        ([lw(T0, A1, 2), sh(T0, A1, 3)], {"a": (1, 4, 1, 2)}),
        ([lw(T0, A1, 8)], {".data": (1, 4, 0, 0)}),
        # gaps: between objects of a section it is the section's, two gaps are two ranges
        ([lb(T0, A1, 8), lb(T0, A1, 11), lb(T0, A1, 13), lb(T0, A1, 14)],
         {"bytes": (2, 2, 0, 0), ".data": (1, 1, 0, 0)}),
        ([lw(T0, A1, 0x104), sw(T0, A1, 0x104), lb(T0, A1, 0x107)], {"far": (2, 5, 1, 4)}),
        ([lw(T0, SP, 0), sw(T0, SP, -4)], {"(stack)": (1, 4, 1, 4)}),
        ([lui(A2, (DATA >> 12) + 1), lw(T0, A2)], {"(stack)": (1, 4, 0, 0)}),
        ([lui(A2, BASE >> 12), lw(T0, A2)], {".text": (1, 4, 0, 0)}),
    ],
)  # fmt: skip
def test_accesses_are_counted_by_symbol(body: list[Any], expected: dict[str, Any]) -> None:
    result = machine(DATA_AT_A1, body, EXIT, image={"data": bytes(0x108), "objects": OBJECTS}).run()
    found: dict[str, tuple[int, ...]] = {}
    for name in {s.name for s in result.symbols}:
        own = [s for s in result.symbols if s.name == name]
        found[name] = (sum(s.load.count for s in own), sum(s.load.bytes for s in own),
                       sum(s.store.count for s in own), sum(s.store.bytes for s in own))  # fmt: skip
    gaps = sum(lb(T0, A1, n) in flat(body) for n in (8, 14))
    if gaps:
        assert [s.load.count for s in result.symbols if s.name == ".data"] == [1] * gaps
        found[".data"] = (1, 1, 0, 0)
    assert found == expected
    add_up(result)


def test_one_load_and_one_store_alternate_between_symbols() -> None:
    # a1 walks over a, b, the gap, bytes and the gap behind, four times: 4 * 16 bytes
    words = [
        addi(A3, ZERO, 4),
        DATA_AT_A1, addi(T2, ZERO, 16),
        lb(T0, A1), sb(T0, A1), addi(A1, A1, 1), addi(T2, T2, -1), bne(T2, ZERO, -16),
        addi(A3, A3, -1), bne(A3, ZERO, -32), EXIT,
    ]  # fmt: skip
    result = machine(
        *words, image={"data": bytes(16), "objects": {k: v for k, v in OBJECTS.items() if k != "far"}}
    ).run()
    assert result.instructions == 1 + 4 * (2 + 16 * 5 + 2) + 2
    by_address = {(s.address - DATA, s.size): (s.load.count, s.store.count) for s in result.symbols}
    assert by_address == {(0, 4): (16, 16), (4, 4): (16, 16), (8, 3): (12, 12), (11, 3): (12, 12), (14, 2): (8, 8)}
    add_up(result)


def test_a_window_gives_back_what_the_fault_did_not_do() -> None:
    # Ten loads of a, then the same load faults: ten are counted.
    words = [
        DATA_AT_A1, addi(T2, ZERO, 10), addi(A2, A1, 0),
        lw(T0, A2), addi(T2, T2, -1), bne(T2, ZERO, -8), lui(A2, 0x40000), addi(T2, ZERO, 1), jal(ZERO, -20),
    ]  # fmt: skip
    result = machine(*words, image={"data": bytes(4), "objects": {"a": (DATA, 4)}}).run()
    assert (result.stop_reason, result.instructions) == ("access-fault", 3 + 30 + 3)
    assert symbols(result) == {"a": (10, 40, 0, 0)}
    add_up(result)


# ----------------------------------------------------------------------------------------------------------- functions


@pytest.mark.parametrize(
    ("core", "cycles"),
    [
        ("ideal", {"main": 6, "leaf": 2, "handler": 4, "(no function)": 1}),
        ("ibex-small", {"main": 13, "leaf": 3, "handler": 6, "(no function)": 2}),
    ],
)
def test_cycles_by_function(core: str, cycles: dict[str, int]) -> None:
    words = [
        jal(ZERO, 4 + 16),  # (no function): 2
        HANDLER,  # csrr 1, addi 1, csrw mepc 1, mret 3
        lui(T0, BASE >> 12), addi(T0, T0, 4), csrrw(ZERO, MTVEC, T0),  # main: 1 + 1 + 3
        FAR_OUTSIDE, lw(T1, A2),  # 1; the load does not retire, its trap takes 3
        jal(RA, 8), jal(ZERO, 12),  # 2, and 2 after the return
        NOP, jalr(ZERO, RA),  # leaf: 1 + 2
        NOP,
    ]  # fmt: skip
    functions = {"handler": (BASE + 4, 16), "main": (BASE + 20, 28), "leaf": (BASE + 48, 8)}
    result = machine(*words, core=core, image={"functions": functions}).run(13)
    assert (result.stop_reason, result.instructions) == ("limit", 13), result.message
    assert {f.name: f.cycles for f in result.functions} == cycles
    add_up(result)


def test_exit_code_and_a7_are_the_last_words() -> None:
    # The ecall that ends the program retires and is counted.
    result = machine(addi(A0, ZERO, 3), addi(A7, ZERO, 93), 0x73, NOP).run()
    assert (result.exit_code, result.instructions, result.cycles) == (3, 3, 3)
    assert csrrs(A0, MCAUSE) & 0x7F == 0x73
