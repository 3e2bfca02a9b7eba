"""What the tests of rvsim.nn share: a builder of small .tflite files."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite


@pytest.fixture(scope="session")
def build_model():
    return _build_model


@pytest.fixture(scope="session")
def conv_model():
    return _conv_model


@pytest.fixture(scope="session")
def pool_model():
    return _pool_model


@pytest.fixture(scope="session")
def add_model():
    return _add_model


def _vector(builder: flatbuffers.Builder, values: Any, dtype: str) -> int:
    return builder.CreateNumpyVector(np.asarray(values, dtype))


def _offsets(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _table(builder: flatbuffers.Builder, kind: str, **fields: Any) -> int:
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(builder, value)
    return getattr(tflite, f"{kind}End")(builder)


def _build_model(
    tensors: list[dict], operators: list[dict], subgraphs: int = 1, repeat: int = 1, identifier: bytes = b"TFL3"
) -> bytes:
    """A .tflite file.

    A tensor is {shape, dtype, data, scales, zero_points, axis, sparse, buffer, external}, where `buffer` names a buffer
    by number and `external` is (offset, size) of one outside the flatbuffer; an operator is {opcode, code, inputs,
    outputs, options: (kind, fields)}. The list of tensors appears `repeat` times, sharing its bytes.
    """
    builder = flatbuffers.Builder(1024)
    buffers = [_table(builder, "Buffer")]
    tensor_tables = []
    for tensor in tensors:
        buffer = 0
        if tensor.get("data") is not None or tensor.get("external"):
            fields = {}
            if tensor.get("data") is not None:
                fields["Data"] = _vector(builder, np.frombuffer(tensor["data"], np.uint8), "u1")
            if tensor.get("external"):
                fields |= dict(zip(("Offset", "Size"), tensor["external"], strict=True))
            buffer = len(buffers)
            buffers.append(_table(builder, "Buffer", **fields))
        scales = _vector(builder, tensor.get("scales", [0.5]), "f4")
        zero_points = _vector(builder, tensor.get("zero_points", [0]), "i8")
        quantisation = _table(
            builder,
            "QuantizationParameters",
            Scale=scales,
            ZeroPoint=zero_points,
            QuantizedDimension=tensor.get("axis", 0),
        )
        fields = {
            "Shape": _vector(builder, tensor["shape"], "i4"),
            "Type": getattr(tflite.TensorType, tensor.get("dtype", "INT8")),
            "Buffer": tensor.get("buffer", buffer),
            "Name": builder.CreateString(tensor.get("name", "t")),
            "Quantization": quantisation,
        }
        if tensor.get("sparse"):
            fields["Sparsity"] = _table(builder, "SparsityParameters")
        tensor_tables.append(_table(builder, "Tensor", **fields))
    codes, operator_tables = [], []
    for operator in operators:
        number = getattr(tflite.BuiltinOperator, operator["opcode"])
        codes.append(
            _table(builder, "OperatorCode", DeprecatedBuiltinCode=min(number, 127), BuiltinCode=number, Version=1)
        )
        fields = {
            "OpcodeIndex": operator.get("code", len(codes) - 1),
            "Inputs": _vector(builder, operator["inputs"], "i4"),
            "Outputs": _vector(builder, operator["outputs"], "i4"),
        }
        if operator.get("options"):
            kind, values = operator["options"]
            fields["BuiltinOptions"] = _table(builder, kind, **values)
            fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, kind)
        operator_tables.append(_table(builder, "Operator", **fields))
    tensors_vector, operators_vector = _offsets(builder, tensor_tables * repeat), _offsets(builder, operator_tables)
    graph = _table(builder, "SubGraph", Tensors=tensors_vector, Operators=operators_vector)
    fields = {
        "OperatorCodes": _offsets(builder, codes),
        "Subgraphs": _offsets(builder, [graph] * subgraphs),
        "Buffers": _offsets(builder, buffers),
    }
    builder.Finish(_table(builder, "Model", Version=3, **fields), file_identifier=identifier)
    return bytes(builder.Output())


def _conv_model(
    opcode: str = "CONV_2D",
    source: dict | None = None,
    weights: dict | None = None,
    bias: dict | None = None,
    output: dict | None = None,
    options: dict | None = None,
    inputs: tuple[int, ...] = (0, 1, 2),
    **model: Any,
) -> bytes:
    """One small layer, 1x4x4x2 to 1x4x4x3 (or 1x4 to 1x3), with what a test wants changed in it."""
    fully_connected = opcode == "FULLY_CONNECTED"
    shapes = {
        "CONV_2D": ([1, 4, 4, 2], [3, 3, 3, 2], 3, [1, 4, 4, 3]),
        "DEPTHWISE_CONV_2D": ([1, 4, 4, 2], [1, 3, 3, 4], 4, [1, 4, 4, 4]),
        "FULLY_CONNECTED": ([1, 4], [3, 4], 3, [1, 3]),
    }
    first, second, channels, last = shapes[opcode]
    count = int(np.prod(second))
    tensors = [
        {"name": "in", "shape": first, "scales": [0.5], "zero_points": [-3]} | (source or {}),
        {"name": "w", "shape": second, "scales": [0.25], "data": bytes(range(count))} | (weights or {}),
        {"name": "b", "shape": [channels], "dtype": "INT32", "data": np.arange(channels, dtype="<i4").tobytes()}
        | (bias or {}),
        {"name": "out", "shape": last, "scales": [2.0], "zero_points": [5]} | (output or {}),
    ]
    if fully_connected:
        fields = ("FullyConnectedOptions", {"FusedActivationFunction": 0} | (options or {}))
    else:
        kind = "Conv2DOptions" if opcode == "CONV_2D" else "DepthwiseConv2DOptions"
        default = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
        fields = (kind, default | (options or {}))
    operators = [{"opcode": opcode, "inputs": inputs, "outputs": [3], "options": fields}]
    return _build_model(tensors, operators, **model)


def _pool_model(
    opcode: str = "AVERAGE_POOL_2D",
    source: dict | None = None,
    output: dict | None = None,
    options: dict | None = None,
    inputs: tuple[int, ...] = (0,),
) -> bytes:
    """One pool, 1x5x6x2 to 1x3x3x2, with what a test wants changed in it."""
    quantisation = {"scales": [0.5], "zero_points": [-3]}
    tensors = [
        {"name": "in", "shape": [1, 5, 6, 2]} | quantisation | (source or {}),
        {"name": "out", "shape": [1, 3, 3, 2]} | quantisation | (output or {}),
    ]
    default = {"Padding": 0, "StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 3}
    fields = ("Pool2DOptions", default | (options or {}))
    return _build_model(tensors, [{"opcode": opcode, "inputs": inputs, "outputs": [1], "options": fields}])


def _add_model(
    first: dict | None = None,
    second: dict | None = None,
    output: dict | None = None,
    options: dict | None = None,
    inputs: tuple[int, ...] = (0, 1),
) -> bytes:
    """One ADD of 2x3, with what a test wants changed in it."""
    tensors = [
        {"name": "a", "shape": [2, 3], "scales": [0.5], "zero_points": [-3]} | (first or {}),
        {"name": "b", "shape": [2, 3], "scales": [0.125], "zero_points": [7]} | (second or {}),
        {"name": "out", "shape": [2, 3], "scales": [2.0], "zero_points": [5]} | (output or {}),
    ]
    fields = ("AddOptions", {"FusedActivationFunction": 0} | (options or {}))
    return _build_model(tensors, [{"opcode": "ADD", "inputs": inputs, "outputs": [2], "options": fields}])
