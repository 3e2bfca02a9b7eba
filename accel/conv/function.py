"""What a layer computes: TFLite Micro's int8 arithmetic, bit for bit.

An element of the output is `clamp(requantise(sum((x + input_offset) * w) + bias) + output_offset)`. The sum wraps
around as int32 does; padded taps add nothing; `requantise` is TFLite's MultiplyByQuantizedMultiplier with double
rounding (tensorflow/lite/kernels/internal/common.h), FULLY_CONNECTED included, as TFLite Micro has it. Where TFLite's
int32 would overflow when the zero point is added (undefined in C), the value saturates.

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
    if not _kernel.requantisation_in_range(tensors.multiplier, tensors.shift, SHIFT_MIN, SHIFT_MAX):
        return Status.OUT_OF_RANGE
    depthwise = layer.operation == Operation.DEPTHWISE_CONV_2D
    if depthwise and layer.input_channels == 1 < layer.output_channels:
        # One channel in: an ordinary convolution, whose loops are faster, once the weights are 1HWO no longer but OHWI.
        outputs = layer.output_channels
        weights = b"".join(bytes(tensors.weights[channel::outputs]) for channel in range(outputs))
        tensors, depthwise = tensors._replace(weights=memoryview(weights)), False
    _kernel.run(layer, depthwise, *tensors)
    return Status.DONE
