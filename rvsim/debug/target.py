"""What GDB is told about the machine: registers, CSRs and the memory map, as XML documents.

Source: the GDB manual, appendix G (Target descriptions; G.5.10 RISC-V features) and E.14 (Memory map format).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rvsim.isa.names import CSRS, REGISTERS
from rvsim.machine.memory import WRITE

if TYPE_CHECKING:
    from rvsim.machine import Machine

PC = 32
# GDB numbers CSR n as 65 + n (gdb/riscv-tdep.h, RISCV_FIRST_CSR_REGNUM): x0 to x31, pc, 32 floating-point registers.
FIRST_CSR = 65
_CODE_POINTERS, _DATA_POINTERS = {"ra", "pc"}, {"sp", "gp", "tp", "s0"}


def csr_numbers(machine: Machine) -> list[int]:
    """Numbers of the CSRs that the machine has; reading them changes nothing."""
    from rvsim.machine._hart import GuestTrap

    found = []
    for number in range(1 << 12):
        try:
            machine.csrs.read(number)
        except GuestTrap:
            continue
        found.append(number)
    return found


def description(csrs: list[int]) -> bytes:
    """The target description: integer registers under their ABI names, the pc, and these CSRs."""
    lines = [
        '<?xml version="1.0"?>',
        '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
        '<target version="1.0">',
        "<architecture>riscv:rv32</architecture>",
        '<feature name="org.gnu.gdb.riscv.cpu">',
    ]
    for number, name in enumerate((*REGISTERS, "pc")):
        kind = "code_ptr" if name in _CODE_POINTERS else "data_ptr" if name in _DATA_POINTERS else "int"
        lines.append(f'<reg name="{name}" bitsize="32" type="{kind}" regnum="{number}"/>')
    lines += ["</feature>", '<feature name="org.gnu.gdb.riscv.csr">']
    for number in csrs:
        name = re.sub(r"\W", "_", CSRS.get(number, f"csr_{number:03x}"))
        lines.append(f'<reg name="{name}" bitsize="32" regnum="{FIRST_CSR + number}" group="csr"/>')
    return "\n".join([*lines, "</feature>", "</target>"]).encode()


def memory_map(machine: Machine) -> bytes:
    """The memory map; in what it calls ROM, GDB sets hardware breakpoints."""
    lines = [
        '<?xml version="1.0"?>',
        '<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN" '
        '"http://sourceware.org/gdb/gdb-memory-map.dtd">',
        "<memory-map>",
    ]
    for region in machine.regions:
        kind = "ram" if region.permissions & WRITE else "rom"
        lines.append(f'<memory type="{kind}" start="{region.base:#x}" length="{region.size:#x}"/>')
    return "\n".join([*lines, "</memory-map>"]).encode()
