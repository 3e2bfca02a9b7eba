"""Layers by shape: what TensorFlow's padding gives, and CSV files good and bad."""

from __future__ import annotations

import pytest

from accel import conv, registry
from accel.conv import layers
from accel.conv.descriptor import ConvLayer, Operation
from rvsim.errors import InputFileError, UsageError


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "padding", "output", "pad"),
    [
        # tf.nn.convolution's documentation: SAME gives ceil(size / stride), VALID ceil((size - window + 1) / stride)
        (10, 3, 1, 1, "same", 10, 1),
        (10, 3, 2, 1, "same", 5, 0),
        (49, 10, 2, 1, "same", 25, 4),
        (10, 3, 1, 2, "same", 10, 2),
        (10, 3, 1, 1, "valid", 8, 0),
        (10, 3, 2, 1, "valid", 4, 0),
        (10, 3, 2, 2, "valid", 3, 0),
        (10, 1, 3, 1, "same", 4, 0),
    ],
)
def test_output_follows_from_the_padding(
    size: int, kernel: int, stride: int, dilation: int, padding: layers.Padding, output: int, pad: int
) -> None:
    made = layers.layer(
        input=(size, size, 3), output_channels=5, kernel=kernel, stride=stride, dilation=dilation, padding=padding
    )
    assert (made.output_height, made.output_width, made.pad_top, made.pad_left) == (output, output, pad, pad)


def test_a_file_of_layers() -> None:
    text = """# two layers
name,operation,input_height,input_width,input_channels,output_channels,kernel,stride,padding

first,,49,10,1,64,10x4,2,same
,fully_connected,,,64,12,,,
pool,AVERAGE_POOL_2D,25,5,64,,25x5,,valid
"""
    found = layers.read_csv(text.splitlines(), "layers.csv")
    assert [name for name, _ in found] == ["first", "2", "pool"]
    first, second, pool = (layer for _, layer in found)
    assert (first.operation, first.kernel_height, first.kernel_width, first.output_height) == (0, 10, 4, 25)
    assert (second.operation, second.depth, second.output_bytes) == (Operation.FULLY_CONNECTED, 64, 12)
    assert (pool.operation, pool.output_height, pool.output_channels) == (Operation.AVERAGE_POOL_2D, 1, 64)
    assert isinstance(conv.estimate(first, registry.load("on").parameters).cycles, int)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a heading with some of name, operation"),
        ("# nothing\n", "found an empty file"),
        ("input_channels,kernl\n1,2\n", "found 'kernl'; did you mean 'kernel'?"),
        ("input_channels,input_channels\n1,2\n", "found 'input_channels' twice"),
        ("name\nx\n", "expected the column 'input_channels', found none"),
        ("input_channels\n", "expected a layer a row below the heading"),
        ("input_channels,name\n1\n", ":2: expected 2 values, found 1"),
        ("input_channels,name\n,x\n", ":2: column 'input_channels': expected a number, found 'nothing'"),
        ("input_channels,output_channels\n-1,2\n", "expected a number, found '-1'"),
        ("input_channels,output_channels\n99999999999,2\n", "expected a number, found '99999999999'"),
        ("input_channels,output_channels,kernel\n1,2,3x\n", "column 'kernel': expected a number or HEIGHTxWIDTH"),
        ("input_channels,output_channels,padding\n1,2,full\n", "expected same or valid, found 'full'"),
        ("input_channels,operation\n1,SOFTMAX\n", "expected an operation, one of CONV_2D"),
        ("input_channels\n1\n", "CONV_2D: expected output_channels, found none"),
        ("input_channels,output_channels\n0,2\n", "a size is below 1 or the layer is too large"),
        ("input_channels,output_channels,kernel,padding\n1,2,3,valid\n", "expected a layer that can be run"),
        ("input_channels,output_channels,stride\n1,2,0\n", "expected sizes of at least 1, found 0"),
        ("input_channels,output_channels,batches\n4294967295,4294967295,4294967295\n", "the layer is too large"),
        ('input_channels,name\n1,"x\n', "expected output_channels"),
    ],
)
def test_bad_files_are_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(InputFileError) as error:
        layers.read_csv(text.splitlines(), "layers.csv")
    assert str(error.value).startswith("layers.csv") and message in str(error.value)


def test_a_layer_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="expected output_channels"):
        layers.layer(input=(1, 1, 1))


def test_shape_is_all_that_costs() -> None:
    layer = layers.layer(input=(8, 8, 8), output_channels=8, kernel=3)
    moved = ConvLayer(
        *(layer.operation, 4, 8, 12, 16, 20, 24), *(getattr(layer, f) for f in layer.__struct_fields__[7:])
    )
    parameters = registry.load("on").parameters  # type: ignore[union-attr]
    assert conv.estimate(moved, parameters) == conv.estimate(layer, parameters)
