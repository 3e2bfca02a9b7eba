"""Traps: what the hart saves and where it goes on; without a handler, how the run ends and what the user reads."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    A7,
    BASE,
    C_EBREAK,
    C_NOP,
    CAPABILITY,
    EBREAK,
    ECALL,
    EXIT,
    ILLEGAL,
    MCAUSE,
    MEPC,
    MRET,
    MSTATUS,
    MTVEC,
    NOP,
    RAM_END,
    T0,
    T1,
    T2,
    WFI,
    ZERO,
    addi,
    auipc,
    code,
    csrrs,
    csrrw,
    csrrwi,
    elf,
    jal,
    jalr,
    lb,
    lh,
    li,
    lui,
    lw,
    machine,
    r_type,
    sb,
    sh,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")

OUTSIDE = lui(T0, 0x40000)
TRAPS_MISALIGNED = {"settings": {"core.misaligned": "trap"}}
MIE, MPIE, MPP = 1 << 3, 1 << 7, 3 << 11

# ------------------------------------------------------------------------------------------------------- with a handler

HANDLER = BASE + 4
PROLOGUE = [jal(ZERO, 12), NOP, NOP, auipc(T1, 0), addi(T1, T1, -8), csrrw(ZERO, MTVEC, T1)]
"""The handler is two instructions at BASE + 4; mtvec is set when the body begins, after 4 instructions."""
BODY = BASE + 24


@pytest.mark.parametrize("vectored", [False, True])
@pytest.mark.parametrize(
    ("body", "cause", "at", "value"),
    [
        # words, mcause, mepc - BODY, mtval
        ([ILLEGAL], 2, 0, ILLEGAL),
        ([0x0000], 2, 0, 0),
        ([C_NOP, 0x6108], 2, 2, 0x6108),
        ([csrrs(A0, 0x7C0)], 2, 0, csrrs(A0, 0x7C0)),
        ([csrrw(ZERO, 0xF14, A0)], 2, 0, csrrw(ZERO, 0xF14, A0)),
        ([EBREAK], 3, 0, BODY + 8),
        ([C_EBREAK], 3, 0, BODY + 8),
        ([OUTSIDE, lw(A0, T0, 4)], 5, 4, 0x4000_0004),
        ([OUTSIDE, lb(A0, T0, -1)], 5, 4, 0x3FFF_FFFF),
        ([OUTSIDE, sw(A0, T0, 4)], 7, 4, 0x4000_0004),
        ([OUTSIDE, sb(A0, T0)], 7, 4, 0x4000_0000),
        # over the end of a region: the first byte that is not there
        ([lui(T0, RAM_END >> 12), lw(A0, T0, -2)], 5, 4, RAM_END),
        ([lui(T0, RAM_END >> 12), sh(A0, T0, -1)], 7, 4, RAM_END),
        ([ECALL], 11, 0, 0),
        ([addi(A7, ZERO, 93), ECALL], 11, 4, 0),
        # a jump completes, what it finds traps
        ([OUTSIDE, jalr(ZERO, T0)], 1, 0x4000_0000 - BODY, 0x4000_0000),
        ([OUTSIDE, jalr(ZERO, T0, 3)], 1, 0x4000_0002 - BODY, 0x4000_0002),
        # the second half of an instruction lies outside
        ([lui(T0, RAM_END >> 12), addi(A0, ZERO, 0x13), sh(A0, T0, -2), jalr(ZERO, T0, -2)], 1, RAM_END - 2 - BODY,
         RAM_END),
    ],
)  # fmt: skip
def test_a_trap_saves_its_state(body: list[int], cause: int, at: int, value: int, vectored: bool) -> None:
    start = csrrwi(ZERO, MSTATUS, MIE)
    m = machine(PROLOGUE, csrrs(ZERO, MTVEC, A1), start, body)
    m.hart.set_register(A1, int(vectored))  # exceptions go to the base in both modes
    m.run(6)
    assert m.csrs.mtvec == HANDLER | vectored
    before = len(body) - 1 if cause != 1 else len(body)
    result = m.run(before + 1)
    shift = 8
    csrs = m.csrs
    expected = BODY + shift + at if cause != 1 else BODY + at
    assert (csrs.mcause, csrs.mepc, csrs.mtval) == (cause, expected, value)
    assert csrs.mstatus == MPP | MPIE
    # the handler's first instruction is the only one that retired since
    assert (m.pc, result.instructions) == (HANDLER + 4, 6 + before + 1)


@pytest.mark.parametrize(
    ("body", "cause"), [(lw(A0, T0, 1), 4), (lh(A0, T0, 1), 4), (sw(A0, T0, 2), 6), (sh(A0, T0, 3), 6)]
)
def test_misaligned_accesses_trap_on_a_core_that_says_so(body: int, cause: int) -> None:
    m = machine(PROLOGUE, auipc(T0, 0), body, **TRAPS_MISALIGNED)
    m.run(6)
    offset = body >> 20 & 3 if cause == 4 else body >> 7 & 3
    assert (m.csrs.mcause, m.csrs.mepc, m.csrs.mtval) == (cause, BODY + 4, BODY + offset)
    assert m.pc == HANDLER + 4


@pytest.mark.parametrize("enabled", [0, MIE])
def test_mret_goes_back_and_restores_the_interrupt_enable(enabled: int) -> None:
    words = [
        jal(ZERO, 20), csrrs(T1, MEPC), addi(T1, T1, 4), csrrw(ZERO, MEPC, T1), MRET,
        auipc(T1, 0), addi(T1, T1, -16), csrrw(ZERO, MTVEC, T1), csrrwi(ZERO, MSTATUS, enabled),
        ILLEGAL, addi(A0, A0, 1), ECALL, addi(A0, A0, 1), NOP,
    ]  # fmt: skip
    m = machine(*words)
    result = m.run(5 + 4 + 1 + 4 + 2)
    assert (m.registers[A0], m.pc) == (2, BASE + 4 * 14)
    assert m.csrs.mstatus == MPP | MPIE | enabled
    assert m.csrs.mcause == 11
    # Trapped instructions, ecall among them, do not retire.
    assert result.instructions == 16


def test_a_handler_that_traps_itself_ends_the_run() -> None:
    result = machine(auipc(T0, 0), addi(T0, T0, 12), csrrw(ZERO, MTVEC, T0), ILLEGAL).run()
    assert (result.stop_reason, result.exit_status, result.instructions) == ("illegal-instruction", 132, 3)
    assert "this is the first instruction of the trap handler that mtvec names" in (result.message or "")
    result = machine(OUTSIDE, csrrw(ZERO, MTVEC, T0), ILLEGAL).run()
    assert (result.stop_reason, result.exit_status, result.instructions) == ("access-fault", 139, 2)
    assert "instruction access fault at address 0x40000000" in (result.message or "")


def test_a_handler_that_traps_later_goes_on_until_the_limit() -> None:
    result = machine(auipc(T0, 0), addi(T0, T0, 12), csrrw(ZERO, MTVEC, T0), NOP, ILLEGAL).run(1000)
    assert (result.stop_reason, result.instructions) == ("limit", 1000)


# ---------------------------------------------------------------------------------------------------- without a handler

AT_MAIN = "at 0x80000000 in main"
OF_CUSTOM = "nobody claims this word of opcode {}, which is left to custom instructions; "
OWN = "describe an instruction of your own with --isa-ext FILE.core_desc"
MEMORY = "memory is ram 0x80000000-0x80ffffff (add more with --memory NAME=ADDRESS,SIZE_KIB)"
NO_INSTRUCTION = "RV32IMC has no such instruction; compile with -march=rv32imc or add it with --isa-ext FILE.core_desc"
NO_FLOAT = "this core has no floating point; compile with -march=rv32imc -mabi=ilp32"
NO_ATOMICS = "this core has no atomic instructions; compile with -march=rv32imc"
NO_CODE = "this is no code; did the program jump to data or run off its end?"


def conv(opcode: int, function: int, rd: int = 0, rs1: int = 0) -> int:
    return r_type(opcode, 0, function, rd, rs1)


ILLEGAL_WORDS = {
    "conv.start": (
        conv(0x0B, 0, A0, A1), ".word 0x0005850b",
        OF_CUSTOM.format("custom-0") + "with --accel on it is the convolution coprocessor's conv.start; "
        "with --accel simd it is simd.dot; with --accel xcv it is cv.lb; " + OWN,
    ),
    "conv.wait of custom-2": (
        conv(0x5B, 1, A0), ".word 0x0200055b",
        OF_CUSTOM.format("custom-2")
        + "with --accel on --set accel.custom_opcode=custom-2 it is the convolution coprocessor's conv.wait; "
        "with --accel xcv it is cv.extract; " + OWN,
    ),
    "custom-0": (0xFFFF_F00B, ".word 0xfffff00b",
                 OF_CUSTOM.format("custom-0") + "with --accel xcv it is cv.bneimm; " + OWN),
    "custom-1": (0xFFFF_F02B, ".word 0xfffff02b", OF_CUSTOM.format("custom-1") + OWN),
    "custom-2": (0xFFFF_F05B, ".word 0xfffff05b",
                 OF_CUSTOM.format("custom-2") + "with --accel xcv it is cv.machhurn; " + OWN),
    "custom-3": (0xFFFF_F07B, ".word 0xfffff07b", OF_CUSTOM.format("custom-3") + OWN),
    "flw": (0x0005_2007, ".word 0x00052007", NO_FLOAT),
    "fsw": (0x0005_2027, ".word 0x00052027", NO_FLOAT),
    "fmadd.s": (0x0000_0043, ".word 0x00000043", NO_FLOAT),
    "fadd.s": (0x0000_0053, ".word 0x00000053", NO_FLOAT),
    "c.flw": (0x6108, ".half 0x6108", NO_FLOAT),
    "c.fswsp": (0xE02A, ".half 0xe02a", NO_FLOAT),
    "amoadd.w": (0x0000_202F, "amoadd.w zero,zero,(zero)", NO_ATOMICS),
    "lr.w": (0x1000_202F, "lr.w zero,(zero)", NO_ATOMICS),
    "capability": (csrrs(A0, CAPABILITY), "csrrs a0,coprocessor_capability,zero",
                   "CSR 0xFC0 exists only with a coprocessor (--accel on)"),
    "no such CSR": (csrrs(A0, 0x7C0), "csrrs a0,0x7c0,zero",
                    "CSR 0x7c0 does not exist on this hart or may not be written"),
    "read-only CSR": (csrrw(ZERO, 0xF14, A0), "csrrw zero,mhartid,a0",
                      "CSR mhartid does not exist on this hart or may not be written"),
    "zeros": (0x0000, "c.unimp", NO_CODE),
    "ones": (ILLEGAL, ".word 0xffffffff", NO_CODE),
    "ld": (0x0005_3503, ".word 0x00053503", NO_INSTRUCTION),
    "bset": (0x2800_1033, "bset zero,zero,zero", NO_INSTRUCTION),
}  # fmt: skip


@pytest.mark.parametrize("name", ILLEGAL_WORDS)
def test_illegal_instructions_say_what_to_try(name: str) -> None:
    word, text, hint = ILLEGAL_WORDS[name]
    result = machine(word, image={"functions": {"main": (BASE, 64)}}).run()
    assert result.message == f"illegal instruction {text} {AT_MAIN}: {hint}"
    assert (result.stop_reason, result.exit_status, result.exit_code) == ("illegal-instruction", 132, None)
    assert (result.instructions, result.cycles) == (0, 0)


def test_a_coprocessor_under_another_opcode_leaves_custom_0_free() -> None:
    accel = {"accel": "on", "settings": {"accel.custom_opcode": "custom-1"}}
    message = machine(conv(0x0B, 1), **accel).run().message
    assert message is not None and message.endswith(
        "with --accel on it is the convolution coprocessor's conv.wait; with --accel simd it is simd.dotx; "
        "with --accel xcv it is cv.lb; " + OWN
    )
    message = machine(0xFFFF_F02B, **accel).run().message
    assert message is not None and message.endswith(OF_CUSTOM.format("custom-1") + OWN)
    message = machine(csrrw(ZERO, CAPABILITY, A0), **accel).run().message
    assert message is not None and "may not be written" in message


OTHERS = {
    "load": ([OUTSIDE, lw(A0, T0, 4)], "access-fault", 139, 1,
             f"load access fault at address 0x40000004: lw a0,4(t0) at 0x80000004 in main+0x4; {MEMORY}"),
    "store": ([OUTSIDE, sh(A0, T0, 6)], "access-fault", 139, 1,
              f"store access fault at address 0x40000006: sh a0,6(t0) at 0x80000004 in main+0x4; {MEMORY}"),
    "fetch": ([OUTSIDE, jalr(ZERO, T0)], "access-fault", 139, 2,
              f"instruction access fault at address 0x40000000: no memory at 0x40000000; {MEMORY}"),
    # bit 0 of jalr's target is cleared, so there is no misaligned fetch with 16-bit instructions
    "odd jump": ([OUTSIDE, jalr(ZERO, T0, 1)], "access-fault", 139, 2,
                 f"instruction access fault at address 0x40000000: no memory at 0x40000000; {MEMORY}"),
    # two 16-bit nops, stored there, and then nothing
    "off the end of memory": (
        [lui(T0, RAM_END >> 12), *li(T1, 0x0001_0001), sw(T1, T0, -4), jalr(ZERO, T0, -4)], "access-fault", 139, 7,
        f"instruction access fault at address 0x81000000: no memory at 0x81000000; {MEMORY}"),
    "half an instruction": (
        [lui(T0, RAM_END >> 12), addi(T1, ZERO, 0x13), sh(T1, T0, -2), jalr(ZERO, T0, -2)], "access-fault", 139, 4,
        f"instruction access fault at address 0x81000000: addi zero,zero,0 at 0x80fffffe; {MEMORY}"),
    "ebreak": ([EBREAK], "breakpoint", 133, 0,
               f"breakpoint (ebreak) {AT_MAIN}, and no debugger; an assertion or abort of the program?"),
    "c.ebreak": ([C_EBREAK], "breakpoint", 133, 0,
                 f"breakpoint (c.ebreak) {AT_MAIN}, and no debugger; an assertion or abort of the program?"),
    "wfi": ([WFI], "trap", 134, 1,
            f"wfi {AT_MAIN}: no enabled interrupt can come (mie is 0x0), the program would wait forever"),
    # mtvec is not 0, so the call is the guest's, but names no handler
    "ecall": ([csrrwi(ZERO, MTVEC, 1), ECALL], "trap", 134, 1,
              "environment call from M-mode at 0x80000004 in main+0x4 (ecall), and the program has no trap handler "
              "(mtvec is 1)"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_unhandled_traps_end_the_run(name: str) -> None:
    words, reason, status, retired, message = OTHERS[name]
    result = machine(*words, image={"functions": {"main": (BASE, 64)}}).run()
    assert result.message == message
    assert (result.stop_reason, result.exit_status, result.exit_code) == (reason, status, None)
    assert result.instructions == retired


def test_misaligned_without_a_handler() -> None:
    result = machine(auipc(T0, 0), lw(A0, T0, 1), **TRAPS_MISALIGNED).run()
    assert (result.stop_reason, result.exit_status) == ("trap", 134)
    assert result.message == (
        "load address misaligned: lw a0,1(t0) at 0x80000004, address 0x80000001; core ideal traps it and the program "
        "has no trap handler (mtvec is 0)"
    )


def test_odd_jumps_inside_the_program_clear_bit_0() -> None:
    assert machine(auipc(T0, 0), jalr(T2, T0, 13), EBREAK, addi(A0, ZERO, 5), EXIT).run().exit_code == 5


def test_an_ecall_is_the_guests_once_it_has_a_handler() -> None:
    # The handler leaves mcause in a0 and takes mtvec back, then the next ecall is a host call again.
    words = [
        jal(ZERO, 20), csrrs(A0, MCAUSE), csrrw(ZERO, MTVEC, ZERO), addi(A7, ZERO, 93), ECALL,
        auipc(T1, 0), addi(T1, T1, -16), csrrw(ZERO, MTVEC, T1), addi(A7, ZERO, 64), ECALL,
    ]  # fmt: skip
    result = machine(*words).run()
    assert (result.stop_reason, result.exit_code, result.instructions) == ("exit", 11, 1 + 4 + 4)


def test_the_message_names_the_source_line(tmp_path: Path, require_peer: Callable[[str], str]) -> None:
    require_peer("ziglang")
    from kernels.build import build_program, find_toolchain

    source = tmp_path / "bad.c"
    source.write_text(
        "int main(void) {\n"
        "    volatile int *nowhere = (volatile int *)0x40000000;\n"
        "    return *nowhere;\n"  # line 3
        "}\n"
    )
    build_program([source], tmp_path / "bad.elf", toolchain=find_toolchain("zig"))
    message = Machine.from_elf(tmp_path / "bad.elf").run().message
    assert message is not None
    assert re.match(r"load access fault at address 0x40000000: c?\.?lw .* in main\b.*bad\.c:3", message), message


def test_the_command_line_ends_with_the_same_message_and_status(tmp_path: Path) -> None:
    (tmp_path / "bad.elf").write_bytes(elf(code(0x0B), functions={"main": (BASE, 4)}))
    done = subprocess.run(
        [sys.executable, "-m", "rvsim", "run", "--quiet", str(tmp_path / "bad.elf")], capture_output=True, text=True
    )
    assert done.returncode == 132
    assert done.stdout == ""
    assert done.stderr.startswith("rvsim: illegal instruction .word 0x0000000b at 0x80000000 in main: ")
    assert done.stderr.count("\n") == 1
