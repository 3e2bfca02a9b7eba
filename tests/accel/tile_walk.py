"""What a mapping moves and how long it takes, stated with sets of addresses and lists of events.

An independent statement of accel/conv/_mapping.pyx: every tile is enumerated, its bytes are sets, runs are found by
sorting them, and what stays in a buffer follows from the sizes of those sets. Slow; for whole kernels only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from accel.conv.descriptor import ConvLayer, Operation
from accel.conv.parameters import ConvParameters
from accel.conv.timing import Mapping


class Walked(NamedTuple):
    """Totals of a layer."""

    cycles: int
    input: tuple[int, int]  # bytes, bus cycles
    weights: tuple[int, int]
    sums_in: tuple[int, int]
    sums_out: tuple[int, int]
    output: tuple[int, int]


class _Moved:
    def __init__(self, parameters: ConvParameters) -> None:
        self.parameters = parameters
        self.bytes = self.beats = self.bursts = 0

    def add(self, addresses: Iterable[int], unit: int = 1) -> tuple[int, int]:
        """Count sorted runs; returns the bus cycles and bursts of these."""
        beats = bursts = 0
        run = 0
        previous = None
        for address in [*sorted(addresses), None]:
            if address is not None and previous is not None and address == previous + 1:
                run += 1
            else:
                if run:
                    beats += -(-run * unit // self.parameters.bus_width_bytes)
                    bursts += -(-run * unit // self.parameters.burst_bytes)
                    self.bytes += run * unit
                run = 1
            previous = address
        self.beats += beats
        self.bursts += bursts
        return beats, bursts


def _cut(whole: int, size: int) -> list[range]:
    return [range(first, min(first + size, whole)) for first in range(0, whole, size)]


def walk(layer: ConvLayer, parameters: ConvParameters, mapping: Mapping) -> Walked:
    """Play every tile of a layer whose kernel the mapping does not cut."""
    depthwise = layer.operation == Operation.DEPTHWISE_CONV_2D
    multiplier = layer.output_channels // layer.input_channels if depthwise else 1
    pixels = [
        (b, y, x)
        for b in _cut(layer.batches, mapping.batches)
        for y in _cut(layer.output_height, mapping.height)
        for x in _cut(layer.output_width, mapping.width)
    ]
    outs = _cut(layer.output_channels, mapping.output_channels)
    ins = [range(1)] if depthwise else _cut(layer.input_channels, mapping.input_channels)
    loops = {"m": pixels, "n": outs, "k": ins}
    slots = 2 if parameters.double_buffering else 1

    def lines(outputs: range, stride: int, dilation: int, kernel: int, pad: int, size: int) -> set[int]:
        window = (kernel - 1) * dilation + 1
        return {
            line for o in outputs for line in range(o * stride - pad, o * stride - pad + window) if 0 <= line < size
        }

    def input_of(m: tuple[range, range, range], n: range, k: range) -> frozenset[int]:
        rows = lines(
            m[1], layer.stride_height, layer.dilation_height, layer.kernel_height, layer.pad_top, layer.input_height
        )
        columns = lines(
            m[2], layer.stride_width, layer.dilation_width, layer.kernel_width, layer.pad_left, layer.input_width
        )
        channels = {c // multiplier for c in n} if depthwise else set(k)
        return frozenset(
            ((b * layer.input_height + r) * layer.input_width + c) * layer.input_channels + channel
            for b in m[0]
            for r in rows
            for c in columns
            for channel in channels
        )

    taps = layer.kernel_height * layer.kernel_width

    def weights_of(n: range, k: range) -> frozenset[int]:
        if depthwise:
            return frozenset(tap * layer.output_channels + c for tap in range(taps) for c in n)
        return frozenset((c * taps + tap) * layer.input_channels + i for c in n for tap in range(taps) for i in k)

    def outputs_of(m: tuple[range, range, range], n: range) -> frozenset[int]:
        return frozenset(
            ((b * layer.output_height + y) * layer.output_width + x) * layer.output_channels + c
            for b in m[0]
            for y in m[1]
            for x in m[2]
            for c in n
        )

    order = mapping.loop_order
    steps = [
        dict(zip(order, index, strict=True)) for index in itertools.product(*(range(len(loops[d])) for d in order))
    ]

    def stays(operand: str, relevant: str, buffer: int, unit: int = 1) -> bool:
        """Whether all that the loops inside the irrelevant one touch fits the buffer (twice, if it changes)."""
        (irrelevant,) = set("mnk") - set(relevant)
        if len(loops[irrelevant]) == 1:
            return False
        inside = order[order.index(irrelevant) + 1 :]
        changes = any(len(loops[d]) > 1 for d in relevant if d not in inside)
        first: dict[tuple[int, ...], set[int]] = {}
        for step in steps:
            scope = tuple(step[d] for d in relevant if d not in inside)
            first.setdefault(scope, set()).update(of(operand, step))
        largest = max(len(each) for each in first.values())
        return largest * unit * (slots if changes else 1) <= buffer

    def of(operand: str, step: dict[str, int]) -> frozenset[int]:
        m, n, k = loops["m"][step["m"]], loops["n"][step["n"]], loops["k"][step["k"]]
        if operand == "input":
            return input_of(m, n, k)  # type: ignore[arg-type]
        return weights_of(n, k) if operand == "weights" else outputs_of(m, n)  # type: ignore[arg-type]

    input_room, weight_room = parameters.input_buffer_kib * 1024, parameters.weight_buffer_kib * 1024
    accumulator = parameters.accumulator_bits // 8
    touched: set[int] = set()
    for step in steps:
        touched |= of("input", step)
    input_stays = not depthwise and stays("input", "mk", input_room)
    whole_input = (depthwise or len(outs) == 1) and len(touched) <= input_room
    weights_stay = stays("weights", "nk", weight_room)
    sums_stay = len(ins) == 1 or stays("output", "mn", parameters.output_buffer_kib * 1024, accumulator)
    moved = {name: _Moved(parameters) for name in ("input", "weights", "channel", "in", "out", "output")}

    def port_time(parts: list[tuple[int, int]]) -> int:
        beats, bursts = sum(p[0] for p in parts), sum(p[1] for p in parts)
        if not bursts:
            return 0
        latency, outstanding = parameters.memory_latency_cycles, parameters.outstanding_bursts
        return max(latency + beats, -(-(beats + latency * bursts) // outstanding))

    present: set[int] = set()
    array_ends, done_ends, store_ends = [0, 0], [0], [0, 0]
    port = 0
    waiting: tuple[int, int] | None = None  # ready, duration
    array_before_done = 0
    for step in steps:
        loads = []
        needed = of("input", step)
        if whole_input:
            loads.append(moved["input"].add(needed - present))
            present |= needed
        elif input_stays:
            if step["n"] == 0:
                inside = order[order.index("n") + 1 :]
                if "m" in inside and step["m"] == 0:
                    present -= present if "k" not in inside or step["k"] == 0 else set()
                fresh = needed - present if "m" in inside else needed
                loads.append(moved["input"].add(fresh))
                present |= needed
        else:
            loads.append(moved["input"].add(needed))
        if not weights_stay or step["m"] == 0:
            loads.append(moved["weights"].add(of("weights", step)))
        n = loops["n"][step["n"]]
        if step["m"] == 0 and step["k"] == 0:
            for _ in range(3 if layer.bias else 2):
                loads.append(moved["channel"].add(n, 4))  # type: ignore[arg-type]
        outputs = of("output", step)
        if not sums_stay and step["k"] > 0:
            loads.append(moved["in"].add(range(len(outputs)), accumulator))
        array_end = array_ends[-1]
        if slots == 1:
            port = max(port, array_end, done_ends[-1])
        if sum(bursts for _, bursts in loads):
            port = max(port, array_ends[-2] if slots == 2 else array_end) + port_time(loads)
        loaded = port
        if waiting is not None:
            port = max(port, waiting[0]) + waiting[1]
            store_ends.append(port)
            waiting = None
        start = max(array_end, loaded, store_ends[-2] if slots == 2 else store_ends[-1])
        compute, window, columns_out = array_time(layer, parameters, loops, step, depthwise)
        array_ends.append(start + compute)
        if step["k"] == len(ins) - 1:
            quantise = -(-len(outputs) // parameters.requantise_per_cycle)
            tail = -(-min(len(outputs), columns_out) // parameters.requantise_per_cycle)
            array_before_done = max(done_ends[-1], start + compute - window)
            done_ends.append(max(start + compute + tail, array_before_done + quantise))
            stores, ready = [moved["output"].add(outputs)], done_ends[-1]
        elif not sums_stay:
            stores, ready = [moved["out"].add(range(len(outputs)), accumulator)], start + compute
        else:
            continue
        waiting = ready, port_time(stores)
        if slots == 1:
            port = max(port, waiting[0]) + waiting[1]
            store_ends.append(port)
            waiting = None
    if waiting is not None:
        port = max(port, waiting[0]) + waiting[1]
    result = {name: (each.bytes, each.beats) for name, each in moved.items()}
    return Walked(
        max(array_ends[-1], done_ends[-1], port),
        *(result[name] for name in ("input", "weights", "in", "out", "output")),
    )


def array_time(
    layer: ConvLayer, parameters: ConvParameters, loops: dict, step: dict, depthwise: bool
) -> tuple[int, int, int]:  # type: ignore[type-arg]
    """Cycles of a tile, how long before its end its first sum is finished, and the array's columns."""
    rows, columns = parameters.pe_rows, parameters.pe_columns
    b, y, x = loops["m"][step["m"]]
    m, n = len(b) * len(y) * len(x), len(loops["n"][step["n"]])
    taps = layer.kernel_height * layer.kernel_width
    k = taps * (1 if depthwise else len(loops["k"][step["k"]]))
    folds: list[int] = []  # streamed steps of each
    mapping = parameters.depthwise_mapping if depthwise else "dense"
    outputs_stay = parameters.dataflow == "os" and mapping in ("dense", "single")
    reduce = 1
    if mapping == "packed":
        folds = [m] * -(-k * n // (rows * columns))
    else:
        for _ in range(n if mapping == "single" else 1):
            across = 1 if mapping == "single" else n
            if outputs_stay:
                folds += [k] * (-(-m // rows) * -(-across // columns))
            elif parameters.dataflow == "is" and mapping != "taps":
                reduce = -(-k // rows)
                folds += [across] * (reduce * -(-m // columns))
            else:
                reduce = -(-k // rows)
                folds += [m] * (reduce * -(-across // columns))
    fold = rows + columns - 2 + (0 if outputs_stay else rows)
    if parameters.fold_overlap:
        total = sum(folds) + fold + sum(min(fold, max(0, rows - steps)) for steps in folds[1:])
    else:
        total = sum(folds) + fold * len(folds)
    window = total - total // len(folds) * (1 if outputs_stay else reduce - 1)
    return total, window, columns
