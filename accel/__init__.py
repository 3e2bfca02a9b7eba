"""Coprocessors: the protocol they keep, the registry of presets, and one folder each.

What a coprocessor of your own needs (docs/coprocessor.md, "Your own"):

    >>> from accel import instruction
    >>> @instruction(funct3=0, funct7=0, opcode="custom-1", latency_cycles=2)
    ... def sad(rs1, rs2):
    ...     return sum(abs((rs1 >> n & 255) - (rs2 >> n & 255)) for n in (0, 8, 16, 24))
"""

from accel.instructions import InstructionCoprocessor, instruction
from accel.protocol import AccessFault, Command, Coprocessor, MemoryPort, PortFault, Response

__all__ = [
    "AccessFault",
    "Command",
    "Coprocessor",
    "InstructionCoprocessor",
    "MemoryPort",
    "PortFault",
    "Response",
    "instruction",
]
