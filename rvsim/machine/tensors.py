"""The input and output tensors that a program declares in its section .rvsim.io."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from rvsim.errors import ElfError, InputFileError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from rvsim.machine.machine import Machine


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input or output tensor of a program (docs/architecture.md, `.rvsim.io`).

    Attributes
    ----------
    symbol : str
        Name of the object that holds it.
    shape : tuple of int
        Dimensions, each at least 1.
    dtype : {"int8", "int16", "int32", "float32"}
    scale : float
        Real value of one step; 0 or 1 where the tensor is not quantised.
    zero_point : int
        Quantised value of real 0.
    """

    symbol: str
    shape: tuple[int, ...]
    dtype: Literal["int8", "int16", "int32", "float32"]
    scale: float = 1.0
    zero_point: int = 0

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        size = {"int8": 1, "int16": 2, "int32": 4, "float32": 4}[self.dtype]
        for dimension in self.shape:
            size *= dimension
        return size

    def __post_init__(self) -> None:
        if any(dimension < 1 for dimension in self.shape) or self.nbytes > 1 << 32:
            raise ValueError(f"shape {list(self.shape)} has a dimension below 1 or more than 4 GiB")


class ProgramIO(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `.rvsim.io` says: where a program takes its input and leaves its output."""

    version: Literal[1]
    input: Tensor | None = None
    output: Tensor | None = None


def decode_io(text: bytes, path: str) -> ProgramIO:
    """What the section holds; `path` is the program's, for the message.

    Raises
    ------
    ElfError
    """
    try:
        return msgspec.json.decode(text, type=ProgramIO)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = " ".join(f"{error}".split())[:200] or type(error).__name__
        raise ElfError(
            f"{path}: section .rvsim.io does not hold the description of tensors that docs/architecture.md defines: "
            f"{what}; compile the model again"
        ) from None


def write_input(machine: Machine, array: np.ndarray) -> None:
    """Write the input tensor; see `Machine.write_input`."""
    import numpy as np

    tensor, address = _find(machine, "input")
    array = np.asarray(array)
    if array.dtype != np.dtype(tensor.dtype) or _squeezed(array.shape) != _squeezed(tensor.shape):
        raise InputFileError(
            f"input of {machine.program.path}: expected {tensor.dtype} of shape {tuple(tensor.shape)}, "
            f"found {array.dtype} of shape {array.shape}"
        )
    data = np.ascontiguousarray(array).astype(np.dtype(tensor.dtype).newbyteorder("<")).tobytes()
    machine.write_memory(address, data)


def read_output(machine: Machine) -> np.ndarray:
    """Read the output tensor; see `Machine.read_output`."""
    import numpy as np

    tensor, address = _find(machine, "output")
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    count = 1
    for size in tensor.shape:
        count *= size
    data = machine.read_memory(address, count * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(tensor.shape).astype(tensor.dtype)


def _find(machine: Machine, which: str) -> tuple[Tensor, int]:
    program = machine.program
    tensor = getattr(program.io, which) if program.io else None
    if tensor is None:
        raise UsageError(
            f"{program.path}: expected a section .rvsim.io that names the {which} tensor; found none "
            f"(rvsim compile makes one)"
        )
    symbol = program.symbol(tensor.symbol)
    if symbol is None:
        raise ElfError(
            f"{program.path}: .rvsim.io names the {which} {tensor.symbol}, the program has no such "
            f"symbol (was it stripped?)"
        )
    return tensor, symbol.address


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without its leading axes of length 1."""
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)
