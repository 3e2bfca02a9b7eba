"""One operator as a layer: what the descriptor holds, and what is refused in which words."""

from __future__ import annotations

import struct

import pytest

from accel.conv.descriptor import MAGIC, check
from rvsim.errors import InputFileError, UsageError
from rvsim.nn.layer import TensorSpec, compilable_layers, layer_from_operator
from rvsim.nn.tflite_model import parse_model


def words(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}i", data))


def take(data: bytes):
    return layer_from_operator(parse_model(data, "m.tflite"), 0)


def test_conv(conv_model):
    options = {"StrideW": 2, "DilationHFactor": 1, "FusedActivationFunction": 1}
    spec = take(conv_model(options=options, output={"shape": [1, 4, 2, 3]}))
    shape = spec.shape
    assert (spec.opcode, shape.operation, shape.batches) == ("CONV_2D", 0, 1)
    assert (shape.input_height, shape.input_width, shape.input_channels) == (4, 4, 2)
    assert (shape.output_height, shape.output_width, shape.output_channels) == (4, 2, 3)
    assert (shape.kernel_height, shape.kernel_width, shape.stride_height, shape.stride_width) == (3, 3, 1, 2)
    assert (shape.pad_top, shape.pad_left, shape.dilation_height, shape.dilation_width) == (1, 0, 1, 1)
    assert (shape.input_offset, shape.output_offset, shape.activation_min, shape.activation_max) == (3, 5, 5, 127)
    assert spec.weights == bytes(range(54))
    assert words(spec.bias) == [0, 1, 2]
    # 0.5 * 0.25 / 2 = 2**-4 for every channel: weights quantised per tensor
    assert words(spec.multiplier) == [1 << 30] * 3
    assert words(spec.shift) == [-3] * 3
    assert spec.input == TensorSpec((1, 4, 4, 2), 0.5, -3)
    assert spec.macs == 4 * 2 * 3 * 9 * 2


def test_weights_quantised_per_channel(conv_model):
    spec = take(conv_model(weights={"scales": [0.25, 0.5, 0.75], "zero_points": [0, 0, 0]}))
    assert words(spec.multiplier) == [1 << 30, 1 << 30, 3 << 29]
    assert words(spec.shift) == [-3, -2, -2]


def test_depthwise_multiplier(conv_model):
    weights = {"scales": [0.25, 0.5, 1.0, 2.0], "axis": 3}
    spec = take(conv_model("DEPTHWISE_CONV_2D", weights=weights, options={"DepthMultiplier": 2}))
    shape = spec.shape
    assert (shape.operation, shape.input_channels, shape.output_channels) == (1, 2, 4)
    assert words(spec.shift) == [-3, -2, -1, 0]
    assert spec.macs == 4 * 4 * 4 * 9


@pytest.mark.parametrize(
    ("source", "output", "rows"),
    [([1, 4], [1, 3], 1), ([5, 4], [5, 3], 5), ([2, 1, 2, 4], [2, 1, 2, 3], 4), ([2, 2], [1, 3], 1)],
)
def test_fully_connected_rows(conv_model, source, output, rows):
    """Whatever the input's shape, TFLite flattens it to rows of the weights' depth."""
    fields = {"KeepNumDims": len(output) > 2}
    spec = take(conv_model("FULLY_CONNECTED", source={"shape": source}, output={"shape": output}, options=fields))
    shape = spec.shape
    assert (shape.operation, shape.batches, shape.input_channels, shape.output_channels) == (2, rows, 4, 3)
    assert {shape.input_height, shape.output_width, shape.kernel_height, shape.stride_width, shape.dilation_height} == {
        1
    }
    assert (shape.pad_top, shape.pad_left) == (0, 0)


# With float32 a, b, c = 0.1, 0.3, 0.7: float32(a * b) / c = 1472560299.4 / 2**35, a * b / c = 1472560321.3 / 2**35.
# Weights quantised per channel are multiplied as a convolution's are.
@pytest.mark.parametrize(("scales", "multiplier"), [([0.3], 1472560299), ([0.3] * 3, 1472560321)])
def test_fully_connected_rounds_the_product_to_float32(conv_model, scales, multiplier):
    model = conv_model(
        "FULLY_CONNECTED", source={"scales": [0.1]}, weights={"scales": scales}, output={"scales": [0.7]}
    )
    assert words(take(model).multiplier) == [multiplier] * 3


@pytest.mark.parametrize("inputs", [(0, 1), (0, 1, -1)])
@pytest.mark.parametrize("opcode", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_no_bias(conv_model, opcode, inputs):
    assert take(conv_model(opcode, inputs=inputs)).bias is None


@pytest.mark.parametrize(
    ("opcode", "change", "message"),
    [
        ("CONV_2D", {"source": {"dtype": "FLOAT32"}}, "hybrid layer: FLOAT32 input tensor 0 'in' with INT8 weights"),
        ("CONV_2D", {"source": {"dtype": "INT16"}}, "input tensor 0 'in' is INT16; expected INT8"),
        ("CONV_2D", {"output": {"dtype": "UINT8"}}, "output tensor 3 'out' is UINT8; expected INT8"),
        ("CONV_2D", {"weights": {"dtype": "UINT8"}}, "weights tensor 1 'w' are UINT8; expected INT8"),
        ("CONV_2D", {"weights": {"dtype": "FLOAT32", "data": bytes(216)}}, "weights tensor 1 'w' are FLOAT32"),
        ("FULLY_CONNECTED", {"weights": {"sparse": True}}, "weights tensor 1 'w' are sparse"),
        ("FULLY_CONNECTED", {"weights": {"data": None}}, "weights tensor 1 'w' are computed while the network runs"),
        ("FULLY_CONNECTED", {"weights": {"zero_points": [2]}}, "weights tensor 1 'w' have a zero point other than 0"),
        ("FULLY_CONNECTED", {"options": {"WeightsFormat": 1}}, "have the format SHUFFLED4x16INT8; expected DEFAULT"),
        ("FULLY_CONNECTED", {"source": {"shape": [1, 5]}}, "does not divide into rows of 4 elements"),
        ("FULLY_CONNECTED", {"output": {"shape": [2, 3]}}, "expected 1 rows of 3 units"),
        ("FULLY_CONNECTED", {"weights": {"shape": [3, 2, 2]}}, r"expected \[units, depth\]"),
        ("CONV_2D", {"source": {"scales": []}}, "expected one scale and one zero point, found 0 and 1"),
        ("CONV_2D", {"source": {"scales": [float("nan")]}}, "has the scale nan; expected a positive number"),
        ("CONV_2D", {"source": {"scales": [1e38]}, "weights": {"scales": [1e38]}}, r"expected a factor below 2\*\*30"),
        ("CONV_2D", {"output": {"zero_points": [300]}}, "has the zero point 300; expected one of int8"),
        (
            "CONV_2D",
            {"weights": {"scales": [1.0, 1.0]}},
            "have 2 scales; expected 1 or one for each of 3 output channels",
        ),
        ("CONV_2D", {"weights": {"scales": [1.0] * 3, "axis": 3}}, "quantised along axis 3; expected axis 0"),
        ("CONV_2D", {"weights": {"scales": [-1.0]}}, "have a scale that is not a positive number"),
        ("CONV_2D", {"bias": {"dtype": "INT16", "data": bytes(6)}}, "bias tensor 2 'b' is INT16; expected INT32"),
        ("CONV_2D", {"bias": {"shape": [2], "data": bytes(8)}}, "bias tensor 2 'b' has 2 elements; expected 3"),
        ("CONV_2D", {"bias": {"data": None}}, "expected a constant bias"),
        ("CONV_2D", {"source": {"shape": [4, 4, 2]}}, "expected four axes, none empty"),
        ("CONV_2D", {"source": {"shape": [0, 4, 4, 2]}}, "input tensor 0 'in' is empty"),
        ("CONV_2D", {"source": {"shape": [1, 4, 4, 4]}}, "grouped convolution is not supported"),
        ("CONV_2D", {"output": {"shape": [1, 4, 4, 2]}}, r"has the shape \[1, 4, 4, 2\]; \[1, 4, 4, 3\] follows"),
        ("CONV_2D", {"options": {"StrideH": 0}}, r"strides \(0, 1\) and dilations \(1, 1\); expected 1 and more"),
        ("CONV_2D", {"options": {"Padding": 7}}, "expected SAME or VALID padding, found UNKNOWN_7"),
        ("CONV_2D", {"options": {"FusedActivationFunction": 4}}, "found TANH"),
        ("CONV_2D", {"inputs": (0,)}, r"expected an input, weights and an optional bias, found the tensors \[0\]"),
        ("DEPTHWISE_CONV_2D", {"options": {"DepthMultiplier": 3}}, "depth multiplier 3; the weights say 2"),
        ("DEPTHWISE_CONV_2D", {"source": {"shape": [1, 4, 4, 3]}}, "a multiple of 3 input channels"),
    ],
)
def test_refused(conv_model, opcode, change, message):
    with pytest.raises(InputFileError, match=rf"^m\.tflite: layer 0 \({opcode}\) is not supported: .*{message}"):
        take(conv_model(opcode, **change))


@pytest.mark.parametrize(("opcode", "operation"), [("AVERAGE_POOL_2D", 3), ("MAX_POOL_2D", 4)])
def test_pool(pool_model, opcode, operation):
    spec = take(pool_model(opcode, options={"FilterWidth": 4, "FusedActivationFunction": 1}))
    shape = spec.shape
    assert (spec.opcode, shape.operation, shape.batches, spec.macs) == (opcode, operation, 1, 0)
    assert (shape.input_height, shape.input_width, shape.input_channels) == (5, 6, 2)
    assert (shape.output_height, shape.output_width, shape.output_channels) == (3, 3, 2)
    assert (shape.kernel_height, shape.kernel_width, shape.stride_height, shape.stride_width) == (3, 4, 2, 2)
    assert (shape.pad_top, shape.pad_left, shape.dilation_height, shape.dilation_width) == (1, 1, 1, 1)
    assert (shape.activation_min, shape.activation_max) == (-3, 127)
    assert (spec.weights, spec.bias, spec.multiplier, spec.shift, spec.second_input) == (None,) * 5
    assert spec.input == TensorSpec((1, 5, 6, 2), 0.5, -3)
    assert check(MAGIC, shape, 1 << operation) == 0


def test_add(add_model):
    spec = take(add_model(options={"FusedActivationFunction": 3}))
    shape = spec.shape
    assert (spec.opcode, shape.operation, spec.macs) == ("ADD", 5, 0)
    sizes = (shape.batches, shape.input_height, shape.input_width, shape.input_channels)
    assert sizes == (1, 1, 2, 3) == (1, shape.output_height, shape.output_width, shape.output_channels)
    assert (shape.input_offset, shape.second_input_offset, shape.output_offset) == (3, -7, 5)
    assert (shape.activation_min, shape.activation_max) == (5, 8)
    # 1/2, 1/8 and 1 / (2 * 2**20): one half times 2**0, 2**-2 and 2**-20
    assert (words(spec.multiplier), words(spec.shift)) == ([1 << 30] * 3, [0, -2, -20])
    assert (spec.weights, spec.bias) == (None, None)
    assert spec.second_input == TensorSpec((2, 3), 0.125, 7)
    assert check(MAGIC, shape, 1 << 5) == 0


@pytest.mark.parametrize(("shape", "sizes"), [([], (1, 1, 1, 1)), ([4], (1, 1, 1, 4)), ([2, 3, 4, 5, 6], (6, 4, 5, 6))])
def test_add_of_any_rank(add_model, shape, sizes):
    layer = take(add_model(*[{"shape": shape}] * 3)).shape
    assert (layer.batches, layer.input_height, layer.input_width, layer.input_channels) == sizes


def test_add_of_a_constant(add_model):
    assert take(add_model(second={"data": b"abcdef"})).weights == b"abcdef"


@pytest.mark.parametrize(
    ("opcode", "change", "message"),
    [
        ("MAX_POOL_2D", {"source": {"dtype": "INT16"}}, "input tensor 0 'in' is INT16; expected INT8"),
        ("MAX_POOL_2D", {"source": {"scales": [0.25]}}, "its input and output have different scales or zero points"),
        ("MAX_POOL_2D", {"output": {"zero_points": [0]}}, "its input and output have different scales or zero points"),
        ("MAX_POOL_2D", {"inputs": (0, 0)}, r"expected one input, found the tensors \[0, 0\]"),
        ("MAX_POOL_2D", {"inputs": (-1,)}, r"expected one input, found the tensors \[-1\]"),
        ("MAX_POOL_2D", {"source": {"shape": [5, 6, 2]}}, "expected four axes, none empty"),
        ("MAX_POOL_2D", {"source": {"shape": [1, 5, 6, 4]}}, r"\[1, 3, 3, 4\] follows from the input"),
        ("MAX_POOL_2D", {"options": {"Padding": 1}}, r"\[1, 2, 2, 2\] follows from the input"),
        ("MAX_POOL_2D", {"options": {"StrideW": 0}}, r"strides \(2, 0\) and dilations \(1, 1\); expected 1 and more"),
        ("MAX_POOL_2D", {"options": {"FilterHeight": 0}}, "windows of 0 x 3; expected 1 and more"),
        (
            "MAX_POOL_2D",
            {"options": {"FilterHeight": 2**22}},
            "windows of 4194304 x 3; expected at most 8,388,608 taps",
        ),
        ("MAX_POOL_2D", {"options": {"FusedActivationFunction": 4}}, "found TANH"),
        ("ADD", {"inputs": (0,)}, r"expected two inputs, found the tensors \[0\]"),
        ("ADD", {"inputs": (0, -1)}, r"expected two inputs, found the tensors \[0, -1\]"),
        ("ADD", {"first": {"dtype": "FLOAT32"}}, "input tensor 0 'a' is FLOAT32; expected INT8"),
        ("ADD", {"second": {"scales": []}}, "second input tensor 1 'b': expected one scale and one zero point"),
        ("ADD", {"second": {"shape": [3]}}, r"the shapes \[\[2, 3\], \[3\], \[2, 3\]\]; .* nothing is broadcast"),
        ("ADD", {"output": {"shape": [3, 2]}}, "expected one shape, nothing is broadcast"),
        (
            "ADD",
            {"first": {"data": bytes(6)}},
            "input tensor 0 'a' is constant; expected the second input to be, or none",
        ),
        ("ADD", {"second": {"data": bytes(6), "sparse": True}}, "second input tensor 1 'b' is sparse"),
        ("ADD", {"output": {"scales": [2.0**-20]}}, r"the output's scale .* is more than 2\*\*19 times finer"),
        ("ADD", {"options": {"FusedActivationFunction": 4}}, "found TANH"),
    ],
)
def test_pools_and_sums_refused(pool_model, add_model, opcode, change, message):
    data = add_model(**change) if opcode == "ADD" else pool_model(opcode, **change)
    with pytest.raises(InputFileError, match=rf"^m\.tflite: layer 0 \({opcode}\) is not supported: .*{message}"):
        take(data)


def test_another_operator(build_model):
    tensors = [{"shape": [1, 4]}, {"shape": [3, 4], "data": bytes(12)}, {"shape": [1, 3]}]
    operators = [
        {"opcode": "SOFTMAX", "inputs": [0], "outputs": [0]},
        {
            "opcode": "FULLY_CONNECTED",
            "inputs": [0, 1],
            "outputs": [2],
            "options": ("FullyConnectedOptions", {"KeepNumDims": False}),
        },
        {"opcode": "FULLY_CONNECTED", "inputs": [0, 1], "outputs": [2]},
    ]
    model = parse_model(build_model(tensors, operators), "m.tflite")
    assert compilable_layers(model) == [1]
    with pytest.raises(InputFileError, match=r"m\.tflite: layer 0, SOFTMAX, cannot be .* can be compiled: 1$"):
        layer_from_operator(model, 0)
    with pytest.raises(UsageError, match=r"m\.tflite: no layer 3; its 3 operators are counted from 0\. .*: 1$"):
        layer_from_operator(model, 3)
    with pytest.raises(InputFileError, match=r"layer 2 \(FULLY_CONNECTED\) .* no options of its kind"):
        layer_from_operator(model, 2)
