"""The function computes what TFLite Micro computes."""

from __future__ import annotations

import json
import os
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.conv import descriptor, function
from accel.conv.descriptor import POOLS, ConvLayer, Operation, Status, Tensors
from tests.accel import reference, strategies

MODELS = Path(os.environ.get("RVSIM_MODELS", Path(__file__).parents[2] / ".." / "shared" / "models"))


ALL = sum(1 << operation for operation in Operation)


def weight_shape(layer: ConvLayer) -> tuple[int, ...]:
    if layer.operation == Operation.ADD:
        return input_shape(layer)
    if layer.operation == Operation.DEPTHWISE_CONV_2D:
        return 1, layer.kernel_height, layer.kernel_width, layer.output_channels
    return layer.output_channels, layer.kernel_height, layer.kernel_width, layer.input_channels


def input_shape(layer: ConvLayer) -> tuple[int, ...]:
    return layer.batches, layer.input_height, layer.input_width, layer.input_channels


def compute(
    layer: ConvLayer,
    x: np.ndarray,
    w: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    m: np.ndarray | None = None,
    s: np.ndarray | None = None,
) -> np.ndarray:
    """Run the function under test on arrays."""
    output = bytearray(layer.output_bytes)
    views = [None if a is None else memoryview(a.tobytes()) for a in (x, w, bias, m, s)]
    assert descriptor.check(descriptor.MAGIC, layer, ALL) == Status.DONE
    assert function.execute(layer, Tensors(*views, memoryview(output))) == Status.DONE  # type: ignore[arg-type]
    return np.frombuffer(output, np.int8).reshape(
        layer.batches, layer.output_height, layer.output_width, layer.output_channels
    )


@settings(max_examples=150, deadline=None)
@given(
    strategies.layers() | strategies.layers(largest=5, channels=9, extreme=True),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["typical", "any"]),
)
def test_every_layer_equals_the_reference(layer: ConvLayer, seed: int, scales: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, input_shape(layer), np.int8)
    if layer.operation in POOLS:
        np.testing.assert_array_equal(compute(layer, x), reference.run(layer, x, None, None, None, None))
        return
    w = rng.integers(-128, 128, weight_shape(layer), np.int8)
    span = 2**12 if scales == "typical" else 2**31
    bias = (
        rng.integers(-span, span, layer.output_channels).astype(np.int32) if layer.bias and layer.has_weights else None
    )
    m = rng.integers(2**30 if scales == "typical" else 0, 2**31, layer.multipliers).astype(np.int32)
    low, high = (-12, -4) if scales == "typical" else (function.SHIFT_MIN, function.SHIFT_MAX)
    s = rng.integers(low, high + 1, layer.multipliers).astype(np.int32)
    if layer.operation == Operation.ADD and scales == "typical":
        s = np.array([0, 0, -19], np.int32) - rng.integers(0, 4, 3).astype(np.int32)
    np.testing.assert_array_equal(compute(layer, x, w, bias, m, s), reference.run(layer, x, w, bias, m, s))


def dense(depth: int, units: int, **changes: int) -> ConvLayer:
    """Give the smallest plain layer with these channels: offsets 0, no clamp."""
    plain = {"input_channels": depth, "output_channels": units, "bias": 4, "input_offset": 0, "output_offset": 0}
    return msgspec.structs.replace(strategies.DENSE, **{**plain, **changes})


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**31 - 1), st.integers(-31, 30), st.integers(-128, 127))
@settings(deadline=None)
def test_requantisation_of_every_accumulator(accumulator: int, multiplier: int, shift: int, zero_point: int) -> None:
    one = [np.array([v], np.int32) for v in (accumulator, multiplier, shift)]
    got = compute(dense(1, 1, output_offset=zero_point), np.zeros(1, np.int8), np.zeros(1, np.int8), *one)
    expected = min(max(reference.requantise(accumulator, multiplier, shift) + zero_point, -128), 127)
    assert got.item() == expected


@pytest.mark.parametrize(
    "accumulator, multiplier, shift, expected",
    [
        (3, 2**30, 0, 2),  # 1.5: the first rounding takes a tie up
        (-3, 2**30, 0, -1),  # -1.5: and up again
        (6, 2**30, -1, 2),  # 1.5: the second rounding takes a tie away from zero
        (-6, 2**30, -1, -2),
        (5, 2**30, -1, 2),  # 1.25 rounded twice: 3 / 2 = 1.5, then 2; once would give 1
        (2**31 - 1, 2**31 - 1, 0, 127),
        (-(2**31), 2**31 - 1, 30, 0),  # the left shift wraps around
        (100, 0, 0, 0),
    ],
)
def test_requantisation_rounds_twice(accumulator: int, multiplier: int, shift: int, expected: int) -> None:
    one = [np.array([v], np.int32) for v in (accumulator, multiplier, shift)]
    assert compute(dense(1, 1), np.zeros(1, np.int8), np.zeros(1, np.int8), *one).item() == expected


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 255, 256])
def test_averages_are_to_nearest_ties_away_from_zero(taps: int) -> None:
    """Sums around each multiple of half an output step, a window each; some of them ties where `taps` is even."""
    sums = [k * taps // 2 + d for k in range(-5, 6) for d in (-1, 0, 1)]
    x = np.array([[total // taps + (i < total % taps) for i in range(taps)] for total in sums], np.int8)
    assert x.sum(axis=1, dtype=int).tolist() == sums
    layer = dense(1, 1, operation=Operation.AVERAGE_POOL_2D, batches=len(sums), input_width=taps, kernel_width=taps)
    exact = [Fraction(total, taps) for total in sums]
    expected = [int(abs(average) + Fraction(1, 2)) * (1 if average > 0 else -1) for average in exact]
    assert compute(layer, x).ravel().tolist() == expected


@pytest.mark.parametrize("operation", [Operation.FULLY_CONNECTED, Operation.CONV_2D, Operation.DEPTHWISE_CONV_2D])
def test_accumulator_wraps_around_like_int32(operation: Operation) -> None:
    # (-128 - 127) * -128 = 32640, summed 65794 times, is past 2^31 by 32512: the sum is negative.
    depth = 65794
    layer = dense(depth, 1, operation=operation, input_offset=-127)
    if operation == Operation.DEPTHWISE_CONV_2D:
        layer = dense(1, 1, operation=operation, input_offset=-127, input_width=depth, kernel_width=depth)
    full = np.full(depth, -128, np.int8)
    scale = [np.array([v], np.int32) for v in (0, 2**30, -24)]
    assert compute(layer, full, full, *scale).item() == -64


def test_a_depth_beyond_one_chunk_and_more_outputs_than_one_block() -> None:
    rng = np.random.default_rng(1)
    layer = dense(5003, 7, batches=40, input_offset=3)
    x, w = rng.integers(-128, 128, (40, 1, 1, 5003), np.int8), rng.integers(-128, 128, (7, 1, 1, 5003), np.int8)
    m, s, bias = (np.full(7, v, np.int32) for v in (2**30 + 12345, -13, 77))
    np.testing.assert_array_equal(compute(layer, x, w, bias, m, s), reference.run(layer, x, w, bias, m, s))


def test_overlapping_output_reads_everything_first() -> None:
    rng = np.random.default_rng(2)
    layer = dense(16, 16, batches=4)
    data = bytearray(rng.integers(-128, 128, 512, np.int8).tobytes())
    m, s = np.full(16, 2**30, np.int32), np.full(16, -8, np.int32)
    x, w = np.frombuffer(bytes(data[:64]), np.int8), np.frombuffer(bytes(data[32:288]), np.int8)
    expected = compute(layer, x, w, None, m, s).tobytes()
    view = memoryview(data)
    tensors = Tensors(view[:64], view[32:288], None, memoryview(m.tobytes()), memoryview(s.tobytes()), view[16:80])
    assert function.execute(layer, tensors) == Status.DONE
    assert bytes(data[16:80]) == expected


@pytest.mark.parametrize("bad_first", [False, True])
@pytest.mark.parametrize(
    "multiplier, shift", [(-1, 0), (-(2**31), 0), (0, 31), (0, -32), (0, -(2**31)), (0, 2**31 - 1)]
)
def test_requantisation_out_of_range_is_refused_and_writes_nothing(
    multiplier: int, shift: int, bad_first: bool
) -> None:
    output = bytearray(b"\x55" * 2)
    per_channel = [memoryview(np.array([0, v], np.int32).tobytes()) for v in (multiplier, shift)]
    if bad_first:
        per_channel = [memoryview(bytes(view)[4:] + bytes(view)[:4]) for view in per_channel]
    tensors = Tensors(memoryview(b"1"), memoryview(b"12"), None, *per_channel, memoryview(output))
    assert function.execute(dense(1, 2), tensors) == Status.OUT_OF_RANGE
    assert output == b"\x55\x55"


def quantised(factor: float) -> tuple[int, int]:
    """Split a factor into multiplier and shift (TFLite's QuantizeMultiplier)."""
    mantissa, shift = np.frexp(factor)
    multiplier = int(np.floor(float(mantissa) * 2**31 + 0.5))
    if shift < -31:
        return 0, 0
    return (multiplier // 2, int(shift) + 1) if multiplier == 2**31 else (multiplier, int(shift))


class Network:
    """A model with its recorded tensors, read without the project's own reader."""

    def __init__(self, name: str) -> None:
        self.schema = pytest.importorskip("tflite")
        if not (MODELS / f"{name}.tflite").exists():
            pytest.skip(f"no models in {MODELS}; set RVSIM_MODELS")
        self.model = self.schema.Model.GetRootAs((MODELS / f"{name}.tflite").read_bytes(), 0)
        self.graph = self.model.Subgraphs(0)
        self.recorded = np.load(MODELS / f"{name}.tensors.npz")
        self.operators = json.loads((MODELS / f"{name}.json").read_text())["operators"]

    def scale(self, i: int) -> np.ndarray:
        return self.graph.Tensors(i).Quantization().ScaleAsNumpy().astype(np.float64)

    def zero(self, i: int) -> int:
        return int(self.graph.Tensors(i).Quantization().ZeroPoint(0))

    def constant(self, i: int, dtype: type) -> np.ndarray:
        tensor = self.graph.Tensors(i)
        return self.model.Buffers(tensor.Buffer()).DataAsNumpy().view(dtype).reshape(tensor.ShapeAsNumpy())

    def options(self, i: int, kind: str) -> Any:
        options = getattr(self.schema, kind)()
        table = self.graph.Operators(i).BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options

    def activation(self, options: Any, output: int) -> tuple[int, int]:
        kinds, kind = self.schema.ActivationFunctionType, options.FusedActivationFunction()
        assert kind in (kinds.NONE, kinds.RELU, kinds.RELU6)
        low = max(-128, self.zero(output)) if kind != kinds.NONE else -128
        return low, min(127, self.zero(output) + round(6 / self.scale(output)[0])) if kind == kinds.RELU6 else 127


def model_layers(name: str) -> list[tuple[str, ConvLayer, tuple[np.ndarray, ...], np.ndarray]]:
    """Read every convolution and dense layer of a model whose input and output tensors are recorded."""
    network = Network(name)
    scale, zero, constant, recorded = network.scale, network.zero, network.constant, network.recorded
    kinds = {
        "CONV_2D": "Conv2DOptions",
        "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
        "FULLY_CONNECTED": "FullyConnectedOptions",
    }
    found = []
    for op in network.operators:
        if op["op"] not in kinds or f"t{op['inputs'][0]}" not in recorded:
            continue
        i_x, i_w, i_b = op["inputs"][:3]
        i_y = op["outputs"][0]
        operation = Operation[op["op"]]
        options = network.options(op["i"], kinds[op["op"]])
        x, y, w = recorded[f"t{i_x}"], recorded[f"t{i_y}"], constant(i_w, np.int8)
        bias = constant(i_b, np.int32).ravel() if i_b >= 0 else None
        channels = y.shape[-1]
        factors = scale(i_x)[0] * scale(i_w) / scale(i_y)[0]
        if operation == Operation.FULLY_CONNECTED:
            factors = np.float64(np.float32(scale(i_x)[0] * scale(i_w))) / scale(i_y)[0]
        m, s = np.array([quantised(f) for f in np.broadcast_to(factors, channels)], np.int32).T
        low, high = network.activation(options, i_y)
        layer = dense(
            x.shape[-1],
            channels,
            operation=operation,
            bias=4 if bias is not None else 0,
            input_offset=-zero(i_x),
            output_offset=zero(i_y),
            activation_min=low,
            activation_max=high,
        )
        if operation == Operation.FULLY_CONNECTED:
            layer = msgspec.structs.replace(layer, input_channels=w.shape[1], batches=y.size // channels)
        else:
            layer = msgspec.structs.replace(layer, batches=x.shape[0])
            for axis, side, edge in ((1, "height", "top"), (2, "width", "left")):
                stride = getattr(options, f"Stride{side[0].upper()}")()
                dilation = getattr(options, f"Dilation{side[0].upper()}Factor")()
                total = (y.shape[axis] - 1) * stride + (w.shape[axis] - 1) * dilation + 1 - x.shape[axis]
                words = {
                    f"input_{side}": x.shape[axis],
                    f"output_{side}": y.shape[axis],
                    f"kernel_{side}": w.shape[axis],
                    f"stride_{side}": stride,
                    f"dilation_{side}": dilation,
                    f"pad_{edge}": max(0, total) // 2,
                }
                layer = msgspec.structs.replace(layer, **words)
        found.append((f"{op['i']} {op['op']}", layer, (x, w, bias, m.copy(), s.copy()), y))
    return found


@pytest.mark.parametrize(
    "name",
    [
        "mlperf_resnet8",
        "mlperf_kws_dscnn",
        "mlperf_vww96",
        "tflm_micro_speech",
        "mlperf_ad01",
        "sl_fingerprint",
        "sl_keyword_spotting_alexa",
    ],
)
def test_layers_of_real_networks(name: str) -> None:
    layers = model_layers(name)
    assert layers
    for where, layer, operands, expected in layers:
        np.testing.assert_array_equal(compute(layer, *operands).ravel(), expected.ravel(), err_msg=where)


# How many of each operator the network has: every pool and every ADD of the models.
POOLS_AND_SUMS = {
    "cfu_magic_wand": {"MAX_POOL_2D": 2},
    "cfu_mnv2_160_035": {"AVERAGE_POOL_2D": 1, "ADD": 10},
    "mcunet_vww": {"ADD": 8},
    "mlperf_kws_dscnn": {"AVERAGE_POOL_2D": 1},
    "mlperf_resnet8": {"AVERAGE_POOL_2D": 1, "ADD": 3},
    "mlperf_vww96": {"AVERAGE_POOL_2D": 1},
    "mm_rnnoise_INT8": {"ADD": 12},
    "sl_fingerprint": {"AVERAGE_POOL_2D": 1},
    "sl_keyword_spotting_alexa": {"AVERAGE_POOL_2D": 1, "ADD": 12},
    "tflm_person_detect": {"AVERAGE_POOL_2D": 1},
}


@pytest.mark.parametrize("name", POOLS_AND_SUMS)
def test_pools_and_sums_of_real_networks(name: str) -> None:
    network = Network(name)
    seen: Counter[str] = Counter()
    for op in network.operators:
        if op["op"] not in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "ADD"):
            continue
        seen[op["op"]] += 1
        operands = [network.recorded[f"t{i}"] for i in op["inputs"]]
        y = network.recorded[f"t{op['outputs'][0]}"]
        layer, scales = (_sum if op["op"] == "ADD" else _pool)(network, op, operands[0].shape, y.shape)
        found = compute(layer, *operands, **scales)
        np.testing.assert_array_equal(found.ravel(), y.ravel(), err_msg=f"{op['i']} {op['op']}")
    assert seen == POOLS_AND_SUMS[name]


def _pool(network: Network, op: Any, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[ConvLayer, dict[str, np.ndarray]]:
    options = network.options(op["i"], "Pool2DOptions")
    low, high = network.activation(options, op["outputs"][0])
    words = {}
    for axis, side, edge in ((1, "height", "top"), (2, "width", "left")):
        stride = getattr(options, f"Stride{side[0].upper()}")()
        kernel = getattr(options, f"Filter{side.capitalize()}")()
        total = max(0, (y[axis] - 1) * stride + kernel - x[axis])
        words |= {f"input_{side}": x[axis], f"output_{side}": y[axis], f"kernel_{side}": kernel}
        words |= {f"stride_{side}": stride, f"pad_{edge}": total // 2}
    layer = dense(x[3], x[3], operation=Operation[op["op"]], activation_min=low, activation_max=high, **words)
    return layer, {}


def _sum(network: Network, op: Any, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[ConvLayer, dict[str, np.ndarray]]:
    first, second, output = *op["inputs"], op["outputs"][0]
    a, b, c = (network.scale(i)[0] for i in (first, second, output))
    m, s = np.array([quantised(f) for f in (a / (2 * max(a, b)), b / (2 * max(a, b)), 2 * max(a, b) / (2**20 * c))]).T
    low, high = network.activation(network.options(op["i"], "AddOptions"), output)
    size = int(np.prod(x))
    words = {
        "input_offset": -network.zero(first),
        "pad_top": -network.zero(second),
        "output_offset": network.zero(output),
    }
    layer = dense(size, size, operation=Operation.ADD, activation_min=low, activation_max=high, **words)
    return layer, {"m": m.astype(np.int32), "s": s.astype(np.int32)}
