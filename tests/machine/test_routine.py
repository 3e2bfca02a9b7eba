"""Instructions added at run time, as routines and as compiled code: all state and every count is the evaluator's."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rvsim.isa import model
from rvsim.isa.ir import Instruction
from rvsim.machine import Machine, extension
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A3,
    BASE,
    DATA,
    EXIT,
    MEPC,
    MRET,
    MTVEC,
    NOP,
    S0,
    S1,
    T0,
    ZERO,
    addi,
    auipc,
    bne,
    c_addi,
    csrrs,
    csrrw,
    flat,
    jal,
    machine,
)

ADDED = Path(__file__).with_name("added.core_desc")
INSTRUCTIONS: dict[str, Instruction] = {i.name: i for i in model.load_extension(ADDED).instructions}
# What the evaluator executes: registers of more than 64 bits.
EVALUATED = {"WIDEN"}
LOADED = functools.cache(extension.load_extension)  # parsing takes longest
ENGINES = ("evaluator", "interp", "jit")


def word(name: str, **fields: int) -> int:
    instruction = INSTRUCTIONS[name]
    return instruction.match | sum(f.insert(fields.get(f.name, 0)) for f in instruction.fields)


@contextlib.contextmanager
def executed_by(engine: str) -> Iterator[str]:
    """Have added instructions executed by the evaluator, the interpreter or code compiled before it is entered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVSIM_JIT", "128,0")
        patch.setattr(extension, "load_extension", LOADED)
        if engine == "evaluator":
            patch.setattr(extension, "MAX_ROUTINES", 0)
        yield "jit" if engine == "jit" else "interp"


def outcome(m: Machine) -> dict[str, Any]:
    """All that a run leaves."""
    result = m.result().to_dict()
    profile: Counter[tuple[int, int, str]] = Counter()
    for pc, instruction, _, n, cycles in m.hart.profile():
        profile[pc, instruction, "executed"] += n
        profile[pc, instruction, "cycles"] += cycles
    return {
        **{key: value for key, value in result.items() if key not in ("engine", "host_seconds")},
        "x": m.registers,
        "own": m.context.registers(),
        "pc": m.pc,
        "data": m.read_memory(DATA - 64, 256),
        "code": m.read_memory(BASE, 256),
        "profile": profile,
        "misaligned": m.hart.misaligned_accesses,
        "csrs": (m.csrs.mcause, m.csrs.mtval, m.csrs.mepc),
    }


def run(words: list[int], limit: int, registers: dict[int, int], engine: str, **options: Any) -> dict[str, Any]:
    with executed_by(engine) as how:
        data = bytes((37 * n + 11) & 0xFF for n in range(64))
        image = {"data": data, "objects": {"a": (DATA, 24), "b": (DATA + 24, 40)}}
        m = machine(*words, isa_ext=[str(ADDED)], image=image, engine=how, **options)
        for number, value in registers.items():
            m.hart.set_register(number, value)
        m.run(limit)
        return outcome(m)


def same(words: list[int], limit: int, registers: dict[int, int], **options: Any) -> dict[str, Any]:
    """Run on all three; what the evaluator left."""
    expected, *others = [run(words, limit, registers, engine, **options) for engine in ENGINES]
    for engine, found in zip(ENGINES[1:], others, strict=True):
        for key, value in expected.items():
            assert found[key] == value, (engine, key)
    return expected


# ---------------------------------------------------------------------------------------------- what becomes a routine


def test_which_instructions_become_routines() -> None:
    """A fall back to the evaluator costs a thousandfold; it must not go unnoticed."""
    m = machine(NOP, isa_ext=[str(ADDED)])
    assert {name for n, name in enumerate(INSTRUCTIONS) if m.routine(n, word(name), BASE) < 0} == EVALUATED


def test_which_routines_are_compiled() -> None:
    """Those that only compute; what accesses memory, jumps or traps is the interpreter's."""
    found = set()
    with executed_by("jit"):
        for name in INSTRUCTIONS:
            m = machine(word(name, rd=A0, rs1=A1, rs2=A2), *EXIT, isa_ext=[str(ADDED)], engine="jit")
            if m.engine != "jit":
                pytest.skip("no compiled code on this processor or system")
            m.run()
            found |= {name for pc, _ in m.hart.compiled() if pc == BASE}
    accesses = {name for name in INSTRUCTIONS if name.startswith(("LOAD", "STORE"))} | {"EXCHANGE"}
    assert found == set(INSTRUCTIONS) - EVALUATED - accesses - {"RAISE_IF", "BRANCH_BIT", "JUMP_REGISTER"}


# ---------------------------------------------------------------------------------------------------- state and counts

# Values at the edges of what instructions distinguish, addresses of data and of code.
EDGES = [0, 1, 2, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFE, 0xFFFF_FFFF]
VALUES = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from(EDGES),
    st.integers(DATA, DATA + 56),
    st.integers(0, 6).map(lambda n: BASE + 4 * n),
)
REGISTERS = [ZERO, A0, A1, A2, A3]
CORES = [
    {"core": "ideal"},
    {"core": "ibex-small"},
    {"core": "ibex-small", "settings": {"core.misaligned": "trap"}},
]


@st.composite
def words(draw: Any, names: list[str]) -> int:
    instruction = INSTRUCTIONS[draw(st.sampled_from(names))]
    fields = {}
    for field in instruction.fields:
        if field.name in ("rd", "rs1", "rs2"):
            fields[field.name] = draw(st.sampled_from(REGISTERS))
        elif instruction.name == "BRANCH_BIT" and field.name == "imm":
            fields[field.name] = draw(st.sampled_from([2, 4, 8, 12, 6, -4 & 0x1FFF]))
        else:
            fields[field.name] = draw(st.integers(0, (1 << field.width) - 1))
    return word(instruction.name, **fields)


@pytest.mark.parametrize("core", CORES, ids=lambda core: "-".join([core["core"], *core.get("settings", {}).values()]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.lists(words(sorted(INSTRUCTIONS)), min_size=1, max_size=6),
    values=st.lists(VALUES, min_size=4, max_size=4),
)
def test_the_evaluator_agrees(core: dict[str, Any], body: list[int], values: list[int]) -> None:
    loop = [*body, addi(T0, T0, -1), bne(T0, ZERO, -4 * (len(body) + 1)), EXIT]
    same(flat(loop), 100, {T0: 3, **dict(zip(REGISTERS[1:], values, strict=True))}, **core)


@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
@settings(max_examples=15, deadline=None)
@given(data=st.data(), values=st.lists(VALUES, min_size=4, max_size=4))
def test_each_instruction(name: str, data: st.DataObject, values: list[int]) -> None:
    body = [data.draw(words([name])), data.draw(words([name]))]
    same(flat([*body, EXIT]), 8, dict(zip(REGISTERS[1:], values, strict=True)), core="ibex-small")


# ----------------------------------------------------------------------------------------------- what examples compute


@pytest.mark.parametrize(
    ("name", "a", "b", "before", "after"),
    [
        ("DOT4", 0x01FF_7F80, 0x02FF_7F80, 5, 5 + 2 + 1 + 127 * 127 + 128 * 128),
        ("ADD4", 0x01FF_7F80, 0x0101_0180, 0, 0x0200_8000),
        ("SATADD", 0x7FFF_FFFF, 1, 0, 0x7FFF_FFFF),
        ("SATADD", 0x8000_0000, 0xFFFF_FFFF, 0, 0x8000_0000),
        ("ROTATE", 0x8000_0001, 33, 0, 3),
        ("REQUANTISE", 1 << 30, 100, 0, 50),
        ("REQUANTISE", -(1 << 30) & 0xFFFF_FFFF, 0x7FFF_FFFF, 0, -128 & 0xFFFF_FFFF),
        ("LEADING", 0x0001_0000, 0, 0, 15),
        ("LEADING", 0, 0, 0, 32),
        ("COUNT", 0xF0F0_0001, 0, 0, 9),
        ("MAX_ABSOLUTE", 0x8000_0000, 5, 0, 0x8000_0000),
    ],
)
def test_examples(name: str, a: int, b: int, before: int, after: int) -> None:
    fields = {"rd": A0, "rs1": A1, "rs2": A2}
    assert same([word(name, **fields)], 1, {A0: before, A1: a, A2: b})["x"][A0] == after


# ---------------------------------------------------------------------------------- accesses, traps, code that changes


@pytest.mark.parametrize("core", CORES, ids=lambda core: "-".join([core["core"], *core.get("settings", {}).values()]))
@pytest.mark.parametrize(
    "name", ["LOAD_POST", "LOAD_HALF", "LOAD_TWO", "LOAD_IF", "LOAD_CHECK", "STORE_POST", "EXCHANGE"]
)
@pytest.mark.parametrize(
    "address",
    [
        DATA,
        DATA + 1,
        DATA + 2,
        DATA + 3,
        DATA + 22,
        DATA + 23,
        8,
        BASE - 2,
        BASE + (16 << 20) - 2,
        BASE + (16 << 20) - 4,
    ],
)
def test_accesses(core: dict[str, Any], name: str, address: int) -> None:
    """Aligned, across words, across symbols, off either end of memory: traffic, splits, cycles and traps."""
    access = word(name, rd=A0, rs1=A1, rs2=A2, imm=4)
    same(
        flat([access, access, addi(T0, T0, -1), bne(T0, ZERO, -12), EXIT]),
        12,
        {T0: 2, A1: address, A2: 0x1234_5678},
        **core,
    )


def test_a_window_moves_between_symbols() -> None:
    """One instruction walks over both symbols, many times: each access is counted where it goes."""
    body = [addi(A1, S0, 0), *[word("LOAD_POST", rd=A0, rs1=A1, imm=4)] * 3, addi(T0, ZERO, 13)]
    inner = [
        word("LOAD_POST", rd=A0, rs1=A1, imm=4),
        word("STORE_POST", rs2=A0, rs1=A2, imm=4),
        addi(T0, T0, -1),
        bne(T0, ZERO, -12),
    ]
    outer = [*body, addi(A2, S0, 0), *inner, addi(S1, S1, -1), bne(S1, ZERO, -4 * (len(body) + len(inner) + 2)), EXIT]
    found = same(flat(outer), 100_000, {S0: DATA, S1: 40})
    assert found["stop_reason"] == "exit"
    symbols = {s["name"]: s for s in found["symbols"]}
    assert symbols["a"]["store"]["count"] == 40 * 6 and symbols["b"]["store"]["count"] == 40 * 7


@pytest.mark.parametrize("offset", [0, 4, 8, 12])
def test_a_store_into_code(offset: int) -> None:
    """Behind it, onto itself, before it, in the same block."""
    body = [addi(A3, A3, 1), word("STORE_POST", rs2=A2, rs1=A1, imm=0), addi(A3, A3, 2), addi(A3, A3, 4),
            addi(T0, T0, -1), bne(T0, ZERO, -20), EXIT]  # fmt: skip
    same(flat(body), 60, {T0: 4, A1: BASE + offset, A2: addi(A3, A3, 64)}, core="ibex-small")


def test_a_handler_sees_the_trap() -> None:
    """raise, and an access that faults, in mid-block: mepc, mcause, mtval, and counts behind the return."""
    handler = [csrrs(A2, MEPC), addi(A2, A2, 4), csrrw(ZERO, MEPC, A2), MRET]
    body = [auipc(S0, 0), addi(S0, S0, -4 * len(handler)), csrrw(ZERO, MTVEC, S0), addi(S1, ZERO, 8)]
    traps = [
        word("RAISE_IF", rd=A0, rs1=ZERO, rs2=S1),
        word("LOAD_POST", rd=A0, rs1=S1, imm=4),
        word("LOAD_TWO", rd=A0, rs1=S1),
        word("LOAD_CHECK", rd=A0, rs1=A3),
        word("EXCHANGE", rd=A0, rs1=S1, rs2=S1),
    ]
    loop = [*traps, addi(T0, T0, -1), bne(T0, ZERO, -4 * (len(traps) + 1)), csrrw(ZERO, MTVEC, ZERO), EXIT]
    found = same(
        flat([jal(ZERO, 4 + 4 * len(handler)), *handler, *body, *loop]), 1000, {T0: 5, A3: DATA}, core="ibex-small"
    )
    assert found["stop_reason"] == "exit" and found["csrs"][:2] == (5, 8)


def test_a_jump_counts_as_the_evaluators_does() -> None:
    """To an odd halfword, where the core fetches twice; to the next instruction; to an odd address."""
    body = [c_addi(A2, 1), word("BRANCH_BIT", rs1=A1, bit=0, imm=8), addi(A2, A2, 1), addi(A2, A2, 1), addi(A1, A1, 1),
            word("BRANCH_BIT", rs1=A1, bit=1, imm=4), addi(T0, T0, -1), bne(T0, ZERO, -26), EXIT]  # fmt: skip
    assert same(flat(body), 1000, {T0: 9}, core="ibex-small")["stop_reason"] == "exit"
    same(flat([word("JUMP_REGISTER", rd=A0, rs1=A1), EXIT]), 9, {A1: BASE + 5}, core="ibex-small")


def test_a_snapshot_keeps_the_registers() -> None:
    words = [
        word("ACCUMULATE", rd=A0, rs1=A1, rs2=A1),
        word("LANES", rd=A0, rs1=A1, rs2=A1),
        word("WIDEN", rd=A0, rs1=A1),
    ]
    m = machine(*words * 2, EXIT, isa_ext=[str(ADDED)])
    m.hart.set_register(A1, 0xFFFF_FFF3)
    m.run(3)
    held, point = m.context.registers(), m.checkpoint()
    m.run(3)
    assert m.context.registers() != held
    m.rollback(point)
    assert m.context.registers() == held
    assert held["LANE"][3] == -13 and held["ACC"] == [0xFFFF_FFF3**2]


def test_only_so_many_words_become_routines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "MAX_ROUTINES", 3)
    m = machine(NOP, isa_ext=[str(ADDED)])
    numbers = [m.routine(0, word("DOT4", rd=n), BASE) for n in (1, 2, 3, 4, 1)]
    assert [n >= 0 for n in numbers] == [True, True, True, False, True] and numbers[4] == numbers[0]
