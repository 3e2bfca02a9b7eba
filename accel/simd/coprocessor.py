"""The SIMD unit as a coprocessor: its description, its capability word, and the cycles of its instructions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from accel.protocol import Coprocessor
from rvsim.errors import UsageError

FAMILY = 2  # bits 31:24 of the capability word
VERSION = 1  # bits 7:0: the instructions of simd.core_desc

MAX_CYCLES = 1000
Cycles = Annotated[int, msgspec.Meta(ge=1, le=MAX_CYCLES)]


class SimdParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One SIMD unit. Cycles are those that the hart spends on an instruction; 1: as on one of its ALU.

    Attributes
    ----------
    kind : str
        "simd"; names this folder to `accel.registry`.
    dot_cycles : int
        Of `simd.dot` and `simd.dotx`.
    accumulate_cycles : int
        Of `simd.mac` and `simd.lanes`.
    register_cycles : int
        Of `simd.set`, `simd.get`, `simd.take`, `simd.offsets`, `simd.range`.
    high_cycles, round_cycles, clamp_cycles, requantise_cycles : int
        Of `simd.high`, `simd.round`, `simd.clamp`, `simd.requantise`.
    """

    kind: Literal["simd"]
    dot_cycles: Cycles
    accumulate_cycles: Cycles
    register_cycles: Cycles
    high_cycles: Cycles
    round_cycles: Cycles
    clamp_cycles: Cycles
    requantise_cycles: Cycles


GROUPS = {
    "SIMD_DOT": "dot",
    "SIMD_DOTX": "dot",
    "SIMD_MAC": "accumulate",
    "SIMD_LANES": "accumulate",
    "SIMD_SET": "register",
    "SIMD_GET": "register",
    "SIMD_TAKE": "register",
    "SIMD_OFFSETS": "register",
    "SIMD_RANGE": "register",
    "SIMD_HIGH": "high",
    "SIMD_ROUND": "round",
    "SIMD_CLAMP": "clamp",
    "SIMD_REQUANTISE": "requantise",
}
"""Which of the parameters counts an instruction's cycles."""


def check(values: Mapping[str, Any], where: str, overrides: Mapping[str, str]) -> SimdParameters:
    """Make the record from a decoded TOML file and from `--set accel.KEY=VALUE`.

    Raises
    ------
    rvsim.errors.UsageError
        An unknown or missing key, or a value of the wrong type or out of range.
    """
    known = SimdParameters.__struct_fields__
    sources = dict.fromkeys(values, where) | {key: f"--set accel.{key}" for key in overrides}
    for key, source in sources.items():
        if key not in known:
            import difflib  # 5 ms that only an error is worth

            nearest = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known keys are {', '.join(known)}"
            raise UsageError(f"{source}: expected a parameter of the SIMD unit, found the unknown key {key!r}; {hint}")
    for key in known:
        if key not in sources:
            raise UsageError(f"{where}: expected the key {key!r} (cycles), found none; add a line '{key} = 1'")
    given = {key: int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text for key, text in overrides.items()}
    merged = {**values, **given}
    try:
        return msgspec.convert(merged, SimdParameters)
    except msgspec.ValidationError as error:
        place = re.search(r"at `\$\.(\w+)", str(error))
        key = place[1] if place else "?"
        expected = "'simd'" if key == "kind" else f"an integer from 1 to {MAX_CYCLES} (cycles)"
        source = sources.get(key, where)
        raise UsageError(f"{source}: key {key!r}: expected {expected}, found {merged.get(key)!r}") from None


HARDWARE: list[dict[str, Any]] = [
    # Products of 10 by 8 bits, with an input offset (add32 each at a quarter of its width), and the sum of four.
    {"name": "dot product", "units": {"multiply8": 4 * 10 / 8, "add32": 4 / 4 + 3}},
    {"name": "accumulators", "units": {"add32": 4, "register_bit": 4 * 32 + 9 + 9 + 8 + 8}},
    # A multiplier of its own; rounding, shift, offset and clamp as an adder each.
    {"name": "requantise", "units": {"multiply32": 1, "add32": 5}},
]
"""What simd.core_desc takes: its registers and the widths of its functions, one of each; shared by all instructions."""


class SimdCoprocessor(Coprocessor):
    """A SIMD unit.

    Parameters
    ----------
    name : str
        For reports.
    parameters : SimdParameters
        Its cycles.
    """

    description: ClassVar[Path] = Path(__file__).with_name("simd.core_desc")
    capability = FAMILY << 24 | VERSION

    def __init__(self, name: str, parameters: SimdParameters) -> None:
        self.name = name
        self.parameters = parameters

    def latency(self, name: str) -> int:
        """Cycles that an instruction takes beyond those of the core's custom instructions."""
        cycles: int = getattr(self.parameters, f"{GROUPS[name]}_cycles")
        return cycles - 1

    def activities(self, executed: Mapping[str, int]) -> list[dict[str, Any]]:
        """Four products and sums of a dot product or of the lanes; a high product, shift and sums of requantisation."""
        macs = 4 * sum(executed.get(name, 0) for name in ("SIMD_DOT", "SIMD_DOTX", "SIMD_MAC", "SIMD_LANES"))
        high = sum(executed.get(name, 0) for name in ("SIMD_HIGH", "SIMD_REQUANTISE"))
        return [
            {"name": "MACs", "count": macs, "takes": {"multiply8": 1, "add32": 1, "register_bit": 8}},
            {"name": "requantisation", "count": high, "takes": {"multiply32": 1, "add32": 3, "register_bit": 32}},
        ]

    def report(self, total_cycles: int) -> dict[str, Any]:
        """Its name, parameters and hardware: it runs no commands of its own."""
        return {"name": self.name, "hardware": HARDWARE, "parameters": msgspec.to_builtins(self.parameters)}
