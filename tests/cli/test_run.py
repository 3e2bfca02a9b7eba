"""`rvsim run`: what reaches the machine, what is written where, and what is refused before the run."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kernels
from rvsim.cli import run
from rvsim.cli.main import main
from rvsim.errors import InputFileError, OutputError
from rvsim.machine.result import RunResult

_SPEC = importlib.util.spec_from_file_location("elf_cases", Path(__file__).parents[1] / "machine" / "test_elf.py")
assert _SPEC and _SPEC.loader
elf_cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(elf_cases)


class FakeMachine:
    """Stands for rvsim.machine.Machine: notes what it is asked for, says hello, ends as told."""

    made: list[FakeMachine]
    ending: dict[str, Any]
    text: bytes

    def __init__(self, program: Any, options: dict[str, Any]) -> None:
        self.program, self.options = program, options
        self.input: np.ndarray | None = None
        self.limit: int | None = None
        self.warnings = list(program.notes)
        FakeMachine.made.append(self)

    @classmethod
    def from_elf(cls, program: Any, **options: Any) -> FakeMachine:
        return cls(program, options)

    def write_input(self, array: np.ndarray) -> None:
        self.input = array

    def run(self, max_instructions: int | None = None) -> RunResult:
        self.limit = max_instructions
        self.options["stdout"](type(self).text)
        fields: dict[str, Any] = {
            "program": self.program.path, "core": self.options["core"], "clock_mhz": 100.0,
            "accel": self.options["accel"], "exit_code": 0, "stop_reason": "exit", "instructions": 10,
            "cycles": 20 if self.options["accel"] == "off" else 5,
        }  # fmt: skip
        return RunResult(**{**fields, **FakeMachine.ending})

    def read_output(self) -> np.ndarray:
        return np.arange(4, dtype=np.int8)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> type[FakeMachine]:
    FakeMachine.made, FakeMachine.ending, FakeMachine.text = [], {}, b"hello"
    monkeypatch.setattr("rvsim.machine.Machine", FakeMachine, raising=False)
    return FakeMachine


@pytest.fixture
def elf(tmp_path: Path) -> str:
    path = tmp_path / "demo.elf"
    path.write_bytes(elf_cases.build())
    return str(path)


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rvsim(machine: type[FakeMachine], capfd: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: object) -> tuple[int, str, str]:
        status = main([str(each) for each in arguments])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


def test_the_guest_speaks_first_then_the_table(rvsim: Cli, elf: str) -> None:
    status, out, err = rvsim("run", elf)
    assert (status, err) == (0, "")
    assert out.startswith("hello\nprogram ")  # the guest's line is ended for it
    assert "cycles          20\n" in out


def test_quiet_leaves_the_guest_alone(rvsim: Cli, elf: str) -> None:
    assert rvsim("run", elf, "--quiet") == (0, "hello\n", "")


def test_every_option_reaches_the_machine(rvsim: Cli, elf: str, machine: type[FakeMachine], tmp_path: Path) -> None:
    array = np.array([[[[1], [2]], [[3], [4]]]], dtype=np.int8)
    np.save(tmp_path / "in.npy", array)
    rvsim(
        "run", "--accel", "on", elf, "one", "--core", "cv32e40p", "-5", "--set", "core.clock_mhz=50",
        "--set", "accel.rows = 4",
        "--memory", "sram=0x20000000,64", "--isa-ext", "a.core_desc", "--isa-ext", "b.core_desc",
        "--max-instructions", "1e6", "--input", tmp_path / "in.npy", "two", "--", "--core", "x", "--",
    )  # fmt: skip
    made = machine.made[0]
    options = made.options
    assert made.program.path == elf
    assert options["args"] == ("one", "-5", "two", "--core", "x", "--")
    assert (options["accel"], options["core"]) == ("on", "cv32e40p")
    assert options["settings"] == {"core.clock_mhz": "50", "accel.rows": "4"}
    assert options["memory"] == ("sram=0x20000000,64",)
    assert options["isa_ext"] == ("a.core_desc", "b.core_desc")
    assert made.limit == 1_000_000
    assert made.input is not None
    np.testing.assert_array_equal(made.input, array)


def test_defaults(rvsim: Cli, elf: str, machine: type[FakeMachine]) -> None:
    rvsim("run", elf)
    options = machine.made[0].options
    assert {key: options[key] for key in ("args", "core", "accel", "settings", "isa_ext", "memory")} == {
        "args": (), "core": "ibex-small", "accel": "off", "settings": {}, "isa_ext": (), "memory": (),
    }  # fmt: skip
    assert machine.made[0].limit is None


def test_what_is_broken_without_harm_is_a_warning(rvsim: Cli, elf: str) -> None:
    Path(elf).write_bytes(elf_cases.build(shnum=0))
    assert rvsim("run", elf)[2] == (
        "rvsim: warning: no symbol table: functions and data have no names; do not strip the program\n"
    )
    assert rvsim("run", elf, "--quiet")[2] == ""


def test_json_on_stdout_is_one_document(rvsim: Cli, elf: str) -> None:
    status, out, err = rvsim("run", elf, "--json", "-")
    assert json.loads(out)["schema"] == "rvsim.run/1"
    assert (status, err) == (0, "hello\n")


def test_json_to_a_file(rvsim: Cli, elf: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text("old")
    _, out, _ = rvsim("run", elf, "--json", file)
    assert json.loads(file.read_text())["cycles"] == 20
    assert "cycles          20\n" in out
    assert sorted(os.listdir(tmp_path)) == ["demo.elf", "run.json"]


def test_output_tensor(rvsim: Cli, elf: str, tmp_path: Path) -> None:
    rvsim("run", elf, "--output", tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.arange(4, dtype=np.int8))


@pytest.mark.parametrize(
    ("reason", "status"),
    [("limit", 124), ("illegal-instruction", 132), ("access-fault", 139), ("breakpoint", 133), ("trap", 134)],
)
def test_a_run_without_an_end(
    rvsim: Cli, elf: str, machine: type[FakeMachine], tmp_path: Path, reason: str, status: int
) -> None:
    machine.ending = {"stop_reason": reason, "exit_code": None, "message": "stopped at 0x80000000 in _start"}
    got, out, err = rvsim("run", elf, "--output", tmp_path / "out.npy")
    assert got == status
    assert err == (
        "rvsim: stopped at 0x80000000 in _start\n"
        f"rvsim: {tmp_path}/out.npy is not written: the program did not come to its end\n"
    )
    assert f"ended with      {reason}" in out
    assert not (tmp_path / "out.npy").exists()


def test_the_guests_exit_status_is_ours(rvsim: Cli, elf: str, machine: type[FakeMachine]) -> None:
    machine.ending = {"exit_code": 42}
    assert rvsim("run", elf)[0] == 42


def test_a_bundled_program_by_name(
    rvsim: Cli, elf: str, machine: type[FakeMachine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundled = tmp_path / "tiny.elf"
    bundled.write_bytes(Path(elf).read_bytes())
    (tmp_path / "tiny.c").write_text("/* does little */\n")
    monkeypatch.setattr(kernels, "files", lambda: {"tiny.elf": str(bundled)})
    monkeypatch.chdir("/")
    assert rvsim("run", "tiny")[0] == 0
    assert rvsim("run", "tiny.elf")[0] == 0
    assert machine.made[-1].program.path == "tiny.elf"
    assert rvsim("run", "tin") == (
        66, "", "rvsim: error: tin is neither a file nor a bundled program (tiny.elf); check the path\n"
    )  # fmt: skip
    assert rvsim("run", "./tin") == (
        66, "", "rvsim: error: ./tin does not exist: expected a RISC-V ELF executable; check the path\n"
    )  # fmt: skip
    (tmp_path / "tiny").write_bytes(elf_cases.build())
    monkeypatch.chdir(tmp_path)
    rvsim("run", "tiny")
    assert machine.made[-1].program.path == "tiny"  # a path wins
    assert rvsim("examples") == (0, "tiny  does little\n", "")
    assert rvsim("examples", "--path") == (0, f"tiny  {bundled}\n", "")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--output", "{tmp}/no/out.npy"], 73, "there is no folder {tmp}/no; make it first"),
        (["--json", "{tmp}"], 73, "cannot write {tmp}: it is a directory; name a file in it"),
        (["--json", "{elf}"], 2, "{elf} is the program itself"),
        (["--json", "{tmp}/a", "--output", "{tmp}/./a"], 2, "--json and --output both name"),
        (["--input", "{tmp}/none.npy"], 65, "cannot read {tmp}/none.npy: No such file"),
        (["--set", "rows"], 2, "--set: expected KEY=VALUE, found 'rows'"),
        (["--set", "a=1", "--set", "a=2"], 2, "--set: a is set to 1 and to 2"),
    ],
)
def test_refused_before_the_run(
    rvsim: Cli, elf: str, machine: type[FakeMachine], tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    got, out, err = rvsim("run", elf, *(each.format(tmp=tmp_path, elf=elf) for each in arguments))
    assert (got, out, machine.made) == (status, "", [])
    assert message.format(tmp=tmp_path, elf=elf) in err and err.count("\n") == 1


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_a_program_without_tensors(rvsim: Cli, machine: type[FakeMachine], tmp_path: Path, option: str) -> None:
    elf = tmp_path / "plain.elf"
    elf.write_bytes(elf_cases.build(io=None))
    status, _, err = rvsim("run", elf, option, tmp_path / "a.npy")
    assert (status, machine.made) == (2, [])
    assert f"{elf} declares no {option[2:]} tensor in its section .rvsim.io" in err


def test_a_folder_that_is_not_writable(
    rvsim: Cli, elf: str, machine: type[FakeMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root writes everywhere
    status, _, err = rvsim("run", elf, "--output", tmp_path / "a.npy")
    assert (status, machine.made) == (73, [])
    assert err == f"rvsim: error: cannot write {tmp_path}/a.npy: the folder {tmp_path} is not writable\n"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x93NUM", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"PK\x03\x04", b"hello",
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '|i1', 'fortran_order': False, 'shape': (10**15,), }        \n",
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '|i1', 'fortran_order': False, 'shape': (999999999999,), }  \n",
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }              \n1",
    ],
)  # fmt: skip
def test_a_wrong_npy_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(InputFileError) as caught:
        run.read_npy(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("1_000", 1000), ("1e9", 10**9), ("0x10", 16), ("2.5e3", 2500)])
def test_counts(text: str, value: int) -> None:
    assert run._count(text) == value


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "nan", "inf", "1e30", "many"])
def test_counts_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a positive integer"):
        run._count(text)


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    run.write_file(str(tmp_path / "link"), b"new")
    assert target.read_bytes() == b"new" and (tmp_path / "link").is_symlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
        run.write_file(str(target), b"newer")
    assert target.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["a", "link"]
    run.write_file("/dev/null", b"x")
    assert not os.path.isfile("/dev/null")


def test_stdin_reaches_the_guest(
    rvsim: Cli, elf: str, machine: type[FakeMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.write(write, b"abcdef")
    os.close(write)
    with os.fdopen(read) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        rvsim("run", elf)
        stdin = machine.made[0].options["stdin"]
        assert [stdin(4), stdin(1 << 32), stdin(4)] == [b"abcd", b"ef", b""]


def test_compare(rvsim: Cli, elf: str, machine: type[FakeMachine], tmp_path: Path) -> None:
    status, out, err = rvsim("compare", elf, "--json", tmp_path / "c.json", "arg")
    assert (status, err) == (0, "")
    assert [each.options["accel"] for each in machine.made] == ["off", "on"]
    assert machine.made[1].options["args"] == ("arg",)
    assert "speed-up         1.00x  4.00x\n" in out
    assert out.startswith("off: hello\non: hello\nThe same output, output tensor and exit status in all runs.\n")
    document = json.loads((tmp_path / "c.json").read_text())
    assert (document["identical"], document["speed_up"]) == (True, [1.0, 4.0])
    _, out, _ = rvsim("compare", elf, "--json", "-")
    assert json.loads(out)["labels"] == ["off", "on"]
    _, out, _ = rvsim("compare", elf, "--core", "a,b", "--json", "-", "--accel", "off")
    assert json.loads(out)["labels"] == ["a", "b"]
    _, out, _ = rvsim("compare", elf, "--core", "a,b", "--json", "-")
    assert json.loads(out)["labels"] == ["a/off", "a/on", "b/off", "b/on"]
    assert rvsim("compare", elf, "--quiet")[1] == ""
    assert rvsim("compare", elf, "--accel", "on,on")[0] == 2
    assert rvsim("compare", elf, "--accel", "on,")[0] == 2


def test_compare_finds_a_difference(
    rvsim: Cli, elf: str, machine: type[FakeMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeMachine, "read_output", lambda self: np.array([len(FakeMachine.made)], dtype=np.int8))
    status, _, err = rvsim("compare", elf)
    assert (status, err) == (1, "rvsim: off and on have different output tensors: 1 of 1 bytes, the first at byte 0\n")


def test_compare_passes_the_guests_status_on(rvsim: Cli, elf: str, machine: type[FakeMachine]) -> None:
    machine.ending = {"exit_code": 3}
    assert rvsim("compare", elf)[0] == 3
    machine.ending = {"stop_reason": "limit", "exit_code": None, "message": "limit reached"}
    status, _, err = rvsim("compare", elf)
    assert (status, err) == (124, "rvsim: off: limit reached\nrvsim: on: limit reached\n")
    machine.ending = {"stop_reason": "interrupted", "exit_code": None}
    machine.made.clear()
    assert rvsim("compare", elf)[0] == 130
    assert len(machine.made) == 1


def test_compare_gives_every_run_the_same_stdin(
    rvsim: Cli, elf: str, machine: type[FakeMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def reading(self: FakeMachine, limit: int | None = None) -> RunResult:
        seen.append([self.options["stdin"](size) for size in (2, 100, 1)])
        return RunResult(
            program="", core="", clock_mhz=1.0, accel="", exit_code=0, stop_reason="exit", instructions=1, cycles=1
        )

    monkeypatch.setattr(FakeMachine, "run", reading)
    read, write = os.pipe()
    os.write(write, b"abcdef")
    os.close(write)
    with os.fdopen(read) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        assert rvsim("compare", elf)[0] == 0
    assert seen == [[b"ab", b"cdef", b""]] * 2
