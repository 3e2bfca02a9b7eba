"""A core's table of cycles: read from TOML, checked, and applied to instruction classes."""

from __future__ import annotations

import os

from rvsim.errors import UsageError
from rvsim.records import Record
from rvsim.timing.tables import bundled_names, check_keys, find_table, read_setting, read_toml, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CORES = os.path.join(os.path.dirname(__file__), "cores")
ALIASES = {"ibex": "ibex-small"}
MISALIGNED = ("split", "trap")
MAX_CYCLES = 10_000
CONFIGURABLE = "inorder"
"""The model of which users make cores: a file that names it has the numbers of the bundled core where it has none."""


class CoreTiming(Record):
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
    model : str
        The exact model of its pipeline (rvsim/timing/exact); none where empty.
    pipeline : dict of str to int or str
        That model's numbers, some of which are words.
    icache : CacheTiming or None
        The instruction cache; None without.
    dcache : DataCacheTiming or None
        The data cache; None without.
    path : str
        The file it was read from.
    """

    name: str
    clock_mhz: float
    misaligned: str
    taken_branch_cycles: int
    straddle_cycles: int
    misaligned_cycles: int
    trap_cycles: int
    cycles: dict[str, int]
    divide_by_divisor: dict[str, int] = {}
    csr_write_cycles: dict[str, int] = {}
    model: str = ""
    pipeline: dict[str, int | str] = {}
    icache: Any = None
    dcache: Any = None
    path: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.clock_mhz <= 100_000:
            raise ValueError(f"clock_mhz: expected a clock above 0 and at most 100000 MHz, found {self.clock_mhz}")
        if self.misaligned not in MISALIGNED:
            raise ValueError(f"misaligned: expected {' or '.join(MISALIGNED)}, found {self.misaligned!r}")
        check_keys("cycles: ", self.cycles, CLASSES)
        missing = [name for name in CLASSES if name not in self.cycles]
        if missing:
            raise ValueError(f"cycles: expected a number for each class, found none for {', '.join(missing)}")
        check_keys("divide_by_divisor: ", self.divide_by_divisor, ("zero",))
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

    def without_cycles(self) -> CoreTiming:
        """The same core with tables of zeros: another one counts its cycles."""
        zeros = dict.fromkeys(("taken_branch_cycles", "straddle_cycles", "misaligned_cycles", "trap_cycles"), 0)
        classes = dict.fromkeys(self.cycles, 0)
        return self.replace(cycles=classes, divide_by_divisor={}, csr_write_cycles={}, **zeros)

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


def core_names() -> list[str]:
    """Names of the bundled cores."""
    return bundled_names(CORES)


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
    path = find_table("--core", ALIASES.get(name_or_path, name_or_path), CORES)
    try:
        with open(path, "rb") as file:
            table = _based(read_toml(file.read()), path)
        for key, value in (settings or {}).items():
            target = table
            *parents, last = key.split(".")
            for parent in parents:
                target = target.setdefault(parent, {})
                if not isinstance(target, dict):
                    raise ValueError(f"{key}: {parent} is not a table")
            target[last] = read_setting(value)
        if "path" in table:
            check_keys("", ["path"], [name for name in CoreTiming.record_fields if name != "path"])
        caches = {name: table.pop(name) for name in ("icache", "dcache") if name in table}
        timing = CoreTiming.from_plain(table)
        if timing is None:
            import msgspec

            check_keys("", table, CoreTiming.record_fields)
            timing = msgspec.convert(table, CoreTiming)
        if caches:
            from rvsim.timing.cache import read_cache

            timing = timing.replace(**{name: read_cache(name, each) for name, each in caches.items()})
        return timing.replace(path=path)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the core: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise UsageError(f"{path}: {error}") from None


def _based(table: dict[str, Any], path: str) -> dict[str, Any]:
    """A core's document, with what it leaves out taken from the bundled core that it names as its ``base``."""
    own = os.path.join(CORES, f"{CONFIGURABLE}.toml")
    base = table.pop("base", CONFIGURABLE if table.get("model") == CONFIGURABLE and path != own else None)
    if base is None:
        return table
    if base not in core_names() or os.path.dirname(path) == CORES:
        raise ValueError(f"base: expected a bundled core, one of {', '.join(core_names())}; found {short(repr(base))}")
    with open(os.path.join(CORES, f"{base}.toml"), "rb") as file:
        whole = read_toml(file.read())
    if table.get("model", whole.get("model")) != whole.get("model"):
        whole.pop("pipeline", None)  # numbers of another model
    for key, value in table.items():
        of = whole.get(key)
        whole[key] = {**of, **value} if isinstance(of, dict) and isinstance(value, dict) else value
    return whole
