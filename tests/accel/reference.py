"""The coprocessor's arithmetic and its memory, stated again, slowly: numpy, one output element at a time.

Rules and their sources: TFLite's reference/integer_ops/conv.h, depthwise_conv.h, fully_connected.h, pooling.h, add.h
and internal/common.h (MultiplyByQuantizedMultiplier with double rounding).
"""

from __future__ import annotations

import numpy as np

from accel.conv.descriptor import ConvLayer, Operation
from accel.protocol import PortFault


def requantise(x: int, multiplier: int, shift: int) -> int:
    """Scale an int32 by multiplier * 2**(shift - 31), rounding twice."""
    x = wrap(x << max(shift, 0))
    product = x * multiplier + (1 << 30 if x * multiplier >= 0 else 1 - (1 << 30))
    high = abs(product) // 2**31 * (1 if product >= 0 else -1)
    divisor = 2 ** max(-shift, 0)
    rounded = (2 * abs(high) + divisor) // (2 * divisor)  # ties away from zero
    return rounded if high >= 0 else -rounded


def wrap(x: int) -> int:
    """Reduce to int32."""
    return (x + 2**31) % 2**32 - 2**31


def divide(a: int, b: int) -> int:
    """Divide as C does."""
    return abs(a) // b * (1 if a >= 0 else -1)


def run(
    layer: ConvLayer,
    x: np.ndarray,
    w: np.ndarray | None,
    bias: np.ndarray | None,
    multiplier: np.ndarray | None,
    shift: np.ndarray | None,
) -> np.ndarray:
    """Compute one layer.

    Parameters
    ----------
    x : int8 array, shape (batches, input_height, input_width, input_channels)
    w : int8 array, OHWI or, depthwise, 1HWO; the second input of ADD; not used by pools
    bias : int32 array, one element an output channel
    multiplier, shift : int32 arrays, one element an output channel; three of ADD; not used by pools

    Returns
    -------
    int8 array, shape (batches, output_height, output_width, output_channels)
    """
    if layer.operation == Operation.ADD:
        return _add(layer, x, w, multiplier, shift)
    if layer.operation in (Operation.AVERAGE_POOL_2D, Operation.MAX_POOL_2D):
        return _pool(layer, x)
    depthwise = layer.operation == Operation.DEPTHWISE_CONV_2D
    times = layer.output_channels // layer.input_channels
    out = np.empty((layer.batches, layer.output_height, layer.output_width, layer.output_channels), np.int8)
    for b, oy, ox, oc in np.ndindex(out.shape):
        total = 0
        for ky, kx in np.ndindex(layer.kernel_height, layer.kernel_width):
            iy = oy * layer.stride_height - layer.pad_top + ky * layer.dilation_height
            ix = ox * layer.stride_width - layer.pad_left + kx * layer.dilation_width
            if not (0 <= iy < layer.input_height and 0 <= ix < layer.input_width):
                continue
            if depthwise:
                total += (int(x[b, iy, ix, oc // times]) + layer.input_offset) * int(w[0, ky, kx, oc])
            else:
                total += int(((x[b, iy, ix].astype(np.int64) + layer.input_offset) * w[oc, ky, kx]).sum())
        total = wrap(total + (0 if bias is None else int(bias[oc])))
        y = requantise(total, int(multiplier[oc]), int(shift[oc])) + layer.output_offset
        out[b, oy, ox, oc] = min(max(y, layer.activation_min), layer.activation_max)
    return out


def _pool(layer: ConvLayer, x: np.ndarray) -> np.ndarray:
    out = np.empty((layer.batches, layer.output_height, layer.output_width, layer.output_channels), np.int8)
    for b, oy, ox, c in np.ndindex(out.shape):
        top, left = oy * layer.stride_height - layer.pad_top, ox * layer.stride_width - layer.pad_left
        window = x[b, max(0, top) : top + layer.kernel_height, max(0, left) : left + layer.kernel_width, c]
        seen = [int(tap) for tap in window.flat]
        total, half = sum(seen), len(seen) // 2
        average = divide(total + half if total > 0 else total - half, len(seen))
        y = average if layer.operation == Operation.AVERAGE_POOL_2D else max(seen)
        out[b, oy, ox, c] = min(max(y, layer.activation_min), layer.activation_max)
    return out


def _add(layer: ConvLayer, x: np.ndarray, w: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    scale = [(int(m), int(s)) for m, s in zip(multiplier, shift, strict=True)]
    out = np.empty((layer.batches, layer.output_height, layer.output_width, layer.output_channels), np.int8)
    for i, (a, b) in enumerate(zip(x.ravel().tolist(), w.ravel().tolist(), strict=True)):
        first = requantise((a + layer.input_offset) * 2**20, *scale[0])
        second = requantise((b + layer.pad_top) * 2**20, *scale[1])
        y = requantise(wrap(first + second), *scale[2]) + layer.output_offset
        out.flat[i] = min(max(y, layer.activation_min), layer.activation_max)
    return out


class Memory:
    """A MemoryPort over one region of RAM and one of ROM."""

    ROM, RAM = 0x2000_0000, 0x8000_0000

    def __init__(self, size: int = 1 << 16) -> None:
        self.regions = {self.ROM: (bytearray(size), False), self.RAM: (bytearray(size), True)}
        self.counted: list[tuple[int, str, int, int]] = []

    @property
    def ram(self) -> bytearray:
        return self.regions[self.RAM][0]

    def view(self, address: int, size: int, write: bool) -> memoryview:
        assert size >= 1
        for base, (data, writable) in self.regions.items():
            if base <= address and address + size <= base + len(data) and (writable or not write):
                view = memoryview(data)[address - base : address - base + size]
                return view if write else view.toreadonly()
        raise PortFault(address, size, write)

    def count(self, address: int, kind: str, accesses: int, bytes_: int) -> None:
        self.counted.append((address, kind, accesses, bytes_))
