"""Which instructions may be written: those of the chosen instruction set, and of files that were added."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from rvsim.asm.errors import Problem
from rvsim.asm.operands import Template
from rvsim.errors import RvsimError
from rvsim.isa.disassemble import format_operand
from rvsim.isa.ir import Instruction, Isa
from rvsim.isa.select import DEFAULT, Selection, select

# Unprivileged manual 20240411, "Preface": versions that are not 1.0.
VERSIONS = {"i": "2p1", "m": "2p0", "a": "2p1", "c": "2p0", "zicsr": "2p0", "zifencei": "2p0"}
# Named by no version of GNU as without more, or implied by what is named.
UNNAMED = frozenset({"b", "zmmul", "zaamo", "zalrsc", "zca", "zicntr", "zihpm"})

_SUFFIX = re.compile(r"\{(\w+)(?::([^{}]*))?\}")


class InstructionSet:
    """Templates by mnemonic, for one choice of extensions.

    Parameters
    ----------
    extensions : frozenset of str
        Lower-case names: ``m``, ``zba``.
    name : str
        The canonical name, such as ``rv32imc_zicsr_zifencei``.
    templates : dict
        Those that may be used, by mnemonic.
    others : dict
        Those of instructions that the choice leaves out.
    """

    def __init__(
        self,
        name: str,
        extensions: frozenset[str],
        templates: dict[str, list[Template]],
        others: dict[str, list[Template]],
    ) -> None:
        self.name, self.extensions, self.templates, self.others = name, extensions, templates, others
        self.narrow = {m: ts[0] for m, ts in templates.items() if ts[0].instruction.size == 2}
        self.wide = {m: ts for m, ts in templates.items() if ts[0].instruction.size != 2}

    @property
    def compressed(self) -> bool:
        return "c" in self.extensions

    @property
    def attribute(self) -> str:
        """The name with versions, as Tag_RISCV_arch has it (RISC-V ELF psABI, "Attributes")."""
        named = self.extensions - UNNAMED
        single = "_".join(e + VERSIONS[e] for e in "imac" if e in named)
        rest = sorted(f"{e}{VERSIONS.get(e, '1p0')}" for e in named if len(e) > 1)
        return "_".join([f"rv32{single}", *rest])


def templates_of(instruction: Instruction) -> list[tuple[str, Template]]:
    """Mnemonics of an instruction, and a template for each: with a suffix, one for each value of its field."""
    if not instruction.suffix:
        return [(instruction.mnemonic, Template(instruction))]
    found = _SUFFIX.fullmatch(instruction.suffix)
    into = next((f for f in instruction.fields if found and f.name == found[1]), None)
    if found is None or into is None or into.width > 6:
        return [(instruction.mnemonic, Template(instruction))]
    values = [value for value in range(1 << into.width) if not value & ~into.encodable]
    return [
        (
            instruction.mnemonic + format_operand(value, into.width, found[2] or "", 0),
            Template(instruction, (into, value)),
        )
        for value in values
    ]


@functools.cache
def _templates() -> list[list[tuple[str, Template]]]:
    from rvsim.isa.bundle import bundled

    return [templates_of(i) for i in bundled("rv32").instructions]


@functools.lru_cache(maxsize=64)
def _select(text: str) -> tuple[Selection, dict[str, list[Template]], dict[str, list[Template]]]:
    selection = select(text)
    chosen: dict[str, list[Template]] = {}
    others: dict[str, list[Template]] = {}
    for templates, enabled in zip(_templates(), selection.enabled, strict=True):
        for mnemonic, template in templates:
            (chosen if enabled else others).setdefault(mnemonic, []).append(template)
    return selection, chosen, others


def instruction_set(text: str = DEFAULT, added: Sequence[Isa] = ()) -> InstructionSet:
    """The instructions of ``rv32imac_zba`` and of the sets that were loaded beside it.

    Raises
    ------
    UsageError
        There is no such instruction set.
    """
    selection, chosen, others = _select(text)
    chosen = {mnemonic: list(templates) for mnemonic, templates in chosen.items()}
    for isa in added:
        for instruction in isa.instructions:
            for mnemonic, template in templates_of(instruction):
                # One that was added comes first: it is the one that is meant.
                chosen.setdefault(mnemonic, []).insert(0, template)
    return InstructionSet(selection.name, selection.extensions, chosen, others)


def change(current: InstructionSet, words: list[str], added: Sequence[Isa], column: int) -> InstructionSet:
    """`.option arch`: ``+zba``, ``-c``, or a whole name.

    Raises
    ------
    Problem
        There is no such extension.
    """
    name = current.name
    for word in (each.strip().lower() for each in words):
        if word.startswith("rv"):
            name = word
        elif word[:1] == "+" and word[1:]:
            name += f"_{word[1:]}"
        elif word[:1] == "-" and word[1:]:
            parts = re.findall(r"[a-y]|z\w+", name.removeprefix("rv32").replace("_", " "))
            name = "_".join(["rv32i", *(part for part in parts if part not in ("i", word[1:]))])
        else:
            raise Problem(f"expected +EXTENSION, -EXTENSION or a name such as rv32imc, found {word!r}", column)
        try:
            name = instruction_set(name).name
        except RvsimError as error:
            raise Problem(str(error).partition(": ")[2] or str(error), column) from None
    return instruction_set(name, added)
