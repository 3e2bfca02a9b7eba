"""Snapshot files: a machine on disk, to go on another day or elsewhere.

A file is the line `MAGIC`, a SHA-256 of what follows, and a zlib-compressed MessagePack document (`Outer`): the
program's ELF image, memory, and the rest (`Inner`): the options, the text of the CoreDSL and TOML files they name, and
the state of each part. So it needs no other file, a damaged one is noticed before anything is built from it, and one
made by hand meets types and bounds before any part of the machine does.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import msgspec

from rvsim.errors import CoprocessorError, InputFileError, OutputError, RvsimError, UsageError
from rvsim.machine import snapshot
from rvsim.machine.hostfs import MAX_OPEN, HostFiles

if TYPE_CHECKING:
    from accel.protocol import Coprocessor
    from rvsim.machine.machine import Machine

MAGIC = b"rvsim snapshot\n"
VERSION = 4
# A hostile file may unpack to any size. Memory has the limit of the one who loads, the program's image and the rest
# have these; values of the rest become Python objects some ten times their size.
MAX_IMAGE, MAX_REST = 64 << 20, 64 << 20
MAX_FILE = 1 << 31

Word = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Byte = Annotated[int, msgspec.Meta(ge=0, lt=1 << 8)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Signed = Annotated[int, msgspec.Meta(gt=-(1 << 62), lt=1 << 62)]
Long = Annotated[int, msgspec.Meta(ge=0)]  # 64 bits, as MessagePack bounds it
Stopped = Literal["exit", "limit", "interrupted", "illegal-instruction", "access-fault", "breakpoint", "trap", "step",
                  "watchpoint"]  # fmt: skip


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A record without any other field."""


class Options(Strict):
    """Of `Machine`, but the streams."""

    args: list[str]
    core: str
    accel: str
    isa: str
    settings: dict[str, str]
    isa_ext: list[str]
    memory: list[str]
    devices: list[str]
    memory_limit: Count
    platform: str | None = None
    timing: str = "table"
    host_dir: str | None = None


class Memory(Strict):
    """Pages that are not all zero: addresses, sizes, and their bytes one behind the other."""

    addresses: list[Word]
    sizes: list[Annotated[int, msgspec.Meta(gt=0, le=4096)]]
    data: bytes


class Outer(msgspec.Struct):
    """The document."""

    version: int
    path: str = ""
    image: bytes = b""
    memory: msgspec.Raw = msgspec.Raw()
    rest: msgspec.Raw = msgspec.Raw()


class Version(msgspec.Struct):
    """All that documents of every version have."""

    version: int


class Progress(TypedDict):
    """Of the run; see `Machine.progress`."""

    stop: tuple[Stopped, Word, Byte | None, str | None, Word | None, Literal["r", "w"] | None]
    trapped_at: Signed
    coprocessor_fault: tuple[Word, Signed, Count, bool] | None
    stalls: list[tuple[Word, Count]]
    trapped: list[tuple[Word, Count, Count]]


class State(TypedDict):
    """See `snapshot.state_of`."""

    parts: dict[str, msgspec.Raw]
    registers: dict[str, list[Any]]
    progress: Progress


class Inner(Strict):
    """What is neither program nor memory."""

    options: Options
    sources: dict[str, dict[str, str]]
    state: State


class HartState(TypedDict):
    """Of `Hart.state`, in its order."""

    x: list[Word]
    pc: Word
    reservation: Word
    instructions: Count
    stall_cycles: Count
    traps: Count
    cycles: Count
    taken: Count
    misaligned: Count
    executed: list[tuple[Word, Word, Count, Signed, Byte]]
    flow: list[tuple[Word, Word, Word, Byte, Count, Count, Count, Count]]
    elsewhere: list[tuple[Word, Byte, Count]]
    divides: list[tuple[Word, Byte, Count]]
    fetch: list[tuple[Count, Count]]
    access: list[tuple[Count, Count, Count, Count]]


class PmpState(TypedDict):
    """Of `Pmp`."""

    cfg: list[Byte]
    address: list[Word]


class CsrState(TypedDict):
    """Of `CsrFile`."""

    mstatus: Word
    mtvec: Word
    mscratch: Word
    mepc: Word
    mcause: Word
    mtval: Word
    mie: Word
    mcountinhibit: Word
    counters: list[tuple[int, Long | None]]
    events: list[Word]
    pmp: PmpState


class ConsoleState(TypedDict):
    """Of `Console`."""

    written: tuple[Count, Count]
    read: Count
    chunk: Count
    offset: Count
    misses: Count


class FilesState(TypedDict):
    """Of `HostFiles`: path, flags, position and size by descriptor."""

    files: Annotated[dict[str, tuple[bytes, Word, Count, Signed]], msgspec.Meta(max_length=MAX_OPEN)]


class EcallState(TypedDict):
    """Of `HostCalls`."""

    # `break` is a keyword.
    mapped: Word
    free: list[tuple[Word, Word]]
    random: Long


EcallState.__annotations__["break"] = Word


class SemihostingState(TypedDict):
    """Of `Semihosting`."""

    handles: Annotated[
        dict[str, tuple[Literal["stream", "file", "features"], Word]], msgspec.Meta(max_length=MAX_OPEN + 3)
    ]
    error: Word


class ClintState(TypedDict):
    """Of `Clint`."""

    msip: Annotated[int, msgspec.Meta(ge=0, le=1)]
    mtimecmp: Long
    offset: Long


class UartState(TypedDict):
    """Of `Uart`."""

    ier: Byte
    fcr: Byte
    lcr: Byte
    mcr: Byte
    scr: Byte
    overrun: Byte
    divisor: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
    modem: Byte
    empty_pending: bool
    received: Annotated[bytes, msgspec.Meta(max_length=16)]
    ended: bool
    next_poll: Count


class RtlBenchState(TypedDict):
    """Of `RtlBench`."""

    start: tuple[Count, Count] | None
    counts: tuple[Count, Count] | None
    checksum: Word | None


class CachedHartState(TypedDict):
    """Of `Hart.cache_state`."""

    sites: list[tuple[Word, Count, Count, Count, Count]]
    counts: list[Count]


class CacheState(TypedDict):
    """Of `Cache`."""

    lines: bytes
    tree: bytes
    random: Word
    counts: list[Count]


class CachesState(TypedDict, total=False):
    """Of `Caches`: those that there are."""

    hart: CachedHartState
    icache: CacheState
    dcache: CacheState


class MemoryCacheState(CacheState):
    """Of a platform's cache."""

    accesses: tuple[Count, Count]


class TimedState(TypedDict):
    """Of `Timed`."""

    hart: CachedHartState
    lost: list[tuple[Word, Count, Count, Count, Count, Count, Count, Count, Count, Count, Count]]
    cycles: Count
    pipeline: Annotated[bytes, msgspec.Meta(max_length=256)]
    contents: bytes


class TimedWithCachesState(TimedState, total=False):
    """Of `Timed`, with those of a platform's caches."""

    caches: dict[str, MemoryCacheState]


TYPES: dict[str, Any] = {
    "hart": HartState,
    "csrs": CsrState,
    "console": ConsoleState,
    "files": FilesState,
    "ecall": EcallState,
    "semihosting": SemihostingState,
    "clint": ClintState,
    "uart": UartState,
    "rtl-bench": RtlBenchState,
    "caches": CachesState,
    "timed": TimedWithCachesState,
}
"""State of each part that has any, by its name; a device's name is its kind."""


# -------------------------------------------------------------------------------------------------------------- writing
def save(machine: Machine, path: str) -> None:
    """Write a snapshot file, whole or not at all; see `Machine.save`."""
    snapshot.refuse_fast(machine)
    pages = machine.hart.pages({})
    rest = msgspec.msgpack.encode(
        {"options": machine.options, "sources": machine.sources, "state": snapshot.state_of(machine)}
    )
    if len(rest) > MAX_REST or len(machine.program.image) > MAX_IMAGE:
        raise OutputError(
            f"cannot write {path}: a snapshot holds a program of at most {MAX_IMAGE >> 20} MiB and at most "
            f"{MAX_REST >> 20} MiB of state beside memory; this one would have {len(machine.program.image) >> 20} and "
            f"{len(rest) >> 20} MiB"
        )
    document = {
        "version": VERSION,
        "path": machine.program.path,
        "image": machine.program.image,
        "memory": {
            "addresses": list(pages),
            "sizes": [len(page) for page in pages.values()],
            "data": b"".join(pages.values()),
        },
        "rest": msgspec.Raw(rest),
    }
    body = zlib.compress(msgspec.msgpack.encode(document), 1)
    _write(path, MAGIC + hashlib.sha256(body).digest() + body)


def _write(path: str, data: bytes) -> None:
    # A device or a pipe is written to, not replaced; a link stays and leads to the snapshot.
    special = os.path.exists(path) and not os.path.isfile(path)
    target = path if special else os.path.realpath(path)
    temporary = target if special else f"{target}.{os.getpid()}.tmp"
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            if not special:
                os.replace(temporary, target)
        except BaseException:
            if not special and os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


# -------------------------------------------------------------------------------------------------------------- reading
def load(
    class_: type[Machine],
    path: str,
    *,
    accel: str | Coprocessor | None,
    host_dir: str | None,
    memory_limit: int,
    **streams: Any,
) -> Machine:
    """Read a snapshot file; see `Machine.load`."""
    # A folder that cannot be opened is the caller's mistake, not the file's.
    HostFiles(host_dir)
    try:
        outer = _read(path, memory_limit)
        return _build(class_, outer, accel, host_dir=host_dir, memory_limit=memory_limit, **streams)
    except _Damaged as error:
        raise InputFileError(f"{path} {error}; make the snapshot again") from None
    except _Unasked as error:
        raise UsageError(f"{path} {error}") from None
    except CoprocessorError:
        raise
    except RvsimError as error:
        raise InputFileError(f"{path}: {error}") from None
    except (
        KeyError,
        TypeError,
        ValueError,  # of msgspec, too
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        MemoryError,
        OSError,
    ) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputFileError(f"{path}: the snapshot does not fit together ({what}); make it again") from None


class _Damaged(Exception):
    """What the file is instead of a snapshot."""


class _Unasked(Exception):
    """A coprocessor that the caller has to give, or must not."""


def _read(path: str, memory_limit: int) -> Outer:
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise _Damaged("is no regular file")
        if os.path.getsize(path) > MAX_FILE:
            raise _Damaged(f"has more than {MAX_FILE >> 20} MiB: this is no snapshot of rvsim")
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputFileError(f"cannot read the snapshot: {error.strerror}") from None
    if not data.startswith(MAGIC):
        raise _Damaged(f"is not a snapshot of rvsim (expected it to begin with {MAGIC[:-1].decode()!r})")
    start = len(MAGIC) + 32
    body = memoryview(data)[start:]
    if hashlib.sha256(body).digest() != data[len(MAGIC) : start]:
        raise _Damaged("is damaged: its checksum does not match")
    limit = memory_limit + MAX_IMAGE + MAX_REST
    try:
        unpack = zlib.decompressobj()
        raw = unpack.decompress(body, limit)
        if not unpack.eof and len(raw) >= limit:
            raise _Damaged(
                f"unpacks to more than {limit >> 20} MiB; if its machine has more memory than {memory_limit >> 20} "
                "MiB, allow it with --memory-limit, else it is damaged"
            )
        if not unpack.eof or unpack.unused_data:
            raise _Damaged("is damaged: it ends early or goes on behind its end")
        version = msgspec.msgpack.decode(raw, type=Version).version
        if version != VERSION:
            raise InputFileError(
                f"a snapshot of version {version}, expected version {VERSION}, which this rvsim writes; make it again"
            )
        return msgspec.msgpack.decode(raw, type=Outer)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError) as error:
        raise _Damaged(f"is damaged ({error or type(error).__name__})") from None


def _build(
    class_: type[Machine], outer: Outer, accel: str | Coprocessor | None, *, memory_limit: int, **given: Any
) -> Machine:
    from rvsim.machine.elf import parse_elf

    if len(outer.image) > MAX_IMAGE or len(bytes(outer.rest)) > MAX_REST:
        raise ValueError("the program's image or the state is larger than any that is saved")
    inner = msgspec.msgpack.decode(outer.rest, type=Inner)
    program = parse_elf(outer.image, outer.path, max_memory=memory_limit)
    saved = msgspec.structs.asdict(inner.options)
    with tempfile.TemporaryDirectory() as folder:
        files = {
            path: _unpack(os.path.join(folder, str(n)), texts) for n, (path, texts) in enumerate(inner.sources.items())
        }
        options = {**saved, "isa_ext": [files[path] for path in saved["isa_ext"]]}
        for key in ("core", "accel", "platform"):
            if str(saved[key]).endswith(".toml"):
                options[key] = files[saved[key]]
        options["accel"] = _coprocessor(saved["accel"], options["accel"], inner.sources, accel)
        machine = class_(program, **{**options, **given, "memory_limit": memory_limit})
    machine.options = {**saved, "host_dir": given["host_dir"]}
    machine.sources = inner.sources
    _fill(machine, msgspec.msgpack.decode(outer.memory, type=Memory))
    parts = {name: _part(machine, name, raw) for name, raw in inner.state["parts"].items()}
    _check(parts, inner.state["progress"])
    snapshot.restore_state(machine, {**inner.state, "parts": parts})
    return machine


def _coprocessor(
    saved: str, found: str, sources: dict[str, dict[str, str]], given: str | Coprocessor | None
) -> str | Coprocessor:
    """What to attach, `found` being where the saved file lies now: never code that only a snapshot names."""
    if not _is_code(found):
        if given is not None:
            raise _Unasked("is a snapshot and has its own --accel: leave them out")
        return found
    if given is None:
        what = "an object" if saved == snapshot.OBJECT else saved
        raise _Unasked(
            f"is of a machine whose coprocessor is Python code, {what}, which a snapshot does not bring along: give it "
            "once more (--accel)"
        )
    file = snapshot.python_file(given) if isinstance(given, str) else ""
    before = sources.get(snapshot.python_file(saved))
    if file and before and [*snapshot.sources_of(file).values()] != [*before.values()]:
        raise _Unasked(f"is of another coprocessor than {file} is now: its text has changed")
    return given


def _is_code(accel: str) -> bool:
    """Whether `--accel` leads to Python code outside installed packages."""
    if accel == snapshot.OBJECT or snapshot.python_file(accel):
        return True
    if not accel.endswith(".toml"):
        return False
    with open(accel, "rb") as file:
        kind = msgspec.toml.decode(file.read(), type=dict[str, Any]).get("kind")
    return isinstance(kind, str) and bool(snapshot.python_file(kind))


def _fill(machine: Machine, memory: Memory) -> None:
    pages, at = {}, 0
    for address, size in zip(memory.addresses, memory.sizes, strict=True):
        pages[address] = memory.data[at : at + size]
        at += size
    if at != len(memory.data) or len(pages) != len(memory.sizes):
        raise ValueError("the pages do not make up the memory")
    machine.hart.set_pages(pages)


def _part(machine: Machine, name: str, raw: msgspec.Raw) -> Any:
    kind = name.split()[1] if name.startswith("device ") else name
    if name == "coprocessor" and machine.coprocessor is not None:
        return msgspec.msgpack.decode(raw, type=machine.coprocessor.state_type)
    try:
        return msgspec.msgpack.decode(raw, type=TYPES.get(kind, dict[str, None]))
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from None


def _check(parts: dict[str, Any], progress: Progress) -> None:
    """What types do not say."""
    hart, stop = parts["hart"], progress["stop"]
    if sum(row[2] for row in hart["executed"]) != hart["instructions"]:
        raise ValueError("the executions of instructions do not make up those retired")
    if sum(row[3] for row in hart["executed"]) != hart["cycles"]:
        raise ValueError("the cycles of instructions do not make up the total")
    if sum(row[-1] for row in (*progress["stalls"], *progress["trapped"])) >= 1 << 62:
        raise ValueError("the stalls are longer than any run")
    if (stop[0] == "exit") != (stop[2] is not None):
        raise ValueError(f"a run does not end with {stop[0]} and exit code {stop[2]}")
    for kind, number in parts["semihosting"]["handles"].values():
        if kind == "stream" and number > 2:
            raise ValueError(f"there is no stream {number}")


def _unpack(folder: str, files: dict[str, str]) -> str:
    """Write a file and its imports; the first is the file itself."""
    if not files:
        raise ValueError("a file has no text")
    os.mkdir(folder)
    for name, text in files.items():
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise ValueError(f"{name!r} is no file name")
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    return os.path.join(folder, next(iter(files)))
