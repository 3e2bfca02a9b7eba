"""What the README shows a command to print is what it prints."""

import re
import shlex
from pathlib import Path

import pytest

from rvsim.cli.main import main

README = (Path(__file__).parents[1] / "README.md").read_text()
SHOWN = re.findall(r"^\$ rvsim (.*)\n((?:(?!```).*\n)*)```", README, re.M)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_shown_output(command: str, output: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command)) == 0
    assert capfd.readouterr().out == output


def test_something_is_shown() -> None:
    assert SHOWN
