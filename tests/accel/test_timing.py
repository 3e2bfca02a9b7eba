"""The timing model: bounded by array, bus and compulsory traffic, monotone, and equal to SCALE-Sim."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from accel.conv import timing
from accel.conv.descriptor import ConvLayer, Operation
from accel.conv.parameters import ConvParameters
from rvsim.errors import UsageError
from tests.accel import strategies
from tests.accel.tile_walk import walk

replace = msgspec.structs.replace
LOADS = ("descriptor", "input", "weights", "bias", "multiplier", "shift", "sums_in")
OPERANDS = (*LOADS, "output", "status", "sums_out")
DENSE = (Operation.CONV_2D, Operation.FULLY_CONNECTED)
WHOLE = {"tile_height": 1 << 31, "tile_width": 1 << 31, "tile_output_channels": 1 << 31, "tile_input_channels": 1 << 31}
UNBOUNDED = {"input_buffer_kib": 1 << 20, "weight_buffer_kib": 1 << 20, "output_buffer_kib": 1 << 20}

PARAMETERS = ConvParameters(
    kind="conv", pe_rows=8, pe_columns=8, dataflow="ws", bus_width_bytes=8, input_buffer_kib=1, weight_buffer_kib=1,
    output_buffer_kib=1, issue_latency_cycles=3, memory_latency_cycles=5, requantise_per_cycle=4,
    operations=("CONV_2D",),
)  # fmt: skip


DENSE_LAYER = ConvLayer(
    Operation.FULLY_CONNECTED, 0, 0, 4, 0, 0, 0, 1, 1, 1, 8, 1, 1, 8, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, -128, 127
)


def dense(m: int, k: int, n: int) -> ConvLayer:
    return replace(DENSE_LAYER, batches=m, input_channels=k, output_channels=n)


def needed_input_bytes(layer: ConvLayer) -> int:
    """Count the input bytes that some tap reads: compulsory traffic."""

    def lines(size: int, output: int, kernel: int, stride: int, dilation: int, pad: int) -> int:
        read = {o * stride + k * dilation - pad for o in range(output) for k in range(kernel)}
        return len(read & set(range(size)))

    height = lines(
        *(layer.input_height, layer.output_height, layer.kernel_height),
        *(layer.stride_height, layer.dilation_height, layer.rows_above),
    )
    width = lines(
        *(layer.input_width, layer.output_width, layer.kernel_width),
        *(layer.stride_width, layer.dilation_width, layer.pad_left),
    )
    return layer.batches * height * width * layer.input_channels


def bounds(layer: ConvLayer, parameters: ConvParameters) -> timing.Timing:
    """Check what holds for every layer and every coprocessor."""
    result = timing.estimate(layer, parameters)
    moved = [getattr(result, name) for name in OPERANDS]
    assert result.cycles * parameters.processing_elements >= layer.macs
    assert result.cycles * parameters.bus_width_bytes >= sum(m.bytes for m in moved)
    assert result.cycles >= sum(m.accesses for m in moved)
    assert result.cycles * parameters.requantise_per_cycle >= layer.output_bytes
    assert all(m.bytes <= m.accesses * parameters.bus_width_bytes for m in moved)
    assert all(m.accesses <= m.bytes for m in moved)
    assert min(msgspec.structs.astuple(result)[:6]) >= 0
    # Compulsory traffic, and that of a machine that keeps nothing: every MAC loads its operands and its sum.
    if layer.output_bytes <= 1 << 20:
        assert result.input.bytes >= needed_input_bytes(layer)
    assert result.output.bytes == layer.output_bytes
    if not layer.has_weights:
        assert result.compute_cycles * parameters.pe_columns >= layer.steps
    if layer.operation == Operation.ADD:  # both inputs and the sum are scaled
        assert result.cycles * parameters.requantise_per_cycle >= 3 * layer.output_bytes
        assert result.weights.bytes == layer.output_bytes
    if layer.operation in (*DENSE, Operation.DEPTHWISE_CONV_2D):
        taps = layer.kernel_height * layer.kernel_width
        window = ((layer.kernel_height - 1) * layer.dilation_height + 1) * (
            (layer.kernel_width - 1) * layer.dilation_width + 1
        )
        assert layer.weight_bytes <= result.weights.bytes <= layer.macs
        assert result.input.bytes <= layer.macs * window // taps
        assert result.sums_in.bytes <= layer.macs * parameters.accumulator_bits // 8
        assert result.bias.bytes == (4 * layer.output_channels if layer.bias else 0)
        assert 0 < result.mapping_efficiency <= 1
        assert result.compute_cycles * parameters.processing_elements >= layer.macs
    return result


@given(strategies.layers(largest=60, channels=300), strategies.parameters())
def test_no_faster_than_the_array_the_bus_and_the_compulsory_traffic(
    layer: ConvLayer, parameters: ConvParameters
) -> None:
    bounds(layer, parameters)


@given(strategies.layers(largest=40, channels=200), strategies.parameters(), st.data())
def test_more_of_anything_is_never_slower(layer: ConvLayer, parameters: ConvParameters, data: st.DataObject) -> None:
    key = data.draw(
        st.sampled_from(
            [
                *("input_buffer_kib", "weight_buffer_kib", "output_buffer_kib", "bus_width_bytes"),
                *("outstanding_bursts", "requantise_per_cycle"),
            ]
        )
    )
    assume(key != "bus_width_bytes" or 2 * parameters.bus_width_bytes <= 64)
    before = timing.estimate(layer, parameters)
    after = timing.estimate(layer, replace(parameters, **{key: 2 * getattr(parameters, key)}))
    assert after.cycles <= before.cycles
    assert timing.estimate(layer, replace(parameters, memory_latency_cycles=0)).cycles <= before.cycles
    assert timing.estimate(layer, replace(parameters, fold_overlap=True)).cycles <= before.cycles


@given(strategies.layers(largest=20, channels=100), strategies.parameters(16), st.data())
def test_no_given_mapping_is_faster_than_the_searched_one(
    layer: ConvLayer, parameters: ConvParameters, data: st.DataObject
) -> None:
    """A mapping out of the search's own candidates, given by hand."""
    layer = replace(layer, batches=1)  # the search cuts an image only once there is one in a tile
    best = timing.estimate(layer, parameters)
    assert best.mapping is not None
    smaller = replace(
        parameters,
        tile_height=max(1, data.draw(st.sampled_from([best.mapping.height, -(-best.mapping.height // 2)]))),
        tile_width=best.mapping.width,
        loop_order=data.draw(st.sampled_from(["mnk", "mkn", "nmk", "nkm", "kmn", "knm"])),
    )
    try:
        given_one = timing.estimate(layer, smaller)
    except UsageError:
        return
    assert given_one.cycles >= best.cycles
    assert given_one.mapping is not None
    assert given_one.mapping.height == min(smaller.tile_height, layer.output_height)


@settings(max_examples=150)
@given(strategies.layers(largest=7, channels=9), strategies.parameters(6), st.data())
def test_equals_a_walk_over_sets_of_addresses(
    layer: ConvLayer, parameters: ConvParameters, data: st.DataObject
) -> None:
    assume(layer.operation in (*DENSE, Operation.DEPTHWISE_CONV_2D))
    # Without gaps between windows; those are worked by hand below.
    assume(layer.stride_width <= (layer.kernel_width - 1) * layer.dilation_width + 1)
    assume(layer.stride_height <= (layer.kernel_height - 1) * layer.dilation_height + 1)
    sides = st.integers(1, 5)
    # Tiny tiles, and buffers that hold some operands as a whole and others not: the sizes are in KiB, the layers are
    # not, so the accumulators are what overflows; inputs and weights get there by batches and channels.
    layer = replace(
        layer,
        batches=data.draw(st.integers(1, 40)),
        output_channels=layer.output_channels * (1 if layer.operation == 1 else data.draw(st.integers(1, 30))),
    )
    assume(layer.output_bytes * layer.depth < 200_000 and layer.input_bytes < 20_000)
    given_tiles = replace(
        parameters,
        tile_height=data.draw(sides),
        tile_width=data.draw(sides),
        # Input channels that two tiles share, by a depth multiplier, are loaded for each.
        tile_output_channels=data.draw(st.integers(1, 40)) * -(-layer.output_channels // layer.input_channels),
        tile_input_channels=data.draw(sides),
        loop_order=data.draw(st.sampled_from(["mnk", "mkn", "nmk", "nkm", "kmn", "knm"])),
    )
    try:
        result = timing.estimate(layer, given_tiles)
    except UsageError:
        reject()
    assert result.mapping is not None
    assume(result.mapping.tiles <= 400)
    kernel = (result.mapping.kernel_height, result.mapping.kernel_width)
    assume(kernel == (layer.kernel_height, layer.kernel_width))
    walked = walk(layer, given_tiles, result.mapping)
    for name in ("input", "weights", "sums_in", "sums_out", "output"):
        moved = getattr(result, name)
        assert (name, moved.bytes, moved.accesses) == (name, *getattr(walked, name))
    assert result.layer_cycles - result.status.accesses == walked.cycles


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


@pytest.mark.parametrize(
    "dataflow, m, k, n, folds, compute, fill_drain, sums",
    [
        # 2 folds of K, 2 of N, 33 steps each, 2 x 8 + 8 - 2 to fill; a sum for each fold of K
        ("ws", 33, 9, 9, 4, 132, 88, 2 * 33 * 9),
        ("ws", 33, 8, 9, 2, 66, 44, 33 * 9),
        # 2 folds of K, 5 of M, 9 steps
        ("is", 33, 9, 9, 10, 90, 220, 2 * 33 * 9),
        # 5 folds of M, 2 of N, 9 steps, 14 to fill
        ("os", 33, 9, 9, 10, 90, 140, 33 * 9),
    ],
)
def test_array_cycles(
    dataflow: str, m: int, k: int, n: int, folds: int, compute: int, fill_drain: int, sums: int
) -> None:
    result = timing.estimate(dense(m, k, n), replace(PARAMETERS, dataflow=dataflow, **WHOLE, **UNBOUNDED))
    assert (result.folds, result.compute_cycles, result.fill_drain_cycles) == (folds, compute, fill_drain)
    assert result.buffers.sum_writes == result.buffers.sum_reads == sums


def test_one_layer_by_hand() -> None:
    """A dense layer 8 -> 8, one row, on 8 x 8 PEs."""
    result = bounds(dense(1, 8, 8), PARAMETERS)
    assert result.issue_cycles == 3 + 5 + 112 // 8
    assert (result.compute_cycles, result.fill_drain_cycles) == (1, 22)
    assert result.requantise_cycles == 2  # 8 sums, 4 a cycle
    # 5 for the first word; 1 input, 8 weights, 3 x 4 for bias, multiplier and shift; then 5 + 1 to store the output;
    # 1 for the status.
    assert result.stall_cycles == 5 + 21 + 6 + 1
    assert result.cycles == 22 + 1 + 22 + 2 + 33


def test_partial_sums_that_do_not_fit_cross_the_port_twice() -> None:
    """Order k m n: all sums of a product's part before the next part; 1 KiB holds 128 sums of 4 bytes, twice."""
    parameters = replace(
        PARAMETERS,
        loop_order="kmn",
        tile_height=1,
        tile_output_channels=64,
        tile_input_channels=64,
        weight_buffer_kib=64,
    )
    result = timing.estimate(dense(16, 256, 64), parameters)
    assert result.mapping is not None
    assert (result.mapping.loop_order, result.mapping.input_channels) == ("kmn", 64)
    assert (result.sums_in.bytes, result.sums_out.bytes) == (3 * 16 * 64 * 4, 3 * 16 * 64 * 4)
    inside = timing.estimate(dense(16, 256, 64), replace(parameters, loop_order="mnk"))
    assert (inside.sums_in.bytes, inside.sums_out.bytes) == (0, 0)


def test_strides_that_leave_gaps_fetch_pixel_by_pixel() -> None:
    """1 x 1, stride 2, 12 channels from 8 x 8 pixels: 16 runs of 12 bytes, two bus cycles of 8 bytes each."""
    layer = replace(
        strategies.CONV, input_channels=12, kernel_height=1, kernel_width=1, stride_height=2, stride_width=2, pad_top=0,
        pad_left=0, output_height=4, output_width=4,
    )  # fmt: skip
    result = bounds(layer, replace(PARAMETERS, **UNBOUNDED, **WHOLE))
    assert (result.input.bytes, result.input.accesses) == (16 * 12, 32)


def test_depthwise_packed_keeps_the_array_busy() -> None:
    """9 taps of 64 channels on 8 x 8 PEs: 9 folds without a gap; a channel a column leaves 7 of 16 rows empty."""
    layer = replace(
        strategies.DEPTHWISE, input_height=24, input_width=24, output_height=24, output_width=24, input_channels=64,
        output_channels=64,
    )  # fmt: skip
    parameters = replace(PARAMETERS, **UNBOUNDED, **WHOLE)
    found = {
        mapping: timing.estimate(layer, replace(parameters, depthwise_mapping=mapping))
        for mapping in ("packed", "taps", "single")
    }
    share = {mapping: each.mapping_efficiency for mapping, each in found.items()}
    assert share == {"packed": 1.0, "taps": 9 / 16, "single": 9 / 128}
    # Neighbouring taps hand the input on: 26 columns a row, for each of 3 kernel rows; else 9 taps a pixel.
    reads = {mapping: each.buffers.input_reads for mapping, each in found.items()}
    assert reads == {"packed": 64 * 24 * 3 * 26, "taps": 64 * 24 * 3 * 26, "single": 64 * 24 * 24 * 9}


def test_a_window_larger_than_the_buffer_is_cut() -> None:
    """One channel, 40 x 40 taps on one pixel: half of 1 KiB holds 12 rows of 40, of which none is loaded twice."""
    layer = replace(
        strategies.CONV, input_height=40, input_width=40, input_channels=1, kernel_height=40, kernel_width=40,
        output_height=1, output_width=1, output_channels=5, pad_top=0, pad_left=0,
    )  # fmt: skip
    result = bounds(layer, PARAMETERS)
    assert result.mapping is not None
    assert result.mapping.kernel_height <= 12 and result.mapping.kernel_width == 40
    assert (result.input.bytes, result.input.accesses) == (1600, 200)
    assert (result.weights.bytes, result.weights.accesses) == (8000, 1000)  # a run of whole rows for each channel
    wide = replace(layer, kernel_height=1, kernel_width=1600, input_height=1, input_width=1600)
    result = timing.estimate(wide, replace(PARAMETERS, bus_width_bytes=64))
    assert result.mapping is not None and result.mapping.kernel_width <= 512
    whole, rest = divmod(1600, result.mapping.kernel_width)
    runs = [result.mapping.kernel_width] * whole + [rest] * (rest > 0)
    assert (result.weights.bytes, result.weights.accesses) == (8000, 5 * sum(-(-run // 64) for run in runs))


def halves(size: int) -> list[int]:
    """The sizes that the search tries for a dimension of the layer."""
    sizes = [size]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize(
    "layer",
    [
        dense(24, 96, 48),
        replace(strategies.CONV, input_channels=16, output_channels=24),
        replace(strategies.DEPTHWISE, input_channels=24, output_channels=24),
    ],
)
@pytest.mark.parametrize("change", [{}, {"memory_latency_cycles": 40}, {"bus_width_bytes": 1}])
def test_the_search_finds_the_best_of_all_its_tiles(layer: ConvLayer, dataflow: str, change: dict[str, int]) -> None:
    parameters = replace(PARAMETERS, dataflow=dataflow, output_buffer_kib=2, **change)
    best = []
    for width in halves(layer.output_width):
        for height in halves(layer.output_height) if width == layer.output_width else [1]:
            for outputs in {8 * -(-n // 8) for n in halves(layer.output_channels)} | {1, 2, 4}:
                for inputs in halves(layer.input_channels):
                    for order in ("mnk", "mkn", "nmk", "nkm", "kmn", "knm"):
                        tiles = replace(
                            parameters, tile_height=height, tile_width=width, tile_output_channels=outputs,
                            tile_input_channels=inputs, loop_order=order,
                        )  # fmt: skip
                        try:
                            best.append(timing.estimate(layer, tiles).cycles)
                        except UsageError:
                            continue
    assert timing.estimate(layer, parameters).cycles == min(best)


def scale_sim_rows() -> list[dict[str, str]]:
    """Runs of SCALE-Sim 3.0.0 with 64 KiB buffers and memory that never stalls: 22 layers, 5 arrays, 3 dataflows."""
    with Path(__file__).with_name("scalesim.csv").open() as file:
        return list(csv.DictReader(file))


def test_cycles_reads_and_utilisation_equal_scale_sim() -> None:
    compared = 0
    for row in scale_sim_rows():
        number = {key: int(float(value)) for key, value in row.items() if key[:3] not in ("net", "lay", "kin", "dat")}
        repeat = number["ss_repeat"]  # depthwise: one channel's run
        depthwise = row["kind"] == "dwconv"
        layer = replace(
            strategies.CONV,
            operation=Operation.DEPTHWISE_CONV_2D if depthwise else Operation.CONV_2D,
            input_height=number["ss_ifmap_h"],
            input_width=number["ss_ifmap_w"],
            input_channels=repeat if depthwise else number["cin"],
            output_height=number["oh"],
            output_width=number["ow"],
            output_channels=repeat if depthwise else number["cout"],
            kernel_height=number["kh"],
            kernel_width=number["kw"],
            stride_height=number["stride"],
            stride_width=number["stride"],
            pad_top=0,
            pad_left=0,
        )
        parameters = replace(
            PARAMETERS,
            pe_rows=number["array_rows"],
            pe_columns=number["array_cols"],
            dataflow=row["dataflow"],
            depthwise_mapping="single",
            **UNBOUNDED,
            **WHOLE,
        )
        result = timing.estimate(layer, parameters)
        # SCALE-Sim reports the index of the last cycle (its issue 125).
        assert result.compute_cycles + result.fill_drain_cycles == repeat * (number["ss_compute_cycles"] + 1), row
        assert result.buffers.input_reads == repeat * number["sram_ifmap_reads"], row
        assert result.buffers.weight_reads == repeat * number["sram_filter_reads"], row
        assert 100 * result.mapping_efficiency == pytest.approx(float(row["mapping_eff_pct"]), abs=1e-9), row
        if layer.weight_bytes <= 32 * 1024:  # half of SCALE-Sim's buffer: it loads them once
            assert result.weights.bytes == repeat * number["dram_filter_reads"], row
        compared += 1
    assert compared == 330


def test_a_given_mapping_that_does_not_fit_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"expected tiles of FULLY_CONNECTED .* found none with tile_output_channels = 4096"
    ):
        timing.estimate(dense(4096, 4096, 4096), replace(PARAMETERS, tile_output_channels=4096))


def test_more_tiles_than_can_be_played_are_charged_without_overlap() -> None:
    """A pool over a line of 2**30 pixels: the search neither plays its tiles nor enumerates what they touch."""
    layer = replace(
        strategies.CONV, operation=Operation.AVERAGE_POOL_2D, input_height=3, input_width=1 << 30, input_channels=1,
        output_height=1, output_width=23342209, output_channels=1, kernel_height=1, kernel_width=256, stride_height=3,
        stride_width=46, pad_top=0, pad_left=0,
    )  # fmt: skip
    result = bounds(layer, PARAMETERS)
    assert result.mapping is not None and result.mapping.tiles > 4096
    assert result.layer_cycles >= result.compute_cycles + result.input.bytes + result.output.bytes
