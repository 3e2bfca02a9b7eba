"""`rvsim new accel NAME`: what it writes passes its own tests, and names that cannot be are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rvsim.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["my_sorter2"])
def test_a_new_coprocessor_passes_its_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "accel", name, "--directory", "units"]) == 0
    folder = tmp_path / "units" / name
    assert str(Path("units", name)) in capsys.readouterr().out
    files = {f"{name}{end}" for end in (".core_desc", ".py", ".h", "_demo.c")} | {f"test_{name}.py", "README.md"}
    assert {path.name for path in folder.iterdir()} == files
    assert not [path for path in folder.iterdir() if "skeleton" in path.read_text().lower()]
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout and (" skipped" not in done.stdout or "needs a compiler" in done.stdout)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Fir", "NAME: expected lower-case letters, digits and underscores, a letter first, at most 30; found 'Fir'"),
        ("../fir", "found '../fir'"),
        ("a" * 31, "at most 30"),
        ("2fir", "found '2fir'"),
        ("fir-8", "found 'fir-8'"),
        ("", "found ''"),
        ("lambda", "'lambda' is a word or a module of Python's own"),
        ("random", "'random' is a word or a module of Python's own"),
        ("conv", "'conv' is taken already"),
        ("on", "'on' is taken already"),
        ("numpy", "'numpy' is taken already"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str) -> None:
    assert main(["new", "accel", name, "--directory", str(tmp_path)]) == 2
    assert text in capsys.readouterr().err and not [*tmp_path.iterdir()]


def test_what_is_there_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fir").mkdir()
    (tmp_path / "file").touch()
    assert main(["new", "accel", "fir", "--directory", str(tmp_path)]) == 73
    assert "exists and is left as it is" in capsys.readouterr().err and not [*(tmp_path / "fir").iterdir()]
    assert main(["new", "accel", "fir", "--directory", str(tmp_path / "file")]) == 73
    assert "cannot be written: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["new"], ["new", "accel"], ["new", "core", "x"]])
def test_what_cannot_be_made(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "rvsim: error: " in capsys.readouterr().err
