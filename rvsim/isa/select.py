"""Which of the bundled instructions a hart has: `--isa rv32imac_zba_zbb_zbs_zcb`, and what a program asks for beyond.

Names, order, versions and implied extensions: unprivileged manual 20240411, chapter "ISA Extension Naming Conventions";
Zc and B: the chapters of their names.
"""

from __future__ import annotations

from rvsim.errors import UsageError
from rvsim.isa.bundle import summaries
from rvsim.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rvsim.isa.bundle import Summary
    from rvsim.isa.ir import Instruction

DEFAULT = "rv32imc"
# What a selection can name, in canonical order.
LETTERS = "imacb"
EXTENSIONS = {
    "i": "base integer instructions",
    "m": "multiplication and division",
    "a": "atomic memory operations (zaamo and zalrsc)",
    "c": "compressed instructions",
    "b": "bit manipulation (zba, zbb and zbs)",
    "zicntr": "cycle, time and instret counters",
    "zicsr": "control and status registers",
    "zifencei": "instruction-fetch fence",
    "zihpm": "hardware performance counters",
    "zmmul": "multiplication without division",
    "zaamo": "atomic read-modify-write",
    "zalrsc": "load-reserved and store-conditional",
    "zca": "compressed instructions (c without floating point)",
    "zcb": "more compressed instructions",
    "zba": "address generation",
    "zbb": "basic bit manipulation",
    "zbs": "single bits",
}
# Every hart here has these, asked for or not.
ALWAYS = frozenset({"i", "zicntr", "zicsr", "zifencei", "zihpm"})
# All of the left bring the right. Without F, C is Zca.
_IMPLIES = (
    ({"m"}, {"zmmul"}),
    ({"a"}, {"zaamo", "zalrsc"}),
    ({"zaamo", "zalrsc"}, {"a"}),
    ({"c"}, {"zca"}),
    ({"zcb"}, {"zca"}),
    ({"zca"}, {"c"}),
    ({"b"}, {"zba", "zbb", "zbs"}),
    ({"zba", "zbb", "zbs"}, {"b"}),
)
# Left out of the canonical name: something else in it implies them.
_SILENT = {"zaamo": "a", "zalrsc": "a", "zca": "c", "zmmul": "m", "b": "zba"}
# What the instructions of a set need, and single ones beyond.
_OF_SET = {
    "RV32I": "i", "Machine": "i", "Zicsr": "zicsr", "Zifencei": "zifencei", "RVM": "m", "RVA": "zaamo", "RVC": "zca",
    "Zba": "zba", "Zbb": "zbb", "Zbs": "zbs", "Zcb": "zcb",
}  # fmt: skip
_OF_INSTRUCTION = {
    **dict.fromkeys(("MUL", "MULH", "MULHSU", "MULHU"), frozenset({"zmmul"})),
    **dict.fromkeys(("LR_W", "SC_W"), frozenset({"zalrsc"})),
    **dict.fromkeys(("C_SEXT_B", "C_SEXT_H", "C_ZEXT_H"), frozenset({"zcb", "zbb"})),
    "C_MUL": frozenset({"zcb", "zmmul"}),
}
_MISA_MXL_32 = 1 << 30
# Why there is none of these.
_ABSENT = {
    "e": "rv32e has 16 registers, and this hart has 32: programs for rv32e run on rv32i",
    "f": "rvsim has no floating-point registers: compile with -mabi=ilp32 and without f and d",
    "d": "rvsim has no floating-point registers: compile with -mabi=ilp32 and without f and d",
    "g": "g includes f and d, and rvsim has no floating-point registers",
    "s": "rvsim has machine mode only",
    "u": "rvsim has machine mode only",
    "v": "rvsim has no vector instructions",
}
_LETTERS = "abcdefghijklmnopqrtuvwy"  # z, s and x begin longer names
_DIGITS = "0123456789"

_enabled: dict[frozenset[str], tuple[bool, ...]] = {}


class Selection(Record):
    """The extensions of a hart.

    Attributes
    ----------
    name : str
        Canonical: equal selections have equal names.
    extensions : frozenset of str
        Lower-case names, implied ones included.
    """

    name: str
    extensions: frozenset[str]

    @property
    def compressed(self) -> bool:
        """Whether IALIGN is 16, not 32."""
        return "c" in self.extensions

    @property
    def misa(self) -> int:
        """CSR misa without X: MXL = 1 (32 bits) and the letters (privileged manual, table of misa)."""
        return _MISA_MXL_32 | sum(1 << ord(letter) - ord("a") for letter in LETTERS if letter in self.extensions)

    @property
    def enabled(self) -> tuple[bool, ...]:
        """For each instruction of ``bundled("rv32")``, whether the hart has it."""
        if self.extensions not in _enabled:
            _enabled[self.extensions] = tuple(needs(i) <= self.extensions for i in summaries("rv32"))
        return _enabled[self.extensions]


def needs(instruction: Instruction | Summary) -> frozenset[str]:
    """Extensions that a hart with this bundled instruction has, all of them; none for an instruction that was added."""
    if instruction.set not in _OF_SET:
        return frozenset()
    return _OF_INSTRUCTION.get(instruction.name) or frozenset({_OF_SET[instruction.set]})


def _closure(names: Iterable[str]) -> frozenset[str]:
    """The names, what every hart has, and what those imply."""
    found = set(ALWAYS) | set(names)
    size = 0
    while size != len(found):
        size = len(found)
        for all_of, bring in _IMPLIES:
            if all_of <= found:
                found |= bring
    return frozenset(found)


def _canonical(extensions: frozenset[str]) -> str:
    shown = {e for e in extensions - (ALWAYS - {"i"}) if _SILENT.get(e) not in extensions}
    letters = "".join(letter for letter in LETTERS if letter in shown)
    return "_".join([f"rv32{letters}", *(e for e in EXTENSIONS if len(e) > 1 and e in shown)])


def _parts(text: str) -> Iterator[str]:
    """The extensions of an ISA string behind ``rv32``, versions left out; what is none comes as it stands."""
    for part in text.split("_"):
        while part:
            if part[0] in "zsx":
                yield part[: _name_end(part)]
                break
            if part[0] not in _LETTERS:
                yield part
                break
            yield part[0]
            part = part[_version_end(part, 1) :]


def _name_end(part: str) -> int:
    """Where the version of a long name begins; digits before its last letter are the name's (``zvl32b``)."""
    end = len(part.rstrip(_DIGITS))
    before = part[: end - 1].rstrip(_DIGITS)
    if end < len(part) and part[end - 1] == "p" and 1 < len(before) < end - 1:
        return len(before)
    return end if end > 1 else len(part)


def _version_end(part: str, at: int) -> int:
    """Where a version such as ``2`` or ``2p1`` ends."""
    end = len(part) - len(part[at:].lstrip(_DIGITS))
    if end > at and part[end : end + 1] == "p" and part[end + 1 : end + 2] in (*_DIGITS,):
        end = len(part) - len(part[end + 1 :].lstrip(_DIGITS))
    return end


def select(text: str) -> Selection:
    """Parse an ISA string such as ``rv32imac_zba_zbb_zbs_zcb``.

    Upper case, underscores between all extensions and version numbers (``i2p1``) are taken and mean nothing; letters
    may come in any order.

    Raises
    ------
    UsageError
        For a string of another form, another base, or an extension that rvsim does not have.
    """
    lower = text.strip().lower()
    for wide in ("rv64", "rv128"):
        if lower.startswith(wide):
            raise UsageError(f"--isa {text}: expected rv32, found {wide}: the hart has 32-bit registers")
    if not lower.startswith("rv32"):
        raise UsageError(f"--isa {text}: expected an ISA string such as {DEFAULT} or rv32imac_zba_zbb_zbs_zcb")
    found = list(_parts(lower[4:]))
    if not found or found[0] not in ("i", "e", "g"):
        wrong = repr(found[0]) if found else "nothing"
        raise UsageError(f"--isa {text}: expected the base i behind rv32, found {wrong}; such as {DEFAULT}")
    for name in found:
        if name not in EXTENSIONS:
            raise UsageError(f"--isa {text}: {_refusal(name)}")
    extensions = _closure(found)
    return Selection(name=_canonical(extensions), extensions=extensions)


def _refusal(name: str) -> str:
    """What is wrong with an extension, and what there is."""
    if name in _ABSENT:
        return _ABSENT[name]
    import difflib

    near = difflib.get_close_matches(name, EXTENSIONS, 1) if len(name) > 1 else []
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown extension {name!r}; {suggestion}rvsim has {', '.join(EXTENSIONS)}"


# ------------------------------------------------------------ what a program asks for
# ELF e_flags (RISC-V ELF psABI, "File Header").
_FLAG_RVC, _FLAG_FLOAT_ABI = 1, {2: "f", 4: "d", 6: "q"}
# Attributes are the program's: of a longer string the rest is not looked at.
MAX_ARCH = 1024


def missing(arch: str, flags: int, selection: Selection) -> list[str]:
    """Extensions a program was compiled for and the selection lacks, in the order of its attributes.

    Parameters
    ----------
    arch : str
        Tag_RISCV_arch of the ELF's attributes, such as ``rv32i2p1_m2p0_c2p0``; empty without one.
    flags : int
        The ELF's e_flags.
    selection : Selection

    Returns
    -------
    list of str
        Lower-case names, those that rvsim does not know included.
    """
    asked: list[str] = []
    lower = arch[:MAX_ARCH].lower()
    if lower[:2] == "rv" and lower[2:3] in (*_DIGITS,):
        lower = lower[2:].lstrip(_DIGITS)
    for name in _parts(lower):
        asked += "imafd" if name == "g" else [name]
    if flags & _FLAG_RVC:
        asked.append("c")
    if float_abi := _FLAG_FLOAT_ABI.get(flags & 6):
        asked.append(float_abi)
    # A program for rv32e is one for rv32i.
    return [name for name in dict.fromkeys(asked) if name not in selection.extensions and name != "e"]


def warning(lacking: Sequence[str], selection: Selection) -> str:
    """What to tell whose program needs what was not selected; empty if nothing is `lacking`."""
    if not lacking:
        return ""
    text = f"the program was compiled for {', '.join(lacking)}, which {selection.name} lacks"
    known = [name for name in lacking if name in EXTENSIONS]
    absent = [name for name in lacking if name not in EXTENSIONS]
    if known:
        extensions = _closure({*selection.extensions, *known})
        text += f"; choose --isa {_canonical(extensions)}"
    if absent:
        text += f"; rvsim does not have {', '.join(absent)}: such instructions are illegal"
    return text
