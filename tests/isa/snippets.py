"""What the front end's tests share: loading a description from text, and a context that only remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rvsim.isa import model
from rvsim.isa.ir import Instruction, Isa
from rvsim.isa.syntax import CoreDslError


class Recorder:
    """A context for `evaluate.execute`: registers and memory are dictionaries, every effect goes into a list."""

    def __init__(self, registers: dict[int, int] | None = None, memory: Callable[[str, int, int], int] | None = None):
        self.registers = {("X", n): value for n, value in (registers or {}).items()}
        self.memory = memory or (lambda space, address, size: 0)
        self.effects: list[tuple[Any, ...]] = []

    def get(self, file: str, index: int | None) -> int:
        return self.registers.get((file, index), 0)  # type: ignore[call-overload]

    def put(self, file: str, index: int | None, value: int) -> None:
        self.registers[file, index] = value  # type: ignore[index]
        self.effects.append(("put", file, index, value))

    def load(self, space: str, address: int, size: int, big_endian: bool) -> int:
        self.effects.append(("load", space, address, size))
        return self.memory(space, address, size)

    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None:
        self.effects.append(("store", space, address, value, size, big_endian))

    def call(self, name: str, arguments: Sequence[int]) -> int | None:
        self.effects.append(("call", name, *arguments))
        return 0


def load(folder: Path, text: str, **options: Any) -> Isa:
    """Load the text of a description as `--isa-ext` does."""
    path = folder / "t.core_desc"
    path.write_text(text)
    return model.load_extension(path, **options)


def refusal(folder: Path, text: str, **options: Any) -> CoreDslError:
    """The error that the text of a description gives."""
    try:
        load(folder, text, **options)
    except CoreDslError as error:
        return error
    raise AssertionError("the description was accepted")


def word_of(instruction: Instruction, **fields: int) -> int:
    """The instruction word with these operands."""
    return instruction.match | sum(f.insert(fields.get(f.name, 0)) for f in instruction.fields)
