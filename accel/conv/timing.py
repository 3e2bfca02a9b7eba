"""How long a layer takes and what it moves: a pure function of the parameters and the layer's shape.

A layer is a matrix product of M output pixels, K products a sum and N output channels. The controller cuts it into
tiles that fit the buffers; the PE array runs a tile in *folds*, as SCALE-Sim does (Samajdar et al., "A Systematic
Methodology for Characterizing Scalability of DNN Accelerators using SCALE-Sim", ISPASS 2020, its analytical model):

| dataflow | over the rows | over the columns | streamed, T steps |
|---|---|---|---|
| os | M pixels | N channels | K products |
| ws | K products | N channels | M pixels |
| is | K products | M pixels | N channels |

`accel/conv/_mapping.pyx` has the model and the search for the best tiles, docs/coprocessor.md both in words.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from accel.conv import descriptor
from accel.conv.descriptor import ConvLayer, Operation
from accel.conv.parameters import ConvParameters
from rvsim.errors import UsageError

LoopOrder = Literal["mnk", "mkn", "nmk", "nkm", "kmn", "knm"]

DENSE, DEPTHWISE, POOL, ADD = range(4)  # as in _mapping.pyx
_KINDS = {
    "CONV_2D": DENSE,
    "DEPTHWISE_CONV_2D": DEPTHWISE,
    "FULLY_CONNECTED": DENSE,
    "AVERAGE_POOL_2D": POOL,
    "MAX_POOL_2D": POOL,
    "ADD": ADD,
}


class Transfer(msgspec.Struct, frozen=True):
    """What crosses the memory port for one operand.

    Attributes
    ----------
    bytes : int
        Useful bytes.
    accesses : int
        Bus cycles they take: a run of neighbouring bytes starts a bus cycle of its own.
    """

    bytes: int = 0
    accesses: int = 0


class Mapping(msgspec.Struct, frozen=True):
    """How a layer was cut into tiles.

    Attributes
    ----------
    batches, height, width : int
        Output pixels of a tile.
    output_channels, input_channels : int
        Channels of a tile; 1 input channel for layers that keep channels apart.
    kernel_height, kernel_width : int
        Taps of a tile: all, unless one input channel of a single pixel does not fit.
    loop_order : str
        Loops over the tiles from the outermost: m pixels, n output channels, k input channels and taps.
    tiles : int
        How many.
    """

    batches: int
    height: int
    width: int
    output_channels: int
    input_channels: int
    kernel_height: int
    kernel_width: int
    loop_order: LoopOrder
    tiles: int


class BufferTraffic(msgspec.Struct, frozen=True):
    """Elements that the PE array takes from the buffers and leaves there.

    Attributes
    ----------
    input_reads, weight_reads : int
        int8 operands; padding counts, since it takes a cycle like any other.
    input_writes, weight_writes : int
        int8 operands loaded.
    sum_writes, sum_reads : int
        Partial sums: every one is written when a fold leaves it, and read for the next fold or to be requantised.
    """

    input_reads: int = 0
    weight_reads: int = 0
    input_writes: int = 0
    weight_writes: int = 0
    sum_writes: int = 0
    sum_reads: int = 0


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Cycles and traffic of one command, in cycles of the coprocessor's clock.

    Attributes
    ----------
    issue_cycles : int
        From conv.start until the descriptor has been read and judged; the hart waits for this part.
    compute_cycles : int
        PE array streaming.
    fill_drain_cycles : int
        PE array loading stationary operands, filling and draining.
    requantise_cycles : int
        PE array waiting for the requantisation of an earlier tile, or ended before it.
    stall_cycles : int
        PE array waiting for the memory port, or ended before it.
    folds : int
        Times the array was loaded.
    mapping_efficiency : float
        Share of the PEs that hold work, over all folds, 0 to 1; SCALE-Sim's "mapping efficiency".
    descriptor, input, weights, bias, multiplier, shift : Transfer
        Loads.
    sums_in, sums_out : Transfer
        Partial sums of `accumulator_bits` that do not fit the output buffer, loaded again and stored.
    output, status : Transfer
        Stores; `status` is word 27 of the descriptor.
    buffers : BufferTraffic
        Between array and buffers.
    mapping : Mapping or None
        None if the command was refused.
    """

    issue_cycles: int = 0
    compute_cycles: int = 0
    fill_drain_cycles: int = 0
    requantise_cycles: int = 0
    stall_cycles: int = 0
    folds: int = 0
    mapping_efficiency: float = 0.0
    descriptor: Transfer = Transfer()
    input: Transfer = Transfer()
    weights: Transfer = Transfer()
    bias: Transfer = Transfer()
    multiplier: Transfer = Transfer()
    shift: Transfer = Transfer()
    sums_in: Transfer = Transfer()
    sums_out: Transfer = Transfer()
    output: Transfer = Transfer()
    status: Transfer = Transfer()
    buffers: BufferTraffic = BufferTraffic()
    mapping: Mapping | None = None

    @property
    def cycles(self) -> int:
        """From conv.start until the coprocessor is idle."""
        return self.issue_cycles + self.layer_cycles

    @property
    def layer_cycles(self) -> int:
        """From the judged descriptor until the coprocessor is idle."""
        return self.compute_cycles + self.fill_drain_cycles + self.requantise_cycles + self.stall_cycles


def refused(parameters: ConvParameters) -> Timing:
    """Time a command that is refused after its descriptor was read."""
    status = _transfer(4, parameters)
    return Timing(
        issue_cycles=_issue_cycles(parameters),
        stall_cycles=status.accesses,
        descriptor=_transfer(descriptor.SIZE, parameters),
        status=status,
    )


def estimate(layer: ConvLayer, parameters: ConvParameters) -> Timing:
    """Time a layer, under the mapping of least cycles or the one that the parameters give.

    Parameters
    ----------
    layer : ConvLayer
        One that `accel.conv.descriptor.check` passes; of the addresses only the bias's matters, whether it is 0.
    parameters : ConvParameters
        The coprocessor.

    Raises
    ------
    rvsim.errors.UsageError
        The tiles that the parameters give do not fit the buffers for this layer.
    """
    return _estimate(layer.shape, parameters)


@lru_cache(maxsize=4096)
def _estimate(layer: ConvLayer, parameters: ConvParameters) -> Timing:
    from accel.conv import _mapping

    kind = _KINDS[Operation(layer.operation).name]
    order = -1 if parameters.loop_order == "search" else _mapping.ORDER_NAMES.index(parameters.loop_order)
    fixed = (
        parameters.tile_height or -1,
        parameters.tile_width or -1,
        parameters.tile_output_channels or -1,
        parameters.tile_input_channels or -1,
        order,
    )
    found = _mapping.search(parameters, layer, kind, fixed)
    if found is None:
        raise UsageError(_misfit(layer, parameters))
    tile, cost = found
    outputs = layer.output_channels
    rows, columns = parameters.pe_rows, parameters.pe_columns
    if kind == ADD:  # one multiplier and shift for each input and for the output
        each = {"multiplier": _transfer(12, parameters), "shift": _transfer(12, parameters)}
    elif kind == POOL:
        each = {}
    else:
        names = ("bias", "multiplier", "shift") if layer.bias else ("multiplier", "shift")
        each = {name: Transfer(4 * outputs, cost["channel_beats"] // len(names)) for name in names}
    status = _transfer(4, parameters)
    extra = status.accesses + (sum(t.accesses for t in each.values()) if kind == ADD else 0)
    return Timing(
        issue_cycles=_issue_cycles(parameters),
        compute_cycles=cost["compute"],
        fill_drain_cycles=cost["fill_drain"],
        requantise_cycles=cost["requantise"],
        stall_cycles=cost["stall"] + extra,
        folds=cost["folds"],
        mapping_efficiency=cost["mapped"] / (cost["folds"] * rows * columns) if cost["folds"] else 0.0,
        descriptor=_transfer(descriptor.SIZE, parameters),
        input=Transfer(cost["input_bytes"], cost["input_beats"]),
        weights=Transfer(cost["weight_bytes"], cost["weight_beats"]),
        sums_in=Transfer(cost["refilled_bytes"], cost["refilled_beats"]),
        sums_out=Transfer(cost["spilled_bytes"], cost["spilled_beats"]),
        output=Transfer(cost["output_bytes"], cost["output_beats"]),
        status=status,
        **each,
        buffers=BufferTraffic(
            cost["input_reads"],
            cost["weight_reads"],
            cost["input_bytes"],
            cost["weight_bytes"],
            cost["sums"],
            cost["sums"],
        ),
        mapping=Mapping(
            tile["batches"],
            tile["height"],
            tile["width"],
            tile["channels_out"],
            tile["channels_in"],
            tile["kernel_height"],
            tile["kernel_width"],
            _mapping.ORDER_NAMES[tile["order"]],
            cost["steps"],
        ),
    )


def _misfit(layer: ConvLayer, parameters: ConvParameters) -> str:
    given = ", ".join(
        f"{key} = {value}"
        for key in ("tile_height", "tile_width", "tile_output_channels", "tile_input_channels", "loop_order")
        if (value := getattr(parameters, key)) not in (0, "search")
    )
    return (
        f"expected tiles of {Operation(layer.operation).name} ({layer.output_height} x {layer.output_width} x "
        f"{layer.output_channels} from {layer.input_channels} channels, kernel {layer.kernel_height} x "
        f"{layer.kernel_width}) that fit buffers of {parameters.input_buffer_kib} (input), "
        f"{parameters.weight_buffer_kib} (weights) and {parameters.output_buffer_kib} KiB (sums), found none with "
        f"{given}; give smaller tiles, or 0 to have them searched"
    )


def _issue_cycles(parameters: ConvParameters) -> int:
    words = _transfer(descriptor.SIZE, parameters).accesses
    return parameters.issue_latency_cycles + parameters.memory_latency_cycles + words


def _transfer(size: int, parameters: ConvParameters) -> Transfer:
    return Transfer(size, -(-size // parameters.bus_width_bytes))


def touched_input_bytes(layer: ConvLayer) -> int:
    """Count the input bytes that some window covers: all, unless strides leave gaps or the last windows end early."""
    height = _touched(
        layer.input_height,
        layer.output_height,
        layer.kernel_height,
        layer.stride_height,
        layer.dilation_height,
        layer.rows_above,
    )
    width = _touched(
        layer.input_width,
        layer.output_width,
        layer.kernel_width,
        layer.stride_width,
        layer.dilation_width,
        layer.pad_left,
    )
    return layer.batches * height * width * layer.input_channels


def _touched(size: int, output: int, kernel: int, stride: int, dilation: int, pad: int) -> int:
    window = (kernel - 1) * dilation + 1
    end = (output - 1) * stride - pad + window
    if stride <= window:
        return min(size, end)
    return output * window - pad - max(0, end - size)  # gaps: only the first and the last window reach beyond the input
