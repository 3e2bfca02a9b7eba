"""Running backwards: roll back to a checkpoint and replay what happened since.

A run is deterministic, so a position in it is the number of instructions retired and, as a trap retires none, the pc.
What the debugger changed (a register, memory) is kept with its position and done again by a replay. A change in the
past begins another future: what was recorded behind it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from rvsim.machine import Machine
    from rvsim.machine.snapshot import Checkpoint
    from rvsim.machine.stop import Stop

# Checkpoints kept; instructions between two of them: at least, and as part of the run so far.
CHECKPOINTS = 64
# Bytes of guest memory in them, as if they shared none; at least three are kept.
CHECKPOINT_MEMORY = 512 << 20
PAGE = 4096
SPACING, SPACING_SHARE = 1 << 22, 32
# Checkpoints that going back leaves before its goal, so that the next step back finds one near.
DENSER = (1 << 20, 1 << 16, 1 << 12, 1 << 8)
# Instructions of a replay between two looks at whether it is to end.
SLICE = 1 << 22
# Steps that may pass at one count of instructions: traps, and an interrupt on top.
TRAPS = 8
# Changes remembered. Beyond, the history begins anew, so that a debugger cannot fill the host's memory.
CHANGES = 4096
# Reasons of a stop after which the program can go on.
GOES_ON = frozenset({"limit", "breakpoint", "watchpoint", "step", "interrupted"})


class Position(NamedTuple):
    """A point between two instructions of the run."""

    instructions: int
    pc: int


class Mark(NamedTuple):
    """A checkpoint, where it is, and how many of the debugger's changes it has behind it."""

    position: Position
    changes: int
    checkpoint: Checkpoint


class Change(NamedTuple):
    """Something the debugger changed, and where it did."""

    position: Position
    repeat: Callable[[], None]


class Saved(NamedTuple):
    """The present with all that leads to it."""

    mark: Mark
    marks: tuple[Mark, ...]
    changes: tuple[Change, ...]


class Hit(NamedTuple):
    """Why running backwards stopped; `address` and `access` are the machine's for a watchpoint."""

    reason: Literal["step", "breakpoint", "watchpoint", "begin", "interrupted"]
    address: int | None = None
    access: str | None = None


class History:
    """Moves a machine along its run, both ways; it begins where the machine stands.

    Breakpoints and watchpoints are set here, because replays must not stop at them.

    Parameters
    ----------
    machine : Machine
    limit : int
        Checkpoints kept; the nearer to the present, the denser they lie.
    spacing : int
        Instructions between two checkpoints at least.
    """

    def __init__(self, machine: Machine, limit: int = CHECKPOINTS, spacing: int = SPACING) -> None:
        self.machine, self.limit, self.spacing = machine, limit, spacing
        # Input is kept from here on, so that a replay reads it again.
        machine.console.keep_history = True
        self.breakpoints: set[int] = set()
        self.watchpoints: set[tuple[int, int, str]] = set()
        self.begin()

    def begin(self) -> None:
        """Let the history begin here, forgetting what was before."""
        self._changes: list[Change] = []
        self._done = 0
        self._base: Checkpoint | None = None
        self._marks = [self._present()]

    def reset(self) -> None:
        """Load the program anew and let the history begin there; what it prints is printed again."""
        self.machine.reset()
        self.machine.console.reset()
        self.begin()

    @property
    def here(self) -> Position:
        """Where the machine stands."""
        return Position(self.machine.instructions, self.machine.pc)

    @property
    def start(self) -> Position:
        """Where the history begins."""
        return self._marks[0].position

    @property
    def checkpoints(self) -> list[int]:
        """Instructions retired at each checkpoint kept."""
        return [mark.position.instructions for mark in self._marks]

    def add_breakpoint(self, address: int) -> None:
        """Stop before the instruction at an address; a second one there changes nothing."""
        self.breakpoints.add(address)
        self.machine.add_breakpoint(address)

    def remove_breakpoint(self, address: int) -> None:
        """Undo `add_breakpoint`, also where there is none."""
        if address in self.breakpoints:
            self.breakpoints.remove(address)
            self.machine.remove_breakpoint(address)

    def add_watchpoint(self, address: int, size: int, access: str) -> None:
        """Stop behind reads (``r``), writes (``w``) or both (``rw``) of a range."""
        if (address, size, access) not in self.watchpoints:
            self.machine.add_watchpoint(address, size, access)
            self.watchpoints.add((address, size, access))

    def remove_watchpoint(self, address: int, size: int, access: str) -> None:
        """Undo `add_watchpoint`, also where there is none."""
        if (address, size, access) in self.watchpoints:
            self.watchpoints.remove((address, size, access))
            self.machine.remove_watchpoint(address, size, access)

    def clear(self) -> None:
        """Remove every breakpoint and watchpoint."""
        for address in tuple(self.breakpoints):
            self.remove_breakpoint(address)
        for watchpoint in tuple(self.watchpoints):
            self.remove_watchpoint(*watchpoint)

    # ------------------------------------------------------------ forwards
    def resume(self, limit: int) -> Stop:
        """Run as `Machine.resume(limit)` does, recording; stops earlier, with reason ``limit``, for a checkpoint."""
        ahead = self._due() - self.machine.instructions
        stop = self._forward(min(limit, ahead) if ahead > 0 else limit)
        if stop.reason in GOES_ON and self.machine.instructions >= self._due():
            self._add(self._present())
        # A slice may end at a breakpoint: it stands before it, and the next slice would pass it.
        if stop.reason == "limit" and self.machine.pc in self.breakpoints:
            return stop.replace(reason="breakpoint")
        return stop

    def step(self) -> Stop:
        """Run one instruction, or take one trap."""
        stop = self.machine.resume(step=True)
        self._repeat()
        return stop

    def change(self, action: Callable[[], None]) -> None:
        """Do what changes the machine, and remember it for replays; nothing is remembered when it raises."""
        here = self.here
        action()
        if here == self.start or self._done >= CHANGES:
            self.begin()
            return
        del self._changes[self._done :]
        self._changes.append(Change(here, action))
        self._done += 1
        self._marks = [mark for mark in self._marks if mark.position.instructions <= here.instructions]

    def save(self) -> Saved:
        """The present, to come back to with `load`."""
        present = self._present()
        past = [mark for mark in self._marks if mark.position.instructions <= present.position.instructions]
        return Saved(present, tuple(past), tuple(self._changes[: self._done]))

    def load(self, saved: Saved) -> None:
        """Go to what was saved, and have the history it had."""
        self._marks, self._changes = list(saved.marks), list(saved.changes)
        self._roll_back(saved.mark)

    # ------------------------------------------------------------ backwards
    def undo(self) -> None:
        """Go to where the last instruction, or trap, began; nothing is before the start of the history."""
        here = self.here
        if here == self.start:
            return
        count = max(here.instructions - 1, self.start.instructions)
        with self._undisturbed():
            self._approach(count, lambda mark: mark.instructions <= count and mark != here)
            self._roll_back(self._walk(here))

    def step_back(self, passed: bool = False) -> Hit:
        """Undo the last instruction, or stop at once if it made a watched access that is not `passed`."""
        if self.here == self.start:
            return Hit("begin")
        self.undo()
        if self.watchpoints and not passed:
            before = self._present()
            stop = self.step()
            if stop.reason == "watchpoint":
                return Hit("watchpoint", stop.address, stop.access)
            self._roll_back(before)
        return Hit("step")

    def back(self, interrupted: Callable[[], bool], passed: bool = False) -> Hit:
        """Run backwards to the latest breakpoint or watched access before the present, else to the start.

        A breakpoint stops before its instruction, as it does forwards; a watchpoint stops behind the access, which the
        next step back undoes.

        Parameters
        ----------
        interrupted : callable
            Asked between slices; running backwards then ends where it has come to.
        passed : bool
            A watched access that ends at the present does not count.

        Raises
        ------
        Exception
            What `interrupted` raises; the machine stands in the present again.
        """
        present = self.here
        try:
            return self._back(present, interrupted, passed)
        except BaseException:
            self._seek(present)
            raise

    def _back(self, present: Position, interrupted: Callable[[], bool], passed: bool) -> Hit:
        upper = present
        if upper != self.start:
            # Leaves checkpoints near the present, where most hits are.
            self._seek(upper)
        while upper != self.start:
            mark = self._latest(lambda position, upper=upper: position.instructions < upper.instructions)  # type: ignore[misc]
            found = self._last_hit(mark, upper, interrupted, present if passed else None)
            if found is not None:
                self._seek(found[0])
                return found[1]
            upper = mark.position
        self._roll_back(self._marks[0])
        return Hit("begin")

    def _last_hit(
        self, mark: Mark, upper: Position, interrupted: Callable[[], bool], passed: Position | None
    ) -> tuple[Position, Hit] | None:
        """The last stop from a checkpoint to a position, and where it is; None without one."""
        found: tuple[Position, Hit] | None = None
        machine = self.machine
        self._roll_back(mark)
        while machine.instructions < upper.instructions:
            if machine.pc in self.breakpoints:
                found = self.here, Hit("breakpoint")
            stop = self._forward(min(SLICE, upper.instructions - machine.instructions))
            if stop.reason == "watchpoint" and self.here != passed:
                found = self.here, Hit("watchpoint", stop.address, stop.access)
            if stop.reason == "interrupted" or interrupted():
                return upper, Hit("interrupted")
            if stop.reason not in GOES_ON:
                break
        for _ in range(TRAPS):
            if self.here == upper or machine.instructions > upper.instructions:
                break
            if machine.pc in self.breakpoints:
                found = self.here, Hit("breakpoint")
            self.step()
        return found

    # ------------------------------------------------------------ moving along what is recorded
    def _forward(self, limit: int) -> Stop:
        """`Machine.resume`, doing the debugger's changes again where they were done."""
        if self._done < len(self._changes):
            ahead = self._changes[self._done].position.instructions - self.machine.instructions
            if ahead <= 0:
                # A change behind a trap at this count of instructions.
                stop = self.step()
                if (
                    self._done < len(self._changes)
                    and self.machine.instructions > self._changes[self._done].position.instructions
                ):
                    del self._changes[self._done :]
                return stop.replace(reason="limit") if stop.reason == "step" else stop
            limit = min(limit, ahead)
        stop = self.machine.resume(limit)
        self._repeat()
        return stop

    def _repeat(self) -> None:
        while self._done < len(self._changes) and self._changes[self._done].position == self.here:
            self._changes[self._done].repeat()
            self._done += 1

    def _present(self) -> Mark:
        # Shares the pages that are as they were at the checkpoint before.
        self._base = self.machine.checkpoint(self._base)
        return Mark(self.here, self._done, self._base)

    def _roll_back(self, mark: Mark) -> None:
        self.machine.rollback(mark.checkpoint)
        self._base = mark.checkpoint
        self._done = mark.changes
        self._repeat()

    def _latest(self, wanted: Callable[[Position], bool]) -> Mark:
        """The last checkpoint whose position is wanted, else the first of all."""
        return next((mark for mark in reversed(self._marks) if wanted(mark.position)), self._marks[0])

    def _seek(self, goal: Position) -> None:
        """Go to a position of the recorded run, leaving checkpoints on the way."""
        with self._undisturbed():
            self._approach(goal.instructions, lambda mark: mark.instructions < goal.instructions or mark == goal)
            before = self._walk(goal)
            if self.machine.instructions > goal.instructions:
                self._roll_back(before)

    def _approach(self, count: int, wanted: Callable[[Position], bool]) -> None:
        """Go to where `count` instructions have retired, from the last checkpoint wanted."""
        self._roll_back(self._latest(wanted))
        for gap in DENSER:
            if self.machine.instructions < count - 2 * gap:
                self._run_to(count - gap)
                self._add(self._present())
        self._run_to(count)

    def _run_to(self, count: int) -> None:
        while self.machine.instructions < count:
            if self._forward(count - self.machine.instructions).reason not in GOES_ON:
                return

    def _walk(self, goal: Position) -> Mark:
        """Step until a position is reached or passed; returns where that last step began."""
        before = self._present()
        for _ in range(TRAPS):
            if self.here == goal or self.machine.instructions > goal.instructions:
                break
            before = self._present()
            self.step()
        return before

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Without breakpoints and watchpoints."""
        breakpoints, watchpoints = tuple(self.breakpoints), tuple(self.watchpoints)
        self.clear()
        try:
            yield
        finally:
            for address in breakpoints:
                self.add_breakpoint(address)
            for watchpoint in watchpoints:
                self.add_watchpoint(*watchpoint)

    # ------------------------------------------------------------ keeping checkpoints
    def _due(self) -> int:
        """Instructions retired at which the next checkpoint is to be made."""
        first, last = self._marks[0].position.instructions, self._marks[-1].position.instructions
        return last + max(self.spacing, (last - first) // SPACING_SHARE)

    def _add(self, mark: Mark) -> None:
        """Keep a checkpoint; beyond the limit, drop the one that lies densest for its distance from the present."""
        at = mark.position.instructions
        index = sum(other.position.instructions <= at for other in self._marks)
        if self._marks[index - 1].position.instructions == at:
            return
        self._marks.insert(index, mark)
        fit = CHECKPOINT_MEMORY // (PAGE * max(1, len(mark.checkpoint.pages)))
        while len(self._marks) > max(3, min(self.limit, fit)):
            counts = self.checkpoints
            del self._marks[
                min(
                    range(1, len(counts) - 1),
                    key=lambda n: (counts[n + 1] - counts[n - 1]) / (abs(at - counts[n]) + self.spacing),
                )
            ]
