"""The XCV unit as a coprocessor: its description, its capability word, and the cycles of its instructions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from accel.protocol import Coprocessor
from rvsim.errors import UsageError

FAMILY = 3  # bits 31:24 of the capability word
GROUPS = ("mem", "mac", "alu", "bitmanip", "bi", "simd", "hwlp")
"""Sets of the description, named as -march names them (xcvmem); bit n of the capability word stands for the n-th."""

MAX_CYCLES = 1000
Cycles = Annotated[int, msgspec.Meta(ge=0, le=MAX_CYCLES)]


class XcvParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One XCV unit.

    Attributes
    ----------
    kind : str
        "xcv"; names this folder to `accel.registry`.
    mem_extra_cycles : int
        Cycles of each instruction of XCVmem beyond those of the core's loads and stores.
    bi_extra_cycles : int
        Of XCVbi, beyond those of the core's branches.
    mac_extra_cycles, alu_extra_cycles, bitmanip_extra_cycles, simd_extra_cycles, hwlp_extra_cycles : int
        Of the other sets, beyond those of the core's custom instructions.
    """

    kind: Literal["xcv"]
    mem_extra_cycles: Cycles = 0
    mac_extra_cycles: Cycles = 0
    alu_extra_cycles: Cycles = 0
    bitmanip_extra_cycles: Cycles = 0
    bi_extra_cycles: Cycles = 0
    simd_extra_cycles: Cycles = 0
    hwlp_extra_cycles: Cycles = 0


def check(values: Mapping[str, Any], where: str, overrides: Mapping[str, str]) -> XcvParameters:
    """Make the record from a decoded TOML file and from `--set accel.KEY=VALUE`.

    Raises
    ------
    rvsim.errors.UsageError
        An unknown key, or a value of the wrong type or out of range.
    """
    known = XcvParameters.__struct_fields__
    sources = dict.fromkeys(values, where) | {key: f"--set accel.{key}" for key in overrides}
    for key, source in sources.items():
        if key not in known:
            import difflib  # 5 ms that only an error is worth

            nearest = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known keys are {', '.join(known)}"
            raise UsageError(f"{source}: expected a parameter of the XCV unit, found the unknown key {key!r}; {hint}")
    given = {key: int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text for key, text in overrides.items()}
    merged = {**values, **given}
    try:
        return msgspec.convert(merged, XcvParameters)
    except msgspec.ValidationError as error:
        place = re.search(r"at `\$\.(\w+)", str(error))
        key = place[1] if place else "kind"
        expected = "'xcv'" if key == "kind" else f"an integer from 0 to {MAX_CYCLES} (cycles)"
        source = sources.get(key, where)
        raise UsageError(f"{source}: key {key!r}: expected {expected}, found {merged.get(key)!r}") from None


HARDWARE: list[dict[str, Any]] = [
    {
        "name": "PULP extensions",
        "kge": 17.0,
        "low_kge": 12.0,
        "high_kge": 26.0,
        "source": "CV32E40P user manual at 6033d2b, ASIC Synthesis: 57 kGE with COREV_PULP, 40 without, at 100 MHz; "
        "all groups and hardware loops; bounds assumed, three quarters and one and a half",
    }
]


class XcvCoprocessor(Coprocessor):
    """An XCV unit.

    Parameters
    ----------
    name : str
        For reports.
    parameters : XcvParameters
        Its cycles.
    """

    # User manual, "Control and Status Registers": lpstart, lpend and lpcount of both loops, read-only.
    csrs: ClassVar[Mapping[int, tuple[str, int]]] = {
        0xCC0 + 4 * loop + n: (file, loop) for loop in (0, 1) for n, file in enumerate(("LPSTART", "LPEND", "LPCOUNT"))
    }
    description: ClassVar[Path] = Path(__file__).with_name("xcv.core_desc")
    capability = FAMILY << 24 | (1 << len(GROUPS)) - 1

    def __init__(self, name: str, parameters: XcvParameters) -> None:
        self.name = name
        self.parameters = parameters
        self._groups: dict[str, str] = {}

    def latency(self, name: str) -> int:
        """Cycles that an instruction takes beyond those of its timing class."""
        if not self._groups:
            self._groups = {i.name: i.set.removeprefix("XCV") for i in self.isa().instructions}
        cycles: int = getattr(self.parameters, f"{self._groups[name]}_extra_cycles")
        return cycles

    def activities(self, executed: Mapping[str, int]) -> list[dict[str, Any]]:
        """Products and sums; what else there is takes an adder, as any added instruction is counted."""
        bytes_ = sum(times for name, times in executed.items() if "DOT" in name and name.endswith("_B"))
        halves = sum(times for name, times in executed.items() if "DOT" in name and name.endswith("_H"))
        words = sum(executed.get(name, 0) for name in ("CV_MAC", "CV_MSU"))
        return [
            {"name": "MACs", "count": 4 * bytes_, "takes": {"multiply8": 1, "add32": 1}},
            # A product of 16 bits is four of 8.
            {"name": "16-bit products", "count": 2 * halves, "takes": {"multiply8": 4, "add32": 1}},
            {"name": "32-bit MACs", "count": words, "takes": {"multiply32": 1, "add32": 1}},
        ]

    def report(self, total_cycles: int) -> dict[str, Any]:
        """Its name, parameters and hardware: it runs no commands of its own."""
        return {"name": self.name, "hardware": HARDWARE, "parameters": msgspec.to_builtins(self.parameters)}
