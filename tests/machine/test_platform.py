"""A machine on a platform: its memory regions, permissions, clock and devices, and programs that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rvsim.cli.main import main
from rvsim.errors import ElfError, UsageError
from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from tests.machine.guest import (
    A0,
    A1,
    EXIT,
    MTVEC,
    NOP,
    SP,
    T0,
    ZERO,
    addi,
    code,
    csrrs,
    elf,
    jalr,
    li,
    lui,
    lw,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")

ROM, RAM = 0x2000_0000, 0x1000_0000
TEXT = """
name = "mine"
clock_mhz = 48
{devices}
[[region]]
name = "rom"
base = 0x20000000
size_kib = 8
access = "rx"

[[region]]
name = "ram"
base = 0x10000000
size_bytes = 6144
access = "rw"

[[region]]
name = "small"
base = 0x30000000
size_bytes = 256
access = "rwx"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.format(devices=""))
    return path


def on(file: Path, *words: Any, image: dict[str, Any] | None = None, **options: Any) -> Machine:
    image = {"base": ROM, **(image or {})}
    options.setdefault("core", "ideal")
    return Machine(parse_elf(elf(code(*words), **image), "guest.elf"), platform=str(file), **options)


def test_the_regions_are_the_platforms(file: Path) -> None:
    guest = on(file, EXIT, image={"data": b"abc", "data_base": RAM + 64})
    assert [tuple(each) for each in guest.regions] == [
        ("ram", RAM, 6144, 6),
        ("rom", ROM, 8192, 5),
        ("small", 0x3000_0000, 256, 7),
    ]
    assert guest.read_memory(RAM + 64, 4) == b"abc\0"
    run = guest.run()
    assert (run.platform, run.clock_mhz, set(run.traffic)) == ("mine", 48.0, {"ram", "rom", "small", "total"})
    assert run.traffic["rom"].fetch.count == 2


@pytest.mark.parametrize(
    ("image", "top"),
    [
        ({}, RAM + 6144),
        ({"data": b"x", "data_base": RAM}, RAM + 6144),
        ({"data": b"x", "data_base": 0x3000_0000}, 0x3000_0100),
        ({"data": b"x", "data_base": RAM, "segments": [(0x3000_0000, b"x", 1, 5)]}, RAM + 6144),
        ({"data": b"x", "data_base": RAM, "segments": [(0x3000_0000, b"x", 1, 6)]}, 0x3000_0100),
    ],
)
def test_the_stack_is_where_the_data_is(file: Path, image: dict[str, Any], top: int) -> None:
    assert top - 64 <= on(file, EXIT, image=image).registers[SP] < top


def test_memory_can_be_added(file: Path) -> None:
    guest = on(file, EXIT, image={"base": 0x8000_0000}, memory=["more=0x80000000,4"])
    assert [each.name for each in guest.regions] == ["ram", "rom", "small", "more"]


def test_the_clock_can_be_set(file: Path) -> None:
    assert on(file, EXIT, settings={"core.clock_mhz": "7"}).timing.clock_mhz == 7
    assert on(file, EXIT, settings={"platform.clock_mhz": "9"}).timing.clock_mhz == 9


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([lui(T0, ROM >> 12), lw(A0, T0), addi(A0, ZERO, 0), EXIT], "exit"),
        ([lui(T0, ROM >> 12), sw(A0, T0), EXIT], "access-fault"),
        ([lui(T0, RAM >> 12), sw(A0, T0), lw(A0, T0), EXIT], "exit"),
        ([lui(T0, RAM >> 12), jalr(ZERO, T0)], "access-fault"),
        ([*li(T0, RAM + 6140), lw(A1, T0), EXIT], "exit"),
        ([*li(T0, RAM + 6144), lw(A1, T0), EXIT], "access-fault"),
        ([*li(T0, 0x3000_00FC), sw(ZERO, T0), lw(A0, T0), EXIT], "exit"),
        ([*li(T0, 0x3000_0100), sw(ZERO, T0), EXIT], "access-fault"),
        ([lui(T0, 0x80000), lw(A0, T0), EXIT], "access-fault"),
    ],
)
def test_what_is_permitted(file: Path, words: list[Any], reason: str) -> None:
    assert on(file, *words).run().stop_reason == reason


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"base": 0x8000_0000}, "the segment 0x80000000 to 0x80000007 does not lie within a region of platform mine: "
         "ram (0x10000000 to 0x100017ff), rom (0x20000000 to 0x20001fff), small (0x30000000 to 0x300000ff); "
         "link it for one of them, or add memory that is free there, such as --memory NAME=0x80000000,1"),
        ({"base": ROM + 0x1FFC}, "the segment 0x20001ffc to 0x20002003 does not lie within a region of platform mine"),
        ({"base": ROM - 4, "entry": ROM}, "the segment 0x1ffffffc to 0x20000003 does not lie within a region"),
        ({"data_size": 0x2000, "data_base": RAM}, "the segment 0x10000000 to 0x10001fff does not lie within a region"),
    ],
)  # fmt: skip
def test_programs_that_do_not_fit(file: Path, image: dict[str, Any], message: str) -> None:
    with pytest.raises(ElfError) as raised:
        on(file, EXIT, image=image)
    assert str(raised.value).startswith("guest.elf: ") and message in str(raised.value)


@pytest.mark.parametrize(
    ("devices", "options", "found"),
    [
        ("", [], [("finisher", 0x10_0000), ("clint", 0x200_0000)]),  # uart is where memory is
        ("", ["none"], []),
        ("devices = []", [], []),
        ('devices = ["uart=0x60000000", "uart=0x60010000"]', [], [("uart", 0x6000_0000), ("uart", 0x6001_0000)]),
        ('devices = ["uart=0x60000000", "clint"]', ["uart=0x40000000"], [("clint", 0x200_0000), ("uart", 0x4000_0000)]),
        ('devices = ["uart=0x60000000"]', ["none", "finisher"], [("finisher", 0x10_0000)]),
        ('devices = ["uart=0x60000000"]', ["finisher"], [("finisher", 0x10_0000), ("uart", 0x6000_0000)]),
        ('devices = ["none"]', [], []),
    ],
)
def test_devices(file: Path, devices: str, options: list[str], found: list[tuple[str, int]]) -> None:
    file.write_text(TEXT.format(devices=devices))
    assert [(each.name, each.base) for each in on(file, EXIT, devices=options).devices] == found


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ('["urt"]', "devices: expected NAME or NAME=ADDRESS, found 'urt'; did you mean uart?"),
        ('["uart=x"]', "devices: expected an address at a multiple of 8 below 4 GiB"),
        ('["uart"]', "devices: uart (0x10000000 to 0x100000ff) overlaps memory (0x10000000 to 0x100017ff)"),
        ('["uart=0x100"," clint"]', "devices: expected NAME"),
        ('["uart=0x100", "clint=0"]', "devices: clint (0x00000000 to 0x0000ffff) and uart (0x00000100 to"),
    ],
)  # fmt: skip
def test_devices_that_are_refused(file: Path, devices: str, message: str) -> None:
    file.write_text(TEXT.format(devices=f"devices = {devices}"))
    with pytest.raises(UsageError) as raised:
        on(file, EXIT)
    assert str(raised.value).startswith(f"{file}: {message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"memory": ["more=0x10001000,4"]},
            "--memory: ram (0x10000000 to 0x100017ff) and more (0x10001000 on) overlap",
        ),
        ({"memory": ["ram=0x80000000,4"]}, "--memory: the name ram is taken"),
        ({"memory_limit": 8192}, "the regions have 0 MiB together"),
        ({"settings": {"platform.region.rim.base": "0"}}, "there is no region 'rim'; did you mean 'rom'?"),
        ({"devices": ["uart=0x10000000"]}, "--device: uart (0x10000000 to 0x100000ff) overlaps memory"),
        ({"args": ["x" * 2000]}, "the guest's arguments take"),
        ({"args": ["x"], "image": {"data": b"x" * 6144, "data_base": RAM}}, "where the program is"),
    ],
)
def test_options_that_cannot_be(file: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        on(file, EXIT, **options)
    assert message in str(raised.value)


def test_a_setting_of_no_platform_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--set: platform\.clock_mhz needs a --platform"):
        Machine(parse_elf(elf(code(EXIT)), "x.elf"), settings={"platform.clock_mhz": "1"})


def test_a_region_has_no_devices_name(file: Path) -> None:
    file.write_text(TEXT.format(devices="").replace('"small"', '"clint"'))
    with pytest.raises(UsageError, match="memory region clint: a device of this machine has the name"):
        on(file, EXIT)


def test_a_program_that_fills_its_memory_keeps_what_it_holds(file: Path) -> None:
    data = bytes(range(256)) * 24
    guest = on(file, EXIT, image={"data": data, "data_base": RAM})
    assert guest.read_memory(RAM, 6144) == data
    assert guest.registers[SP] == RAM + 6144


def test_wait_states_are_not_in_the_table_of_a_core(file: Path) -> None:
    assert on(file, EXIT).warnings == []
    (warning,) = on(file, EXIT, settings={"platform.region.rom.fetch_wait": "1"}).warnings
    assert warning == (
        "the table of core ideal is of memory without wait states: those of platform mine are not in the cycles "
        "(--timing exact, with a core that has an exact model)"
    )


def test_a_snapshot_needs_no_file_of_the_platform(file: Path, tmp_path: Path) -> None:
    guest = on(file, [NOP] * 8, EXIT)
    guest.run(4)
    guest.save(tmp_path / "x.snap")
    file.unlink()
    loaded = Machine.load(tmp_path / "x.snap")
    assert (loaded.regions, loaded.timing.clock_mhz) == (guest.regions, 48.0)
    assert loaded.options["platform"] == str(file)
    assert loaded.run().replace(host_seconds=0.0) == guest.run().replace(host_seconds=0.0)


@pytest.mark.parametrize(
    ("name", "base"),
    [("esp32c3", 0x4038_0000), ("esp32c3", 0x4200_0000), ("rp2350-hazard3", 0x2000_0000), ("ibex-demo", 0x10_0080),
     ("rp2350-hazard3", 0x1000_0000), ("rtl-ideal", 0x8000_0080), ("rtl-la0", 0x4000_0080)],
)  # fmt: skip
def test_bundled_platforms_run_programs(name: str, base: int) -> None:
    image = parse_elf(elf(code(sw(ZERO, SP, -4), csrrs(A0, MTVEC), EXIT), base=base), "x.elf")
    assert Machine(image, platform=name).run().exit_code == 0


def test_the_command_line(file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "x.elf"
    words = [*li(T0, 0x1000_0000), sw(A0, T0), NOP, sw(A0, T0, 4), addi(A0, ZERO, 9), sw(A0, T0, 8)]
    program.write_bytes(elf(code(*words)))
    assert main(["run", str(program), "--platform", "rtl-d2", "--core", "ibex-small", "--json", "-"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["roi"] == {"cycles": 5, "instructions": 2, "checksum": 9}
    assert err == ""
    arguments = [
        "run",
        str(program),
        "--platform",
        "rtl-d2",
        "--core",
        "ibex-small",
        "--json",
        "-",
        "--timing",
        "table",
    ]
    assert main(arguments) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["roi"] == {"cycles": 3, "instructions": 2, "checksum": 9}
    assert "those of platform rtl-d2 are not in the cycles" in err
    assert main(["run", str(program), "--platform=rtl-ideal", "--quiet", "--save", str(tmp_path / "x.snap")]) == 0
    assert main(["run", str(tmp_path / "x.snap"), "--platform", "rtl-ideal"]) == 2
    assert "has its own --platform" in capfd.readouterr()[1]
    assert main(["run", str(program), "--platform", str(file)]) == 66
    assert "does not lie within a region of platform mine" in capfd.readouterr()[1]
    for command in ("compare", "caches"):
        assert main([command, str(program), "--platform", "rtl-ideal", "--quiet"]) == 0
