"""One instruction at a time: the interpreter leaves the state that the evaluator leaves, for every word there is."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.isa.ccode import instruction_class
from rvsim.isa.disassemble import disassemble, find
from rvsim.isa.ir import Instruction
from rvsim.isa.names import CSRS
from rvsim.isa.select import select
from rvsim.machine import Machine
from rvsim.machine.csr import CYCLE, INSTRET, MEI, MSI, MSTATUS_MIE, MSTATUS_MPIE, MSTATUS_MPP, MTI
from rvsim.machine.elf import Program, Segment
from tests.differential.evaluator_hart import EvaluatorHart
from tests.differential.generate import CORNERS
from tests.differential.program import ISA

TEXT, DATA, SIZE = 0x10000, 0x20000, 0x1000
ILLEGAL, BREAKPOINT, ECALL = 2, 3, 11
FULL = "rv32imac_zba_zbb_zbs_zcb"
SP = 2
CSR_STATE = ("mstatus", "mtvec", "mscratch", "mepc", "mcause", "mtval", "mie")


class Pair:
    """A machine and an evaluator's hart with the same memory, brought into the same state before each instruction."""

    def __init__(self, misaligned: str, isa: str = FULL) -> None:
        segments = [
            Segment(address=TEXT, data=b"", size=SIZE, readable=True, writable=False, executable=True),
            Segment(address=DATA, data=b"", size=SIZE, readable=True, writable=True, executable=False),
        ]
        program = Program(path="one instruction", entry=TEXT, segments=tuple(segments))
        self.machine = Machine(program, isa=isa, settings={"core.misaligned": misaligned})
        self.hart: Any = self.machine.hart
        self.data = next(r for r in self.machine.regions if r.base == DATA)
        self.evaluator = EvaluatorHart(ISA, self.machine.regions, self.machine.timing, select(isa))
        self.reset, self.changed = self.machine.csrs.state(), False
        # What is compared and set anew: the code, and both ends of the data.
        self.windows = [(TEXT, 64), (TEXT + SIZE - 64, 64), (DATA, 64), (self.data.end - 64, 64)]

    def run(self, word: int, pc: int, registers: list[int], seed: int = 0) -> tuple[int, int] | None:
        """Run one word at `pc` on both and compare all state; cause and mtval when it trapped."""
        hart, evaluator = self.hart, self.evaluator
        if self.changed:  # a CSR instruction may have locked memory, or chosen events that the evaluator does not count
            for csrs in (self.machine.csrs, evaluator.csrs):
                csrs.restore(self.reset)
        self.changed = word & 0x7F == 0x73
        background = bytes((seed + 37 * n) & 0xFF for n in range(64))
        for address, size in self.windows:
            self._write(address, background[:size])
        raw = word.to_bytes(4 if word & 3 == 3 else 2, "little")
        self._write(pc, raw[: max(0, TEXT + SIZE - pc)])
        for n in range(1, 32):
            hart.set_register(n, registers[n])
            evaluator.x[n] = registers[n]
        hart.pc = evaluator.pc = pc
        evaluator.waiting = False
        state = {
            "mstatus": MSTATUS_MPP | seed & (MSTATUS_MIE | MSTATUS_MPIE),
            "mtvec": 0,
            "mscratch": seed,
            "mepc": seed & ~1,
            "mcause": seed ^ 0xFF,
            "mtval": seed >> 1,
            "mie": seed & (MSI | MTI | MEI),
        }
        before = hart.cycles, hart.instructions, evaluator.cycles, evaluator.instructions
        for csrs, cycles, instructions in ((self.machine.csrs, *before[:2]), (evaluator.csrs, *before[2:])):
            for name, value in state.items():
                setattr(csrs, name, value)
            csrs.counters[CYCLE].offset = (seed << 8) - cycles
            csrs.counters[INSTRET].offset = (seed << 16) - instructions
        event = hart.run(1)
        evaluator.step()
        assert hart.pc == evaluator.pc, "pc"
        assert [hart.register(n) for n in range(32)] == evaluator.x, "registers"
        assert (event[3:] if event[0] == "trap" else None) == evaluator.trap, "trap"
        assert (event[0] == "wait") == evaluator.waiting
        for name in CSR_STATE:
            assert getattr(self.machine.csrs, name) == getattr(evaluator.csrs, name), name
        for n in (CYCLE, INSTRET):
            assert self.machine.csrs.counters[n].read() == evaluator.csrs.counters[n].read(), "counters"
        retired, cycles = hart.instructions - before[1], hart.cycles - before[0]
        assert (retired, cycles) == (evaluator.instructions - before[3], evaluator.cycles - before[2]), (
            "retired, cycles"
        )
        for address, size in self.windows:
            assert self.machine.read_memory(address, size) == evaluator.memory.read(address, size), (
                f"memory at {address:#x}"
            )
        return evaluator.trap

    def _write(self, address: int, data: bytes) -> None:
        if data:
            self.machine.write_memory(address, data)
            self.evaluator.memory.write(address, data)


@pytest.fixture(scope="module", params=["split", "trap"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


PATTERN = [0x01010101 * n & 0xFFFF_FFFF for n in range(32)]
values = st.one_of(st.sampled_from(CORNERS), st.integers(0, 0xFFFF_FFFF))
heap_end = Pair("split").data.end
edges = st.tuples(st.sampled_from((TEXT, TEXT + SIZE, DATA, heap_end, 0, DATA + 32)), st.integers(-5, 5)).map(
    lambda p: sum(p) & 0xFFFF_FFFF
)
places = st.one_of(st.just(TEXT), st.sampled_from((TEXT + 2, TEXT + SIZE - 4, TEXT + SIZE - 2)))


@st.composite
def cases(draw: st.DrawFn, instruction: Instruction) -> tuple[int, int, list[int], int]:
    """A word of the instruction, its address, registers, and a seed for the rest of the state."""
    word, fields = instruction.match, {}
    for f in instruction.fields:
        value = draw(
            st.sampled_from(sorted(CSRS))
            if f.name == "csr" and draw(st.booleans())
            else st.integers(0, (1 << f.width) - 1)
        )
        fields[f.name] = value & f.encodable
        word |= f.insert(fields[f.name])
    registers = list(PATTERN)
    for name in ("rs2", "rs1"):
        register = next((f for f in instruction.fields if f.name == name), None)
        if register is not None:
            registers[fields[name] + (8 if register.width == 3 else 0)] = draw(values)
    if instruction_class(instruction) in ("load", "store", "atomic", "jump"):
        # A register such that the address is an interesting one.
        imm = next((f for f in instruction.fields if f.name in ("imm", "uimm")), None)
        offset = fields[imm.name] if imm else 0
        if imm is not None and imm.name == "imm" and offset >> (imm.width - 1):
            offset -= 1 << imm.width
        base = next((fields["rs1"] + (8 if f.width == 3 else 0) for f in instruction.fields if f.name == "rs1"), SP)
        registers[base] = (draw(edges) - offset) & 0xFFFF_FFFF
    registers[0] = 0
    return word, draw(places), registers, draw(values)


@pytest.mark.parametrize("instruction", ISA.instructions, ids=lambda i: i.name)
def test_every_instruction(pair: Pair, instruction: Instruction) -> None:
    @settings(max_examples=30, database=None)
    @given(case=cases(instruction))
    def check(case: tuple[int, int, list[int], int]) -> None:
        word, pc, registers, seed = case
        pair.run(word, pc, registers, seed)

    check()


def test_every_halfword_is_decoded_alike() -> None:
    pair, legal = Pair("split"), 0
    for word in range(1 << 16):
        if word & 3 != 3:
            trap = pair.run(word, TEXT + 32, PATTERN, word)
            assert (find(ISA, word) is not None) or trap == (ILLEGAL, word), hex(word)
            legal += trap is None or trap[0] != ILLEGAL
    assert legal > 28_000


def test_random_words_are_decoded_alike(pair: Pair) -> None:
    """Random words, and words of instructions with one or two bits turned over."""
    draw = random.Random("words")
    large = [i for i in ISA.instructions if i.size == 4]
    illegal = 0
    for n in range(6000):
        if n % 3 == 0:
            word = draw.getrandbits(32) | 3
        else:
            chosen = draw.choice(large)
            word = draw.getrandbits(32) & ~chosen.mask | chosen.match
            for _ in range(draw.randint(0, 2)):
                word ^= 1 << draw.randrange(2, 32)
        trap = pair.run(word, TEXT + 32, PATTERN, n)
        if find(ISA, word) is None:
            illegal += 1
            assert trap == (ILLEGAL, word), disassemble(ISA, word)
    assert 500 < illegal < 5500


@pytest.mark.parametrize(
    ("word", "registers", "cause", "tval"),
    [
        (0x00000073, {}, ECALL, 0),
        (0x00100073, {}, BREAKPOINT, TEXT),
        (0x9002, {}, BREAKPOINT, TEXT),
        (0x0000, {}, ILLEGAL, 0),
        (0xFFFFFFFF, {}, ILLEGAL, 0xFFFFFFFF),
        (0x00052503, {10: 0xFFFF_FFFC}, 5, 0xFFFF_FFFC),  # lw a0,0(a0)
        (0x00A52023, {10: TEXT}, 7, TEXT),  # sw a0,0(a0) into code
        (0x00050067, {10: 0x4000_0001}, None, None),  # jalr: bit 0 goes, and the fetch at the target faults
        (0x7C001073, {}, ILLEGAL, 0x7C001073),  # csrw of no CSR
    ],
)
def test_traps_are_those_of_the_manual(pair: Pair, word: int, registers: dict[int, int], cause: int, tval: int) -> None:
    """Both could be wrong alike; these are written down."""
    state = [registers.get(n, 0) for n in range(32)]
    assert pair.run(word, TEXT, state) == ((cause, tval) if cause is not None else None)


@pytest.mark.parametrize(
    ("pc", "word", "tval"),
    [(DATA, 1, DATA), (0, 1, 0), (TEXT + SIZE - 2, 0x13, TEXT + SIZE), (TEXT + SIZE, 1, TEXT + SIZE)],
)
def test_fetch_faults(pair: Pair, pc: int, word: int, tval: int) -> None:
    hart, evaluator = pair.hart, pair.evaluator
    pair._write(TEXT + SIZE - 2, word.to_bytes(4, "little")[:2])
    hart.pc = evaluator.pc = pc
    evaluator.step()
    assert evaluator.trap == (1, tval)
    assert hart.run(1) == ("trap", pc, 0, 1, tval)
