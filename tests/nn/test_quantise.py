"""Multipliers, clamps and padding: hand-worked tables, and whole layers of real networks against TFLM's outputs."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.nn.layer import ConvLayerSpec, compilable_layers, layer_from_operator
from rvsim.nn.quantise import (
    activation_range,
    add_factors,
    convolution_factors,
    float32,
    fully_connected_factor,
    padding,
    quantised_multiplier,
)
from rvsim.nn.tflite_model import load_model


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (0.0, (0, 0)),
        (0.5, (1 << 30, 0)),
        (1.0, (1 << 30, 1)),
        (0.25, (1 << 30, -1)),
        (0.75, (3 << 29, 0)),
        (3.0, (3 << 29, 2)),
        (0.1, (1717986918, -3)),  # 0.8 * 2**31 = 1717986918.4
        (1 - 2.0**-33, (1 << 30, 1)),  # rounds up to 2**31: halved
        (0.5 + 2.0**-32, ((1 << 30) + 1, 0)),  # a tie goes up
        (2.0**-32, (1 << 30, -31)),
        (2.0**-33, (0, 0)),
        (2.0**29, (1 << 30, 30)),
    ],
)
def test_multiplier(factor, expected):
    assert quantised_multiplier(factor) == expected


@pytest.mark.parametrize("factor", [-1.0, math.inf, math.nan, 2.0**30])
def test_multiplier_refuses(factor):
    with pytest.raises(ValueError, match="expected a"):
        quantised_multiplier(factor)


@given(st.floats(2.0**-31, 2.0**29))
def test_multiplier_is_the_nearest(factor):
    multiplier, shift = quantised_multiplier(factor)
    assert 1 << 30 <= multiplier < 1 << 31
    unit = Fraction(2) ** (shift - 31)
    assert abs(multiplier * unit - Fraction(factor)) <= unit / 2


@given(st.floats(width=64, allow_nan=False))
def test_float32_is_numpys(value):
    with np.errstate(over="ignore"):
        assert float32(value) == float(np.float32(value))


@given(*[st.floats(2.0**-20, 2.0**4, width=32)] * 3)
def test_factors_against_numpy(source, weight, output):
    assert convolution_factors(source, (weight,), output) == [
        np.float64(source) * np.float64(weight) / np.float64(output)
    ]
    twice = np.float64(2 * max(np.float32(source), np.float32(weight)))
    expected = source / twice, weight / twice, twice / np.float64(np.float32(2**20) * np.float32(output))
    assert add_factors(source, weight, output) == expected
    product = np.float32(source) * np.float32(weight)
    assert fully_connected_factor(source, weight, output) == np.float64(product) / np.float64(output)


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "expected"),
    [
        ("NONE", 0.5, 3, (-128, 127)),
        ("RELU", 0.5, 3, (3, 127)),
        ("RELU", 0.5, -128, (-128, 127)),
        ("RELU6", 0.5, 3, (3, 15)),
        ("RELU6", 0.0235, -128, (-128, 127)),  # 6 / 0.0235 = 255.3
        ("RELU6", 4.0, 0, (0, 2)),  # 1.5 goes away from zero
        ("RELU6", 1e-40, 0, (0, 127)),
        ("RELU_N1_TO_1", 0.25, 10, (6, 14)),
        ("RELU_N1_TO_1", 2.0, 0, (-1, 1)),  # so does -0.5
        ("RELU_N1_TO_1", 0.001, 0, (-128, 127)),
        ("RELU_N1_TO_1", 1e-40, 0, (-128, 127)),
    ],
)
def test_activation_range(activation, scale, zero_point, expected):
    assert activation_range(activation, scale, zero_point) == expected


def test_activation_refuses():
    with pytest.raises(
        ValueError, match="expected a fused activation out of NONE, RELU, RELU6, RELU_N1_TO_1, found TANH"
    ):
        activation_range("TANH", 1.0, 0)


@pytest.mark.parametrize(
    ("kind", "size", "kernel", "stride", "dilation", "expected"),
    [
        ("VALID", 10, 3, 1, 1, (8, 0)),
        ("VALID", 10, 3, 2, 1, (4, 0)),
        ("VALID", 10, 3, 1, 4, (2, 0)),
        ("VALID", 2, 3, 1, 1, (0, 0)),
        ("VALID", 1, 9, 2, 1, (0, 0)),
        ("SAME", 10, 3, 1, 1, (10, 1)),
        ("SAME", 10, 3, 2, 1, (5, 0)),  # one in all: it goes behind
        ("SAME", 11, 3, 2, 1, (6, 1)),
        ("SAME", 49, 10, 2, 1, (25, 4)),
        ("SAME", 10, 1, 2, 1, (5, 0)),
        ("SAME", 10, 3, 1, 2, (10, 2)),
    ],
)
def test_padding(kind, size, kernel, stride, dilation, expected):
    assert padding(kind, size, kernel, stride, dilation) == expected


def test_padding_refuses():
    with pytest.raises(ValueError, match="expected SAME or VALID padding, found CAUSAL"):
        padding("CAUSAL", 1, 1, 1, 1)


def _requantise(acc: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """MultiplyByQuantizedMultiplier with double rounding, as ../shared/tflite-arithmetic.md point 2 states it."""
    product = (acc << np.maximum(shift, 0)) * multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))
    right = np.maximum(-shift, 0)
    half = np.where(right > 0, 1 << np.maximum(right - 1, 0), 0)
    return np.sign(high) * ((np.abs(high) + half) >> right)


def _run(spec: ConvLayerSpec, source: np.ndarray) -> np.ndarray:
    """A layer, tap by tap over whole planes."""
    shape = spec.shape
    x = source.reshape(shape.batches, shape.input_height, shape.input_width, shape.input_channels).astype(np.int64)
    weights = np.frombuffer(spec.weights, np.int8).astype(np.int64)
    kernel, outputs = (shape.kernel_height, shape.kernel_width), shape.output_channels
    depthwise = spec.opcode == "DEPTHWISE_CONV_2D"
    weights = (
        weights.reshape(*kernel, outputs) if depthwise else weights.reshape(outputs, *kernel, shape.input_channels)
    )
    height, width = shape.output_height, shape.output_width
    acc = np.zeros((shape.batches, height, width, outputs), np.int64)
    for i in range(kernel[0]):
        rows = np.arange(height) * shape.stride_height - shape.pad_top + i * shape.dilation_height
        for j in range(kernel[1]):
            columns = np.arange(width) * shape.stride_width - shape.pad_left + j * shape.dilation_width
            inside = ((rows >= 0) & (rows < shape.input_height))[:, None] & (
                (columns >= 0) & (columns < shape.input_width)
            )
            taps = x[:, rows.clip(0, shape.input_height - 1)][:, :, columns.clip(0, shape.input_width - 1)]
            taps = (taps + shape.input_offset) * inside[None, :, :, None]
            if depthwise:
                acc += np.repeat(taps, outputs // shape.input_channels, axis=3) * weights[i, j]
            else:
                acc += taps @ weights[:, i, j].T
    if spec.bias is not None:
        acc += np.frombuffer(spec.bias, "<i4")
    scaled = _requantise(acc, *(np.frombuffer(b, "<i4").astype(np.int64) for b in (spec.multiplier, spec.shift)))
    out = np.clip(scaled + shape.output_offset, shape.activation_min, shape.activation_max).astype(np.int8)
    return out.reshape(spec.output.shape)


@pytest.mark.parametrize("name", ["mlperf_resnet8", "mlperf_kws_dscnn", "mlperf_vww96", "mlperf_ad01"])
def test_layers_of_real_networks(models_dir, name):
    model = load_model(models_dir / f"{name}.tflite")
    tensors = dict(np.load(models_dir / f"{name}.tensors.npz"))
    tensors[f"t{model.operators[0].inputs[0]}"] = np.load(models_dir / f"{name}.io.npz")["x0"][0]
    for index in compilable_layers(model):
        operator = model.operators[index]
        if operator.opcode not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        out = _run(layer_from_operator(model, index), tensors[f"t{operator.inputs[0]}"])
        assert np.array_equal(out, tensors[f"t{operator.outputs[0]}"]), f"layer {index}"
