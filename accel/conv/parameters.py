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
ClockRatio = Annotated[int, msgspec.Meta(ge=1, le=64)]
Tile = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]

# Other projects' names of the array's sides (SCALE-Sim, Gemmini, Timeloop), taken in files and by --set.
ALIASES = {"rows": "pe_rows", "cols": "pe_columns", "columns": "pe_columns"}


class ConvParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One convolution coprocessor.

    Attributes
    ----------
    kind : str
        "conv"; names this folder to `accel.registry`.
    pe_rows, pe_columns : int
        Sides of the PE array; a PE does one int8 multiply-accumulate a cycle. Also written `rows` and `cols`.
    dataflow : str
        What stays in the PEs: "ws" weights, "os" outputs, "is" inputs.
    depthwise_mapping : str
        "packed": the taps of channel after channel fill column after column, every PE can hand out its sum; "taps":
        a channel in each column, its taps down the rows; "single": one channel after the other, as a product one
        column wide. The first two keep weights in the PEs, whatever the dataflow.
    fold_overlap : bool
        Whether the PEs take the next fold's operands while they work on one.
    double_buffering : bool
        Whether half of each buffer is loaded or emptied while the array uses the other half.
    accumulator_bits : int
        Of a partial sum in the output buffer. Results are those of 32 bits, whatever it is.
    bus_width_bytes : int
        Bytes that the memory port moves in a cycle.
    burst_bytes : int
        Most bytes of one request on the memory port, a line of the memory.
    outstanding_bursts : int
        Requests that may be under way at a time.
    memory_latency_cycles : int
        From a request on the memory port to its first data.
    memory : str
        "private": the port has the memory to itself; "shared": the hart, which goes first, uses it too.
    memory_banks : int
        Banks of a shared memory, interleaved; port and hart disturb one another only on the same one.
    input_buffer_kib, weight_buffer_kib : int
        On-chip memory for the input and for the weights.
    output_buffer_kib : int
        On-chip memory for partial sums.
    requantise_per_cycle : int
        Sums turned into int8 outputs a cycle.
    clock_multiplier, clock_divider : int
        The coprocessor's clock is the hart's times the one over the other.
    interface : str
        "blocking": conv.start keeps the hart until the layer is done (as CFU-Playground's CFU). "cv-x-if": until an
        earlier layer is done and this one is judged. "queued": until there is room in the queue (as RoCC and NICE).
    queue_depth : int
        Commands that wait behind the running one; of the queued interface.
    issue_latency_cycles : int
        From conv.start until the first read of the descriptor.
    tile_height, tile_width : int
        Output pixels of a tile; 0 has the controller search.
    tile_output_channels, tile_input_channels : int
        Channels of a tile; 0 has the controller search.
    loop_order : str
        Loops over the tiles from the outermost: m pixels, n output channels, k input channels; or "search".
    operations : tuple of str
        TFLite's names of the layers that are built in. Others get status 2.
    custom_opcode : str
        Major opcode of the instructions.
    """

    kind: Literal["conv"]
    pe_rows: ArraySide
    pe_columns: ArraySide
    dataflow: Dataflow
    depthwise_mapping: Literal["packed", "taps", "single"] = "packed"
    fold_overlap: bool = False
    double_buffering: bool = True
    accumulator_bits: Literal[16, 24, 32, 40, 48, 64] = 32
    bus_width_bytes: Literal[1, 2, 4, 8, 16, 32, 64]
    burst_bytes: Literal[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096] = 64
    outstanding_bursts: Annotated[int, msgspec.Meta(ge=1, le=256)] = 4
    memory_latency_cycles: Latency
    memory: Literal["private", "shared"] = "private"
    memory_banks: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    input_buffer_kib: BufferKib
    weight_buffer_kib: BufferKib
    output_buffer_kib: BufferKib
    requantise_per_cycle: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    clock_multiplier: ClockRatio = 1
    clock_divider: ClockRatio = 1
    interface: Literal["blocking", "cv-x-if", "queued"] = "cv-x-if"
    queue_depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    issue_latency_cycles: Latency
    tile_height: Tile = 0
    tile_width: Tile = 0
    tile_output_channels: Tile = 0
    tile_input_channels: Tile = 0
    loop_order: Literal["search", "mnk", "mkn", "nmk", "nkm", "kmn", "knm"] = "search"
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
    sources: dict[str, str] = {}
    merged: dict[str, object] = {}
    settings = {key: _from_text(key, text) for key, text in (overrides or {}).items()}
    for origin, given in ((where, values), ("--set accel.", settings)):
        names: dict[str, str] = {}
        for written, value in given.items():
            key = ALIASES.get(written, written)
            source = f"{origin}{written}" if given is settings else origin
            if key not in known:
                import difflib  # 5 ms that only an error is worth

                nearest = difflib.get_close_matches(key, [*known, *ALIASES], 1)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"known keys are {', '.join(known)}"
                raise UsageError(
                    f"{source}: expected a parameter of the convolution coprocessor, found the unknown key "
                    f"{written!r}; {hint}"
                )
            if key in names and names[key] != written:
                raise UsageError(f"{source}: expected one of {names[key]!r} and {written!r}, found both; leave one out")
            names[key] = written
            sources[key], merged[key] = source, value
    required = {field.name for field in msgspec.structs.fields(ConvParameters) if field.required}
    for key in known:
        if key in required and key not in merged:
            raise UsageError(
                f"{where}: expected the key {key!r} ({_expected(key)}), found none; add a line '{key} = ...'"
            )
    try:
        parameters = msgspec.convert(merged, ConvParameters)
    except msgspec.ValidationError as error:
        place = re.search(r"at `\$\.(\w+)", str(error))
        key = place[1] if place else "?"
        found = merged.get(key)
        raise UsageError(
            f"{sources.get(key, where)}: key {key!r}: expected {_expected(key)}, found {found!r}"
        ) from None
    _check_buildable(parameters, where, sources)
    return parameters


def smallest_buffers(parameters: ConvParameters) -> dict[str, int]:
    """Bytes each buffer needs to hold one tile that fills the PE array once (two, if double-buffered), by key."""
    rows, columns = parameters.pe_rows, parameters.pe_columns
    whole = rows * columns
    elements = {
        "ws": (rows, whole, columns),
        "os": (rows, columns, whole),
        "is": (whole, rows, columns),
    }[parameters.dataflow]
    slots = 2 if parameters.double_buffering else 1
    return {
        "input_buffer_kib": slots * elements[0],
        "weight_buffer_kib": slots * elements[1],
        "output_buffer_kib": slots * elements[2] * parameters.accumulator_bits // 8,
    }


def _check_buildable(parameters: ConvParameters, where: str, sources: Mapping[str, str]) -> None:
    """Refuse what no hardware could be, with the nearest value that could."""
    for key, needed in smallest_buffers(parameters).items():
        kib = -(-needed // 1024)
        if getattr(parameters, key) < kib:
            raise UsageError(
                f"{sources.get(key, where)}: key {key!r}: expected room for one tile of the {parameters.pe_rows} x "
                f"{parameters.pe_columns} array ({needed} bytes{', twice' if parameters.double_buffering else ''}), "
                f"found {getattr(parameters, key)} KiB; the least is {kib}"
            )
    if parameters.bus_width_bytes > parameters.burst_bytes:
        raise UsageError(
            f"{sources.get('bus_width_bytes', where)}: key 'bus_width_bytes': expected at most a burst "
            f"({parameters.burst_bytes} bytes), found {parameters.bus_width_bytes}; "
            f"take {parameters.burst_bytes}, or a larger burst_bytes"
        )


def _from_text(key: str, text: str) -> object:
    if key == "operations":
        return [part.strip() for part in text.split(",")]
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def _expected(key: str) -> str:
    """Say in words what the type of a key allows."""
    if key == "operations":
        return f"a list of one or more of {_choices(OperationName)}"
    hint = get_type_hints(ConvParameters, include_extras=True)[key]
    if get_origin(hint) is Literal:
        return f"one of {_choices(hint)}"
    if hint is bool:
        return "true or false"
    bounds = hint.__metadata__[0]
    return f"an integer from {bounds.ge} to {bounds.le}"


def _choices(literal: Any) -> str:
    return ", ".join(repr(choice) for choice in get_args(literal))
