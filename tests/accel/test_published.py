"""docs/validation-accelerators.md is what its kept figures say, and the figures are what the simulator gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernels.build import find_toolchain
from tests.accel import published_figures
from tests.accel.published_figures import DOCUMENT, FIGURES, KWS, KWS_RUNGS, PERSON, PERSON_RUNGS, TICK


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(FIGURES.read_text())
    return kept


def test_the_document_is_written_from_the_figures(figures: dict[str, Any]) -> None:
    assert DOCUMENT.read_text() == published_figures.document(figures), "run: make validation-accelerators"


def test_the_figures_are_of_these_rungs(figures: dict[str, Any]) -> None:
    for key, rungs in (("person_0", PERSON_RUNGS), ("person_2", PERSON_RUNGS), ("kws", KWS_RUNGS)):
        assert [each["rung"] for each in figures[key]] == [rung.name for rung in rungs]
        assert all(each["bit_exact"] for each in figures[key])


def test_ours_lie_beside_the_published_ones(figures: dict[str, Any]) -> None:
    """A quarter up or down; the baseline of the keyword spotter, whose flash is not known, apart."""
    person = [each["cycles"] / cycles for each, cycles in zip(figures["person_0"], PERSON, strict=True)]
    kws = [each["cycles"] / TICK / row[0] for each, row in zip(figures["kws"], KWS, strict=True)]
    assert all(0.75 < quotient < 1.25 for quotient in [*person, *kws[1:]])


@pytest.mark.peer("riscv64-unknown-elf-gcc")
def test_pulp_nn_again(figures: dict[str, Any], tmp_path: Path) -> None:
    if figures["compiler"] != f"GCC {find_toolchain('gcc').version}":
        pytest.skip(f"the figures are of {figures['compiler']}")
    kept = figures["pulp"]
    assert published_figures.run_pulp(tmp_path, True) == kept["xcv"], "run: make validation-accelerators"
    assert kept["xcv"]["checksum"] == kept["rv32imc"]["checksum"]
