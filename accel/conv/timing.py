"""How long a layer takes and what it moves: a pure function of the parameters and the layer's shape.

A first model. A layer is a matrix product of M output pixels, K products a sum and N output channels; a depthwise
layer is one such product an input channel. The PE array runs it in *folds*, as SCALE-Sim does (Samajdar et al., "A
Systematic Methodology for Characterizing Scalability of DNN Accelerators using SCALE-Sim", ISPASS 2020, its
analytical model):

| dataflow | over the rows | over the columns | streamed, T steps |
|---|---|---|---|
| os | M pixels | N channels | K products |
| ws | K products | N channels | M pixels |
| is | K products | M pixels | N channels |

Transfers are double-buffered behind the array, requantisation is pipelined behind it, and what does not fit behind it
stalls.

Left to a deeper model: halves of a buffer, the halo that neighbouring input tiles share, NHWC rows of which a
depthwise fold wants one channel, bursts, and competition with the hart for the memory.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from accel.conv import descriptor
from accel.conv.descriptor import ConvLayer, Operation
from accel.conv.parameters import ConvParameters

ACCUMULATOR_BYTES = 4


class Transfer(msgspec.Struct, frozen=True):
    """What crosses the memory port for one operand.

    Attributes
    ----------
    bytes : int
        Useful bytes.
    accesses : int
        Bus cycles they take.
    """

    bytes: int = 0
    accesses: int = 0


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Cycles and traffic of one command.

    Attributes
    ----------
    issue_cycles : int
        From conv.start until the descriptor has been read and judged; the hart waits for this part.
    compute_cycles : int
        PE array streaming.
    fill_drain_cycles : int
        PE array loading stationary operands, filling and draining.
    requantise_cycles : int
        Requantisation that the array does not hide.
    stall_cycles : int
        Waiting for the memory port.
    descriptor, input, weights, bias, multiplier, shift : Transfer
        Loads.
    output, status : Transfer
        Stores; `status` is word 27 of the descriptor.
    """

    issue_cycles: int = 0
    compute_cycles: int = 0
    fill_drain_cycles: int = 0
    requantise_cycles: int = 0
    stall_cycles: int = 0
    descriptor: Transfer = Transfer()
    input: Transfer = Transfer()
    weights: Transfer = Transfer()
    bias: Transfer = Transfer()
    multiplier: Transfer = Transfer()
    shift: Transfer = Transfer()
    output: Transfer = Transfer()
    status: Transfer = Transfer()

    @property
    def cycles(self) -> int:
        """From conv.start until the coprocessor is idle."""
        return (
            self.issue_cycles
            + self.compute_cycles
            + self.fill_drain_cycles
            + self.requantise_cycles
            + self.stall_cycles
        )


class Product(NamedTuple):
    """`groups` matrix products: M x K (input) times K x N (weights)."""

    groups: int
    m: int
    k: int
    n: int

    @classmethod
    def of(cls, layer: ConvLayer) -> Product:
        """Give the products a layer consists of."""
        groups = layer.input_channels if layer.operation == Operation.DEPTHWISE_CONV_2D else 1
        return cls(
            groups,
            layer.batches * layer.output_height * layer.output_width,
            layer.depth,
            layer.output_channels // groups,
        )


def refused(parameters: ConvParameters) -> Timing:
    """Time a command that is refused after its descriptor was read."""
    status = _transfer(4, parameters)
    return Timing(
        issue_cycles=_issue_cycles(parameters),
        stall_cycles=status.accesses,
        descriptor=_transfer(descriptor.SIZE, parameters),
        status=status,
    )


def estimate(parameters: ConvParameters, layer: ConvLayer) -> Timing:
    """Time a layer that `accel.conv.descriptor.check` passed.

    A pool or an ADD, which has no products, takes a column of the array an element or tap, and reads its operands once.
    """
    if layer.has_weights:
        product = Product.of(layer)
        compute, fill_drain = array_cycles(parameters, product)
        input_passes, weight_passes = _passes(parameters, product, touched_input_bytes(layer), layer.weight_bytes)
    else:
        compute, fill_drain = -(-layer.steps // parameters.pe_columns), parameters.pe_columns - 1
        input_passes = weight_passes = 1
    moved = {
        "input": _transfer(touched_input_bytes(layer) * input_passes, parameters),
        "weights": _transfer(layer.weight_bytes * weight_passes, parameters),
        "bias": _transfer(4 * layer.output_channels if layer.has_weights and layer.bias else 0, parameters),
        "multiplier": _transfer(4 * layer.multipliers, parameters),
        "shift": _transfer(4 * layer.multipliers, parameters),
        "output": _transfer(layer.output_bytes, parameters),
        "status": _transfer(4, parameters),
    }
    # The last row of sums leaves the array after all else; the rest is requantised while the array works on.
    last = -(-min(layer.output_bytes, parameters.pe_columns) // parameters.requantise_per_cycle)
    requantise = max(last, -(-layer.output_bytes // parameters.requantise_per_cycle) - compute - fill_drain)
    accesses = sum(transfer.accesses for transfer in moved.values())
    return Timing(
        issue_cycles=_issue_cycles(parameters),
        compute_cycles=compute,
        fill_drain_cycles=fill_drain,
        requantise_cycles=requantise,
        # The first data cannot be waited for behind anything.
        stall_cycles=parameters.memory_latency_cycles + max(0, accesses - compute - fill_drain - requantise),
        descriptor=_transfer(descriptor.SIZE, parameters),
        **moved,
    )


def _issue_cycles(parameters: ConvParameters) -> int:
    words = _transfer(descriptor.SIZE, parameters).accesses
    return parameters.issue_latency_cycles + parameters.memory_latency_cycles + words


def _transfer(size: int, parameters: ConvParameters) -> Transfer:
    return Transfer(size, -(-size // parameters.bus_width_bytes))


def array_cycles(parameters: ConvParameters, product: Product) -> tuple[int, int]:
    """Count the array's streaming cycles and its cycles of filling and draining.

    A fold takes 2R + C + T - 2 cycles (the paper above: R to load or unload the PEs, R + C - 2 for the
    diagonal wave, T streamed) with stationary weights or inputs. With stationary outputs it takes R + C + T - 2:
    SCALE-Sim 3 unloads a fold's sums while the next one fills.

    If a sum needs several folds (K > R), its partial sums wait in the output buffer; T is then cut into pieces of which
    they fit.
    """
    rows, columns = parameters.pe_rows, parameters.pe_columns
    groups, m, k, n = product
    if parameters.dataflow == "os":
        folds = groups * -(-m // rows) * -(-n // columns)
        return folds * k, folds * (rows + columns - 2)
    across, steps = (n, m) if parameters.dataflow == "ws" else (m, n)
    folds = groups * -(-k // rows) * -(-across // columns)
    return folds * steps, folds * _pieces(parameters, product) * (2 * rows + columns - 2)


def _pieces(parameters: ConvParameters, product: Product) -> int:
    """Count the pieces into which the output buffer cuts the streamed dimension of ws and is."""
    _groups, m, k, n = product
    if parameters.dataflow == "os" or k <= parameters.pe_rows:
        return 1
    across, steps = (n, m) if parameters.dataflow == "ws" else (m, n)
    accumulators = parameters.output_buffer_kib * 1024 // ACCUMULATOR_BYTES
    return -(-steps // (accumulators // min(across, parameters.pe_columns)))


def _passes(parameters: ConvParameters, product: Product, input_bytes: int, weight_bytes: int) -> tuple[int, int]:
    """Count how often the input and the weights are read.

    The loops are those of `array_cycles`, and an operand that fits into its buffer is read once. Else ws reads the
    input again for each fold of channels, and a fold's weights again for each piece of the pixels; is does the same
    with the two exchanged; os may put either loop outside, and takes the order that moves less.
    """
    groups, m, k, n = product
    input_bytes, weight_bytes = input_bytes // groups, weight_bytes // groups
    input_room, weight_room = parameters.input_buffer_kib * 1024, parameters.weight_buffer_kib * 1024
    input_fits, weights_fit = input_bytes <= input_room, weight_bytes <= weight_room
    channel_folds = -(-n // parameters.pe_columns)
    if parameters.dataflow == "os":
        inputs_again = 1 if input_fits else channel_folds
        weights_again = 1 if weights_fit else -(-m // parameters.pe_rows)
        if (inputs_again - 1) * input_bytes <= (weights_again - 1) * weight_bytes:
            return inputs_again, 1
        return 1, weights_again
    pieces = _pieces(parameters, product)
    if parameters.dataflow == "ws":
        one_fold = k * min(n, parameters.pe_columns)
        return 1 if input_fits else channel_folds, 1 if one_fold <= weight_room else pieces
    one_fold = k * min(m, parameters.pe_columns)
    pixel_folds = -(-m // parameters.pe_columns)
    return 1 if input_fits or one_fold <= input_room else pieces, 1 if weights_fit else pixel_folds


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
