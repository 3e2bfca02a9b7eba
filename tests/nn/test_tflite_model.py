"""A .tflite file is read into records or refused with an InputFileError that names the file, and nothing else."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rvsim.errors import InputFileError
from rvsim.nn.layer import compilable_layers, refusal
from rvsim.nn.tflite_model import ConvolutionOptions, FullyConnectedOptions, Tensor, load_model, parse_model

FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_records_hold_what_the_file_says(conv_model):
    model = parse_model(conv_model(weights={"scales": [0.25, 0.5, 1.0], "zero_points": [0, 0, 0]}), "m.tflite")
    (operator,) = model.operators
    assert (operator.opcode, operator.version, operator.inputs, operator.outputs) == ("CONV_2D", 1, (0, 1, 2), (3,))
    assert operator.options == ConvolutionOptions("SAME", 1, 1, 1, 1, "NONE")
    assert model.tensors[0] == Tensor(0, "in", (1, 4, 4, 2), "INT8", (0.5,), (-3,), 0, None)
    assert model.tensors[1].scales == (0.25, 0.5, 1.0)
    assert bytes(model.tensors[1].data) == bytes(range(54))


def test_options_of_each_operator(conv_model):
    fields = {"DepthMultiplier": 2, "StrideW": 3, "DilationHFactor": 4, "Padding": 1, "FusedActivationFunction": 3}
    (operator,) = parse_model(conv_model("DEPTHWISE_CONV_2D", options=fields)).operators
    assert operator.options == ConvolutionOptions("VALID", 1, 3, 4, 1, "RELU6", 2)
    fields = {"KeepNumDims": True, "WeightsFormat": 1, "FusedActivationFunction": 77}
    (operator,) = parse_model(conv_model("FULLY_CONNECTED", options=fields)).operators
    assert operator.options == FullyConnectedOptions("UNKNOWN_77", True, "SHUFFLED4x16INT8")


def test_a_bias_that_names_an_axis_it_has_not(conv_model):
    """tflm_person_detect does."""
    model = parse_model(conv_model(bias={"axis": 3}))
    assert model.tensors[2].quantised_dimension == 3
    assert compilable_layers(model) == [0]


def test_names_are_safe_to_print(conv_model):
    assert parse_model(conv_model(source={"name": "a\x1b[31m\n"})).tensors[0].name == "a?[31m?"


def test_data_behind_the_flatbuffer(conv_model):
    tail = bytes(range(100, 154))
    size = len(conv_model(weights={"data": None, "external": (1000, 54)}))
    data = conv_model(weights={"data": None, "external": (size, 54)})
    assert bytes(parse_model(data + tail).tensors[1].data) == tail
    with pytest.raises(InputFileError, match=f"buffer 1: its 54 bytes from {size} end beyond the file's {size + 53}"):
        parse_model(data + tail[:-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identifier": b"TFL2"}, r"expected the identifier b'TFL3' at byte 4, found b'TFL2'"),
        ({"subgraphs": 0}, "expected a subgraph, found none"),
        ({"source": {"shape": [1, -4, 4, 2]}}, "tensor 0: absurd shape 1x-4x4x2"),
        ({"source": {"shape": [65536, 65536, 1, 1]}}, "tensor 0: absurd shape 65536x65536x1x1"),
        ({"source": {"shape": [1] * 9}}, r"tensor 0: absurd shape 1x1x1x1x1x1x1x1x\.\.\."),
        ({"source": {"buffer": 99}}, "tensor 0: buffer 99 does not exist, the model has 3"),
        ({"weights": {"data": b"123"}}, "tensor 1: INT8 of shape 3x3x3x2 takes 54 bytes, its buffer has 3"),
        ({"bias": {"dtype": "INT64"}}, "tensor 2: INT64 of shape 3 takes 24 bytes, its buffer has 12"),
        ({"inputs": (0, 1, 4)}, "operator 0: tensor 4 does not exist, the model has 4"),
        ({"inputs": (0, -2, 2)}, "operator 0: tensor -2 does not exist, the model has 4"),
        ({"weights": {"data": None, "external": (2**63, 2**63)}}, "buffer 1: its .* bytes from .* end beyond"),
    ],
)
def test_what_is_wrong_is_said(conv_model, change, message):
    with pytest.raises(InputFileError, match=rf"^some\.tflite: not a well-formed \.tflite model: {message}"):
        parse_model(conv_model(**change), "some.tflite")


def test_operator_code_that_does_not_exist(build_model):
    data = build_model([], [{"opcode": "ADD", "code": 7, "inputs": [], "outputs": []}])
    with pytest.raises(InputFileError, match="operator 0: operator code 7 does not exist, the model has 1"):
        parse_model(data)


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff\xff\xff\xffTFL3", b"\x08\0\0\0TFL3" + b"\xff" * 64]
)
def test_almost_nothing(data):
    with pytest.raises(InputFileError, match="<bytes>: not a well-formed"):
        parse_model(data)


def test_a_small_file_that_describes_a_huge_model(build_model):
    """2,000 times the same tensor, whose name is long: read naively, 200 MB."""
    data = build_model([{"shape": [1], "name": "x" * 100_000}], [], repeat=2_000)
    with pytest.raises(InputFileError, match=r"its vectors hold more than its .* bytes can describe"):
        parse_model(data)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputFileError, match=r"absent\.tflite: cannot read the model: No such file"):
        load_model(tmp_path / "absent.tflite")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, os.devnull, tmp_path / "pipe"):
        with pytest.raises(
            InputFileError, match=r"expected a \.tflite file, found something that is not a regular file"
        ):
            load_model(path)
    with pytest.raises(InputFileError, match=r"cannot read the model: .*embedded null"):
        load_model("a\0b")


def _read_or_refuse(data: bytes) -> None:
    """Whatever the bytes, parsing ends in a model whose every operator is taken or refused, or in an InputFileError."""
    try:
        model = parse_model(data, "fuzzed.tflite")
    except InputFileError as error:
        assert "fuzzed.tflite" in str(error)
    else:
        for operator in model.operators:
            refusal(model, operator.index)


edits = st.lists(
    st.tuples(
        st.integers(0, 1 << 20),
        st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"]),
    ),
    min_size=1,
    max_size=8,
)


def _edit(data: bytes, changes: list[tuple[int, bytes]], limit: int) -> bytes:
    edited = bytearray(data)
    for position, new in changes:
        at = position % limit
        edited[at : at + len(new)] = new
    return bytes(edited)


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("opcode", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_fuzz_small_model(conv_model, opcode, data):
    model = conv_model(opcode)
    model = _edit(model, data.draw(edits), len(model))
    _read_or_refuse(model[: data.draw(st.integers(0, len(model)) | st.just(len(model)))])


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize(
    "name", ["tflm_hello_world_int8", "mlperf_kws_dscnn", "mww_hey_jarvis_v2", "tflm_person_detect"]
)
def test_fuzz_real_model(models_dir, name, data):
    model = (models_dir / f"{name}.tflite").read_bytes()
    _read_or_refuse(_edit(model, data.draw(edits), len(model)))
    _read_or_refuse(model[: data.draw(st.integers(0, len(model) - 1))])


@FUZZ
@given(st.binary(max_size=400))
def test_fuzz_any_bytes(data):
    _read_or_refuse(b"\x10\0\0\0TFL3" + data)


def test_every_development_model_is_read(models_dir):
    for path in sorted(models_dir.glob("*.tflite")):
        model = load_model(path)
        assert model.operators
        assert all(tensor.data is None or len(tensor.data) for tensor in model.tensors)
