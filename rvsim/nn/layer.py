"""One operator of a model as a layer that the guest kernels and the convolution coprocessor can run."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import NoReturn

from accel.conv.descriptor import MAX_POOL_TAPS, ConvLayer, Operation
from rvsim.errors import InputFileError, RvsimError, UsageError
from rvsim.nn import quantise
from rvsim.nn.tflite_model import (
    AddOptions,
    ConvolutionOptions,
    FullyConnectedOptions,
    Model,
    Operator,
    PoolOptions,
    Tensor,
)

OPERATIONS = tuple(operation.name for operation in Operation)
WINDOW = ("kernel_height", "kernel_width", "stride_height", "stride_width", "dilation_height", "dilation_width")
ADDRESSES = ("input", "weights", "bias", "output", "multiplier", "shift")


@dataclass(frozen=True)
class TensorSpec:
    """Shape and quantisation of an int8 tensor, as the `.rvsim.io` section states them."""

    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def elements(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class ConvLayerSpec:
    """A layer of a network: its descriptor without addresses, its constant tensors, its input and output.

    `shape` has all words of the descriptor (docs/architecture.md); those that are addresses are 0 until the program is
    linked. `weights` is int8 in the descriptor's layout; `bias`, `multiplier` and `shift` are int32[output channels],
    little endian; `bias` may be None. A pool has none of them. ADD has a second input, int32[3] for `multiplier` and
    `shift`, and the second input as `weights` if it is constant.
    """

    index: int
    shape: ConvLayer
    weights: bytes | None
    bias: bytes | None
    multiplier: bytes | None
    shift: bytes | None
    input: TensorSpec
    output: TensorSpec
    second_input: TensorSpec | None = None

    @property
    def opcode(self) -> str:
        """TFLite's name of the operation."""
        return Operation(self.shape.operation).name

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer, taps in the padding counted."""
        return self.shape.macs


def compilable_layers(model: Model) -> list[int]:
    """Indices of the operators that `layer_from_operator` takes."""
    return [operator.index for operator in model.operators if refusal(model, operator.index) is None]


def refusal(model: Model, index: int) -> str | None:
    """Why operator `index` cannot be compiled, or None."""
    operator = model.operators[index]
    if operator.opcode not in OPERATIONS:
        return f"not one of {', '.join(OPERATIONS)}"
    try:
        _layer(model, operator)
    except _Refused as refused:
        return str(refused)
    return None


def layer_from_operator(model: Model, index: int) -> ConvLayerSpec:
    """Take operator `index` of a model (counted from 0) as a layer.

    Raises
    ------
    UsageError
        There is no operator `index`.
    InputFileError
        The operator, its tensors or its options are not supported, or contradict one another.
    """
    if not 0 <= index < len(model.operators):
        count = len(model.operators)
        raise UsageError(f"{model.path}: no layer {index}; its {count} operators are counted from 0. {_advice(model)}")
    operator = model.operators[index]
    if operator.opcode not in OPERATIONS:
        raise InputFileError(f"{model.path}: layer {index}, {operator.opcode}, cannot be compiled. {_advice(model)}")
    try:
        return _layer(model, operator)
    except _Refused as refused:
        raise InputFileError(f"{model.path}: layer {index} ({operator.opcode}) is not supported: {refused}") from None


def _advice(model: Model) -> str:
    layers = compilable_layers(model)
    if not layers:
        return "None of its layers can be compiled; --list says why"
    return f"Layers that can be compiled: {', '.join(map(str, layers))}"


class _Refused(RvsimError):
    """Why a layer is not supported, without the file's and the layer's name."""


def _refuse(message: str) -> NoReturn:
    raise _Refused(message)


def _layer(model: Model, operator: Operator) -> ConvLayerSpec:
    if operator.opcode == "ADD":
        return _add_layer(model, operator)
    if operator.opcode.endswith("_POOL_2D"):
        return _pool_layer(model, operator)
    return _weighted_layer(model, operator)


def _output(model: Model, operator: Operator) -> Tensor:
    if len(operator.outputs) != 1 or operator.outputs[0] < 0:
        _refuse(f"expected one output, found the tensors {list(operator.outputs)}")
    return model.tensors[operator.outputs[0]]


def _activation(activation: str, output: TensorSpec) -> dict[str, int]:
    try:
        low, high = quantise.activation_range(activation, output.scale, output.zero_point)
    except ValueError as error:
        _refuse(str(error))
    return {"activation_min": low, "activation_max": high}


def _pool_layer(model: Model, operator: Operator) -> ConvLayerSpec:
    if len(operator.inputs) != 1 or operator.inputs[0] < 0:
        _refuse(f"expected one input, found the tensors {list(operator.inputs)}")
    source, output = model.tensors[operator.inputs[0]], _output(model, operator)
    source_spec, output_spec = _activation_tensor("input", source), _activation_tensor("output", output)
    # TFLite pools quantised values as they are; TensorFlow Lite Micro's pooling_common.cc asks for no more than this.
    if abs(source_spec.scale - output_spec.scale) > 1e-6 or source_spec.zero_point != output_spec.zero_point:
        _refuse("its input and output have different scales or zero points; expected the same")
    options = operator.options
    if not isinstance(options, PoolOptions):
        _refuse("the operator has no options of its kind")
    _check_four_axes(input=source, output=output)
    channels = source.shape[3]
    geometry = _window_geometry(options, 1, 1, (options.kernel_height, options.kernel_width), channels, source, output)
    if geometry["kernel_height"] * geometry["kernel_width"] > MAX_POOL_TAPS:
        _refuse(f"windows of {options.kernel_height} x {options.kernel_width}; expected at most {MAX_POOL_TAPS:,} taps")
    return ConvLayerSpec(
        index=operator.index,
        shape=ConvLayer(
            operation=Operation[operator.opcode],
            **dict.fromkeys(ADDRESSES, 0),
            **geometry,
            input_offset=-source_spec.zero_point,
            output_offset=output_spec.zero_point,
            **_activation(options.activation, output_spec),
        ),
        weights=None,
        bias=None,
        multiplier=None,
        shift=None,
        input=source_spec,
        output=output_spec,
    )


def _add_layer(model: Model, operator: Operator) -> ConvLayerSpec:
    if len(operator.inputs) != 2 or min(operator.inputs) < 0:
        _refuse(f"expected two inputs, found the tensors {list(operator.inputs)}")
    first, second = (model.tensors[i] for i in operator.inputs)
    output = _output(model, operator)
    first_spec, second_spec = _activation_tensor("input", first), _activation_tensor("second input", second)
    output_spec = _activation_tensor("output", output)
    if not first.shape == second.shape == output.shape:
        shapes = [list(tensor.shape) for tensor in (first, second, output)]
        _refuse(f"inputs and output have the shapes {shapes}; expected one shape, nothing is broadcast")
    if second.sparse:
        _refuse(f"second input {_label(second)} is sparse; convert the model without sparse encoding")
    if first.data is not None:
        _refuse(f"input {_label(first)} is constant; expected the second input to be, or none")
    options = operator.options
    if not isinstance(options, AddOptions):
        _refuse("the operator has no options of its kind")
    try:
        factors = quantise.add_factors(first_spec.scale, second_spec.scale, output_spec.scale)
        multipliers, shifts = zip(*map(quantise.quantised_multiplier, factors), strict=True)
    except (ValueError, ArithmeticError) as error:
        _refuse(str(error))
    if max(shifts) > 0:
        _refuse(f"the output's scale {output_spec.scale} is more than 2**19 times finer than the inputs'")
    axes = (1,) * (4 - len(first.shape)) + first.shape
    height, width, channels = axes[-3:]
    return ConvLayerSpec(
        index=operator.index,
        shape=ConvLayer(
            operation=Operation.ADD,
            **dict.fromkeys(ADDRESSES, 0),
            **dict.fromkeys(WINDOW, 1),
            batches=math.prod(axes[:-3]),
            input_height=height,
            input_width=width,
            input_channels=channels,
            output_height=height,
            output_width=width,
            output_channels=channels,
            pad_top=-second_spec.zero_point,
            pad_left=0,
            input_offset=-first_spec.zero_point,
            output_offset=output_spec.zero_point,
            **_activation(options.activation, output_spec),
        ),
        weights=None if second.data is None else bytes(second.data),
        bias=None,
        multiplier=struct.pack("<3i", *multipliers),
        shift=struct.pack("<3i", *shifts),
        input=first_spec,
        output=output_spec,
        second_input=second_spec,
    )


def _weighted_layer(model: Model, operator: Operator) -> ConvLayerSpec:
    if not 2 <= len(operator.inputs) <= 3 or min(operator.inputs[:2]) < 0:
        _refuse(f"expected an input, weights and an optional bias, found the tensors {list(operator.inputs)}")
    source, weights = (model.tensors[i] for i in operator.inputs[:2])
    output = _output(model, operator)
    bias = model.tensors[operator.inputs[2]] if len(operator.inputs) == 3 and operator.inputs[2] >= 0 else None

    _check_weights(source, weights)
    source_spec = _activation_tensor("input", source)
    output_spec = _activation_tensor("output", output)
    options = operator.options
    if isinstance(options, FullyConnectedOptions):
        geometry = _fully_connected_geometry(options, source, weights, output)
        axis = 0
    elif isinstance(options, ConvolutionOptions):
        geometry = _convolution_geometry(operator.opcode, options, source, weights, output)
        axis = 3 if operator.opcode == "DEPTHWISE_CONV_2D" else 0
    else:
        _refuse("the operator has no options of its kind")
    channels = geometry["output_channels"]

    try:
        weight_scales = _weight_scales(weights, channels, axis)
        factors = _factors(operator.opcode, source_spec.scale, weight_scales, output_spec.scale)
        pairs = [quantise.quantised_multiplier(factor) for factor in factors]
    except ValueError as error:
        _refuse(str(error))
    if len(pairs) == 1:
        pairs *= channels
    multipliers, shifts = zip(*pairs, strict=True)
    assert weights.data is not None
    return ConvLayerSpec(
        index=operator.index,
        shape=ConvLayer(
            operation=Operation[operator.opcode],
            **dict.fromkeys(ADDRESSES, 0),
            **geometry,
            input_offset=-source_spec.zero_point,
            output_offset=output_spec.zero_point,
            **_activation(options.activation, output_spec),
        ),
        weights=bytes(weights.data),
        bias=_bias(bias, channels),
        multiplier=struct.pack(f"<{channels}i", *multipliers),
        shift=struct.pack(f"<{channels}i", *shifts),
        input=source_spec,
        output=output_spec,
    )


def _check_weights(source: Tensor, weights: Tensor) -> None:
    label = f"weights {_label(weights)}"
    if weights.sparse:
        _refuse(f"{label} are sparse; convert the model without sparse encoding")
    if source.dtype == "FLOAT32" and weights.dtype in ("INT8", "UINT8"):
        _refuse(
            f"hybrid layer: FLOAT32 input {_label(source)} with {weights.dtype} weights; quantise the activations too"
        )
    if weights.dtype != "INT8":
        _refuse(f"{label} are {weights.dtype}; expected INT8 (post-training full integer quantisation)")
    if weights.data is None:
        _refuse(f"{label} are computed while the network runs; expected constant weights")
    if any(weights.zero_points):
        _refuse(f"{label} have a zero point other than 0 (asymmetric weights)")


def _activation_tensor(role: str, tensor: Tensor) -> TensorSpec:
    label = f"{role} {_label(tensor)}"
    if tensor.dtype != "INT8":
        _refuse(f"{label} is {tensor.dtype}; expected INT8")
    if len(tensor.scales) != 1 or len(tensor.zero_points) != 1:
        _refuse(
            f"{label}: expected one scale and one zero point, found {len(tensor.scales)} and {len(tensor.zero_points)}"
        )
    scale, zero_point = tensor.scales[0], tensor.zero_points[0]
    if not 0 < scale < math.inf:
        _refuse(f"{label} has the scale {scale}; expected a positive number")
    if not quantise.INT8_MIN <= zero_point <= quantise.INT8_MAX:
        _refuse(f"{label} has the zero point {zero_point}; expected one of int8")
    if tensor.elements == 0:
        _refuse(f"{label} is empty (shape {list(tensor.shape)})")
    return TensorSpec(tensor.shape, scale, zero_point)


def _weight_scales(weights: Tensor, channels: int, axis: int) -> tuple[float, ...]:
    scales, label = weights.scales, f"weights {_label(weights)}"
    if len(scales) not in (1, channels):
        _refuse(f"{label} have {len(scales)} scales; expected 1 or one for each of {channels} output channels")
    if len(scales) > 1 and weights.quantised_dimension != axis:
        _refuse(f"{label} are quantised along axis {weights.quantised_dimension}; expected axis {axis}")
    if not all(0 < scale < math.inf for scale in scales):
        _refuse(f"{label} have a scale that is not a positive number")
    return scales


def _factors(opcode: str, source: float, weights: tuple[float, ...], output: float) -> list[float]:
    if opcode == "FULLY_CONNECTED" and len(weights) == 1:
        return [quantise.fully_connected_factor(source, weights[0], output)]
    return quantise.convolution_factors(source, weights, output)


def _bias(bias: Tensor | None, channels: int) -> bytes | None:
    if bias is None:
        return None
    if bias.dtype != "INT32":
        _refuse(f"bias {_label(bias)} is {bias.dtype}; expected INT32")
    if bias.elements != channels:
        _refuse(f"bias {_label(bias)} has {bias.elements} elements; expected {channels}, one for each output channel")
    if bias.data is None or bias.sparse:
        _refuse(f"bias {_label(bias)} is computed while the network runs, or sparse; expected a constant bias")
    return bytes(bias.data)


def _fully_connected_geometry(
    options: FullyConnectedOptions, source: Tensor, weights: Tensor, output: Tensor
) -> dict[str, int]:
    if options.weights_format != "DEFAULT":
        _refuse(f"weights {_label(weights)} have the format {options.weights_format}; expected DEFAULT")
    if len(weights.shape) != 2 or weights.elements == 0:
        _refuse(f"weights {_label(weights)} have the shape {list(weights.shape)}; expected [units, depth]")
    units, depth = weights.shape
    # TFLite flattens an input of any shape to rows of `depth`; keep_num_dims changes only the output's shape.
    if source.elements % depth:
        _refuse(f"input {_label(source)} of shape {list(source.shape)} does not divide into rows of {depth} elements")
    rows = source.elements // depth
    if output.elements != rows * units:
        _refuse(f"output {_label(output)} has the shape {list(output.shape)}; expected {rows} rows of {units} units")
    geometry = dict.fromkeys(("input_height", "input_width", "output_height", "output_width", *WINDOW), 1)
    return geometry | {"batches": rows, "input_channels": depth, "output_channels": units, "pad_top": 0, "pad_left": 0}


def _convolution_geometry(
    opcode: str, options: ConvolutionOptions, source: Tensor, weights: Tensor, output: Tensor
) -> dict[str, int]:
    _check_four_axes(input=source, weights=weights, output=output)
    input_channels = source.shape[3]
    first, kernel_height, kernel_width, last = weights.shape
    if opcode == "DEPTHWISE_CONV_2D":
        channels = last
        if first != 1 or channels % input_channels:
            _refuse(
                f"weights {_label(weights)} have the shape {list(weights.shape)}; "
                f"expected [1, height, width, a multiple of {input_channels} input channels]"
            )
        if options.depth_multiplier not in (0, channels // input_channels):
            _refuse(f"depth multiplier {options.depth_multiplier}; the weights say {channels // input_channels}")
    else:
        channels = first
        if last != input_channels:
            _refuse(
                f"weights for {last} channels, but {input_channels} in the input; grouped convolution is not supported"
            )
    dilations = options.dilation_height, options.dilation_width
    return _window_geometry(options, *dilations, (kernel_height, kernel_width), channels, source, output)


def _check_four_axes(**tensors: Tensor) -> None:
    for role, tensor in tensors.items():
        if len(tensor.shape) != 4 or tensor.elements == 0:
            _refuse(f"{role} {_label(tensor)} has the shape {list(tensor.shape)}; expected four axes, none empty")


def _window_geometry(
    options: ConvolutionOptions | PoolOptions,
    dilation_height: int,
    dilation_width: int,
    kernel: tuple[int, int],
    channels: int,
    source: Tensor,
    output: Tensor,
) -> dict[str, int]:
    """Words of the descriptor for windows over an NHWC input; `channels` are the output's."""
    strides, dilations = (options.stride_height, options.stride_width), (dilation_height, dilation_width)
    if min(strides + dilations) < 1:
        _refuse(f"strides {strides} and dilations {dilations}; expected 1 and more")
    if min(kernel) < 1:
        _refuse(f"windows of {kernel[0]} x {kernel[1]}; expected 1 and more")
    batches, input_height, input_width, input_channels = source.shape
    try:
        height, pad_top = quantise.padding(options.padding, input_height, kernel[0], strides[0], dilations[0])
        width, pad_left = quantise.padding(options.padding, input_width, kernel[1], strides[1], dilations[1])
    except ValueError as error:
        _refuse(str(error))
    expected = (batches, height, width, channels)
    if output.shape != expected:
        _refuse(f"output {_label(output)} has the shape {list(output.shape)}; {list(expected)} follows from the input")
    return {
        "batches": batches,
        "input_height": input_height,
        "input_width": input_width,
        "input_channels": input_channels,
        "output_height": height,
        "output_width": width,
        "output_channels": channels,
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": strides[0],
        "stride_width": strides[1],
        "dilation_height": dilations[0],
        "dilation_width": dilations[1],
        "pad_top": pad_top,
        "pad_left": pad_left,
    }


def _label(tensor: Tensor) -> str:
    return f"tensor {tensor.index} '{tensor.name[:60]}'"
