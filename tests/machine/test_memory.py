"""The memory map: where regions lie, who names them, what may be accessed, and how large a guest can become."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rvsim.errors import ElfError, UsageError
from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from rvsim.machine.memory import Region, parse_memory
from tests.machine.guest import (
    A0,
    BASE,
    DATA,
    EXIT,
    NOP,
    RAM_END,
    T0,
    ZERO,
    addi,
    code,
    elf,
    jal,
    lui,
    lw,
    machine,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")

TEXT = code(EXIT)
MIB = 1 << 20
RAM = ("ram", BASE, 16 * MIB, 7)


def regions(image: bytes, *options: str, **more: Any) -> list[tuple[str, int, int, int]]:
    return [tuple(r) for r in Machine(parse_elf(image, "x.elf"), memory=options, **more).regions]


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (elf(TEXT), [], [RAM]),
        (elf(TEXT, base=RAM_END - 8), [], [RAM]),
        # outside the RAM: whole pages, and 1 MiB for brk behind the last writable one
        (elf(TEXT, base=0x1_0004), [], [("data", 0x1_0000, 4096 + MIB, 7), RAM]),
        (elf(TEXT, base=0x1_0FFC), [], [("data", 0x1_0000, 8192 + MIB, 7), RAM]),
        (elf(TEXT, base=0x1_0000, data=b"x", data_base=0x2_0000), [],
         [("data", 0x1_0000, 4096, 7), ("data2", 0x2_0000, 4096 + MIB, 6), RAM]),
        # segments that share a page share its permissions
        (elf(TEXT, segments=[(0x1_0000, b"abc", 3, 5), (0x1_0800, b"", 4, 6)]), [], [("data", 0x1_0000, 4096, 7), RAM]),
        (elf(TEXT, segments=[(0x1_0000, b"abc", 3, 5), (0x3_0000, b"abc", 3, 4)]), [],
         [("rom", 0x1_0000, 4096, 5), ("rom2", 0x3_0000, 4096, 4), RAM]),
        # brk takes no more than there is room for
        (elf(TEXT, base=BASE - 0x3000), [], [("data", BASE - 0x3000, 0x3000, 7), RAM]),
        # what is asked for: beside, instead of the RAM, around a segment, at the top of the address space
        (elf(TEXT), ["sram=0x20000000,64"], [("sram", 0x2000_0000, 65536, 7), RAM]),
        (elf(TEXT), ["ram=0x80000000,64"], [("ram", BASE, 65536, 7)]),
        (elf(TEXT, base=0x1_0000), ["flash=65536,1"], [("flash", 0x1_0000, 1024, 7), RAM]),
        (elf(TEXT), ["top=0xfffff000,4"], [RAM, ("top", 0xFFFF_F000, 4096, 7)]),
        # a name that is given is not taken for another region
        (elf(TEXT, segments=[(0x1_0000, b"abc", 3, 5)]), ["rom=0x20000000,4"],
         [("rom2", 0x1_0000, 4096, 5), ("rom", 0x2000_0000, 4096, 7), RAM]),
        (elf(TEXT, base=0x1_0000), ["database=0x20000000,4"],
         [("data", 0x1_0000, 4096 + MIB, 7), ("database", 0x2000_0000, 4096, 7), RAM]),
        # rounding to pages does not reach into a region
        (elf(TEXT, segments=[(0x2000_0800, b"abc", 3, 4)]), ["small=0x20000000,1"],
         [("small", 0x2000_0000, 1024, 7), ("rom", 0x2000_0400, 0xC00, 4), RAM]),
    ],
)  # fmt: skip
def test_layout(image: bytes, options: list[str], expected: list[tuple[str, int, int, int]]) -> None:
    assert regions(image, *options) == expected


@pytest.mark.parametrize(
    ("image", "options", "error", "message"),
    [
        (elf(TEXT), ["a=0x20000000,64", "b=0x20008000,64"], UsageError,
         "--memory: a (0x20000000 to 0x2000ffff) and b (0x20008000 on) overlap"),
        (elf(TEXT), ["a=0x80001000,64"], UsageError,
         "--memory: ram (0x80000000 to 0x80ffffff) and a (0x80001000 on) overlap"),
        (elf(TEXT), ["a=0x20000000,64", "a=0x30000000,64"], UsageError,
         "--memory: the name a is taken; give each region its own"),
        (elf(TEXT), ["total=0x20000000,64"], UsageError, "--memory: the name total is taken; give each region its own"),
        (elf(TEXT), ["a=0,2000000"], UsageError, "--memory: the regions have 1969 MiB together, the limit is 1024 MiB"),
        (elf(TEXT, data_size=32 * MIB), [], ElfError,
         "x.elf: the segment 0x80001000 to 0x82000fff does not fit into ram (0x80000000 to 0x80ffffff); enlarge it, "
         "such as --memory ram=0x80000000,32772"),
        (elf(TEXT, segments=[(BASE - 16, b"", 16, 6), (0x1FFF_F000, b"", 0x1004, 6)]), ["a=0x20000000,4"], ElfError,
         "x.elf: the segment 0x1ffff000 to 0x20000003 does not fit into a (0x20000000 to 0x20000fff); enlarge it, such "
         "as --memory a=0x1ffff000,8"),
        (elf(TEXT, data_size=1000 * MIB, data_base=0x1000_0000), ["a=0x70000000,16384"], ElfError,
         "x.elf: needs 1032 MiB of memory, the limit is 1024 MiB; check the linker script"),
    ],
)  # fmt: skip
def test_layouts_that_cannot_be(image: bytes, options: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        regions(image, *options)
    assert str(raised.value) == message


def test_the_advice_works() -> None:
    assert regions(elf(TEXT, data_size=32 * MIB), "ram=0x80000000,32772") == [("ram", BASE, 32772 << 10, 7)]
    image = elf(TEXT, segments=[(0x1FFF_F000, b"", 0x1004, 6)])
    assert regions(image, "a=0x1ffff000,8") == [("a", 0x1FFF_F000, 8192, 7), RAM]


@pytest.mark.parametrize(
    ("option", "region"),
    [
        ("sram=0x20000000,64", Region("sram", 0x2000_0000, 65536, 7)),
        ("a-b_1=4096,1", Region("a-b_1", 4096, 1024, 7)),
        ("x=0,4194304", Region("x", 0, 1 << 32, 7)),
        *[(text, None) for text in (
            "", "x", "x=1", "x=0x1000", "x=0,0", "x=1,4", "x=0x1000,4k", "1x=0x1000,4", "x=0x1000,-4", "x=-4096,4",
            "x=0x1000,4,4", "x=0x1000, 4", "x=0xfffff000,8", "x=0,4194305", "x=0x1000,4\n", "=0x1000,4",
        )],
    ],
)  # fmt: skip
def test_memory_options(option: str, region: Region | None) -> None:
    if region is not None:
        assert parse_memory(option) == region
    else:
        with pytest.raises(UsageError, match=r"^--memory"):
            parse_memory(option)


@pytest.mark.parametrize(("limit", "fits"), [(16 * MIB, True), (16 * MIB - 1, False), (0, False)])
def test_the_limit_counts_all_regions(limit: int, fits: bool) -> None:
    if fits:
        assert regions(elf(TEXT), memory_limit=limit) == [RAM]
    else:
        with pytest.raises((UsageError, ElfError), match="the limit is"):
            regions(elf(TEXT), memory_limit=limit)


# --------------------------------------------------------------------------------------------------------- permissions

ROM = 0x2000_0000


@pytest.mark.parametrize(
    ("flags", "load", "store", "fetch"),
    [
        (4, True, False, False),
        (5, True, False, True),
        (6, True, True, False),
        (7, True, True, True),
        (1, False, False, True),
    ],
)
def test_permissions_of_segments_are_kept(flags: int, load: bool, store: bool, fetch: bool) -> None:
    # The segment's word is a jump to itself.
    image = {"segments": [(ROM, code(jal(ZERO, 0)), 4, flags)]}
    base = lui(T0, ROM >> 12)
    assert (machine(base, lw(A0, T0), NOP, image=image).run(3).stop_reason == "limit") is load
    assert (machine(base, sw(A0, T0), NOP, image=image).run(3).stop_reason == "limit") is store
    result = machine(base, 0x0002_8067, image=image).run(5)  # jalr zero, t0
    assert (result.stop_reason == "limit") is fetch
    if not fetch:
        assert result.message is not None and "instruction access fault at address 0x20000000" in result.message


def test_accesses_do_not_pass_from_one_region_into_the_next() -> None:
    # Two regions side by side are two memories: an access over their border faults in the first byte of the second.
    words = [lui(T0, 0x20001), lw(A0, T0, -4), lw(A0, T0), lw(A0, T0, -2)]
    result = machine(*words, memory=["a=0x20000000,4", "b=0x20001000,4"]).run()
    assert (result.stop_reason, result.instructions) == ("access-fault", 3)
    assert result.message is not None and "at address 0x20001000" in result.message


def test_memory_begins_as_zero_and_as_the_segments_say() -> None:
    m = machine(NOP, image={"data": b"abc", "data_size": 64})
    assert m.read_memory(DATA, 64) == b"abc" + bytes(61)
    assert m.read_memory(BASE + 0x2000, 4096) == bytes(4096)


def test_traffic_is_counted_by_region() -> None:
    words = [lui(T0, 0x20000), lw(A0, T0), sw(A0, T0, 4), sw(A0, T0, 8), lui(T0, DATA >> 12), lw(A0, T0), EXIT]
    traffic = machine(*words, memory=["sram=0x20000000,4", "unused=0x30000000,4"]).run().traffic
    found = {name: [(c.count, c.bytes) for c in (each.fetch, each.load, each.store)] for name, each in traffic.items()}
    assert found == {
        "sram": [(0, 0), (1, 4), (2, 8)], "unused": [(0, 0)] * 3, "ram": [(8, 32), (1, 4), (0, 0)],
        "total": [(8, 32), (2, 8), (2, 8)],
    }  # fmt: skip


@pytest.mark.parametrize(("size", "arguments", "fits"), [(4, 200, True), (4, 300, False), (64, 2000, True)])
def test_arguments_take_at_most_a_quarter_of_the_ram(size: int, arguments: int, fits: bool) -> None:
    # each takes 2 bytes and a pointer of 4
    options = {"memory": [f"ram={BASE:#x},{size}", "other=0xf0000000,4096"], "args": ["x"] * arguments}
    if size == 4:
        options["args"] = ["x"] * (arguments - 50)
    if fits:
        m = machine(EXIT, **options)
        assert m.registers[2] >= BASE + size * 768
        assert m.run().stop_reason == "exit"
    else:
        with pytest.raises(UsageError, match="the guest's arguments take"):
            machine(EXIT, **options)


# -------------------------------------------------------------------------------------------------- ends of a long run

ENDLESS = [addi(A0, A0, 1), jal(ZERO, -4)]


def _rvsim(tmp_path: Path, *options: str) -> list[str]:
    (tmp_path / "endless.elf").write_bytes(elf(code(ENDLESS), functions={"spin": (BASE, 8)}))
    return [sys.executable, "-m", "rvsim", "run", *options, str(tmp_path / "endless.elf")]


def test_the_instruction_limit_ends_with_124(tmp_path: Path) -> None:
    done = subprocess.run(_rvsim(tmp_path, "--max-instructions", "1001"), capture_output=True, text=True)
    assert done.returncode == 124
    assert "1,001" in done.stdout
    assert done.stderr == (
        "rvsim: stopped at the limit of 1001 instructions, at 0x80000004 in spin+0x4; raise --max-instructions to go "
        "on\n"
    )


def test_ctrl_c_stops_with_the_statistics_so_far(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    process = subprocess.Popen(
        _rvsim(tmp_path, "--json", str(report)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()  # where signals are ignored, as behind nohup
    assert process.returncode == 130
    assert "interrupted" in out and "spin" in out
    assert err.startswith("rvsim: interrupted at 0x8000000") and err.count("\n") == 1
    from rvsim.machine.result import decode

    result = decode(report.read_text())
    assert result.stop_reason == "interrupted"
    assert result.instructions == sum(result.classes.values()) > 1_000_000
    assert abs(result.classes["alu"] - result.classes["jump"]) <= 1
