"""A core's table: what is read, what can be replaced, and what is refused with the key that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvsim.errors import UsageError
from rvsim.timing import core_names, load_core_timing
from rvsim.timing.core import CLASSES, CORES

TEXT = Path(CORES, "ibex-small.toml").read_text()


def test_the_bundled_cores() -> None:
    assert core_names() == [
        "cv32e40p", "hazard3-fast", "hazard3-small", "ibex-maxperf", "ibex-small", "ideal", "inorder",
        "picorv32", "vexriscv-custom",
    ]  # fmt: skip
    for name in core_names():
        assert load_core_timing(name).name == name
    assert load_core_timing("ibex") == load_core_timing("ibex-small")
    ideal = load_core_timing("ideal")
    assert ideal.cycles == dict.fromkeys(CLASSES, 1)
    assert ideal.divide_histogram_cycles() is None


def test_divisions_by_zero_are_two_buckets_of_the_histogram() -> None:
    cycles = load_core_timing("ibex-small").divide_histogram_cycles()
    assert cycles is not None and len(cycles) == 134
    # one for a dividend of each sign
    assert [n for n, each in enumerate(cycles) if each == 2] == [0, 67]
    assert set(cycles) == {2, 37}


def test_a_file_is_read_like_a_bundled_core(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace('name = "ibex-small"', 'name = "mine"').replace("load = 2", "load = 7"))
    assert (load_core_timing(str(path)).name, load_core_timing(str(path)).cycles["load"]) == ("mine", 7)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("clock_mhz", "50", lambda t: t.clock_mhz == 50.0),
        ("clock_mhz", "12.5", lambda t: t.clock_mhz == 12.5),
        ("cycles.load", "10000", lambda t: t.cycles["load"] == 10_000),
        ("cycles.multiply-high", "0", lambda t: t.cycles["multiply-high"] == 0),
        ("misaligned", "trap", lambda t: t.misaligned == "trap"),
        ("csr_write_cycles.mscratch", "4", lambda t: t.csr_write_cycles["mscratch"] == 4),
        ("divide_by_divisor.zero", "5", lambda t: t.divide_histogram_cycles()[67] == 5),
    ],
)
def test_settings(key: str, value: str, found: object) -> None:
    assert found(load_core_timing("ibex-small", {key: value}))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clock": "50"}, "unknown key 'clock'; did you mean 'clock_mhz'?"),
        ({"cycles.lod": "1"}, "cycles: unknown key 'lod'; did you mean 'load'?"),
        ({"cycles.load": "-1"}, "cycles.load: expected 0 to 10000 cycles, found -1"),
        ({"cycles.load": "10001"}, "cycles.load: expected 0 to 10000 cycles, found 10001"),
        ({"cycles.load": "two"}, "$.cycles"),
        ({"cycles.load": "1.5"}, "$.cycles"),
        ({"cycles": "1"}, "$.cycles"),
        ({"clock_mhz.x": "1"}, "clock_mhz.x: clock_mhz is not a table"),
        ({"clock_mhz": "0"}, "clock_mhz: expected a clock above 0 and at most 100000 MHz, found 0"),
        ({"clock_mhz": "1e9"}, "clock_mhz: expected a clock above 0"),
        ({"misaligned": "maybe"}, "misaligned"),
        ({"taken_branch_cycles": "-1"}, "taken_branch_cycles: expected 0 to 10000 cycles, found -1"),
        ({"divide_by_divisor.zero": "-1"}, "divide_by_divisor.zero: expected 0 to 10000 cycles, found -1"),
        ({"divide_by_divisor.one": "1"}, "divide_by_divisor: unknown key 'one'"),
        ({"csr_write_cycles.mie": "-3"}, "csr_write_cycles.mie: expected 0 to 10000 cycles, found -3"),
    ],
)
def test_values_that_cannot_be(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_core_timing("ibex-small", settings)
    assert message in str(raised.value)
    assert "ibex-small.toml: " in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("load = 2", "", "cycles: expected a number for each class, found none for load"),
        ("straddle_cycles = 1", "", "straddle_cycles"),
        ("[cycles]", "[cycle]", "unknown key 'cycle'; did you mean 'cycles'?"),
        ("[cycles]", "[cycles", "x.toml: "),
        ("clock_mhz = 100.0", "clock_mhz = nan", "clock_mhz"),
    ],
)
def test_files_that_cannot_be(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(UsageError) as raised:
        load_core_timing(str(path))
    assert message in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize("name", ["ibx", "", "on", "ideal.tml", "../cores/ideal", "missing.toml"])
def test_cores_that_do_not_exist(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"--core: expected one of cv32e40p, .*, vexriscv-custom or a FILE\.toml|cannot read the core"
    ):
        load_core_timing(name)


def test_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(UsageError, match=r"x\.toml"):
        load_core_timing(str(path))
