"""The conformance suite passes what keeps the protocol, and each of its tests catches what it is for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from accel import Coprocessor, InstructionCoprocessor, instruction
from accel.conv import descriptor
from accel.conv.descriptor import ConvLayer, Operation
from accel.testing import FAULT, RAM, SIZE, Case, Conformance, Hart
from tests.accel import reference

# A layer of 5 x 4 pixels, whose tensors lie one behind the other.
LAYER = ConvLayer(
    operation=Operation.CONV_2D, input=RAM + 0x100, weights=RAM + 0x200, bias=RAM + 0x400, output=RAM + 0x500,
    multiplier=RAM + 0x600, shift=RAM + 0x700, batches=1, input_height=5, input_width=4, input_channels=3,
    output_height=5, output_width=4, output_channels=4, kernel_height=3, kernel_width=3, stride_height=1,
    stride_width=1, dilation_height=1, dilation_width=1, pad_top=1, pad_left=1, input_offset=3, output_offset=-2,
    activation_min=-100, activation_max=90,
)  # fmt: skip


class TestConv(Conformance):
    accel = "conv-4x4"
    variants = (
        {"pe_rows": "1", "dataflow": "os"},
        {"bus_width_bytes": "64", "burst_bytes": "64", "memory_latency_cycles": "90"},
        {"input_buffer_kib": "1", "weight_buffer_kib": "1", "output_buffer_kib": "1", "dataflow": "is"},
    )

    def cases(self) -> Iterator[Case]:
        rng = np.random.default_rng(1)
        x, w = (rng.integers(-128, 128, shape).astype("i1") for shape in ((1, 5, 4, 3), (4, 3, 3, 3)))
        bias, multiplier = (rng.integers(low, high, 4).astype("<i4") for low, high in ((-999, 999), (2**30, 2**31 - 1)))
        shift = np.array([-7, -8, -6, -9], "<i4")
        at = RAM + 0x800
        tensors = {"input": x, "weights": w, "bias": bias, "multiplier": multiplier, "shift": shift}
        memory = {getattr(LAYER, name): each.tobytes() for name, each in tensors.items()}
        wanted = reference.run(LAYER, x, w, bias, multiplier, shift).tobytes()
        done = {LAYER.output: wanted, at + descriptor.STATUS_OFFSET: bytes(4)}
        yield Case(
            "a layer", [("conv.start", at), ("conv.status",), ("conv.wait",)],
            memory | {at: descriptor.pack(LAYER, status=9)}, [0, 1, 0], done, [(at, descriptor.SIZE)],
        )  # fmt: skip
        yield Case("no descriptor", [("conv.start", 0x40), ("conv.wait",), ("conv.wait",)], values=[7, None, 7])


class TestSimd(Conformance):
    accel = "simd"
    variants = ({"requantise_cycles": "9"},)

    def cases(self) -> Iterator[Case]:
        rng = np.random.default_rng(2)
        x, w = (rng.integers(-128, 128, (6, 4)).astype("i1") for _ in range(2))
        words = [
            (int.from_bytes(a.tobytes(), "little"), int.from_bytes(b.tobytes(), "little"))
            for a, b in zip(x, w, strict=True)
        ]
        products = (x.astype(int) + 100) * w
        sums = products.sum(axis=1).cumsum()
        yield Case(
            "a dot product", [("simd.offsets", 100, 0), *(("simd.mac", *pair) for pair in words)],
            values=[None, *(int(each) for each in sums)],
        )  # fmt: skip
        high = -(5 << 20), 1 << 30
        calls = [("simd.high", *high), ("simd.high", -(2**31), -(2**31)), ("simd.round", -5, 1), ("simd.clamp", 300)]
        yield Case("requantising", calls, values=[-(5 << 19), 2**31 - 1, -3, 127])


class Sum(InstructionCoprocessor):
    """Adds the words of an array, four at a time, and keeps a total."""

    registers: ClassVar[dict[str, Any]] = {"total": 0}

    @instruction("sum.words", funct3=0, funct7=0)
    def words(self, rs1: int, rs2: int) -> int:
        data = self.load(rs1, 4 * rs2)
        self.total += sum(int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data), 4))
        return self.total & 0xFFFF_FFFF

    @instruction("sum.keep", funct3=0, funct7=1, latency_cycles=2)
    def keep(self, rs1: int) -> None:
        self.store(rs1, (self.total & 0xFFFF_FFFF).to_bytes(4, "little"))


class TestSum(Conformance):
    accel = Sum
    variants = ()

    def cases(self) -> Iterator[Case]:
        words = np.arange(1, 9, dtype="<u4") * 0x2000_0001
        yield Case(
            "two halves, kept", [("sum.words", RAM, 4), ("sum.words", RAM + 16, 4), ("sum.keep", RAM + 32)],
            {RAM: words.tobytes()}, [int(words[:4].sum()) & 0xFFFF_FFFF, int(words.sum()) & 0xFFFF_FFFF],
            {RAM + 32: words.sum(dtype="<u4").tobytes()},
        )  # fmt: skip
        yield Case("beyond the end", [("sum.words", RAM + SIZE - 4, 2)], values=[FAULT])


DESCRIBED = """import "RISCVBase.core_desc"
InstructionSet XCount extends RISCVBase {
    architectural_state { register unsigned<32> COUNT[2]; }
    instructions {
        COUNT_UP {
            encoding: 7'd0 :: 5'd0 :: rs1[4:0] :: 3'd0 :: rd[4:0] :: 7'b0001011;
            assembly: {"count.up", "{name(rd)},{name(rs1)}"};
            behavior: { COUNT[1] = (unsigned<32>)(COUNT[1] + X[rs1]); if (rd != 0) X[rd] = COUNT[1]; }
        }
        COUNT_LOAD {
            encoding: 7'd1 :: 5'd0 :: rs1[4:0] :: 3'd0 :: rd[4:0] :: 7'b0001011;
            assembly: {"count.load", "{name(rd)},{name(rs1)}"};
            behavior: { unsigned<16> half = (unsigned<16>) MEM[X[rs1] + 1 : X[rs1]]; if (rd != 0) X[rd] = half; }
        }
    }
}
"""


@pytest.fixture(scope="module", autouse=True)
def description(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("count") / "count.core_desc"
    path.write_text(DESCRIBED)
    TestDescribed.accel = type("Count", (Coprocessor,), {"description": path})


class TestDescribed(Conformance):
    """One whose instructions are wholly CoreDSL."""

    def cases(self) -> Iterator[Case]:
        memory = {RAM + 2: b"\x34\x12"}
        calls = [("count.up", 5), ("count.up", -1), ("count.load", RAM + 2), ("count.load", 0)]
        yield Case("up and down", calls, memory, [5, 4, 0x1234, FAULT])


# ------------------------------------------------------------------------------------------------------- planted faults


class Chance(Sum):
    counter = itertools.count()

    @instruction("sum.keep", funct3=0, funct7=1)
    def keep(self, rs1: int) -> None:
        self.stall(next(self.counter))
        super().keep(rs1)


class Forgetful(Sum):
    def state(self) -> dict[str, Any]:
        return {"registers": {"total": 0}, "moved": self._moved}


class Sticky(Sum):
    def reset(self) -> None:
        total = getattr(self, "total", 0)
        super().reset()
        self.total = total


class Silent(Sum):
    def report(self, total_cycles: int) -> dict[str, Any]:
        return {"name": self.name}


class Hidden(Sum):
    def load(self, address: int, size: int) -> bytes:
        assert self._port is not None
        return bytes(self._port.view(address, size, False))


class Wrong(Sum):
    @instruction("sum.keep", funct3=0, funct7=1)
    def keep(self, rs1: int) -> None:
        self.store(rs1, bytes(4))


class Careless(Sum):
    @instruction("sum.keep", funct3=0, funct7=1)
    def keep(self, rs1: int) -> None:
        super().keep(rs1)
        [][rs1 < RAM]


class Shared(Sum):
    """Takes the words of lw."""

    def _described(self) -> Any:
        isa = super()._described()
        isa.instructions[0].match = 0x2003
        isa.instructions[0].mask = 0x707F
        return isa


class Unnamed(Sum):
    def report(self, total_cycles: int) -> dict[str, Any]:
        return {**super().report(total_cycles), "name": ""}


PLANTED = [
    (Wrong, "test_results_are_those_of_the_reference", "two halves, kept: memory at 0x80000020: expected 24 00"),
    (Chance, "test_a_case_runs_the_same_twice", "two runs differ"),
    (Sticky, "test_a_reset_unit_is_a_new_one", "behind reset()"),
    (Forgetful, "test_a_snapshot_anywhere_changes_nothing", "a snapshot before call 1"),
    (Silent, "test_traffic_is_counted_and_reported", "load: counted [8, 32], reported {}"),
    (Hidden, "test_traffic_is_counted_and_reported", "load: 32 bytes, 0 counted"),
    (Careless, "test_nonsense_does_no_harm", "IndexError"),
    (Shared, "test_encodings_are_custom_and_different", "sum.words claims words of lw"),
    (Unnamed, "test_the_report_is_json", ""),
]  # fmt: skip


@pytest.mark.parametrize(("unit", "test", "text"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_found(unit: type[Sum], test: str, text: str) -> None:
    suite = type("Suite", (TestSum,), {"accel": unit})()
    with pytest.raises(AssertionError) as caught:
        getattr(suite, test)()
    assert text in str(caught.value)


def test_results_that_depend_on_parameters_are_found() -> None:
    suite = type("Suite", (TestSum,), {"variants": ({"x": "1"},)})
    suite.accel = lambda **parameters: Wrong() if parameters else Sum()  # type: ignore[assignment]
    suite.make = lambda self, **parameters: type(self).accel(**parameters)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=r"two halves, kept: {'x': '1'}"):
        suite().test_parameters_do_not_change_results()


def test_a_mnemonic_that_is_none() -> None:
    with pytest.raises(AssertionError, match=r"no instruction sum; there are sum.words, sum.keep"):
        Hart(Sum(), {}).run("sum")
