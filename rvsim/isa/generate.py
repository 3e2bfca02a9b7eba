"""Build step: writes the interpreter's C header and the compiled description of the bundled core.

Run by setup.py before the extensions are compiled; nothing it writes is committed.
"""

from __future__ import annotations

import marshal
import sys
from pathlib import Path

import msgspec

from rvsim.isa.bundle import Summary
from rvsim.isa.ccode import generate_header, instruction_class
from rvsim.isa.elaborate import DESCRIPTIONS
from rvsim.isa.ir import Instruction, walk
from rvsim.isa.model import load_core, load_extension
from rvsim.isa.routine import step_lines
from rvsim.isa.template import header_lines


def generate(headers: Path, bundle: Path) -> None:
    """Write ``interpreter.h`` below `headers` and the elaborated instruction sets below `bundle`."""
    isa = load_core(DESCRIPTIONS / "rv32.core_desc", "RV32")
    aligned = load_extension(DESCRIPTIONS / "RV32I.core_desc")  # without RVC: INSTR_ALIGNMENT is 4
    headers.mkdir(parents=True, exist_ok=True)
    bundle.mkdir(parents=True, exist_ok=True)
    header = generate_header(isa, aligned.instructions, lambda handlers: [*header_lines(handlers), *step_lines()])
    interpreter = headers / "interpreter.h"
    # A header that stays as it is need not be compiled again.
    if not interpreter.is_file() or interpreter.read_text() != header:
        interpreter.write_text(header)
    (bundle / "rv32.msgpack").write_bytes(msgspec.msgpack.encode(isa))
    rows = [tuple(getattr(summary(i), field) for field in Summary.record_fields) for i in isa.instructions]
    (bundle / "rv32.summaries").write_bytes(marshal.dumps(rows, 2))  # a version that every Python reads
    for description in sorted((Path(__file__).parents[2] / "accel").glob("*/*.core_desc")):
        (bundle / f"{description.stem}.msgpack").write_bytes(msgspec.msgpack.encode(load_extension(description)))


def summary(i: Instruction) -> Summary:
    """What a run has to know of an instruction."""
    sizes = [op.attr[1] for op in walk(i.body) if op.code in ("load", "store") and op.attr[0] == "MEM"]
    return Summary(name=i.name, set=i.set, class_=instruction_class(i), size=i.size, access=sizes[0] if sizes else 0)


if __name__ == "__main__":
    root = Path(__file__).parents[1]
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else root / "machine" / "_generated", root / "isa" / "_bundle")
