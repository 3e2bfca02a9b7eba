"""The skeleton unit: dot products of int8 vectors in memory. Use it with: rvsim run PROGRAM --accel skeleton.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from accel import Coprocessor, MemoryPort, Response

LENGTH, DOT = 0, 1  # the functions of skeleton.core_desc
MAX_LENGTH = 1 << 12


# Parameters: what a designer may choose; --set accel.lanes=8 replaces one.
class SkeletonParameters(msgspec.Struct, frozen=True):
    """What the unit is built of.

    Attributes
    ----------
    lanes : int
        Multiply-accumulates a cycle.
    bus_width_bytes : int
        Bytes that its memory port moves in a cycle.
    latency_cycles : int
        From the instruction to the first byte asked for.
    """

    lanes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    bus_width_bytes: Literal[1, 2, 4, 8, 16] = 4
    latency_cycles: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 2


# Function: what it computes, whatever it is built of.
def dot(x: memoryview, y: memoryview) -> int:
    """Sum the products of two int8 vectors, as 32 bits."""
    first, second = (np.frombuffer(each, np.int8).astype(np.int64) for each in (x, y))
    return int(first @ second) & 0xFFFF_FFFF


# Timing: how long that takes, whatever the data.
def cycles(parameters: SkeletonParameters, length: int) -> int:
    """Cycles of one dot product: multiplying and loading overlap."""
    loads = 2 * -(-length // parameters.bus_width_bytes)
    return parameters.latency_cycles + max(-(-length // parameters.lanes), loads)


# What a snapshot keeps; msgspec checks it when one is read.
class SkeletonState(msgspec.Struct):
    """Registers and counters of the unit."""

    length: int = 0
    products: int = 0
    macs: int = 0
    busy_cycles: int = 0
    loads: int = 0
    load_bytes: int = 0


class Skeleton(Coprocessor):
    """The unit as the hart sees it: it stalls the hart until the sum is there."""

    description = Path(__file__).with_name("skeleton.core_desc")
    parameter_type = SkeletonParameters
    capability = 128 << 24 | 1  # family 128, the first that is left to units of one's own; the rest is this unit's
    state_type = SkeletonState

    def reset(self) -> None:
        """Return to the state after power-on."""
        self._is = SkeletonState()

    def issue(self, function: int, rs1: int, rs2: int, port: MemoryPort, cycle: int, pc: int) -> Response:
        """Execute one instruction; an address outside memory makes port.view raise, and the instruction trap."""
        if function == LENGTH:
            self._is.length = min(rs1, MAX_LENGTH)
            return Response()
        length = self._is.length
        value = dot(port.view(rs1, length, False), port.view(rs2, length, False)) if length else 0
        accesses, spent = -(-length // self.parameters.bus_width_bytes), cycles(self.parameters, length)
        if length:
            port.count(rs1, "load", accesses, length)
            port.count(rs2, "load", accesses, length)
        self._is.products += 1
        self._is.macs += length
        self._is.busy_cycles += spent
        self._is.loads += 2 * accesses
        self._is.load_bytes += 2 * length
        return Response(value, spent)

    def report(self, total_cycles: int) -> dict[str, Any]:
        """Say what it did: keys of rvsim.machine.result.AcceleratorReport."""
        peak = self._is.busy_cycles * self.parameters.lanes
        return {
            "name": self.name,
            "commands": self._is.products,
            "macs": self._is.macs,
            "busy_cycles": self._is.busy_cycles,
            "utilisation": self._is.macs / peak if peak else 0.0,
            "traffic": {"load": {"count": self._is.loads, "bytes": self._is.load_bytes}},
            "parameters": msgspec.to_builtins(self.parameters),
        }

    def state(self) -> SkeletonState:
        """Everything that a snapshot needs."""
        return self._is

    def restore(self, state: SkeletonState) -> None:
        """Return to what state() gave."""
        self._is = state
