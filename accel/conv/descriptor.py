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

# A command of more steps is refused as too large, so that a hostile descriptor (a big kernel sliding over a big
# output, both of which fit into memory) cannot keep the simulator busy for more than a minute. The largest layer of
# MobileNetV2 at 224 x 224 has 2**26.
MAX_STEPS = 1 << 34

# A larger window of a pool is refused too: sums of so many int8 stay within int32 however an average rounds them.
MAX_POOL_TAPS = 1 << 23

# The guest's address space: a larger tensor cannot exist.
ADDRESS_SPACE = 1 << 32


class Operation(IntEnum):
    """The layers the coprocessor knows; also the bit numbers of the capability word."""

    CONV_2D = 0
    DEPTHWISE_CONV_2D = 1
    FULLY_CONNECTED = 2
    AVERAGE_POOL_2D = 3
    MAX_POOL_2D = 4
    ADD = 5


POOLS = (Operation.AVERAGE_POOL_2D, Operation.MAX_POOL_2D)
ONE_CHANNEL = (Operation.DEPTHWISE_CONV_2D, *POOLS, Operation.ADD)
"""Operations an output element of which depends on one channel of the input."""


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
    """The descriptor's words 1 to 26; addresses are unsigned, all else is signed.

    Which words an operation reads differently, or not at all, is in docs/architecture.md.
    """

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
    def has_weights(self) -> bool:
        """Whether it multiplies by weights: a convolution or FULLY_CONNECTED."""
        return self.operation <= Operation.FULLY_CONNECTED

    @property
    def second_input_offset(self) -> int:
        """Of ADD: minus the zero point of the second input, in a word that a window of 1 x 1 has no use for."""
        return self.pad_top

    @property
    def rows_above(self) -> int:
        """Padding above the input: `pad_top`, but of ADD 0."""
        return 0 if self.operation == Operation.ADD else self.pad_top

    @property
    def shape(self) -> ConvLayer:
        """The same layer without what timing does not depend on: equal for layers of equal cost."""
        return msgspec.structs.replace(
            self,
            **dict.fromkeys(("input", "weights", "output", "multiplier", "shift"), 0),
            **dict.fromkeys(("input_offset", "output_offset", "activation_min", "activation_max"), 0),
            bias=int(self.has_weights and self.bias != 0),
            pad_top=self.rows_above,
        )

    @property
    def depth(self) -> int:
        """Elements of the (first) input that make one output element: products in a sum, or taps of a pool."""
        taps = self.kernel_height * self.kernel_width
        return taps if self.operation in ONE_CHANNEL else taps * self.input_channels

    @property
    def input_bytes(self) -> int:
        """Size of the input tensor."""
        return self.batches * self.input_height * self.input_width * self.input_channels

    @property
    def weight_bytes(self) -> int:
        """Size of the weight tensor; of ADD's second input; 0 for a pool."""
        if self.operation == Operation.ADD:
            return self.input_bytes
        return self.depth * self.output_channels if self.has_weights else 0

    @property
    def multipliers(self) -> int:
        """Multipliers and shifts: one an output channel, three for ADD (first input, second, output), 0 for a pool."""
        if self.operation == Operation.ADD:
            return 3
        return self.output_channels if self.has_weights else 0

    @property
    def output_bytes(self) -> int:
        """Size of the output tensor, which is also its number of elements."""
        return self.batches * self.output_height * self.output_width * self.output_channels

    @property
    def steps(self) -> int:
        """MACs, taps of a pool or elements of a sum, those with padding included."""
        return self.output_bytes * self.depth

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those with padding included, as model cards count them: 0 for pools and ADD."""
        return self.steps if self.has_weights else 0


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
    words = (layer.bias if layer.has_weights else 0) | (layer.multiplier | layer.shift if layer.multipliers else 0)
    if words % 4:
        return Status.MISALIGNED
    if not _is_possible(layer):
        return Status.BAD_SHAPE
    if not _output_follows(layer):
        return Status.OUTPUT_SHAPE
    if not (
        -127 <= layer.input_offset <= 128
        and -128 <= layer.output_offset <= 127
        and -128 <= layer.activation_min <= layer.activation_max <= 127
        and (layer.operation != Operation.ADD or -127 <= layer.second_input_offset <= 128)
    ):
        return Status.OUT_OF_RANGE
    return Status.DONE


def _is_possible(layer: ConvLayer) -> bool:
    inputs = (layer.input_height, layer.input_width)
    outputs = (layer.output_height, layer.output_width)
    kernel, strides = (layer.kernel_height, layer.kernel_width), (layer.stride_height, layer.stride_width)
    dilations = (layer.dilation_height, layer.dilation_width)
    pads = (layer.rows_above, layer.pad_left)
    channels = (layer.input_channels, layer.output_channels)
    if min(layer.batches, *inputs, *outputs, *kernel, *strides, *dilations, *channels) < 1 or min(pads) < 0:
        return False
    ones, zeros = {
        Operation.FULLY_CONNECTED: ((*inputs, *kernel, *strides, *dilations), pads),
        Operation.AVERAGE_POOL_2D: (dilations, ()),
        Operation.MAX_POOL_2D: (dilations, ()),
        Operation.ADD: ((*kernel, *strides, *dilations), pads),
    }.get(Operation(layer.operation), ((), ()))
    if any(size > 1 for size in ones) or any(zeros):
        return False
    if layer.operation in POOLS and layer.depth > MAX_POOL_TAPS:
        return False
    tensors = (layer.input_bytes, layer.weight_bytes, layer.output_bytes, 4 * layer.multipliers)
    return max(tensors) <= ADDRESS_SPACE and layer.steps <= MAX_STEPS


def _output_follows(layer: ConvLayer) -> bool:
    if layer.operation == Operation.DEPTHWISE_CONV_2D and layer.output_channels % layer.input_channels:
        return False
    if not layer.has_weights and layer.output_channels != layer.input_channels:
        return False
    return _side_follows(
        layer.input_height,
        layer.output_height,
        layer.kernel_height,
        layer.stride_height,
        layer.dilation_height,
        layer.rows_above,
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
    """Views of guest memory; None where the layer has no such tensor. `weights` is ADD's second input."""

    input: memoryview
    weights: memoryview | None
    bias: memoryview | None
    multiplier: memoryview | None
    shift: memoryview | None
    output: memoryview


def open_tensors(layer: ConvLayer, port: MemoryPort) -> Tensors:
    """Get a view of each tensor of a layer that `check` passed.

    Raises
    ------
    accel.protocol.PortFault
        A tensor does not lie inside one region of memory (status 7).
    """

    def view(address: int, size: int) -> memoryview | None:
        return port.view(address, size, False) if size else None

    return Tensors(
        input=port.view(layer.input, layer.input_bytes, False),
        weights=view(layer.weights, layer.weight_bytes),
        bias=view(layer.bias, 4 * layer.output_channels if layer.has_weights and layer.bias else 0),
        multiplier=view(layer.multiplier, 4 * layer.multipliers),
        shift=view(layer.shift, 4 * layer.multipliers),
        output=port.view(layer.output, layer.output_bytes, True),
    )
