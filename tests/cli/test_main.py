"""Every failure of the command line is one line and its exit status; only what a command needs is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from rvsim.cli import main as cli
from rvsim.errors import ElfError, InputFileError, OutputError, RvsimError, UsageError

ROOT = Path(__file__).parents[2]
DASH_M = [sys.executable, "-m", "rvsim"]


def command(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
    """Make `rvsim run` do what `outcome` says."""

    def fake_main(args: Any) -> int:
        if isinstance(outcome, BaseException):
            raise outcome
        return int(outcome)

    module = types.SimpleNamespace(HELP="help", add_arguments=lambda parser: None, main=fake_main)
    monkeypatch.setattr(cli, "_import", lambda name: module)


@pytest.mark.parametrize(
    ("outcome", "status", "message"),
    [
        (0, 0, ""),
        (7, 7, ""),
        (UsageError("no"), 2, "rvsim: error: no\n"),
        (InputFileError("no"), 65, "rvsim: error: no\n"),
        (ElfError("no"), 66, "rvsim: error: no\n"),
        (OutputError("no"), 73, "rvsim: error: no\n"),
        (RvsimError("no"), 70, "rvsim: error: no\n"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(3), 3, ""),
        (
            KeyError("x\ny"), 70,
            "rvsim: internal error: KeyError: 'x\\ny'; please report it with the command line "
            "(RVSIM_DEBUG=1 says where)\n",
        ),
    ],
)  # fmt: skip
def test_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outcome: Any, status: int, message: str
) -> None:
    command(monkeypatch, outcome)
    monkeypatch.delenv("RVSIM_DEBUG", raising=False)
    assert cli.main(["run"]) == status
    assert capsys.readouterr().err == message


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command(monkeypatch, KeyError("x"))
    monkeypatch.setenv("RVSIM_DEBUG", "1")
    assert cli.main(["run"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean 'run'?"),
        (["zzzz"], f"unknown command 'zzzz'; expected one of {', '.join(cli.COMMANDS)}"),
        ([__file__], "to run a program: rvsim run"),
        (["--versio"], "unknown option '--versio'; did you mean '--version'?"),
        (["run", "--acel", "on", "x"], "unknown option '--acel' of rvsim run; did you mean '--accel'?"),
        (["run", "--acel=on", "x"], "unknown option '--acel' of rvsim run; did you mean '--accel'?"),
        (
            ["run", "--max-inst", "5", "x"],
            "unknown option '--max-inst' of rvsim run; did you mean '--max-instructions'?",
        ),
        (["run"], "the following arguments are required: ELF; see 'rvsim run --help'"),
        (["run", "x", "--core"], "argument --core: expected one argument"),
        (
            ["run", "x", "--max-instructions", "0"],
            "argument --max-instructions: expected a positive integer, found '0'",
        ),
        (["run", "x", "--max-instructions", "1e400"], "expected a positive integer"),
        (["examples", "more"], "rvsim examples does not expect 'more'; see 'rvsim examples --help'"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("rvsim: error: ") and captured.err.count("\n") == 1
    assert message in captured.err


def test_version_and_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rvsim 0.")
    monkeypatch.setattr(cli, "COMMANDS", ("run", "compare", "examples"))
    assert cli.main(["--help"]) == 0
    assert "  compare    run a program on several configurations and compare\n" in capsys.readouterr().out
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "usage: rvsim" in captured.err
    for name in ("run", "compare", "examples"):
        assert cli.main([name, "--help"]) == 0
        assert f"usage: rvsim {name}" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["rvsim", "rvsim.cli", "rvsim.cli.main"])
def test_python_dash_m(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_stops_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*DASH_M, "--version"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_an_output_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*DASH_M, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (73, "rvsim: error: cannot write the output: No space left on device\n")


def test_closed_streams_are_tolerated() -> None:
    script = f"{sys.executable} -m rvsim --version >&- 2>&- <&-"
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--help"], ["run", "missing.elf"], ["examples"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    heavy = {"numpy", "rich", "lark", "elftools", "tflite", "tempfile", "asyncio", "rvsim.cli.compare"}
    if sys.version_info >= (3, 11):  # before, Python's own platform imports it, and msgspec that
        heavy.add("subprocess")
    code = (
        f"import sys; from rvsim.cli.main import main; main({arguments!r}); "
        f"found = {heavy!r} & set(sys.modules); sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("before", "told"), [("", ""), ("import atexit; atexit.register(print, 'told')", "told\n")])
def test_the_program_ends_at_once_unless_somebody_is_to_be_told(before: str, told: str) -> None:
    code = (
        f"import sys; sys.argv = ['rvsim', 'nonsense']; {before}\n"
        "class Late:\n    def __del__(self): print('late')\n"
        "late = Late()\nfrom rvsim.cli.main import program\nprogram()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (2, told and told + "late\n")
    assert done.stderr.startswith("rvsim: error: unknown command 'nonsense'")
