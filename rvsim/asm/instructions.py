"""Which instructions may be written: those of the chosen instruction set, and of files that were added."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from rvsim.asm.errors import Problem
from rvsim.asm.operands import Template
from rvsim.errors import RvsimError, UsageError
from rvsim.isa.ir import Isa

DEFAULT_ISA = "rv32imc"

# RISC-V ELF psABI, "Tag_RISCV_arch": names with versions, of which binutils knows these.
VERSIONS = {"i": "2p1", "m": "2p0", "a": "2p1", "c": "2p0", "zicsr": "2p0", "zifencei": "2p0", "zmmul": "1p0"}
SINGLE = "imac"


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
        """The name with versions, as Tag_RISCV_arch has it."""
        single = "_".join(e + VERSIONS[e] for e in SINGLE if e in self.extensions or e == "i")
        rest = [f"{e}{VERSIONS.get(e, '1p0')}" for e in sorted(self.extensions) if len(e) > 1]
        return "_".join([f"rv32{single}", *rest])


@functools.cache
def _templates(name: str) -> tuple[Isa, list[Template]]:
    from rvsim.isa.bundle import bundled

    isa = bundled(name)
    return isa, [Template(i) for i in isa.instructions]


@functools.lru_cache(maxsize=64)
def _select(text: str) -> tuple[str, frozenset[str], dict[str, list[Template]], dict[str, list[Template]]]:
    try:
        from rvsim.isa.select import select
    except ImportError:
        return _select_rv32imc(text)
    selection = select(text)
    _, templates = _templates("rv32")
    chosen: dict[str, list[Template]] = {}
    others: dict[str, list[Template]] = {}
    for template, enabled in zip(templates, selection.enabled, strict=True):
        (chosen if enabled else others).setdefault(template.instruction.mnemonic, []).append(template)
    return selection.name, frozenset(selection.extensions), chosen, others


def _select_rv32imc(text: str) -> tuple[str, frozenset[str], dict[str, list[Template]], dict[str, list[Template]]]:
    """As `_select`, while the one bundled set is RV32IMC."""
    letters, *rest = text.lower().removeprefix("rv32").split("_")
    extensions = frozenset({*letters, *rest, "zicsr", "zifencei"})
    if unknown := extensions - {"i", "m", "c", "zicsr", "zifencei"}:
        raise UsageError(f"expected extensions m, c, zicsr and zifencei, found {', '.join(sorted(unknown))}")
    chosen: dict[str, list[Template]] = {}
    others: dict[str, list[Template]] = {}
    for template in _templates("rv32imc")[1]:
        needs = {"RVM": "m", "RVC": "c"}.get(template.instruction.set, "i")
        (chosen if needs in extensions else others).setdefault(template.instruction.mnemonic, []).append(template)
    name = "_".join(["rv32" + "".join(e for e in SINGLE if e in extensions), "zicsr", "zifencei"])
    return name, extensions, chosen, others


def instruction_set(text: str = DEFAULT_ISA, added: Sequence[Isa] = ()) -> InstructionSet:
    """The instructions of ``rv32imac_zba`` and of the sets that were loaded beside it.

    Raises
    ------
    UsageError
        There is no such instruction set.
    """
    name, extensions, chosen, others = _select(text)
    chosen = {mnemonic: list(templates) for mnemonic, templates in chosen.items()}
    for isa in added:
        for instruction in isa.instructions:
            # One that was added comes first: it is the one that is meant.
            chosen.setdefault(instruction.mnemonic, []).insert(0, Template(instruction))
    return InstructionSet(name, extensions, chosen, others)


def change(current: InstructionSet, words: list[str], added: Sequence[Isa], column: int) -> InstructionSet:
    """`.option arch`: ``+zba``, ``-c``, or a whole name.

    Raises
    ------
    Problem
        There is no such extension.
    """
    extensions = set(current.extensions)
    for word in words:
        word = re.sub(r"\d+p\d+", "", word.strip().lower())
        if word.startswith("rv"):
            text = word
        elif word[:1] in "+-" and word[1:]:
            (extensions.add if word[0] == "+" else extensions.discard)(word[1:])
            letters = "".join(e for e in "imac" if e in extensions or e == "i")
            rest = sorted(e for e in extensions if len(e) > 1)
            text = "_".join([f"rv32{letters}", *rest])
        else:
            raise Problem(f"expected +EXTENSION, -EXTENSION or a name such as rv32imc, found {word!r}", column)
        try:
            extensions = set(instruction_set(text).extensions)
        except RvsimError as error:
            raise Problem(str(error), column) from None
    return instruction_set(text, added) if words else current
