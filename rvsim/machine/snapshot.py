"""Checkpoints: the whole state of a machine, in memory; `snapshotfile.py` writes it to disk."""

from __future__ import annotations

import os

from rvsim.errors import UsageError
from rvsim.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rvsim.machine.machine import Machine


OBJECT = "object of Python"
"""What options say of a coprocessor that was given as an object."""


class Checkpoint(Record):
    """A state in memory; `instructions` and `cycles` say where it stands."""

    instructions: int
    cycles: int
    pages: dict[int, bytes]
    state: dict[str, Any]


def take(machine: Machine, before: Checkpoint | None = None) -> Checkpoint:
    """The state now; see `Machine.checkpoint`."""
    refuse_fast(machine)
    # To come back here is to read the same input again.
    machine.console.keep_history = True
    state = state_of(machine)
    pages = machine.hart.pages(before.pages if before else {})
    return Checkpoint(machine.instructions, machine.hart.cycles, pages, state)


def refuse_fast(machine: Machine) -> None:
    """A fast run has no state to go back to: its cycles are those of the whole run."""
    if machine.timing_model == "fast":
        raise UsageError("--timing fast takes no snapshots and does not go back; choose exact or table")


def put(machine: Machine, checkpoint: Checkpoint) -> None:
    """Make the machine what the checkpoint says."""
    machine.hart.set_pages(checkpoint.pages)
    restore_state(machine, checkpoint.state)


def _parts(machine: Machine) -> dict[str, Any]:
    """Everything that has `state` and `restore`, by name."""
    parts: dict[str, Any] = {
        "hart": machine.hart,
        "csrs": machine.csrs,
        "console": machine.console,
        "files": machine.files,
        **{name: each for name, each in machine.hosts.items() if each is not None},
        **{f"device {each.name} {each.base:#x}": each for each in machine.devices},
    }
    if machine.caches is not None:
        parts["caches"] = machine.caches
    if machine.timed is not None:
        parts["timed"] = machine.timed
    if machine.attached is not None:
        parts["coprocessor"] = machine.attached
    return parts


def state_of(machine: Machine) -> dict[str, Any]:
    """All state but memory."""
    return {
        "parts": {name: part.state() for name, part in _parts(machine).items()},
        "registers": machine.context.registers() if machine.context else {},
        "progress": machine.progress(),
    }


def restore_state(machine: Machine, state: dict[str, Any]) -> None:
    """Go back to what `state_of` gave."""
    parts = _parts(machine)
    if set(parts) != set(state["parts"]):
        raise ValueError("the snapshot is of a machine with other parts")
    for name, part in parts.items():
        lost = part.restore(state["parts"][name])
        if name == "files" and lost:
            hint = "" if machine.files.folder else " (give --host-dir)"
            machine.warnings += [line + hint for line in lost if line + hint not in machine.warnings]
    if machine.context:
        machine.context.set_registers(state["registers"])
    machine.continue_from(state["progress"])


def sources(options: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Texts of the CoreDSL and TOML files that options name, with what CoreDSL imports from its own folder.

    Returns
    -------
    dict of str to (dict of str to str)
        By the option's path: texts by file name, the file's own first. Bundled files are everywhere.
    """
    named = [
        *options["isa_ext"],
        *(options[key] for key in ("core", "accel", "platform") if str(options[key]).endswith(".toml")),
    ]
    if code := python_file(options["accel"]):
        named.append(code)
    return {path: sources_of(path) for path in named}


def python_file(accel: str) -> str:
    """The file where ``--accel`` names Python code, FILE.py or FILE.py:Class; else empty."""
    if ".py" not in accel:
        return ""
    from accel.plugin import split

    return (split(accel) or ("", ""))[0]


def sources_of(path: str) -> dict[str, str]:
    """Texts of one file and of what it imports as CoreDSL, by file name."""
    import re

    folder, names, texts = os.path.dirname(path), [os.path.basename(path)], dict[str, str]()
    for name in names:
        file = os.path.join(folder, name)
        if os.path.isfile(file) and name not in texts:
            with open(file, encoding="utf-8") as source:
                texts[name] = source.read()
            names += re.findall(r'^\s*import\s+"([^"/]+)"', texts[name], re.MULTILINE)
    return texts
