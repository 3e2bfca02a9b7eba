"""Cycles of a coprocessor's instructions beyond those of their class, in every model of time."""

from __future__ import annotations

import pytest

from accel.protocol import Coprocessor
from rvsim.errors import UsageError
from rvsim.isa.bundle import bundled
from rvsim.machine.machine import STEPPED
from tests.machine.guest import A0, A1, A2, EXIT, S0, ZERO, addi, bne, li, machine

DOT = next(i for i in bundled("simd").instructions if i.name == "SIMD_DOT")
WORD = DOT.match | sum(f.insert({"rd": A0, "rs1": A1, "rs2": A2}.get(f.name, 0)) for f in DOT.fields)


@pytest.mark.parametrize("core", ["cv32e40p", "inorder", "picorv32"])
@pytest.mark.parametrize(
    ("timing", "rounds"), [("table", 50), ("exact", 50), ("fast", 50), ("fast", STEPPED // 2), ("retime", 50)]
)
def test_each_execution_takes_them(core, timing, rounds):
    """Also behind the first STEPPED instructions, where fast leaves the pipeline."""
    cycles = []
    for latency in ("1", "4"):
        how = "table" if timing == "retime" else timing
        settings = {"accel.dot_cycles": latency}
        loop = [li(S0, rounds), WORD, addi(S0, S0, -1), bne(S0, ZERO, -8), EXIT]
        result = machine(*loop, accel="simd", core=core, timing=how, settings=settings).run()
        if timing == "retime":
            result = result.retime(core=core)
        cycles.append(result.cycles)
        assert sum(f.cycles for f in result.functions) == result.cycles
    assert cycles[1] - cycles[0] == 3 * rounds


@pytest.mark.parametrize("latency", [-1, 1001, 1.5, True, None])
def test_one_that_is_none_is_refused(latency, monkeypatch):
    monkeypatch.setattr(Coprocessor, "latency", lambda self, name: latency)
    monkeypatch.setattr("accel.simd.coprocessor.SimdCoprocessor.latency", Coprocessor.latency)
    with pytest.raises(UsageError, match=r"simd: latency of SIMD_.*expected 0 to 1000 cycles"):
        machine(EXIT, accel="simd")
