"""`rvsim accel`: list coprocessors, show one's parameters, estimate layers without a program."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from rvsim.errors import InputFileError, UsageError

if TYPE_CHECKING:
    from accel.conv.descriptor import ConvLayer
    from accel.conv.parameters import ConvParameters
    from accel.conv.timing import Timing
    from rvsim.profile.tables import Table

HELP = "list coprocessors, show their parameters, estimate layers"

SUMS = ("input", "weights", "bias", "multiplier", "shift", "sums_in", "output", "sums_out")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    commands = parser.add_subparsers(dest="accel_command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="list the coprocessors that --accel takes")
    show = commands.add_parser("show", help="print a coprocessor's parameters as a TOML file to start from")
    show.add_argument("accel", metavar="NAME|FILE.toml")
    estimate = commands.add_parser(
        "estimate",
        help="cycles and traffic of layers given by their shape",
        description="Estimate layers on the convolution coprocessor without a program. LAYERS.csv has a heading and a "
        "layer a row (docs/coprocessor.md); of a network, the layers that the coprocessor can run are taken.",
    )
    estimate.add_argument("layers", metavar="LAYERS.csv|MODEL.tflite", help="- is CSV on stdin")
    estimate.add_argument(
        "--accel", default="on", metavar="NAME|FILE.toml", help="the coprocessor to start from (default: on)"
    )
    estimate.add_argument(
        "--csv", metavar="FILE", help="write a row a layer, every number of the estimate; - is stdout, without a table"
    )
    estimate.add_argument(
        "--energy",
        metavar="NODE|FILE.toml",
        help="add energy by layer and the area, such as 22nm-lop (docs/energy.md): the coprocessor alone, without the "
        "memory behind its port",
    )
    estimate.add_argument(
        "--clock-mhz", type=_clock, default=100.0, metavar="MHZ", help="the core's clock, of --energy (default: 100)"
    )
    for each in (show, estimate):
        each.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="replace a parameter: rows=8, cols=8, dataflow=os; accel.rows=8 is the same",
        )


def _clock(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a clock in MHz above 0, found {text}")
    return value


def main(args: argparse.Namespace) -> int:
    """Run one of them; the exit status."""
    return {"list": _list, "show": _show, "estimate": _estimate}[args.accel_command](args)


def _list(args: argparse.Namespace) -> int:
    from accel import registry

    print("\n".join(registry.names()))
    return 0


def _settings(args: argparse.Namespace) -> dict[str, str]:
    from rvsim.cli.run import parse_settings

    return {key.removeprefix("accel."): value for key, value in parse_settings(args.set).items()}


def _show(args: argparse.Namespace) -> int:
    import msgspec

    from accel import registry

    coprocessor = registry.load(args.accel, _settings(args))
    if coprocessor is None:
        raise UsageError(f"expected a coprocessor, found {args.accel!r}")
    if coprocessor.parameters is None:
        print(f"# {coprocessor.name} has no parameters")
        return 0
    import json

    values: dict[str, Any] = msgspec.to_builtins(coprocessor.parameters)
    for key, value in values.items():
        print(f"{key} = {json.dumps(value)}")  # TOML and JSON write strings, numbers, booleans and lists alike
    return 0


def _estimate(args: argparse.Namespace) -> int:
    from accel import registry
    from accel.conv import estimate, layers
    from accel.conv.parameters import ConvParameters

    coprocessor = registry.load(args.accel, _settings(args))
    if coprocessor is None or not isinstance(coprocessor.parameters, ConvParameters):
        raise UsageError(f"--accel: expected a convolution coprocessor, found {args.accel!r}")
    parameters = coprocessor.parameters
    found = (
        _network(args.layers, parameters)
        if args.layers.endswith(".tflite")
        else layers.read_csv(_lines(args.layers), args.layers)
    )
    estimates = []
    for name, layer in found:
        try:
            estimates.append((name, layer, estimate(layer, parameters)))
        except UsageError as error:
            raise UsageError(f"layer {name}: {error}") from None
    rows = [row(*each, parameters) for each in estimates]
    tables = _tables(coprocessor.name, rows, parameters)
    if args.energy:
        tables.append(_energy(args, coprocessor.name, estimates, rows, parameters))
    if args.csv:
        _write_csv(args.csv, rows)
    if args.csv != "-":
        from rvsim.profile.tables import print_tables

        print_tables(tables, sys.stdout)
    return 0


def _energy(
    args: argparse.Namespace,
    name: str,
    estimates: list[tuple[str, ConvLayer, Timing]],
    rows: list[dict[str, Any]],
    parameters: ConvParameters,
) -> Table:
    """Energy, TOPS/W and GOPS/mm² of each layer, which are also added to `rows`."""
    import msgspec

    from accel.conv.coprocessor import ConvCoprocessor
    from rvsim.energy import area, coprocessor_energy, load_energy
    from rvsim.machine.result import AcceleratorReport
    from rvsim.profile.tables import Cell, Table, joules

    process = load_energy(args.energy)
    shown: list[tuple[Cell, ...]] = []
    size = None
    for (_, layer, _), each in zip(estimates, rows, strict=True):
        unit = ConvCoprocessor(name, parameters)
        unit.run_layer(layer)
        cycles = unit.commands[-1].end_cycle
        report = msgspec.convert(unit.report(cycles), AcceleratorReport)
        size = size or area(report.hardware, process)
        energy = coprocessor_energy(report, cycles, args.clock_mhz, process)
        operations = 2 * layer.macs
        each["energy_pj"] = round(energy.value, 1)
        each["tops_per_watt"] = round(operations / energy.value, 4)  # operations a pJ
        each["gops_per_mm2"] = round(operations * args.clock_mhz / cycles / 1000 / size.mm2, 4)
        between = f"{joules(energy.low)} to {joules(energy.high)}"
        shown.append(
            (each["name"], joules(energy.value), between, f"{each['tops_per_watt']:.3g}", f"{each['gops_per_mm2']:.3g}")
        )
    assert size is not None
    total = sum(each["energy_pj"] for each in rows)
    shown.append(("total", joules(total), "", f"{2 * sum(each['macs'] for each in rows) / total:.3g}", ""))
    return Table(
        f"Energy at {size.node_nm:g} nm, {args.clock_mhz:g} MHz; area {size.mm2:.3g} mm2 ({size.low_mm2:.2g} to "
        f"{size.high_mm2:.2g}), {size.kge:,.0f} kGE",
        ("layer", "energy", "between", "TOPS/W", "GOPS/mm2"),
        shown,
    )


def _network(path: str, parameters: ConvParameters) -> list[tuple[str, ConvLayer]]:
    """The layers of a network that the coprocessor is built for; says on stderr which it leaves out."""
    import msgspec

    from rvsim.nn.layer import layer_from_operator, refusal
    from rvsim.nn.tflite_model import load_model

    model = load_model(path)
    found, left_out = [], []
    for operator in model.operators:
        if operator.opcode in parameters.operations and refusal(model, operator.index) is None:
            spec = layer_from_operator(model, operator.index)
            layer = msgspec.structs.replace(spec.shape, bias=4 if spec.bias else 0)
            found.append((f"{operator.index} {operator.opcode}", layer))
        else:
            left_out.append(f"{operator.index} {operator.opcode}")
    if left_out:
        print(f"left to the hart: {', '.join(left_out)}", file=sys.stderr)
    if not found:
        raise InputFileError(f"{path}: expected layers that the coprocessor can run, found none")
    return found


def _lines(path: str) -> list[str]:
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode().splitlines()
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError as error:
        raise InputFileError(
            f"{path}: expected a CSV file with a layer a row, found no readable file: {error.strerror}"
        ) from None
    except UnicodeDecodeError as error:
        raise InputFileError(f"{path}: expected CSV in UTF-8, found other bytes: {error.reason}") from None


def row(name: str, layer: ConvLayer, timing: Timing, parameters: ConvParameters) -> dict[str, Any]:
    """Every number of one estimate, by column."""
    from accel.conv.descriptor import Operation

    assert timing.mapping is not None
    peak = parameters.processing_elements * timing.cycles
    return {
        "name": name,
        "operation": Operation(layer.operation).name,
        "macs": layer.macs,
        "cycles": timing.cycles,
        "issue_cycles": timing.issue_cycles,
        "compute_cycles": timing.compute_cycles,
        "fill_drain_cycles": timing.fill_drain_cycles,
        "requantise_cycles": timing.requantise_cycles,
        "stall_cycles": timing.stall_cycles,
        "utilisation": round(layer.macs / peak, 6),
        "mapping_efficiency": round(timing.mapping_efficiency, 6),
        "folds": timing.folds,
        **{f"{name}_bytes": getattr(timing, name).bytes for name in SUMS},
        "port_accesses": sum(getattr(timing, name).accesses for name in SUMS),
        "input_buffer_reads": timing.buffers.input_reads,
        "weight_buffer_reads": timing.buffers.weight_reads,
        "sum_reads": timing.buffers.sum_reads,
        "sum_writes": timing.buffers.sum_writes,
        "tiles": timing.mapping.tiles,
        "loop_order": timing.mapping.loop_order,
        "tile_height": timing.mapping.height,
        "tile_width": timing.mapping.width,
        "tile_output_channels": timing.mapping.output_channels,
        "tile_input_channels": timing.mapping.input_channels,
    }


def _write_csv(path: str, rows: list[dict[str, Any]]) -> None:
    import csv
    import io

    from rvsim.cli.run import write_json

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_json(path, text.getvalue())


def _tables(name: str, numbers: list[dict[str, Any]], parameters: ConvParameters) -> list[Table]:
    from rvsim.profile.tables import Cell, Table

    total = {key: sum(each[key] for each in numbers) for key in numbers[0] if isinstance(numbers[0][key], int)}
    share = total["macs"] / (parameters.processing_elements * total["cycles"])
    split = ("macs", "cycles", "issue_cycles", "compute_cycles", "fill_drain_cycles", "requantise_cycles")
    cycles: list[tuple[Cell, ...]] = [
        (each["name"], *(each[key] for key in split), each["stall_cycles"], f"{use:.1%}")
        for each, use in [*((each, each["utilisation"]) for each in numbers), ({**total, "name": "total"}, share)]
    ]
    moved: list[tuple[Cell, ...]] = [
        (
            *(each["name"], each["input_bytes"], each["weights_bytes"], each["output_bytes"]),
            each["sums_in_bytes"] + each["sums_out_bytes"],
            each.get("tiles"),
            "x".join(str(each[f"tile_{key}"]) for key in ("height", "width", "output_channels", "input_channels"))
            if "loop_order" in each
            else "",
            each.get("loop_order", ""),
        )
        for each in [*numbers, {**total, "name": "total"}]
    ]
    heading = ("layer", "MACs", "cycles", "issue", "compute", "fill, drain", "requant.", "stall", "use")
    return [
        Table(f"Estimate on {name}, cycles of its clock", heading, cycles),
        Table(
            "Bytes through the memory port, and tiles of height x width x outputs x inputs",
            ("layer", "input", "weights", "output", "sums", "tiles", "tile", "loops"),
            moved,
        ),
    ]
