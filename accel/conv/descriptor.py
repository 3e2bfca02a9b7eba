"""The layer descriptor: 28 words in guest memory, and every reason to refuse them.

The layout and the statuses are those of docs/architecture.md and of `struct rvsim_conv_layer` in
kernels/include/rvsim_conv.h. Tests are made in the order of the status numbers, except that the per-channel
requantisation parameters can only be looked at (status 6) once they are known to lie in memory (status 7);
`accel.conv.function` does that.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

import msgspec

from accel.protocol import MemoryPort

MAGIC = 0x31564E43
WORDS = 28
SIZE = 4 * WORDS
STATUS_OFFSET = 4 * 27

# A command of more MACs is refused as too large, so that a hostile descriptor (a big kernel sliding over a big
# output, both of which fit into memory) cannot keep the simulator busy for more than a minute. The largest layer of
# MobileNetV2 at 224 x 224 has 2**26.
MAX_MACS = 1 << 34

# The guest's address space: a larger tensor cannot exist.
ADDRESS_SPACE = 1 << 32


class Operation(IntEnum):
    """The layers the coprocessor knows; also the bit numbers of the capability word."""

    CONV_2D = 0
    DEPTHWISE_CONV_2D = 1
    FULLY_CONNECTED = 2


class Status(IntEnum):
    """What word 27 of a descriptor and rd of conv.start and conv.wait hold."""

    DONE = 0
    BAD_MAGIC = 1
    UNKNOWN_OPERATION = 2
    MISALIGNED = 3
    BAD_SHAPE = 4
    OUTPUT_SHAPE = 5
    OUT_OF_RANGE = 6
    ACCESS_FAULT = 7


class ConvLayer(msgspec.Struct, frozen=True):
    """The descriptor's words 1 to 26; addresses are unsigned, all else is signed."""

    operation: int
    input: int
    weights: int
    bias: int
    output: int
    multiplier: int
    shift: int
    batches: int
    input_height: int
    input_width: int
    input_channels: int
    output_height: int
    output_width: int
    output_channels: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int
    pad_top: int
    pad_left: int
    input_offset: int
    output_offset: int
    activation_min: int
    activation_max: int

    @property
    def depth(self) -> int:
        """Products in the sum of one output element."""
        taps = self.kernel_height * self.kernel_width
        return taps if self.operation == Operation.DEPTHWISE_CONV_2D else taps * self.input_channels

    @property
    def input_bytes(self) -> int:
        """Size of the input tensor."""
        return self.batches * self.input_height * self.input_width * self.input_channels

    @property
    def weight_bytes(self) -> int:
        """Size of the weight tensor."""
        return self.depth * self.output_channels

    @property
    def output_bytes(self) -> int:
        """Size of the output tensor, which is also its number of elements."""
        return self.batches * self.output_height * self.output_width * self.output_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those with padding included, as model cards count them."""
        return self.output_bytes * self.depth


# magic, operation, six addresses, nineteen signed numbers, status
_LAYOUT = struct.Struct("<2I6I19iI")


def parse(data: bytes | memoryview) -> tuple[int, ConvLayer]:
    """Split `SIZE` bytes into the magic and the layer, unchecked."""
    magic, *words, _status = _LAYOUT.unpack(data)
    return magic, ConvLayer(*words)


def pack(layer: ConvLayer, magic: int = MAGIC, status: int = 0) -> bytes:
    """Give the `SIZE` bytes of a descriptor. Inverse of `parse`."""
    return _LAYOUT.pack(magic, *(getattr(layer, name) for name in layer.__struct_fields__), status)


def check(magic: int, layer: ConvLayer, operations: int) -> Status:
    """Judge everything that can be judged without looking at the tensors. Never raises, whatever the words are.

    Parameters
    ----------
    operations : int
        Bit set of the operations the coprocessor was built with, bit n for `Operation(n)`.

    Returns
    -------
    Status
        The first of statuses 1 to 6 that applies, or DONE.
    """
    if magic != MAGIC:
        return Status.BAD_MAGIC
    if layer.operation not in list(Operation) or not operations >> layer.operation & 1:
        return Status.UNKNOWN_OPERATION
    if (layer.bias | layer.multiplier | layer.shift) % 4:
        return Status.MISALIGNED
    if not _is_possible(layer):
        return Status.BAD_SHAPE
    if not _output_follows(layer):
        return Status.OUTPUT_SHAPE
    if not (
        -127 <= layer.input_offset <= 128
        and -128 <= layer.output_offset <= 127
        and -128 <= layer.activation_min <= layer.activation_max <= 127
    ):
        return Status.OUT_OF_RANGE
    return Status.DONE


def _is_possible(layer: ConvLayer) -> bool:
    units = (layer.stride_height, layer.stride_width, layer.dilation_height, layer.dilation_width)
    spatial = (layer.input_height, layer.input_width, layer.kernel_height, layer.kernel_width, *units)
    sizes = (
        layer.batches,
        layer.input_channels,
        layer.output_height,
        layer.output_width,
        layer.output_channels,
        *spatial,
    )
    if min(sizes) < 1 or min(layer.pad_top, layer.pad_left) < 0:
        return False
    if layer.operation == Operation.FULLY_CONNECTED and (max(spatial) > 1 or layer.pad_top or layer.pad_left):
        return False
    tensors = (layer.input_bytes, layer.weight_bytes, layer.output_bytes, 4 * layer.output_channels)
    return max(tensors) <= ADDRESS_SPACE and layer.macs <= MAX_MACS


def _output_follows(layer: ConvLayer) -> bool:
    if layer.operation == Operation.DEPTHWISE_CONV_2D and layer.output_channels % layer.input_channels:
        return False
    return _side_follows(
        layer.input_height,
        layer.output_height,
        layer.kernel_height,
        layer.stride_height,
        layer.dilation_height,
        layer.pad_top,
    ) and _side_follows(
        layer.input_width,
        layer.output_width,
        layer.kernel_width,
        layer.stride_width,
        layer.dilation_width,
        layer.pad_left,
    )


def _side_follows(size: int, output: int, kernel: int, stride: int, dilation: int, pad: int) -> bool:
    """Whether windows at -pad, stride - pad, ... fit one side of the input.

    The first and the last window must reach into the input, and no further window may fit wholly before its end.
    TFLite's SAME and VALID both do, and so does a PAD that was merged into the convolution.
    """
    window = (kernel - 1) * dilation + 1
    last = (output - 1) * stride - pad
    return pad < window and last < size and last + stride + window > size


class Tensors(NamedTuple):
    """Views of guest memory. `bias` is None if the layer has none."""

    input: memoryview
    weights: memoryview
    bias: memoryview | None
    multiplier: memoryview
    shift: memoryview
    output: memoryview


def open_tensors(layer: ConvLayer, port: MemoryPort) -> Tensors:
    """Get a view of each tensor of a layer that `check` passed.

    Raises
    ------
    accel.protocol.PortFault
        A tensor does not lie inside one region of memory (status 7).
    """
    per_channel = 4 * layer.output_channels
    return Tensors(
        input=port.view(layer.input, layer.input_bytes, False),
        weights=port.view(layer.weights, layer.weight_bytes, False),
        bias=port.view(layer.bias, per_channel, False) if layer.bias else None,
        multiplier=port.view(layer.multiplier, per_channel, False),
        shift=port.view(layer.shift, per_channel, False),
        output=port.view(layer.output, layer.output_bytes, True),
    )
