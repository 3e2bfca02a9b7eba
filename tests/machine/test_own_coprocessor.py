"""Coprocessors of the user's own in a machine: their cycles, their state, and what their mistakes lead to."""

from __future__ import annotations

import _thread
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from accel import AccessFault, Coprocessor, InstructionCoprocessor, MemoryPort, Response, instruction
from rvsim.errors import CoprocessorError, InputFileError, UsageError
from rvsim.machine import Machine
from rvsim.machine.extension import plain_issue
from rvsim.machine.machine import STEPPED
from tests.machine.guest import (
    A0,
    A1,
    A2,
    BASE,
    CAPABILITY,
    DATA,
    EXIT,
    ILLEGAL,
    MEPC,
    MRET,
    MTVEC,
    S0,
    T0,
    ZERO,
    addi,
    auipc,
    bne,
    csrrs,
    csrrw,
    li,
    lui,
    machine,
    r_type,
)

CUSTOM_0, CUSTOM_1 = 0x0B, 0x2B
LATENCY = 5


@instruction(funct3=0, funct7=0, latency_cycles=LATENCY)
def product(rs1: int, rs2: int) -> int:
    return rs1 * rs2 & 0xFFFF_FFFF


@instruction(funct3=0, funct7=0, latency_cycles=1)
def quick_product(rs1: int, rs2: int) -> int:
    return rs1 * rs2 & 0xFFFF_FFFF


def multiplier(function: Any = product) -> InstructionCoprocessor:
    return InstructionCoprocessor("multiplier", functions=[function])


PRODUCT = r_type(CUSTOM_0, 0, 0, A2, A0, A1)


def test_a_function_of_two_registers() -> None:
    m = machine(addi(A0, ZERO, 6), addi(A1, ZERO, -7), PRODUCT, r_type(CUSTOM_0, 0, 0, ZERO, A0, A1), EXIT,
                accel=multiplier())  # fmt: skip
    result = m.run()
    assert m.registers[A2] == -42 % 2**32 and m.registers[ZERO] == 0
    assert (result.accel, result.classes["coprocessor"]) == ("multiplier", 2)
    assert result.accelerator is not None and result.accelerator.core_wait_cycles == 2 * (LATENCY - 1)
    assert (result.accelerator.commands, result.accelerator.macs, result.accelerator.utilisation) == (None, None, None)


def test_a_guest_finds_it() -> None:
    m = machine(csrrs(A0, CAPABILITY), accel=multiplier())
    m.run(1)
    assert m.registers[A0] == 128 << 24 and m.csrs.read(0x301) >> 23 & 1
    assert machine(csrrs(A0, CAPABILITY)).run(1).stop_reason == "illegal-instruction"


@pytest.mark.parametrize("core", ["ibex-small", "inorder", "picorv32", "hazard3-fast"])
@pytest.mark.parametrize("timing", ["table", "exact", "fast"])
@pytest.mark.parametrize("rounds", [50, STEPPED // 20])
def test_latency_enters_the_cycles_of_every_model(core: str, timing: str, rounds: int) -> None:
    """A latency of one cycle makes the same run but for the wait; beyond STEPPED instructions fast has no pipeline."""
    if rounds > 50 and (timing, core) != ("fast", "ibex-small"):
        pytest.skip("one core that leaves its pipeline is enough")
    work = [addi(T0, T0, 1)] * 20
    loop = [li(S0, rounds), PRODUCT, work, addi(S0, S0, -1), bne(S0, ZERO, -4 * (2 + len(work))), EXIT]
    cycles = {}
    for function in (product, quick_product):
        m = machine(*loop, accel=multiplier(function), core=core, timing=timing)
        result = m.run()
        assert result.stop_reason == "exit", result.message
        cycles[function] = result.cycles
        assert sum(f.cycles for f in result.functions) == result.cycles
    assert cycles[product] - cycles[quick_product] == rounds * (LATENCY - 1)


# ------------------------------------------------------------------------------------------------------- with CoreDSL

DESCRIPTION = """import "RISCVBase.core_desc"
InstructionSet XSum extends RISCVBase {
    architectural_state { register unsigned<32> TOTAL; }
    ISSUE
    instructions {
        SUM {
            encoding: 7'd0 :: 5'd0 :: rs1[4:0] :: 3'd0 :: rd[4:0] :: 7'b0001011;
            assembly: {"sum", "{name(rd)},{name(rs1)}"};
            behavior: BEHAVIOUR
        }
    }
}
"""
WHOLLY = "{ unsigned<33> next = TOTAL + X[rs1]; TOTAL = next[31:0]; if (rd != 0) X[rd] = next[31:0]; }"
EXTERN = "functions { extern unsigned<32> coprocessor_issue(unsigned<32> n, unsigned<32> a, unsigned<32> b); }"
ISSUED = "{ unsigned<32> answer = coprocessor_issue(7, X[rs1], 0); if (rd != 0) X[rd] = answer; }"


def described(folder: Path, behaviour: str, extern: str = "", **members: Any) -> Coprocessor:
    path = folder / "sum.core_desc"
    path.write_text(DESCRIPTION.replace("BEHAVIOUR", behaviour).replace("ISSUE", extern))
    return type("Sum", (Coprocessor,), {"description": path, **members})("sum")


def test_a_description_outside_the_project_is_all_it_takes(tmp_path: Path) -> None:
    words = [addi(A0, ZERO, 5), r_type(CUSTOM_1, 0, 0, A1, A0), r_type(CUSTOM_1, 0, 0, A1, A0), EXIT]
    m = machine(*words, accel=described(tmp_path, WHOLLY, major_opcode=CUSTOM_1))
    m.run(2)
    checkpoint = m.checkpoint()
    result = m.run()
    assert (m.registers[A1], result.classes) == (10, {"alu": 2, "custom": 2, "system": 1})
    assert result.accelerator is not None and result.accelerator.core_wait_cycles == 0
    m.rollback(checkpoint)
    assert m.run().cycles == result.cycles and m.registers[A1] == 10, "its registers are the description's"


def test_a_description_that_issues_to_a_class(tmp_path: Path) -> None:
    def issue(self: Coprocessor, function: int, rs1: int, rs2: int, port: MemoryPort, cycle: int, pc: int) -> Response:
        return Response(function * 1000 + rs1 + cycle, 3)

    words = [addi(A0, ZERO, 5), r_type(CUSTOM_0, 0, 0, A1, A0)]
    m = machine(*words, accel=described(tmp_path, ISSUED, EXTERN, issue=issue))
    m.run(2)
    assert m.registers[A1] == 7006 and m.run(0).cycles == 1 + 1 + 3
    with pytest.raises(CoprocessorError, match=r"coprocessor sum: sum a1,a0 at 0x80000004: .* function 7 issued"):
        machine(*words, accel=described(tmp_path, ISSUED, EXTERN)).run(2)


# ------------------------------------------------------------------------------------------------------- memory, state


class Reverser(InstructionCoprocessor):
    """Reverses eight bytes, and counts how often."""

    registers: ClassVar[dict[str, Any]] = {"times": 0, "seen": []}
    bus_width_bytes = 4

    @instruction(funct3=0, funct7=0)
    def reverse(self, rs1: int, rs2: int) -> int:
        self.times += 1
        self.seen.append(rs1)
        self.store(rs2, self.load(rs1, 8)[::-1])
        return self.times + 100 * len(self.seen)


REVERSE = r_type(CUSTOM_0, 0, 0, A2, A0, A1)


def reverser(*more: Any, source: int = DATA, target: int = DATA + 64, **options: Any) -> Machine:
    m = machine(li(A0, source), li(A1, target), REVERSE, *more, EXIT, **{"accel": Reverser(), **options})
    m.write_memory(DATA, bytes(range(8)))
    return m


def test_traffic_and_waits_of_memory() -> None:
    m = reverser()
    result = m.run()
    assert m.read_memory(DATA + 64, 8) == bytes(range(7, -1, -1))
    report = result.accelerator
    assert report is not None and report.core_wait_cycles == 4
    assert [(each.count, each.bytes) for each in (report.traffic.load, report.traffic.store)] == [(2, 8), (2, 8)]
    assert (result.traffic["ram"].load.bytes, result.traffic["ram"].store.bytes) == (8, 8)


@pytest.mark.parametrize(
    ("addresses", "cause", "text"),
    [
        ({"source": 64}, 5, "load access fault: the coprocessor's command at 0x80000010 reads 8 bytes at 0x0000"),
        ({"target": 64}, 7, "store access fault: the coprocessor's command at 0x80000010 writes 8 bytes at 0x"),
    ],
)  # fmt: skip
def test_an_access_outside_memory_traps(addresses: dict[str, int], cause: int, text: str) -> None:
    result = reverser(**addresses).run()
    assert (result.exit_status, result.stop_reason) == (139, "access-fault")
    assert result.message is not None and result.message.startswith(text)
    assert "outside memory; reported by reverse a2,a0,a1 at 0x80000010" in result.message
    # A guest with a handler goes on.
    handler = [csrrs(T0, MEPC), addi(T0, T0, 4), csrrw(ZERO, MEPC, T0), MRET]
    words = [auipc(T0, 0), addi(T0, T0, -16), csrrw(ZERO, MTVEC, T0), li(A0, 0x100), li(A1, 0x200), REVERSE, ILLEGAL]
    m = machine(*handler, *words, accel=Reverser())
    m.pc = BASE + 16
    m.run(3 + 4 + 4)
    assert (m.csrs.mcause, m.csrs.mtval, m.pc) == (5, 0x100, BASE + 16 + 32)


def test_checkpoints_hold_its_state() -> None:
    m = reverser(REVERSE, REVERSE)
    m.run(5)
    checkpoint = m.checkpoint()
    end = m.run()
    assert m.registers[A2] == 303
    m.rollback(checkpoint)
    assert m.coprocessor is not None and m.coprocessor.state()["registers"] == {"times": 1, "seen": [DATA]}
    again = m.run()
    assert m.registers[A2] == 303 and (again.cycles, again.accelerator) == (end.cycles, end.accelerator)
    m.reset()
    assert m.run().cycles == end.cycles and m.registers[A2] == 303


def test_snapshot_files_do_not_decide_what_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = Path(__file__).read_text()
    start, end = text.index("class Reverser"), text.index("REVERSE =")
    source = f"from typing import Any, ClassVar\nfrom accel import *\nfrom accel import instruction\n{text[start:end]}"
    Path("own.py").write_text(source)
    Path("own.toml").write_text('kind = "own.py"\n')
    for given in ("own.py", "own.py:Reverser", "own.toml"):
        m = reverser(REVERSE, accel=given)
        m.run(5)
        m.save("a.snap")
        end_ = m.run()
        with pytest.raises(UsageError, match=r"a.snap is of a machine whose coprocessor is Python code, own.*give it"):
            Machine.load("a.snap")
        other = Machine.load("a.snap", accel=given)
        assert other.run().accelerator == end_.accelerator and other.registers == m.registers
    reverser(accel="own.py").save("b.snap")
    Path("own.py").write_text(source + "# other\n")
    with pytest.raises(UsageError, match=r"is of another coprocessor than own.py is now: its text has changed"):
        Machine.load("b.snap", accel="own.py")
    m = reverser()
    m.run(4)
    m.save("c.snap")
    with pytest.raises(UsageError, match="is Python code, an object, which"):
        Machine.load("c.snap")
    assert Machine.load("c.snap", accel=Reverser()).run().exit_code == m.run().exit_code
    machine(EXIT).save("d.snap")
    with pytest.raises(UsageError, match="is a snapshot and has its own --accel"):
        Machine.load("d.snap", accel="own.py")


# ------------------------------------------------------------------------------------------------------- broken words


def broken(**members: Any) -> Coprocessor:
    """A multiplier with methods of another kind."""

    class Broken(InstructionCoprocessor):
        @instruction(funct3=0, funct7=0)
        def product(self, rs1: int, rs2: int) -> int:
            return rs1 * rs2 & 0xFFFF_FFFF

    for name, member in members.items():
        setattr(Broken, name, member)
    return Broken("broken")


def answer(response: Any) -> Any:
    return lambda self, function, rs1, rs2, port, cycle, pc: response


def fail(*_: Any) -> Any:
    return {}["missing"]


def keep(self: Any, function: int, rs1: int, rs2: int, port: MemoryPort, cycle: int, pc: int) -> Response:
    import numpy

    self.kept = numpy.frombuffer(port.view(DATA, 8, True), "u1")
    return Response()


def outlive(self: Any, function: int, rs1: int, rs2: int, port: MemoryPort, cycle: int, pc: int) -> Response:
    if not hasattr(self, "kept"):
        self.kept = port.view(DATA, 8, True)
    self.kept[0] = 1
    return Response()


def write_what_it_reads(*arguments: Any) -> Response:
    arguments[4].view(DATA, 8, False)[0] = 1
    return Response()


def count(*what: Any) -> Any:
    def issue(*arguments: Any) -> Response:
        arguments[4].count(*what)
        return Response()

    return issue


AT = "coprocessor broken: product a2,a0,a1 at 0x80000000: "
HERE = r"\(test_own_coprocessor\.py:\d+\)"
WORDS = {
    "raises": (fail, rf"KeyError: 'missing' {HERE}$"),
    "exits": (lambda *_: exit(3), rf"SystemExit: 3 {HERE}$"),
    "recurses": (lambda *a: a[0].issue(*a[1:]), rf"RecursionError: .* {HERE}$"),
    "raises many lines": (lambda *_: int("1\n2\n" * 300), rf"ValueError: invalid literal .* {HERE}$"),
    "wrong arguments": (lambda self: Response(), r"TypeError: .* takes 1 positional argument but 7 were given$"),
    "no response": (answer(5), r"issue\(\) returns 5, expected an accel.Response$"),
    "no integer": (answer(Response("5")), r"issue.. returns Response.value='5', stall_cycles=0.*, expected integers$"),
    "negative": (answer(Response(-1)), "issue.. returns the value -0x1, expected 0 to 0xffffffff; mask it"),
    "too large": (answer(Response(1 << 32)), "issue.. returns the value 0x100000000, expected 0 to"),
    "negative stall": (answer(Response(0, -1)), "issue.. returns stall_cycles=-1, expected 0 or more$"),
    "endless stall": (answer(Response(0, 1 << 99)), "its stalls come to more than 1152921504606846976 cycles$"),
    "no fault": (answer(Response(0, 0, "x")), "issue.. returns the fault 'x', expected an accel.AccessFault or None"),
    "a strange fault": (answer(Response(0, 0, AccessFault("x", 0, 0, True))), "issue.. returns the fault AccessFault"),
    "a far fault": (answer(Response(0, 0, AccessFault(1 << 32, 0, 0, True))), "issue.. returns the fault AccessFault"),
    "keeps an array": (keep, "it keeps an array of guest memory beyond the instruction; copy what the unit"),
    "writes what it may read": (write_what_it_reads, rf"TypeError: cannot modify read-only memory {HERE}$"),
    "counts backwards": (count(DATA, "load", -1, 4), "it counts -1 accesses of 4 bytes at 0x80001000, expected none"),
    "counts elsewhere": (count(1 << 32, "load", 1, 4), "it counts 1 accesses of 4 bytes at 0x100000000, expected none"),
    "counts otherwise": (count(DATA, "fetch", 1, 4), "it counts accesses of kind 'fetch', expected 'load' or 'store'"),
    "counts nonsense": (count(DATA, "load", "x", 4), "TypeError: "),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("engine", ["interp", "jit"])
def test_a_broken_word_ends_the_run(name: str, engine: str) -> None:
    issue, text = WORDS[name]
    m = machine(PRODUCT, EXIT, accel=broken(issue=issue), engine=engine)
    with pytest.raises(CoprocessorError, match=text) as caught:
        m.run()
    message = str(caught.value)
    assert message.startswith(AT) and "\n" not in message and len(message) < 600 and caught.value.exit_status == 65
    # The machine is whole: it stands before the instruction.
    assert m.pc == BASE and m.result().instructions == 0


def test_a_view_ends_with_its_instruction() -> None:
    with pytest.raises(CoprocessorError, match=rf"ValueError: operation forbidden on released memoryview .* {HERE}"):
        machine(PRODUCT, PRODUCT, EXIT, accel=broken(issue=outlive)).run()


@pytest.mark.parametrize(
    ("method", "result", "text"),
    [
        ("state", {"x": object()}, "state(): TypeError: Encoding objects of type object is unsupported"),
        ("state", {"x": 1}, "state(): ValidationError: Object missing required field `registers`"),
        ("state", None, "state(): ValidationError: Expected `object`, got"),
        ("report", {"name": "a", "speed": 1}, "report(): expected keys of name, macs, "),
        ("report", {"macs": 1}, "report(): ValidationError: Object missing required field `name`"),
        ("report", {"name": "a", "macs": "x"}, "report(): ValidationError: Expected `int | null`, got `str` - at"),
        ("report", {"name": "a", "parameters": {"x": {1, object()}}}, "report(): TypeError: Encoding objects of type"),
        ("report", 5, "report(): TypeError: "),
    ],
)
def test_bad_state_and_report(method: str, result: Any, text: str) -> None:
    with pytest.raises(CoprocessorError) as caught:
        machine(PRODUCT, EXIT, accel=broken(**{method: lambda *_: result})).run()
    assert str(caught.value).startswith(f"coprocessor broken: {text}")


def test_a_restore_that_fails() -> None:
    m = machine(PRODUCT, EXIT, accel=broken(restore=fail))
    with pytest.raises(CoprocessorError, match=rf"^coprocessor broken: restore\(\): KeyError: 'missing' {HERE}$"):
        m.reset()


def test_interrupting_an_endless_instruction() -> None:
    def loop(self: Any, *_: Any) -> Response:
        threading.Timer(0.2, _thread.interrupt_main).start()
        while True:
            pass

    m = machine(addi(A0, ZERO, 1), PRODUCT, EXIT, accel=broken(issue=loop))
    result = m.run()
    assert (result.stop_reason, result.exit_status) == ("interrupted", 130)
    assert result.message == "interrupted at 0x80000004 after 1 instructions"
    assert m.pc == BASE + 4


def test_what_is_no_coprocessor() -> None:
    for wanted in (5, Reverser, None):
        with pytest.raises(UsageError, match=r"^accel: expected a name, a file or an accel.Coprocessor, found "):
            machine(EXIT, accel=wanted)
    with pytest.raises(UsageError, match=r"accel.taps: an object has its parameters already"):
        machine(EXIT, accel=Reverser(), settings={"accel.taps": "3"})
    with pytest.raises(InputFileError):
        machine(EXIT, accel=type("A", (Coprocessor,), {"description": Path(__file__)})("a"))


def test_lui_is_left_alone() -> None:
    m = machine(lui(A0, 1), accel=multiplier())
    m.run(1)
    assert m.registers[A0] == 0x1000


# ------------------------------------------------------------------------------------------------------- the short way

ANSWER = "unsigned<32> answer = coprocessor_issue(7, X[rs1], X[rd]); "
BEHAVIOURS = [
    ("{ " + ANSWER + "if (rd != 0) X[rd] = answer; }", (7, "rs1", "rd", "rd")),
    ("{ " + ANSWER + "X[rd] = answer; }", (7, "rs1", "rd", "rd")),
    ("{ coprocessor_issue(1, 5, X[rs1]); }", (1, 5, "rs1", None)),
    ("{ unsigned<32> answer = coprocessor_issue(0, 0, 0); if (rd != 0) X[rd] = answer; }", (0, 0, 0, "rd")),
    ("{ " + ANSWER + "if (rd != 0) X[rs1] = answer; }", None),
    ("{ " + ANSWER + "if (rs1 != 0) X[rd] = answer; }", None),
    ("{ " + ANSWER + "if (rd != 1) X[rd] = answer; }", None),
    ("{ " + ANSWER + "if (rd == 0) X[rd] = answer; }", (7, "rs1", "rd", None)),
    ("{ " + ANSWER + "if (rd != 0) X[rd] = answer ^ 1; }", None),
    ("{ " + ANSWER + "if (rd != 0) X[rd] = X[rs1]; }", None),
    ("{ " + ANSWER + "if (rd != 0) { X[rd] = answer; X[rs1] = answer; } }", None),
    ("{ coprocessor_issue(rd, X[rs1], 0); }", None),
    ("{ coprocessor_issue(1, rs1, 0); }", None),
    ("{ coprocessor_issue(1, X[1], 0); }", None),
    ("{ coprocessor_issue(1, X[rs1], 0); coprocessor_issue(2, X[rs1], 0); }", None),
    ("{ X[rd] = coprocessor_issue(1, X[rs1], 0); PC = X[rs1]; }", None),
    ("{ if (X[rs1] != 0) coprocessor_issue(1, X[rs1], 0); }", None),
    ("{ if (rd != 0) X[rd] = X[rs1]; }", None),
]


@pytest.mark.parametrize(("behaviour", "wanted"), BEHAVIOURS)
def test_what_only_issues_takes_the_short_way(tmp_path: Path, behaviour: str, wanted: tuple[Any, ...] | None) -> None:
    (instruction_,) = described(tmp_path, behaviour, EXTERN).isa().instructions
    plain = plain_issue(instruction_)
    names = {id(f): f.name for f in instruction_.fields}
    found = plain and (plain.function, *(names.get(id(each), each) for each in (*plain.operands, plain.rd)))
    assert found == wanted
