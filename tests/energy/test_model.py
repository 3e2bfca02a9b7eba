"""Energy of a run: counts times constants, functions and components adding up, monotone in what costs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim import Machine
from rvsim.energy import add_energy, estimate, load_energy
from rvsim.energy.model import NOWHERE, OPERATIONS
from rvsim.energy.sram import cacti
from rvsim.errors import UsageError
from rvsim.machine.result import (
    AcceleratorReport,
    Activity,
    CacheReport,
    Count,
    EnergyReport,
    FunctionProfile,
    HardwarePart,
    LevelTraffic,
    MemoryReport,
    PortTraffic,
    RunResult,
    Traffic,
    decode,
)
from rvsim.timing.core import CLASSES

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "run-1.json").read_text())
EXAMPLES = ROOT / "kernels" / "examples"
NOMINAL = load_energy("45nm-lop")


def run(**changes: Any) -> RunResult:
    """Two functions in a ROM and a RAM: 100 instructions in 150 cycles at 50 MHz."""
    fields: dict[str, Any] = {
        "program": "demo.elf", "core": "ibex-small", "clock_mhz": 50.0, "accel": "off", "exit_code": 0,
        "stop_reason": "exit", "instructions": 100, "cycles": 150, "taken_branches": 5,
        "classes": {"alu": 60, "load": 20, "store": 10, "multiply": 10},
        "traffic": {
            "rom": Traffic(fetch=Count(60, 240)),
            "ram": Traffic(fetch=Count(40, 120), load=Count(20, 50), store=Count(10, 40)),
        },
        "memories": {"rom": MemoryReport(0, 8192, "rom"), "ram": MemoryReport(0x8000_0000, 65536, "sram")},
        "functions": [
            FunctionProfile("main", 0x100, 64, 60, 70, classes={"alu": 50, "load": 10}, fetch_bytes=240),
            FunctionProfile(
                "mac", 0x8000_0000, 64, 40, 80,
                classes={"alu": 10, "load": 10, "store": 10, "multiply": 10}, fetch_bytes=120,
            ),
        ],
    }  # fmt: skip
    return RunResult(**{**fields, **changes})


def energies(report: EnergyReport) -> dict[tuple[str, str], float]:
    return {(each.component, each.part): each.pj for each in report.components}


def test_a_run_reckoned_by_hand() -> None:
    # At 45 nm and 0.7 V: constants of 0.9 V times (7/9)^2, CACTI's rows as they are.
    volt = (0.7 / 0.9) ** 2
    rom, ram = cacti()["45nm-lop"].rows[8, 32], cacti()["45nm-lop"].rows[64, 32]
    core = cacti()["45nm-lop"].rows[256, 32]
    expected = {
        ("core", "alu"): 60 * (17.5 + 0.1) * volt,
        ("core", "load"): 20 * (17.5 + 0.1) * volt,
        ("core", "store"): 10 * (17.5 + 0.1) * volt,
        ("core", "multiply"): 10 * (17.5 + 3.1) * volt,
        ("core", "stalls"): 50 * 5.4 * volt,
        ("fetch", "rom"): 60 * rom.read_pj,
        ("fetch", "ram"): 30 * ram.read_pj,
        ("load", "ram"): 20 * ram.read_pj,
        ("store", "ram"): 10 * ram.write_pj,
        # 150 cycles at 50 MHz are 3 us; mW times us is nJ.
        ("leakage", "rom"): 3000 * rom.leakage_mw,
        ("leakage", "ram"): 3000 * ram.leakage_mw,
        ("leakage", "core"): 3000 * 26.06e3 * 0.798e-6 * core.leakage_mw / core.area_mm2,
    }
    report = estimate(run(), NOMINAL)
    assert energies(report) == pytest.approx(expected)
    assert report.pj == pytest.approx(sum(expected.values()))
    functions = {each.name: each.components for each in report.functions}
    assert functions["main"] == pytest.approx(
        {
            "core": (60 * 17.6 + 50 * 5.4 * 10 / 50) * volt,
            "fetch": 60 * rom.read_pj,
            "load": 10 * ram.read_pj,
            "leakage": 70 / 150 * sum(pj for (what, _), pj in expected.items() if what == "leakage"),
        }
    )
    assert functions["mac"]["store"] == pytest.approx(10 * ram.write_pj)


def test_a_coprocessor_reckoned_by_hand() -> None:
    port = PortTraffic(load=Count(10, 80), store=Count(5, 20))
    unit = AcceleratorReport(
        "conv", macs=3200, commands=1, traffic=port,
        hardware=[
            HardwarePart("input buffer", sram_kib=4, sram_bits=64),
            HardwarePart("weight buffer", sram_kib=4, sram_bits=32, banks=2),
            HardwarePart("output buffer", sram_kib=1, sram_bits=128),
            HardwarePart("PE array", units={"multiply8": 32, "add32": 32, "register_bit": 1536}),
        ],
        levels=[
            LevelTraffic("memory", "input", 8, 80, 0),
            LevelTraffic("input buffer", "input", 8, 800, 80),
            LevelTraffic("weight buffer", "weights", 8, 32, 32),
            LevelTraffic("output buffer", "partial sums", 32, 0, 400),
        ],
        activities=[
            Activity("MACs", 3200, {"multiply8": 1, "add32": 1, "register_bit": 48}),
            Activity("requantisation", 20, {"multiply32": 1}),
        ],
    )  # fmt: skip
    before = run()
    ram = Traffic(fetch=Count(40, 120), load=Count(30, 130), store=Count(15, 60))
    found = energies(estimate(before.replace(accelerator=unit, traffic={**before.traffic, "ram": ram}), NOMINAL))
    rows = cacti()["45nm-lop"].rows
    volt = (0.7 / 0.9) ** 2
    # Eight bytes side by side in 64 bits; a bank is half a buffer; four sums of 32 bits make 128.
    assert found["coprocessor", "input buffer reads"] == pytest.approx(100 * rows[4, 64].read_pj)
    assert found["coprocessor", "input buffer writes"] == pytest.approx(10 * rows[4, 64].write_pj)
    assert found["coprocessor", "weight buffer reads"] == pytest.approx(8 * rows[2, 32].read_pj)
    assert found["coprocessor", "output buffer writes"] == pytest.approx(100 * rows[1, 128].write_pj)
    assert found["coprocessor", "MACs"] == pytest.approx(3200 * (0.2 + 0.1 + 48 * 0.009 * 45 / 40) * volt)
    assert found["coprocessor", "requantisation"] == pytest.approx(20 * 3.1 * volt)
    cycles = before.cycles / before.clock_mhz * 1000
    assert found["leakage", "weight buffer"] == pytest.approx(2 * rows[2, 32].leakage_mw * cycles)
    pe = 32 * (6350 / 16 + 278 + 48 * 5.98) * 1e-6 * (45 / 40) ** 2
    density = rows[256, 32].leakage_mw / rows[256, 32].area_mm2
    assert found["leakage", "coprocessor's logic"] == pytest.approx(pe * density * cycles)
    # Its 80 bytes in ten accesses of a 64-bit port are twenty of the memory's 32 bits.
    assert found["load", "ram"] == pytest.approx((20 + 20) * rows[64, 32].read_pj)


def test_behind_a_cache_memory_sees_lines() -> None:
    caches = {
        "icache": CacheReport(
            100, 90, 10, loads=100, refill_bytes=160, parameters={"size_kib": 4, "ways": 2, "line_bytes": 16}
        ),
        "dcache": CacheReport(
            30, 25, 5, loads=20, stores=10, refill_bytes=80, write_back_bytes=16, passed_stores=3,
            parameters={"size_bytes": 4096, "ways": 1, "line_bytes": 16},
        ),
    }  # fmt: skip
    found = {(each.component, each.part): each for each in estimate(run(**caches), NOMINAL).components}
    assert found["fetch", "rom"].count + found["fetch", "ram"].count == pytest.approx(160 / 4)
    assert found["load", "ram"].count == 80 / 4
    assert found["store", "ram"].count == 16 / 4 + 3
    rows = cacti()["45nm-lop"].rows
    # 256 lines of 24 bits are 0.75 KiB, for which the row of 1 KiB stands.
    assert found["icache", "reads"].pj == pytest.approx(100 * (rows[4, 64].read_pj + rows[1, 32].read_pj), rel=0.2)
    assert found["dcache", "reads"].pj == pytest.approx(20 * (rows[4, 32].read_pj + rows[1, 32].read_pj))
    assert found["dcache", "write-backs"].pj == pytest.approx(4 * rows[4, 32].read_pj)
    assert ("leakage", "icache") in found and ("leakage", "dcache") in found


counts = st.integers(min_value=0, max_value=10**9)
class_counts = st.dictionaries(st.sampled_from(CLASSES), counts, max_size=len(CLASSES))


@st.composite
def runs(draw: st.DrawFn) -> RunResult:
    """Counts of any kind, whose functions need not add up to anything."""
    functions = [
        FunctionProfile(
            name, draw(st.sampled_from([0, 0x100, 0x8000_0000])), 4, draw(counts), draw(counts),
            classes=draw(class_counts), fetch_bytes=draw(counts),
        )
        for name in draw(st.lists(st.sampled_from(["a", "b", "c", NOWHERE]), unique=True))
    ]  # fmt: skip
    traffic = {name: Traffic(*(Count(draw(counts), draw(counts)) for _ in range(3))) for name in ("rom", "ram")}
    port = PortTraffic(Count(draw(counts), draw(counts)), Count(draw(counts), draw(counts)))
    unit = draw(
        st.none()
        | st.just(
            AcceleratorReport(
                "x", commands=1, traffic=port, activities=[Activity("MACs", draw(counts), {"multiply8": 1})]
            )
        )
    )
    return run(
        functions=functions, traffic=traffic, classes=draw(class_counts), instructions=draw(counts),
        cycles=draw(counts), accelerator=unit,
    )  # fmt: skip


@given(runs())
def test_functions_and_components_add_up_to_the_total(result: RunResult) -> None:
    report = estimate(result, NOMINAL, {"first": ["a"], "second": ["b"]})
    total = report.pj
    assert math.fsum(each.pj for each in report.components) == pytest.approx(total)
    for shares in (report.functions, report.layers):
        for which in ("pj", "low_pj", "high_pj"):
            assert math.fsum(getattr(each, which) for each in shares) == pytest.approx(getattr(report, which))
    for each in (*report.functions, *report.layers):
        assert math.fsum(each.components.values()) == pytest.approx(each.pj)
    for row in report.components:
        assert 0 <= row.low_pj <= row.pj <= row.high_pj
        assert {*row.constants} <= {constant.name for constant in report.constants}


@given(runs(), st.sampled_from(["cycles", "alu", "load"]), st.integers(min_value=1, max_value=10**6))
def test_more_of_anything_takes_more(result: RunResult, what: str, more: int) -> None:
    if what == "cycles":
        larger = result.replace(cycles=result.cycles + more)
    elif what == "alu":
        larger = result.replace(classes={**result.classes, "alu": result.classes.get("alu", 0) + more})
    else:
        ram = result.traffic["ram"] + Traffic(load=Count(more, 4 * more))
        larger = result.replace(traffic={**result.traffic, "ram": ram})
    assert estimate(larger, NOMINAL).pj >= estimate(result, NOMINAL).pj * (1 - 1e-12)


def test_every_class_is_one_of_the_cores() -> None:
    assert OPERATIONS.keys() <= {*CLASSES}


def test_every_constant_has_a_source() -> None:
    report = estimate(run(), load_energy("28nm", {"voltage": "0.8"}))
    assert report.constants
    for constant in report.constants:
        assert constant.source
        assert constant.low <= constant.value <= constant.high
    assert "by node and V^2" in next(each.source for each in report.constants if each.name == "instruction")


def test_what_a_user_knows_takes_the_place_of_cacti() -> None:
    keys = {
        "region.ram.read_pj": "1",
        "region.ram.write_pj": "2",
        "region.ram.leakage_mw": "0",
        "region.rom.size_kib": "64",
    }
    report = estimate(run(), load_energy("45nm-lop", keys))
    found = energies(report)
    assert found["load", "ram"] == 20
    assert found["store", "ram"] == 20
    assert ("leakage", "ram") not in found
    assert found["fetch", "rom"] == pytest.approx(60 * cacti()["45nm-lop"].rows[64, 32].read_pj)


def test_flash_and_devices_are_named_as_not_counted() -> None:
    kinds = {"rom": MemoryReport(0, 8192, "flash-xip"), "ram": MemoryReport(0x8000_0000, 65536, "device")}
    report = estimate(run(memories=kinds), NOMINAL)
    assert [text.partition(":")[0] for text in report.uncounted] == ["rom", "ram"]
    assert "energy.region.rom.read_pj" in report.uncounted[0]
    given_ = estimate(run(memories=kinds), load_energy("45nm-lop", {"region.rom.read_pj": "100"}))
    assert energies(given_)["fetch", "rom"] == 6000


@pytest.mark.parametrize(
    ("settings_", "memories", "complaint"),
    [
        ({"region.rum.size_kib": "4"}, {}, "the machine has no memory 'rum'; it has rom, ram"),
        ({}, {"ram": MemoryReport(0, 1 << 30, "sram")}, "expected an SRAM of at most 16384 KiB"),
    ],
)
def test_what_cannot_be_is_refused(
    settings_: dict[str, str], memories: dict[str, MemoryReport], complaint: str
) -> None:
    result = run(memories={**run().memories, **memories})
    with pytest.raises(UsageError, match=complaint):
        estimate(result, load_energy("45nm-lop", settings_))


def test_memory_that_no_platform_describes_is_bounded() -> None:
    ram = MemoryReport(0x8000_0000, 16 << 20, "ram")
    found = energies(estimate(run(memories={**run().memories, "ram": ram}), NOMINAL))
    assert found["load", "ram"] == pytest.approx(20 * cacti()["45nm-lop"].rows[256, 32].read_pj)


def test_a_function_is_in_one_layer() -> None:
    with pytest.raises(UsageError, match="function main is in one and in two"):
        estimate(run(), NOMINAL, {"one": ["main"], "two": ["main"]})


def test_it_depends_on_counts_alone() -> None:
    result = run()
    written = decode(add_energy(result, NOMINAL).to_json())
    assert estimate(written, NOMINAL) == written.energy == estimate(result, NOMINAL)
    jsonschema.validate(json.loads(written.to_json()), SCHEMA)


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(["45nm-lop", "45nm-hp", "22nm-lop", "33nm"]))
def test_a_run_of_an_example(process: str) -> None:
    machine = Machine.from_elf(EXAMPLES / "fc_int8.elf", accel="on", icache="4K,2,16", stdout=lambda data: None)
    result = add_energy(machine.run(), load_energy(process))
    report = result.energy
    assert report is not None and result.energy_pj == report.pj
    assert {each.component for each in report.components} == {
        "core", "fetch", "load", "store", "icache", "coprocessor", "leakage",
    }  # fmt: skip
    assert math.fsum(each.pj for each in report.functions) == pytest.approx(report.pj)
    jsonschema.validate(result.to_dict(), SCHEMA)


@pytest.mark.parametrize("elf", ["hello", "conv_int8"])
@pytest.mark.parametrize("engine", ["interp", "jit"])
def test_functions_have_their_classes_and_bytes(elf: str, engine: str) -> None:
    result = Machine.from_elf(EXAMPLES / f"{elf}.elf", engine=engine, accel="on", stdout=lambda data: None).run()
    for function in result.functions:
        assert sum(function.classes.values()) == function.instructions
    sums: dict[str, int] = {}
    for function in result.functions:
        for name, number in function.classes.items():
            sums[name] = sums.get(name, 0) + number
    assert sums == result.classes
    assert sum(each.fetch_bytes for each in result.functions) == result.traffic["total"].fetch.bytes
