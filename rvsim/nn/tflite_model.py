"""A .tflite file as typed records, checked against hostile bytes.

The `tflite` package supplies the accessors of the flatbuffer schema. The accessors trust the file; this module does
not: every vector is bounded before it is walked, and whatever the accessors trip over becomes an `InputFileError`.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rvsim.errors import InputFileError

_IDENTIFIER = b"TFL3"
_MAX_FILE_BYTES = 256 << 20
_MAX_TABLES = 1 << 16  # tensors, operators, buffers or operator codes of one model
_MAX_RANK = 8
_MAX_ELEMENTS = (1 << 31) - 1
_TABLE_BYTES = 12  # what the smallest table takes in an honest file: its offset, its vtable's offset, one field

# What the generated accessors raise when an offset leaves the file or a length makes no sense.
_ACCESSOR_ERRORS = (struct.error, TypeError, ValueError, IndexError, OverflowError)

_ITEM_BYTES = {
    "BOOL": 1, "INT8": 1, "UINT8": 1, "INT16": 2, "UINT16": 2, "FLOAT16": 2, "INT32": 4, "UINT32": 4, "FLOAT32": 4,
    "INT64": 8, "UINT64": 8, "FLOAT64": 8, "COMPLEX64": 8, "COMPLEX128": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One tensor of the main subgraph.

    `dtype` is the schema's name (`INT8`). `scales` and `zero_points` are empty for a tensor that is not quantised, and
    have one entry per slice of axis `quantised_dimension` when there are several. `data` is a view of the file's bytes,
    little endian, or None for a tensor that is computed. `sparse`: `data` is in TFLite's sparse encoding.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    quantised_dimension: int
    data: memoryview | None
    sparse: bool = False

    @property
    def elements(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class ConvolutionOptions:
    """Options of CONV_2D and DEPTHWISE_CONV_2D; `depth_multiplier` is 0 for CONV_2D."""

    padding: str
    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int
    activation: str
    depth_multiplier: int = 0


@dataclass(frozen=True)
class FullyConnectedOptions:
    """Options of FULLY_CONNECTED."""

    activation: str
    keep_num_dims: bool
    weights_format: str


@dataclass(frozen=True)
class PoolOptions:
    """Options of AVERAGE_POOL_2D and MAX_POOL_2D."""

    padding: str
    stride_height: int
    stride_width: int
    kernel_height: int
    kernel_width: int
    activation: str


@dataclass(frozen=True)
class AddOptions:
    """Options of ADD."""

    activation: str


Options = ConvolutionOptions | FullyConnectedOptions | PoolOptions | AddOptions


@dataclass(frozen=True)
class Operator:
    """One operator; `inputs` and `outputs` are tensor indices, -1 for an optional input left out.

    `options` is None for operators that have no class of options here, and where the file has none of the right kind.
    """

    index: int
    opcode: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None


@dataclass(frozen=True)
class Model:
    """The main subgraph of a .tflite file. `path` is only for messages."""

    path: str
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read the .tflite file at `path`.

    Raises
    ------
    InputFileError
        The file cannot be read, or is not a well-formed .tflite model.
    """
    try:
        status = os.stat(path)  # before opening: a pipe would wait for its writer
        if not stat.S_ISREG(status.st_mode):
            raise InputFileError(f"{path}: expected a .tflite file, found something that is not a regular file")
        if status.st_size > _MAX_FILE_BYTES:
            raise InputFileError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes, found {status.st_size}")
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputFileError(f"{path}: cannot read the model: {getattr(error, 'strerror', None) or error}") from None
    return parse_model(data, path)


def parse_model(data: bytes, path: str | os.PathLike[str] = "<bytes>") -> Model:
    """Parse the bytes of a .tflite file; `path` names the file in messages.

    Raises
    ------
    InputFileError
        The bytes are not a well-formed .tflite model.
    """
    try:
        return _Parser(data, os.fspath(path)).model()
    except _Malformed as error:
        raise InputFileError(f"{path}: not a well-formed .tflite model: {error}") from None
    except _ACCESSOR_ERRORS:
        raise InputFileError(
            f"{path}: not a well-formed .tflite model: "
            f"an offset points outside its {len(data)} bytes (truncated or damaged?)"
        ) from None


class _Malformed(Exception):
    """What is wrong with the file, without its name."""


class _Parser:
    def __init__(self, data: bytes, path: str) -> None:
        import tflite

        self._schema: Any = tflite
        self._data = data
        self._path = path
        # Vectors may share bytes, so a small file can describe a huge model. No honest file needs four times its size.
        self._budget = 4 * len(data)
        self._type_names = _enum_names(tflite.TensorType)

    def model(self) -> Model:
        if len(self._data) < 8:
            raise _Malformed(f"expected at least 8 bytes, found {len(self._data)}")
        if self._data[4:8] != _IDENTIFIER:
            raise _Malformed(f"expected the identifier {_IDENTIFIER!r} at byte 4, found {self._data[4:8]!r}")
        root = self._schema.Model.GetRootAs(self._data, 0)
        buffers = [self._buffer(i, buffer) for i, buffer in enumerate(self._tables(root, "Buffers"))]
        opcodes = [self._opcode(code) for code in self._tables(root, "OperatorCodes")]
        if root.SubgraphsLength() == 0:
            raise _Malformed("expected a subgraph, found none")
        main = root.Subgraphs(0)
        tensors = tuple(self._tensor(i, tensor, buffers) for i, tensor in enumerate(self._tables(main, "Tensors")))
        operators = tuple(
            self._operator(i, table, opcodes, len(tensors)) for i, table in enumerate(self._tables(main, "Operators"))
        )
        return Model(self._path, operators, tensors)

    def _spend(self, bytes_: int) -> None:
        self._budget -= bytes_
        if self._budget < 0:
            raise _Malformed(f"its vectors hold more than its {len(self._data)} bytes can describe")

    def _tables(self, parent: Any, field: str) -> Iterator[Any]:
        length = getattr(parent, f"{field}Length")()
        if length > _MAX_TABLES:
            raise _Malformed(f"{field.lower()}: expected at most {_MAX_TABLES}, found {length}")
        for i in range(length):
            self._spend(_TABLE_BYTES)
            yield getattr(parent, field)(i)

    def _numbers(self, parent: Any, field: str, item_bytes: int) -> tuple[Any, ...]:
        length = getattr(parent, f"{field}Length")()
        if length == 0:
            return ()
        self._spend(length * item_bytes)
        return tuple(getattr(parent, f"{field}AsNumpy")().tolist())  # numpy bounds the vector by the file

    def _text(self, raw: bytes | None) -> str:
        raw = raw or b""
        self._spend(len(raw))
        # Names reach the terminal: control characters must not.
        return "".join(c if c.isprintable() else "?" for c in raw.decode("utf-8", "replace"))

    def _buffer(self, index: int, buffer: Any) -> memoryview:
        length = buffer.DataLength()
        if length:
            begin = buffer._tab.Vector(buffer._tab.Offset(4))
        else:
            # Models of more than 2 GB keep their data behind the flatbuffer; offsets 0 and 1 mean "not used".
            begin, length = buffer.Offset(), buffer.Size()
            if begin <= 1:
                begin, length = 0, 0
        if begin + length > len(self._data):
            raise _Malformed(f"buffer {index}: its {length} bytes from {begin} end beyond the file's {len(self._data)}")
        return memoryview(self._data)[begin : begin + length]

    def _opcode(self, code: Any) -> tuple[str, int]:
        # Codes above 126 do not fit the first schema's byte; the larger of the two fields is the code.
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        if number == self._schema.BuiltinOperator.CUSTOM:
            return f"CUSTOM:{self._text(code.CustomCode()) or '?'}", code.Version()
        return self._schema.BUILTIN_OPCODE2NAME.get(number, f"UNKNOWN_{number}"), code.Version()

    def _tensor(self, index: int, tensor: Any, buffers: list[memoryview]) -> Tensor:
        shape = self._numbers(tensor, "Shape", 4)
        if len(shape) > _MAX_RANK or any(size < 0 for size in shape) or math.prod(shape) > _MAX_ELEMENTS:
            raise _Malformed(f"tensor {index}: absurd shape {_shape_text(shape)}")
        dtype = self._type_names.get(tensor.Type(), f"UNKNOWN_{tensor.Type()}")
        if tensor.Buffer() >= len(buffers):
            raise _Malformed(f"tensor {index}: buffer {tensor.Buffer()} does not exist, the model has {len(buffers)}")
        data: memoryview | None = buffers[tensor.Buffer()]
        if not data:
            data = None
        sparse = tensor.Sparsity() is not None
        if data is not None and not sparse and dtype in _ITEM_BYTES:
            expected = math.prod(shape) * _ITEM_BYTES[dtype]
            if len(data) != expected:
                raise _Malformed(
                    f"tensor {index}: {dtype} of shape {_shape_text(shape)} takes {expected} bytes, "
                    f"its buffer has {len(data)}"
                )
        scales: tuple[float, ...] = ()
        zero_points: tuple[int, ...] = ()
        axis = 0
        quantisation = tensor.Quantization()
        if quantisation is not None:
            scales = self._numbers(quantisation, "Scale", 4)
            zero_points = self._numbers(quantisation, "ZeroPoint", 8)
            axis = quantisation.QuantizedDimension()  # not checked: converters left a wrong axis at 1-D bias tensors
        return Tensor(index, self._text(tensor.Name()), shape, dtype, scales, zero_points, axis, data, sparse)

    def _operator(self, index: int, operator: Any, opcodes: list[tuple[str, int]], tensors: int) -> Operator:
        code = operator.OpcodeIndex()
        if code >= len(opcodes):
            raise _Malformed(f"operator {index}: operator code {code} does not exist, the model has {len(opcodes)}")
        inputs = self._numbers(operator, "Inputs", 4)
        outputs = self._numbers(operator, "Outputs", 4)
        for tensor in inputs + outputs:
            if not -1 <= tensor < tensors:
                raise _Malformed(f"operator {index}: tensor {tensor} does not exist, the model has {tensors}")
        name, version = opcodes[code]
        return Operator(index, name, version, inputs, outputs, self._options(name, operator))

    def _options(self, opcode: str, operator: Any) -> Options | None:
        schema = self._schema
        kinds = {
            "CONV_2D": schema.Conv2DOptions,
            "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptions,
            "FULLY_CONNECTED": schema.FullyConnectedOptions,
            "AVERAGE_POOL_2D": schema.Pool2DOptions,
            "MAX_POOL_2D": schema.Pool2DOptions,
            "ADD": schema.AddOptions,
        }
        kind = kinds.get(opcode)
        if kind is None or operator.BuiltinOptionsType() != getattr(schema.BuiltinOptions, kind.__name__):
            return None
        table = operator.BuiltinOptions()
        if table is None:
            return None
        options = kind()
        options.Init(table.Bytes, table.Pos)
        activation = _name(schema.ActivationFunctionType, options.FusedActivationFunction())
        if opcode == "FULLY_CONNECTED":
            weights_format = _name(schema.FullyConnectedOptionsWeightsFormat, options.WeightsFormat())
            return FullyConnectedOptions(activation, bool(options.KeepNumDims()), weights_format)
        if opcode == "ADD":
            return AddOptions(activation)
        if kind is schema.Pool2DOptions:
            return PoolOptions(
                _name(schema.Padding, options.Padding()),
                options.StrideH(),
                options.StrideW(),
                options.FilterHeight(),
                options.FilterWidth(),
                activation,
            )
        return ConvolutionOptions(
            _name(schema.Padding, options.Padding()),
            options.StrideH(),
            options.StrideW(),
            options.DilationHFactor(),
            options.DilationWFactor(),
            activation,
            options.DepthMultiplier() if opcode == "DEPTHWISE_CONV_2D" else 0,
        )


def _enum_names(enum: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int) and not name.startswith("_")}


def _name(enum: Any, value: int) -> str:
    return _enum_names(enum).get(value, f"UNKNOWN_{value}")


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:_MAX_RANK])) + ("x..." if len(shape) > _MAX_RANK else "") if shape else "scalar"
