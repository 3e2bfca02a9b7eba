"""What the commit log needs beside the hart's own knowledge: the register a word writes, the CSRs a write changes.

The log's format and the rules behind these tables are in docs/conformance.md; commitlog.h formats the lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rvsim.isa.build import apply
from rvsim.isa.ir import Instruction, walk
from rvsim.isa.names import CSRS
from rvsim.machine.csr import MSTATUS, MSTATUSH

if TYPE_CHECKING:
    from rvsim.machine.csr import CsrFile

# mcycle, minstret and their upper halves are logged with the value written, which the next instruction reads.
_COUNTERS = frozenset({0xB00, 0xB02, 0xB80, 0xB82})
# Spike's hardware performance counters and tdata1 on are constants, and writes of them not logged.
_SILENT = frozenset({*range(0xB03, 0xB20), *range(0xB83, 0xBA0), *range(0x7A1, 0x7A5)})


def destination(instruction: Instruction, word: int) -> int:
    """Number of the X register that an instruction word writes; 0 for none."""
    fields = {f.name: f for f in instruction.fields}
    values: dict[int, int] = {}
    for op in instruction.static:
        if op.code == "field":
            values[op.result] = fields[op.attr].extract(word)
        elif op.code != "pc":
            arguments = [values.get(a) for a in op.args]
            if None not in arguments:
                values[op.result] = apply(op.code, op.attr, [a for a in arguments if a is not None])
    for op in walk(instruction.body):
        if op.code == "put" and op.attr == "X":
            return values.get(op.args[0], 0) & 31
    return 0


def written_csrs(csrs: CsrFile, number: int, value: int) -> list[tuple[bytes, int, int]]:
    """Name, number and value of each CSR to log for a write of `value` to a CSR."""
    if number in _SILENT:
        return []
    held = value if number in _COUNTERS else csrs.read(number)
    return [(CSRS.get(number, f"unknown_{number:03x}").encode(), number, held)]


def trap_return_csrs(csrs: CsrFile) -> list[tuple[bytes, int, int]]:
    """What mret writes: mstatus and, with 32-bit registers, its upper half."""
    return [(b"mstatus", MSTATUS, csrs.read(MSTATUS)), (b"mstatush", MSTATUSH, csrs.read(MSTATUSH))]
