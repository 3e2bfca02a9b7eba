"""Snapshots: a run that goes on from one, from disk or in memory, is the run that was never interrupted."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.errors import ElfError, InputFileError, OutputError, UsageError
from rvsim.machine import Machine
from rvsim.machine.result import RunResult
from tests.machine import programs
from tests.machine.guest import A0, A7, BASE, ECALL, EXIT, NOP, ZERO, addi, jal, li, machine, sw
from tests.machine.programs import LIMIT, PROGRAMS, everything, guest

pytestmark = pytest.mark.usefixtures("tier")

MAGIC = b"rvsim snapshot\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    def make() -> Path:
        path = tmp_path_factory.getbasetemp() / "host"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    return make


@pytest.fixture(scope="module")
def uninterrupted(folder: Callable[[], Path]) -> Callable[[str], dict[str, Any]]:
    """Where a program ends when nobody looks."""
    known: dict[str, dict[str, Any]] = {}

    def run(name: str) -> dict[str, Any]:
        if name not in known:
            g, here = guest(name), folder()
            m = g.machine(host_dir=str(here))
            assert m.run(LIMIT).stop_reason == "exit"
            known[name] = everything(m, g, here)
        return known[name]

    return run


CUTS = st.lists(st.integers(0, 400) | st.integers(0, 80_000), min_size=1, max_size=3)
NAMES = st.sampled_from(list(PROGRAMS))


@settings(max_examples=60)
@given(name=NAMES, cuts=CUTS)
def test_from_disk(
    name: str,
    cuts: list[int],
    folder: Callable[[], Path],
    uninterrupted: Callable[[str], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each process runs some instructions and saves; the last one runs to the end."""
    end, g, here = uninterrupted(name), guest(name), folder()
    path = tmp_path_factory.getbasetemp() / "cut.snap"
    m = g.machine(host_dir=str(here))
    for cut in cuts:
        m.resume(cut)
        m.save(path)
        m = Machine.load(path, host_dir=str(here), **g.streams())
    m.resume(LIMIT)
    assert everything(m, g, here) == end


@settings(max_examples=60)
@given(name=NAMES, cuts=CUTS, back=st.lists(st.integers(0, 3), max_size=5))
def test_in_memory(name: str, cuts: list[int], back: list[int], folder: Callable[[], Path], uninterrupted: Any) -> None:
    """Back and forth between checkpoints; nothing is printed twice, input is read again."""
    end, g, here = uninterrupted(name), guest(name), folder()
    m = g.machine(host_dir=str(here))
    checkpoints = [m.checkpoint()]
    for cut in cuts:
        m.resume(cut)
        checkpoints.append(m.checkpoint(checkpoints[-1]))
    for n in back:
        m.resume(1000)
        m.rollback(checkpoints[min(n, len(checkpoints) - 1)])
    m.resume(LIMIT)
    found = everything(m, g, here)
    assert found == end


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_checkpoint_of_the_end(name: str, folder: Callable[[], Path], uninterrupted: Any) -> None:
    """Back from the end, the program runs again; back at the end, it has ended."""
    end, g, here = uninterrupted(name), guest(name), folder()
    m = g.machine(host_dir=str(here))
    first = m.checkpoint()
    m.resume(LIMIT)
    last = m.checkpoint(first)
    m.rollback(first)
    assert m.run(LIMIT).exit_code == end["result"]["exit_code"]
    assert everything(m, g, here) == end
    m.rollback(first)
    m.rollback(last)
    assert m.stop.reason == "exit" and m.resume().reason == "exit"
    with pytest.raises(UsageError, match="has ended"):
        m.run()


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("cut", [0, 1, 100, LIMIT])
def test_reset_is_a_fresh_machine(name: str, cut: int, folder: Callable[[], Path]) -> None:
    g, here = guest(name), folder()
    m = g.machine(host_dir=str(here))
    fresh = everything(m, g, here)
    m.add_breakpoint(BASE + 0x1234)
    m.resume(cut)
    m.write_memory(m.pc & -4096, b"rubbish")
    m.reset()
    for file in here.iterdir():
        file.unlink()
    g.printed.clear()
    assert everything(m, g, here) == fresh
    assert m.result().host_seconds == 0 and m.breakpoints == {BASE + 0x1234}


def test_a_reset_run_is_the_run(folder: Callable[[], Path], uninterrupted: Any) -> None:
    for name in ("conv", "patches", "atomics", "mac"):
        g, here = guest(name), folder()
        m = g.machine(host_dir=str(here))
        m.resume(333)
        m.reset()
        g.printed.clear()
        m.resume(LIMIT)
        assert everything(m, g, here) == uninterrupted(name), name


def test_pages_are_shared() -> None:
    m = machine(li(A7, BASE + 0x5000), sw(ZERO, A7, 0), addi(A0, A0, 1), sw(A0, A7, 0), jal(ZERO, -8))
    m.write_memory(BASE + 0x3000, b"x" * 4096)
    first = m.checkpoint()
    m.resume(10)
    second = m.checkpoint(first)
    assert set(second.pages) - set(first.pages) == {BASE + 0x5000}
    assert all(second.pages[at] is page for at, page in first.pages.items())
    assert (first.instructions, second.instructions, second.cycles) == (0, 10, m.cycles)
    # Pages of zeros are left out.
    assert set(first.pages) <= {BASE, BASE + 0x3000, BASE + (16 << 20) - 4096}


# ------------------------------------------------------------------------------------------------ what a file holds
def saved(tmp_path: Path, name: str = "hello", cut: int = 20, **options: Any) -> Path:
    path = tmp_path / f"{name}.snap"
    m = guest(name).machine(**options)
    m.resume(cut)
    m.save(path)
    return path


def test_a_layer_that_is_running(tmp_path: Path) -> None:
    """The coprocessor is busy in the file, and the hart waits for it in the other process as long as in this one."""
    g = guest("conv")
    m = g.machine()
    while not (m.coprocessor and m.coprocessor.commands):
        m.resume(step=True)
    m.save(tmp_path / "busy")
    other = Machine.load(tmp_path / "busy", **guest("conv").streams())
    assert other.coprocessor is not None and m.coprocessor is not None
    assert other.coprocessor.commands == m.coprocessor.commands
    assert other.coprocessor.commands[0].end_cycle > other.cycles  # type: ignore[attr-defined]
    m.resume(LIMIT)
    other.resume(LIMIT)
    assert m.result().accelerator == other.result().accelerator and m.cycles == other.cycles


def test_it_needs_no_other_file(tmp_path: Path) -> None:
    """Descriptions, cores and coprocessors given as files are kept as they were; saved again, they still are."""
    core, accel, added = tmp_path / "mine.toml", tmp_path / "wide.toml", tmp_path / "mac.core_desc"
    root = Path(programs.__file__).parents[2]
    core.write_bytes((root / "rvsim/timing/cores/ibex-small.toml").read_bytes())
    accel.write_bytes((root / "accel/conv/presets/conv-8x8.toml").read_bytes())
    shutil.copy(programs.MAC_FILE, added)
    g = guest("mac")
    m = g.machine(core=str(core), accel=str(accel), isa_ext=[str(added)])
    m.resume(50)
    for file in (core, accel, added):
        file.unlink()
    m.save(tmp_path / "one")
    Machine.load(tmp_path / "one").save(tmp_path / "two")
    other = Machine.load(tmp_path / "two")
    assert other.result().accel == "wide" and other.options == m.options
    m.resume()
    other.resume()
    assert (other.registers, other.cycles, other.stop.reason) == (m.registers, m.cycles, "exit")


def test_the_end_is_kept(tmp_path: Path) -> None:
    m = Machine.load(saved(tmp_path, "patches", LIMIT))
    assert m.stop.reason == "exit" and m.result().exit_code == 92
    m = machine(0, core="ideal")
    m.resume()
    m.save(tmp_path / "bad")
    assert Machine.load(tmp_path / "bad").stop == m.stop


def test_files_that_cannot_be_opened_again(tmp_path: Path) -> None:
    here = tmp_path / "host"
    here.mkdir()
    path = saved(tmp_path, "files", 40, host_dir=str(here))
    m = Machine.load(path, **guest("files").streams())
    assert [w for w in m.warnings if "has it open" in w] == m.warnings and len(m.warnings) == 2
    assert "linux" in m.warnings[0] and "--host-dir" in m.warnings[0]
    with pytest.raises(UsageError, match=r"--host-dir: expected a folder that can be read"):
        Machine.load(path, host_dir=str(tmp_path / "nowhere"))


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()
    m = guest("hello").machine()

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(OutputError, match=r"cannot write .*hello\.snap: No space left on device"):
            m.save(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            m.save(path)
    with pytest.raises(OutputError, match="No such file or directory"):
        m.save(tmp_path / "no" / "folder")
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["hello.snap"]


def test_saving_into_a_link_or_a_pipe(tmp_path: Path) -> None:
    """A link stays; what is no regular file is written to, not replaced."""
    m = guest("hello").machine()
    (tmp_path / "link").symlink_to("target")
    m.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and Machine.load(tmp_path / "target").pc == m.pc
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    m.save(tmp_path / "pipe")
    assert reader.communicate(timeout=10)[0].startswith(MAGIC) and (tmp_path / "pipe").is_fifo()


# ------------------------------------------------------------------------------------------------ what is refused
def packed(body: bytes) -> bytes:
    body = zlib.compress(body, 9)
    return MAGIC + hashlib.sha256(body).digest() + body


def reject(path: Path, data: bytes, message: str, **options: Any) -> None:
    path.write_bytes(data)
    with pytest.raises(InputFileError) as caught:
        Machine.load(path, **options)
    text = str(caught.value)
    assert text.startswith(str(path)) and message in text and "\n" not in text, text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a snapshot of rvsim"),
        (b"\x7fELF" + bytes(100), "is not a snapshot of rvsim"),
        (MAGIC, "its checksum does not match"),
        (MAGIC + bytes(64), "its checksum does not match"),
        (MAGIC + hashlib.sha256(b"x").digest() + b"x", "is damaged"),
        (MAGIC + hashlib.sha256(b"").digest(), "ends early"),
        (packed(b""), "is damaged"),
        (packed(b"\xc1"), "is damaged"),
        (packed(msgspec.msgpack.encode(7)), "is damaged"),
        (packed(msgspec.msgpack.encode({})), "version"),
        (packed(msgspec.msgpack.encode({"version": "2"})), "version"),
        (packed(msgspec.msgpack.encode({"version": 1, "other": [1]})), "version 1, expected version 4"),
        (packed(msgspec.msgpack.encode({"version": 99})), "version 99, expected version 4, which this rvsim writes"),
        (packed(msgspec.msgpack.encode({"version": 4})), "does not fit together"),
    ],
)
def test_files_that_are_no_snapshot(data: bytes, message: str, tmp_path: Path) -> None:
    reject(tmp_path / "x.snap", data, message)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "no regular file"),
        (tmp_path / "pipe", "no regular file"),
        (tmp_path / "x", "No such"),
    ):
        with pytest.raises(InputFileError, match=message):
            Machine.load(path)


@settings(max_examples=200)
@given(data=st.data())
def test_damage_is_noticed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One bit, or everything behind some byte."""
    folder = tmp_path_factory.getbasetemp()
    path = folder / "hello.snap"
    whole = (path if path.exists() else saved(folder)).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = bytearray(whole)
    broken[at] ^= 1 << data.draw(st.integers(0, 7))
    reject(folder / "damaged.snap", bytes(broken) if data.draw(st.booleans()) else whole[:at], "s")


BOMBS = {
    "nesting": b"\x91" * 1_000_000,
    "a rest that is nested": {"rest": b"\x91" * 1_000_000},
    "a list that is not there": {"rest": b"\xdd\xff\xff\xff\xff"},
    "options that are nested": {"options": b"\x91" * 100_000},
    "many empty lists": {"parts": b"\xdd\x03\x00\x00\x00" + b"\x90" * (3 << 24)},
    "a part of many empty lists": {"console": b"\xdd\x03\x00\x00\x00" + b"\x90" * (3 << 24)},
    "a coprocessor that is not there": {"coprocessor": b"\xdd\x03\x00\x00\x00" + b"\x90" * (3 << 24)},
}


def document(path: Path) -> dict[str, Any]:
    raw = zlib.decompress(path.read_bytes()[len(MAGIC) + 32 :])
    return dict(msgspec.msgpack.decode(raw, strict=False))


@pytest.fixture
def bounded() -> Iterator[None]:
    """What Python allocates stays below 400 MiB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 << 20


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, tmp_path: Path) -> None:
    bomb = BOMBS[name]
    if isinstance(bomb, bytes):
        reject(tmp_path / "x.snap", packed(bomb), "is damaged")
        return
    ((where, raw),) = bomb.items()
    made: Any = document(saved(tmp_path, cut=5))
    inner = {"rest": made, "options": made["rest"], "parts": made["rest"]["state"]}.get(where)
    if inner is None:
        inner = made["rest"]["state"]["parts"]
    inner[where] = msgspec.Raw(raw)
    reject(tmp_path / "x.snap", packed(msgspec.msgpack.encode(made)), "")


@pytest.mark.usefixtures("bounded")
def test_a_zip_bomb(tmp_path: Path) -> None:
    """A file may not unpack to more than the machine's memory, whatever it says itself."""
    made = document(saved(tmp_path, cut=5))
    made["memory"]["data"] = b""
    made["rest"]["options"]["memory_limit"] = 1 << 40
    pack = zlib.compressobj(9)
    head = msgspec.msgpack.encode(made)
    body = pack.compress(head) + b"".join(pack.compress(bytes(1 << 20)) for _ in range(200)) + pack.flush()
    data = MAGIC + hashlib.sha256(body).digest() + body
    reject(tmp_path / "x.snap", data, "allow it with --memory-limit, else it is damaged", memory_limit=1 << 20)


def test_memory_is_bounded_by_the_one_who_loads(tmp_path: Path) -> None:
    m = guest("hello").machine(memory=["big=0x20000000,1310720"], memory_limit=2 << 30)
    m.save(tmp_path / "big")
    reject(tmp_path / "big", (tmp_path / "big").read_bytes(), "the limit is 1024 MiB")
    other = Machine.load(tmp_path / "big", memory_limit=2 << 30)
    assert other.options == m.options


def edit(document: Any, path: str, value: Any) -> Any:
    *steps, last = path.split(".")
    node = document
    for step in steps:
        node = node[int(step) if isinstance(node, list) else step]
    node[int(last) if isinstance(node, list) else last] = value
    return document


STATE = "rest.state.parts"
HOSTILE = [
    ("rest.options.stdout", "print"),
    ("rest.options.host_dir", "/"),  # is not an error: but no folder of the host is opened
    ("rest.options.core", "/dev/zero.toml"),
    ("rest.options.accel", "../../x.toml"),
    ("rest.options.core", "ibex\0"),
    ("rest.options.memory", ["big=0x0,4194303"]),
    ("rest.options.memory_limit", -1),
    ("rest.options.isa", "rv64gc"),
    ("rest.options.isa_ext", ["/etc/passwd"]),
    ("rest.options.isa_ext", [3]),
    ("rest.options.settings", {"core.clock_mhz": "nan"}),
    ("rest.options.devices", ["uart=0x80000000"]),
    ("rest.sources", {"x": {}}),
    ("rest.sources", {"x": {"../../escape": "text"}}),
    ("rest.sources", {"x": {"/tmp/escape": "text"}}),
    ("rest.sources", {"x": {"\0": "text"}}),
    ("memory.addresses.0", 0),
    ("memory.addresses", []),
    ("memory.sizes.0", 1 << 31),
    ("memory.sizes.0", 0),
    ("memory.data", b"short"),
    ("memory.data", 1 << 40),
    ("image", b"\x7fELF"),
    ("image", 1 << 40),
    ("path", 3),
    ("rest.state.registers", {"X": 3}),
    ("rest.state.parts", {}),
    ("rest.state.progress.stop.0", "rubbish"),
    ("rest.state.progress.stop.0", "exit"),
    ("rest.state.progress.stop.2", 0),
    ("rest.state.progress.stalls", [[0, (1 << 62) - 1]] * 3),
    ("rest.state.progress.coprocessor_fault", [1, 2]),
    (f"{STATE}.hart.x.3", -1),
    (f"{STATE}.hart.x.3", 1 << 63),
    (f"{STATE}.hart.x", [0] * 31),
    (f"{STATE}.hart.instructions", 7),
    (f"{STATE}.hart.cycles", (1 << 64) - 1),
    (f"{STATE}.hart.executed.0.1", 60_000),
    (f"{STATE}.hart.executed.0.2", (1 << 62) - 1),
    (f"{STATE}.hart.executed.0.3", (1 << 62) - 1),
    (f"{STATE}.hart.fetch", []),
    (f"{STATE}.csrs.mtvec", "0"),
    (f"{STATE}.csrs.counters", [[0, -5]]),
    (f"{STATE}.csrs.pmp.cfg", [1]),
    (f"{STATE}.console.read", -1),
    (f"{STATE}.console.chunk", 1 << 63),
    (f"{STATE}.console.written", [0, 0, 0]),
    (f"{STATE}.files.files", {"x": [b"a", 0, 0, 0]}),
    (f"{STATE}.files.files", {"3": ["a", 0, 0, 0]}),
    (f"{STATE}.files.files", {"3": [b"a", 3, 0, 0]}),
    (f"{STATE}.files.files", {str(n): [b"a", 0, 0, 0] for n in range(1000)}),
    (f"{STATE}.ecall.break", -1),
    (f"{STATE}.ecall.free", [1]),
    (f"{STATE}.semihosting.handles", {"1": ["stream", 7]}),
    (f"{STATE}.semihosting.handles", {"1": ["device", 1]}),
    (f"{STATE}.device clint 0x2000000.mtimecmp", -1),
    (f"{STATE}.device clint 0x2000000.offset", "x"),
    (f"{STATE}.device uart 0x10000000.received", b"x" * 1000),
    (f"{STATE}.device uart 0x10000000.fcr", 1 << 20),
    (f"{STATE}.device uart 0x10000000.next_poll", None),
    (f"{STATE}.device finisher 0x100000", {"x": 1}),
    (f"{STATE}.device finisher 0x100000", []),
    (f"{STATE}.device other 0x200000", {}),
    (f"{STATE}.coprocessor.commands.0.timing", []),
    (f"{STATE}.coprocessor.busy_until", "soon"),
    (f"{STATE}.coprocessor.status", 99),
    (f"{STATE}.coprocessor.fault", [1]),
]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    return saved(folder, "conv", 72_000)


@pytest.mark.parametrize(("path", "value"), HOSTILE, ids=[f"{path}={value!r:.20}" for path, value in HOSTILE])
def test_hostile_values(path: str, value: Any, honest: Path, tmp_path: Path) -> None:
    """Under a checksum that is right: an error of ours, or a machine that runs."""
    made = edit(document(honest), path, value)
    (tmp_path / "x.snap").write_bytes(packed(msgspec.msgpack.encode(made)))
    try:
        m = Machine.load(tmp_path / "x.snap", **guest("conv").streams())
    except InputFileError as error:
        assert str(error).startswith(str(tmp_path / "x.snap")) and "\n" not in str(error)
        assert path != "rest.options.host_dir"
    else:
        assert path == "rest.options.host_dir" or path.endswith(".free"), "this was believed"
        assert m.options["host_dir"] is None
        m.run(100_000).to_json()
    assert not (tmp_path.parent / "escape").exists()


VALUES = st.one_of(
    st.none(), st.booleans(), st.floats(), st.binary(max_size=5), st.text(max_size=5), st.just([]), st.just({}),
    st.integers(-(1 << 63), (1 << 64) - 1), st.sampled_from([0, 1, -1, (1 << 32) - 1, (1 << 62) - 1, (1 << 64) - 1]),
)  # fmt: skip


@settings(max_examples=300)
@given(data=st.data())
def test_any_value_anywhere(data: st.DataObject, honest: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = node = document(honest)
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.integers(0, 9)) == 0:
            break
        node = node[key]
    node[key] = data.draw(VALUES)
    path = tmp_path_factory.getbasetemp() / "any.snap"
    path.write_bytes(packed(msgspec.msgpack.encode(made)))
    try:
        m = Machine.load(path, **guest("conv").streams())
        for _ in range(20):
            m.resume(50)
            m.result().to_json()
        m.save(path)
        assert isinstance(Machine.load(path).result(), RunResult)
    except (InputFileError, ElfError):
        pass


# ------------------------------------------------------------------------------------------------ Ctrl-C
def test_interrupted_while_it_waits_for_input() -> None:
    """The read is done when the program goes on; nothing is lost, nothing is printed twice, nothing counted twice."""
    presses = [True, True, False]

    def stdin(size: int) -> bytes:
        if presses.pop(0):
            raise KeyboardInterrupt
        return b"a"

    read = [addi(A0, ZERO, 0), *li(11, BASE + 0x1000), addi(12, ZERO, 1), addi(A7, ZERO, 63), ECALL]
    m = machine(read, addi(A0, A0, 40), EXIT, stdin=stdin)
    assert m.resume().reason == "interrupted"
    at = m.checkpoint()
    assert m.resume().reason == "interrupted"
    m.rollback(at)
    assert (m.pc, m.instructions) == (BASE + 20, 5)
    result = m.run()
    assert (result.exit_code, result.instructions, m.read_memory(BASE + 0x1000, 1)) == (41, 9, b"a")


def test_interrupted_while_it_prints() -> None:
    printed = bytearray()

    def stdout(data: bytes) -> None:
        printed.extend(data)
        if len(printed) == 1:
            raise KeyboardInterrupt

    write = [addi(A0, ZERO, 1), *li(11, BASE), addi(12, ZERO, 1), addi(A7, ZERO, 64), ECALL]
    m = machine(write, NOP, EXIT, stdout=stdout)
    assert m.resume().reason == "interrupted"
    assert m.run().exit_code == 1 and len(printed) == 1


CTRL_C = """
import sys, _thread, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.machine.programs import everything, guest, LIMIT
import tempfile
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    g = guest("dense")
    m = g.machine(); m.run(LIMIT); end = everything(m, g, folder)
    for delay in range(40):
        g = guest("dense"); m = g.machine(); start = m.checkpoint()
        timer = threading.Timer(delay / 4000, _thread.interrupt_main)
        try:
            timer.start()
            m.resume(LIMIT)
            timer.join()
            for _ in range(1000): pass
        except KeyboardInterrupt:
            pass
        if delay % 2:
            m.rollback(start)
        while m.resume(LIMIT).reason == "interrupted": pass
        assert everything(m, g, folder) == end, delay
"""


def test_ctrl_c_at_any_time() -> None:
    """Real signals: the run goes on, or goes back, as if they had not been."""
    root = str(Path(programs.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", CTRL_C, root], capture_output=True, text=True, timeout=120, cwd=root)
    assert done.returncode == 0, done.stderr
