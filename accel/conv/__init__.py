"""The convolution coprocessor: a PE array that runs a quantised layer per command, bit for bit as TFLite Micro does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from accel.protocol import Coprocessor

if TYPE_CHECKING:
    from accel.conv.descriptor import ConvLayer
    from accel.conv.parameters import ConvParameters
    from accel.conv.timing import Timing


def load(name: str, values: Mapping[str, object], where: str, overrides: Mapping[str, str]) -> Coprocessor:
    """Make a convolution coprocessor of a preset's or a file's values; see `accel.registry.load`."""
    from accel.conv import parameters
    from accel.conv.coprocessor import ConvCoprocessor

    return ConvCoprocessor(name, parameters.check(values, where, overrides))


def estimate(layer: ConvLayer, params: ConvParameters) -> Timing:
    """Cycles and traffic of a layer, without a program.

    Parameters
    ----------
    layer : ConvLayer
        Its shape, from `accel.conv.layers.layer` or a program's descriptor; of the addresses only the bias's matters,
        whether it is 0.
    params : ConvParameters
        The coprocessor, from `accel.registry.load(name, overrides).parameters` or made by hand.

    Returns
    -------
    accel.conv.timing.Timing
        In cycles of the coprocessor's clock.

    Raises
    ------
    rvsim.errors.UsageError
        The tiles that the parameters give do not fit the buffers for this layer.

    Examples
    --------
    >>> from accel import conv, registry
    >>> from accel.conv.layers import layer
    >>> conv8 = registry.load("conv-8x8", {"double_buffering": "false"})
    >>> timing = conv.estimate(layer(input=(16, 16, 32), output_channels=32, kernel=3), conv8.parameters)
    >>> timing.cycles > timing.compute_cycles == 36864
    True
    """
    from accel.conv import timing

    return timing.estimate(layer, params)
