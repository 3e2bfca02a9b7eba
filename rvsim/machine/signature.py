"""The signature of a run: memory between two symbols as text, for riscv-arch-test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rvsim.errors import ElfError, UsageError

BEGIN, END = "begin_signature", "end_signature"
GRANULARITIES = (1, 2, 4, 8, 16)


class _Symbol(Protocol):
    @property
    def address(self) -> int: ...


class _Program(Protocol):
    @property
    def path(self) -> str: ...
    def symbol(self, name: str) -> _Symbol | None: ...


def write_signature(program: _Program, read_memory: Callable[[int, int], bytes], granularity: int = 4) -> str:
    """Text of the memory from ``begin_signature`` to ``end_signature``, one line for each `granularity` bytes.

    A line holds its bytes in lower-case hexadecimal, the one of the highest address first; the last is filled up with
    zeros. Spike (``+signature``, ``+signature-granularity``) and RISCOF read and write the same.

    Parameters
    ----------
    program : Program
    read_memory : callable
        ``read_memory(address, size)``, as `Machine.read_memory`; sizes and addresses in bytes.
    granularity : {4, 1, 2, 8, 16}
        Bytes a line; riscv-arch-test takes 4.

    Raises
    ------
    ElfError
        `program` lacks one of the symbols, or they are in the wrong order.
    UsageError
        Another granularity.
    """
    if granularity not in GRANULARITIES:
        allowed = ", ".join(map(str, GRANULARITIES))
        raise UsageError(f"expected a signature granularity of {allowed} bytes, found {granularity}")
    begin, end = (_address(program, name) for name in (BEGIN, END))
    if end < begin:
        raise ElfError(f"{program.path}: expected {END} behind {BEGIN} (0x{begin:08x}), found it at 0x{end:08x}")
    data = bytes(read_memory(begin, end - begin)) if end > begin else b""
    lines = (data[at : at + granularity].ljust(granularity, b"\0") for at in range(0, len(data), granularity))
    return "".join(f"{line[::-1].hex()}\n" for line in lines)


def _address(program: _Program, name: str) -> int:
    symbol = program.symbol(name)
    if symbol is None:
        raise ElfError(
            f"{program.path}: expected the symbols {BEGIN} and {END} around the signature, found no {name}; "
            "define both, as riscv-arch-test does (RVMODEL_DATA_BEGIN, RVMODEL_DATA_END), and do not strip the program"
        )
    return symbol.address
