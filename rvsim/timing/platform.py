"""A platform: the memories of a board or test bench, how fast they answer, its clock and devices; read from TOML."""

from __future__ import annotations

import os
from itertools import pairwise

from rvsim.errors import UsageError
from rvsim.records import Record
from rvsim.timing.tables import bundled_names, check_keys, find_table, nearest, read_setting, read_toml_file, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rvsim.timing.cache import MemoryCache

PLATFORMS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "platforms")
ADDRESS_SPACE = 1 << 32
MAX_WAIT = 1000
MAX_REGIONS = 64
MAX_MHZ = 100_000
KINDS = ("sram", "tcm", "rom", "flash-xip")
TOTAL = "total"
"""What `RunResult.traffic` calls the sum of all regions: none may have this name."""


class WaitStates(Record):
    """Cycles that an access waits beyond the fastest answer that the core's bus allows.

    Attributes
    ----------
    fetch, load, store : int
    """

    fetch: int = 0
    load: int = 0
    store: int = 0

    def __add__(self, other: WaitStates) -> WaitStates:
        return WaitStates(self.fetch + other.fetch, self.load + other.load, self.store + other.store)

    def __bool__(self) -> bool:
        return any(self.values())


class MemoryRegion(Record):
    """One memory of a platform.

    Attributes
    ----------
    name : str
    base : int
        First address.
    size : int
        Bytes.
    access : str
        What it permits: some of ``r``, ``w`` and ``x``.
    wait : WaitStates
        Of every access to it.
    kind : str
        ``sram``, ``tcm``, ``rom`` or ``flash-xip``.
    """

    name: str
    base: int
    size: int
    access: str = "rwx"
    wait: WaitStates = WaitStates()
    kind: str = "sram"

    @property
    def end(self) -> int:
        """Address behind the last byte."""
        return self.base + self.size

    def __str__(self) -> str:
        return f"{self.name} ({self.base:#010x} to {self.end - 1:#010x}, {self.access})"


class Platform(Record):
    """A board or test bench; `load_platform` makes one.

    Attributes
    ----------
    name : str
    path : str
        The file it was read from.
    regions : tuple of MemoryRegion
        By rising address, without overlap.
    source : str
        Where the numbers are from.
    clock_mhz : float or None
        Takes the place of the core's clock, in MHz; None leaves it.
    devices : tuple of str or None
        Devices, as ``--device`` takes them, in place of the default ones; None leaves those.
    device_wait : WaitStates
        Of every access to a device.
    wait_states : dict of str to WaitStates
        By the name of a core: what each of its accesses waits more, to regions and devices.
    caches : tuple of MemoryCache
        Caches in front of regions.
    energy : dict
        ``process`` and ``voltage`` of the estimate of energy, which checks them (`rvsim.energy.load_energy`).
    """

    name: str
    path: str
    regions: tuple[MemoryRegion, ...]
    source: str = ""
    clock_mhz: float | None = None
    devices: tuple[str, ...] | None = None
    device_wait: WaitStates = WaitStates()
    wait_states: dict[str, WaitStates] = {}
    caches: tuple[Any, ...] = ()
    energy: dict[str, Any] = {}

    def region_at(self, address: int) -> MemoryRegion | None:
        """The region that holds an address, or None."""
        return next((each for each in self.regions if each.base <= address < each.end), None)

    def wait(self, address: int, core: str) -> WaitStates:
        """What accesses of a core to an address wait; outside all regions, as those to a device."""
        region = self.region_at(address)
        return (region.wait if region else self.device_wait) + self.wait_states.get(core, WaitStates())

    def waits(self, core: str) -> bool:
        """Whether any access of a core waits."""
        waits = (*(each.wait for each in self.regions), self.device_wait, self.wait_states.get(core, WaitStates()))
        return any(waits) or bool(self.caches)

    def cache_of(self, region: str, access: str) -> MemoryCache | None:
        """The cache that a region's accesses (``fetch`` or ``data``) go through."""
        return next((c for c in self.caches if region in c.regions and c.serves in ("both", access)), None)


REGION_KEYS = ("name", "base", "size_kib", "size_bytes", "access", "fetch_wait", "load_wait", "store_wait", "kind")
KEYS = (
    "name",
    "source",
    "clock_mhz",
    "devices",
    "device_load_wait",
    "device_store_wait",
    "wait_states",
    "region",
    "cache",
    "energy",
)


ENERGY_KEYS = ("process", "voltage")


def platform_names() -> list[str]:
    """Names of the bundled platforms."""
    return bundled_names(PLATFORMS)


def load_platform(name_or_path: str, settings: Mapping[str, str] | None = None) -> Platform:
    """Read a platform by name or from a TOML file; docs/platforms.md has the format.

    Parameters
    ----------
    name_or_path : str
        A bundled platform, or a path that ends in ``.toml``.
    settings : mapping of str to str, optional
        Keys to replace, such as ``{"clock_mhz": "50", "region.ram.load_wait": "2"}``
        (``--set platform.region.ram.load_wait=2``).

    Raises
    ------
    UsageError
        For an unknown platform, an unreadable file, or a key or value that cannot be: the file, the key, the reason.
    """
    path = find_table("--platform", name_or_path, PLATFORMS)
    try:
        table = read_toml_file(path)
        for key, value in (settings or {}).items():
            _set(table, key, value)
        return _platform(table, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the platform: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # of TOML and of Unicode, too
        raise UsageError(f"{path}: {error}") from None


def _set(table: dict[str, Any], key: str, value: str) -> None:
    """Replace one key of a document; a region is called by its name."""
    target: Any = table
    *parents, last = key.split(".")
    for n, parent in enumerate(parents):
        if n and parents[n - 1] == "region" and isinstance(target, list):
            named = {each["name"]: each for each in target if isinstance(each, dict) and type(each.get("name")) is str}
            if parent not in named:
                raise ValueError(f"{key}: there is no region {parent!r}; {nearest(parent, named, 'there are: ')}")
            target = named[parent]
        elif isinstance(target, dict):
            target = target.setdefault(parent, {})
    if not isinstance(target, dict):
        raise ValueError(f"{key}: expected region.NAME.KEY, wait_states.CORE.KEY or KEY")
    target[last] = read_setting(value)


def _platform(table: dict[str, Any], path: str) -> Platform:
    check_keys("", table, KEYS)
    name = _text("name", _needed("", table, "name"))
    tables = _needed("", table, "region")
    if type(tables) is not list or not tables or any(type(each) is not dict for each in tables):
        raise ValueError(f"region: expected one table [[region]] or more, found {_show(tables)}")
    if len(tables) > MAX_REGIONS:
        raise ValueError(f"region: expected at most {MAX_REGIONS} regions, found {len(tables)}")
    regions = sorted((_region(n, each) for n, each in enumerate(tables, 1)), key=lambda each: each.base)
    for a, b in pairwise(regions):
        if b.base < a.end:
            raise ValueError(f"region {b.name!r}: base: {b} overlaps {a}")
    names = [each.name for each in regions]
    for each in names:
        if names.count(each) > 1:
            raise ValueError(f"region {each!r}: name: two regions have it; give each its own")
    caches = _caches(table.get("cache", {}), regions)
    clock = table.get("clock_mhz")
    if clock is not None and (type(clock) not in (int, float) or not 0 < clock <= MAX_MHZ):
        raise ValueError(f"clock_mhz: expected a clock above 0 and at most {MAX_MHZ} MHz, found {_show(clock)}")
    devices = table.get("devices")
    if devices is not None and (
        type(devices) is not list or len(devices) > MAX_REGIONS or any(type(each) is not str for each in devices)
    ):
        raise ValueError(f"devices: expected a list of at most {MAX_REGIONS} strings, found {_show(devices)}")
    by_core = table.get("wait_states", {})
    if type(by_core) is not dict or any(type(each) is not dict for each in by_core.values()):
        raise ValueError(f"wait_states: expected tables [wait_states.CORE], found {_show(by_core)}")
    for core, each in by_core.items():
        check_keys(f"wait_states.{short(core)}: ", each, WaitStates.record_fields)
    energy = table.get("energy", {})
    if type(energy) is not dict:
        raise ValueError(f"energy: expected a table [energy], found {_show(energy)}")
    check_keys("energy: ", energy, ENERGY_KEYS)
    return Platform(
        name=name,
        path=path,
        regions=tuple(regions),
        source=_text("source", table.get("source", "")),
        caches=caches,
        clock_mhz=None if clock is None else float(clock),
        devices=None if devices is None else tuple(devices),
        device_wait=WaitStates(load=_wait("device_load_wait", table), store=_wait("device_store_wait", table)),
        wait_states={
            core: WaitStates(*(_wait(key, each, f"wait_states.{short(core)}: ") for key in WaitStates.record_fields))
            for core, each in by_core.items()
        },
        energy=energy,
    )


def _caches(tables: Any, regions: list[MemoryRegion]) -> tuple[MemoryCache, ...]:
    """The tables ``[cache.NAME]``: each access of a region goes through one of them at most."""
    if type(tables) is not dict or any(type(each) is not dict for each in tables.values()):
        raise ValueError(f"cache: expected tables [cache.NAME], found {_show(tables)}")
    if not tables:
        return ()
    from rvsim.timing.cache import read_memory_cache

    sizes = {each.name: each.size for each in regions}
    caches, seen = [], dict[tuple[str, str], str]()
    for name, table in tables.items():
        where = f"cache {short(name)!r}: "
        if not _is_name(name) or name in ("icache", "dcache"):
            raise ValueError(f"{where}expected a name of letters, digits, - and _, other than icache and dcache")
        cache = read_memory_cache(name, table)
        check_keys(f"{where}regions: ", cache.regions, sizes)
        behind = sum(sizes[each] for each in set(cache.regions))
        if cache.timing.size > behind:
            raise ValueError(
                f"{where}size_kib: expected at most the {behind} bytes of the memory behind it, found "
                f"{cache.timing.size}"
            )
        for region in cache.regions:
            for access in ("fetch", "data"):
                if cache.serves in ("both", access):
                    other = seen.setdefault((region, access), name)
                    if other != name or cache.regions.count(region) > 1:
                        raise ValueError(f"{where}regions: {region} has cache {other!r} for the same accesses already")
        caches.append(cache)
    return tuple(caches)


def _region(number: int, table: dict[str, Any]) -> MemoryRegion:
    """The region of a table; `number` names it until it has said its name."""
    where = f"region {number}: "
    name = _needed(where, table, "name")
    if type(name) is not str or not _is_name(name):
        raise ValueError(f"{where}name: expected letters, digits, - and _, a letter or _ first, found {_show(name)}")
    if name == TOTAL:
        raise ValueError(f"{where}name: {TOTAL} is the sum of all regions; expected another name")
    where = f"region {name!r}: "
    check_keys(where, table, REGION_KEYS)
    base = _integer(where + "base", _needed(where, table, "base"), 0, ADDRESS_SPACE - 4, "an address")
    if ("size_kib" in table) == ("size_bytes" in table):
        raise ValueError(f"{where}size_kib: expected one of size_kib and size_bytes")
    key, unit = ("size_kib", 1024) if "size_kib" in table else ("size_bytes", 1)
    size = unit * _integer(where + key, table[key], 1, ADDRESS_SPACE // unit, "a size")
    for what, value in (("base", base), (key, size)):
        if value % 4:
            raise ValueError(f"{where}{what}: expected a multiple of 4 bytes, found {value:#x}")
    if base + size > ADDRESS_SPACE:
        raise ValueError(f"{where}{key}: expected an end within 4 GiB, found {base:#010x} + {size:#x} bytes")
    access = table.get("access", "rwx")
    if type(access) is not str or not access or len({*access}) < len(access) or not {*access} <= {*"rwx"}:
        raise ValueError(f"{where}access: expected some of r, w and x, such as 'rx', found {_show(access)}")
    kind = table.get("kind", "sram")
    if kind not in KINDS:
        raise ValueError(f"{where}kind: expected one of {', '.join(KINDS)}, found {_show(kind)}")
    wait = WaitStates(*(_wait(f"{each}_wait", table, where) for each in WaitStates.record_fields))
    return MemoryRegion(name, base, size, access, wait, kind)


def _needed(where: str, table: dict[str, Any], key: str) -> Any:
    if key not in table:
        raise ValueError(f"{where}{key}: expected this key, found none")
    return table[key]


def _text(key: str, value: Any) -> str:
    if type(value) is not str or not value.isprintable():
        raise ValueError(f"{key}: expected a text of one line, found {_show(value)}")
    return value


def _wait(key: str, table: dict[str, Any], where: str = "") -> int:
    return _integer(where + key, table.get(key, 0), 0, MAX_WAIT, "cycles")


def _integer(key: str, value: Any, low: int, high: int, what: str) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{key}: expected {what}, an integer from {low:#x} to {high:#x}, found {_show(value)}")
    return value


def _is_name(text: str) -> bool:
    return text.isascii() and text.replace("-", "_").isidentifier() and text[0] != "-"


def _show(value: Any) -> str:
    """A value of a file for a message."""
    if isinstance(value, (dict, list)):
        return f"a {'table' if isinstance(value, dict) else 'list'} of {len(value)}"
    return repr(short(value)) if isinstance(value, str) else short(repr(value))
