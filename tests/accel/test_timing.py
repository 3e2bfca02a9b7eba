"""The timing model is bounded by the array and by the bus, and agrees with SCALE-Sim where that applies."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.conv import timing
from accel.conv.descriptor import ConvLayer, Operation
from accel.conv.parameters import ConvParameters
from tests.accel import strategies

SHARED = Path(os.environ.get("RVSIM_MODELS", Path(__file__).parents[2] / ".." / "shared" / "models")).parent

OPERANDS = ("descriptor", "input", "weights", "bias", "multiplier", "shift", "output", "status")


def bounds(parameters: ConvParameters, layer: ConvLayer) -> timing.Timing:
    """Check what holds for every layer and every coprocessor."""
    result = timing.estimate(parameters, layer)
    moved = [getattr(result, name) for name in OPERANDS]
    assert result.cycles * parameters.processing_elements >= layer.macs
    assert result.cycles * parameters.bus_width_bytes >= sum(m.bytes for m in moved)
    assert result.cycles >= sum(m.accesses for m in moved)
    assert result.cycles * parameters.requantise_per_cycle >= layer.output_bytes
    assert all(m.accesses * parameters.bus_width_bytes >= m.bytes for m in moved)
    assert min(msgspec.structs.astuple(result)[:5]) >= 0
    assert result.input.bytes >= timing.touched_input_bytes(layer)
    assert result.weights.bytes >= layer.weight_bytes
    assert result.output.bytes == layer.output_bytes
    assert result.bias.bytes == (4 * layer.output_channels if layer.bias and layer.has_weights else 0)
    return result


@given(strategies.parameters, strategies.layers(largest=100, channels=300))
def test_no_faster_than_the_array_the_bus_and_the_compulsory_traffic(
    parameters: ConvParameters, layer: ConvLayer
) -> None:
    bounds(parameters, layer)


@given(strategies.parameters, strategies.layers(largest=60, channels=300), st.sampled_from(["ws", "os", "is"]))
def test_more_of_anything_is_never_more_traffic(parameters: ConvParameters, layer: ConvLayer, dataflow: str) -> None:
    parameters = msgspec.structs.replace(parameters, dataflow=dataflow)
    before = bounds(parameters, layer)
    for key in ("input_buffer_kib", "weight_buffer_kib", "output_buffer_kib"):
        after = bounds(msgspec.structs.replace(parameters, **{key: 2 * getattr(parameters, key)}), layer)
        assert after.input.bytes + after.weights.bytes <= before.input.bytes + before.weights.bytes
        assert after.fill_drain_cycles <= before.fill_drain_cycles


@given(strategies.layers(largest=12))
def test_touched_input_is_what_the_windows_cover(layer: ConvLayer) -> None:
    def rows(size: int, output: int, kernel: int, stride: int, dilation: int, pad: int) -> set[int]:
        window = (kernel - 1) * dilation + 1
        return {y for o in range(output) for y in range(o * stride - pad, o * stride - pad + window) if 0 <= y < size}

    height = rows(
        layer.input_height,
        layer.output_height,
        layer.kernel_height,
        layer.stride_height,
        layer.dilation_height,
        layer.rows_above,
    )
    width = rows(
        layer.input_width,
        layer.output_width,
        layer.kernel_width,
        layer.stride_width,
        layer.dilation_width,
        layer.pad_left,
    )
    covered = layer.batches * len(height) * len(width) * layer.input_channels
    assert timing.touched_input_bytes(layer) == covered


PARAMETERS = ConvParameters(
    kind="conv", pe_rows=8, pe_columns=8, dataflow="ws", bus_width_bytes=8, input_buffer_kib=1, weight_buffer_kib=1,
    output_buffer_kib=1, issue_latency_cycles=3, memory_latency_cycles=5, requantise_per_cycle=4,
    operations=("CONV_2D",),
)  # fmt: skip


@pytest.mark.parametrize(
    "dataflow, m, k, n, expected",
    [
        # 2 folds of K, 2 of N; 10 steps fit into the 256 / 8 accumulators: 4 x (10 + 22)
        ("ws", 10, 9, 9, (40, 88)),
        # 33 steps do not: 2 pieces
        ("ws", 33, 9, 9, (132, 176)),
        # one fold of K needs no partial sums
        ("ws", 33, 8, 9, (66, 44)),
        # 2 folds of K, 5 of M, 9 steps
        ("is", 33, 9, 9, (90, 220)),
        # 5 folds of M, 2 of N, 9 steps, 14 to fill
        ("os", 33, 9, 9, (90, 140)),
    ],
)
def test_array_cycles(dataflow: str, m: int, k: int, n: int, expected: tuple[int, int]) -> None:
    parameters = msgspec.structs.replace(PARAMETERS, dataflow=dataflow)
    assert timing.array_cycles(parameters, timing.Product(1, m, k, n)) == expected


@pytest.mark.parametrize(
    "dataflow, batches, depth, units, expected",
    [
        ("ws", 4, 100, 20, (1, 1)),  # all fits
        ("ws", 20, 100, 20, (3, 1)),  # 2000 bytes of input, again for each of 3 folds of units
        ("ws", 40, 200, 20, (3, 2)),  # and a fold's 1600 bytes of weights for each of 2 pieces (40 rows, 32 fit)
        ("is", 4, 100, 20, (1, 1)),  # one fold of rows
        ("is", 20, 100, 20, (1, 3)),  # 2000 bytes of weights, again for each of 3 folds of rows
        ("os", 20, 100, 20, (1, 3)),  # either again, 3 times the same 2000 bytes: a tie
    ],
)
def test_passes(dataflow: str, batches: int, depth: int, units: int, expected: tuple[int, int]) -> None:
    layer = ConvLayer(
        Operation.FULLY_CONNECTED,
        0,
        0,
        0,
        0,
        0,
        0,
        batches,
        1,
        1,
        depth,
        1,
        1,
        units,
        1,
        1,
        1,
        1,
        1,
        1,
        0,
        0,
        0,
        0,
        -128,
        127,
    )
    result = timing.estimate(msgspec.structs.replace(PARAMETERS, dataflow=dataflow), layer)
    passes = result.input.bytes // (batches * depth), result.weights.bytes // (depth * units)
    assert sorted(passes) == sorted(expected) if dataflow == "os" else passes == expected


def test_one_layer_by_hand() -> None:
    """A dense layer 8 -> 8, one row, on 8 x 8 PEs."""
    layer = ConvLayer(
        Operation.FULLY_CONNECTED, 0, 0, 4, 0, 0, 0, 1, 1, 1, 8, 1, 1, 8, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, -128, 127
    )
    result = bounds(PARAMETERS, layer)
    assert result.issue_cycles == 3 + 5 + 112 // 8
    assert (result.compute_cycles, result.fill_drain_cycles) == (1, 22)
    assert result.requantise_cycles == 2  # the last row of 8 sums, 4 a cycle
    # input 1, weights 8, three arrays of 4 each, output 1, status 1: 23 accesses, all behind the 25 cycles before; 5
    # for the first
    assert result.stall_cycles == 5
    assert result.cycles == 22 + 1 + 22 + 2 + 5


def test_array_cycles_equal_scale_sim() -> None:
    path = SHARED / "scalesim" / "scalesim_reference.csv"
    if not path.exists():
        pytest.skip(f"no {path}")
    compared = 0
    for row in csv.DictReader(path.open()):
        if row["config"] != "A_calc_64k" or row["status"] != "ok":
            continue
        parameters = msgspec.structs.replace(
            PARAMETERS,
            pe_rows=int(row["array_rows"]),
            pe_columns=int(row["array_cols"]),
            dataflow=row["dataflow"],
            output_buffer_kib=1 << 20,
        )
        product = timing.Product(1, int(row["gemm_M"]), int(row["gemm_K"]), int(row["gemm_N"]))
        # SCALE-Sim reports the index of the last cycle (its issue 125).
        assert sum(timing.array_cycles(parameters, product)) == int(float(row["ss_compute_cycles"])) + 1, row
        compared += 1
    assert compared == 330
