"""What a coprocessor and the machine that drives it promise each other.

Modelled on the OpenHW CORE-V eXtension Interface: the hart issues an instruction, the result comes back after some
cycles, and the coprocessor reaches memory through a port of its own. The machine knows nothing else about a
coprocessor, a coprocessor nothing else about the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from rvsim.isa.ir import Isa

AccessKind = Literal["load", "store"]
_HERE = Path(__file__).parent
OWN_FAMILY = 128
"""First of the families (bits 31:24 of the capability) that are left to coprocessors outside this project."""


class PortFault(Exception):
    """A range that a memory port cannot reach: outside memory, over the end of a region, or without the permission.

    Attributes
    ----------
    address : int
        First byte of the range asked for.
    size : int
        Bytes asked for.
    write : bool
        Whether it was to be written.
    """

    def __init__(self, address: int, size: int, write: bool) -> None:
        super().__init__(
            f"{size} bytes at {address:#010x} cannot be {'written' if write else 'read'} by the coprocessor"
        )
        self.address = address
        self.size = size
        self.write = write


class ContractError(Exception):
    """A coprocessor of the user's own does not keep this protocol; the machine adds the instruction and its place.

    Attributes
    ----------
    where : str
        ``file:line`` of the user's own code that is to blame; empty where nobody knows.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class MemoryPort(Protocol):
    """The coprocessor's way to guest memory."""

    def view(self, address: int, size: int, write: bool) -> memoryview:
        """Give the guest's own bytes, without a copy: format "B", one dimension, `size` long, writable if `write`.

        Any Python integers must be taken as arguments; `size` is at least 1.

        Raises
        ------
        PortFault
            The whole range does not lie inside one region that permits the access.
        """
        ...

    def count(self, address: int, kind: AccessKind, accesses: int, bytes_: int) -> None:
        """Add traffic that the timing model says a command moved, attributed to the region and symbol at `address`."""
        ...


class AccessFault(msgspec.Struct, frozen=True):
    """An access outside memory, to be delivered as a trap.

    Attributes
    ----------
    pc : int
        Of the instruction that started the command, not of the one that traps.
    address : int
        First byte of the range that could not be reached (mtval).
    size : int
        Bytes of that range.
    write : bool
        True: store/AMO access fault (mcause 7); False: load access fault (mcause 5).
    """

    pc: int
    address: int
    size: int
    write: bool


class Response(msgspec.Struct, frozen=True):
    """What an issued instruction gives back.

    Attributes
    ----------
    value : int
        For rd, 0 to 2**32 - 1.
    stall_cycles : int
        Cycles that the hart waits beyond those of any custom instruction.
    fault : AccessFault or None
        If given, the instruction traps instead of writing rd.
    """

    value: int = 0
    stall_cycles: int = 0
    fault: AccessFault | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One finished or running command in a coprocessor's log; coprocessors extend it.

    Attributes
    ----------
    index : int
        Position in the log, from 0.
    pc : int
        Of the instruction that issued it.
    issue_cycle : int
        Core cycle at which the instruction was issued.
    start_cycle : int
        Core cycle at which the coprocessor took it (later than `issue_cycle` if another command was running).
    end_cycle : int
        Core cycle from which the coprocessor is idle again.
    """

    index: int
    pc: int
    issue_cycle: int
    start_cycle: int
    end_cycle: int


class Coprocessor:
    """A coprocessor: its instructions, what they do, how long they take.

    One whose instructions are wholly described in CoreDSL has nothing to add but its name, description and capability:
    `issue`, `commands` and the state are for those that compute outside their description.

    Parameters
    ----------
    name : str
        Of the preset or the file, for reports.
    parameters : object
        What it is built of: of the type `parameter_type`, whose defaults hold without. A class without such a type
        takes none.

    Attributes
    ----------
    description : Path
        The CoreDSL file that describes its instructions.
    major_opcode : int or None
        The 7-bit opcode that all its instructions use, put in place of the one in the description; None: as described.
    capability : int
        The word that CSR 0xFC0 reads; bits 31:24 are the family (docs/coprocessor.md).
    parameter_type : type or None
        A frozen msgspec record, each field with a default: the keys of a TOML file and of ``--set accel.KEY=VALUE``.
    csrs : mapping of int to (str, int)
        Further CSRs, read-only, by number: which register of the description each shows, by file and number.
    """

    description: ClassVar[Path]
    parameter_type: ClassVar[type[msgspec.Struct] | None] = None
    major_opcode: int | None = None
    capability: int = OWN_FAMILY << 24
    csrs: ClassVar[Mapping[int, tuple[str, int]]] = {}

    def __init__(self, name: str = "", parameters: Any = None) -> None:
        self.name = name or type(self).__name__
        default = self.parameter_type() if self.parameter_type is not None else None
        self.parameters: Any = default if parameters is None else parameters
        self.reset()

    def isa(self) -> Isa:
        """Its instructions, elaborated, under its major opcode.

        Descriptions in this project were elaborated when the package was built, others are parsed now.

        Raises
        ------
        rvsim.errors.InputFileError
            The description is not CoreDSL.
        """
        isa = self._described()
        if self.major_opcode is None:
            return isa
        moved = [msgspec.structs.replace(i, match=i.match & ~0x7F | self.major_opcode) for i in isa.instructions]
        return msgspec.structs.replace(isa, instructions=moved)

    def _described(self) -> Isa:
        if _HERE in self.description.parents:
            from rvsim.isa.bundle import bundled

            return bundled(self.description.stem)
        from rvsim.isa.model import load_extension

        return load_extension(self.description)

    def latency(self, name: str) -> int:
        """Cycles, up to 1000, of an instruction of the description beyond those of the core's for its class.

        What reads or writes memory or jumps is timed as the core's own loads, stores, branches or jumps, everything
        else as a custom instruction; the pipeline stands still for the cycles beyond.
        """
        return 0

    @property
    def commands(self) -> Sequence[Command]:
        """The command log since the last reset, in the order of issue."""
        return ()

    def issue(self, function: int, rs1: int, rs2: int, port: MemoryPort, cycle: int, pc: int) -> Response:
        """Take one instruction whose description calls `coprocessor_issue`.

        Parameters
        ----------
        function : int
            First argument of `coprocessor_issue` in the description: which of the coprocessor's instructions it is.
        rs1, rs2 : int
            Operands, 0 to 2**32 - 1.
        port : MemoryPort
            Valid during this call only.
        cycle : int
            Core cycle at issue; never less than that of an earlier call.
        pc : int
            Of the instruction.

        Raises
        ------
        ValueError
            The description passes a function that the coprocessor does not have. Nothing a guest can do leads to it.
        """
        raise ValueError(f"{self.name} computes nothing outside its description, found function {function} issued")

    def report(self, total_cycles: int) -> dict[str, Any]:
        """Summarise the log for `RunResult.accelerator`, in values that JSON can hold.

        Keys are those of `rvsim.machine.result.AcceleratorReport`; what does not apply is left out.
        """
        return {"name": self.name}

    def activities(self, executed: Mapping[str, int]) -> list[dict[str, Any]]:
        """What its instructions are made of, for estimates of energy (`rvsim.machine.result.Activity`).

        Parameters
        ----------
        executed : mapping of str to int
            Times each of its instructions retired, by the name in the description.

        Returns
        -------
        list of dict
            ``name``, ``count``, and ``takes``: how many ``multiply8``, ``multiply32``, ``add32`` and ``register_bit``
            one of them is. Multiply-accumulates of int8 are called ``MACs``.
        """
        return []

    def reset(self) -> None:
        """Return to idle with an empty log."""

    state_type: ClassVar[Any] = dict[str, Any]
    """What `state()` gives, as a type that msgspec checks a snapshot file by."""

    def state(self) -> Any:
        """Everything a snapshot needs, in values that JSON can hold; registers of the description are not its own."""
        return {}

    def restore(self, state: Any) -> None:
        """Return to what `state()` gave, on this or on an equally configured coprocessor; a `state_type`, its own."""
