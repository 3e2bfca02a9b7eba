"""Layers by shape alone: from Python, or from a CSV file with a layer a row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from accel.conv import descriptor
from accel.conv.descriptor import MAGIC, ConvLayer, Operation, Status
from rvsim.errors import InputFileError, UsageError

Padding = Literal["same", "valid"]

COLUMNS = {
    "name": "of the layer",
    "operation": f"one of {', '.join(operation.name for operation in Operation)} (default: CONV_2D)",
    "batches": "images or rows (default: 1)",
    "input_height": "pixels (default: 1)",
    "input_width": "pixels (default: 1)",
    "input_channels": "or the depth of FULLY_CONNECTED",
    "output_channels": "or the units of FULLY_CONNECTED (default: the input's, for layers that keep channels apart)",
    "kernel": "taps, a number or HEIGHTxWIDTH (default: 1)",
    "stride": "pixels, a number or HEIGHTxWIDTH (default: 1)",
    "dilation": "pixels, a number or HEIGHTxWIDTH (default: 1)",
    "padding": "same or valid, as TensorFlow has it (default: same)",
}
"""Columns of a CSV file, and what they hold."""


_SIDE = ("input", "output", "kernel", "stride", "dilation")


def layer(
    operation: str = "CONV_2D",
    *,
    input: tuple[int, int, int],
    output_channels: int | None = None,
    kernel: int | tuple[int, int] = 1,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    padding: Padding = "same",
    batches: int = 1,
) -> ConvLayer:
    """Make the descriptor of a layer that has a shape and no addresses.

    Parameters
    ----------
    operation : str
        TFLite's name.
    input : tuple of int
        Height, width and channels; FULLY_CONNECTED takes its depth as channels.
    output_channels : int, optional
        By default those of the input, for all but CONV_2D and FULLY_CONNECTED.
    kernel, stride, dilation : int or tuple of int
        One number for both sides, or height and width.
    padding : str
        "same" or "valid", as TensorFlow has them.
    batches : int
        Images, or rows of FULLY_CONNECTED.

    Raises
    ------
    rvsim.errors.UsageError
        There is no such layer.
    """
    if operation not in Operation.__members__:
        raise UsageError(f"expected an operation, one of {', '.join(Operation.__members__)}, found {operation!r}")
    kind = Operation[operation]
    if output_channels is None:
        if kind in (Operation.CONV_2D, Operation.FULLY_CONNECTED):
            raise UsageError(f"{operation}: expected output_channels, found none")
        output_channels = input[2]
    sides = []
    for size, taps, step, spread in zip(input[:2], _pair(kernel), _pair(stride), _pair(dilation), strict=True):
        if min(size, taps, step, spread) < 1:
            raise UsageError(f"{operation}: expected sizes of at least 1, found {min(size, taps, step, spread)}")
        window = (taps - 1) * spread + 1
        if padding == "same":
            output = -(-size // step)
            pad = max(0, (output - 1) * step + window - size) // 2
        else:
            output, pad = -(-(size - window + 1) // step), 0
        sides.append((size, output, taps, step, spread, pad))
    vertical, horizontal = sides
    made = ConvLayer(
        operation=kind,
        **dict.fromkeys(("input", "weights", "output", "multiplier", "shift"), 0),
        bias=4 if kind <= Operation.FULLY_CONNECTED else 0,
        batches=batches,
        input_channels=input[2],
        output_channels=output_channels,
        **{f"{name}_height": size for name, size in zip(_SIDE, vertical, strict=False)},
        **{f"{name}_width": size for name, size in zip(_SIDE, horizontal, strict=False)},
        pad_top=vertical[-1],
        pad_left=horizontal[-1],
        **dict.fromkeys(("input_offset", "output_offset"), 0),
        activation_min=-128,
        activation_max=127,
    )
    status = descriptor.check(MAGIC, made, (1 << len(Operation)) - 1)
    if status != Status.DONE:
        why = {
            Status.BAD_SHAPE: "a size is below 1 or the layer is too large",
            Status.OUTPUT_SHAPE: "the output does not follow from the input: a window does not fit, or the channels "
            "of the output are no multiple of the input's",
        }.get(status, status.name)
        raise UsageError(
            f"{operation} {input[0]} x {input[1]} x {input[2]} to {output_channels} channels: expected a layer that "
            f"can be run, found that {why}"
        )
    return made


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def read_csv(lines: Iterable[str], where: str) -> list[tuple[str, ConvLayer]]:
    """Read layers from CSV text with a heading; `COLUMNS` says which columns there are. Lines with # are comments.

    Parameters
    ----------
    where : str
        The file, for messages.

    Returns
    -------
    list of tuple of (str, ConvLayer)
        Name and shape; a layer without a name is called by its number, from 1.

    Raises
    ------
    rvsim.errors.InputFileError
        A column or a value is wrong, or there is no layer.
    """
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    try:
        rows = list(csv.reader(line for _, line in numbered))
    except csv.Error as error:
        raise InputFileError(f"{where}: expected CSV, found something else: {error}") from None
    if not rows:
        raise InputFileError(f"{where}: expected a heading with some of {', '.join(COLUMNS)}, found an empty file")
    heading = [column.strip() for column in rows[0]]
    for column in heading:
        if column not in COLUMNS:
            import difflib

            nearest = difflib.get_close_matches(column, COLUMNS, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"columns are {', '.join(COLUMNS)}"
            raise InputFileError(f"{where}: expected columns of layers, found {column!r}; {hint}")
        if heading.count(column) > 1:
            raise InputFileError(f"{where}: expected each column once, found {column!r} twice")
    if "input_channels" not in heading:
        raise InputFileError(f"{where}: expected the column 'input_channels', found none")
    layers = []
    for number, ((line, _), row) in enumerate(zip(numbered[1:], rows[1:], strict=False), 1):
        place = f"{where}:{line}"
        if len(row) != len(heading):
            raise InputFileError(f"{place}: expected {len(heading)} values, found {len(row)}")
        values = {column: text.strip() for column, text in zip(heading, row, strict=True) if text.strip()}
        layers.append((values.get("name", str(number)), _layer_of(values, place)))
    if not layers:
        raise InputFileError(f"{where}: expected a layer a row below the heading, found none")
    return layers


def _layer_of(values: Mapping[str, str], place: str) -> ConvLayer:
    def number(column: str, default: int | None) -> int:
        text = values.get(column)
        if text is None and default is not None:
            return default
        if text is None or not re.fullmatch(r"[0-9]{1,10}", text):
            raise InputFileError(f"{place}: column {column!r}: expected a number, found {text or 'nothing'!r}")
        return int(text)

    def pair(column: str) -> tuple[int, int]:
        text = values.get(column, "1")
        found = re.fullmatch(r"([0-9]{1,10})(?:x([0-9]{1,10}))?", text)
        if not found:
            raise InputFileError(f"{place}: column {column!r}: expected a number or HEIGHTxWIDTH, found {text!r}")
        return int(found[1]), int(found[2] or found[1])

    padding = values.get("padding", "same").lower()
    if padding not in ("same", "valid"):
        raise InputFileError(f"{place}: column 'padding': expected same or valid, found {padding!r}")
    try:
        return layer(
            values.get("operation", "CONV_2D").upper(),
            input=(number("input_height", 1), number("input_width", 1), number("input_channels", None)),
            output_channels=number("output_channels", None) if "output_channels" in values else None,
            kernel=pair("kernel"),
            stride=pair("stride"),
            dilation=pair("dilation"),
            padding="same" if padding == "same" else "valid",
            batches=number("batches", 1),
        )
    except UsageError as error:
        raise InputFileError(f"{place}: {error}") from None
