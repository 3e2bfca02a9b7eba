"""A RunResult is a valid `rvsim.run/1` document, and each derived number follows from the counted ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

import kernels
from rvsim.machine.result import (
    AcceleratorReport,
    Count,
    FunctionProfile,
    RunResult,
    SymbolTraffic,
    Traffic,
    decode,
    json_schema,
    main,
)

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "schemas" / "run-1.json"

REPORT = {
    "name": "conv-8x8", "commands": 2, "failed_commands": 1, "macs": 6400, "busy_cycles": 200, "stall_cycles": 20,
    "core_wait_cycles": 150, "total_cycles": 1500, "utilisation": 0.5,
    "traffic": {"load": {"count": 10, "bytes": 40}, "store": {"count": 1, "bytes": 4}},
    "operands": {"input": 20, "weights": 20, "output": 4}, "parameters": {"rows": 8},
    "cycles": {"issue": 10, "compute": 100, "fill_drain": 60, "requantise": 10, "stall": 20, "idle": 1300},
    "levels": [{"level": "memory", "element": "input", "bits": 8, "reads": 20, "writes": 0}],
    "hardware": [
        {
            "name": "a part", "units": {"multiply8": 64}, "kge": 17, "low_kge": 12, "high_kge": None, "source": "x",
            "sram_kib": 8, "sram_bits": 64, "banks": 2,
        },
    ],
    "activities": [{"name": "MACs", "count": 6400, "takes": {"multiply8": 1}}],
}  # fmt: skip


def result(**changes: Any) -> RunResult:
    fields: dict[str, Any] = {
        "program": "demo.elf", "core": "ibex-small", "clock_mhz": 100.0, "accel": "conv-8x8", "exit_code": 0,
        "stop_reason": "exit", "instructions": 1000, "cycles": 1500, "taken_branches": 50,
        "classes": {"alu": 900, "load": 100},
        "traffic": {
            "ram": Traffic(
                fetch=Count(count=900, bytes=3600), load=Count(count=100, bytes=400), store=Count(count=1, bytes=4)
            ),
            "rom": Traffic(fetch=Count(count=100, bytes=200)),
        },
        "symbols": [SymbolTraffic(name="image", region="ram", address=16, size=4, load=Count(count=4, bytes=4))],
        "functions": [
            FunctionProfile(name="main", address=0, size=8, instructions=400, cycles=500),
            FunctionProfile(name="conv", address=8, size=8, instructions=600, cycles=1000),
        ],
        "accelerator": msgspec.convert(REPORT, AcceleratorReport),
    }  # fmt: skip
    return RunResult(**{**fields, **changes})


def test_the_committed_schema_is_the_generated_one(tmp_path: Path) -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema()
    main([str(tmp_path / "deep" / "run-1.json")])
    assert (tmp_path / "deep" / "run-1.json").read_text() == SCHEMA.read_text()


@pytest.mark.parametrize(
    "run",
    [result(), result(accelerator=None, accel="off"), result(exit_code=None, stop_reason="limit", message="limit")],
    ids=["full", "off", "limit"],
)
def test_documents_validate_and_come_back(run: RunResult) -> None:
    document = json.loads(run.to_json())
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(document, json_schema())
    assert document == run.to_dict()
    assert next(iter(document)) == "schema"
    assert run.to_json().endswith("}\n")
    assert decode(run.to_json()) == run


@pytest.mark.parametrize("accel", ["off", "on"])
@pytest.mark.parametrize("example", [each.name for each in kernels.examples()])
def test_real_runs_validate_and_add_up(example: str, accel: str) -> None:
    from rvsim.machine import Machine

    run = Machine.from_elf(kernels.example(example), accel=accel, stdout=lambda data: None).run()
    jsonschema.validate(json.loads(run.to_json()), json_schema())
    total = run.traffic["total"]
    assert sum(run.classes.values()) == total.fetch.count == run.instructions
    assert sum(each.instructions for each in run.functions) == run.instructions
    assert sum(each.cycles for each in run.functions) == run.cycles
    assert sum((each.load for each in run.symbols), Count()) == total.load
    assert sum((each.store for each in run.symbols), Count()) == total.store
    assert (run.accelerator is None) == (accel == "off")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "rvsim.run/2"),
        ("cycles", -1),
        ("stop_reason", "bored"),
        ("traffic", {"ram": {"fetch": 1}}),
        ("functions", [{}]),
    ],
)
def test_the_schema_refuses(path: str, value: object) -> None:
    document = result().to_dict()
    document[path] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_schema())


def test_total_traffic_is_the_sum_and_not_counted_twice() -> None:
    run = result()
    assert run.traffic["total"] == Traffic(
        fetch=Count(count=1000, bytes=3800), load=Count(count=100, bytes=400), store=Count(count=1, bytes=4)
    )
    assert run.traffic["total"].bytes == 4204
    assert decode(run.to_json()).traffic == run.traffic
    assert result(traffic={}).traffic == {"total": Traffic()}


def test_functions_come_most_cycles_first() -> None:
    assert [each.name for each in result().functions] == ["conv", "main"]


def test_derived_numbers() -> None:
    run = result()
    assert run.cpi == 1.5
    assert run.seconds_at_clock == 1500 / 100e6
    assert result(instructions=0).cpi == 0.0


@pytest.mark.parametrize(
    ("reason", "code", "status"),
    [
        ("exit", 0, 0), ("exit", 125, 125), ("exit", -1, 255), ("exit", 256, 0), ("limit", None, 124),
        ("interrupted", None, 130), ("illegal-instruction", None, 132), ("breakpoint", None, 133), ("trap", None, 134),
        ("access-fault", None, 139),
    ],
)  # fmt: skip
def test_exit_status(reason: str, code: int | None, status: int) -> None:
    assert result(stop_reason=reason, exit_code=code).exit_status == status


def test_repr_is_a_few_lines() -> None:
    assert repr(result()) == (
        "<RunResult demo.elf on ibex-small, accel conv-8x8: exit 0\n"
        "  1,000 instructions, 1,500 cycles, CPI 1.50\n"
        "  0.015 ms at 100 MHz, 4,204 bytes moved\n"
        "  most cycles: conv, main>"
    )


def test_the_page_explains_every_key() -> None:
    page = (ROOT / "docs" / "run-schema.md").read_text()
    schema = json_schema()
    for record in (schema, *schema["$defs"].values()):
        for name, field in record["properties"].items():
            assert re.search(rf"`(\w+\.)*{name}`", page), f"docs/run-schema.md does not explain {name}"
            assert field["description"], name
