"""CORE-V's XCV instructions, wholly in CoreDSL: multiply-accumulate, SIMD, post-increment accesses and more."""

from __future__ import annotations

from collections.abc import Mapping

from accel.protocol import Coprocessor


def load(name: str, values: Mapping[str, object], where: str, overrides: Mapping[str, str]) -> Coprocessor:
    """Make an XCV unit of a preset's or a file's values; see `accel.registry.load`."""
    from accel.xcv.coprocessor import XcvCoprocessor, check

    return XcvCoprocessor(name, check(values, where, overrides))
