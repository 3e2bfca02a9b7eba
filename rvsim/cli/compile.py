"""`rvsim compile`: one layer of a .tflite network to an ELF."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from rvsim.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rvsim.nn.tflite_model import Model

HELP = "make an ELF of one layer of a .tflite network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rvsim compile`."""
    parser.description = (
        "Take one CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, AVERAGE_POOL_2D, MAX_POOL_2D or ADD layer of an int8 "
        ".tflite network and make an RV32IMC ELF "
        "that runs it: on the convolution coprocessor where the machine has one, else on the hart."
    )
    parser.add_argument("model", metavar="MODEL.tflite", help="the network, quantised to int8")
    parser.add_argument("--list", action="store_true", help="list the network's operators and stop")
    parser.add_argument("--layer", type=int, metavar="N", help="the operator to compile, counted from 0 as --list does")
    parser.add_argument("-o", "--output", metavar="ELF", help="the ELF to write")
    parser.add_argument(
        "--input",
        metavar="FILE.npy",
        action="append",
        help="int8 input to put into the ELF (default: a fixed pseudo-random pattern); may be given twice for ADD",
    )
    parser.add_argument(
        "--optimise", choices=("2", "s"), default="2", help="compile the kernels for speed (2, default) or for size (s)"
    )


def main(args: argparse.Namespace) -> int:
    """Run `rvsim compile`; returns the exit status."""
    if not args.list:
        if args.layer is None:
            raise UsageError(
                "whole networks are not supported yet: choose one layer with --layer N (--list shows them)"
            )
        if args.output is None:
            raise UsageError("no file to write: name the ELF with -o")
    from rvsim.nn.tflite_model import load_model

    model = load_model(args.model)
    if args.list:
        print(_listing(model))
        return 0
    return _compile(model, args)


def _compile(model: Model, args: argparse.Namespace) -> int:
    from rvsim.nn.emit import compile_layer, read_input
    from rvsim.nn.layer import layer_from_operator

    if os.path.realpath(args.output) == os.path.realpath(args.model):
        raise UsageError(f"{args.output} is the model itself: name another file with -o")
    _check_replaceable(args.output)
    spec = layer_from_operator(model, args.layer)
    files, inputs = args.input or [], [spec.input] if spec.second_input is None else [spec.input, spec.second_input]
    if len(files) > len(inputs):
        raise UsageError(
            f"layer {spec.index} ({spec.opcode}): expected {len(inputs)} --input at most, found {len(files)}"
        )
    data = [read_input(file, tensor) for file, tensor in zip(files, inputs, strict=False)] + [None] * 2
    path = compile_layer(spec, args.output, input_bytes=data[0], second_bytes=data[1], optimise=args.optimise)
    print(f"{path}: layer {spec.index} {spec.opcode}")
    for i, tensor in enumerate(inputs):
        otherwise = "the network's constant" if i and spec.weights is not None else "a fixed pattern"
        print(f"  input    {_shape(tensor.shape)} int8, {f'from {files[i]}' if i < len(files) else otherwise}")
    print(f"  output   {_shape(spec.output.shape)} int8")
    kernel = f"kernel {spec.shape.kernel_height}x{spec.shape.kernel_width}"
    if spec.shape.has_weights:
        print(f"  weights  {spec.shape.weight_bytes:,} bytes, {kernel}")
    elif spec.second_input is None:
        print(f"  windows  {kernel}")
    print(f"  MACs     {spec.macs:,}")
    return 0


def _check_replaceable(path: str) -> None:
    """Refuse to replace what is write-protected or no program: a mistyped -o must not cost a file, not even root's."""
    try:
        with open(path, "rb") as file:
            protected, head = not os.fstat(file.fileno()).st_mode & 0o222, file.read(4)
    except OSError:
        return  # not there yet; what else is wrong shows when it is written
    if protected:
        raise OutputError(f"{path} exists and is write-protected: name another file with -o")
    if head not in (b"\x7fELF", b""):
        raise OutputError(f"{path} exists and is no ELF, so it is not replaced: name another file with -o")


def _listing(model: Model) -> str:
    from rvsim.nn.layer import OPERATIONS, layer_from_operator, refusal

    rows = [("layer", "operator", "input", "weights", "output", "MACs", "can be compiled")]
    for operator in model.operators:
        source, weights, output = (
            _shape(model.tensors[i].shape) if i >= 0 else "-"
            for i in (*(operator.inputs + (-1, -1))[:2], (operator.outputs + (-1,))[0])
        )
        reason = refusal(model, operator.index)
        macs = f"{layer_from_operator(model, operator.index).macs:,}" if reason is None else "-"
        answer = "yes" if reason is None else "no"
        if operator.opcode not in OPERATIONS:
            weights = "-"
        elif reason is not None:
            answer = f"no: {reason}"
        rows.append((str(operator.index), operator.opcode, source, weights, output, macs, answer))
    align = [f"{'>' if column in (0, 5) else '<'}{max(len(row[column]) for row in rows)}" for column in range(7)]
    return "\n".join("  ".join(map(format, row, align)).rstrip() for row in rows)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
