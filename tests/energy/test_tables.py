"""Parameters of the energy model: where constants are from, how they scale, what a file may say and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.energy import load_energy, process_names
from rvsim.energy.sram import cacti
from rvsim.energy.tables import DEFAULT, bundled_constants
from rvsim.errors import UsageError

DATA = Path(__file__).parent / "data" / "energy_area.csv"
# Row of the data (item, bits) by constant, and the column; the others are from elsewhere or assumed.
FROM_DATA = {
    "add32": ("int add", "32", "energy_pJ"),
    "multiply32": ("int mult", "32", "energy_pJ"),
    "multiply8": ("int mult", "8", "energy_pJ"),
    "register_bit": ("register bit (1ns)", "1", "energy_pJ"),
    "adder_area": ("adder (1ns)", "32", "area_um2"),
    "multiplier_area": ("multiplier (1ns)", "32", "area_um2"),
    "register_bit_area": ("register bit (1ns)", "1", "area_um2"),
}


def rows() -> dict[tuple[str, str], dict[str, str]]:
    """The data, with "same" spelt out."""
    found = {}
    before: dict[str, str] = {}
    for row in csv.DictReader(DATA.read_text(encoding="utf-8").splitlines()):
        for key in ("source", "how_checked"):
            row[key] = before[key] if row[key] == "same" else row[key]
        found[row["item"], row["bits"]] = before = row
    return found


def recalled(row: dict[str, str], column: str) -> bool:
    """Whether a value was not read in its source: a mark may be of the area alone."""
    marks = [text for text in (*row.values(),) for text in text.split(";") if "recalled" in text]
    return any("area recalled" not in mark or column == "area_um2" for mark in marks)


def test_constants_are_those_of_the_data() -> None:
    constants = bundled_constants()
    for name, (item, bits, column) in FROM_DATA.items():
        assert constants[name].value == float(rows()[item, bits][column]), name


def test_no_recalled_value_is_used() -> None:
    marked = {key for key, row in rows().items() if recalled(row, "energy_pJ")}
    assert {item for item, _ in marked} == {
        "MAC : RF : inter-PE : global buffer : DRAM",
        "GAP-8 HWCE CNN",
        "Vega int8 software",
        "Vega int8 DNN with HWCE",
    }
    for item, bits, column in FROM_DATA.values():
        assert not recalled(rows()[item, bits], column)
    for constant in bundled_constants().values():
        assert not any(word in constant.source for word in ("recalled", "Eyeriss", "GAP-8", "Vega"))


def test_every_constant_is_between_its_bounds_and_has_a_source() -> None:
    for name, constant in bundled_constants().items():
        assert 0 <= constant.low <= constant.value <= constant.high, name
        assert constant.source, name


def test_the_bundled_processes_are_cactis() -> None:
    assert {*process_names()} == {*cacti()}
    for name in process_names():
        process = load_energy(name).process
        assert process.name == name
        assert process.dynamic_low < 1 < process.dynamic_high
        assert process.leakage_low < 1 < process.leakage_high
        read, write, leakage = load_energy(name).sram(64, 32)
        row = cacti()[name].rows[64, 32]
        assert (read.value, write.value, leakage.value) == (row.read_pj, row.write_pj, row.leakage_mw)


def test_the_ends_of_the_nodes_are_the_processes() -> None:
    for node, name in (("22nm", "22nm-lop"), ("45nm", "45nm-lop"), ("45.0nm", "45nm-lop")):
        assert load_energy(node) == load_energy(name).replace(path=node)


@given(st.floats(min_value=22, max_value=45), st.floats(min_value=22, max_value=45))
def test_a_smaller_node_takes_less_for_every_event(one: float, other: float) -> None:
    small, large = (load_energy(f"{node:.4f}nm", {"voltage": "0.65"}) for node in sorted((one, other)))
    for name in ("instruction", "add32", "multiply8", "stall_cycle"):
        assert small.constant(name).value <= large.constant(name).value
    for a, b in zip(small.sram(8, 32)[:2], large.sram(8, 32)[:2], strict=True):
        assert a.value <= b.value * (1 + 1e-9)


@given(
    st.sampled_from(["45nm-lop", "45nm-hp", "22nm-lop", "30nm"]),
    st.floats(min_value=0.61, max_value=1.49),
    st.floats(min_value=0.61, max_value=1.49),
)
def test_a_higher_voltage_takes_more_for_everything(name: str, one: float, other: float) -> None:
    nominal = load_energy(name).voltage
    low, high = (load_energy(name, {"voltage": str(nominal * factor)}) for factor in sorted((one, other)))
    ratio = (high.voltage / low.voltage) ** 2
    assert high.constant("add32").value == pytest.approx(low.constant("add32").value * ratio)
    for a, b in zip(low.sram(16, 64), high.sram(16, 64), strict=True):
        assert b.value == pytest.approx(a.value * ratio)
        assert b.low <= b.value <= b.high
    assert low.logic_leakage().value <= high.logic_leakage().value * (1 + 1e-9)


def test_a_node_between_is_less_certain() -> None:
    between, there = load_energy("35nm").sram(8, 32), load_energy("45nm").sram(8, 32)
    assert between[0].high / between[0].value > there[0].high / there[0].value
    assert between[0].low / between[0].value < there[0].low / there[0].value


TEXT = """
name = "mine"
source = "measured"
process = "22nm-lop"
voltage = 0.65
[constant.instruction]
value = 5
high = 6
source = "a chip"
[region.ram]
size_kib = 32
width_bits = 64
leakage_mw = 0.25
"""


def test_what_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    found = load_energy(str(path), {"region.ram.read_pj": "3"})
    assert (found.process.name, found.voltage) == ("22nm-lop", 0.65)
    # Given without a node and voltage, a constant is of those of the file.
    assert found.constant("instruction") == (5, 5, 6)
    ram = found.regions["ram"]
    assert (ram.size_kib, ram.width_bits, ram.leakage_mw, ram.read_pj, ram.write_pj) == (32, 64, 0.25, 3, None)


def test_auto_is_what_the_platform_says() -> None:
    assert load_energy().process.name == DEFAULT
    found = load_energy("auto", platform={"process": "22nm-lop", "voltage": 0.5})
    assert (found.process.name, found.voltage) == ("22nm-lop", 0.5)
    assert load_energy("45nm-hp", platform={"process": "22nm-lop", "voltage": 0.5}).voltage == 1.0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("process = '65nm'", "process: the data reach from 22 to 45 nm, found 65nm"),
        ("process = '21.9nm'", "process: the data reach from 22 to 45 nm"),
        ("process = 'tsmc'", "process: expected one of 22nm-lop, 45nm-hp, 45nm-lop, a node such as 28nm"),
        ("process = '../../etc/passwd'", "process: expected one of"),
        ("process = 45", "process: expected a name"),
        ("process = '٢٨nm'", "process: expected one of"),
        ("voltage = 3", "voltage: expected from 0.42 to 1.05 V of 45nm-lop"),
        ("voltage = nan", "voltage: expected from"),
        ("voltage = true", "voltage: expected from"),
        ("voltage = '1'", "voltage: expected from"),
        ("volts = 1", "unknown key 'volts'; did you mean 'voltage'?"),
        ("constant = 3", "constant: expected tables"),
        ("[constant.add33]\nvalue = 1", "constant: unknown constant 'add33'; did you mean 'add32'?"),
        ("[constant.add32]\nlow = 1", "constant.add32: value: expected this key, found none"),
        ("[constant.add32]\nvalue = -1", "constant.add32: value: expected from 0"),
        ("[constant.add32]\nvalue = inf", "constant.add32: value: expected from 0"),
        ("[constant.add32]\nvalue = 1\nlow = 2", "constant.add32: low: expected from 0 to 1 pJ"),
        ("[constant.add32]\nvalue = 1\nhigh = 0.5", "constant.add32: high: expected from 1"),
        ("[constant.add32]\nvalue = 1\nnode_nm = 0", "constant.add32: node_nm: expected from 1 to 1000 nm"),
        ("[constant.add32]\nvalue = 1\nunit = 'J'", "constant.add32: unknown key 'unit'"),
        ("[constant.add32]\nvalue = 1\nsource = 3", "constant.add32: source: expected a text"),
        ("[region.ram]\nsize_kib = 0", "region.ram: size_kib: expected from"),
        ("[region.ram]\nsize_kib = 1e300", "region.ram: size_kib: expected from"),
        ("[region.ram]\nwidth_bits = 33", "region.ram: width_bits: expected 32, 64 or 128, found 33"),
        ("[region.ram]\nread_pj = -0.1", "region.ram: read_pj: expected from 0"),
        ("[region.ram]\nsize = 3", "region.ram: unknown key 'size'"),
        ("[[region]]\nname = 'ram'", "region: expected tables"),
        ('source = "a\\u0007b"', "source: expected a text of one line"),
        ("x = " + "[" * 5000, "mine.toml: "),
        ("\x00", "mine.toml: "),
        ("\xff", "mine.toml: "),
    ],
)  # fmt: skip
def test_what_a_file_may_not_say(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="latin-1" if text == "\xff" else "utf-8")
    with pytest.raises(UsageError) as caught:
        load_energy(str(path))
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    try:
        load_energy(str(path))
    except UsageError as error:
        assert str(path) in str(error)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["process", "voltage", "constant", "region", "name", "source"])


@given(st.dictionaries(KEYS, VALUES))
def test_any_values_are_taken_or_refused(table: dict[str, Any]) -> None:
    try:
        load_energy("auto", platform=table)
    except UsageError as error:
        assert "the platform's [energy]: " in str(error)


@pytest.mark.parametrize("key", ["voltage.x", "region.ram", "constant", "region.ram.size_kib.x"])
def test_a_setting_of_no_key_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        load_energy("45nm-lop", {"voltage": "0.7", "region.ram.size_kib": "4", key: "3"})


@pytest.mark.parametrize("name", ["none.toml", "/", "/dev/null.toml"])
def test_a_file_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        load_energy(name)


def test_a_folder_or_pipe_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()
    with pytest.raises(UsageError, match="expected a TOML file"):
        load_energy(str(tmp_path / "a.toml"))
