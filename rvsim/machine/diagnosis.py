"""Why a program died, in words: what to try after an illegal instruction or an access outside memory."""

from __future__ import annotations

from collections.abc import Sequence

from rvsim.isa import names
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import find
from rvsim.machine.memory import Region


def illegal_hint(word: int, coprocessor: int | None) -> str:
    """What an illegal instruction word may have been meant as, and what to try.

    Parameters
    ----------
    word : int
        The word; of a 16-bit one the low half.
    coprocessor : int or None
        Major opcode of the coprocessor that is attached.
    """
    opcode = names.CUSTOM_OPCODES.get(word & 0x7F) if word & 3 == 3 else None
    if opcode is not None:
        hint = f"nobody claims this word of opcode {opcode}, which is left to custom instructions; "
        command = find(bundled("conv"), word & ~0x7F | 0x0B)
        if command is not None and coprocessor != word & 0x7F:
            option = "--accel on" if opcode == "custom-0" else f"--accel on --set accel.custom_opcode={opcode}"
            hint += f"with {option} it is the convolution coprocessor's {command.mnemonic}; "
        return f"{hint}describe an instruction of your own with --isa-ext FILE.core_desc"
    if word & 0x7F == 0x73 and (word >> 12) & 3:
        number = word >> 20
        name = names.CSRS.get(number, f"{number:#x}")
        if number == 0xFC0 and coprocessor is None:
            return "CSR 0xFC0 exists only with a coprocessor (--accel on)"
        return f"CSR {name} does not exist on this hart or may not be written"
    # Of the 16-bit loads and stores of RV32, those with bit 13 are of floating point.
    if word & 0x7F in (0x07, 0x27, 0x43, 0x47, 0x4B, 0x4F, 0x53) or (word & 1 == 0 and word >> 13 & 1):
        return "this core has no floating point; compile with -march=rv32imc -mabi=ilp32"
    if word & 0x7F == 0x2F:
        return "this core has no atomic instructions; compile with -march=rv32imc"
    if word in (0, 0xFFFF_FFFF, 0xFFFF):
        return "this is no code; did the program jump to data or run off its end?"
    return "RV32IMC has no such instruction; compile with -march=rv32imc or add it with --isa-ext FILE.core_desc"


def memory_hint(regions: Sequence[Region]) -> str:
    """Where there is memory."""
    text = ", ".join(f"{r.name} {r.base:#010x}-{r.end - 1:#010x}" for r in regions)
    return f"memory is {text} (add more with --memory NAME=ADDRESS,SIZE_KIB)"
