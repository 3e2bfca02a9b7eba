"""The convolution coprocessor as the hart sees it: three instructions, one command at a time, a log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec

from accel.conv import descriptor, hardware, timing
from accel.conv.descriptor import ConvLayer, Operation, Status
from accel.conv.parameters import MAJOR_OPCODES, ConvParameters
from accel.conv.timing import Timing, Transfer
from accel.protocol import AccessFault, Command, Coprocessor, MemoryPort, PortFault, Response

START, WAIT, STATUS = 0, 1, 2

LOADS = ("descriptor", "input", "weights", "bias", "multiplier", "shift", "sums_in")
STORES = ("output", "status", "sums_out")


class ConvCommand(Command, frozen=True, kw_only=True):
    """One conv.start.

    Attributes
    ----------
    descriptor : int
        Address of the descriptor.
    status : int
        How it ended (`accel.conv.descriptor.Status`).
    operation : str
        TFLite's name; "unknown" if the status is 1, 2 or that of an unreadable descriptor.
    layer : ConvLayer or None
        Shapes and addresses; None if the descriptor could not be read.
    macs : int
        0 unless the status is 0.
    timing : Timing
        Its cycles and traffic.
    contention_cycles : int
        Cycles that the hart's own accesses to a shared memory added.
    """

    descriptor: int
    status: int
    operation: str
    layer: ConvLayer | None
    macs: int
    timing: Timing
    contention_cycles: int = 0


class ConvState(TypedDict):
    """What a snapshot keeps."""

    busy_until: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    status: Annotated[int, msgspec.Meta(ge=0, le=int(max(Status)))]
    fault: AccessFault | None
    core_wait_cycles: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    hart_resumed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    commands: list[ConvCommand]


class ConvCoprocessor(Coprocessor):
    """Runs one quantised layer per command, beside the hart.

    conv.start keeps the hart until the new descriptor has been judged, since rd tells the verdict, and as long as the
    interface says (`ConvParameters.interface`); the layer itself runs while the hart goes on. The tensors change at
    once, not when the command ends: a guest that reads the output before conv.wait sees what real hardware would not
    promise.

    Parameters
    ----------
    name : str
        For reports.
    parameters : ConvParameters
        What it is built of. Only `operations` has an influence on results, the others on cycles and traffic.
    """

    description = Path(__file__).with_name("conv.core_desc")
    state_type = ConvState
    parameters: ConvParameters

    def __init__(self, name: str, parameters: ConvParameters) -> None:
        self.name = name
        self.parameters = parameters
        self.major_opcode = MAJOR_OPCODES[parameters.custom_opcode]
        self._operations = sum(1 << Operation[operation] for operation in set(parameters.operations))
        self.capability = self._operations | parameters.pe_rows << 8 | parameters.pe_columns << 16 | 1 << 24
        self.reset()

    def reset(self) -> None:
        """Return to idle with an empty log."""
        self._commands: list[ConvCommand] = []
        self._busy_until = 0
        self._status = 0
        self._fault: AccessFault | None = None
        self._core_wait_cycles = 0
        self._hart_resumed = 0

    def run_layer(self, layer: ConvLayer) -> Timing:
        """Note a command that runs a layer of this shape, without a program and its data, at the end of the log.

        Raises
        ------
        rvsim.errors.UsageError
            The tiles that the parameters give do not fit the buffers for this layer.
        """
        spent = timing.estimate(layer, self.parameters)
        start, self._busy_until = self._busy_until, self._busy_until + self._core_cycles(spent.cycles)
        self._commands.append(
            ConvCommand(
                index=len(self._commands),
                pc=0,
                issue_cycle=start,
                start_cycle=start,
                end_cycle=self._busy_until,
                descriptor=0,
                status=Status.DONE,
                operation=Operation(layer.operation).name,
                layer=layer,
                macs=layer.macs,
                timing=spent,
            )
        )
        return spent

    @property
    def commands(self) -> Sequence[ConvCommand]:
        """The command log since the last reset."""
        return self._commands

    def issue(self, function: int, rs1: int, rs2: int, port: MemoryPort, cycle: int, pc: int) -> Response:
        """Take conv.start (function 0, rs1: the descriptor), conv.wait (1) or conv.status (2)."""
        self._contend(cycle)
        if function == START:
            return self._start(rs1, port, cycle, pc)
        if function == WAIT:
            fault, self._fault = self._fault, None
            return self._response(cycle, self._status, max(0, self._busy_until - cycle), fault)
        if function == STATUS:
            return self._response(cycle, int(cycle < self._busy_until), 0)
        raise ValueError(
            f"expected function 0 (start), 1 (wait) or 2 (status) of the convolution coprocessor, found {function}"
        )

    def _response(self, cycle: int, value: int, stall_cycles: int, fault: AccessFault | None = None) -> Response:
        self._core_wait_cycles += stall_cycles
        self._hart_resumed = cycle + stall_cycles
        return Response(value, stall_cycles, fault)

    def _contend(self, cycle: int) -> None:
        """Lengthen the last command by what the hart, running beside it, took of a shared memory.

        The hart goes first and is taken to make one access a cycle, evenly over the banks: each of the port's bus
        cycles that meets one on its bank comes a cycle later. The hart is not slowed.
        """
        beside = min(cycle, self._busy_until) - self._hart_resumed
        if self.parameters.memory == "private" or beside <= 0 or not self._commands:
            return
        last = self._commands[-1]
        beats = sum(getattr(last.timing, name).accesses for name in LOADS + STORES)
        delay = -(-beside * beats // (self._core_cycles(last.timing.cycles) * self.parameters.memory_banks))
        self._busy_until += delay
        self._commands[-1] = msgspec.structs.replace(
            last, end_cycle=self._busy_until, contention_cycles=last.contention_cycles + delay
        )

    def _core_cycles(self, cycles: int) -> int:
        """Cycles of the hart's clock that hold `cycles` of the coprocessor's."""
        return -(-cycles * self.parameters.clock_divider // self.parameters.clock_multiplier)

    def _start(self, address: int, port: MemoryPort, cycle: int, pc: int) -> Response:
        layer, status, fault = None, Status.MISALIGNED, None
        spent = Timing(issue_cycles=self.parameters.issue_latency_cycles)
        if address % 4 == 0:
            try:
                magic, layer = descriptor.parse(port.view(address, descriptor.SIZE, False))
                word = port.view(address + descriptor.STATUS_OFFSET, 4, True)
                spent = timing.refused(self.parameters)
                status, fault = self._execute(magic, layer, port, pc)
                word[:] = status.to_bytes(4, "little")
                if status == Status.DONE:
                    spent = timing.estimate(layer, self.parameters)
                self._count(address, layer, spent, port)
            except PortFault as error:
                status, fault = Status.ACCESS_FAULT, _access_fault(pc, error)

        issue = self._core_cycles(spent.issue_cycles)
        if self.parameters.interface == "queued":
            # The descriptor is judged at once; the layer waits for its turn.
            judged = max(cycle, self._queue_has_room(cycle)) + issue
            start = max(judged - issue, self._busy_until)
            self._busy_until = max(judged, self._busy_until) + self._core_cycles(spent.layer_cycles)
            resumes = judged
        else:
            start = max(cycle, self._busy_until)
            self._busy_until = start + self._core_cycles(spent.cycles)
            resumes = start + issue if self.parameters.interface == "cv-x-if" else self._busy_until
        self._status = status
        self._fault = self._fault or fault
        self._commands.append(
            ConvCommand(
                index=len(self._commands),
                pc=pc,
                issue_cycle=cycle,
                start_cycle=start,
                end_cycle=self._busy_until,
                descriptor=address,
                status=status,
                operation="unknown" if layer is None or status in (1, 2) else Operation(layer.operation).name,
                layer=layer,
                macs=layer.macs if layer is not None and status == Status.DONE else 0,
                timing=spent,
            )
        )
        return self._response(cycle, status, resumes - cycle)

    def _queue_has_room(self, cycle: int) -> int:
        """Core cycle at which another command can be queued: when the one `queue_depth` before has started."""
        depth = self.parameters.queue_depth
        return self._commands[-depth].start_cycle if len(self._commands) >= depth else cycle

    def _execute(self, magic: int, layer: ConvLayer, port: MemoryPort, pc: int) -> tuple[Status, AccessFault | None]:
        status = descriptor.check(magic, layer, self._operations)
        if status != Status.DONE:
            return status, None
        try:
            tensors = descriptor.open_tensors(layer, port)
        except PortFault as error:
            return Status.ACCESS_FAULT, _access_fault(pc, error)
        from accel.conv import function  # loads the compiled kernel; most descriptors of a broken guest never get here

        return function.execute(layer, tensors), None

    @staticmethod
    def _count(address: int, layer: ConvLayer, spent: Timing, port: MemoryPort) -> None:
        addresses = {
            "descriptor": address,
            "status": address + descriptor.STATUS_OFFSET,
            "sums_in": layer.output,
            "sums_out": layer.output,
        }
        for name in LOADS + STORES:
            moved: Transfer = getattr(spent, name)
            if moved.bytes:
                where = addresses[name] if name in addresses else getattr(layer, name)
                port.count(where, "load" if name in LOADS else "store", moved.accesses, moved.bytes)

    def report(self, total_cycles: int) -> dict[str, Any]:
        """Summarise the log.

        Parameters
        ----------
        total_cycles : int
            Of the run; a command that outlasts it (the guest ended without conv.wait) is counted whole.

        Returns
        -------
        dict
            What `rvsim.machine.result.AcceleratorReport` holds: commands, MACs, cycles by what they were spent on,
            traffic by operand and by level.
        """
        commands = self._commands
        macs = sum(command.macs for command in commands)
        busy = sum(command.end_cycle - command.start_cycle for command in commands)
        moved = {name: _sum(getattr(command.timing, name) for command in commands) for name in LOADS + STORES}
        crossed = sum(each.bytes for each in moved.values())
        return {
            "name": self.name,
            "commands": len(commands),
            "failed_commands": sum(command.status != Status.DONE for command in commands),
            "macs": macs,
            "busy_cycles": busy,
            "stall_cycles": sum(command.timing.stall_cycles for command in commands),
            "cycles": self._cycles(total_cycles, busy),
            "core_wait_cycles": self._core_wait_cycles,
            "total_cycles": total_cycles,
            "utilisation": macs / self._peak_macs(busy) if busy else 0.0,
            "traffic": {
                kind: {"count": total.accesses, "bytes": total.bytes}
                for kind, total in (("load", _sum(moved[n] for n in LOADS)), ("store", _sum(moved[n] for n in STORES)))
            },
            "operands": {name: total.bytes for name, total in moved.items()},
            "levels": self._levels(moved),
            "hardware": hardware.parts(self.parameters),
            "activities": hardware.activities(self.parameters, macs, moved["output"].bytes, crossed),
            "parameters": msgspec.to_builtins(self.parameters),
        }

    def _peak_macs(self, core_cycles: int) -> float:
        clocks = core_cycles * self.parameters.clock_multiplier / self.parameters.clock_divider
        return self.parameters.processing_elements * clocks

    def _cycles(self, total_cycles: int, busy: int) -> dict[str, int]:
        """Core cycles by what the coprocessor spent them on; they add up to those of the run."""
        ended = total_cycles
        if self._commands:
            ended = max(total_cycles, self._commands[-1].end_cycle)
        split = {
            name: self._core_cycles(sum(getattr(command.timing, f"{name}_cycles") for command in self._commands))
            for name in ("issue", "compute", "fill_drain", "requantise")
        }
        return {**split, "stall": busy - sum(split.values()), "idle": ended - busy}

    def _levels(self, moved: dict[str, Transfer]) -> list[dict[str, Any]]:
        """Elements moved, by level of the memory, what they are, and their width."""
        sums = self.parameters.accumulator_bits
        rows = [
            {
                "level": "memory",
                "element": name,
                "bits": bits,
                "reads": sum(moved[n].bytes for n in loads) * 8 // bits,
                "writes": sum(moved[n].bytes for n in stores) * 8 // bits,
            }
            for name, bits, loads, stores in (
                ("input", 8, ("input",), ()),
                ("weights", 8, ("weights",), ()),
                ("output", 8, (), ("output",)),
                ("partial sums", sums, ("sums_in",), ("sums_out",)),
                ("bias, multiplier, shift", 32, ("bias", "multiplier", "shift"), ()),
                ("descriptor, status", 32, ("descriptor",), ("status",)),
            )
        ]
        buffers = [command.timing.buffers for command in self._commands]
        rows += [
            {
                "level": level,
                "element": name,
                "bits": bits,
                "reads": sum(getattr(each, f"{prefix}_reads") for each in buffers),
                "writes": sum(getattr(each, f"{prefix}_writes") for each in buffers),
            }
            for level, name, bits, prefix in (
                ("input buffer", "input", 8, "input"),
                ("weight buffer", "weights", 8, "weight"),
                ("output buffer", "partial sums", sums, "sum"),
            )
        ]
        return rows

    def state(self) -> dict[str, Any]:
        """Everything a snapshot needs, in values that JSON can hold."""
        state: dict[str, Any] = msgspec.to_builtins(
            {
                "busy_until": self._busy_until,
                "status": self._status,
                "fault": self._fault,
                "core_wait_cycles": self._core_wait_cycles,
                "hart_resumed": self._hart_resumed,
                "commands": self._commands,
            }
        )
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Return to what `state()` gave."""
        self._busy_until = state["busy_until"]
        self._status = state["status"]
        self._fault = msgspec.convert(state["fault"], AccessFault | None)
        self._core_wait_cycles = state["core_wait_cycles"]
        self._hart_resumed = state["hart_resumed"]
        self._commands = msgspec.convert(state["commands"], list[ConvCommand])


def _access_fault(pc: int, error: PortFault) -> AccessFault:
    return AccessFault(pc, error.address, error.size, error.write)


def _sum(transfers: Any) -> Transfer:
    size = accesses = 0
    for transfer in transfers:
        size += transfer.bytes
        accesses += transfer.accesses
    return Transfer(size, accesses)
