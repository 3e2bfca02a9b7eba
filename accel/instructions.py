"""Instructions written as Python functions of rs1 and rs2, and the coprocessor that is made of them."""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import msgspec

from accel.protocol import ContractError, Coprocessor, MemoryPort, Response
from rvsim.isa.names import CUSTOM_OPCODES

if TYPE_CHECKING:
    from rvsim.isa.ir import Instruction, Isa

MAJOR_OPCODES = {name: opcode for opcode, name in CUSTOM_OPCODES.items()}
MASK = 0xFFFF_FFFF
OPERANDS = ("rs1", "rs2")
# Where the R format has them (Unprivileged ISA 20240411, section 2.2).
SHIFTS = {"rd": 7, "rs1": 15, "rs2": 20}


class Encoding(msgspec.Struct, frozen=True):
    """What `instruction` says of a function.

    Attributes
    ----------
    mnemonic : str
        Its name in assembly.
    match : int
        Opcode, funct3 and funct7 in their places of the R format.
    sources : int
        How many of rs1 and rs2 it takes; the others are x0 in its encoding.
    result : bool
        Whether it writes rd; else that is x0 in its encoding.
    latency_cycles : int
        From its operands to its result, 1 as an instruction of the core.
    signed : bool
        Whether it gets its operands as -2**31 to 2**31 - 1 instead of 0 to 2**32 - 1.
    where : str
        ``file:line`` of the function.
    """

    mnemonic: str
    match: int
    sources: int
    result: bool
    latency_cycles: int
    signed: bool
    where: str


def instruction(
    name: str | None = None,
    *,
    funct3: int,
    funct7: int,
    opcode: str = "custom-0",
    latency_cycles: int = 1,
    signed: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make an instruction of a function of rs1 and rs2, of rs1 alone, or of nothing.

    It returns what rd gets, -2**31 to 2**32 - 1; one annotated ``-> None`` has no rd. Of a method of an
    `InstructionCoprocessor`, `self` comes first.

    Parameters
    ----------
    name : str, optional
        Its mnemonic; the function's name by default.
    funct3, funct7 : int
        Of the R format: 0 to 7, 0 to 127.
    opcode : str
        ``custom-0`` to ``custom-3``.
    latency_cycles : int
        From the operands to the result, 1 as an instruction of the core: the hart waits for those beyond the first.
    signed : bool
        Take the operands as -2**31 to 2**31 - 1; else they are 0 to 2**32 - 1.

    Raises
    ------
    ValueError
        The encoding is none, or the function has other parameters.
    """
    for what, value, low, high in (
        ("funct3", funct3, 0, 7),
        ("funct7", funct7, 0, 127),
        ("latency_cycles", latency_cycles, 1, 1 << 20),
    ):
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{what}: expected {low} to {high}, found {value!r}")
    if opcode not in MAJOR_OPCODES:
        raise ValueError(f"opcode: expected one of {', '.join(MAJOR_OPCODES)}, found {opcode!r}")

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        mnemonic = name or function.__name__
        if not mnemonic.replace(".", "_").isidentifier() or not mnemonic.isascii():
            raise ValueError(f"expected a mnemonic of letters, digits, dots and underscores, found {mnemonic!r}")
        signature = inspect.signature(function)
        parameters = [each for each in signature.parameters if each != "self"]
        if parameters != list(OPERANDS[: len(parameters)]):
            raise ValueError(
                f"{mnemonic}: expected a function of (rs1, rs2), (rs1) or nothing, found ({', '.join(parameters)})"
            )
        function.encoding = Encoding(  # type: ignore[attr-defined]
            mnemonic=mnemonic,
            match=funct7 << 25 | funct3 << 12 | MAJOR_OPCODES[opcode],
            sources=len(parameters),
            result=signature.return_annotation not in (None, "None"),
            latency_cycles=latency_cycles,
            signed=signed,
            where=f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}",
        )
        return function

    return mark


class InstructionState(TypedDict):
    """What a snapshot keeps."""

    registers: dict[str, int | list[int]]
    moved: list[int]


class InstructionCoprocessor(Coprocessor):
    """A coprocessor of instructions that are Python functions, or methods of a class that has this one as its base.

    While an instruction runs, a method may use `load`, `store` and `stall`, and read `cycle` (core cycle at issue) and
    `pc`.

    Parameters
    ----------
    name, parameters
        As for `Coprocessor`.
    functions : iterable of callable
        What `instruction` has marked; without, the marked methods of the class.

    Attributes
    ----------
    registers : dict
        Name and reset value, an integer or a list of integers, of each of the unit's registers. They are attributes of
        the object, and all of its state.
    bus_width_bytes : int
        Bytes that an access of `load` or `store` moves.
    access_cycles : int
        Cycles that the hart waits for each such access.
    """

    registers: ClassVar[dict[str, Any]] = {}
    bus_width_bytes: int = 4
    access_cycles: int = 1
    state_type = InstructionState
    cycle: int = 0
    pc: int = 0

    def __init__(
        self, name: str = "", parameters: Any = None, functions: Iterable[Callable[..., Any]] | None = None
    ) -> None:
        if functions is None:
            names = dict.fromkeys(key for base in reversed(type(self).__mro__) for key in vars(base))
            marked = [getattr(self, key) for key in names if hasattr(getattr(type(self), key, None), "encoding")]
        else:
            marked = [*functions]
        self._calls: list[tuple[Encoding, Callable[..., Any]]] = [(each.encoding, each) for each in marked]
        self._port: MemoryPort | None = None
        self._stall = 0
        super().__init__(name, parameters)
        for number, (first, _) in enumerate(self._calls):
            for second, _ in self._calls[number + 1 :]:
                if first.match == second.match:
                    raise ContractError(
                        f"{first.mnemonic} and {second.mnemonic} have the same opcode, funct3 and funct7", second.where
                    )

    @property
    def instructions(self) -> list[Encoding]:
        """Those that are Python functions, in the order of their numbers."""
        return [encoding for encoding, _ in self._calls]

    def _described(self) -> Isa:
        if not self._calls:
            return super()._described()
        from rvsim.isa.ir import ExternFunction, Isa, RegisterFile

        registers = [RegisterFile("X", 32, 32, False, [], "main"), RegisterFile("PC", 0, 32, False, [], "pc")]
        issue = ExternFunction("coprocessor_issue", (32, False), [(32, False)] * 3)
        made = [_described(number, encoding, self.name) for number, (encoding, _) in enumerate(self._calls)]
        return Isa(self.name, [self.name], {"XLEN": 32}, registers, [], [issue], made)

    # ------------------------------------------------------------ what a method may use
    def load(self, address: int, size: int) -> bytes:
        """Read guest memory: counted as traffic, and the hart waits for it; outside memory the instruction traps."""
        assert self._port is not None, "load: no instruction is running"
        data = bytes(self._port.view(address, size, False))
        self._count(self._port, address, "load", size)
        return data

    def store(self, address: int, data: bytes) -> None:
        """Write guest memory; see `load`."""
        assert self._port is not None, "store: no instruction is running"
        self._port.view(address, len(data), True)[:] = data
        self._count(self._port, address, "store", len(data))

    def stall(self, cycles: int) -> None:
        """Have the hart wait longer than `latency_cycles`."""
        if cycles < 0:
            raise ValueError(f"stall: expected 0 cycles or more, found {cycles}")
        self._stall += cycles

    def _count(self, port: MemoryPort, address: int, kind: Any, size: int) -> None:
        accesses = -(-size // self.bus_width_bytes)
        port.count(address, kind, accesses, size)
        first = 0 if kind == "load" else 2
        self._moved[first] += accesses
        self._moved[first + 1] += size
        self._stall += accesses * self.access_cycles

    # ------------------------------------------------------------ the protocol
    def issue(self, function: int, rs1: int, rs2: int, port: MemoryPort, cycle: int, pc: int) -> Response:
        """Call the function of an instruction."""
        encoding, call = self._calls[function]
        operands = [rs1, rs2][: encoding.sources]
        if encoding.signed:
            operands = [each - (each >> 31 << 32) for each in operands]
        self._port, self.cycle, self.pc, self._stall = port, cycle, pc, encoding.latency_cycles - 1
        try:
            result = call(*operands)
        finally:
            self._port = None
        if not encoding.result:
            return Response(0, self._stall)
        try:
            value = operator.index(result)
        except TypeError:
            hint = "; a function without a result is annotated -> None" if result is None else ""
            raise ContractError(f"it returns {_shown(result)}, expected an integer{hint}", encoding.where) from None
        if not -(1 << 31) <= value <= MASK:
            raise ContractError(
                f"it returns {_shown(value)}, expected 32 bits (-2**31 to 2**32 - 1); mask it with & 0xFFFFFFFF",
                encoding.where,
            )
        return Response(value & MASK, self._stall)

    def report(self, total_cycles: int) -> dict[str, Any]:
        """Say its traffic, if it has a use for memory, and its parameters."""
        report: dict[str, Any] = {"name": self.name}
        if any(self._moved):
            loads, load_bytes, stores, store_bytes = self._moved
            report["traffic"] = {
                "load": {"count": loads, "bytes": load_bytes},
                "store": {"count": stores, "bytes": store_bytes},
            }
        if self.parameters is not None:
            report["parameters"] = msgspec.to_builtins(self.parameters)
        return report

    def reset(self) -> None:
        """Give the registers their reset values; a class with other state adds its own."""
        self._moved = [0, 0, 0, 0]
        for name, value in self.registers.items():
            setattr(self, name, copy.deepcopy(value))

    def state(self) -> dict[str, Any]:
        """The registers and the traffic so far."""
        return {"registers": {name: getattr(self, name) for name in self.registers}, "moved": self._moved}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to what `state` gave."""
        if state["registers"].keys() != self.registers.keys() or len(state["moved"]) != 4:
            raise ValueError(f"expected the registers {', '.join(self.registers)}")
        self._moved = [*state["moved"]]
        for name, value in state["registers"].items():
            setattr(self, name, copy.copy(value))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a value of type {type(value).__name__}"


def _described(number: int, encoding: Encoding, set_: str) -> Instruction:
    """The description, elaborated, of: ``X[rd] = coprocessor_issue(number, X[rs1], X[rs2])`` unless rd is 0."""
    from rvsim.isa.ir import Field, Instruction, Op, type_range

    used = [*(["rd"] if encoding.result else []), *OPERANDS[: encoding.sources]]
    static, body, ranges = [Op("const", 0, [], number), Op("const", 1, [], 0)], [], [(number, number), (0, 0)]

    def value(low_high: tuple[int, int]) -> int:
        ranges.append(low_high)
        return len(ranges) - 1

    arguments = [0, 1, 1]
    for n in range(encoding.sources):
        field, operand = value((0, 31)), value(type_range(32, False))
        static.append(Op("field", field, [], OPERANDS[n]))
        body.append(Op("get", operand, [field], "X"))
        arguments[n + 1] = operand
    answer = value(type_range(32, False))
    body.append(Op("call", answer, arguments, "coprocessor_issue"))
    if encoding.result:
        field, zero = value((0, 31)), value((0, 1))
        static += [Op("field", field, [], "rd"), Op("eq", zero, [field, 1])]
        body.append(Op("if", -1, [zero], None, [[], [Op("put", -1, [field, answer], "X")]]))
    mask = MASK & ~sum(31 << SHIFTS[each] for each in used)
    return Instruction(
        name=encoding.mnemonic.upper().replace(".", "_"),
        set=set_,
        size=4,
        mask=mask,
        match=encoding.match,
        fields=[Field(each, 5, [(SHIFTS[each], 0, 5)]) for each in used],
        mnemonic=encoding.mnemonic,
        operands=",".join(f"{{name({each})}}" for each in used),
        static=static,
        body=body,
        ranges=ranges,
        variables=[],
        where=encoding.where,
    )
