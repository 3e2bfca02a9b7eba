"""What a layer computes: TFLite Micro's int8 arithmetic, bit for bit.

An element of a convolution's or FULLY_CONNECTED's output is
`clamp(requantise(sum((x + input_offset) * w) + bias) + output_offset)`.
The sum wraps around as int32 does; padded taps add nothing; `requantise` is TFLite's MultiplyByQuantizedMultiplier with
double rounding (tensorflow/lite/kernels/internal/common.h), FULLY_CONNECTED included, as TFLite Micro has it. Where
TFLite's int32 would overflow when the zero point is added (undefined in C), the value saturates.

Pools reduce the int8 values as they are (reference/integer_ops/pooling.h): an average is the sum of the taps inside the
input, divided by their number, to nearest, ties away from zero. ADD (reference/integer_ops/add.h) shifts `x +
input_offset` of either operand left by 20, scales both, and scales their sum.

The output is computed aside and written last: it may overlap any other tensor, each of which is read as it was before
the command.
"""

from __future__ import annotations

from accel.conv import _kernel
from accel.conv.descriptor import ConvLayer, Operation, Status, Tensors

SHIFT_MIN, SHIFT_MAX = -31, 30


def execute(layer: ConvLayer, tensors: Tensors) -> Status:
    """Run one layer that `accel.conv.descriptor.check` passed.

    Returns
    -------
    Status
        DONE, or OUT_OF_RANGE if a multiplier is negative or a shift outside -31 to 30 (the range that TFLite's
        QuantizeMultiplier produces); nothing is written then.
    """
    source, weights, bias, multiplier, shift, output = tensors
    if weights is None or multiplier is None or shift is None:
        _kernel.pool(layer, layer.operation == Operation.MAX_POOL_2D, source, output)
        return Status.DONE
    if not _kernel.requantisation_in_range(multiplier, shift, SHIFT_MIN, SHIFT_MAX):
        return Status.OUT_OF_RANGE
    if layer.operation == Operation.ADD:
        _kernel.add(layer, source, weights, multiplier, shift, output)
        return Status.DONE
    depthwise = layer.operation == Operation.DEPTHWISE_CONV_2D
    if depthwise and layer.input_channels == 1 < layer.output_channels:
        # One channel in: an ordinary convolution, whose loops are faster, once the weights are 1HWO no longer but OHWI.
        outputs = layer.output_channels
        weights = memoryview(b"".join(bytes(weights[channel::outputs]) for channel in range(outputs)))
        depthwise = False
    _kernel.run(layer, depthwise, source, weights, bias, multiplier, shift, output)
    return Status.DONE
