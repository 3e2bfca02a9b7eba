"""Energy from the command line: the option and its settings, the tables, JSON, platforms and snapshots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rvsim.cli.main import main
from tests.conftest import ROOT

HELLO = str(ROOT / "kernels" / "examples" / "hello.elf")
FC = str(ROOT / "kernels" / "examples" / "fc_int8.elf")
PLATFORM = """
name = "mine"
[[region]]
name = "sram"
base = 0x80000000
size_kib = 256
[energy]
process = "22nm-lop"
voltage = 0.5
"""


def document(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["run", *options, "--json", "-"]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


def test_without_the_option_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, HELLO)
    assert found["energy"] is None and found["energy_pj"] is None


def test_the_total_is_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, FC, "--accel", "on", "--energy", "28nm", "--set", "energy.voltage=0.7")
    energy = found["energy"]
    assert found["energy_pj"] == energy["pj"] == pytest.approx(sum(each["pj"] for each in energy["components"]))
    assert (energy["process"], energy["node_nm"], energy["voltage"]) == ("28nm", 28, 0.7)
    assert energy["low_pj"] < energy["pj"] < energy["high_pj"]


def test_a_setting_changes_it_alone(capsys: pytest.CaptureFixture[str]) -> None:
    one = document(capsys, HELLO, "--energy", "auto", "--set", "core.clock_mhz=20")
    two = document(
        capsys, HELLO, "--energy", "auto", "--set", "core.clock_mhz=20", "--set", "energy.region.ram.size_kib=8"
    )
    assert two["energy_pj"] < one["energy_pj"]
    for key in one.keys() - {"energy", "energy_pj", "host_seconds"}:
        assert one[key] == two[key]
    assert one["clock_mhz"] == 20


def test_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", FC, "--accel", "on", "--energy", "45nm-lop"]) == 0
    out = capsys.readouterr().out
    assert "Energy, 45nm-lop at 0.7 V (docs/energy.md)\ncomponent " in out
    assert "\ncoprocessor  MACs " in out and "\ntotal " in out
    assert "Energy by function\nfunction " in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_auto_is_the_platforms(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PLATFORM)
    found = document(capsys, HELLO, "--platform", str(path), "--energy", "auto")
    assert (found["energy"]["process"], found["energy"]["voltage"]) == ("22nm-lop", 0.5)
    assert found["memories"]["sram"] == {"base": 0x8000_0000, "size": 256 << 10, "kind": "sram"}


def test_a_snapshot_takes_any_process(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved = str(tmp_path / "saved")
    assert main(["run", FC, "--max-instructions", "1000", "--save", saved, "--quiet"]) == 124
    capsys.readouterr()
    options = ("--energy", "45nm-hp", "--set", "energy.region.ram.size_kib=32")
    found, whole = document(capsys, saved, *options), document(capsys, FC, *options)
    assert found["energy"] == whole["energy"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--energy", "90nm"], "--energy: process: the data reach from 22 to 45 nm"),
        (["--energy", "none.toml"], "none.toml: cannot read the energy parameters: No such file or directory"),
        (["--energy", "auto", "--set", "energy.volts=1"], "unknown key 'volts'; did you mean 'voltage'?"),
        (["--set", "energy.voltage=1"], "--set: energy.voltage=1 needs --energy"),
        (["--energy", "auto", "--set", "energy.region.flash.size_kib=4"], "the machine has no memory 'flash'"),
        (["--energy", "auto", "--set", "energy.voltage=1", "--set", "energy.voltage=2"], "give it once"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    assert main(["run", HELLO, *options]) == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert not printed.out
