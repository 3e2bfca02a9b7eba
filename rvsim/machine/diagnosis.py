"""Why a program died, in words: what to try after an illegal instruction or an access outside memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accel import registry
from rvsim.isa import names
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import disassemble, find, operand_text
from rvsim.machine.memory import Region

if TYPE_CHECKING:
    from accel.protocol import AccessFault
    from rvsim.machine.machine import Machine

BREAKPOINT, ILLEGAL = 3, 2


def explain(machine: Machine, pc: int, cause: int, tval: int, fault: AccessFault | None) -> str:
    """Say what ended the program: the pc, where that is in the source, the instruction, and what to try.

    Parameters
    ----------
    fault : AccessFault or None
        The coprocessor's access that the instruction reports.
    """
    what = names.EXCEPTIONS.get(cause, f"exception {cause}")
    where = machine.program.where(pc)
    word = _word(machine, pc) or 0
    text = text_at(machine, pc)
    own = machine.added_instruction(word)
    mtvec = machine.csrs.mtvec
    if cause == ILLEGAL and own is not None:
        return f"illegal instruction {text} at {where}: its behaviour ({own.where}) raises this"
    if cause == ILLEGAL:
        claimed = machine.coprocessor.major_opcode if machine.coprocessor else None
        return f"illegal instruction {text} at {where}: {illegal_hint(word, claimed)}"
    if cause in (5, 7) and fault is not None:
        action = "writes" if fault.write else "reads"
        return (
            f"{what}: the coprocessor's command at {machine.program.where(fault.pc)} {action} {fault.size} bytes at "
            f"{fault.address:#010x}, outside memory; reported by {text} at {where}; {memory_hint(machine.regions)}"
        )
    if cause in (1, 5, 7):
        return f"{what} at address {tval:#010x}: {text} at {where}; {memory_hint(machine.regions)}"
    if cause in (0, 4, 6):
        return (
            f"{what}: {text} at {where}, address {tval:#010x}; core {machine.timing.name} traps it and the "
            f"program has no trap handler (mtvec is {mtvec})"
        )
    if cause == BREAKPOINT:
        return f"breakpoint ({text}) at {where}, and no debugger; an assertion or abort of the program?"
    return f"{what} at {where} ({text}), and the program has no trap handler (mtvec is {mtvec})"


def text_at(machine: Machine, pc: int) -> str:
    """The instruction at an address, disassembled."""
    word = _word(machine, pc)
    if word is None:
        return "no memory"
    own = machine.added_instruction(word)
    if own is None:
        return disassemble(machine.isa, word, pc)
    return f"{own.mnemonic} {operand_text(own, word, pc)}".rstrip()


def _word(machine: Machine, pc: int) -> int | None:
    raw = machine.hart.peek(pc, 4) or machine.hart.peek(pc, 2)
    word = int.from_bytes(raw, "little") if raw else None
    return word if word is None or word & 3 == 3 else word & 0xFFFF


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
        for kind in registry.kinds():
            command = find(bundled(kind), word) if kind != "conv" else None
            if command is not None:
                hint += f"with --accel {kind} it is {command.mnemonic}; "
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
