"""The SIMD unit: multiply-accumulate and requantisation instructions, wholly in CoreDSL."""

from __future__ import annotations

from collections.abc import Mapping

from accel.protocol import Coprocessor


def load(name: str, values: Mapping[str, object], where: str, overrides: Mapping[str, str]) -> Coprocessor:
    """Make a SIMD unit of a preset's or a file's values; see `accel.registry.load`."""
    from accel.simd.coprocessor import SimdCoprocessor, check

    return SimdCoprocessor(name, check(values, where, overrides))
