"""The convolution coprocessor's parameters: one frozen record, read from TOML and checked key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from rvsim.errors import UsageError

Dataflow = Literal["ws", "os", "is"]
OperationName = Literal["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D", "MAX_POOL_2D", "ADD"]
CustomOpcode = Literal["custom-0", "custom-1", "custom-2", "custom-3"]

# Unprivileged manual, table "RISC-V base opcode map".
MAJOR_OPCODES: dict[str, int] = {"custom-0": 0x0B, "custom-1": 0x2B, "custom-2": 0x5B, "custom-3": 0x7B}

ArraySide = Annotated[int, msgspec.Meta(ge=1, le=255)]  # eight bits of the capability word
BufferKib = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
Latency = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]


class ConvParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One convolution coprocessor.

    Attributes
    ----------
    kind : str
        "conv"; names this folder to `accel.registry`.
    pe_rows, pe_columns : int
        Sides of the PE array; a PE does one int8 multiply-accumulate a cycle.
    dataflow : str
        What stays in the PEs: "ws" weights, "os" outputs, "is" inputs.
    bus_width_bytes : int
        Bytes that the memory port moves in a cycle.
    input_buffer_kib, weight_buffer_kib : int
        On-chip memory for the input and for the weights.
    output_buffer_kib : int
        On-chip memory for int32 accumulators.
    issue_latency_cycles : int
        From conv.start until the first read of the descriptor.
    memory_latency_cycles : int
        From a request on the memory port to its first data.
    requantise_per_cycle : int
        Accumulators turned into int8 outputs a cycle.
    operations : tuple of str
        TFLite's names of the layers that are built in. Others get status 2.
    custom_opcode : str
        Major opcode of the instructions.
    """

    kind: Literal["conv"]
    pe_rows: ArraySide
    pe_columns: ArraySide
    dataflow: Dataflow
    bus_width_bytes: Literal[1, 2, 4, 8, 16, 32, 64]
    input_buffer_kib: BufferKib
    weight_buffer_kib: BufferKib
    output_buffer_kib: BufferKib
    issue_latency_cycles: Latency
    memory_latency_cycles: Latency
    requantise_per_cycle: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    operations: Annotated[tuple[OperationName, ...], msgspec.Meta(min_length=1)]
    custom_opcode: CustomOpcode = "custom-0"

    @property
    def processing_elements(self) -> int:
        """PEs, which is peak MACs a cycle."""
        return self.pe_rows * self.pe_columns


def check(values: Mapping[str, Any], where: str, overrides: Mapping[str, str] | None = None) -> ConvParameters:
    """Make the record from a decoded TOML file.

    Parameters
    ----------
    where : str
        The file, for messages.
    overrides : mapping of str to str
        Values that take precedence, as text: `--set accel.KEY=VALUE`. A list is separated by commas.

    Raises
    ------
    rvsim.errors.UsageError
        An unknown or missing key, or a value of the wrong type or out of range.
    """
    known = ConvParameters.__struct_fields__
    sources = dict.fromkeys(values, where) | {key: f"--set accel.{key}" for key in overrides or {}}
    for key, source in sources.items():
        if key not in known:
            import difflib  # 5 ms that only an error is worth

            nearest = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known keys are {', '.join(known)}"
            raise UsageError(
                f"{source}: expected a parameter of the convolution coprocessor, found the unknown key {key!r}; {hint}"
            )
    merged = {**values, **{key: _from_text(key, text) for key, text in (overrides or {}).items()}}
    for key in ConvParameters.__struct_fields__:
        if key not in merged and key != "custom_opcode":
            raise UsageError(
                f"{where}: expected the key {key!r} ({_expected(key)}), found none; add a line '{key} = ...'"
            )
    try:
        return msgspec.convert(merged, ConvParameters)
    except msgspec.ValidationError as error:
        place = re.search(r"at `\$\.(\w+)", str(error))
        key = place[1] if place else "?"
        found = merged.get(key)
        raise UsageError(
            f"{sources.get(key, where)}: key {key!r}: expected {_expected(key)}, found {found!r}"
        ) from None


def _from_text(key: str, text: str) -> object:
    if key == "operations":
        return [part.strip() for part in text.split(",")]
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def _expected(key: str) -> str:
    """Say in words what the type of a key allows."""
    if key == "operations":
        return f"a list of one or more of {_choices(OperationName)}"
    hint = get_type_hints(ConvParameters, include_extras=True)[key]
    if get_origin(hint) is Literal:
        return f"one of {_choices(hint)}"
    bounds = hint.__metadata__[0]
    return f"an integer from {bounds.ge} to {bounds.le}"


def _choices(literal: Any) -> str:
    return ", ".join(repr(choice) for choice in get_args(literal))
