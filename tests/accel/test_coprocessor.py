"""The coprocessor as the hart sees it: stalls, faults, the log and the report."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import registry
from accel.conv import descriptor, timing
from accel.conv.coprocessor import ConvCoprocessor
from accel.conv.descriptor import ConvLayer, Status
from accel.conv.parameters import ConvParameters
from accel.protocol import AccessFault, Response
from tests.accel import reference, strategies
from tests.accel.reference import Memory
from tests.accel.strategies import CONV

START, WAIT, STATUS = 0, 1, 2
PC = 0x8000_0100
AT = Memory.RAM + 0x800


def prepare(memory: Memory, layer: ConvLayer = CONV, seed: int = 0) -> None:
    """Fill the RAM with noise, sound multipliers and shifts, and the descriptor."""
    rng = np.random.default_rng(seed)
    memory.ram[:] = rng.bytes(len(memory.ram))
    for address, low, high in ((layer.multiplier, 2**30, 2**31), (layer.shift, -9, -4)):
        start = address - Memory.RAM
        if 0 <= start < len(memory.ram):
            values = rng.integers(low, high, layer.output_channels).astype("<i4").tobytes()
            memory.ram[start : start + len(values)] = values
    memory.ram[AT - Memory.RAM : AT - Memory.RAM + descriptor.SIZE] = descriptor.pack(layer, status=99)


def coprocessor(name: str = "conv-8x8", **overrides: str) -> ConvCoprocessor:
    made = registry.load(name, overrides)
    assert isinstance(made, ConvCoprocessor)
    return made


def array(memory: Memory, address: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    count = int(np.prod(shape))
    return np.frombuffer(bytes(memory.ram), dtype, count, address - Memory.RAM).reshape(shape)


@pytest.fixture
def memory() -> Memory:
    memory = Memory()
    prepare(memory)
    return memory


def test_a_command_computes_writes_its_status_and_is_logged(memory: Memory) -> None:
    x, w = array(memory, CONV.input, (1, 8, 8, 4), "i1"), array(memory, CONV.weights, (4, 3, 3, 4), "i1")
    m, s = array(memory, CONV.multiplier, (4,), "<i4"), array(memory, CONV.shift, (4,), "<i4")
    expected = reference.run(CONV, x, w, None, m, s)
    unit = coprocessor()
    spent = timing.estimate(CONV, unit.parameters)
    assert unit.issue(START, AT, 0, memory, 1000, PC) == Response(0, spent.issue_cycles)
    np.testing.assert_array_equal(array(memory, CONV.output, expected.shape, "i1"), expected)
    assert array(memory, AT + 108, (1,), "<u4").item() == 0

    (command,) = unit.commands
    assert (command.index, command.pc, command.descriptor, command.status, command.operation) == (
        0,
        PC,
        AT,
        0,
        "CONV_2D",
    )
    assert (command.issue_cycle, command.start_cycle, command.end_cycle) == (1000, 1000, 1000 + spent.cycles)
    assert (command.layer, command.macs, command.timing) == (CONV, 8 * 8 * 4 * 36, spent)
    assert memory.counted == [
        (AT, "load", 14, 112),
        (CONV.input, "load", 32, 256),
        (CONV.weights, "load", 18, 144),
        (CONV.multiplier, "load", 2, 16),
        (CONV.shift, "load", 2, 16),
        (CONV.output, "store", 32, 256),
        (AT + 108, "store", 1, 4),
    ]


def test_busy_until_the_end_and_waits_stall_for_the_rest(memory: Memory) -> None:
    unit = coprocessor()
    spent = timing.estimate(CONV, unit.parameters)
    end = 100 + spent.cycles
    unit.issue(START, AT, 0, memory, 100, PC)
    assert unit.issue(STATUS, 0, 0, memory, end - 1, PC) == Response(1)
    assert unit.issue(STATUS, 0, 0, memory, end, PC) == Response(0)
    assert unit.issue(WAIT, 0, 0, memory, end - 7, PC) == Response(0, 7)
    assert unit.issue(WAIT, 0, 0, memory, end + 7, PC) == Response(0, 0)


def test_a_start_while_busy_waits_for_the_running_command(memory: Memory) -> None:
    unit = coprocessor()
    spent = timing.estimate(CONV, unit.parameters)
    unit.issue(START, AT, 0, memory, 0, PC)
    assert unit.issue(START, AT, 0, memory, 50, PC + 8) == Response(0, spent.cycles - 50 + spent.issue_cycles)
    first, second = unit.commands
    assert (second.issue_cycle, second.start_cycle, second.end_cycle) == (50, first.end_cycle, 2 * spent.cycles)


@pytest.mark.parametrize(
    "changes, address, write",
    [
        ({"input": 0x1000}, 0x1000, False),
        ({"weights": Memory.RAM + 0xFFFF}, Memory.RAM + 0xFFFF, False),
        ({"output": Memory.ROM}, Memory.ROM, True),
        ({"output": 0xFFFF_FFFF}, 0xFFFF_FFFF, True),
        ({"multiplier": 0}, 0, False),
        ({"bias": 16}, 16, False),
    ],
)
def test_an_access_fault_is_delivered_once_at_the_next_wait(changes: dict[str, int], address: int, write: bool) -> None:
    memory, unit = Memory(), coprocessor()
    prepare(memory, msgspec.structs.replace(CONV, **changes))
    before = bytes(memory.ram)
    started = unit.issue(START, AT, 0, memory, 10, PC)
    assert (started.value, started.fault) == (7, None)
    waited = unit.issue(WAIT, 0, 0, memory, 10_000, PC + 4)
    assert waited.fault is not None
    assert (waited.fault.pc, waited.fault.address, waited.fault.write) == (PC, address, write)
    assert unit.issue(WAIT, 0, 0, memory, 10_001, PC + 4) == Response(7)
    assert unit.commands[0].macs == 0
    status = slice(AT + 108 - Memory.RAM, AT + 112 - Memory.RAM)
    assert memory.ram[status] == b"\7\0\0\0"
    memory.ram[status] = before[status]
    assert memory.ram == before, "a command that faults writes nothing but its status"


@pytest.mark.parametrize(
    "address, expected",
    [
        (0x40, AccessFault(PC, 0x40, 112, False)),
        (0xFFFF_FFFC, AccessFault(PC, 0xFFFF_FFFC, 112, False)),
        (Memory.RAM + 0x1_0000 - 4, AccessFault(PC, Memory.RAM + 0x1_0000 - 4, 112, False)),
        (Memory.ROM, AccessFault(PC, Memory.ROM + 108, 4, True)),
    ],
)
def test_a_descriptor_out_of_reach_is_an_access_fault(memory: Memory, address: int, expected: AccessFault) -> None:
    unit = coprocessor()
    assert unit.issue(START, address, 0, memory, 0, PC).value == Status.ACCESS_FAULT
    assert unit.issue(WAIT, 0, 0, memory, 100, PC + 4).fault == expected
    assert memory.counted == []


def test_a_fault_is_not_lost_to_a_later_start(memory: Memory) -> None:
    unit = coprocessor()
    unit.issue(START, 0x40, 0, memory, 0, PC)
    unit.issue(START, 0x80, 0, memory, 10, PC + 4)
    assert unit.issue(START, AT, 0, memory, 20, PC + 8).value == 0
    assert unit.issue(WAIT, 0, 0, memory, 10**4, PC + 12).fault == AccessFault(PC, 0x40, 112, False)
    assert unit.issue(WAIT, 0, 0, memory, 10**4, PC + 12) == Response(0)


def test_a_misaligned_descriptor_is_not_touched(memory: Memory) -> None:
    unit, before = coprocessor(), bytes(memory.ram)
    assert unit.issue(START, AT + 2, 0, memory, 0, PC).value == Status.MISALIGNED
    assert unit.issue(WAIT, 0, 0, memory, 100, PC).value == Status.MISALIGNED
    assert memory.ram == before and memory.counted == []


def test_a_refused_command_costs_its_descriptor(memory: Memory) -> None:
    prepare(memory, msgspec.structs.replace(CONV, operation=6))
    unit = coprocessor()
    assert unit.issue(START, AT, 0, memory, 0, PC).value == Status.UNKNOWN_OPERATION
    assert array(memory, AT + 108, (1,), "<u4").item() == Status.UNKNOWN_OPERATION
    assert [entry[1:] for entry in memory.counted] == [("load", 14, 112), ("store", 1, 4)]
    assert unit.commands[0].operation == "unknown"


def test_report_adds_up(memory: Memory) -> None:
    unit = coprocessor("conv-4x4")
    unit.issue(START, AT, 0, memory, 0, PC)
    unit.issue(START, AT, 0, memory, 10, PC)
    unit.issue(WAIT, 0, 0, memory, 20, PC)
    unit.issue(START, 0x40, 0, memory, 10**6, PC)
    spent = timing.estimate(CONV, unit.parameters)
    report = unit.report(2 * 10**6)
    assert report["commands"] == 3 and report["failed_commands"] == 1
    assert report["macs"] == 2 * CONV.macs
    assert report["busy_cycles"] == 2 * spent.cycles + unit.parameters.issue_latency_cycles
    assert report["stall_cycles"] == 2 * spent.stall_cycles
    assert report["utilisation"] == report["macs"] / (16 * report["busy_cycles"])
    waits = (
        spent.issue_cycles
        + (spent.cycles - 10 + spent.issue_cycles)
        + (2 * spent.cycles - 20)
        + unit.parameters.issue_latency_cycles
    )
    assert report["core_wait_cycles"] == waits
    for kind in ("load", "store"):
        counted = [entry for entry in memory.counted if entry[1] == kind]
        assert report["traffic"][kind] == {"count": sum(e[2] for e in counted), "bytes": sum(e[3] for e in counted)}
    assert sum(report["operands"].values()) == sum(kind["bytes"] for kind in report["traffic"].values())
    assert report["parameters"]["pe_rows"] == 4
    json.dumps(report)


@pytest.mark.parametrize("name", ["conv-4x4", "conv-8x8", "conv-16x16"])
@pytest.mark.parametrize("interface", ["blocking", "cv-x-if", "queued"])
@pytest.mark.parametrize("clock", [(1, 1), (3, 2), (1, 4)])
def test_cycles_add_up_to_those_of_the_run(memory: Memory, name: str, interface: str, clock: tuple[int, int]) -> None:
    unit = coprocessor(name, interface=interface, clock_multiplier=str(clock[0]), clock_divider=str(clock[1]))
    cycle = 0
    for _ in range(3):
        cycle += 10 + unit.issue(START, AT, 0, memory, cycle, PC).stall_cycles
    cycle += unit.issue(WAIT, 0, 0, memory, cycle, PC).stall_cycles
    report = unit.report(cycle + 77)
    assert sum(report["cycles"].values()) == cycle + 77
    assert min(report["cycles"].values()) >= 0 and report["cycles"]["compute"] > 0
    assert report["busy_cycles"] == sum(report["cycles"].values()) - report["cycles"]["idle"]
    levels = {(row["level"], row["element"]): row for row in report["levels"]}
    assert levels["memory", "weights"]["reads"] == 3 * CONV.weight_bytes
    assert levels["memory", "output"]["writes"] == 3 * CONV.output_bytes
    assert levels["weight buffer", "weights"]["writes"] == levels["memory", "weights"]["reads"]
    moved = sum(
        (row["reads"] + row["writes"]) * row["bits"] // 8 for row in report["levels"] if row["level"] == "memory"
    )
    assert moved == sum(kind["bytes"] for kind in report["traffic"].values())


def test_interfaces_keep_the_hart_differently(memory: Memory) -> None:
    """Three starts, ten cycles apart: until the layer is done, until the one before is, until the queue has room."""
    stalls = {}
    for interface in ("blocking", "cv-x-if", "queued"):
        unit = coprocessor(interface=interface, queue_depth="2")
        cycle, stalls[interface] = 0, []
        for _ in range(5):
            answer = unit.issue(START, AT, 0, memory, cycle, PC)
            stalls[interface].append(answer.stall_cycles)
            cycle += answer.stall_cycles + 10
        ends = [command.end_cycle for command in unit.commands]
        assert ends == sorted(ends)
    spent = timing.estimate(CONV, unit.parameters)
    assert stalls["blocking"] == [spent.cycles] * 5
    issue, layer = spent.issue_cycles, spent.layer_cycles
    assert stalls["cv-x-if"] == [issue] + [spent.cycles - issue - 10 + issue] * 4
    # The first runs at once and two wait; the fourth waits until the second has started.
    starts = [command.start_cycle for command in unit.commands]
    assert stalls["queued"][:3] == [issue] * 3
    assert starts[:3] == [0, issue + layer, issue + 2 * layer]
    assert stalls["queued"][3] == starts[1] - 3 * (issue + 10) + issue


def test_a_clock_of_its_own(memory: Memory) -> None:
    plain, slow = coprocessor(), coprocessor(clock_multiplier="2", clock_divider="3")
    for unit in (plain, slow):
        unit.issue(START, AT, 0, memory, 0, PC)
    assert slow.commands[0].end_cycle == -(-plain.commands[0].end_cycle * 3 // 2)


@pytest.mark.parametrize("banks", [1, 4])
def test_the_hart_takes_a_shared_memory_first(memory: Memory, banks: int) -> None:
    """The port uses b of the c cycles of a command; of the hart's 100 accesses beside it, one in `banks` meets it."""
    alone = coprocessor()
    alone.issue(START, AT, 0, memory, 0, PC)
    unit = coprocessor(memory="shared", memory_banks=str(banks))
    resumed = unit.issue(START, AT, 0, memory, 0, PC).stall_cycles
    unit.issue(STATUS, 0, 0, memory, resumed + 60, PC)
    unit.issue(WAIT, 0, 0, memory, resumed + 100, PC)
    beats = sum(entry[2] for entry in memory.counted) // 2
    cycles = alone.commands[0].end_cycle
    delay = sum(-(-each * beats // (cycles * banks)) for each in (60, 40))
    assert unit.commands[0].contention_cycles == delay > 0
    assert unit.commands[0].end_cycle == cycles + delay
    assert unit.report(10**4)["cycles"]["stall"] == alone.report(10**4)["cycles"]["stall"] + delay


def test_an_idle_coprocessor_reports_zeros() -> None:
    report = coprocessor().report(5)
    assert (report["commands"], report["busy_cycles"], report["utilisation"]) == (0, 0, 0.0)


def test_a_snapshot_goes_through_json_and_back(memory: Memory) -> None:
    unit, other = coprocessor(), coprocessor()
    unit.issue(START, AT, 0, memory, 0, PC)
    unit.issue(START, 0x40, 0, memory, 5, PC)
    other.restore(json.loads(json.dumps(unit.state())))
    assert other.commands == unit.commands and other.report(9) == unit.report(9)
    assert other.issue(WAIT, 0, 0, memory, 50, PC) == unit.issue(WAIT, 0, 0, memory, 50, PC)
    unit.reset()
    assert unit.state() == coprocessor().state()


def test_an_unknown_function_is_the_description_s_mistake(memory: Memory) -> None:
    with pytest.raises(ValueError, match=r"^expected function 0 \(start\), 1 \(wait\) or 2 \(status\) .*, found 3$"):
        coprocessor().issue(3, 0, 0, memory, 0, PC)


@settings(deadline=None, max_examples=30)
@given(strategies.parameters(), st.integers(0, 2**32 - 1))
def test_results_do_not_depend_on_timing_parameters(parameters: ConvParameters, seed: int) -> None:
    memory, plain = Memory(), Memory()
    for each, unit in ((memory, ConvCoprocessor("any", parameters)), (plain, coprocessor())):
        prepare(each, seed=seed)
        assert unit.issue(START, AT, 0, each, 0, PC).value == 0
    assert memory.ram == plain.ram


def test_nothing_heavy_is_imported() -> None:
    """Start-up is part of the product: a run with the coprocessor needs neither numpy nor lark."""
    code = (
        "import sys, accel.registry, accel.conv.function; accel.registry.load('on');"
        "print([name for name in ('numpy', 'lark') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
