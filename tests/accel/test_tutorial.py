"""docs/your-own-accelerator.md: its files are written, its commands run, and print what it shows.

`python tests/accel/test_tutorial.py` writes the page again with what they print now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kernels.build import EXAMPLES_ZIG_VERSION, find_toolchain

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "your-own-accelerator.md"
BLOCK = re.compile(r"(?:^`(?P<file>[\w.-]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
PROGRAMS = {"rvsim": "-m rvsim", "pytest": "-m pytest -p no:cacheprovider", "python": ""}


def replayed(page: str, folder: Path) -> tuple[str, int]:
    """The page with what its commands print in a folder, and the lines of the files that it has one write."""
    programs = folder / "bin"
    programs.mkdir()
    for name, arguments in PROGRAMS.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RVSIM_", "PYTEST_"))}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment |= {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "RVSIM_CACHE": str(folder / "cache")}
    lines = 0

    def replay(found: re.Match[str]) -> str:
        nonlocal lines
        if found["file"]:
            (folder / found["file"]).write_text(found["text"])
            lines += found["text"].count("\n")
        if found["kind"] != "console":
            return found[0]
        command = found["text"].partition("\n")[0].removeprefix("$ ")
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        printed = re.sub(r" in [\d.]+s$", " in ...", done.stdout + done.stderr, flags=re.M)
        return f"```console\n$ {command}\n{printed}```"

    return BLOCK.sub(replay, page), lines


@pytest.mark.peer("ziglang")
def test_every_command_prints_what_is_shown(tmp_path: Path, require_peer: Callable[[str], str]) -> None:
    version = find_toolchain("zig").version
    if version != EXAMPLES_ZIG_VERSION:
        pytest.skip(f"the page is of ziglang {EXAMPLES_ZIG_VERSION}, here is {version}")
    page = PAGE.read_text()
    again, lines = replayed(page, tmp_path)
    assert again.splitlines() == page.splitlines()
    assert f"in {lines} lines" in page and lines < 100


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(replayed(PAGE.read_text(), Path(folder))[0])


if __name__ == "__main__":
    main()
