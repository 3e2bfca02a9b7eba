"""`.insn`: an instruction by its format and the numbers of its fields, or as a bare word.

Manual of the GNU assembler, "RISC-V Instruction Formats". Formats are those of the unprivileged manual, chapter 2.
"""

from __future__ import annotations

from lark import Token

from rvsim.asm.errors import Problem, suggestion
from rvsim.asm.operands import Coded, Template, best, cut
from rvsim.asm.source import Statement
from rvsim.asm.state import State
from rvsim.asm.tokens import column
from rvsim.isa.ir import Field, Instruction

# Unprivileged manual, table "RISC-V base opcode map".
OPCODES = {
    "LOAD": 0x03,
    "LOAD_FP": 0x07,
    "CUSTOM_0": 0x0B,
    "MISC_MEM": 0x0F,
    "OP_IMM": 0x13,
    "AUIPC": 0x17,
    "OP_IMM_32": 0x1B,
    "STORE": 0x23,
    "STORE_FP": 0x27,
    "CUSTOM_1": 0x2B,
    "AMO": 0x2F,
    "OP": 0x33,
    "LUI": 0x37,
    "OP_32": 0x3B,
    "MADD": 0x43,
    "MSUB": 0x47,
    "NMSUB": 0x4B,
    "NMADD": 0x4F,
    "OP_FP": 0x53,
    "OP_V": 0x57,
    "CUSTOM_2": 0x5B,
    "BRANCH": 0x63,
    "JALR": 0x67,
    "JAL": 0x6F,
    "SYSTEM": 0x73,
    "CUSTOM_3": 0x7B,
}

# Fields: name, and where its bits are: (position in the word, position in the field, bits).
_WHERE = {
    "opcode": [(0, 0, 7)],
    "func3": [(12, 0, 3)],
    "func7": [(25, 0, 7)],
    "func2": [(25, 0, 2)],
    "rd": [(7, 0, 5)],
    "rs1": [(15, 0, 5)],
    "rs2": [(20, 0, 5)],
    "rs3": [(27, 0, 5)],
    "imm_i": [(20, 0, 12)],
    "imm_s": [(25, 5, 7), (7, 0, 5)],
    "imm_b": [(31, 12, 1), (25, 5, 6), (8, 1, 4), (7, 11, 1)],
    "imm_u": [(12, 12, 20)],
    "imm_j": [(31, 20, 1), (21, 1, 10), (20, 11, 1), (12, 12, 8)],
    "c_op": [(0, 0, 2)],
    "func4": [(12, 0, 4)],
    "c_func3": [(13, 0, 3)],
    "func6": [(10, 0, 6)],
    "c_func2": [(5, 0, 2)],
    "c_rs2": [(2, 0, 5)],
    "rd_": [(2, 0, 3)],
    "rs1_": [(7, 0, 3)],
    "rs2_": [(2, 0, 3)],
    "imm_ci": [(12, 5, 1), (2, 0, 5)],
    "imm_ciw": [(5, 0, 8)],
    "imm_css": [(7, 0, 6)],
    "imm_cl": [(10, 2, 3), (5, 0, 2)],
    "imm_cb": [(12, 8, 1), (10, 3, 2), (5, 6, 2), (3, 1, 2), (2, 5, 1)],
    "imm_cj": [(12, 11, 1), (11, 4, 1), (9, 8, 2), (8, 10, 1), (7, 6, 1), (6, 7, 1), (3, 1, 3), (2, 5, 1)],
}

_R4 = "{opcode},{func3},{func2},{name(rd)},{name(rs1)},{name(rs2)},{name(rs3)}"
FORMATS = {
    "r": ["{opcode},{func3},{func7},{name(rd)},{name(rs1)},{name(rs2)}", _R4],
    "r4": [_R4],
    "i": [
        "{opcode},{func3},{name(rd)},{name(rs1)},{imm_i:s}",
        "{opcode},{func3},{name(rd)},{imm_i:s}({name(rs1)})",
    ],
    "s": ["{opcode},{func3},{name(rs2)},{imm_s:s}({name(rs1)})"],
    "b": ["{opcode},{func3},{name(rs1)},{name(rs2)},{imm_b:t}"],
    "u": ["{opcode},{name(rd)},{imm_u:u}"],
    "j": ["{opcode},{name(rd)},{imm_j:t}"],
    "cr": ["{c_op},{func4},{name(rd)},{name(c_rs2)}"],
    "ci": ["{c_op},{c_func3},{name(rd)},{imm_ci:s}"],
    "ciw": ["{c_op},{c_func3},{name(8+rd_)},{imm_ciw}"],
    "css": ["{c_op},{c_func3},{name(c_rs2)},{imm_css}"],
    "cl": ["{c_op},{c_func3},{name(8+rd_)},{imm_cl}({name(8+rs1_)})"],
    "cs": ["{c_op},{c_func3},{name(8+rs2_)},{imm_cl}({name(8+rs1_)})"],
    "ca": ["{c_op},{func6},{c_func2},{name(8+rs1_)},{name(8+rs2_)}"],
    "cb": ["{c_op},{c_func3},{name(8+rs1_)},{imm_cb:t}"],
    "cj": ["{c_op},{c_func3},{imm_cj:t}"],
}
FORMATS["sb"], FORMATS["uj"] = FORMATS["b"], FORMATS["j"]


def _template(name: str, text: str) -> Template:
    """A format as an instruction whose every field is an operand."""
    fields = [Field(n, max(t + b for _, t, b in w), w) for n, w in _WHERE.items() if _uses(text, n)]
    size = 2 if name[0] == "c" else 4
    return Template(_instruction(size, 0, fields, text))


def _instruction(size: int, match: int, fields: list[Field], operands: str) -> Instruction:
    return Instruction(
        name=".insn",
        set=".insn",
        size=size,
        mask=0,
        match=match,
        fields=fields,
        mnemonic=".insn",
        operands=operands,
        static=[],
        body=[],
        ranges=[],
        variables=[],
        where="",
    )


def _uses(text: str, name: str) -> bool:
    return any(f"{before}{name}{after}" in text for before in "{(+" for after in "}):")


_TEMPLATES: dict[str, list[Template]] = {}


def assemble_insn(state: State, statement: Statement) -> Coded:
    """The instruction that a `.insn` states.

    Raises
    ------
    Problem
        The format or an operand is wrong.
    """
    text, at = statement.operands, statement.column
    written = cut(text, at)
    end = at + len(text.rstrip())
    if not written or not written[0]:
        raise Problem("expected a format such as r, or a number, found nothing", end)
    first = written[0][0]
    name = str(first).lower()
    if first.type == "NUMBER":
        return _raw(state, written, end)
    if name not in FORMATS:
        raise Problem(f"expected one of {', '.join(FORMATS)}, found {first}{suggestion(name, FORMATS)}", column(first))
    written[0] = written[0][1:]
    opcode = written[0][0] if written[0] else None
    if opcode is not None and opcode.type == "NAME" and (number := OPCODES.get(opcode.value.upper())) is not None:
        written[0] = [Token("NUMBER", str(number), start_pos=opcode.start_pos)]
    problems = []
    if name not in _TEMPLATES:
        _TEMPLATES[name] = [_template(name, each) for each in FORMATS[name]]
    for template in _TEMPLATES[name]:
        try:
            return template.code(written, end, state.resolve)
        except Problem as problem:
            problems.append(problem)
    raise best(problems)


def _raw(state: State, written: list[list[Token]], end: int) -> Coded:
    """``.insn 0x0000000b`` or ``.insn 4, 0x0000000b``: the low bits say how long it is."""
    numbers = [state.absolute(tokens, end) for tokens in written]
    word = numbers[-1]
    size = 2 if word & 3 != 3 else 4
    if len(numbers) > 2 or (len(numbers) == 2 and numbers[0] != size):
        raise Problem(f"expected an instruction of {size} bytes by its lowest bits, found {numbers[0]}", end)
    if not 0 <= word < 1 << 8 * size or word & 0x1F == 0x1F:
        raise Problem(f"expected an instruction word of {size} bytes, found {word:#x}", end)
    return Coded(_instruction(size, word, [], ""), word)
