"""Measure the speed of the function on one host core: `python -m accel.conv.bench`.

On a server core with AVX-512 VNNI (AMD EPYC, gcc 12): 3x3 with 64 channels 62 to 82 GMAC/s, 1x1 37, depthwise 7,
fully connected 20; compiled for SSE2 alone: 24, 14, 1.4 and 10. Depthwise layers with a multiplier above 1, or with
one channel, reach 0.6 to 1.2. Time is this process's, so that others on the machine count little.
"""

from __future__ import annotations

import os
import time

from accel.conv import function
from accel.conv.descriptor import ConvLayer, Operation, Tensors

SECONDS = 0.5


def layer(
    operation: Operation, side: int, channels: int, outputs: int, kernel: int, batches: int = 1, stride: int = 1
) -> ConvLayer:
    """Make a SAME layer on a square map; addresses are 0."""
    pad = max(0, kernel - stride) // 2
    return ConvLayer(
        operation, 0, 0, 0, 0, 0, 0, batches, side, side, channels, side // stride, side // stride, outputs,
        kernel, kernel, stride, stride, 1, 1, pad, pad, 128, -128, -128, 127,
    )  # fmt: skip


def billions_per_second(layer: ConvLayer) -> float:
    """Run the layer on random data for half a second: MACs, taps or sums."""
    tensors = Tensors(
        input=memoryview(os.urandom(layer.input_bytes)),
        weights=memoryview(os.urandom(layer.weight_bytes)) if layer.weight_bytes else None,
        bias=memoryview(bytes(4 * layer.output_channels)) if layer.has_weights else None,
        multiplier=memoryview((1518500250).to_bytes(4, "little") * layer.multipliers) if layer.multipliers else None,
        shift=memoryview((-9).to_bytes(4, "little", signed=True) * layer.multipliers) if layer.multipliers else None,
        output=memoryview(bytearray(layer.output_bytes)),
    )
    function.execute(layer, tensors)
    runs, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < SECONDS:
        function.execute(layer, tensors)
        runs += 1
    return layer.steps * runs / elapsed / 1e9


CASES = {
    "CONV_2D 3x3, 64 -> 64, 32x32": layer(Operation.CONV_2D, 32, 64, 64, 3),
    "CONV_2D 3x3, 3 -> 16, 96x96": layer(Operation.CONV_2D, 96, 3, 16, 3),
    "CONV_2D 1x1, 64 -> 64, 32x32": layer(Operation.CONV_2D, 32, 64, 64, 1),
    "CONV_2D 1x1, 8 -> 16, 48x48": layer(Operation.CONV_2D, 48, 8, 16, 1),
    "DEPTHWISE_CONV_2D 3x3, 64, 32x32": layer(Operation.DEPTHWISE_CONV_2D, 32, 64, 64, 3),
    "DEPTHWISE_CONV_2D 3x3, 8, 48x48": layer(Operation.DEPTHWISE_CONV_2D, 48, 8, 8, 3),
    "DEPTHWISE_CONV_2D 3x3, 1 x 8, 64x64": layer(Operation.DEPTHWISE_CONV_2D, 64, 1, 8, 3),
    "DEPTHWISE_CONV_2D 3x3, 16 x 2, 32x32": layer(Operation.DEPTHWISE_CONV_2D, 32, 16, 32, 3),
    "FULLY_CONNECTED 640 -> 128, 1 row": layer(Operation.FULLY_CONNECTED, 1, 640, 128, 1),
    "AVERAGE_POOL_2D 2x2, 8, 88x88": layer(Operation.AVERAGE_POOL_2D, 88, 8, 8, 2, stride=2),
    "AVERAGE_POOL_2D 8x8, 64, 8x8": layer(Operation.AVERAGE_POOL_2D, 8, 64, 64, 8, stride=8),
    "MAX_POOL_2D 3x3, 64, 32x32": layer(Operation.MAX_POOL_2D, 32, 64, 64, 3),
    "MAX_POOL_2D 2x2, 1, 64x64": layer(Operation.MAX_POOL_2D, 64, 1, 1, 2, stride=2),
    "ADD 16, 32x32": layer(Operation.ADD, 32, 16, 16, 1),
}


def main() -> None:
    """Print one line a case."""
    for name, case in CASES.items():
        unit = "GMAC" if case.has_weights else "G sums" if case.operation == Operation.ADD else "G taps"
        print(f"{name:40} {billions_per_second(case):6.2f} {unit}/s")


if __name__ == "__main__":
    main()
