"""Snapshots: the whole state of a machine, in memory for a debugger, on disk to go on another day.

A file is the line `MAGIC`, a SHA-256 of what follows, and a zlib-compressed MessagePack document: the program's ELF
image, the configuration (with the text of added CoreDSL files), and the state. So it needs no other file, and a damaged
one is noticed before anything is built from it.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from rvsim.errors import InputFileError, OutputError, RvsimError

if TYPE_CHECKING:
    from rvsim.machine.machine import Machine

MAGIC = b"rvsim snapshot\n"
VERSION = 1
# A hostile file may unpack to any size; memory is bounded by the machine's own limit, the rest is small.
OVERHEAD = 256 << 20
MAX_FILE = 1 << 31


class Checkpoint(NamedTuple):
    """A state in memory; `instructions` and `cycles` say where it stands."""

    instructions: int
    cycles: int
    pages: dict[int, bytes]
    state: dict[str, Any]


def take(machine: Machine, before: Checkpoint | None = None) -> Checkpoint:
    """The state now; see `Machine.checkpoint`."""
    # To come back here is to read the same input again.
    machine.console.keep_history = True
    state = state_of(machine)
    pages = machine.hart.pages(before.pages if before else {})
    return Checkpoint(machine.instructions, machine.hart.cycles, pages, state)


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
    if machine.coprocessor is not None:
        parts["coprocessor"] = machine.coprocessor
    return parts


def state_of(machine: Machine) -> dict[str, Any]:
    """All state but memory."""
    return {
        "parts": {name: part.state() for name, part in _parts(machine).items()},
        "registers": {name: list(values) for name, values in machine.context.files.items()},
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
            machine.warnings += lost
    for name, values in machine.context.files.items():
        saved = [int(v) for v in state["registers"][name]]
        if len(saved) != len(values):
            raise ValueError(f"register file {name} has {len(values)} registers, not {len(saved)}")
        values[:] = saved
    machine.continue_from(state["progress"])


def save(machine: Machine, path: str) -> None:
    """Write a snapshot file, whole or not at all; see `Machine.save`."""
    document = {
        "version": VERSION,
        "options": machine.options,
        "program": {"path": machine.program.path, "image": machine.program.image},
        "coredsl": {file: _sources(file) for file in machine.options["isa_ext"]},
        "pages": machine.hart.pages({}),
        "state": state_of(machine),
    }
    body = zlib.compress(msgspec.msgpack.encode(document), 1)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(MAGIC + hashlib.sha256(body).digest() + body)
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


def load(class_: type[Machine], path: str, options: dict[str, Any]) -> Machine:
    """Read a snapshot file; see `Machine.load`."""
    document = _read(path)
    try:
        return _build(class_, document, options)
    except RvsimError as error:
        raise InputFileError(f"{path}: {error}") from None
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        msgspec.ValidationError,
    ) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputFileError(f"{path}: the snapshot does not fit together ({what}); make it again") from None


def _read(path: str) -> dict[str, Any]:
    try:
        if os.path.getsize(path) > MAX_FILE:
            raise InputFileError(f"{path} has more than {MAX_FILE >> 20} MiB: this is no snapshot of rvsim")
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputFileError(f"cannot read the snapshot {path}: {error.strerror}") from None
    if not data.startswith(MAGIC):
        raise InputFileError(f"{path} is not a snapshot of rvsim (expected it to begin with {MAGIC[:-1].decode()!r})")
    digest, body = data[len(MAGIC) : len(MAGIC) + 32], data[len(MAGIC) + 32 :]
    if hashlib.sha256(body).digest() != digest:
        raise InputFileError(f"{path} is damaged: its checksum does not match; make the snapshot again")
    try:
        unpack = zlib.decompressobj()
        raw = unpack.decompress(body, (1 << 32) + OVERHEAD)
        if not unpack.eof:
            raise InputFileError(f"{path} is damaged: it unpacks to more than any machine's memory")
        document = msgspec.msgpack.decode(raw)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, MemoryError) as error:
        raise InputFileError(f"{path} is damaged ({error}); make the snapshot again") from None
    version = document.get("version") if isinstance(document, dict) else None
    if version != VERSION:
        raise InputFileError(
            f"{path} is a snapshot of version {version}, this rvsim reads version {VERSION}; make it again"
        )
    return dict(document)


def _build(class_: type[Machine], document: dict[str, Any], replaced: dict[str, Any]) -> Machine:
    import tempfile

    from rvsim.machine.elf import parse_elf

    options = dict(document["options"])
    program = parse_elf(
        _bytes(document["program"]["image"]), str(document["program"]["path"]), max_memory=options["memory_limit"]
    )
    # The host's files are opened only when the one who loads asks for it again.
    options["host_dir"] = None
    with tempfile.TemporaryDirectory() as folder:
        options["isa_ext"] = [
            _unpack(os.path.join(folder, str(n)), document["coredsl"][file])
            for n, file in enumerate(options["isa_ext"])
        ]
        machine = class_(program, **{**options, **replaced})
    machine.options["isa_ext"] = list(document["options"]["isa_ext"])
    pages = {int(address): _bytes(page) for address, page in document["pages"].items()}
    machine.hart.set_pages(pages)
    restore_state(machine, document["state"])
    return machine


def _bytes(value: object) -> bytes:
    """The value, which `bytes` would make of a number, too: that many zeros."""
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, found {type(value).__name__}")
    return value


def _sources(path: str) -> dict[str, str]:
    """Text of a CoreDSL file and of what it imports from its own folder, by file name; bundled ones are everywhere."""
    folder, names, texts = os.path.dirname(path), [os.path.basename(path)], {}
    for name in names:
        file = os.path.join(folder, name)
        if os.path.isfile(file) and name not in texts:
            with open(file, encoding="utf-8") as source:
                texts[name] = source.read()
            names += re.findall(r'^\s*import\s+"([^"/]+)"', texts[name], re.MULTILINE)
    return texts


def _unpack(folder: str, files: dict[str, str]) -> str:
    """Write a CoreDSL file and its imports; the first is the file itself."""
    os.mkdir(folder)
    names = list(files)
    for name in names:
        if os.path.basename(name) != name or name in (".", ".."):
            raise ValueError(f"{name!r} is no file name")
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(files[name])
    return os.path.join(folder, names[0])
