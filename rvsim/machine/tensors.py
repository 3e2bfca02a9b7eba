"""The input and output tensors that a program declares in its section .rvsim.io."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rvsim.errors import ElfError, InputFileError, UsageError
from rvsim.machine.elf import Tensor

if TYPE_CHECKING:
    import numpy as np

    from rvsim.machine.machine import Machine


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
