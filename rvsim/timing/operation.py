"""What a pipeline sees of an instruction, from its description: kind, registers, the size of its access.

The layout is `timing_op` of rvsim/timing/exact/operation.h.
"""

from __future__ import annotations

import struct

from rvsim.isa.build import apply
from rvsim.isa.ir import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rvsim.isa.ir import Instruction

# enum timing_kind of operation.h
KINDS = (
    "alu", "shift", "mul", "mulh", "mulhsu", "mulhu", "div", "divu", "rem", "remu", "load", "store", "lr", "sc", "amo",
    "branch", "jal", "jalr", "csr", "fence", "fence_i", "ecall", "ebreak", "mret", "wfi", "custom", "illegal",
)  # fmt: skip
LAYOUT = struct.Struct("<6BH4BiH6x")
_OF_CLASS = {"alu": "alu", "load": "load", "store": "store", "atomic": "amo", "branch": "branch", "csr": "csr"}
_OF_CLASS |= {"fence": "fence", "fence-i": "fence_i"}
_OF_NAME = {name: name.lower() for name in ("MULH", "MULHSU", "MULHU", "DIV", "DIVU", "REM", "REMU")}
_OF_NAME |= {name: name.lower() for name in ("ECALL", "EBREAK", "MRET", "WFI")}
_OF_NAME |= {"C_EBREAK": "ebreak", "C_UNIMP": "illegal", "LR_W": "lr", "SC_W": "sc"}
ILLEGAL = LAYOUT.pack(KINDS.index("illegal"), 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def describe(instruction: Instruction, class_: str, word: int, following: int = 0, extra: int = 0) -> bytes:
    """One instruction word as `timing_op`.

    Parameters
    ----------
    instruction : Instruction
    class_ : str
        Its timing class (`rvsim.isa.ccode.instruction_class`).
    word : int
        As fetched; of a 16-bit instruction the lower half.
    following : int
        Bit 0: the half-word behind it begins with the low bits 11 of a 32-bit instruction; bit 1: the one behind that.
    extra : int
        Cycles for which the whole pipeline waits for a coprocessor.
    """
    fields = {f.name: f for f in instruction.fields}
    values: dict[int, int] = {}
    names: dict[int, str] = {}
    here = 1 << 30
    for op in instruction.static:
        if op.code == "field":
            values[op.result], names[op.result] = fields[op.attr].extract(word), op.attr
        elif op.code == "pc":
            values[op.result] = here
        elif all(each in values for each in op.args):
            values[op.result] = apply(op.code, op.attr, [values[each] for each in op.args])
    kind = _kind(instruction, class_)
    rd = width = csr = writes = offset = zimm = 0
    sources: list[tuple[int, str]] = []
    for op in walk(instruction.body):
        if op.code == "get" and op.attr == "X":
            # A register that an added instruction chooses as it runs is none that the pipeline waits for.
            source = values.get(op.args[0], 0) & 31, names.get(op.args[0], "")
            if source not in sources:
                sources.append(source)
        elif op.code == "put" and op.attr == "X":
            rd = values.get(op.args[0], 0) & 31
        elif op.code in ("load", "store") and op.attr[0] == "MEM":
            width = op.attr[1]
        elif op.code in ("load", "store") and op.attr[0] == "CSR":
            csr = values.get(op.args[0], 0)
        elif op.code == "setpc" and op.args[0] in values:
            kind = kind or "jal"
            offset = values[op.args[0]] - here
    rs1 = rs2 = 0
    for register, name in sources:
        if name == "rs2" or rs1:
            rs2 = register
        else:
            rs1 = register
    if class_ == "csr":  # csrrw always; csrrs and csrrc with a register other than x0, or with bits
        given = next((fields[name].extract(word) for name in ("rs1", "uimm") if name in fields), 1)
        writes = "RW" in instruction.name or given != 0
        zimm = 0 if "rs1" in fields else given
    number = KINDS.index(kind or "jalr")
    return LAYOUT.pack(
        number, instruction.size, rd, rs1, rs2, width, csr, writes, offset < 0, following, zimm, offset, extra
    )


class Operations:
    """What a pipeline sees of instruction words, each described once.

    Parameters
    ----------
    instructions : sequence of (Instruction, str)
        By number, each with its class.
    extra : mapping of int to int
        By number: cycles beyond those of the class.
    """

    def __init__(self, instructions: Sequence[tuple[Instruction, str]], extra: Mapping[int, int] | None = None) -> None:
        self._instructions, self._extra = instructions, extra or {}
        self._described: dict[tuple[int, int, int], bytes] = {}

    def __call__(self, number: int, word: int, following: int) -> bytes:
        """`describe` of the instruction of a number; of none, an illegal one."""
        key = number, word, following
        found = self._described.get(key)
        if found is None:
            found = ILLEGAL
            if number < len(self._instructions):
                found = describe(*self._instructions[number], word, following, self._extra.get(number, 0))
            self._described[key] = found
        return found


def _kind(instruction: Instruction, class_: str) -> str:
    """One of `KINDS`; nothing for a jump, of which the target says which it is."""
    if instruction.name in _OF_NAME:
        return _OF_NAME[instruction.name]
    if class_ in ("multiply", "multiply-high"):
        return "mul"
    if class_ == "alu" and any(op.code in ("shl", "shr") for op in walk(instruction.body)):
        return "shift"
    return "" if class_ == "jump" else _OF_CLASS.get(class_, "custom")
