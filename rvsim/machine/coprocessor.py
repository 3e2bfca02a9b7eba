"""The machine's side of a coprocessor: its memory port, its answers, and what happens when it does not keep its word.

A coprocessor of the user's own may raise, answer with anything, or keep what it must not. Whatever it does ends the run
with its name, the instruction, the guest's pc, and the line of the user's code (`CoprocessorError`). An access outside
memory is the guest's fault, and traps.
"""

from __future__ import annotations

import operator
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from accel.protocol import AccessFault, ContractError, PortFault, Response
from rvsim.errors import CoprocessorError
from rvsim.machine._hart import GuestTrap
from rvsim.machine.result import AcceleratorReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accel.protocol import AccessKind, Coprocessor
    from rvsim.machine._hart import Hart
    from rvsim.machine.machine import Machine

WORD = 1 << 32
MOST_CYCLES = 1 << 60
"""Of all stalls: more than any run takes, and counters do not overflow."""


class Port:
    """Guest memory for one instruction of a coprocessor; see `accel.protocol.MemoryPort`."""

    def __init__(self, hart: Hart) -> None:
        self._hart = hart
        self._open: list[tuple[Any, memoryview]] = []

    def view(self, address: int, size: int, write: bool) -> memoryview:
        """The guest's own bytes."""
        found = None
        if 0 <= address < WORD and 0 < size < WORD:
            found = self._hart.view(address, size, write)
        if found is None:
            raise PortFault(address, size, write)
        view = memoryview(found) if write else memoryview(found).toreadonly()
        self._open.append((found, view))
        return view

    def count(self, address: int, kind: AccessKind, accesses: int, bytes_: int) -> None:
        """Add traffic."""
        if not (0 <= address < WORD and 0 <= accesses < 1 << 60 and 0 <= bytes_ < 1 << 60):
            raise ContractError(
                f"it counts {accesses} accesses of {bytes_} bytes at {address:#x}, expected none below 0"
            )
        if kind not in ("load", "store"):
            raise ContractError(f"it counts accesses of kind {kind!r}, expected 'load' or 'store'")
        self._hart.count_access(address, kind == "store", accesses, bytes_)

    def close(self) -> None:
        """Take the views back: they are of this instruction only."""
        views, self._open = self._open, []
        while views:
            found, view = views.pop()
            try:
                view.release()
                kept = sys.getrefcount(found) > 2  # `found` itself and the argument
            except BufferError:
                kept = True
            if kept:
                raise ContractError(
                    "it keeps an array of guest memory beyond the instruction; copy what the unit itself would hold"
                )


class Attached:
    """A coprocessor in a machine.

    Parameters
    ----------
    coprocessor : Coprocessor
    machine : Machine
    """

    def __init__(self, coprocessor: Coprocessor, machine: Machine) -> None:
        self.coprocessor, self.machine = coprocessor, machine
        self._port = Port(machine.hart)
        # One of the project's own fails by our mistake, not by the user's.
        self._ours = type(coprocessor).__module__.startswith("accel.") and not getattr(coprocessor, "instructions", ())

    def issue(self, function: int, rs1: int, rs2: int) -> int:
        """Hand over an instruction, and have the hart wait as long as the answer says.

        Raises
        ------
        GuestTrap
            The answer is an access fault.
        CoprocessorError
            There is no such answer.
        """
        machine, port = self.machine, self._port
        assert machine.context is not None
        pc = machine.context.pc
        try:
            response = self.coprocessor.issue(function, rs1, rs2, port, machine.hart.cycles, pc)
            value, stall_cycles, fault = _checked(response)
            if machine.hart.stall_cycles + stall_cycles > MOST_CYCLES:
                raise ContractError(f"its stalls come to more than {MOST_CYCLES} cycles")
            port.close()
        except PortFault as error:
            value, stall_cycles, fault = 0, 0, AccessFault(pc, error.address, error.size, error.write)
        except (Exception, SystemExit) as error:
            self._failed(error, pc)
        if stall_cycles:
            machine.wait_for_coprocessor(pc, stall_cycles)
        if fault is not None:
            machine.coprocessor_fault = fault
            raise GuestTrap(0, 7 if fault.write else 5, fault.address & 0xFFFF_FFFF)
        return value

    def report(self, cycles: int, waited: int, executed: Mapping[str, int]) -> AcceleratorReport:
        """What it says it did; `waited`, of the hart's cycles, unless it says that itself.

        `executed` has the times that its instructions retired, by name.
        """
        try:
            told = self.coprocessor.report(cycles)
            told = {"activities": self.coprocessor.activities(executed), **told}
            unknown = [key for key in told if key not in AcceleratorReport.record_fields]
            if unknown and not self._ours:
                raise ContractError(
                    f"expected keys of {', '.join(AcceleratorReport.record_fields)}, found {unknown[0]!r}"
                )
            plain = msgspec.json.decode(msgspec.json.encode({"core_wait_cycles": waited, **told}))
            report = msgspec.convert(plain, AcceleratorReport)
            # A copy has the defaults of what was left out as values of its own, and so writes them.
            return report.replace(hardware=[part.replace() for part in report.hardware])
        except (Exception, SystemExit) as error:
            self._failed(error, None, "report()")

    def state(self) -> Any:
        """Its state, a copy of its own."""
        try:
            return self._typed(self.coprocessor.state())
        except (Exception, SystemExit) as error:
            self._failed(error, None, "state()")

    def restore(self, state: Any) -> None:
        """Go back to what `state` gave."""
        try:
            self.coprocessor.restore(self._typed(state))
        except (Exception, SystemExit) as error:
            self._failed(error, None, "restore()")

    def _typed(self, state: Any) -> Any:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=self.coprocessor.state_type)

    def _failed(self, error: BaseException, pc: int | None, method: str = "") -> NoReturn:
        if self._ours:
            raise error
        from accel.plugin import blame
        from rvsim.machine.diagnosis import text_at

        if isinstance(error, ContractError):
            why = f"{error} ({error.where})" if error.where else str(error)
        else:
            why = blame(error)
        where = method if pc is None else f"{text_at(self.machine, pc)} at {self.machine.program.where(pc)}"
        raise CoprocessorError(f"coprocessor {self.coprocessor.name}: {where}: {why}") from error


def _checked(response: Any) -> tuple[int, int, AccessFault | None]:
    if not isinstance(response, Response):
        raise ContractError(f"issue() returns {_shown(response)}, expected an accel.Response")
    try:
        value, cycles = operator.index(response.value), operator.index(response.stall_cycles)
    except TypeError:
        raise ContractError(
            f"issue() returns Response(value={_shown(response.value)}, stall_cycles={_shown(response.stall_cycles)}), "
            "expected integers"
        ) from None
    if not 0 <= value < WORD:
        raise ContractError(
            f"issue() returns the value {value:#x}, expected 0 to 0xffffffff; mask it with & 0xFFFFFFFF"
        )
    if cycles < 0:
        raise ContractError(f"issue() returns stall_cycles={cycles}, expected 0 or more")
    fault = response.fault
    if fault is None:
        return value, cycles, None
    if not isinstance(fault, AccessFault):
        raise ContractError(f"issue() returns the fault {_shown(fault)}, expected an accel.AccessFault or None")
    numbers = [fault.pc, fault.address, fault.size]
    if not all(type(each) is int and abs(each) < 1 << 60 for each in numbers) or fault.pc not in range(WORD):
        raise ContractError(f"issue() returns the fault {fault}, expected integers, and a pc of 32 bits")
    return value, cycles, AccessFault(fault.pc, fault.address, fault.size, bool(fault.write))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a value of type {type(value).__name__}"
