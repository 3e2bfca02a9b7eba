"""One layer to an ELF: generated data, the fixed `layer_main.c`, and the guest kernels, built by `kernels.build`."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from accel.conv.descriptor import MAGIC
from rvsim.errors import InputFileError, OutputError
from rvsim.nn.layer import ADDRESSES, ConvLayerSpec, TensorSpec

if TYPE_CHECKING:
    from kernels.build import Toolchain

_NPY_MAGIC = b"\x93NUMPY"
_RAM_BYTES = 16 << 20  # kernels/runtime/link.ld
_PROGRAM_BYTES = 256 << 10  # code, stack, heap and alignment: more than they take


def compile_layer(
    spec: ConvLayerSpec,
    output: str | os.PathLike[str],
    *,
    input_bytes: bytes | None = None,
    second_bytes: bytes | None = None,
    optimise: str = "2",
    toolchain: Toolchain | None = None,
) -> Path:
    """Build the ELF that runs `spec` on the simulator.

    Parameters
    ----------
    spec : ConvLayerSpec
        The layer.
    output : path
        The ELF to write; replaced only once the new one is complete.
    input_bytes : bytes, optional
        The input tensor, int8 in the order of its shape; by default `default_input`.
    second_bytes : bytes, optional
        The second input of ADD; by default its constant, if it is one, else what follows in the pattern of
        `default_input`.
    optimise : str
        Optimisation level of the compiler, `2` or `s`.
    toolchain : kernels.build.Toolchain, optional
        The compiler; by default the one that `kernels.build.find_toolchain` finds.

    Returns
    -------
    Path
        The ELF.

    Raises
    ------
    InputFileError
        The layer does not fit into the guest's memory.
    OutputError
        `output` cannot be written.
    UsageError
        No compiler was found.
    RvsimError
        The compiler failed.
    """
    from kernels.build import build_program

    _check_memory(spec)
    destination = Path(os.path.realpath(output))
    if destination.exists() and not destination.is_file():
        raise OutputError(f"{output}: cannot be written: expected a file, found something that is not a regular file")
    with tempfile.TemporaryDirectory(prefix="rvsim-") as scratch:
        # Below an include folder, whose name build_program keeps out of the ELF: the same layer gives the same bytes.
        folder = Path(scratch) / "layer"
        folder.mkdir()
        sources = write_sources(spec, folder, input_bytes, second_bytes)
        build_program(sources, destination, include=(scratch,), optimise=optimise, toolchain=toolchain)
    return Path(output)


def default_input(elements: int) -> bytes:
    """Input of a layer compiled without one: the top bytes of x <- 1664525 x + 1013904223 mod 2**32, from x = 1.

    The constants are those of "Numerical Recipes", section 7.1. A layer sees all of int8, and the same in every build.
    """
    state, pattern = 1, bytearray(elements)
    for i in range(elements):
        state = (1664525 * state + 1013904223) & 0xFFFFFFFF
        pattern[i] = state >> 24
    return bytes(pattern)


def read_input(path: str | os.PathLike[str], tensor: TensorSpec) -> bytes:
    """Read a .npy file as an input tensor; leading axes of 1 (the batch) may be there or not.

    Raises
    ------
    InputFileError
        The file cannot be read, is no .npy file, is not int8, or has another shape.
    """
    import numpy as np

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # before opening: a pipe would wait for its writer
            raise InputFileError(f"{path}: expected a .npy file, found something that is not a regular file")
        with open(path, "rb") as file:
            if file.read(len(_NPY_MAGIC)) != _NPY_MAGIC:
                raise InputFileError(f"{path}: expected a .npy file (numpy.save writes one), found another format")
    except OSError as error:
        raise InputFileError(f"{path}: cannot read the input: {error.strerror or error}") from None
    try:
        # Mapped, so that a header naming a huge shape is checked against the file and not allocated.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy reads the header as Python text, which fails in many ways
        raise InputFileError(
            f"{path}: not a readable .npy file: {(str(error) or repr(error)).splitlines()[0]}"
        ) from None
    if array.dtype != np.int8:
        raise InputFileError(
            f"{path}: expected int8, found {array.dtype}; "
            f"quantise it with scale {tensor.scale} and zero point {tensor.zero_point}"
        )
    if _without_batch(array.shape) != _without_batch(tensor.shape):
        raise InputFileError(f"{path}: expected the shape {list(tensor.shape)}, found {list(array.shape)}")
    return bytes(array.tobytes())


def _without_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[first:])


def _check_memory(spec: ConvLayerSpec) -> None:
    second = spec.second_input
    parts = {"weights": len(spec.weights or b"")} if second is None else {"second input": second.elements}
    parts |= {"input": spec.input.elements, "output": spec.output.elements}
    if sum(parts.values()) + 12 * spec.shape.multipliers + _PROGRAM_BYTES > _RAM_BYTES:
        sizes = ", ".join(f"{name} {size:,}" for name, size in parts.items())
        raise InputFileError(
            f"layer {spec.index} ({spec.opcode}) does not fit into the guest's {_RAM_BYTES >> 20} MiB of RAM: "
            f"{sizes} bytes; take a smaller layer"
        )


def write_sources(
    spec: ConvLayerSpec, folder: Path, input_bytes: bytes | None = None, second_bytes: bytes | None = None
) -> list[Path]:
    """Write the layer's tensors and `layer.S` into `folder`; return the sources to compile."""
    elements, second = spec.input.elements, spec.second_input
    if input_bytes is None:
        input_bytes = default_input(elements)
    weights = second_bytes or spec.weights
    if second is not None and weights is None:
        weights = default_input(elements + second.elements)[elements:]
    for found, tensor in ((input_bytes, spec.input), (weights, second)):
        if tensor is not None and len(found or b"") != tensor.elements:
            raise InputFileError(
                f"layer {spec.index}: expected an input of {tensor.elements} bytes, found {len(found or b'')}"
            )
    tensors = {
        "weights": weights,
        "bias": spec.bias,
        "multiplier": spec.multiplier,
        "shift": spec.shift,
        "input": input_bytes,
    }
    for name, data in tensors.items():
        if data is not None:
            (folder / f"{name}.bin").write_bytes(data)
    io = {
        "version": 1,
        "input": _io_tensor("layer_input", spec.input),
        "output": _io_tensor("layer_output", spec.output),
    }
    (folder / "io.json").write_text(json.dumps(io), encoding="utf-8")
    source = folder / "layer.S"
    source.write_text(_assembly(spec, [name for name, data in tensors.items() if data is not None]), encoding="utf-8")
    return [source, Path(__file__).with_name("layer_main.c")]


def _io_tensor(symbol: str, tensor: TensorSpec) -> dict[str, object]:
    return {
        "symbol": symbol,
        "shape": list(tensor.shape),
        "dtype": "int8",
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _assembly(spec: ConvLayerSpec, tensors: list[str]) -> str:
    parts = [f"# Layer {spec.index}, {spec.opcode}: tensors, descriptor and the .rvsim.io section."]
    for name in tensors:
        # Inputs may be written by the host before the start, everything else is constant.
        input_ = name == "input" or (name == "weights" and spec.second_input is not None)
        section = f'.data.layer_{name}, "aw"' if input_ else f'.rodata.layer_{name}, "a"'
        parts.append(_object(section, f"layer_{name}", f'.incbin "{name}.bin"'))
    parts.append(_object('.rodata.layer_title, "a"', "layer_title", f'.asciz "layer {spec.index} {spec.opcode}"'))
    # Not in .bss: the layer writes every byte of it, and clearing it first would be counted as the program's work.
    output = f".zero {spec.output.elements}"
    parts.append(_object('.noinit.layer_output, "aw"', "layer_output", output, kind="nobits"))
    parts.append("\t.globl layer_output_end\nlayer_output_end:\n")
    words = "\n\t".join(f".word {value}\t# {name}" for name, value in _descriptor(spec, tensors))
    parts.append(_object('.data.layer_descriptor, "aw"', "layer_descriptor", words))
    parts.append('\t.section .rvsim.io, "", %progbits\n\t.incbin "io.json"\n')
    return "\n".join(parts)


def _object(section: str, symbol: str, content: str, kind: str = "progbits") -> str:
    return (
        f"\t.section {section}, %{kind}\n"
        f"\t.balign 16\n\t.globl {symbol}\n\t.type {symbol}, %object\n"
        f"{symbol}:\n\t{content}\n\t.size {symbol}, . - {symbol}\n"
    )


def _descriptor(spec: ConvLayerSpec, tensors: list[str]) -> list[tuple[str, int | str]]:
    """Name and value of each of the 28 words (docs/architecture.md); addresses are symbols for the linker."""
    words: dict[str, int | str] = {name: int(getattr(spec.shape, name)) for name in spec.shape.__struct_fields__}
    words |= {name: f"layer_{name}" for name in ADDRESSES if name in ("input", "output", *tensors)}
    return [("magic", hex(MAGIC)), *words.items(), ("status", 0)]
