"""The bundled instruction sets, elaborated at build time: no description is parsed when a program runs."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from rvsim.errors import RvsimError
from rvsim.isa.ir import Isa

BUNDLE = Path(__file__).with_name("_bundle")


@functools.cache
def bundled(name: str) -> Isa:
    """An elaborated instruction set: ``rv32``, all that the hart can execute, or a coprocessor's such as ``conv``."""
    path = BUNDLE / f"{name}.msgpack"
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Isa)
    except OSError:
        raise RvsimError(f"the build left no {path.name}: build the package again (pip install .)") from None
