"""A conformance suite for coprocessors: subclass `Conformance` in a test file, and pytest runs it.

It drives a coprocessor's instructions as a hart does, through their descriptions, without a program or a machine. What
they should compute is the subclass's to say; everything else is asked of every coprocessor.

    class TestMine(Conformance):
        accel = "mine.py"
        variants = ({"lanes": "1"}, {"lanes": "16"})

        def cases(self):
            yield Case("two and two", [("mine.add", 2, 2)], values=[4])
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import msgspec

from accel import registry
from accel.protocol import AccessFault, AccessKind, Coprocessor, PortFault, Response
from rvsim.errors import UsageError
from rvsim.isa.evaluate import Trap, execute
from rvsim.isa.ir import Instruction, wrap

WORD = 1 << 32
RAM = 0x8000_0000
"""Where the suite's memory begins."""
SIZE = 1 << 16
"""Bytes of it."""
PC = 0x2000_0000
HOSTILE = (0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, RAM + SIZE - 2, RAM + SIZE)
"""What words of descriptors and operands are replaced by."""
FAULT = "fault"
"""The value of a call that traps."""


@dataclass(frozen=True)
class Case:
    """Instructions one after the other, and what they should do.

    Attributes
    ----------
    name : str
    calls : sequence of (str, int, ...)
        Mnemonic, and the values of rs1, rs2 and, for an instruction that reads it, rd; 0 where there are fewer.
    memory : mapping of int to bytes
        Contents by address, all within the suite's memory: RAM to RAM + SIZE.
    values : sequence of (int, FAULT or None), optional
        What each call leaves in rd; None is not checked.
    after : mapping of int to bytes
        Contents of memory behind the last call.
    descriptors : sequence of (int, int)
        Address and size of what tells addresses and sizes: its words are replaced by nonsense.
    """

    name: str
    calls: Sequence[tuple[Any, ...]]
    memory: Mapping[int, bytes] = field(default_factory=dict)
    values: Sequence[int | str | None] = ()
    after: Mapping[int, bytes] = field(default_factory=dict)
    descriptors: Sequence[tuple[int, int]] = ()


class Memory:
    """The suite's memory, and the port to it, which remembers what was asked of it."""

    def __init__(self, contents: Mapping[int, bytes]) -> None:
        self.data = bytearray(SIZE)
        for address, data in contents.items():
            if not RAM <= address <= RAM + SIZE - len(data):
                raise ValueError(f"memory at {address:#x}: expected {RAM:#x} to {RAM + SIZE - len(data):#x}")
            self.data[address - RAM : address - RAM + len(data)] = data
        self.read: set[int] = set()
        self.counted: dict[str, list[int]] = {"load": [0, 0], "store": [0, 0]}

    def view(self, address: int, size: int, write: bool) -> memoryview:
        """See `accel.protocol.MemoryPort`."""
        if size < 1 or not RAM <= address <= RAM + SIZE - size:
            raise PortFault(address, size, write)
        if not write:
            self.read.update(range(address, address + size))
        view = memoryview(self.data)[address - RAM : address - RAM + size]
        return view if write else view.toreadonly()

    def count(self, address: int, kind: AccessKind, accesses: int, bytes_: int) -> None:
        """See `accel.protocol.MemoryPort`."""
        assert kind in ("load", "store") and accesses >= 0 and bytes_ >= 0, f"count({address:#x}, {kind!r}, ...)"
        assert accesses <= bytes_, f"{accesses} accesses move {bytes_} bytes"
        self.counted[kind][0] += accesses
        self.counted[kind][1] += bytes_


class Hart:
    """What executes a coprocessor's instructions: X registers, the description's own, memory, and a cycle count."""

    def __init__(self, unit: Coprocessor, contents: Mapping[int, bytes]) -> None:
        self.unit, self.memory, self.cycle = unit, Memory(contents), 0
        isa = unit.isa()
        self.instructions = {i.mnemonic: i for i in isa.instructions}
        self.files = {file.name: file for file in isa.registers if file.role != "pc"}
        self.registers = {n: (f.reset + [0] * max(1, f.count))[: max(1, f.count)] for n, f in self.files.items()}
        self.stalls: list[int] = []

    def run(self, mnemonic: str, *operands: int) -> int | str:
        """Execute one instruction; what rd holds behind it, or FAULT."""
        instruction = self.instructions.get(mnemonic)
        assert instruction is not None, f"no instruction {mnemonic}; there are {', '.join(self.instructions)}"
        values = dict(zip(("rs1", "rs2", "rd"), [*operands, 0, 0, 0], strict=False))
        word = instruction.match
        for number, each in enumerate(("rs1", "rs2", "rd"), 10):
            self.registers["X"][number] = values[each] % WORD
            word |= next((f.insert(number) for f in instruction.fields if f.name == each), 0)
        self.stalls.append(0)
        try:
            execute(instruction, word, PC, self)
        except (Trap, PortFault, _Faulted):
            return FAULT
        finally:
            self.cycle += 1 + self.stalls[-1]
        return self.registers["X"][12]

    # What behaviours act on (rvsim.isa.evaluate.Context).
    def get(self, file: str, index: int | None) -> int:
        """A register."""
        return self.registers[file][index or 0]

    def put(self, file: str, index: int | None, value: int) -> None:
        """Write a register."""
        if file != "X" or index:
            self.registers[file][index or 0] = wrap(value, self.files[file].width, self.files[file].signed)

    def load(self, space: str, address: int, size: int, big_endian: bool) -> int:
        """A load of the description's own; there are no CSRs."""
        if space != "MEM":
            return 0
        return int.from_bytes(self.memory.view(address % WORD, size, False), "big" if big_endian else "little")

    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None:
        """A store of the description's own."""
        if space != "MEM":
            return
        data = (value % (1 << 8 * size)).to_bytes(size, "big" if big_endian else "little")
        self.memory.view(address % WORD, size, True)[:] = data

    def call(self, name: str, arguments: Sequence[int]) -> int | None:
        """Hand the instruction over, and hold the answer against the protocol."""
        if name != "coprocessor_issue":
            return None
        function, rs1, rs2 = arguments
        answer = self.unit.issue(function, rs1, rs2, self.memory, self.cycle, PC)
        assert isinstance(answer, Response), f"issue() returns {answer!r}, expected an accel.Response"
        assert 0 <= answer.value < WORD, f"issue() returns the value {answer.value}"
        assert 0 <= answer.stall_cycles < 1 << 40, f"issue() returns stall_cycles={answer.stall_cycles}"
        self.stalls[-1] += answer.stall_cycles
        if answer.fault is not None:
            assert isinstance(answer.fault, AccessFault), f"issue() returns the fault {answer.fault!r}"
            raise _Faulted
        return answer.value


class _Faulted(Exception):
    """The answer is an access fault."""


@dataclass
class Trace:
    """What a case did: the value of each call, its stall, memory, what was counted and reported, and the last state."""

    values: list[int | str]
    stalls: list[int]
    memory: bytes
    counted: dict[str, list[int]]
    report: dict[str, Any]
    state: Any

    @property
    def results(self) -> tuple[list[int | str], bytes]:
        """What a guest sees beside the time."""
        return self.values, self.memory


class Conformance:
    """Tests that every coprocessor passes.

    Attributes
    ----------
    accel : str or callable
        What `--accel` would be given, such as the path of a Python file; or what makes a coprocessor of parameters as
        text, by name.
    variants : sequence of mapping
        Parameters, as `--set accel.KEY=VALUE` gives them, under which results must be the same.
    """

    accel: ClassVar[str | Callable[..., Coprocessor]]
    variants: ClassVar[Sequence[Mapping[str, str]]] = ()

    def cases(self) -> Iterable[Case]:
        """Give what the coprocessor is asked, with the answers of a reference that is not the coprocessor."""
        raise NotImplementedError("cases(): say what your coprocessor should compute")

    # ------------------------------------------------------------ what the tests use
    def make(self, **parameters: str) -> Coprocessor:
        """Make one; parameters as text."""
        accel = type(self).accel
        if callable(accel):
            return accel(**parameters)
        made = registry.load(accel, parameters)
        assert made is not None, "accel is off"
        return made

    def trace(self, case: Case, unit: Coprocessor | None = None, cut: int | None = None) -> Trace:
        """Run a case; at a `cut`, go on with another coprocessor that has the state of the first."""
        unit = unit or self.make()
        hart = Hart(unit, case.memory)
        values: list[int | str] = []
        for number, call in enumerate(case.calls):
            if number == cut:
                state = msgspec.json.encode(unit.state())
                unit = hart.unit = self.make()
                unit.restore(msgspec.json.decode(state, type=unit.state_type))
            values.append(hart.run(*call))
        report = unit.report(hart.cycle)
        return Trace(values, hart.stalls, bytes(hart.memory.data), hart.memory.counted, report, _saved(unit))

    def _cases(self) -> list[Case]:
        cases = [*self.cases()]
        assert cases, "cases() gives none"
        return cases

    # ------------------------------------------------------------ the tests
    def test_results_are_those_of_the_reference(self) -> None:
        """Registers and memory are what the case says."""
        for case in self._cases():
            trace = self.trace(case)
            for number, wanted in enumerate(case.values):
                found = trace.values[number]
                expected = wanted % WORD if isinstance(wanted, int) else wanted
                assert expected is None or found == expected, (
                    f"{case.name}: call {number}, {case.calls[number]}: expected {expected}, found {found}"
                )
            for address, data in case.after.items():
                found_data = trace.memory[address - RAM : address - RAM + len(data)]
                first = next((n for n, (a, b) in enumerate(zip(data, found_data, strict=True)) if a != b), None)
                assert first is None, (
                    f"{case.name}: memory at {address + first:#x}: expected {data[first : first + 8].hex(' ')}, "
                    f"found {found_data[first : first + 8].hex(' ')}"
                )

    def test_parameters_do_not_change_results(self) -> None:
        """Each of `variants` gives the same registers and memory."""
        for case in self._cases():
            results = self.trace(case).results
            for parameters in self.variants:
                assert self.trace(case, self.make(**parameters)).results == results, f"{case.name}: {parameters}"

    def test_a_case_runs_the_same_twice(self) -> None:
        """Nothing depends on what ran before in this process, on time or on chance."""
        for case in self._cases():
            assert self.trace(case) == self.trace(case), f"{case.name}: two runs differ"

    def test_a_reset_unit_is_a_new_one(self) -> None:
        """What reset() leaves is what making one gives."""
        fresh = _saved(self.make())
        for case in self._cases():
            unit = self.make()
            first = self.trace(case, unit)
            unit.reset()
            assert _saved(unit) == fresh, f"{case.name}: state() behind reset()"
            assert self.trace(case, unit) == first, f"{case.name}: a run behind reset()"

    def test_a_snapshot_anywhere_changes_nothing(self) -> None:
        """state(), as JSON and back, is all that another unit needs to go on."""
        for case in self._cases():
            whole = self.trace(case)
            for cut in range(len(case.calls)):
                assert self.trace(case, cut=cut) == whole, f"{case.name}: a snapshot before call {cut}"

    def test_traffic_is_counted_and_reported(self) -> None:
        """The report's traffic is what was counted, and no byte was read or changed for less than nothing."""
        for case in self._cases():
            unit = self.make()
            hart = Hart(unit, case.memory)
            before = bytes(hart.memory.data)
            for call in case.calls:
                hart.run(*call)
            if not any("coprocessor_issue" in _calls(i) for i in hart.instructions.values()):
                continue  # accesses of a description are the hart's own
            counted, reported = hart.memory.counted, unit.report(hart.cycle).get("traffic", {})
            for kind in ("load", "store"):
                told = reported.get(kind, {})
                assert [told.get("count", 0), told.get("bytes", 0)] == counted[kind], (
                    f"{case.name}: {kind}: counted {counted[kind]}, reported {told}"
                )
            changed = sum(a != b for a, b in zip(before, hart.memory.data, strict=True))
            for kind, least in (("load", len(hart.memory.read)), ("store", changed)):
                assert counted[kind][1] >= least, f"{case.name}: {kind}: {least} bytes, {counted[kind][1]} counted"

    def test_the_report_is_json(self) -> None:
        """report() names the unit and holds what JSON can hold."""
        for case in self._cases():
            report = self.trace(case).report
            assert isinstance(report.get("name"), str) and report["name"]
            json.dumps(report)

    def test_nonsense_does_no_harm(self) -> None:
        """Operands and descriptors that mean nothing give an answer or a fault, never an exception."""
        for case in self._cases():
            for number, call in enumerate(case.calls):
                for place in range(1, len(call)):
                    for value in HOSTILE:
                        bad = (*call[:place], value, *call[place + 1 :])
                        calls = [*case.calls[:number], bad, *case.calls[number + 1 :]]
                        self._survives(replace(case, calls=calls), f"{bad[0]} with {value:#x}")
            for address, size in case.descriptors:
                for at in range(address, address + size, 4):
                    for value in HOSTILE:
                        memory = Memory(case.memory)
                        memory.data[at - RAM : at - RAM + 4] = value.to_bytes(4, "little")
                        bad_case = replace(case, memory={RAM: bytes(memory.data)})
                        self._survives(bad_case, f"{value:#x} in the descriptor's word {(at - address) // 4}")

    def _survives(self, case: Case, what: str) -> None:
        try:
            self.trace(case)
        except Exception as error:
            raise AssertionError(f"{case.name}: {what}: {type(error).__name__}: {error}") from error

    def test_encodings_are_custom_and_different(self) -> None:
        """No instruction takes the words of another, or of the base set."""
        from rvsim.isa.bundle import bundled
        from rvsim.isa.model import overlaps

        own = self.make().isa().instructions
        assert own, "a coprocessor without instructions"
        for a, b in overlaps(own):
            # Of two nested encodings the special one is meant.
            assert a.mask & b.mask in (a.mask, b.mask) and a.mask != b.mask, f"{a.mnemonic} and {b.mnemonic} overlap"
        for a in own:
            for b in bundled("rv32").instructions:
                assert not overlaps([a, b]), f"{a.mnemonic} claims words of {b.mnemonic}"

    def test_unknown_parameters_are_refused(self) -> None:
        """A misspelt parameter is told of."""
        if callable(type(self).accel):
            return
        try:
            self.make(no_such_parameter_="1")
        except UsageError as error:
            assert "no_such_parameter_" in str(error)
        else:
            raise AssertionError("the parameter no_such_parameter_ is taken")


def _saved(unit: Coprocessor) -> Any:
    """A unit's state as JSON holds it; it has to be of its type."""
    state = msgspec.json.encode(unit.state())
    msgspec.json.decode(state, type=unit.state_type)
    return json.loads(state)


def _calls(instruction: Instruction) -> set[str]:
    from rvsim.isa.ir import walk

    return {op.attr for op in walk(instruction.body) if op.code == "call"}
