"""`rvsim run --save`, `rvsim run FILE.snap`, and the options that a machine's surroundings have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rvsim.asm import assemble
from tests.machine import programs

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rvsim(tmp_path: Path) -> Cli:
    root = Path(programs.__file__).parents[2]

    def call(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        command = [sys.executable, "-m", "rvsim", *(str(each) for each in arguments)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, env=environment, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return call


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files.elf").write_bytes(assemble(programs.FILES, isa="rv32imc"))
    (tmp_path / "host").mkdir()
    return tmp_path / "files.elf"


def test_a_run_goes_on_in_another_process(rvsim: Cli, files: Path, tmp_path: Path) -> None:
    """Three processes print together what one prints, and count what one counts."""
    whole = rvsim("run", files, "--host-dir", "host", "--json", "whole.json", "--quiet", stdin=programs.INPUT)
    first = rvsim(
        "run", files, "--host-dir", "host", "--max-instructions", 100, "--save", "a.snap", "--quiet",
        stdin=programs.INPUT,
    )  # fmt: skip
    second = rvsim(
        "run", "a.snap", "--host-dir", "host", "--max-instructions", 100, "--save", "b.snap", "--quiet",
        stdin=programs.INPUT,
    )  # fmt: skip
    third = rvsim(
        "run", "b.snap", "--host-dir", "host", "--json", "end.json", "--quiet", "--save", "c.snap", stdin=programs.INPUT
    )
    assert (first[0], second[0], third[0]) == (124, 124, whole[0]) and whole[0] == 5
    assert first[1].rstrip("\n") + second[1].rstrip("\n") + third[1] == whole[1]
    results = [json.loads((tmp_path / name).read_text()) for name in ("whole.json", "end.json")]
    for result in results:
        del result["host_seconds"]
    assert results[0] == results[1]
    # One that was saved behind its end tells of it again.
    again = rvsim("run", "c.snap", "--json", "again.json", "--quiet")
    assert again[:2] == (5, "") and json.loads((tmp_path / "again.json").read_text())["exit_code"] == 5


def test_a_file_that_cannot_be_opened_again_is_told_of(rvsim: Cli, files: Path) -> None:
    rvsim("run", files, "--host-dir", "host", "--max-instructions", 100, "--save", "a.snap")
    status, _, errors = rvsim("run", "a.snap", "--max-instructions", 1)
    assert (
        status == 124 and "rvsim: warning: linux: the program has it open" in errors and "(give --host-dir)" in errors
    )
    assert rvsim("run", "a.snap", "--host-dir", "nowhere")[0] == 2


@pytest.mark.parametrize(
    "options",
    [
        ["argument"], ["--core", "ideal"], ["--accel", "on"], ["--set", "core.clock_mhz=50"],
        ["--memory", "sram=0x20000000,64"], ["--isa", "rv32i"], ["--isa-ext", "x"], ["--device", "none"],
        ["--input", "x.npy"],
    ],
)  # fmt: skip
def test_options_that_a_snapshot_has_itself(rvsim: Cli, options: list[str]) -> None:
    rvsim("run", "hello", "--max-instructions", 10, "--save", "a.snap", "--quiet")
    status, _, errors = rvsim("run", "a.snap", *options)
    assert status == 2 and "a.snap is a snapshot and has its own" in errors and "leave them out" in errors
    assert (options[0] if options[0].startswith("--") else "ARGS") in errors


def test_where_a_snapshot_cannot_go(rvsim: Cli, tmp_path: Path) -> None:
    rvsim("run", "hello", "--max-instructions", 10, "--save", "a.snap", "--quiet")
    assert rvsim("run", "hello", "--save", "no/where")[0] == 73
    assert rvsim("run", "a.snap", "--save", "a.snap")[0] == 2
    assert rvsim("run", "hello", "--save", "x", "--json", "x")[0] == 2
    (tmp_path / "bad.snap").write_bytes((tmp_path / "a.snap").read_bytes()[:-1])
    status, out, errors = rvsim("run", "bad.snap")
    assert (status, out) == (65, "") and errors.startswith("rvsim: ") and "its checksum does not match" in errors


def test_more_memory_is_allowed_by_who_loads(rvsim: Cli) -> None:
    big = ["--memory", "big=0x20000000,1310720"]
    assert rvsim("run", "hello", *big)[0] == 2
    assert rvsim("run", "hello", *big, "--memory-limit", 2048, "--max-instructions", 3, "--save", "a.snap")[0] == 124
    assert rvsim("run", "a.snap")[0] == 65
    assert rvsim("run", "a.snap", "--memory-limit", 2048, "--quiet")[0] == 0


def test_a_pipe_is_not_waited_for(rvsim: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert rvsim("run", "pipe")[0] == 66
