"""riscv-arch-test: each program leaves the signature that the reference model left.

The suite is not part of this project: RVSIM_ARCH_TEST names work folders of RISCOF in which a reference model has run
(README.md).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from rvsim.cli.main import main

pytestmark = pytest.mark.usefixtures("tier")

FOLDERS = os.environ.get("RVSIM_ARCH_TEST")


class Case(NamedTuple):
    """One test as RISCOF leaves it: the reference's program beside its signature."""

    name: str
    isa: str
    elf: Path
    signature: Path


def cases(folder: Path) -> list[Case]:
    """All tests of one work folder, whose ``NAME_isa_checked.yaml`` says the instruction set."""
    isa = next(
        found["isa"]
        for path in sorted(folder.glob("*_checked.yaml"))
        if (found := re.search(r"^\s*ISA: *(?P<isa>RV32\w+)", path.read_text(), re.MULTILINE))
    )
    letters, _, extensions = isa.partition("Z")
    name = "_".join([letters.rstrip("_"), *("Z" + extensions).split("_")] if extensions else [letters]).lower()
    return [
        Case(f"{folder.name}/{elf.parts[-5]}/{elf.parts[-3]}", name, elf, signature)
        for elf in sorted(folder.glob("**/ref/*.elf"))
        for signature in elf.parent.glob("*.signature")
    ]


CASES = [case for folder in (FOLDERS or "").split(os.pathsep) if folder for case in cases(Path(folder))]

# Never required: the suite comes from elsewhere, also where RVSIM_REQUIRE_PEERS is set.
needs_suite = pytest.mark.skipif(FOLDERS is None, reason="RVSIM_ARCH_TEST names no work folder of RISCOF")


@needs_suite
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_signature_is_the_references(case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "signature"
    options = ["--isa", case.isa, "--set", "core.misaligned=trap", "--max-instructions", "10000000"]
    options += ["--signature", str(found), "--signature-granularity", "4"]
    assert main(["run", "--quiet", *options, str(case.elf)]) == 0, capfd.readouterr().err
    assert found.read_text().splitlines() == case.signature.read_text().splitlines()


@needs_suite
def test_all_groups_are_there() -> None:
    assert {"I", "M", "C", "privilege"} <= {case.elf.parts[-5] for case in CASES}
