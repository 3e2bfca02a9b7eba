"""Area of coprocessors: reckoned by hand, and beside published totals."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.conv import hardware
from accel.registry import load, names
from rvsim.energy import add_area, area, load_energy
from rvsim.energy.sram import cacti
from rvsim.errors import UsageError
from rvsim.machine import Machine
from rvsim.machine.result import AcceleratorReport, AreaReport, HardwarePart, decode
from tests.conftest import ROOT

NOMINAL = load_energy("45nm-lop")
# NVDLA primer, "Example Area and Performance with NVDLA", nvdla/doc doc/primer.rst at 04a0133: synthesis estimates at
# 28 nm with all memories. MACs, KB of convolution buffer, mm2; the array's sides are ours.
NVDLA = [
    (2048, (64, 32), 512, 5.5),
    (1024, (64, 16), 256, 3.0),
    (512, (32, 16), 256, 2.3),
    (256, (32, 8), 256, 1.7),
    (128, (16, 8), 256, 1.4),
    (64, (8, 8), 128, 0.91),
    (32, (8, 4), 128, 0.85),
]


def parts(accel: str, **settings: Any) -> list[HardwarePart]:
    made = load(accel, {key: str(value) for key, value in settings.items()})
    assert made is not None
    return msgspec.convert(made.report(0)["hardware"], list[HardwarePart])


def test_units_memories_and_published_sizes_add_up() -> None:
    found = area(
        [
            HardwarePart("logic", units={"multiply8": 2, "multiply32": 1, "add32": 3, "register_bit": 10}),
            HardwarePart("memory", sram_kib=8, sram_bits=64, banks=2),
            HardwarePart("unit", kge=10, low_kge=8, high_kge=14, source="a paper"),
        ],
        NOMINAL,
    )
    by_name = {part.name: part.mm2 for part in found.parts}
    assert by_name["logic"] == pytest.approx((2 * 6350 / 16 + 6350 + 3 * 278 + 10 * 5.98) * 1e-6 * (45 / 40) ** 2)
    assert by_name["memory"] == pytest.approx(2 * cacti()["45nm-lop"].rows[4, 64].area_mm2)
    assert by_name["unit"] == pytest.approx(10 * 0.798e-3)
    assert found.mm2 == pytest.approx(sum(by_name.values()))
    assert found.kge == pytest.approx(found.mm2 / 0.798e-3)
    assert {each.source for each in found.constants if each.name == "unit.size"} == {"a paper"}


def test_a_gate_is_a_gate_at_any_node() -> None:
    size = [HardwarePart("unit", kge=10, low_kge=8, high_kge=14, source="a paper")]
    assert area(size, load_energy("28nm")).kge == pytest.approx(10)
    assert area(size, load_energy("28nm")).mm2 == pytest.approx(10 * 0.798e-3 * (28 / 45) ** 2)


@pytest.mark.parametrize("accel", [name for name in names() if name != "off"])
@pytest.mark.parametrize("process", ["45nm-lop", "28nm"])
def test_every_coprocessor_of_ours_has_an_area(accel: str, process: str) -> None:
    found = area(parts(accel), load_energy(process))
    assert 0 < found.low_mm2 < found.mm2 < found.high_mm2
    for part in found.parts:
        assert 0 < part.low_mm2 <= part.mm2 <= part.high_mm2
    assert all(each.source for each in found.constants)


def test_an_xcv_unit_is_what_its_manual_says() -> None:
    """CV32E40P user manual, ASIC Synthesis: 57 kGE with the extensions, 40 without."""
    assert area(parts("xcv"), NOMINAL).kge == pytest.approx(17)
    # Four products of bytes and one requantisation, beside it all: of the same order.
    assert 0.5 < area(parts("simd"), NOMINAL).kge / 17 < 2


def nvdla_like(sides: tuple[int, int], kib: int) -> AreaReport:
    """A coprocessor of ours with as many MACs, and buffers as large."""
    rows, columns = sides
    ours = parts(
        "conv-8x8", pe_rows=rows, pe_columns=columns, input_buffer_kib=kib // 2, weight_buffer_kib=kib // 2,
        output_buffer_kib=2 * columns, requantise_per_cycle=columns // 2, bus_width_bytes=8,
    )  # fmt: skip
    return area(ours, load_energy("28nm"))


@pytest.mark.parametrize(("macs", "sides", "kib", "published"), NVDLA)
def test_beside_nvdla(macs: int, sides: tuple[int, int], kib: int, published: float) -> None:
    """A third of NVDLA, throughout: it has pooling, normalisation and activation engines, and buffers of two ports.

    Ours grows with MACs and buffers as it does, from 32 to 2,048 MACs.
    """
    assert sides[0] * sides[1] == macs
    assert 0.29 < nvdla_like(sides, kib).mm2 / published < 0.40


@given(
    st.sampled_from(["pe_rows", "pe_columns", "input_buffer_kib", "weight_buffer_kib", "output_buffer_kib",
                     "requantise_per_cycle", "outstanding_bursts"]),
    st.integers(4, 100),
    st.integers(1, 100),
)  # fmt: skip
def test_more_of_anything_is_larger(key: str, less: int, more: int) -> None:
    sizes = [area(parts("conv-8x8", **{key: value}), NOMINAL).mm2 for value in (less, less + more)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (HardwarePart("x", units={"lut": 4}), "area of x: expected units of multiply8, .* found 'lut'"),
        (HardwarePart("x", sram_kib=1 << 30), "area of x: expected an SRAM of at most"),
        (HardwarePart("x", sram_kib=-1), "area of x: expected a size and a width above 0"),
    ],
)
def test_what_cannot_be_is_refused(part: HardwarePart, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        area([part], NOMINAL)


def test_a_result_keeps_it(tmp_path: Any) -> None:
    run = Machine.from_elf(ROOT / "kernels/examples/fc_int8.elf", accel="on", stdout=lambda data: None).run()
    found = add_area(run, NOMINAL)
    assert isinstance(found.area, AreaReport)
    assert decode(found.to_json()).area == found.area
    unknown = run.replace(accelerator=AcceleratorReport("yours"))
    assert add_area(unknown, NOMINAL).area is None
    assert [part.name for part in found.area.parts] == [
        part["name"]
        for part in hardware.parts(load("on").parameters)  # type: ignore[union-attr]
    ]
