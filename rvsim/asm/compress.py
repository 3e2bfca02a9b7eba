"""Automatic compression: which 16-bit instruction does what a 32-bit one does, and which instruction a branch grows to.

The rules name instructions and the fields of their descriptions, no encodings: whether a register or an immediate fits
is asked of the compressed instruction's own fields, and whether the result is reserved of its behaviour. They stand in
the order in which GNU as 2.40 prefers them; tests/asm/test_compress.py executes both sides of each with the evaluator.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from rvsim.asm.operands import Coded, Immediate, Register, Template
from rvsim.isa.evaluate import BehaviourError, Trap, execute
from rvsim.isa.ir import Instruction, walk

# 32-bit instruction | what must hold of its fields | 16-bit instruction | its fields, named or renamed
RULES = """
addi  | rs1=2 imm!=0           | c.addi4spn  | rd uimm=imm
addi  | rd=rs1 rd!=0 imm!=0    | c.addi      | rd imm
addi  | rd=0 rs1=0 imm=0       | c.nop       |
addi  | rd=2 rs1=2 imm!=0      | c.addi16sp  | imm
addi  | rs1=0 rd!=0            | c.li        | rd imm
addi  | imm=0 rd!=0 rs1!=0     | c.mv        | rd rs2=rs1
add   | rd=rs1 rd!=0 rs2!=0    | c.add       | rd rs2
add   | rd=rs2 rd!=0 rs1!=0    | c.add       | rd rs2=rs1
add   | rs1=0 rd!=0 rs2!=0     | c.mv        | rd rs2
lui   | rd!=0 rd!=2 imm!=0     | c.lui       | rd imm
slli  | rd=rs1 rd!=0 shamt!=0  | c.slli      | rd shamt
srli  | rd=rs1 shamt!=0        | c.srli      | rd shamt
srai  | rd=rs1 shamt!=0        | c.srai      | rd shamt
andi  | rd=rs1                 | c.andi      | rd imm
and   | rd=rs1                 | c.and       | rd rs2
and   | rd=rs2                 | c.and       | rd rs2=rs1
or    | rd=rs1                 | c.or        | rd rs2
or    | rd=rs2                 | c.or        | rd rs2=rs1
xor   | rd=rs1                 | c.xor       | rd rs2
xor   | rd=rs2                 | c.xor       | rd rs2=rs1
sub   | rd=rs1                 | c.sub       | rd rs2
lw    | rs1=2 rd!=0            | c.lwsp      | rd uimm=imm
lw    |                        | c.lw        | rd rs1 uimm=imm
sw    | rs1=2                  | c.swsp      | rs2 uimm=imm
sw    |                        | c.sw        | rs2 rs1 uimm=imm
beq   | rs2=0                  | c.beqz      | rs1 imm
bne   | rs2=0                  | c.bnez      | rs1 imm
ebreak |                       | c.ebreak    |
lbu   |                        | c.lbu       | rd rs1 uimm=imm
lhu   |                        | c.lhu       | rd rs1 uimm=imm
lh    |                        | c.lh        | rd rs1 uimm=imm
sb    |                        | c.sb        | rs2 rs1 uimm=imm
sh    |                        | c.sh        | rs2 rs1 uimm=imm
andi  | rd=rs1 imm=255         | c.zext.b    | rd
sext.b | rd=rs1                | c.sext.b    | rd
zext.h | rd=rs1                | c.zext.h    | rd
sext.h | rd=rs1                | c.sext.h    | rd
xori  | rd=rs1 imm=-1          | c.not       | rd
mul   | rd=rs1                 | c.mul       | rd rs2
mul   | rd=rs2                 | c.mul       | rd rs2=rs1
"""

# What a jump or branch becomes when its target is too far for 16 bits: instruction and the fields it gets.
GROWS = {
    "c.j": ("jal", {"rd": 0}),
    "c.jal": ("jal", {"rd": 1}),
    "c.beqz": ("beq", {"rs2": 0}),
    "c.bnez": ("bne", {"rs2": 0}),
}

# Branches that are taken exactly when the other is not.
INVERSE = {"beq": "bne", "blt": "bge", "bltu": "bgeu", "c.beqz": "c.bnez"}
INVERSE |= {inverse: branch for branch, inverse in INVERSE.items()}


@dataclass
class Rule:
    """One line of `RULES`."""

    wide: str
    conditions: list[tuple[str, bool, str]]  # field, equal or not, field or number
    narrow: str
    fields: list[tuple[str, str]]  # narrow's field, wide's field

    def holds(self, values: dict[str, int]) -> bool:
        """Whether the conditions do; a field whose value is not known yet holds none."""
        for name, equal, other in self.conditions:
            value = values.get(name)
            wanted = values.get(other) if other.isalnum() and not other.isdigit() else int(other)
            if value is None or wanted is None or (value == wanted) != equal:
                return False
        return True


def _parse(line: str) -> Rule:
    wide, conditions, narrow, fields = (part.strip() for part in line.split("|"))
    parsed = []
    for condition in conditions.split():
        name, _, other = condition.partition("=")
        parsed.append((name.removesuffix("!"), not name.endswith("!"), other))
    pairs = [(name, source or name) for name, _, source in (f.partition("=") for f in fields.split())]
    return Rule(wide, parsed, narrow, pairs)


@functools.cache
def rules() -> dict[str, list[Rule]]:
    """The rules of each 32-bit instruction, in order of preference."""
    found: dict[str, list[Rule]] = {}
    for line in RULES.strip().splitlines():
        rule = _parse(line)
        found.setdefault(rule.wide, []).append(rule)
    return found


def compress(coded: Coded, template: Template, narrow: dict[str, Template]) -> Coded | None:
    """The 16-bit instruction that does the same, or None.

    Parameters
    ----------
    coded : Coded
    template : Template
        Its own.
    narrow : dict of str to Template
        The 16-bit instructions that may be used.
    """
    for rule in rules().get(template.instruction.mnemonic, ()):
        other = narrow.get(rule.narrow)
        if other is None or not rule.holds(coded.values):
            continue
        small = _convert(coded, rule, other)
        if small is not None:
            return small
    return None


def _convert(coded: Coded, rule: Rule, other: Template) -> Coded | None:
    small = Coded(other.instruction, other.instruction.match)
    symbolic = {element.field.name: (kind, node, at) for element, kind, node, at in coded.symbolic}
    for name, source in rule.fields:
        element = other.by_field[name]
        if source in symbolic:
            kind, node, at = symbolic[source]
            if kind != "target" or not isinstance(element, Immediate):
                return None
            small.symbolic.append((element, kind, node, at))
            continue
        value = coded.values.get(source)
        if value is None or not element.fits(value):
            return None
        if isinstance(element, Register):
            value -= element.offset
            small.word |= element.field.insert(value)
        else:
            small.word |= element.insert(value)
        small.values[name] = value
    return small


def grow(coded: Coded, wide: Template) -> Coded:
    """The 32-bit form of a 16-bit branch or jump."""
    _, fixed = GROWS[coded.instruction.mnemonic]
    large = Coded(wide.instruction, wide.instruction.match, dict(fixed))
    for name, value in coded.values.items():
        element = wide.by_field[name]
        large.values[name] = value + 8 if isinstance(element, Register) else value  # c.beqz names x8 to x15
    for name, value in large.values.items():
        large.word |= wide.fields[name].insert(value)
    _, kind, node, at = coded.symbolic[0]
    target = next(e for e in wide.by_field.values() if isinstance(e, Immediate))
    large.symbolic.append((target, kind, node, at))
    return large


class _Quiet:
    """A hart on which every read gives 0: enough to see whether an encoding is reserved."""

    def get(self, file: str, index: int | None) -> int:
        return 0

    def put(self, file: str, index: int | None, value: int) -> None: ...

    def load(self, space: str, address: int, size: int, big_endian: bool) -> int:
        return 0

    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None: ...

    def call(self, name: str, arguments: Sequence[int]) -> int | None:
        return 0


@functools.lru_cache(maxsize=4096)
def _reserved(where: str, word: int, instruction: _ByName) -> bool:
    try:
        execute(instruction.instruction, word, 0, _Quiet())
    except Trap as trap:
        return trap.cause == 2
    except BehaviourError:
        pass
    return False


class _ByName:
    """An instruction as a key: descriptions are not hashable."""

    def __init__(self, instruction: Instruction) -> None:
        self.instruction = instruction

    def __hash__(self) -> int:
        return hash(self.instruction.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByName) and self.instruction.where == other.instruction.where


def reserved(instruction: Instruction, word: int) -> bool:
    """Whether a 16-bit encoding with these operands is reserved: its behaviour traps as an illegal instruction."""
    if instruction.size != 2 or not instruction.fields:
        return False
    if not any(op.code == "raise" for op in walk(instruction.body)):
        return False
    return _reserved(instruction.where, word, _ByName(instruction))
