"""GDB's `monitor` commands: what the protocol has no packet for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from rvsim.errors import InputFileError, UsageError

if TYPE_CHECKING:
    from rvsim.debug.history import History, Saved

# What GDB has read it keeps until the program runs; it cannot be told that a monitor command moved the program.
REFRESH = "Now tell gdb to forget what it read: maintenance flush register-cache\n"
SNAPSHOTS = 32
# Whoever connects may write files of this kind, in one directory, and no others.
SUFFIX = ".rvsnap"
NAME = re.compile(r"[\w-][\w.-]{0,39}")


class Monitor:
    """Runs one line of `monitor`.

    Parameters
    ----------
    history : History
        Of the machine.
    moved : callable
        Called when a command put the machine elsewhere.
    """

    def __init__(self, history: History, moved: Callable[[], None]) -> None:
        self.history, self.machine, self.moved = history, history.machine, moved
        self.stop_at_exit = False
        self._snapshots: dict[str, Saved] = {}
        self._commands: dict[str, tuple[str, str, Callable[..., str]]] = {
            "help": ("", "this list", self._help),
            "reset": ("", "load the program anew; the history begins there", self._reset),
            "cycles": ("", "cycles since the start", lambda: f"{self.machine.cycles}\n"),
            "when": ("", "instructions, cycles and place in the program", self._when),
            "stats": ("", "instructions, cycles and memory traffic so far", self._stats),
            "isa": ("", "the instruction set that the machine runs", self._isa),
            "history": ("", "how far back the program can run", self._history),
            "stop-at-exit": ("on|off", "stop before the program ends, to go back from there", self._stop_at_exit),
            "snapshot": ("save|load NAME, list", "keep a state in memory, and go back or forth to it", self._snapshot),
            "file": ("save|load NAME", f"the same in the file NAME{SUFFIX} of rvsim's working directory", self._file),
        }

    def run(self, line: str) -> str:
        """Text that a command prints.

        Raises
        ------
        RvsimError
            The command or its arguments are unknown, or it failed.
        """
        words = line.split()
        name, arguments = (words[0], words[1:]) if words else ("help", [])
        if name not in self._commands:
            raise UsageError(f"monitor: expected {_nearest(name, list(self._commands))}, found {name[:40]!r}")
        usage, _, action = self._commands[name]
        try:
            return action(*arguments)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            raise UsageError(f"monitor {name}: expected {usage or 'nothing'} behind it, found {words[1:]}") from None

    def _help(self) -> str:
        rows = [(f"{name} {usage}".strip(), text) for name, (usage, text, _) in self._commands.items()]
        width = max(len(left) for left, _ in rows)
        return "".join(f"{left:<{width}}  {text}\n" for left, text in rows)

    def _reset(self) -> str:
        self.history.reset()
        self.moved()
        return f"At the start of {self.machine.program.path}. {REFRESH}"

    def _when(self) -> str:
        machine = self.machine
        return f"{machine.instructions} instructions, {machine.cycles} cycles, at {machine.program.where(machine.pc)}\n"

    def _stats(self) -> str:
        result = self.machine.result()
        lines = [
            f"instructions {result.instructions:>14}",
            f"cycles       {result.cycles:>14}",
            f"CPI          {result.cpi:>14.3f}",
            f"{'bytes moved':<16}{'fetch':>14}{'load':>14}{'store':>14}",
        ]
        for name, each in result.traffic.items():
            lines.append(f"{name:<16}{each.fetch.bytes:>14}{each.load.bytes:>14}{each.store.bytes:>14}")
        return "\n".join(lines) + "\n"

    def _isa(self) -> str:
        return f"{self.machine.selection.name}\n"

    def _history(self) -> str:
        kept, start = self.history.checkpoints, self.history.start
        return f"from instruction {start.instructions} to {self.machine.instructions}, {len(kept)} checkpoints\n"

    def _stop_at_exit(self, switch: str) -> str:
        if switch not in ("on", "off"):
            raise UsageError(f"monitor stop-at-exit: expected on or off, found {switch[:40]!r}")
        self.stop_at_exit = switch == "on"
        return ""

    def _snapshot(self, action: str, name: str = "") -> str:
        if action == "list" and not name:
            return "".join(
                f"{name}: {saved.mark.position.instructions} instructions\n" for name, saved in self._snapshots.items()
            )
        if not NAME.fullmatch(name):
            raise UsageError(
                f"monitor snapshot: expected save NAME, load NAME or list, found {action[:40]!r} {name[:40]!r}"
            )
        if action == "save":
            if len(self._snapshots) >= SNAPSHOTS and name not in self._snapshots:
                raise UsageError(f"monitor snapshot: expected at most {SNAPSHOTS} names; save under one that exists")
            self._snapshots[name] = self.history.save()
            return f"Saved {name} at {self.machine.instructions} instructions.\n"
        if action == "load":
            if name not in self._snapshots:
                raise UsageError(
                    f"monitor snapshot load: expected {_nearest(name, list(self._snapshots))}, found {name!r}"
                )
            self.history.load(self._snapshots[name])
            self.moved()
            return f"At {self.machine.instructions} instructions. {REFRESH}"
        raise UsageError(f"monitor snapshot: expected save, load or list, found {action[:40]!r}")

    def _file(self, action: str, name: str) -> str:
        if action not in ("save", "load") or not NAME.fullmatch(name):
            raise UsageError(f"monitor file: expected save NAME or load NAME, found {action[:40]!r} {name[:40]!r}")
        path = name if name.endswith(SUFFIX) else name + SUFFIX
        if action == "save":
            self.machine.save(path)
            return f"Saved {path} at {self.machine.instructions} instructions.\n"
        # A machine of its own: what the file says is checked before this one changes.
        other = type(self.machine).load(path, stdout=_drop, stderr=_drop, stdin=lambda size: b"")
        same = {"host_dir": None}  # the file opens no folder of the host
        if other.program.image != self.machine.program.image or other.options | same != self.machine.options | same:
            raise InputFileError(
                f"{path}: expected a snapshot of {self.machine.program.path} on this configuration, found one of "
                f"{other.program.path} or of another; begin with rvsim run {path}"
            )
        self.machine.rollback(other.checkpoint())
        self.history.begin()
        self.moved()
        return f"At {self.machine.instructions} instructions; the history begins here. {REFRESH}"


def _drop(data: bytes) -> None:
    pass


def _nearest(name: str, names: list[str]) -> str:
    """The name that was perhaps meant, else all there are."""
    from difflib import get_close_matches

    near = get_close_matches(name, names, 1)
    return near[0] if near else "one of " + ", ".join(names) if names else "a name that was saved"
