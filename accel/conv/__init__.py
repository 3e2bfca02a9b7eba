"""The convolution coprocessor: a PE array that runs a quantised layer per command, bit for bit as TFLite Micro does."""

from __future__ import annotations

from collections.abc import Mapping

from accel.protocol import Coprocessor


def load(name: str, values: Mapping[str, object], where: str, overrides: Mapping[str, str]) -> Coprocessor:
    """Make a convolution coprocessor of a preset's or a file's values; see `accel.registry.load`."""
    from accel.conv import parameters
    from accel.conv.coprocessor import ConvCoprocessor

    return ConvCoprocessor(name, parameters.check(values, where, overrides))
