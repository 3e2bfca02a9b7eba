"""The convolution coprocessor as a program meets it: statuses, faults, and what runs while it runs."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest

from accel import registry
from accel.conv import descriptor, timing
from accel.conv.descriptor import ConvLayer, Operation
from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A3,
    A4,
    A5,
    A6,
    BASE,
    DATA,
    EXIT,
    MCYCLE,
    MEPC,
    MINSTRET,
    MRET,
    MTVEC,
    NOP,
    RAM_END,
    S0,
    T0,
    T1,
    ZERO,
    addi,
    auipc,
    bne,
    csrrs,
    csrrw,
    jal,
    li,
    lui,
    machine,
    r_type,
)

pytestmark = pytest.mark.usefixtures("tier")

# A dense layer of 64 inputs and 4 units, everything at DATA.
LAYER = ConvLayer(
    operation=Operation.FULLY_CONNECTED, input=DATA + 0x100, weights=DATA + 0x200, bias=0, output=DATA + 0x300,
    multiplier=DATA + 0x400, shift=DATA + 0x410, batches=1, input_height=1, input_width=1, input_channels=64,
    output_height=1, output_width=1, output_channels=4, kernel_height=1, kernel_width=1, stride_height=1,
    stride_width=1, dilation_height=1, dilation_width=1, pad_top=0, pad_left=0, input_offset=0, output_offset=0,
    activation_min=-128, activation_max=127,
)  # fmt: skip
OBJECTS = {
    "layer": (DATA, 112), "input": (DATA + 0x100, 64), "weights": (DATA + 0x200, 256), "output": (DATA + 0x300, 4),
    "multiplier": (DATA + 0x400, 16), "shift": (DATA + 0x410, 16),
}  # fmt: skip
CUSTOM_0, CUSTOM_3 = 0x0B, 0x7B
COPROCESSOR = registry.load("on")
assert COPROCESSOR is not None
TIMING = timing.estimate(LAYER, COPROCESSOR.parameters)  # type: ignore[attr-defined]


def start(rd: int, rs1: int, opcode: int = CUSTOM_0) -> int:
    return r_type(opcode, 0, 0, rd, rs1)


def wait(rd: int, opcode: int = CUSTOM_0) -> int:
    return r_type(opcode, 0, 1, rd)


def status(rd: int, opcode: int = CUSTOM_0) -> int:
    return r_type(opcode, 0, 2, rd)


def memory(layer: ConvLayer, magic: int = descriptor.MAGIC) -> bytes:
    """The descriptor and its tensors: input 1, 1, ...; unit u has weights u; multiplier 0.5, shift 0: output 32 u."""
    data = bytearray(0x420)
    data[:112] = descriptor.pack(layer, magic, status=99)
    data[0x100:0x140] = bytes([1] * 64)
    data[0x200:0x300] = b"".join(bytes([u] * 64) for u in range(4))
    data[0x400:0x410] = struct.pack("<4i", *[1 << 30] * 4)
    return bytes(data)


def conv_machine(*words: Any, layer: ConvLayer = LAYER, magic: int = descriptor.MAGIC, **options: Any) -> Machine:
    options = {"accel": "on", **options}
    return machine(*words, image={"data": memory(layer, magic), "objects": OBJECTS}, **options)


AT = lui(A1, DATA >> 12)


def test_a_layer_runs() -> None:
    m = conv_machine(AT, addi(A0, ZERO, -1), addi(A2, ZERO, -1), start(A0, A1), wait(A2), EXIT)
    result = m.run()
    # 64 products of 1 and u, times 0.5
    assert m.read_memory(DATA + 0x300, 4) == bytes([0, 32, 64, 96])
    assert (result.exit_code, m.registers[A2]) == (0, 0)
    assert m.read_memory(DATA + 108, 4) == bytes(4)
    report = result.accelerator
    assert report is not None
    assert (report.commands, report.failed_commands, report.macs, report.busy_cycles) == (1, 0, 256, TIMING.cycles)
    assert result.classes == {"alu": 4, "coprocessor": 2, "system": 1}
    # Its traffic belongs to the objects it moved.
    moved = {s.name: (s.load.bytes, s.store.bytes) for s in result.symbols}
    assert moved == {
        "layer": (112, 4), "input": (64, 0), "weights": (256, 0), "multiplier": (16, 0), "shift": (16, 0),
        "output": (0, 4),
    }  # fmt: skip
    assert result.traffic["ram"].load == report.traffic.load
    assert result.traffic["ram"].store == report.traffic.store


def replace(**changes: int) -> ConvLayer:
    return msgspec.structs.replace(LAYER, **changes)


@pytest.mark.parametrize(
    ("layer", "magic", "expected"),
    [
        (LAYER, 0, 1),
        (LAYER, 0x31564E44, 1),
        (replace(operation=6), descriptor.MAGIC, 2),
        (replace(multiplier=DATA + 0x401), descriptor.MAGIC, 3),
        (replace(bias=2), descriptor.MAGIC, 3),
        (replace(output_channels=0), descriptor.MAGIC, 4),
        (replace(input_channels=-64), descriptor.MAGIC, 4),
        (replace(batches=0x7FFF_FFFF), descriptor.MAGIC, 4),
        (replace(operation=0, input_height=4), descriptor.MAGIC, 5),
        (replace(activation_min=5, activation_max=4), descriptor.MAGIC, 6),
        (replace(input_offset=1000), descriptor.MAGIC, 6),
    ],
)
def test_bad_descriptors_leave_their_status(layer: ConvLayer, magic: int, expected: int) -> None:
    m = conv_machine(AT, start(A0, A1), wait(A2), EXIT, layer=layer, magic=magic)
    result = m.run()
    # The program goes on; rd of both instructions and the descriptor say what was wrong.
    assert (result.stop_reason, result.exit_code, m.registers[A2]) == ("exit", expected, expected)
    assert int.from_bytes(m.read_memory(DATA + 108, 4), "little") == expected
    assert m.read_memory(DATA + 0x300, 4) == bytes(4)
    assert result.accelerator is not None
    assert (result.accelerator.commands, result.accelerator.failed_commands, result.accelerator.macs) == (1, 1, 0)


def test_a_misaligned_descriptor() -> None:
    m = conv_machine(lui(A1, DATA >> 12), addi(A1, A1, 2), start(A0, A1), wait(A2), EXIT)
    assert (m.run().exit_code, m.registers[A2]) == (3, 3)


FAULTS = {
    "input": (replace(input=0x4000_0000), [], "reads 64 bytes at 0x40000000", 5, 0x4000_0000),
    "weights over the end": (replace(weights=RAM_END - 8), [], "reads 256 bytes at 0x80fffff8", 5, RAM_END - 8),
    "output": (replace(output=0x4000_0000), [], "writes 4 bytes at 0x40000000", 7, 0x4000_0000),
    "descriptor": (LAYER, [lui(A1, 0x40000)], "reads 112 bytes at 0x40000000", 5, 0x4000_0000),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_an_access_fault_is_reported_with_the_pc_of_the_start(name: str) -> None:
    layer, setup, what, cause, _ = FAULTS[name]
    at = BASE + 4 + 4 * len(setup)
    m = conv_machine(AT, setup, start(A0, A1), NOP, wait(A2), EXIT, layer=layer)
    result = m.run()
    # conv.start and the nop retire, conv.wait does not.
    assert (result.stop_reason, result.exit_status, result.instructions) == ("access-fault", 139, 3 + len(setup))
    assert m.registers[A0] == 7
    assert m.pc == at + 8
    kind = {5: "load access fault", 7: "store access fault"}[cause]
    assert result.message == (
        f"{kind}: the coprocessor's command at {at:#010x} {what}, outside memory; reported by conv.wait a2 at "
        f"{at + 8:#010x}; memory is ram 0x80000000-0x80ffffff (add more with --memory NAME=ADDRESS,SIZE_KIB)"
    )


@pytest.mark.parametrize("name", FAULTS)
def test_an_access_fault_traps_to_the_guests_handler_at_the_wait(name: str) -> None:
    layer, setup, _, cause, address = FAULTS[name]
    words = [
        jal(ZERO, 20), csrrs(T1, MEPC), addi(T1, T1, 4), csrrw(ZERO, MEPC, T1), MRET,
        auipc(T0, 0), addi(T0, T0, -16), csrrw(ZERO, MTVEC, T0),
        AT, setup, start(A0, A1), NOP, wait(A2), wait(A3), addi(A4, ZERO, 1), lui(T0, 0x30000), r_type(3, 2, 0, A0, T0),
    ]  # fmt: skip
    m = conv_machine(*words, layer=layer)
    m.run(1 + 3 + 1 + len(setup) + 2 + 4 + 2)
    csrs = m.csrs
    assert (csrs.mcause, csrs.mtval) == (cause, address)
    assert csrs.mepc == BASE + 4 * (11 + len(setup)) + 4
    # The fault is delivered once: the second wait returns the status.
    assert (m.registers[A0], m.registers[A2], m.registers[A3], m.registers[A4]) == (7, 0, 7, 1)
    # A later fault of the program's own is not blamed on the coprocessor.
    csrs.mtvec = 0
    message = m.run().message
    assert message is not None and message.startswith("load access fault at address 0x30000000: lw a0,0(t0)")


def cycles(*words: Any, **options: Any) -> int:
    result = conv_machine(*words, **options).run()
    assert result.stop_reason == "exit", result.message
    return result.cycles


def test_a_wait_right_after_the_start_takes_the_commands_time() -> None:
    # lui at cycle 0, conv.start issued at 1; conv.wait ends when the command does, 1 + its cycles, and takes its own.
    m = conv_machine(AT, start(A0, A1), wait(A2), EXIT)
    result = m.run()
    assert result.cycles == 1 + TIMING.cycles + 1 + 2
    (command,) = m.coprocessor.commands  # type: ignore[union-attr]
    assert (command.issue_cycle, command.start_cycle, command.end_cycle) == (1, 1, 1 + TIMING.cycles)
    assert command.pc == BASE + 4
    assert result.accelerator is not None
    # The issue's cycles were waited for at conv.start; its own cycle ran beside the command.
    assert result.accelerator.core_wait_cycles == TIMING.cycles - 1
    assert sum(f.cycles for f in result.functions) == result.cycles


@pytest.mark.parametrize("work", [0, 1, 10, 50, 1000])
def test_work_between_start_and_wait_is_free_until_the_command_ends(work: int) -> None:
    rest = TIMING.cycles - TIMING.issue_cycles - 1
    assert 10 < rest < 1000
    taken = cycles(AT, start(A0, A1), [NOP] * work, wait(A2), EXIT)
    assert taken == 1 + 1 + TIMING.issue_cycles + max(work, rest) + 1 + 2


def test_a_second_start_waits_for_the_first_command() -> None:
    m = conv_machine(AT, start(A0, A1), start(A2, A1), wait(A3), EXIT)
    result = m.run()
    first, second = m.coprocessor.commands  # type: ignore[union-attr]
    assert second.start_cycle == first.end_cycle
    assert second.issue_cycle == 1 + 1 + TIMING.issue_cycles
    assert result.cycles == 1 + 2 * TIMING.cycles + 1 + 2


def test_polling_the_status() -> None:
    # Loop of conv.status and bne, one cycle each on core ideal: busy until cycle 1 + TIMING.cycles.
    m = conv_machine(AT, start(A0, A1), addi(A2, A2, 1), status(A4), bne(A4, ZERO, -8), status(A5), wait(A6), EXIT)
    result = m.run()
    first_poll = 1 + 1 + TIMING.issue_cycles + 1
    rounds = -(-(1 + TIMING.cycles - first_poll) // 3) + 1
    assert m.registers[A2] == rounds
    assert (m.registers[A5], m.registers[A6]) == (0, 0)
    assert result.cycles == first_poll - 1 + 3 * rounds + 2 + 2
    assert result.classes["coprocessor"] == rounds + 3
    assert result.accelerator is not None and result.accelerator.core_wait_cycles == TIMING.issue_cycles


def test_status_and_wait_without_a_command() -> None:
    m = conv_machine(addi(A0, ZERO, 5), status(A0), wait(A2), EXIT)
    assert (m.run().cycles, m.registers[A2]) == (5, 0)


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
def test_mcycle_includes_the_stalls(core: str) -> None:
    m = conv_machine(
        AT, csrrs(S0, MCYCLE), start(A0, A1), csrrs(A3, MCYCLE), wait(A2), csrrs(A4, MCYCLE), csrrs(A5, MINSTRET), EXIT,
        core=core,
    )  # fmt: skip
    m.run()
    x = m.registers
    assert x[S0] == 1
    assert x[A3] == 2 + 1 + TIMING.issue_cycles
    assert x[A4] == 2 + TIMING.cycles + 1
    assert x[A5] == 6


@pytest.mark.parametrize(("name", "opcode"), [("custom-1", 0x2B), ("custom-2", 0x5B), ("custom-3", CUSTOM_3)])
def test_the_opcode_can_be_changed(name: str, opcode: int) -> None:
    settings = {"accel.custom_opcode": name}
    m = conv_machine(AT, start(A0, A1, opcode), wait(A2, opcode), EXIT, settings=settings)
    assert (m.run().exit_code, m.read_memory(DATA + 0x300, 4)) == (0, bytes([0, 32, 64, 96]))
    result = conv_machine(AT, start(A0, A1), settings=settings).run()
    assert result.stop_reason == "illegal-instruction"


@pytest.mark.parametrize(
    "word",
    [
        r_type(CUSTOM_0, 0, 3), r_type(CUSTOM_0, 1, 0), r_type(CUSTOM_0, 0, 0, A0, A1, A2),
        r_type(CUSTOM_0, 0, 1, A0, A1), r_type(CUSTOM_0, 0, 2, A0, 0, A1),
    ],
)  # fmt: skip
def test_other_words_of_its_opcode_stay_illegal(word: int) -> None:
    assert conv_machine(word).run().stop_reason == "illegal-instruction"


def test_limits_stop_between_its_instructions() -> None:
    words = [AT, start(A0, A1), NOP, wait(A2), csrrs(A3, MCYCLE), *li(A4, 1), EXIT]
    whole = conv_machine(*words).run()
    for limit in range(1, whole.instructions):
        m = conv_machine(*words)
        m.run(limit)
        result = m.run()
        assert (result.cycles, result.instructions, result.exit_code) == (whole.cycles, whole.instructions, 0)


def test_results_written_by_the_coprocessor_are_seen_as_code() -> None:
    # A nop that has run before lies where the output goes: bytes 0, 32, 64, 96, of which 0x2000 is c.fld.
    m = conv_machine(AT, start(A0, A1), wait(A2), jal(ZERO, DATA + 0x300 - BASE - 12))
    m.write_memory(DATA + 0x300, NOP.to_bytes(4, "little"))
    m.hart.pc = DATA + 0x300
    m.run(1)
    m.hart.pc = BASE
    result = m.run()
    assert result.stop_reason == "illegal-instruction"
    assert m.pc == DATA + 0x300
    assert m.run(0).instructions == 1 + 4
