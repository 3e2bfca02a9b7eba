"""What a convolution coprocessor is built of, and what its work is made of: for estimates of area and energy."""

from __future__ import annotations

from typing import Any

from accel.conv.descriptor import SIZE
from accel.conv.parameters import ConvParameters

STREAMS = 5
"""Inputs, weights, per-channel parameters, outputs, partial sums: each has an address and loops of its own."""
REQUANTISE = {"multiply32": 1, "add32": 3, "register_bit": 160}
"""A sum's high product, its rounding, shift and offset (an adder each), a pipeline that holds 64, 64 and 32 bits."""


def mac(parameters: ConvParameters) -> dict[str, float]:
    """Operations of a PE: it keeps a weight, hands on an input, and adds to a sum."""
    bits = parameters.accumulator_bits
    return {"multiply8": 1, "add32": bits / 32, "register_bit": 16 + bits}


def parts(parameters: ConvParameters) -> list[dict[str, Any]]:
    """Parts for `rvsim.machine.result.HardwarePart`: units of logic and memories.

    What no publication gives (REQUANTISE, STREAMS and their loops) is assumed; docs/energy.md sets totals beside
    published ones.
    """
    each, lanes = mac(parameters), parameters.requantise_per_cycle
    rows, columns, sums = parameters.pe_rows, parameters.pe_columns, parameters.accumulator_bits
    bits = each["register_bit"] + 8 * parameters.fold_overlap  # the next fold's operands wait in the PEs
    banks = 2 if parameters.double_buffering else 1
    queue = parameters.queue_depth if parameters.interface == "queued" else 1
    buffers = {
        "input buffer": (parameters.input_buffer_kib, 8 * rows),
        "weight buffer": (parameters.weight_buffer_kib, 8 * columns),
        "output buffer": (parameters.output_buffer_kib, sums * columns),
    }
    memories = [
        {"name": name, "sram_kib": kib, "sram_bits": width, "banks": banks} for name, (kib, width) in buffers.items()
    ]
    return [
        _logic("PE array", rows * columns, multiply8=1, add32=each["add32"], register_bit=bits),
        *memories,
        _logic("requantise", lanes, **REQUANTISE),
        _logic(
            "control and interface",
            1,
            add32=2 * STREAMS,
            # The descriptor; an address and four loops of 16 bits a stream; two bus words; requests under way; queue.
            register_bit=8 * SIZE
            + STREAMS * (32 + 4 * 16)
            + 2 * 8 * parameters.bus_width_bytes
            + 32 * (parameters.outstanding_bursts + queue),
        ),
    ]


def _logic(name: str, times: float, **units: float) -> dict[str, Any]:
    return {"name": name, "units": {unit: number * times for unit, number in units.items()}}


def activities(parameters: ConvParameters, macs: int, outputs: int, moved: int) -> list[dict[str, Any]]:
    """Activities for `rvsim.machine.result.Activity`.

    Parameters
    ----------
    macs, outputs : int
        Multiply-accumulates, and int8 elements that were stored.
    moved : int
        Bytes that crossed the memory port: each is clocked into the port and out of it.
    """
    return [
        {"name": "MACs", "count": macs, "takes": mac(parameters)},
        {"name": "requantisation", "count": outputs, "takes": dict(REQUANTISE)},
        {"name": "port", "count": moved, "takes": {"register_bit": 16}},
    ]
