"""The int8 arithmetic of TensorFlow Lite for Microcontrollers in numpy: slow, plain, and without the C's shortcuts.

Sources: tensorflow/lite/kernels/internal/common.h (MultiplyByQuantizedMultiplier, double rounding),
reference/integer_ops/conv.h, depthwise_conv.h, fully_connected.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def wrap_int32(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def truncating_divide(a: int, b: int) -> int:
    return abs(a) // b * (1 if a >= 0 else -1)


def multiply_by_quantized_multiplier(value: int, multiplier: int, shift: int) -> int:
    """Both roundings as common.h states them, on Python's integers."""
    product = wrap_int32(value * 2 ** max(shift, 0)) * multiplier
    nudge = 2**30 if product >= 0 else 1 - 2**30
    high = truncating_divide(product + nudge, 2**31)
    right = max(-shift, 0)
    return truncating_divide(abs(high) + 2**right // 2, 2**right) * (1 if high >= 0 else -1)


@dataclass
class Layer:
    """A layer with its tensors, laid out and named as in docs/architecture.md."""

    operation: int
    input: np.ndarray
    weights: np.ndarray
    bias: np.ndarray | None
    multiplier: np.ndarray
    shift: np.ndarray
    output_size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    input_offset: int = 0
    output_offset: int = 0
    activation: tuple[int, int] = field(default=(-128, 127))

    @property
    def kernel(self) -> tuple[int, int]:
        return (1, 1) if self.operation == 2 else (self.weights.shape[1], self.weights.shape[2])

    @property
    def output_channels(self) -> int:
        return self.multiplier.size


def accumulate(layer: Layer) -> np.ndarray:
    """int64 accumulators [N, H, W, output channels], without bias: padded input, one tap of the window at a time."""
    x = layer.input.astype(np.int64) + layer.input_offset
    (height, width), (kernel_h, kernel_w) = layer.output_size, layer.kernel
    reach = [
        (output - 1) * stride + (kernel - 1) * dilation + 1
        for output, stride, kernel, dilation in zip(
            layer.output_size, layer.stride, layer.kernel, layer.dilation, strict=True
        )
    ]
    after = [max(0, reach[axis] - layer.pad[axis] - x.shape[1 + axis]) for axis in (0, 1)]
    x = np.pad(x, ((0, 0), (layer.pad[0], after[0]), (layer.pad[1], after[1]), (0, 0)))
    acc = np.zeros((x.shape[0], height, width, layer.output_channels), np.int64)
    for ky in range(kernel_h):
        for kx in range(kernel_w):
            top, left = ky * layer.dilation[0], kx * layer.dilation[1]
            rows = slice(top, top + (height - 1) * layer.stride[0] + 1, layer.stride[0])
            columns = slice(left, left + (width - 1) * layer.stride[1] + 1, layer.stride[1])
            seen = x[:, rows, columns, :]
            if layer.operation == 0:
                acc += np.einsum("nhwc,oc->nhwo", seen, layer.weights[:, ky, kx].astype(np.int64))
            elif layer.operation == 1:
                repeated = np.repeat(seen, layer.output_channels // seen.shape[3], axis=3)
                acc += repeated * layer.weights[0, ky, kx].astype(np.int64)
            else:
                acc += np.einsum("nhwc,oc->nhwo", seen, layer.weights.astype(np.int64))
    return acc


def run(layer: Layer) -> np.ndarray:
    """The int8 output [N, H, W, output channels]."""
    acc = accumulate(layer) + (0 if layer.bias is None else layer.bias.astype(np.int64))
    output = np.empty(acc.shape, np.int8)
    for index, value in np.ndenumerate(acc):
        channel = index[3]
        scaled = multiply_by_quantized_multiplier(
            wrap_int32(int(value)), int(layer.multiplier[channel]), int(layer.shift[channel])
        )
        output[index] = min(max(scaled + layer.output_offset, layer.activation[0]), layer.activation[1])
    return output
