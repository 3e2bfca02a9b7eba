"""What went through a core's pipeline, cycle by cycle, as a file for the viewer Konata.

The format is Kanata 0004 (github.com/shioyadan/Konata, docs/kanata-log-format.md): lines of words between tabs,
each with what happens to one instruction in the cycle that the last ``C`` led to. Time only goes forward, so what lies
ahead is held back: no more than the instructions that are in the pipeline at once.
"""

from __future__ import annotations

from heapq import heappop, heappush

from rvsim.machine.timed import NO_STAGE, RECORD, causes
from rvsim.profile.listing import Listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rvsim.machine import Machine

DEFAULT_COUNT = 100_000
"""Instructions of a file, unless more are asked for: about 20 MB."""


class Konata:
    """Writes the file while the machine runs.

    Parameters
    ----------
    machine : Machine
        With exact cycles.
    write : callable
        Takes pieces of the file.
    start : int or str, optional
        Where it begins: with the first instruction that retires in this cycle or later, with the store that begins the
        region of interest (``roi``; it ends with the store that ends it, and begins again with the next), or with a
        function or label. At once by default.
    count : int
        Most instructions.

    Raises
    ------
    UsageError
        The machine has no pipeline to look at, no device that begins regions, or the program no such symbol.
    """

    def __init__(
        self,
        machine: Machine,
        write: Callable[[bytes], object],
        start: int | str | None = None,
        count: int = DEFAULT_COUNT,
    ) -> None:
        self._machine, self._write = machine, write
        self._listing = Listing(machine.program, machine.isas)
        self._labels: dict[tuple[int, int], str] = {}
        self._places: dict[int, str] = {}
        self._ahead: list[tuple[int, int, str]] = []  # (cycle, number, line)
        self._lines = ["Kanata\t0004"]
        self._events = self._retired = 0
        self._now: int | None = None
        self.instructions = 0
        """Instructions in the file so far."""
        machine.view_pipeline(self._take, start, count)

    def finish(self) -> bool:
        """Write what is left and look no more; whether `count` left instructions out."""
        cut = self._machine.view_pipeline(None)
        self._pass(None)
        if self._now is None:
            self._lines.append("C=\t0")
        self._flush()
        return cut

    def _take(self, records: bytes) -> None:
        for record in RECORD.iter_unpack(records):
            self._add(*record)
        self._flush()

    def _add(self, before: int, cycles: int, waited: int, pc: int, word: int, *rest: int) -> None:
        """One instruction, as `RECORD` of timed.py has it."""
        timed = self._machine.timed
        assert timed is not None
        names = timed.pipeline.stages
        *stages, end = rest[:8]
        size, retires, waits = rest[-3:]
        # An added instruction waits for its coprocessor where it executes; in front of any other, all slept.
        late, base = (waited, before) if waits else (0, before + waited)
        times = [
            (base + time + (late if n > waits else 0), names[n])
            for n, time in enumerate(stages[: len(names)])
            if time != NO_STAGE
        ]
        self._pass(times[0][0])
        assert self._now is not None
        number = self.instructions
        self.instructions += 1
        at = self._now
        self._lines.append(f"I\t{number}\t{number}\t0")
        self._lines.append(f"L\t{number}\t0\t{self._label(pc, word, size)}")
        self._lines.append(f"L\t{number}\t1\t{self._hover(pc, before + waited + cycles, retires, rest[8:-3], late)}")
        for time, name in times:
            at = max(at, time)
            self._push(at, f"S\t{number}\t0\t{name}")
        self._push(max(at, base + late + end), f"R\t{number}\t{self._retired}\t{0 if retires else 1}")
        self._retired += retires

    def _push(self, time: int, line: str) -> None:
        self._events += 1
        heappush(self._ahead, (time, self._events, line))

    def _pass(self, until: int | None) -> None:
        """Let time pass, to a cycle or (None) until nothing is left."""
        while self._ahead and (until is None or self._ahead[0][0] <= until):
            time, _, line = heappop(self._ahead)
            self._go(time)
            self._lines.append(line)
        if until is not None:
            self._go(until)

    def _go(self, time: int) -> None:
        if self._now is None:
            self._lines.append(f"C=\t{time}")
        elif time > self._now:
            self._lines.append(f"C\t{time - self._now}")
        self._now = time if self._now is None else max(time, self._now)

    def _flush(self) -> None:
        if self._lines:
            self._write(("\n".join(self._lines) + "\n").encode())
            self._lines.clear()

    def _label(self, pc: int, word: int, size: int) -> str:
        """Address and instruction, for the viewer's left pane."""
        key = pc, word
        if key not in self._labels:
            section = next(
                (r.name for r in self._listing.ranges if r.address <= pc < r.address + len(r.data)), "(none)"
            )
            text = self._listing.text(section, pc, word, size).replace("\t", " ")
            self._labels[key] = _printable(f"{pc:08x}: {text}")
        return self._labels[key]

    def _hover(self, pc: int, cycle: int, retires: int, lost: tuple[int, ...], coprocessor: int) -> str:
        """Where it is from, when it retired, and what it waited for."""
        if pc not in self._places:
            self._places[pc] = _printable(self._machine.program.where(pc))
        what = causes(lost, coprocessor)
        text = f"{self._places[pc]}; " + (f"retired in cycle {cycle}" if retires else f"trap, taken in cycle {cycle}")
        if what:
            named = ", ".join(f"{name.replace('_', '-')} {n}" for name, n in what.items())
            text += f"; {sum(what.values())} lost: {named}"
        return text


def _printable(text: str) -> str:
    """Symbols and file names are the program's, lines and tabs the format's."""
    return "".join(c if c.isprintable() else "?" for c in text)
