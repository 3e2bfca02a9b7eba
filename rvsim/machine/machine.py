"""A simulated microcontroller: one hart, its memory, perhaps a coprocessor; load a program, run it, read the result."""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from accel import registry
from accel.protocol import PortFault
from rvsim.errors import ElfError, InputFileError, UsageError
from rvsim.isa import ccode, names
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import disassemble
from rvsim.isa.ir import Instruction, walk
from rvsim.isa.select import DEFAULT, select
from rvsim.machine import extension, memory
from rvsim.machine._hart import GuestTrap, Hart
from rvsim.machine.csr import CsrFile
from rvsim.machine.diagnosis import illegal_hint, memory_hint
from rvsim.machine.elf import Program, Tensor, load_elf
from rvsim.machine.hostcall import Exit, HostCalls
from rvsim.machine.result import (
    AcceleratorReport,
    Count,
    FunctionProfile,
    RunResult,
    StopReason,
    SymbolTraffic,
    Traffic,
)
from rvsim.timing import load_core_timing

if TYPE_CHECKING:
    import numpy as np

    from accel.protocol import AccessFault, Coprocessor

SP = 2
ECALL, BREAKPOINT, ILLEGAL = 11, 3, 2
NO_LIMIT = 1 << 62
_STOP_REASONS: dict[int, StopReason] = {
    1: "access-fault",
    2: "illegal-instruction",
    3: "breakpoint",
    5: "access-fault",
    7: "access-fault",
}


class Machine:
    """One hart with a program in its memory; make it with `Machine.from_elf`.

    A machine runs its program once: `run` may be called again after an instruction limit and goes on from there.

    Parameters
    ----------
    program : Program
    args : sequence of str
        The guest's command line behind the program's name.
    core : str
        Name of a core's timing table, or a TOML file.
    accel : str
        ``off``, ``on``, a coprocessor's name, or a TOML file.
    settings : mapping of str to str
        Configuration keys to replace: ``accel.pe_rows``, ``core.clock_mhz``.
    isa_ext : sequence of str
        CoreDSL files whose instructions are added.
    memory : sequence of str
        Regions to add, ``NAME=ADDRESS,SIZE_KIB``.
    stdout, stderr : callable, optional
        Take the bytes that the guest writes; the process's own streams by default.
    stdin : callable, optional
        Gives at most n bytes of the guest's standard input.
    memory_limit : int
        Bytes of guest memory that the regions together may have.

    Raises
    ------
    UsageError, ElfError, InputFileError

    Examples
    --------
    >>> from rvsim import Machine
    >>> result = Machine.from_elf("kernels/examples/hello.elf", stdout=lambda data: None).run()
    >>> result.exit_code
    0
    """

    def __init__(
        self,
        program: Program,
        *,
        args: Sequence[str] = (),
        core: str = "ibex-small",
        accel: str = "off",
        settings: Mapping[str, str] | None = None,
        isa_ext: Sequence[str] = (),
        memory: Sequence[str] = (),
        stdout: Callable[[bytes], object] | None = None,
        stderr: Callable[[bytes], object] | None = None,
        stdin: Callable[[int], bytes] | None = None,
        memory_limit: int = memory.DEFAULT_LIMIT,
    ) -> None:
        of_core, of_accel = _split_settings(settings or {})
        self.program = program
        self.timing = load_core_timing(core, of_core)
        self.coprocessor: Coprocessor | None = registry.load(accel, of_accel)
        self.isa = bundled("rv32")
        self.warnings: list[str] = list(program.notes)
        self._extensions = self._load_extensions(isa_ext)
        self._classes = [ccode.instruction_class(i) for i in self.isa.instructions] + [
            c for _, _, c in self._extensions
        ]
        self._hart = Hart(self, self._kinds(), self._hart_timing())
        self.csrs = CsrFile(self._hart, self.coprocessor.capability if self.coprocessor else None)
        self._map(memory, memory_limit)
        calls: dict[str, Callable[..., int | None]] = {"fence_i": lambda: None}
        if self.coprocessor is not None:
            calls["coprocessor_issue"] = self._issue
        self._context = extension.Context(self._hart, self.csrs, [isa for _, isa, _ in self._extensions], calls)
        for instruction, _, class_ in self._extensions:
            cost = self.timing.cycles[class_]
            self._hart.add_custom(
                instruction.mask, instruction.match, instruction.size, extension.ends_block(instruction), cost
            )
        self._stack(args)
        self._hart.pc = program.entry
        self._host = HostCalls(self._hart, self._heap, stdout, stderr, stdin)
        self._stalls: dict[int, int] = defaultdict(int)
        self._seconds = 0.0
        self._ended = False

    @classmethod
    def from_elf(cls, program: str | os.PathLike[str] | Program, **options: Any) -> Machine:
        """Load an ELF file; the options are those of the class."""
        limit = options.get("memory_limit", memory.DEFAULT_LIMIT)
        return cls(program if isinstance(program, Program) else load_elf(program, max_memory=limit), **options)

    # ------------------------------------------------------------ construction
    def _load_extensions(self, files: Sequence[str]) -> list[tuple[Instruction, Any, str]]:
        """Added instructions with the set they come from and their timing class."""
        added: list[tuple[Instruction, Any, str]] = []
        if self.coprocessor is not None:
            isa = bundled(self.coprocessor.description.stem)
            added += [
                (extension.with_major_opcode(i, self.coprocessor.major_opcode), isa, "coprocessor")
                for i in isa.instructions
            ]
        for file in files:
            isa = extension.load_extension(file)
            self.warnings += isa.warnings
            for instruction in isa.instructions:
                for other, owner, _ in added:
                    if (
                        instruction.size == other.size
                        and (instruction.match ^ other.match) & instruction.mask & other.mask == 0
                    ):
                        raise UsageError(
                            f"{file}: {instruction.name} and {other.name} of {owner.name} claim the same words; "
                            "move one to another opcode (--set accel.custom_opcode=custom-1)"
                        )
                added.append((instruction, isa, "custom"))
        return added

    def _kinds(self) -> list[tuple[int, int, bool, bool, bool, bool, bool]]:
        kinds = []
        for instruction, enabled in zip(self.isa.instructions, select(DEFAULT).enabled, strict=True):
            class_ = ccode.instruction_class(instruction)
            sizes = [
                op.attr[1] for op in walk(instruction.body) if op.code in ("load", "store") and op.attr[0] == "MEM"
            ]
            size = sizes[0] if sizes else 0
            kinds.append(
                (
                    self.timing.cycles[class_],
                    size,
                    class_ == "store",
                    class_ == "divide",
                    class_ == "csr",
                    class_ == "branch",
                    enabled,
                )
            )
        return kinds

    def _hart_timing(self) -> dict[str, Any]:
        t = self.timing
        csr = {}
        for name, cycles in t.csr_write_cycles.items():
            if name not in names.CSR_NUMBERS:
                raise UsageError(f"core {t.name}: csr_write_cycles.{name}: no such CSR")
            csr[names.CSR_NUMBERS[name]] = cycles
        return {
            "taken": t.taken_branch_cycles,
            "straddle": t.straddle_cycles,
            "misaligned": t.misaligned_cycles,
            "trap": t.trap_cycles,
            "divide": t.divide_histogram_cycles(),
            "csr": csr,
            "split_misaligned": t.misaligned == "split",
        }

    def _map(self, options: Sequence[str], limit: int) -> None:
        self.regions = memory.layout(self.program, [memory.parse_memory(o) for o in options], limit)
        home = next((r for r in self.regions if r.name == "ram"), self.regions[-1])
        self._stack_top, self._stack_room = home.end, home.size // 4
        self._intervals = memory.intervals(self.regions, self.program, self._stack_top)
        self._hart.map(
            [(r.base, r.size, r.permissions) for r in self.regions],
            [(i.low, i.last, i.region) for i in self._intervals],
        )
        for segment in self.program.segments:
            if segment.data and not self._hart.poke(segment.address, segment.data):
                raise ElfError(f"{self.program.path}: the segment at {segment.address:#010x} does not fit into memory")
        end = max(
            (s.end for s in self.program.segments if s.writable),
            default=max((s.end for s in self.program.segments), default=home.base),
        )
        start = (end + 15) & ~15
        region = next((r for r in self.regions if r.base <= end <= r.end), home)
        # The upper quarter of the RAM is left to the stack.
        top = region.end - self._stack_room if region.base <= self._stack_top - 1 < region.end else region.end
        self._heap = (start, max(start, top))

    def _stack(self, args: Sequence[str]) -> None:
        """Lay out argc, argv, envp and an empty auxiliary vector at the top of the RAM, as Linux does."""
        strings = [os.fsencode(a) + b"\0" for a in (self.program.name, *args)]
        at = self._stack_top - sum(map(len, strings))
        size = self._stack_top - at + 4 * (len(strings) + 5)
        if size > self._stack_room:
            raise UsageError(f"the guest's arguments take {size} bytes, at most {self._stack_room} fit")
        pointers = []
        for text in strings:
            pointers.append(at)
            self._hart.poke(at, text)
            at += len(text)
        words = [len(pointers), *pointers, 0, 0, 0, 0]
        top = (pointers[0] - 4 * len(words)) & ~15
        self._hart.poke(top, b"".join(w.to_bytes(4, "little") for w in words))
        self._hart.set_register(SP, top)

    # ------------------------------------------------------------ services of the hart (called by _hart.pyx)
    def csr_read(self, number: int) -> int:
        return self.csrs.read(number)

    def csr_write(self, number: int, value: int) -> None:
        self.csrs.write(number, value)

    def trap_return(self) -> int:
        return self.csrs.leave_trap()

    def custom(self, index: int, word: int, pc: int) -> int | None:
        return self._context.execute(self._extensions[index][0], word, pc)

    def _issue(self, function: int, rs1: int, rs2: int) -> int:
        assert self.coprocessor is not None
        pc = self._context.pc
        response = self.coprocessor.issue(function, rs1, rs2, self, self._hart.cycles, pc)
        if response.stall_cycles:
            self._hart.stall_cycles += response.stall_cycles
            self._stalls[pc] += response.stall_cycles
        if response.fault is not None:
            fault = response.fault
            self._coprocessor_fault = fault
            raise GuestTrap(0, 7 if fault.write else 5, fault.address & 0xFFFF_FFFF)
        return response.value

    _coprocessor_fault: AccessFault | None = None

    # The memory port of a coprocessor (accel.protocol.MemoryPort).
    def view(self, address: int, size: int, write: bool) -> memoryview:
        """Guest memory that a coprocessor reads or writes; see `accel.protocol.MemoryPort`."""
        view = None
        if 0 <= address < 1 << 32 and 0 < size < 1 << 32:
            view = self._hart.view(address, size, write)
        if view is None:
            raise PortFault(address, size, write)
        return memoryview(view)

    def count(self, address: int, kind: str, accesses: int, bytes_: int) -> None:
        """Add a coprocessor's traffic; see `accel.protocol.MemoryPort`."""
        self._hart.count_access(address, kind == "store", accesses, bytes_)

    # ------------------------------------------------------------ running
    def run(self, max_instructions: int | None = None) -> RunResult:
        """Run until the program ends, fails, or has retired `max_instructions`.

        Returns
        -------
        RunResult
        """
        if self._ended:
            raise UsageError(f"{self.program.path} has ended; make another Machine to run it again")
        limit = NO_LIMIT if max_instructions is None else max_instructions
        started = time.perf_counter()
        stop: StopReason = "limit"
        exit_code, message = None, None
        hart = self._hart
        first, trapped_at = hart.instructions, -1
        while True:
            try:
                event = hart.run(limit - (hart.instructions - first))
            except KeyboardInterrupt:  # in a behaviour, CSR access or command that Python serves
                event = ("interrupted",)
            if event[0] == "limit":
                where = self.program.where(hart.pc)
                message = f"stopped at the limit of {limit} instructions, at {where}; raise --max-instructions to go on"
                break
            if event[0] == "interrupted":
                stop, message = "interrupted", self._interrupted()
                break
            if event[0] == "wait":
                # Nothing interrupts this hart yet (no timer, no devices): waiting would never end.
                stop, message = (
                    "trap",
                    f"wfi at {self.program.where(hart.pc - 4)}: no interrupt source exists, the program would "
                    f"wait forever",
                )
                break
            _, pc, irq, cause, tval = event
            if cause == ECALL and not irq and self.csrs.mtvec == 0:
                hart.complete()
                try:
                    self._host.serve()
                except Exit as ending:
                    stop, exit_code, self._ended = "exit", ending.code, True
                    break
                except KeyboardInterrupt:  # while it waits for input
                    stop, message = "interrupted", self._interrupted()
                    break
                continue
            # A handler whose first instruction traps would come back to itself for ever.
            stuck = hart.instructions == trapped_at
            if self.csrs.mtvec & ~3 and not stuck:
                trapped_at = hart.instructions
                hart.traps += 1
                self._stalls[pc] += self.timing.trap_cycles
                self._coprocessor_fault = None
                hart.pc = self.csrs.enter_trap(irq, cause, tval, pc)
                continue
            stop = _STOP_REASONS.get(cause, "trap")
            message = self._fatal(pc, cause, tval)
            if stuck:
                message += "; this is the first instruction of the trap handler that mtvec names"
            break
        self._seconds += time.perf_counter() - started
        return self._result(stop, exit_code, message)

    def _interrupted(self) -> str:
        hart = self._hart
        return f"interrupted at {self.program.where(hart.pc)} after {hart.instructions} instructions"

    def _fatal(self, pc: int, cause: int, tval: int) -> str:
        """Say what ended the program: the pc, where that is in the source, the instruction, and what to try."""
        what = names.EXCEPTIONS.get(cause, f"exception {cause}")
        where = self.program.where(pc)
        raw = self._hart.peek(pc, 4) or self._hart.peek(pc, 2)
        word = int.from_bytes(raw, "little") if raw else 0
        word = word if word & 3 == 3 else word & 0xFFFF
        text = disassemble(self.isa, word, pc) if raw else "no memory"
        own = next((i for i, _, _ in self._extensions if word & i.mask == i.match), None)
        if own is not None:
            text = own.mnemonic
        if cause == ILLEGAL and own is not None:
            return f"illegal instruction {text} at {where}: its behaviour ({own.where}) raises this"
        if cause == ILLEGAL:
            claimed = self.coprocessor.major_opcode if self.coprocessor else None
            return f"illegal instruction {text} at {where}: {illegal_hint(word, claimed)}"
        if cause in (5, 7) and self._coprocessor_fault is not None:
            fault, self._coprocessor_fault = self._coprocessor_fault, None
            action = "writes" if fault.write else "reads"
            return (
                f"{what}: the coprocessor's command at {self.program.where(fault.pc)} {action} {fault.size} bytes at "
                f"{fault.address:#010x}, outside memory; reported by {text} at {where}; {memory_hint(self.regions)}"
            )
        if cause in (1, 5, 7):
            return f"{what} at address {tval:#010x}: {text} at {where}; {memory_hint(self.regions)}"
        if cause in (0, 4, 6):
            return (
                f"{what}: {text} at {where}, address {tval:#010x}; core {self.timing.name} traps it and the "
                f"program has no trap handler (mtvec is {self.csrs.mtvec})"
            )
        if cause == BREAKPOINT:
            return f"breakpoint ({text}) at {where}, and no debugger; an assertion or abort of the program?"
        return f"{what} at {where} ({text}), and the program has no trap handler (mtvec is {self.csrs.mtvec})"

    # ------------------------------------------------------------ results
    def _result(self, stop: StopReason, exit_code: int | None, message: str | None) -> RunResult:
        hart, fetch_and_access = self._hart, self._hart.traffic()
        rows = hart.profile()
        classes: dict[str, int] = defaultdict(int)
        for _, number, _, executions, _ in rows:
            if executions:
                classes[self._classes[number]] += executions
        cycles = hart.cycles
        report = None
        if self.coprocessor is not None:
            report = msgspec.convert(
                _known_fields(self.coprocessor.report(cycles), AcceleratorReport), AcceleratorReport
            )
        traffic, symbols = self._traffic(*fetch_and_access)
        return RunResult(
            program=self.program.path,
            core=self.timing.name,
            clock_mhz=self.timing.clock_mhz,
            accel=self.coprocessor.name if self.coprocessor else "off",
            exit_code=exit_code,
            stop_reason=stop,
            message=message,
            instructions=hart.instructions,
            cycles=cycles,
            taken_branches=hart.taken_branches,
            classes=dict(sorted(classes.items())),
            traffic=traffic,
            symbols=symbols,
            functions=self._functions(rows),
            accelerator=report,
            host_seconds=self._seconds,
        )

    def _traffic(self, fetch: list, accesses: list) -> tuple[dict[str, Traffic], list[SymbolTraffic]]:
        loads = [[0, 0] for _ in self.regions]
        stores = [[0, 0] for _ in self.regions]
        symbols = []
        for interval, (load_count, load_bytes, store_count, store_bytes) in zip(self._intervals, accesses, strict=True):
            if not load_count and not store_count:
                continue
            for sums, values in ((loads, (load_count, load_bytes)), (stores, (store_count, store_bytes))):
                sums[interval.region][0] += values[0]
                sums[interval.region][1] += values[1]
            symbols.append(
                SymbolTraffic(
                    name=interval.name,
                    region=self.regions[interval.region].name,
                    address=interval.low,
                    size=interval.last - interval.low + 1,
                    load=Count(count=load_count, bytes=load_bytes),
                    store=Count(count=store_count, bytes=store_bytes),
                )
            )
        traffic = {
            region.name: Traffic(
                fetch=Count(count=fetch[n][0], bytes=fetch[n][1]),
                load=Count(count=loads[n][0], bytes=loads[n][1]),
                store=Count(count=stores[n][0], bytes=stores[n][1]),
            )
            for n, region in enumerate(self.regions)
        }
        symbols.sort(key=lambda s: -(s.load.bytes + s.store.bytes))
        return traffic, symbols

    def _functions(self, rows: list) -> list[FunctionProfile]:
        functions = self.program.functions
        starts = [f.address for f in functions]
        totals: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        stalls = [(pc, 0, cycles) for pc, cycles in self._stalls.items() if cycles]
        for pc, executions, cycles in [(pc, n, cycles) for pc, _, _, n, cycles in rows] + stalls:
            n = bisect_right(starts, pc) - 1
            if n >= 0 and pc >= functions[n].end:
                n = -1
            totals[n][0] += executions
            totals[n][1] += cycles
        profiles = [
            FunctionProfile(
                name=functions[n].name, address=functions[n].address, size=functions[n].size, instructions=i, cycles=c
            )
            if n >= 0
            else FunctionProfile(name="(no function)", address=0, size=0, instructions=i, cycles=c)
            for n, (i, c) in totals.items()
        ]
        return sorted(profiles, key=lambda p: -p.cycles)

    # ------------------------------------------------------------ memory and tensors for the user
    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of guest memory, not counted as traffic.

        Raises
        ------
        UsageError
            When the range leaves memory.
        """
        data = self._hart.peek(address & 0xFFFF_FFFF, size) if 0 <= address < 1 << 32 else None
        if data is None:
            raise UsageError(f"{size} bytes at {address:#010x} are outside memory; {memory_hint(self.regions)}")
        return data

    def write_memory(self, address: int, data: bytes) -> None:
        """Write guest memory, not counted as traffic; see `read_memory`."""
        if not 0 <= address < 1 << 32 or not self._hart.poke(address, bytes(data)):
            raise UsageError(f"{len(data)} bytes at {address:#010x} are outside memory; {memory_hint(self.regions)}")

    @property
    def registers(self) -> tuple[int, ...]:
        """x0 to x31, unsigned."""
        return tuple(self._hart.register(n) for n in range(32))

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return self._hart.pc

    def _tensor(self, which: str) -> tuple[Tensor, int]:
        tensor = getattr(self.program.io, which) if self.program.io else None
        if tensor is None:
            raise UsageError(
                f"{self.program.path}: expected a section .rvsim.io that names the {which} tensor; found none "
                f"(rvsim compile makes one)"
            )
        symbol = self.program.symbol(tensor.symbol)
        if symbol is None:
            raise ElfError(
                f"{self.program.path}: .rvsim.io names the {which} {tensor.symbol}, the program has no such "
                f"symbol (was it stripped?)"
            )
        return tensor, symbol.address

    def write_input(self, array: np.ndarray) -> None:
        """Write the program's input tensor before the run.

        Parameters
        ----------
        array : ndarray
            Of the dtype and shape that the program states; leading axes of length 1 may be left out or added.

        Raises
        ------
        InputFileError
            When dtype or shape differ.
        """
        import numpy as np

        tensor, address = self._tensor("input")
        array = np.asarray(array)
        if array.dtype != np.dtype(tensor.dtype) or _squeezed(array.shape) != _squeezed(tensor.shape):
            raise InputFileError(
                f"input of {self.program.path}: expected {tensor.dtype} of shape {tuple(tensor.shape)}, "
                f"found {array.dtype} of shape {array.shape}"
            )
        self.write_memory(
            address, np.ascontiguousarray(array).astype(np.dtype(tensor.dtype).newbyteorder("<")).tobytes()
        )

    def read_output(self) -> np.ndarray:
        """The program's output tensor, of the dtype and shape that the program states."""
        import numpy as np

        tensor, address = self._tensor("output")
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        count = 1
        for size in tensor.shape:
            count *= size
        return (
            np.frombuffer(self.read_memory(address, count * dtype.itemsize), dtype)
            .reshape(tensor.shape)
            .astype(tensor.dtype)
        )

    def __repr__(self) -> str:
        accel = self.coprocessor.name if self.coprocessor else "off"
        return (
            f"<Machine {self.program.name}, core {self.timing.name}, accel {accel}, pc {self.pc:#010x}, "
            f"{self._hart.instructions} instructions retired>"
        )


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without its leading axes of length 1."""
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)


def _known_fields(report: dict[str, Any], type_: type) -> dict[str, Any]:
    names_ = {f.name for f in msgspec.structs.fields(type_)}
    return {key: value for key, value in report.items() if key in names_}


def _split_settings(settings: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Settings for the core and for the coprocessor, without their prefix."""
    parts: dict[str, dict[str, str]] = {"core": {}, "accel": {}}
    for key, value in settings.items():
        prefix, dot, rest = key.partition(".")
        if prefix not in parts or not dot or not rest:
            raise UsageError(f"--set: expected core.KEY=VALUE or accel.KEY=VALUE, found {key}={value}")
        parts[prefix][rest] = value
    return parts["core"], parts["accel"]
