"""The bundled instruction sets, elaborated at build time: no description is parsed when a program runs.

A run needs little of an instruction beside the generated C: the `summaries`. Behaviours are loaded by who asks for
them: the disassembler, the evaluator, the commit log.
"""

from __future__ import annotations

import os

from rvsim.errors import RvsimError
from rvsim.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rvsim.isa.ir import Isa

BUNDLE = os.path.join(os.path.dirname(__file__), "_bundle")
_sets: dict[str, Isa] = {}
_summaries: dict[str, list[Summary]] = {}


class Summary(Record):
    """What a run has to know of an instruction.

    Attributes
    ----------
    name : str
    set : str
        The `InstructionSet` that declares it.
    class_ : str
        Timing class (`rvsim.isa.ccode.instruction_class`).
    size : int
        Bytes of the instruction.
    access : int
        Bytes of memory that it reads or writes; 0 for none.
    """

    name: str
    set: str
    class_: str
    size: int
    access: int


def bundled(name: str) -> Isa:
    """An elaborated instruction set: ``rv32``, all that the hart can execute, or a coprocessor's such as ``conv``."""
    if name not in _sets:
        import msgspec

        from rvsim.isa.ir import Isa

        _sets[name] = msgspec.msgpack.decode(_read(f"{name}.msgpack"), type=Isa)
    return _sets[name]


def summaries(name: str) -> list[Summary]:
    """Of each instruction of a set, in the set's order."""
    if name not in _summaries:
        import marshal

        rows = marshal.loads(_read(f"{name}.summaries"))
        _summaries[name] = [Summary(**dict(zip(Summary.record_fields, row, strict=True))) for row in rows]
    return _summaries[name]


def _read(file: str) -> bytes:
    try:
        with open(os.path.join(BUNDLE, file), "rb") as bundle:
            return bundle.read()
    except OSError:
        raise RvsimError(f"the build left no {file}: build the package again (pip install .)") from None
