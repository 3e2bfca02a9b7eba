"""Instruction words to text, from the descriptions' encodings and assembly strings."""

from __future__ import annotations

import re

from rvsim.isa.ir import Instruction, Isa, wrap
from rvsim.isa.names import CSRS, REGISTERS

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"name\((?:(\d+)\s*\+\s*)?(\w+)(?:\s*\+\s*(\d+))?\)\Z")
_FIELD = re.compile(r"(\w+)(?::([^{}]*))?\Z")
# What Python's and the fmt library's integer formats have in common; a width of more digits serves no operand.
_FORMAT = re.compile(r"[-+ ]?#?0?[0-9]{0,2}[dxXbo]?")


def find(isa: Isa, word: int) -> Instruction | None:
    """The instruction that a word encodes; of a 16-bit one only the low half counts."""
    # Only those of the same opcode, or quadrant and funct3, are compared; the two lowest bits tell the sizes apart.
    size, mask = (4, 0x7F) if word & 3 == 3 else (2, 0xE003)
    low = word & mask
    candidates = isa.candidates.get(low)
    if candidates is None:
        candidates = [i for i in isa.instructions if i.size == size and (i.match ^ low) & i.mask & mask == 0]
        isa.candidates[low] = candidates
    return next((i for i in candidates if word & i.mask == i.match), None)


def operand_text(instruction: Instruction, word: int, pc: int) -> str:
    """The operands as the description's assembly string shows them."""
    return _fill(instruction.operands, instruction, word, pc)


def _fill(text: str, instruction: Instruction, word: int, pc: int) -> str:
    """The text with operands in place of its placeholders."""
    fields = {f.name: f for f in instruction.fields}

    def show(found: re.Match[str]) -> str:
        text = found[1].strip()
        if named := _NAME.match(text):
            offset = int(named[1] or named[3] or 0)
            if named[2] not in fields:
                return found[0]
            number = offset + fields[named[2]].extract(word)
            return REGISTERS[number] if number < 32 else f"x{number}"
        plain = _FIELD.match(text)
        if not plain or plain[1] not in fields:
            return found[0]
        field, form = fields[plain[1]], plain[2] or ""
        return format_operand(field.extract(word), field.width, form, pc)

    return _PLACEHOLDER.sub(show, text)


def format_operand(value: int, width: int, form: str, pc: int) -> str:
    """One operand; the forms are those of descriptions/RISCVBase.core_desc, others are the fmt library's."""
    if form == "s":
        return str(wrap(value, width, True))
    if form == "t":
        return hex((pc + wrap(value, width, True)) & 0xFFFFFFFF)
    if form == "p":
        return hex((pc + value) & 0xFFFFFFFF)
    if form == "u":
        return hex((wrap(value, width, True) >> 12) & 0xFFFFF)
    if form == "c":
        return CSRS.get(value, hex(value)).replace(" ", "_")
    if form == "f":
        return "".join(letter for bit, letter in zip((8, 4, 2, 1), "iorw", strict=True) if value & bit) or "unknown"
    if form == "o":
        return ("", ".rl", ".aq", ".aqrl")[value & 3]
    return format(value, form) if _FORMAT.fullmatch(form) else str(value)


def disassemble(isa: Isa, word: int, pc: int = 0) -> str:
    """One instruction as text; ``.word`` or ``.half`` where nothing matches."""
    instruction = find(isa, word)
    if instruction is None:
        return f".word {word:#010x}" if word & 3 == 3 else f".half {word & 0xFFFF:#06x}"
    mnemonic = instruction.mnemonic + _fill(instruction.suffix, instruction, word, pc)
    return f"{mnemonic} {operand_text(instruction, word, pc)}".rstrip()
