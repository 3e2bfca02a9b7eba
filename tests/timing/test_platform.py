"""Platforms: what a file says, what can be replaced, and what is refused with the file, the key and the reason."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.errors import RvsimError, UsageError
from rvsim.timing import platform
from rvsim.timing.platform import MemoryRegion, Platform, WaitStates, load_platform, platform_names

BENCHES = ["rtl-d2", "rtl-i1", "rtl-i2d2", "rtl-ideal", "rtl-la0"]
BOARDS = ["esp32c3", "ibex-demo", "rp2350-hazard3"]
TEXT = """
name = "mine"
source = "a datasheet"
clock_mhz = 48
devices = ["uart=0x60000000"]
device_load_wait = 3
device_store_wait = 1

[[region]]
name = "flash"
base = 0x20000000
size_kib = 256
access = "rx"
fetch_wait = 2
load_wait = 4
kind = "flash-xip"

[[region]]
name = "ram"
base = 0x10000000
size_bytes = 1028

[wait_states.slow]
fetch = 10
store = 20
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_what_a_file_says(file: Path) -> None:
    ram = MemoryRegion("ram", 0x1000_0000, 1028)
    flash = MemoryRegion("flash", 0x2000_0000, 256 << 10, "rx", WaitStates(2, 4, 0), "flash-xip")
    assert load_platform(str(file)) == Platform(
        name="mine",
        path=str(file),
        regions=(ram, flash),
        source="a datasheet",
        clock_mhz=48.0,
        devices=("uart=0x60000000",),
        device_wait=WaitStates(0, 3, 1),
        wait_states={"slow": WaitStates(10, 0, 20)},
    )


@pytest.mark.parametrize(
    ("address", "core", "expected"),
    [
        (0x2000_0000, "fast", (2, 4, 0)),
        (0x2003_FFFF, "slow", (12, 4, 20)),
        (0x2004_0000, "fast", (0, 3, 1)),
        (0x1000_0403, "fast", (0, 0, 0)),
        (0x1000_0404, "slow", (10, 3, 21)),
        (0x6000_0000, "fast", (0, 3, 1)),
    ],
)
def test_what_an_access_waits(file: Path, address: int, core: str, expected: tuple[int, int, int]) -> None:
    assert load_platform(str(file)).wait(address, core) == WaitStates(*expected)


def test_the_bundled_platforms() -> None:
    assert platform_names() == sorted([*BENCHES, *BOARDS])
    for name in platform_names():
        found = load_platform(name)
        assert found.name == name and found.source
        assert (found.clock_mhz is None) == (name in BENCHES)


@pytest.mark.parametrize(
    ("name", "obi", "picorv32"),
    [
        # The table "Memory configurations" of the RTL data; PicoRV32 counts from mem_ready in the mem_valid cycle.
        ("rtl-ideal", (0, 0), (1, 1)),
        ("rtl-la0", (0, 0), (0, 0)),
        ("rtl-d2", (0, 2), (1, 3)),
        ("rtl-i1", (1, 0), (2, 1)),
        ("rtl-i2d2", (2, 2), (3, 3)),
    ],
)
def test_the_test_benches(name: str, obi: tuple[int, int], picorv32: tuple[int, int]) -> None:
    bench = load_platform(name)
    assert [(r.base, r.size, r.access) for r in bench.regions] == [
        (base, 64 << 10, "rwx") for base in (0x4000_0000, 0x8000_0000)
    ]
    assert bench.devices == ("rtl-bench=0x10000000",)
    for core, (fetch, data) in (("cv32e40p", obi), ("picorv32", picorv32)):
        for address in (0x4000_0000, 0x8000_FFFF):
            assert bench.wait(address, core) == WaitStates(fetch, data, data)
        assert bench.wait(0x1000_0000, core).store == data
        assert bench.waits(core) == bool(fetch or data)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"clock_mhz": "12.5"}, lambda p: p.clock_mhz == 12.5),
        ({"region.flash.load_wait": "9"}, lambda p: p.wait(0x2000_0000, "x").load == 9),
        ({"region.ram.base": "0x1ffffbfc"}, lambda p: p.regions[0].end == p.regions[1].base),
        ({"region.ram.base": "0x10000400"}, lambda p: p.regions[0].base == 0x1000_0400),
        ({"wait_states.new.fetch": "5"}, lambda p: p.wait(0, "new").fetch == 5),
        ({"devices": "[]"}, lambda p: p.devices == ()),
    ],
)
def test_settings(file: Path, settings: dict[str, str], found: object) -> None:
    assert found(load_platform(str(file), settings))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"', "", "name: expected this key, found none"),
        ('name = "mine"', "name = 7", "name: expected a text of one line, found 7"),
        ('name = "mine"', "nam = 7", "unknown key 'nam'; did you mean 'name'?"),
        ("clock_mhz = 48", "clock_mhz = 0", "clock_mhz: expected a clock above 0 and at most 100000 MHz, found 0"),
        ("clock_mhz = 48", "clock_mhz = nan", "clock_mhz: expected a clock above 0 and at most 100000 MHz, found nan"),
        ("clock_mhz = 48", "clock_mhz = true", "clock_mhz: expected a clock above 0"),
        ('["uart=0x60000000"]', '"uart"', "devices: expected a list of at most 64 strings, found 'uart'"),
        ('["uart=0x60000000"]', "[1]", "devices: expected a list of at most 64 strings, found a list of 1"),
        ("device_load_wait = 3", "device_load_wait = 1001",
         "device_load_wait: expected cycles, an integer from 0x0 to 0x3e8, found 1001"),
        ('name = "flash"', 'nam = "flash"', "region 1: name: expected this key, found none"),
        ('name = "flash"', 'name = "a b"', "region 1: name: expected letters, digits, - and _, a letter or _ first"),
        ('name = "flash"', 'name = "total"', "region 1: name: total is the sum of all regions"),
        ('name = "flash"', 'name = "ram"', "region 'ram': name: two regions have it; give each its own"),
        ("base = 0x20000000", "", "region 'flash': base: expected this key, found none"),
        ("base = 0x20000000", "base = 0x20000002",
         "region 'flash': base: expected a multiple of 4 bytes, found 0x20000002"),
        ("base = 0x20000000", "base = -4", "region 'flash': base: expected an address, an integer from 0x0 to"),
        ("base = 0x20000000", "base = 1.5", "region 'flash': base: expected an address, an integer from 0x0 to"),
        ("base = 0x20000000", "base = 0xffffff00",
         "region 'flash': size_kib: expected an end within 4 GiB, found 0xffffff00 + 0x40000 bytes"),
        ("size_kib = 256", "", "region 'flash': size_kib: expected one of size_kib and size_bytes"),
        ("size_kib = 256", "size_kib = 1\nsize_bytes = 4", "region 'flash': size_kib: expected one of size_kib and"),
        ("size_kib = 256", "size_kib = 0", "region 'flash': size_kib: expected a size, an integer from 0x1 to"),
        ("size_kib = 256", "size_kib = true", "region 'flash': size_kib: expected a size, an integer"),
        ("size_bytes = 1028", "size_bytes = 1026", "region 'ram': size_bytes: expected a multiple of 4 bytes"),
        ("size_bytes = 1028", "size_bytes = 0x10000004",
         "region 'flash': base: flash (0x20000000 to 0x2003ffff, rx) overlaps ram (0x10000000 to 0x20000003, rwx)"),
        ('access = "rx"', 'access = "rxx"', "region 'flash': access: expected some of r, w and x, such as 'rx', found"),
        ('access = "rx"', 'access = ""', "region 'flash': access: expected some of"),
        ('access = "rx"', 'access = "ra"', "region 'flash': access: expected some of"),
        ('access = "rx"', "acess = 1", "region 'flash': unknown key 'acess'; did you mean 'access'?"),
        ("fetch_wait = 2", "fetch_wait = -1", "region 'flash': fetch_wait: expected cycles, an integer from 0x0 to"),
        ("fetch_wait = 2", 'fetch_wait = "2"', "region 'flash': fetch_wait: expected cycles, an integer"),
        ('kind = "flash-xip"', 'kind = "floppy"', "kind: expected one of sram, tcm, rom, flash-xip, found 'floppy'"),
        ('kind = "flash-xip"', "kind = [[1]]", "kind: expected one of sram, tcm, rom, flash-xip, found a list of 1"),
        ("[wait_states.slow]\nfetch", "[wait_states.slow]\nfecth", "wait_states.slow: unknown key 'fecth'; did you"),
        ("fetch = 10", "fetch = 1001", "wait_states.slow: fetch: expected cycles, an integer from 0x0 to 0x3e8"),
        ("[wait_states.slow]", "[wait_states]", "wait_states: expected tables [wait_states.CORE], found a table of 2"),
        ("[[region]]", "[region]", "mine.toml: "),
        ("= 48", "= = 48", "mine.toml: "),
        ("= 48", "= " + "[" * 100_000, "mine.toml: "),
        ("= 48", "= 48\n" + "x" * 5000 + " = 1", "unknown key 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"),
    ],
)  # fmt: skip
def test_files_that_are_refused(file: Path, old: str, new: str, message: str) -> None:
    assert TEXT.count(old) >= 1
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(UsageError) as raised:
        load_platform(str(file))
    assert str(raised.value).startswith(f"{file}: ") and message in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "name: expected this key, found none"),
        (b'name = "x"', "region: expected this key, found none"),
        (b'name = "x"\nregion = []', "region: expected one table [[region]] or more, found a list of 0"),
        (b'name = "x"\nregion = [1]', "region: expected one table [[region]] or more, found a list of 1"),
        (b'name = "x"\n[region]\nname = "y"', "region: expected one table [[region]] or more, found a table of 1"),
        (b'name = "x"\n' + b"[[region]]\n" * 65, "region: expected at most 64 regions, found 65"),
        (bytes(range(128, 256)), "codec can't decode"),
        (b"#" * ((1 << 20) + 1), "expected a file of at most 1024 KiB"),
    ],
    ids=["empty", "no region", "no regions", "numbers", "one table", "many", "binary", "large"],
)
def test_files_that_are_no_platform(file: Path, text: bytes, message: str) -> None:
    file.write_bytes(text)
    with pytest.raises(UsageError) as raised:
        load_platform(str(file))
    assert str(raised.value).startswith(f"{file}: ") and message in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clock": "1"}, "unknown key 'clock'; did you mean 'clock_mhz'?"),
        ({"region.rm.load_wait": "1"}, "region.rm.load_wait: there is no region 'rm'; did you mean 'ram'?"),
        ({"region.ram": "1"}, "region.ram: expected region.NAME.KEY, wait_states.CORE.KEY or KEY"),
        ({"clock_mhz.x.y": "1"}, "clock_mhz.x.y: expected region.NAME.KEY, wait_states.CORE.KEY or KEY"),
        ({"region.ram.load_wait": "x"}, "region 'ram': load_wait: expected cycles"),
        ({"": "1"}, "unknown key ''"),
    ],
)
def test_settings_that_are_refused(file: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_platform(str(file), settings)
    assert str(raised.value).startswith(f"{file}: ") and message in str(raised.value)


@pytest.mark.parametrize("name", ["rtl-idel", "", "../platforms/rtl-d2", "missing.toml", "a\0b.toml", "/.toml"])
def test_platforms_that_do_not_exist(name: str) -> None:
    with pytest.raises(UsageError):
        load_platform(name)


def test_a_misspelt_platform_is_told_its_name() -> None:
    with pytest.raises(UsageError, match="found 'rtl-idel'; did you mean 'rtl-ideal'\\?"):
        load_platform("rtl-idel")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    os.mkfifo(path)
    with pytest.raises(UsageError, match="expected a TOML file, found something else"):
        load_platform(str(path))


VALUES = st.recursive(
    st.integers() | st.floats() | st.text(max_size=5) | st.booleans() | st.sampled_from(["rwx", "sram", 4, 64, 0]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from([*"nx", *platform.KEYS, *platform.REGION_KEYS])
TABLES = st.dictionaries(KEYS, VALUES, max_size=6)


@given(
    table=TABLES,
    regions=VALUES | st.lists(TABLES.map(lambda t: {"name": "a", "base": 0, "size_kib": 4, **t}), max_size=3),
    by_core=VALUES | st.dictionaries(st.text(max_size=3), TABLES, max_size=2),
)
def test_any_document_is_a_platform_or_refused(table: dict[str, object], regions: object, by_core: object) -> None:
    try:
        found = platform._platform({"name": "x", **table, "region": regions, "wait_states": by_core}, "x.toml")
    except ValueError as error:
        assert 0 < len(str(error)) < 400
        return
    for a, b in pairwise(found.regions):
        assert a.end <= b.base
    for each in found.regions:
        assert 0 <= each.base < each.end <= 1 << 32 and each.size % 4 == 0 and all(0 <= w <= 1000 for w in each.wait)


@given(st.text(max_size=60) | st.lists(st.sampled_from(TEXT.splitlines(keepends=True)), max_size=30).map("".join))
def test_any_text_is_a_platform_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        load_platform(str(path))
    except RvsimError as error:
        assert str(error).startswith(f"{path}: ")
