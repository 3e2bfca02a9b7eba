"""The skeleton unit keeps the coprocessor protocol, computes what NumPy does, and makes its demo faster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from accel.testing import FAULT, RAM, Case, Conformance
from kernels.build import build_program, find_toolchain
from rvsim.errors import UsageError
from rvsim.machine import Machine

HERE = Path(__file__).parent
UNIT = str(HERE / "skeleton.py")


class TestSkeleton(Conformance):
    accel = UNIT
    variants = ({"lanes": "1"}, {"lanes": "64", "bus_width_bytes": "16"}, {"latency_cycles": "0"})

    def cases(self) -> Iterator[Case]:
        rng = np.random.default_rng(1)
        for length in (0, 1, 4, 33):
            x, y = (rng.integers(-128, 128, length).astype(np.int8) for _ in range(2))
            expected = int(x.astype(int) @ y.astype(int))
            calls = [("skeleton.length", length), ("skeleton.dot", RAM, RAM + 100), ("skeleton.dot", RAM, RAM + 100)]
            yield Case(
                f"{length} elements", calls, {RAM: x.tobytes(), RAM + 100: y.tobytes()}, [None, expected, expected]
            )
        yield Case("outside memory", [("skeleton.length", 8), ("skeleton.dot", 0, RAM)], values=[None, FAULT])


def test_the_demo_is_faster_with_the_unit(tmp_path: Path) -> None:
    try:
        toolchain = find_toolchain()
    except UsageError as error:
        pytest.skip(f"the demo needs a compiler: {error}")
    elf = build_program([HERE / "skeleton_demo.c"], tmp_path / "demo.elf", include=[HERE], toolchain=toolchain)
    runs = {}
    for accel in ("off", UNIT):
        printed = bytearray()
        result = Machine.from_elf(elf, accel=accel, stdout=printed.extend).run()
        runs[accel] = (result.exit_code, bytes(printed))
        if accel == "off":
            baseline = result.cycles
    assert runs["off"] == runs[UNIT] and runs["off"][0] == 0
    assert result.cycles < baseline
