"""A core's table of cycles: read from TOML, checked, and applied to instruction classes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from rvsim.errors import UsageError

CORES = Path(__file__).with_name("cores")
ALIASES = {"ibex": "ibex-small"}
MAX_CYCLES = 10_000


class CoreTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cycles of one core with ideal memory.

    Attributes
    ----------
    name : str
    clock_mhz : float
        Clock in MHz.
    misaligned : {"split", "trap"}
        What a misaligned load or store does.
    taken_branch_cycles : int
        Cycles a conditional branch takes more when it is taken.
    straddle_cycles : int
        Further cycles of a jump or taken branch whose target is a 32-bit instruction at a halfword boundary.
    misaligned_cycles : int
        Further cycles of an access that crosses a word boundary.
    trap_cycles : int
        Cycles from the trapping instruction to the first one of the handler.
    cycles : dict of str to int
        Cycles of an instruction by class (`rvsim.isa.ccode.instruction_class`).
    divide_by_divisor : dict of str to int
        Cycles of divisions whose divisor is special: ``zero``.
    csr_write_cycles : dict of str to int
        Cycles of an instruction that writes a CSR, where they differ from ``cycles.csr``.
    """

    name: str
    clock_mhz: float
    misaligned: Literal["split", "trap"]
    taken_branch_cycles: int
    straddle_cycles: int
    misaligned_cycles: int
    trap_cycles: int
    cycles: dict[str, int]
    divide_by_divisor: dict[str, int] = {}
    csr_write_cycles: dict[str, int] = {}

    def __post_init__(self) -> None:
        if not 0 < self.clock_mhz <= 100_000:
            raise ValueError(f"clock_mhz: expected a clock above 0 and at most 100000 MHz, found {self.clock_mhz}")
        _known("cycles", self.cycles, CLASSES)
        missing = [name for name in CLASSES if name not in self.cycles]
        if missing:
            raise ValueError(f"cycles: expected a number for each class, found none for {', '.join(missing)}")
        _known("divide_by_divisor", self.divide_by_divisor, ("zero",))
        numbers = {f"cycles.{k}": v for k, v in self.cycles.items()} | {
            f"csr_write_cycles.{k}": v for k, v in self.csr_write_cycles.items()
        }
        numbers |= {f"divide_by_divisor.{k}": v for k, v in self.divide_by_divisor.items()}
        numbers |= {
            k: getattr(self, k) for k in ("taken_branch_cycles", "straddle_cycles", "misaligned_cycles", "trap_cycles")
        }
        for key, value in numbers.items():
            if not 0 <= value <= MAX_CYCLES:
                raise ValueError(f"{key}: expected 0 to {MAX_CYCLES} cycles, found {value}")

    def divide_histogram_cycles(self) -> list[int] | None:
        """Cycles of a division by bucket of `record_divide` (machine/hart.h); None where operands do not matter."""
        if "zero" not in self.divide_by_divisor:
            return None
        usual = self.cycles["divide"]
        return [self.divide_by_divisor["zero"] if bucket % 67 == 0 else usual for bucket in range(2 * 67)]


CLASSES = (
    "alu",
    "load",
    "store",
    "atomic",
    "branch",
    "jump",
    "multiply",
    "multiply-high",
    "divide",
    "csr",
    "fence",
    "fence-i",
    "system",
    "coprocessor",
    "custom",
)


def _known(table: str, keys: Mapping[str, int], names: tuple[str, ...]) -> None:
    for key in keys:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            raise ValueError(
                f"{table}: unknown key {key!r}"
                + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}")
            )


def core_names() -> list[str]:
    """Names of the bundled cores."""
    return sorted(path.stem for path in CORES.glob("*.toml"))


def load_core_timing(name_or_path: str, settings: Mapping[str, str] | None = None) -> CoreTiming:
    """Read a core's table by name or from a TOML file.

    Parameters
    ----------
    name_or_path : str
        A bundled core, or a path that ends in ``.toml``.
    settings : mapping of str to str, optional
        Keys to replace, such as ``{"clock_mhz": "50", "cycles.load": "3"}`` (``--set core.clock_mhz=50``).

    Raises
    ------
    UsageError
        For an unknown core, an unreadable file, an unknown key or a value out of range.
    """
    name = ALIASES.get(name_or_path, name_or_path)
    path = Path(name_or_path) if name_or_path.endswith(".toml") else CORES / f"{name}.toml"
    if not name_or_path.endswith(".toml") and name not in core_names():
        near = difflib.get_close_matches(name, core_names(), 1)
        raise UsageError(
            f"--core: expected one of {', '.join(core_names())} or a FILE.toml, found {name_or_path!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    try:
        table = msgspec.toml.decode(path.read_bytes())
        for key, value in (settings or {}).items():
            target = table
            *parents, last = key.split(".")
            for parent in parents:
                target = target.setdefault(parent, {})
                if not isinstance(target, dict):
                    raise ValueError(f"{key}: {parent} is not a table")
            try:
                target[last] = msgspec.json.decode(value)
            except msgspec.DecodeError:
                target[last] = value
        return msgspec.convert(table, CoreTiming)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the core: {error.strerror or error}") from None
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {_explain(str(error))}") from None


def _explain(message: str) -> str:
    """Add the nearest known key to msgspec's refusal of an unknown one."""
    if "unknown field" in message:
        wrong = message.split("`")[1]
        known = [f.name for f in msgspec.structs.fields(CoreTiming)]
        near = difflib.get_close_matches(wrong, known, 1)
        return f"unknown key {wrong!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
    return message
