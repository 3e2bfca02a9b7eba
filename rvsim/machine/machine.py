"""A simulated microcontroller: one hart, memory, devices, perhaps a coprocessor; load, run, read the result."""

from __future__ import annotations

import os
import time

from rvsim.errors import ElfError, UsageError
from rvsim.isa.bundle import bundled, summaries
from rvsim.isa.select import DEFAULT, Selection, missing, select, warning
from rvsim.machine import events, memory, platform, snapshot
from rvsim.machine._hart import GuestTrap, Hart
from rvsim.machine.clint import Clint
from rvsim.machine.console import Console
from rvsim.machine.costs import describe_all, hart_costs, instruction_kinds
from rvsim.machine.csr import INTERRUPT_CSRS, CsrFile
from rvsim.machine.device import DeviceFault
from rvsim.machine.elf import Program, load_elf
from rvsim.machine.hostcall import Clock, Exit, HostCalls
from rvsim.machine.hostfs import HostFiles
from rvsim.machine.report import build_result
from rvsim.machine.semihosting import Semihosting
from rvsim.machine.settings import split_settings
from rvsim.machine.stop import Stop
from rvsim.timing import load_core_timing

# What a run may do without is imported where it is used: start-up counts (docs/engine.md, "Start-up").
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    import numpy as np

    from accel.protocol import AccessFault, Coprocessor
    from rvsim.isa.ir import Instruction, Isa
    from rvsim.machine.caches import Caches
    from rvsim.machine.coprocessor import Attached
    from rvsim.machine.counted import Cost, Moment, Raw, Stepped
    from rvsim.machine.device import Device
    from rvsim.machine.extension import Context, Routines
    from rvsim.machine.htif import Htif
    from rvsim.machine.result import LineProfile, RunResult, StopReason
    from rvsim.machine.snapshot import Checkpoint
    from rvsim.machine.timed import Timed
    from rvsim.timing.platform import Platform

SP = 2
ECALL, BREAKPOINT, ILLEGAL = 11, 3, 2
NO_LIMIT = 1 << 62
MOST_EXTRA = 1000
"""Cycles of an added instruction beyond those of its class, at most."""
ENGINES = ("auto", "interp", "jit")
TIMINGS = ("auto", "table", "exact", "fast")
NEVER = 1 << 62
STEPPED = 1_000_000
"""First instructions of a fast run, whose cycles are exact: where a program is short, averages say little."""
WATCH_KINDS = {"r": 4, "w": 2, "rw": 6}
_STOP_REASONS: dict[int, StopReason] = {
    1: "access-fault",
    2: "illegal-instruction",
    3: "breakpoint",
    5: "access-fault",
    7: "access-fault",
}


class Machine:
    """One hart with a program in its memory; make it with `Machine.from_elf`.

    A machine runs its program once: `run` may be called again after an instruction limit and goes on from there;
    `reset` and `rollback` go back.

    Parameters
    ----------
    program : Program
    args : sequence of str
        The guest's command line behind the program's name.
    core : str
        Name of a core's timing table, or a TOML file.
    accel : str or Coprocessor
        ``off``, ``on``, a coprocessor's name, a TOML file, ``FILE.py`` or ``FILE.py:Class``; or an object of one's own.
    icache, dcache : str, optional
        A cache of the core, ``SIZE,WAYS,LINE_BYTES`` and words (docs/caches.md), such as ``16K,4,32,plru``; ``off``.
    platform : str, optional
        Memory regions, clock and devices: a bundled platform's name, or a TOML file (docs/platforms.md).
    settings : mapping of str to str
        Configuration keys to replace: ``accel.pe_rows``, ``core.clock_mhz``, ``platform.region.ram.load_wait``.
    isa_ext : sequence of str
        CoreDSL files whose instructions are added.
    isa : str
        The instruction set, such as ``rv32imac_zba_zbb_zbs_zcb``.
    devices : sequence of str
        Devices to add or move, ``NAME[=ADDRESS]``; ``none`` for a machine without.
    host_dir : str, optional
        The one folder whose files the guest reaches.
    memory : sequence of str
        Regions to add, ``NAME=ADDRESS,SIZE_KIB``.
    stdout, stderr : callable, optional
        Take the bytes that the guest writes; the process's own streams by default.
    stdin : callable, optional
        Gives at most n bytes of the guest's standard input.
    memory_limit : int
        Bytes of guest memory that the regions together may have.
    engine : str, optional
        What executes the instructions, ``interp``, ``jit`` or ``auto``: compiled code where the host allows it;
        the environment's RVSIM_ENGINE, or ``auto``, by default. It changes host time alone.
    timing : str
        Where cycles come from: ``table``, a number of cycles for each class of instructions, ``exact``, the core's
        pipeline, ``fast``, the same pipeline over what the run counted, or ``auto``: exact with a platform, for a
        core that has an exact model.

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
        accel: str | Coprocessor = "off",
        isa: str = DEFAULT,
        platform: str | None = None,
        icache: str | None = None,
        dcache: str | None = None,
        settings: Mapping[str, str] | None = None,
        isa_ext: Sequence[str] = (),
        memory: Sequence[str] = (),
        devices: Sequence[str] = (),
        host_dir: str | None = None,
        stdout: Callable[[bytes], object] | None = None,
        stderr: Callable[[bytes], object] | None = None,
        stdin: Callable[[int], bytes] | None = None,
        memory_limit: int = memory.DEFAULT_LIMIT,
        engine: str | None = None,
        timing: str = "auto",
    ) -> None:
        settings = dict(settings or {})
        if icache is not None or dcache is not None:
            from rvsim.timing.cache import cache_settings

            settings = {**cache_settings("icache", icache), **cache_settings("dcache", dcache), **settings}
        of_core, of_accel, of_platform = split_settings(settings)
        self.options: dict[str, Any] = {
            "args": list(args),
            "core": str(core),
            "accel": os.fspath(accel) if isinstance(accel, (str, os.PathLike)) else snapshot.OBJECT,
            "isa": isa,
            "platform": None if platform is None else str(platform),
            "settings": {key: str(value) for key, value in settings.items()},
            "isa_ext": [str(file) for file in isa_ext],
            "memory": list(memory),
            "devices": list(devices),
            "host_dir": None if host_dir is None else os.fspath(host_dir),
            "memory_limit": memory_limit,
            "timing": timing,
        }
        self.program = program
        self.timing = load_core_timing(core, of_core)
        self.platform = _platform(platform, of_platform)
        if self.platform and self.platform.clock_mhz is not None and "clock_mhz" not in of_core:
            self.timing = self.timing.replace(clock_mhz=self.platform.clock_mhz)
        self.coprocessor = _coprocessor(accel, of_accel)
        self.attached: Attached | None = None
        self.selection: Selection = select(isa)
        lacking = warning(missing(program.arch, program.flags, self.selection), self.selection)
        self.warnings: list[str] = [*program.notes, *([lacking] if lacking else [])]
        self._extensions: list[tuple[Instruction, Isa, str]] = []
        if self.coprocessor is not None or isa_ext:
            from rvsim.machine import extension

            self._extensions, warnings = extension.added_instructions(self.coprocessor, isa_ext)
            self.warnings += warnings
        self.timing_model = self._choose_timing(timing)
        if self.timing_model == "table" and self.platform and self.platform.waits(self.timing.name):
            self.warnings.append(
                f"the table of core {self.timing.name} is of memory without wait states: those of platform "
                f"{self.platform.name} are not in the cycles (--timing exact, with a core that has an exact model)"
            )
        self.classes = [i.class_ for i in summaries("rv32")] + [c for _, _, c in self._extensions]
        self.extra = self._extra_cycles()
        alignment = 2 if self.selection.compressed else 4
        costs = self.timing if self.timing_model == "table" else self.timing.without_cycles()
        self.hart = Hart(self, instruction_kinds(self.selection, costs), hart_costs(costs), alignment)
        self.timed: Timed | None = None
        self.stepped: Stepped | None = None
        if self.timing_model != "table":
            from rvsim.machine.timed import Timed

            self.timed = Timed(self.hart, self.timing, self.described, self.platform, program.entry, self.extra)
        self.caches: Caches | None = None
        if self.timing.icache or self.timing.dcache:
            from rvsim.machine.caches import Caches

            self.caches = Caches(self.hart, self.timing)
        self._wanted_engine = engine or os.environ.get("RVSIM_ENGINE") or "auto"
        self.engine = self._choose_engine(self._wanted_engine)
        self._choose_loops(self._wanted_engine)
        self.console = Console(stdout, stderr, stdin)
        self.files = HostFiles(host_dir)
        self._map(memory, devices, memory_limit)
        self.csrs = CsrFile(
            self.hart,
            self.selection.misa,
            capability=self.coprocessor.capability if self.coprocessor else None,
            lines=self._lines,
            events=events.counters(self),
            time=self._time(),
            protect=self.hart.protect,
            alignment=alignment,
        )
        self.context = self._add_instructions()
        self.stalls: dict[int, int] = {}
        self.trapped: dict[int, tuple[int, int]] = {}  # by address: traps before the instruction retired, their cycles
        self.keep_counts = True  # in results, for RunResult.retime
        self.breakpoints: set[int] = set()
        self._watchpoints: list[tuple[int, int, int]] = []
        self.hosts = {"ecall": self._host, "semihosting": self._semihosting, "htif": self._htif}
        # As they are now: a snapshot is of this machine, whatever becomes of the files.
        self.sources = snapshot.sources(self.options)
        self._start()
        self._origin = snapshot.state_of(self)

    @property
    def described(self) -> list[tuple[Instruction, str]]:
        """All instructions by number, each with its class; those added at run time are the last ones."""
        return describe_all(self.classes, self.added)

    @property
    def added(self) -> list[Instruction]:
        """Instructions added at run time."""
        return [i for i, _, _ in self._extensions]

    @property
    def isa(self) -> Isa:
        """All instructions of the base set, with their behaviours; some of them may not be selected."""
        return bundled("rv32")

    @classmethod
    def from_elf(cls, program: str | os.PathLike[str] | Program, **options: Any) -> Machine:
        """Load an ELF file; the options are those of the class."""
        limit = options.get("memory_limit", memory.DEFAULT_LIMIT)
        return cls(program if isinstance(program, Program) else load_elf(program, max_memory=limit), **options)

    # ------------------------------------------------------------ construction
    def _choose_engine(self, name: str) -> str:
        """Have blocks compiled if that is asked for and possible: what will execute instructions."""
        if self.timed is not None:
            return "interpreter"
        if name not in ENGINES:
            raise UsageError(f"engine: expected {', '.join(ENGINES)}, found {name!r}")
        how = os.environ.get("RVSIM_JIT", "")
        if name == "interp":
            return "interpreter"
        # RVSIM_JIT=PERIOD,ENTRIES,KIB: tests have everything compiled at once, or little memory for it.
        numbers = how.split(",") if how not in ("", "0") else ["0", "0"]
        if not 2 <= len(numbers) <= 3 or not all(n.isascii() and n.isdecimal() and len(n) < 10 for n in numbers):
            raise UsageError(f"RVSIM_JIT: expected 0 or PERIOD,ENTRIES[,KIB], found {how!r}")
        if len(numbers) == 3 and not 512 <= int(numbers[2]) <= 1 << 18:
            raise UsageError(f"RVSIM_JIT: expected from 512 to 262144 KiB of code, found {how!r}")
        if how == "0" or not self.hart.use_jit(*(int(n) for n in how.split(",") if how)):
            if how != "0" or name == "jit":
                why = "RVSIM_JIT=0" if how == "0" else "this processor or system"
                self.warnings.append(f"{why} rules out compiled code: the interpreter runs, with the same counts")
            return "interpreter"
        return "jit"

    def _choose_timing(self, name: str) -> str:
        """Where cycles come from: ``table``, ``exact`` or ``fast``."""
        if name not in TIMINGS:
            raise UsageError(f"--timing: expected {', '.join(TIMINGS)}, found {name!r}")
        cached = self.timing.icache or self.timing.dcache
        if name == "auto":
            return "exact" if self.platform and self.timing.model and not cached else "table"
        if name in ("exact", "fast") and cached:
            raise UsageError(
                f"--timing {name}: no exact model takes [icache] or [dcache] tables; put caches in front of a "
                "platform's memories ([cache.NAME], docs/platforms.md), or choose table"
            )
        if name == "fast":
            from rvsim.machine.counted import uncounted
            from rvsim.machine.timed import make_pipeline

            pipeline, _ = make_pipeline(self.timing, self.platform, self.program.entry)
            why = uncounted(pipeline, self.timing, self.platform, self.hardware_loops)
            if why:
                self.warnings.append(f"--timing fast: {why} what counts do not say: the whole run is stepped, as exact")
                return "exact"
        return name

    def _choose_loops(self, engine: str) -> None:
        """Have counted loops compiled, unless the plain interpreter is asked for."""
        how = os.environ.get("RVSIM_LOOPS", "")
        if how not in ("", "0", "1", "wait"):
            raise UsageError(f"RVSIM_LOOPS: expected 0, 1 or wait, found {how!r}")
        if how != "0" and (how or engine != "interp") and self.timed is None:
            self.hart.use_loops(how == "wait")

    def _add_instructions(self) -> Context | None:
        """Have the hart execute added instructions; what their behaviours act on."""
        self.routines: Routines | None = None
        calls: dict[str, Callable[..., int | None]] = {"fence_i": self.hart.fence_i}
        if self.coprocessor is not None:
            from rvsim.machine.coprocessor import Attached

            self.attached = Attached(self.coprocessor, self)
            calls["coprocessor_issue"] = self.attached.issue
        if not self._extensions:
            return None
        from rvsim.machine import extension

        alignment = 2 if self.selection.compressed else 4
        isas = [isa for _, isa, _ in self._extensions]
        context = extension.Context(self.hart, self.csrs, isas, calls, alignment)
        if self.coprocessor is not None:
            for number, (file, index) in self.coprocessor.csrs.items():
                self.csrs.show(number, context.reader(file, index))
        self.routines = extension.Routines(self.hart, self.added, context.own, context.ends)
        for n, (instruction, isa, class_) in enumerate(self._extensions, len(self.classes) - len(isas)):
            cost = 0 if self.timed is not None else self.timing.cycles[class_] + self.extra.get(n, 0)
            loops = extension.sets_end(instruction, isa)
            self.hart.add_custom(
                instruction.mask,
                instruction.match,
                instruction.size,
                loops or extension.ends_block(instruction),
                not loops and extension.only_computes(instruction),
                extension.most_accesses(instruction),
                cost,
                class_ == "branch",
            )
        return context

    @property
    def hardware_loops(self) -> bool:
        """Whether added instructions bring hardware loops."""
        return any(isa.loops for _, isa, _ in self._extensions)

    @property
    def looped(self) -> bool:
        """Whether a hardware loop has been set up so far: an instruction that sets an end has retired."""
        if not self.hardware_loops:
            return False
        from rvsim.machine.extension import sets_end

        counts = self.hart.instruction_counts()[len(self.classes) - len(self._extensions) :]
        return any(n and sets_end(i, isa) for n, (i, isa, _) in zip(counts, self._extensions, strict=True))

    def _extra_cycles(self) -> dict[int, int]:
        """By number of an instruction of the coprocessor: cycles beyond those of its class."""
        if self.coprocessor is None:
            return {}
        extra = {}
        first = len(self.classes) - len(self._extensions)
        own = len(self.coprocessor.isa().instructions)
        for n, (instruction, _, _) in enumerate(self._extensions[:own], first):
            cycles = self.coprocessor.latency(instruction.name)
            if type(cycles) is not int or not 0 <= cycles <= MOST_EXTRA:
                raise UsageError(
                    f"{self.coprocessor.name}: latency of {instruction.name}: expected 0 to {MOST_EXTRA} cycles beyond "
                    f"those of its class, found {cycles!r}"
                )
            if cycles:
                extra[n] = cycles
        return extra

    def _map(self, options: Sequence[str], devices: Sequence[str], limit: int) -> None:
        """Lay out memory, then devices where it leaves room, then the intervals that accesses are counted by."""
        self.regions = memory.layout(self.program, [memory.parse_memory(o) for o in options], limit, self.platform)
        home = memory.home(self.regions, self.program, self.platform)
        self.stack_top, self._stack_room = home.end, home.size // 4
        self.devices: list[Device] = platform.devices(
            self, self.console, [(r.base, r.end) for r in self.regions], devices, self.platform
        )
        for region in self.regions:
            # Traffic is reported by name.
            if any(region.name == device.name for device in self.devices):
                raise UsageError(
                    f"memory region {region.name}: a device of this machine has the name; give it another one"
                )
        registers = [memory.Region(d.name, d.base, d.size, memory.DEVICE_ACCESS) for d in self.devices]
        self.address_map = sorted([*self.regions, *registers], key=lambda r: r.base)
        self.intervals = memory.intervals(self.address_map, self.program, self.stack_top)
        tohost, fromhost = (self.program.symbol(name) for name in ("tohost", "fromhost"))
        hook = (tohost.address, tohost.address + 7) if tohost else None
        if hook:
            self.intervals = memory.cut(self.intervals, *hook, "tohost")
        self.hart.map(
            [(r.base, r.size, r.permissions) for r in self.address_map],
            [(i.low, i.last, i.region, hook is not None and hook[0] <= i.low <= hook[1]) for i in self.intervals],
            self.address_map.index(home),
        )
        end = max(
            (s.end for s in self.program.segments if s.writable),
            default=max((s.end for s in self.program.segments), default=home.base),
        )
        start = (end + 15) & ~15
        region = next((r for r in self.regions if r.base <= end <= r.end), home)
        # The upper quarter of the RAM is left to the stack.
        top = region.end - self._stack_room if region.base <= self.stack_top - 1 < region.end else region.end
        heap = (start, max(start, top))
        clock = Clock(lambda: self.cycles, self.timing.clock_mhz)
        self._host = HostCalls(
            self.hart,
            heap,
            console=self.console,
            files=self.files,
            clock=clock,
        )
        self._semihosting = Semihosting(
            self.hart,
            self.console,
            self.files,
            clock=clock,
            command_line=[os.fsencode(a) for a in (self.program.name, *self.options["args"])],
            heap=heap,
            stack=(self.stack_top, self.stack_top - self._stack_room),
        )
        self._htif: Htif | None = None
        if tohost:
            from rvsim.machine.htif import Htif

            self._htif = Htif(tohost.address, fromhost.address if fromhost else None, self._host)

    def _start(self) -> None:
        """Stand before the first instruction."""
        self._load()
        self.hart.pc = self.program.entry
        self._seconds = 0.0
        self._stop = Stop("limit", self.program.entry)
        self.coprocessor_fault: AccessFault | None = None
        self._trapped_at = -1

    def _load(self) -> None:
        """Fill memory, and the stack pointer."""
        for segment in self.program.segments:
            if segment.data and not self.hart.poke(segment.address, segment.data):
                raise ElfError(f"{self.program.path}: the segment at {segment.address:#010x} does not fit into memory")
        self._stack(self.options["args"])

    def _stack(self, args: Sequence[str]) -> None:
        """Lay out argc, argv, envp and an empty auxiliary vector at the top of the RAM, as Linux does."""
        strings = [os.fsencode(a) + b"\0" for a in (self.program.name, *args)]
        at = self.stack_top - sum(map(len, strings))
        size = self.stack_top - at + 4 * (len(strings) + 5)
        if size > self._stack_room:
            raise UsageError(f"the guest's arguments take {size} bytes, at most {self._stack_room} fit")
        taken = next(
            (s for s in self.program.segments if s.address < self.stack_top and s.end > self.stack_top - size), None
        )
        if taken is not None:
            # A program that keeps the end of its memory for itself knows where its stack is.
            if args:
                raise UsageError(
                    f"the guest's arguments take {size} bytes below {self.stack_top:#010x}, where the program is"
                )
            self.hart.set_register(SP, self.stack_top & 0xFFFF_FFFF)
            return
        pointers = []
        for text in strings:
            pointers.append(at)
            self.hart.poke(at, text)
            at += len(text)
        words = [len(pointers), *pointers, 0, 0, 0, 0]
        top = (pointers[0] - 4 * len(words)) & ~15
        self.hart.poke(top, b"".join(w.to_bytes(4, "little") for w in words))
        self.hart.set_register(SP, top)

    # ------------------------------------------------------------ services of the hart (called by _hart.pyx)
    def csr_read(self, number: int) -> int:
        return self.csrs.read(number)

    def csr_write(self, number: int, value: int) -> None:
        self.csrs.write(number, value)
        if number in INTERRUPT_CSRS:
            self.hart.attention()

    def write_csr(self, number: int, value: int) -> None:
        """Set a CSR as a debugger does.

        Raises
        ------
        UsageError
            There is none, or it is read-only.
        """
        try:
            self.csrs.assign(number, value & 0xFFFF_FFFF)
        except GuestTrap:
            from rvsim.isa import names

            name = names.CSRS.get(number, f"{number:#x}")
            raise UsageError(f"CSR {name} does not exist on this hart or is read-only") from None
        self.hart.attention()

    def trap_return(self) -> int:
        return self.csrs.leave_trap()

    def destination(self, number: int, word: int) -> int:
        """The X register that a word writes, for the commit log."""
        from rvsim.machine import commits

        instructions = self.isa.instructions
        own = number - len(instructions)
        return commits.destination(instructions[number] if own < 0 else self._extensions[own][0], word)

    def written_csrs(self, number: int, value: int) -> list[tuple[bytes, int, int]]:
        from rvsim.machine import commits

        return commits.written_csrs(self.csrs, number, value)

    def trap_return_csrs(self) -> list[tuple[bytes, int, int]]:
        from rvsim.machine import commits

        return commits.trap_return_csrs(self.csrs)

    def operation(self, number: int, word: int, following: int) -> bytes:
        """What the pipeline sees of an instruction word."""
        assert self.timed is not None
        return self.timed.operation(number, word, following)

    def attend(self) -> int:
        """Take an interrupt if one is due; the cycles until the next may be."""
        cause = self.csrs.interrupt
        if cause is not None:
            self._enter_trap(1, cause, 0, self.hart.pc)
        if not self.csrs.interrupts_enabled:
            return NEVER
        deadline = self._deadline()
        return NEVER if deadline is None else deadline - self.hart.cycles

    def _enter_trap(self, irq: int, cause: int, tval: int, pc: int) -> None:
        self.hart.traps += 1
        self.hart.forget_reservation()
        self.hart.pc = self.csrs.enter_trap(irq, cause, tval, pc)
        # A pipeline says itself what the trap's cycles were lost to.
        cycles = self.timing.trap_cycles if self.timed is None else self.hart.redirected(pc, self.hart.pc)
        times, before = self.trapped.get(pc, (0, 0))
        self.trapped[pc] = times + 1, before + cycles

    def _stall(self, pc: int, cycles: int, cause: str = "other") -> None:
        """Attribute cycles that the hart stood still to an instruction."""
        self.stalls[pc] = self.stalls.get(pc, 0) + cycles
        if self.timing_model != "table" and cycles:
            from rvsim.machine.timed import lose

            lose(self.hart, pc, cause, cycles)

    def _deadline(self) -> int | None:
        """The next cycle at which a device changes an enabled interrupt by itself."""
        mie = self.csrs.mie
        return min(
            (d for each in self.devices if each.timed & mie and (d := each.deadline()) is not None), default=None
        )

    def _lines(self) -> int:
        bits = 0
        for device in self.devices:
            bits |= device.pending()
        return bits

    def _time(self) -> Callable[[], int] | None:
        """What the CSR time reads: the timer's mtime where there is one."""
        clint = next((device for device in self.devices if isinstance(device, Clint)), None)
        return (lambda: clint.mtime) if clint else None

    def _device(self, address: int) -> Device:
        return next(d for d in self.devices if d.base <= address < d.base + d.size)

    def device_load(self, address: int, size: int) -> int:
        device = self._device(address)
        try:
            return device.read(address - device.base, size) & 0xFFFF_FFFF
        except DeviceFault:
            raise GuestTrap(0, 5, address) from None

    def device_store(self, address: int, size: int, value: int) -> None:
        device = self._device(address)
        try:
            device.write(address - device.base, size, value & (1 << 8 * size) - 1)
        except DeviceFault:
            raise GuestTrap(0, 7, address) from None

    def hooked_store(self, address: int) -> None:
        assert self._htif is not None
        self._htif.store(self.hart)

    # The bus of a device (rvsim.machine.device.Bus).
    @property
    def cycles(self) -> int:
        """Cycles so far; within an access to a device, those before that instruction."""
        return int(self.hart.cycles)

    def stamp(self) -> tuple[int, int]:
        """Cycles and instructions so far; within an access to a device, those before that instruction.

        With exact cycles, the first is the cycle in which the bus sees the access.
        """
        instructions = int(self.hart.instructions)
        return int(self.hart.stamp()), instructions

    def moment(self) -> Moment:
        """What was counted so far, within an access to a device that instruction included."""
        from rvsim.machine.counted import Moment

        exact = self.hart.stamp() if self.timed is not None else None
        return Moment(self.control_flow(True), self.hart.stands, exact)

    def spans(self) -> list[tuple[Moment, Moment]]:
        """Begin and end of each region of interest, those of which both were kept."""
        return [span for device in self.devices for span in device.spans()]

    def attention(self) -> None:
        """An interrupt line or deadline has changed."""
        self.hart.attention()

    def custom(self, index: int, word: int, pc: int) -> int | None:
        """Execute an added instruction's word; the address to go on at when it is not the next one."""
        assert self.context is not None
        return self.context.execute(self._extensions[index][0], word, pc)

    def routine(self, index: int, word: int, pc: int) -> int:
        """The routine of an added instruction's word, -1 without one."""
        assert self.routines is not None
        return self.routines.number(index, word, pc)

    def wait_for_coprocessor(self, pc: int, cycles: int) -> None:
        """Have the hart stand still at an instruction."""
        self.hart.stall_cycles += cycles
        self._stall(pc, cycles, "coprocessor")

    # ------------------------------------------------------------ running
    def run(self, max_instructions: int | None = None) -> RunResult:
        """Run until the program ends, fails, or has retired `max_instructions`.

        Returns
        -------
        RunResult
        """
        if self._stop.reason == "exit":
            raise UsageError(f"{self.program.path} has ended; make another Machine to run it again")
        self.resume(max_instructions)
        return self.result()

    @property
    def stop(self) -> Stop:
        """Why the machine stands where it does."""
        return self._stop

    def result(self) -> RunResult:
        """Everything counted so far."""
        stop = self._stop
        reason: Any = stop.reason if stop.reason not in ("step", "watchpoint") else "breakpoint"
        return build_result(self, reason, stop.exit_code, stop.message, self._seconds)

    def resume(self, limit: int | None = None, *, step: bool = False) -> Stop:
        """Go on until something happens.

        Parameters
        ----------
        limit : int, optional
            Instructions that may retire.
        step : bool
            Stop behind one instruction, or at the handler of a trap that it raises.

        Returns
        -------
        Stop
        """
        if self._stop.reason == "exit":
            return self._stop
        started = time.perf_counter()
        try:
            self._stop = self._run(1 if step else NO_LIMIT if limit is None else limit, step)
        except Exit as ending:
            self._stop = Stop("exit", self.hart.pc, ending.code)
        except KeyboardInterrupt:  # in a behaviour, an access or a call that Python serves
            self._stop = self._interrupted()
        finally:
            self._seconds += time.perf_counter() - started
            self.hart.flush_log()
            self.hart.flush_view()
        return self._stop

    def _run(self, limit: int, step: bool) -> Stop:
        hart = self.hart
        first, resumed = hart.instructions, True
        while True:
            most = limit - (hart.instructions - first)
            if self.timing_model == "fast" and self.timed is not None:
                most = min(most, STEPPED - hart.instructions)
                if most <= 0 and limit > hart.instructions - first:
                    self._count_from_here()
                    continue
            event = hart.run(most, resumed)
            resumed = False
            if event[0] == "limit" and hart.instructions - first < limit:
                continue
            if event[0] == "limit":
                if step:
                    return Stop("step", hart.pc)
                where = self.program.where(hart.pc)
                return Stop(
                    "limit",
                    hart.pc,
                    message=f"stopped at the limit of {limit} instructions, at {where}; raise --max-instructions to go "
                    "on",
                )
            if event[0] == "interrupted":
                return self._interrupted()
            if event[0] == "breakpoint":
                return Stop("breakpoint", hart.pc)
            if event[0] == "watchpoint":
                return Stop("watchpoint", hart.pc, address=event[1], access="w" if event[2] else "r")
            if event[0] == "wait":
                stop = self._wait()
            else:
                stop = self._trap(*event[1:])
            if stop is not None or step:
                return stop or Stop("step", hart.pc)

    def _count_from_here(self) -> None:
        """Of a fast run: the first instructions have been stepped, the others are counted at full speed."""
        from rvsim.machine.counted import Stepped

        self.stepped = Stepped(self)
        self.hart.drop_pipeline()
        self.timed = None
        kinds = instruction_kinds(self.selection, self.timing)
        self.hart.set_costs([kind[0] for kind in kinds], hart_costs(self.timing))
        self.engine = self._choose_engine(self._wanted_engine)
        self._choose_loops(self._wanted_engine)

    def _trap(self, pc: int, irq: int, cause: int, tval: int) -> Stop | None:
        """Serve what the host serves, enter the guest's handler, or say why the run ends here."""
        hart, csrs = self.hart, self.csrs
        if cause == ECALL and not irq and csrs.mtvec == 0:
            self._serve(self._host)
            return None
        if cause == BREAKPOINT and not irq:
            if self._semihosting.matches(hart.peek, pc):
                self._serve(self._semihosting)
                return None
            tval = pc
        # A handler whose first instruction traps would come back to itself for ever.
        stuck = hart.instructions == self._trapped_at
        if csrs.mtvec & ~3 and not stuck:
            self._trapped_at = hart.instructions
            self.coprocessor_fault = None
            self._enter_trap(irq, cause, tval, pc)
            return None
        from rvsim.machine.diagnosis import explain

        message = explain(self, pc, cause, tval, self.coprocessor_fault)
        self.coprocessor_fault = None
        if stuck:
            message += "; this is the first instruction of the trap handler that mtvec names"
        return Stop(_STOP_REASONS.get(cause, "trap"), pc, message=message)

    def _serve(self, host: HostCalls | Semihosting) -> None:
        """Do what the program asks for; the instruction retires with it.

        Ctrl-C leaves the instruction to be done again: nothing has been read, and nothing will be printed twice.
        """
        before = self.console.state()
        try:
            host.serve()
        except KeyboardInterrupt:
            try:
                self.console.restore(before)
            except UsageError:  # the input has been read all the same, a moment before
                pass
            raise
        except Exit:
            self.hart.complete()
            raise
        self.hart.complete()

    def _wait(self) -> Stop | None:
        """Behind a wfi: let time pass up to the next interrupt that is enabled; None when the program goes on."""
        pc = self.hart.pc - 4
        if self._lines() & self.csrs.mie:
            return None
        deadline = self._deadline()
        if deadline is not None:
            idle = max(0, deadline - self.hart.cycles)
            self.hart.stall_cycles += idle
            self._stall(pc, idle)
            return None
        return Stop(
            "trap",
            self.hart.pc,
            message=f"wfi at {self.program.where(pc)}: no enabled interrupt can come (mie is {self.csrs.mie:#x}), the "
            "program would wait forever",
        )

    def _interrupted(self) -> Stop:
        where = self.program.where(self.hart.pc)
        return Stop(
            "interrupted", self.hart.pc, message=f"interrupted at {where} after {self.instructions} instructions"
        )

    def abandon(self, why: str) -> None:
        """End the run here, as Ctrl-C does."""
        self._stop = Stop("interrupted", self.hart.pc, message=f"{why} at {self.program.where(self.hart.pc)}")

    # ------------------------------------------------------------ debugging
    @property
    def instructions(self) -> int:
        """Instructions retired so far."""
        return int(self.hart.instructions)

    def add_breakpoint(self, address: int) -> None:
        """Stop before the instruction at an address."""
        self.breakpoints.add(address & 0xFFFF_FFFF)
        self.hart.debug(self.breakpoints, self._watchpoints)

    def remove_breakpoint(self, address: int) -> None:
        """Take a breakpoint back; nothing happens where there is none."""
        self.breakpoints.discard(address & 0xFFFF_FFFF)
        self.hart.debug(self.breakpoints, self._watchpoints)

    def add_watchpoint(self, address: int, size: int, access: str) -> None:
        """Stop behind an access to any of `size` bytes; `access` is ``r``, ``w`` or ``rw``."""
        self._watchpoints.append((address, min(address + size - 1, 0xFFFF_FFFF), WATCH_KINDS[access]))
        self.hart.debug(self.breakpoints, self._watchpoints)

    def remove_watchpoint(self, address: int, size: int, access: str) -> None:
        """Take a watchpoint back; nothing happens where there is none."""
        watch = (address, min(address + size - 1, 0xFFFF_FFFF), WATCH_KINDS[access])
        if watch in self._watchpoints:
            self._watchpoints.remove(watch)
            self.hart.debug(self.breakpoints, self._watchpoints)

    def write_register(self, number: int, value: int) -> None:
        """Set x`number`; x0 stays 0."""
        self.hart.set_register(number, value & 0xFFFF_FFFF)

    def checkpoint(self, before: Checkpoint | None = None) -> Checkpoint:
        """The machine's whole state, in memory; pages that are as in `before` are shared with it."""
        return snapshot.take(self, before)

    def rollback(self, checkpoint: Checkpoint) -> None:
        """Go back (or forward) to a checkpoint of this machine."""
        snapshot.put(self, checkpoint)

    def reset(self) -> None:
        """Return to the state before the first instruction; counters are 0 again."""
        if self.stepped is not None:
            raise UsageError("--timing fast: a machine that has run does not go back; make another one")
        self.hart.set_pages({})
        self._load()
        self.console.reset()
        self._origin["parts"]["console"] = self.console.state()
        snapshot.restore_state(self, self._origin)
        self._seconds = 0.0

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a snapshot from which `Machine.load` goes on; see docs/machine.md.

        Raises
        ------
        OutputError
        """
        from rvsim.machine import snapshotfile

        snapshotfile.save(self, os.fspath(path))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        accel: str | Coprocessor | None = None,
        host_dir: str | None = None,
        stdout: Callable[[bytes], object] | None = None,
        stderr: Callable[[bytes], object] | None = None,
        stdin: Callable[[int], bytes] | None = None,
        memory_limit: int = memory.DEFAULT_LIMIT,
        engine: str | None = None,
    ) -> Machine:
        """A machine as it was saved; what a file may not decide is given here.

        Parameters
        ----------
        accel : str or Coprocessor, optional
            The coprocessor once more, where it is Python code of the user's own: a file does not decide what runs here.
        host_dir : str, optional
            The folder whose files the guest reaches; files that it had open are opened again there.
        stdout, stderr, stdin : callable, optional
            As for the class.
        memory_limit : int
            Bytes of guest memory that the machine may have, whatever it was saved with.
        engine : str, optional
            As for the class.

        Raises
        ------
        InputFileError
            The file is no snapshot, damaged, or of another version.
        UsageError
            The folder cannot be opened.
        """
        from rvsim.machine import snapshotfile

        return snapshotfile.load(
            cls,
            os.fspath(path),
            accel=accel,
            host_dir=host_dir,
            stdout=stdout,
            stderr=stderr,
            stdin=stdin,
            memory_limit=memory_limit,
            engine=engine,
        )

    def progress(self) -> dict[str, Any]:
        """What a snapshot keeps of the run itself."""
        fault = self.coprocessor_fault
        return {
            "stop": list(self._stop),
            "trapped_at": self._trapped_at,
            "coprocessor_fault": [fault.pc, fault.address, fault.size, fault.write] if fault else None,
            "stalls": sorted(self.stalls.items()),
            "trapped": [(pc, times, cycles) for pc, (times, cycles) in sorted(self.trapped.items())],
        }

    def continue_from(self, progress: dict[str, Any]) -> None:
        """Take back what `progress` gave."""
        fault = progress["coprocessor_fault"]
        self._stop = Stop(*progress["stop"])
        self._trapped_at = int(progress["trapped_at"])
        if fault:
            from accel.protocol import AccessFault

            fault = AccessFault(*fault)
        self.coprocessor_fault = fault
        self.stalls.clear()
        self.stalls.update({int(pc): int(cycles) for pc, cycles in progress["stalls"]})
        self.trapped.clear()
        self.trapped.update({int(pc): (int(times), int(cycles)) for pc, times, cycles in progress["trapped"]})
        self.hart.attention()

    @property
    def isas(self) -> list[Isa]:
        """The sets that instructions are of: the base set, then those added at run time."""
        return [self.isa, *{id(isa): isa for _, isa, _ in self._extensions}.values()]

    def added_instruction(self, word: int) -> Instruction | None:
        """The instruction added at run time that a word encodes."""
        return next((i for i, _, _ in self._extensions if word & i.mask == i.match), None)

    def log_commits(self, write: Callable[[bytes], object] | None) -> None:
        """Write Spike's commit log from here on; see docs/conformance.md.

        Parameters
        ----------
        write : callable or None
            Takes pieces of the text; None ends the log.
        """
        self.hart.log_commits(write)

    def view_pipeline(
        self, take: Callable[[bytes], object] | None, start: int | str | None = None, most: int = NO_LIMIT
    ) -> bool:
        """Hand over what goes through the core's pipeline from here on; `rvsim.profile.konata` makes a file of it.

        Parameters
        ----------
        take : callable or None
            Takes pieces of bytes, each of `rvsim.machine.timed.RECORD`; None ends the view.
        start : int or str, optional
            Where it begins: a cycle, ``roi``, or a symbol's name (`rvsim.profile.konata.Konata`); here by default.
        most : int
            Instructions of the view.

        Returns
        -------
        bool
            Whether the view that ends had to leave out instructions behind its `most`.

        Raises
        ------
        UsageError
            There is no pipeline (cycles are not exact), or nowhere to begin.
        """
        if take is None:
            return self.timed is not None and self.hart.view_pipeline(None)
        from rvsim.machine import timed

        timed.view(self, take, start, most)
        return False

    def signature(self, granularity: int = 4) -> str:
        """The memory between begin_signature and end_signature, as riscv-arch-test compares it.

        Parameters
        ----------
        granularity : int
            Bytes of a line.

        Raises
        ------
        UsageError, ElfError
        """
        from rvsim.machine.signature import write_signature

        return write_signature(self.program, self.read_memory, granularity)

    def line_profile(self) -> list[LineProfile]:
        """What was counted so far by source line, most cycles first.

        ``result.replace(lines=machine.line_profile())`` is a result that has them.
        """
        from rvsim.machine.report import line_profile

        return line_profile(self)

    def lost_cycles(self) -> dict[int, dict[str, int]]:
        """With exact cycles: those that each instruction lost, by address and cause; empty without."""
        cost = self._cost()
        if cost is not None:
            return cost.lost
        return self.timed.lost() if self.timed is not None else {}

    def instruction_counts(self) -> dict[int, tuple[int, int]]:
        """Executions and cycles of each instruction that was executed, by address."""
        cost = self._cost()
        counts: dict[int, tuple[int, int]] = {}
        for pc, _, _, executions, cycles in self.hart.profile():
            before = counts.get(pc, (0, 0))
            counts[pc] = before[0] + executions, before[1] + (cycles if cost is None else 0)
        for pc, cycles in (self.trap_cycles() if cost is None else cost.by_pc).items():
            before = counts.get(pc, (0, 0))
            counts[pc] = before[0], before[1] + cycles
        return counts

    def trap_cycles(self) -> dict[int, int]:
        """Cycles of traps, by the address of the instruction that did not retire."""
        return {pc: cycles for pc, (_, cycles) in self.trapped.items()}

    def control_flow(self, stands: bool = False) -> Raw:
        """What decided which way the run went so far (`Hart.control_flow`), and traps before each instruction."""
        return *self.hart.control_flow(stands), {pc: times for pc, (times, _) in self.trapped.items()}

    def _cost(self) -> Cost | None:
        """Cycles from counts, of a fast run that has left its pipeline."""
        if self.stepped is None:
            return None
        from rvsim.machine.counted import cost_of

        return cost_of(self)

    # ------------------------------------------------------------ memory and tensors for the user
    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of guest memory, not counted as traffic.

        Raises
        ------
        UsageError
            When the range leaves memory.
        """
        data = self.hart.peek(address & 0xFFFF_FFFF, size) if 0 <= address < 1 << 32 else None
        if data is None:
            raise self._outside(address, size)
        return data

    def write_memory(self, address: int, data: bytes) -> None:
        """Write guest memory, not counted as traffic; see `read_memory`."""
        if not 0 <= address < 1 << 32 or not self.hart.poke(address, bytes(data)):
            raise self._outside(address, len(data))

    def _outside(self, address: int, size: int) -> UsageError:
        from rvsim.machine.diagnosis import memory_hint

        return UsageError(f"{size} bytes at {address:#010x} are outside memory; {memory_hint(self.regions)}")

    @property
    def registers(self) -> tuple[int, ...]:
        """x0 to x31, unsigned."""
        return tuple(self.hart.register(n) for n in range(32))

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return int(self.hart.pc)

    @pc.setter
    def pc(self, value: int) -> None:
        self.hart.pc = value & 0xFFFF_FFFE

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
        from rvsim.machine import tensors

        tensors.write_input(self, array)

    def read_output(self) -> np.ndarray:
        """The program's output tensor, of the dtype and shape that the program states."""
        from rvsim.machine import tensors

        return tensors.read_output(self)

    def __repr__(self) -> str:
        accel = self.coprocessor.name if self.coprocessor else "off"
        return (
            f"<Machine {self.program.name}, core {self.timing.name}, accel {accel}, pc {self.pc:#010x}, "
            f"{self.hart.instructions} instructions retired>"
        )


def _coprocessor(wanted: str | Coprocessor, settings: Mapping[str, str]) -> Coprocessor | None:
    if wanted == "off":
        return None
    if isinstance(wanted, (str, os.PathLike)):
        from accel import registry

        return registry.load(os.fspath(wanted), settings)
    from accel.protocol import Coprocessor

    if not isinstance(wanted, Coprocessor):
        raise UsageError(f"accel: expected a name, a file or an accel.Coprocessor, found {wanted!r}")
    if settings:
        raise UsageError(f"accel.{next(iter(settings))}: an object has its parameters already; make it with others")
    return wanted


def _platform(name: str | None, settings: Mapping[str, str]) -> Platform | None:
    if name is None:
        if settings:
            raise UsageError(f"--set: platform.{next(iter(settings))} needs a --platform")
        return None
    from rvsim.timing.platform import load_platform

    return load_platform(str(name), settings)
