"""The int8 arithmetic of TensorFlow Lite for Microcontrollers in numpy: slow, plain, and without the C's shortcuts.

Sources: tensorflow/lite/kernels/internal/common.h (MultiplyByQuantizedMultiplier, double rounding),
reference/integer_ops/conv.h, depthwise_conv.h, fully_connected.h, pooling.h, add.h.
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
    """A layer with its tensors, laid out and named as in docs/architecture.md. `window` is a pool's."""

    operation: int
    input: np.ndarray
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    multiplier: np.ndarray | None = None
    shift: np.ndarray | None = None
    output_size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    input_offset: int = 0
    output_offset: int = 0
    activation: tuple[int, int] = field(default=(-128, 127))
    window: tuple[int, int] = (1, 1)

    @property
    def kernel(self) -> tuple[int, int]:
        return (self.weights.shape[1], self.weights.shape[2]) if self.operation < 2 else self.window

    @property
    def output_channels(self) -> int:
        return self.multiplier.size if self.operation < 3 else self.input.shape[3]


def tap(layer: Layer, axis: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Where tap `k` of each window lies along an axis (0: rows, 1: columns), and whether that is inside the input."""
    places = np.arange(layer.output_size[axis]) * layer.stride[axis] - layer.pad[axis] + k * layer.dilation[axis]
    size = layer.input.shape[1 + axis]
    return places.clip(0, size - 1), (places >= 0) & (places < size)


def accumulate(layer: Layer) -> np.ndarray:
    """int64 accumulators [N, H, W, output channels], without bias: one tap of all windows at a time."""
    x = layer.input.astype(np.int64) + layer.input_offset
    acc = np.zeros((x.shape[0], *layer.output_size, layer.output_channels), np.int64)
    for ky in range(layer.kernel[0]):
        rows, row_inside = tap(layer, 0, ky)
        for kx in range(layer.kernel[1]):
            columns, column_inside = tap(layer, 1, kx)
            seen = x[:, rows][:, :, columns] * (row_inside[:, None] & column_inside)[:, :, None]
            if layer.operation == 0:
                acc += np.einsum("nhwc,oc->nhwo", seen, layer.weights[:, ky, kx].astype(np.int64))
            elif layer.operation == 1:
                repeated = np.repeat(seen, layer.output_channels // seen.shape[3], axis=3)
                acc += repeated * layer.weights[0, ky, kx].astype(np.int64)
            else:
                acc += np.einsum("nhwc,oc->nhwo", seen, layer.weights.astype(np.int64))
    return acc


def pool(layer: Layer) -> np.ndarray:
    """The output of AVERAGE_POOL_2D (3) or MAX_POOL_2D (4), before its clamp."""
    batches, channels = layer.input.shape[0], layer.input.shape[3]
    out = np.empty((batches, *layer.output_size, channels), np.int64)
    for batch, y, x, channel in np.ndindex(out.shape):
        top, left = y * layer.stride[0] - layer.pad[0], x * layer.stride[1] - layer.pad[1]
        taps = layer.input[
            batch, max(0, top) : top + layer.window[0], max(0, left) : left + layer.window[1], channel
        ].astype(int)
        total, count = int(taps.sum()), taps.size
        average = truncating_divide(total + (count // 2 if total > 0 else -(count // 2)), count)
        out[batch, y, x, channel] = average if layer.operation == 3 else taps.max()
    return out


def add(layer: Layer) -> np.ndarray:
    """The output of ADD (5) before its clamp; `pad[0]` is the offset of its second input, `weights`."""
    (m0, m1, m2), (s0, s1, s2) = layer.multiplier.tolist(), layer.shift.tolist()
    out = np.empty(layer.input.shape, np.int64)
    for index in np.ndindex(out.shape):
        first = (int(layer.input[index]) + layer.input_offset) * 2**20
        second = (int(layer.weights[index]) + layer.pad[0]) * 2**20
        both = multiply_by_quantized_multiplier(first, m0, s0) + multiply_by_quantized_multiplier(second, m1, s1)
        out[index] = multiply_by_quantized_multiplier(wrap_int32(both), m2, s2) + layer.output_offset
    return out


def run(layer: Layer) -> np.ndarray:
    """The int8 output [N, H, W, output channels]."""
    if layer.operation > 2:
        return (add if layer.operation == 5 else pool)(layer).clip(*layer.activation).astype(np.int8)
    acc = accumulate(layer) + (0 if layer.bias is None else layer.bias.astype(np.int64))
    output = np.empty(acc.shape, np.int8)
    for index, value in np.ndenumerate(acc):
        channel = index[3]
        scaled = multiply_by_quantized_multiplier(
            wrap_int32(int(value)), int(layer.multiplier[channel]), int(layer.shift[channel])
        )
        output[index] = min(max(scaled + layer.output_offset, layer.activation[0]), layer.activation[1])
    return output
