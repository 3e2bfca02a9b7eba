"""The assembler: GNU as syntax to an executable ELF, instructions as the descriptions have them (docs/asm.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rvsim.asm.errors import AssemblyError, Diagnostic, Problem
from rvsim.errors import UsageError

if TYPE_CHECKING:
    from rvsim.asm.state import State
    from rvsim.isa.ir import Isa

__all__ = ["AssemblyError", "Diagnostic", "assemble", "assemble_program"]


def assemble(
    source: str,
    *,
    isa: str | None = None,
    name: str = "<string>",
    text: int = 0x8000_0000,
    defines: Mapping[str, int] | None = None,
    isa_ext: Sequence[Isa] = (),
    folder: str | None = None,
    relax: bool = False,
) -> bytes:
    r"""Assemble a source to an executable.

    Parameters
    ----------
    source : str
        GNU as syntax.
    isa : str, optional
        The instruction set, such as ``rv32imac_zba``; ``rv32imc`` by default.
    name : str
        What diagnostics and debuggers call the source.
    text : int
        Address of the first section.
    defines : mapping of str to int, optional
        Symbols that are set before the first line.
    isa_ext : sequence of Isa
        Sets whose instructions are added, as `rvsim.isa.model.load_extension` loads them.
    folder : str, optional
        Where `.include` and `.incbin` find files; without it they are refused.
    relax : bool
        Shorten calls whose target a single jump reaches, as the GNU linker does.

    Returns
    -------
    bytes
        An ELF32 image (ET_EXEC) with symbols and line information.

    Raises
    ------
    AssemblyError
        With all diagnostics; at most 20 errors are collected.
    UsageError
        There is no such instruction set.

    Examples
    --------
    >>> assemble("_start: li a0, 42")[:4]
    b'\x7fELF'
    """
    return assemble_program(
        source, isa=isa, name=name, text=text, defines=defines, isa_ext=isa_ext, folder=folder, relax=relax
    )[0]


def assemble_program(
    source: str,
    *,
    isa: str | None = None,
    name: str = "<string>",
    text: int = 0x8000_0000,
    defines: Mapping[str, int] | None = None,
    isa_ext: Sequence[Isa] = (),
    folder: str | None = None,
    relax: bool = False,
    compile_folder: str = "",
) -> tuple[bytes, State]:
    """As `assemble`, and the state with sections, symbols and warnings.

    Parameters
    ----------
    compile_folder : str
        Where a debugger finds the source by its name (DW_AT_comp_dir).
    """
    from rvsim.asm.assembler import Assembler
    from rvsim.asm.elf_writer import write_elf
    from rvsim.asm.instructions import instruction_set
    from rvsim.asm.linking import Linker
    from rvsim.asm.state import State
    from rvsim.isa.select import DEFAULT

    state = State(instruction_set(isa or DEFAULT, isa_ext), isa_ext, folder, relax)
    for symbol, value in (defines or {}).items():
        try:
            state.define(symbol, value, 0, variable=True)
        except Problem as problem:
            raise UsageError(problem.message) from None
    Assembler(state).run(source, name)
    Linker(state).finish(text)
    return write_elf(state, name, compile_folder, text), state
