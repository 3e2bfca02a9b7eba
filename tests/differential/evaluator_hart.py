"""A plain hart around the evaluator: fetch, find, execute, count. What `rvsim.machine` is compared with.

It shares the description, its evaluator, the CSR file and the core's table of cycles with the machine, and nothing
else: every count is taken where it happens.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence

from rvsim.isa.ccode import instruction_class
from rvsim.isa.disassemble import find
from rvsim.isa.elaborate import DESCRIPTIONS
from rvsim.isa.evaluate import Trap, execute
from rvsim.isa.ir import Instruction, Isa
from rvsim.isa.model import load_extension
from rvsim.isa.names import CSR_NUMBERS
from rvsim.isa.select import DEFAULT, Selection, select
from rvsim.machine._hart import GuestTrap
from rvsim.machine.csr import CsrFile
from rvsim.machine.events import EVENT_COUNT
from rvsim.machine.memory import EXECUTE, READ, WRITE, Region
from rvsim.timing import CoreTiming

A0, A1, A2, A7 = 10, 11, 12, 17
ILLEGAL, ECALL = 2, 11
WORD = 0xFFFF_FFFF


class Memory:
    """Regions of bytes, made when they are first touched."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self.regions = list(regions)
        self.bytes: dict[int, bytearray] = {}

    def region(self, address: int) -> Region | None:
        return next((r for r in self.regions if r.base <= address < r.end), None)

    def content(self, region: Region) -> bytearray:
        if region.base not in self.bytes:
            self.bytes[region.base] = bytearray(region.size)
        return self.bytes[region.base]

    def refused_at(self, address: int, size: int, permission: int) -> int | None:
        """First address of an access that is not permitted."""
        region = self.region(address)
        if region is None or not region.permissions & permission:
            return address
        return None if address + size <= region.end else region.end

    def read(self, address: int, size: int) -> bytes:
        region = self.region(address)
        assert region is not None and address + size <= region.end
        return bytes(self.content(region)[address - region.base : address - region.base + size])

    def write(self, address: int, data: bytes) -> None:
        region = self.region(address)
        assert region is not None and address + len(data) <= region.end
        self.content(region)[address - region.base : address - region.base + len(data)] = data


@functools.cache
def aligned() -> dict[str, Instruction]:
    """The instructions of RV32I for IALIGN = 32: without RVC their parameter INSTR_ALIGNMENT is 4."""
    return {i.name: i for i in load_extension(DESCRIPTIONS / "RV32I.core_desc").instructions}


class EvaluatorHart:
    """One hart whose instructions the evaluator runs.

    Parameters
    ----------
    isa : Isa
    regions : sequence of Region
        The memory map, `Machine.regions`.
    timing : CoreTiming
    selection : Selection
        Which of the instructions the hart has.

    Attributes
    ----------
    trap : tuple of (int, int) or None
        Cause and mtval of the last instruction, when it trapped.
    executed : Counter of str
        Retired instructions by name.
    accesses : dict of int to list of int
        Loads, bytes loaded, stores, bytes stored by the access's first address.
    """

    def __init__(
        self, isa: Isa, regions: Sequence[Region], timing: CoreTiming, selection: Selection | None = None
    ) -> None:
        self.isa, self.timing, self.selection = isa, timing, selection or select(DEFAULT)
        self._enabled = {i.name for i, on in zip(isa.instructions, self.selection.enabled, strict=True) if on}
        self.memory = Memory(regions)
        self.x = [0] * 32
        self.reservation = 0
        self.pc = 0
        # It counts no events: those of the machine are tested beside it.
        self.csrs = CsrFile(
            self,
            self.selection.misa,
            events=[lambda: 0] * EVENT_COUNT,
            alignment=2 if self.selection.compressed else 4,
        )
        self.output = bytearray()
        self.exit_code: int | None = None
        self.trap: tuple[int, int] | None = None
        self.waiting = False
        self.instructions = self.cycles = self.taken_branches = self.misaligned = self.traps = 0
        self.executed: Counter[str] = Counter()
        self.accesses: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self.fetches: Counter[tuple[int, int]] = Counter()  # (pc, size)
        self._found: dict[int, Instruction | None] = {}
        self._classes = {i.name: instruction_class(i) for i in isa.instructions}
        self._csr_cycles = {CSR_NUMBERS[name]: cycles for name, cycles in timing.csr_write_cycles.items()}
        self._extra = 0
        self._tval: int | None = None
        self._leave: int | None = None
        self._divisor: int | None = None

    # ------------------------------------------------------------ what behaviours act on (rvsim.isa.evaluate.Context)
    def get(self, file: str, index: int | None) -> int:
        return self.reservation if file == "RESERVATION" else self.x[index or 0]

    def put(self, file: str, index: int | None, value: int) -> None:
        assert 0 <= value <= WORD, f"{value:#x} is no value of X"
        if file == "RESERVATION":
            self.reservation = value
        elif index:
            self.x[index] = value

    def _check(self, address: int, size: int, store: bool) -> None:
        assert 0 <= address <= WORD, f"{address:#x} is no address"
        if address % size and self.timing.misaligned == "trap":
            self._tval = address
            raise Trap(0, 6 if store else 4)
        refused = self.memory.refused_at(address, size, WRITE if store else READ)
        if refused is not None:
            self._tval = refused
            raise Trap(0, 7 if store else 5)
        if address % size and address % 4 + size > 4:
            self.misaligned += 1
            self._extra += self.timing.misaligned_cycles

    def load(self, space: str, address: int, size: int, big_endian: bool) -> int:
        if space == "CSR":
            return self.csrs.read(address)
        self._check(address, size, False)
        counts = self.accesses[address]
        counts[0] += 1
        counts[1] += size
        return int.from_bytes(self.memory.read(address, size), "little")

    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None:
        if space == "CSR":
            self.csrs.write(address, value)
            if address in self._csr_cycles:
                self._extra += self._csr_cycles[address] - self.timing.cycles["csr"]
            return
        self._check(address, size, True)
        assert 0 <= value < 1 << 8 * size, f"{value:#x} is no value of {size} bytes"
        counts = self.accesses[address]
        counts[2] += 1
        counts[3] += size
        self.memory.write(address, value.to_bytes(size, "little"))

    def call(self, name: str, arguments: Sequence[int]) -> int | None:
        match name:
            case "set_tval":
                self._tval = arguments[0]
            case "leave":
                self._leave = self.csrs.leave_trap()
            case "wait":
                self.waiting = True
            case "fence_i":
                pass
            case "probe_store":
                self._check(arguments[0], 4, True)
            case _:
                raise AssertionError(f"the description calls {name}")
        return None

    # ------------------------------------------------------------ running
    def _fetch(self) -> int:
        refused = self.memory.refused_at(self.pc, 2, EXECUTE)
        if refused is None:
            word = int.from_bytes(self.memory.read(self.pc, 2), "little")
            if word & 3 != 3:
                return word
            refused = self.memory.refused_at(self.pc, 4, EXECUTE)
            if refused is None:
                return int.from_bytes(self.memory.read(self.pc, 4), "little")
        self._tval = refused
        raise Trap(0, 1)

    def _straddles(self, address: int) -> bool:
        """Whether a 32-bit instruction lies there, at an odd halfword."""
        return bool(
            address & 2
            and self.memory.refused_at(address, 4, EXECUTE) is None
            and self.memory.read(address, 1)[0] & 3 == 3
        )

    def _decode(self, word: int) -> Instruction | None:
        found = find(self.isa, word)
        if found is None or found.name not in self._enabled:
            return None
        return found if self.selection.compressed else aligned().get(found.name, found)

    def step(self) -> None:
        """Run one instruction; a trap is left in `trap`, with the pc on its instruction."""
        self._tval = self._leave = self.trap = None
        self._extra, word = 0, 0
        try:
            word = self._fetch()
            if word not in self._found:
                self._found[word] = self._decode(word)
            instruction = self._found[word]
            if instruction is None:
                raise Trap(0, ILLEGAL)
            class_ = self._classes[instruction.name]
            divisor = self._read(instruction, word, "rs2") if class_ == "divide" else 1
            target = execute(instruction, word, self.pc, self)
        except (Trap, GuestTrap) as trap:
            assert not trap.irq
            self.trap = trap.cause, word if trap.cause == ILLEGAL else self._tval or 0
            return
        cost = self.timing.cycles[class_]
        if class_ == "divide" and divisor == 0:
            cost = self.timing.divide_by_divisor.get("zero", cost)
        if target is not None:
            if class_ == "branch":
                self.taken_branches += 1
                cost += self.timing.taken_branch_cycles
            if self._straddles(target):
                cost += self.timing.straddle_cycles
        self.instructions += 1
        self.cycles += cost + self._extra
        self.executed[instruction.name] += 1
        self.fetches[self.pc, instruction.size] += 1
        self.pc = (
            target
            if target is not None
            else self._leave
            if self._leave is not None
            else (self.pc + instruction.size) & WORD
        )

    def _read(self, instruction: Instruction, word: int, field: str) -> int:
        return self.x[next(f for f in instruction.fields if f.name == field).extract(word)]

    def run(self, limit: int) -> str:
        """Run until the program exits, fails, or has retired `limit` instructions: "exit", "trap" or "limit"."""
        while self.instructions < limit:
            self.step()
            if self.trap is None:
                continue
            cause, tval = self.trap
            if self.csrs.mtvec & ~3:
                self.traps += 1
                self.reservation = 0
                self.cycles += self.timing.trap_cycles
                self.pc = self.csrs.enter_trap(0, cause, tval, self.pc)
            elif cause == ECALL:
                self._retire_ecall()
                if self._serve():
                    return "exit"
            else:
                return "trap"
        return "limit"

    def _retire_ecall(self) -> None:
        self.instructions += 1
        self.cycles += self.timing.cycles["system"]
        self.executed["ECALL"] += 1
        self.fetches[self.pc, 4] += 1
        self.pc += 4

    def _serve(self) -> bool:
        """write to standard output, and exit; whether it was exit."""
        if self.x[A7] == 93:
            self.exit_code = self.x[A0] & 0xFF
            return True
        assert self.x[A7] == 64 and self.x[A0] == 1, f"host call {self.x[A7]}"
        self.output += self.memory.read(self.x[A1], self.x[A2])
        self.x[A0] = self.x[A2]
        return False

    # ------------------------------------------------------------ totals
    @property
    def classes(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for name, n in self.executed.items():
            counts[self._classes[name]] += n
        return dict(counts)

    def accesses_within(self, address: int, size: int) -> list[int]:
        """Loads, bytes loaded, stores, bytes stored that began in a range."""
        inside = [counts for a, counts in self.accesses.items() if address <= a < address + size]
        return [sum(column) for column in zip(*inside, strict=True)] if inside else [0, 0, 0, 0]

    def fetches_within(self, address: int, size: int) -> list[int]:
        """Instructions retired in a range, and their bytes."""
        inside = [(n, n * bytes_) for (pc, bytes_), n in self.fetches.items() if address <= pc < address + size]
        return [sum(column) for column in zip(*inside, strict=True)] if inside else [0, 0]
