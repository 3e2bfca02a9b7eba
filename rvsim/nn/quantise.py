"""Quantised arithmetic of TFLite worked out ahead of the run: multipliers, clamps and padding.

The rules are those of TensorFlow Lite for Microcontrollers: `quantization_util.cc` (multipliers), `add_common.cc`
(those of ADD), `kernel_util.cc` (activation ranges) and `padding.h` of the TensorFlow Lite sources.
"""

from __future__ import annotations

import math
import struct

INT8_MIN, INT8_MAX = -128, 127
_MAX_SHIFT = 30  # more would shift every non-zero accumulator out of 32 bits


def float32(value: float) -> float:
    """Round a double to the nearest float32; what is too large becomes infinite."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def quantised_multiplier(factor: float) -> tuple[int, int]:
    """Fixed-point form (M, s) of a real factor: factor = M / 2**31 * 2**s, M in [2**30, 2**31).

    Parameters
    ----------
    factor : float
        Real factor, not negative.

    Returns
    -------
    tuple of int
        M in Q0.31 and s, positive shifting left; (0, 0) for a factor too small to matter.

    Raises
    ------
    ValueError
        The factor is negative, not finite or 2**30 and more.
    """
    if not 0 <= factor < math.inf:
        raise ValueError(f"expected a finite factor that is not negative, found {factor}")
    mantissa, shift = math.frexp(factor)
    multiplier = math.floor(mantissa * 2**31 + 0.5)
    if multiplier == 1 << 31:
        multiplier >>= 1
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > _MAX_SHIFT:
        raise ValueError(f"expected a factor below 2**{_MAX_SHIFT}, found {factor}")
    return multiplier, shift


def convolution_factors(input_scale: float, weight_scales: tuple[float, ...], output_scale: float) -> list[float]:
    """Real factor from accumulator to output of each output channel, in double precision."""
    return [input_scale * weight_scale / output_scale for weight_scale in weight_scales]


def fully_connected_factor(input_scale: float, weight_scale: float, output_scale: float) -> float:
    """Real factor from accumulator to output of FULLY_CONNECTED: the product is rounded to float32 first."""
    return float32(input_scale * weight_scale) / output_scale


def add_factors(first_scale: float, second_scale: float, output_scale: float) -> tuple[float, float, float]:
    """Real factors of an int8 ADD, in double precision: of either input, shifted left by 20 bits, and of their sum."""
    twice_larger = 2 * max(first_scale, second_scale)
    return first_scale / twice_larger, second_scale / twice_larger, twice_larger / (2**20 * output_scale)


def activation_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """Clamp (min, max) of an int8 output with a fused activation.

    Parameters
    ----------
    activation : str
        `NONE`, `RELU`, `RELU6` or `RELU_N1_TO_1`.
    scale, zero_point : float, int
        Quantisation of the output.

    Raises
    ------
    ValueError
        Another activation.
    """
    bounds = {"NONE": (None, None), "RELU": (0, None), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}
    if activation not in bounds:
        raise ValueError(f"expected a fused activation out of {', '.join(bounds)}, found {activation}")
    low, high = bounds[activation]

    def quantised(value: int) -> int:
        ratio = float32(value / scale)  # 0 < |ratio| may overflow a float32: then the int8 range is the tighter bound
        if math.isinf(ratio):
            return INT8_MAX if ratio > 0 else INT8_MIN
        return zero_point + int(math.copysign(math.floor(abs(ratio) + 0.5), ratio))

    return (
        INT8_MIN if low is None else max(INT8_MIN, quantised(low)),
        INT8_MAX if high is None else min(INT8_MAX, quantised(high)),
    )


def padding(kind: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Output size along one axis and the padding before its first element.

    Parameters
    ----------
    kind : str
        `SAME` or `VALID`.
    size, kernel, stride, dilation : int
        Input size, kernel size, stride and dilation along the axis, all at least 1.

    Raises
    ------
    ValueError
        Another kind of padding.
    """
    reach = (kernel - 1) * dilation + 1
    if kind == "VALID":
        return max(0, (size - reach) // stride + 1), 0
    if kind == "SAME":
        output = -(-size // stride)
        return output, max(0, (output - 1) * stride + reach - size) // 2
    raise ValueError(f"expected SAME or VALID padding, found {kind}")
