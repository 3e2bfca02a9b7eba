"""The kernels for the SIMD unit and for XCV are bit for bit the numpy statement of the arithmetic."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layer_reference import Layer, run
from test_scalar import descriptor, layers, same_pad

import kernels
from kernels.build import build_program, find_toolchain
from rvsim.machine import Machine

UNITS = ("simd", "xcv")
Guest = Callable[[bytes, str], tuple[bytes, int]]


COMPILERS = [
    pytest.param("zig", marks=pytest.mark.peer("ziglang")),
    pytest.param("gcc", marks=pytest.mark.peer("riscv64-unknown-elf-gcc")),
]


@pytest.fixture(scope="module", params=COMPILERS)
def guest(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Guest:
    """Runs layer_stdin.c with a coprocessor: bytes of standard input to bytes of output, and the instructions."""
    elf = tmp_path_factory.mktemp("guests") / "layers.elf"
    build_program([Path(__file__).with_name("layer_stdin.c")], elf, toolchain=find_toolchain(request.param))

    def run_guest(data: bytes, accel: str) -> tuple[bytes, int]:
        sent, printed = memoryview(data), bytearray()

        def read(size: int) -> bytes:
            nonlocal sent
            taken, sent = bytes(sent[:size]), sent[size:]
            return taken

        # Misaligned accesses trap: kernels may not rely on them.
        trapping = {"core.misaligned": "trap"}
        machine = Machine.from_elf(elf, accel=accel, settings=trapping, stdin=read, stdout=printed.extend)
        result = machine.run()
        assert result.exit_code == 0, result.message
        return bytes(printed), result.instructions

    return run_guest


def pack(layer: Layer, leads: tuple[int, int, int]) -> tuple[bytes, slice]:
    """One record of layer_stdin.c, its tensors beginning at any byte, and the output's place in its answer."""
    words, tensors = descriptor(layer), b""
    output = np.full((layer.input.shape[0], *layer.output_size, layer.output_channels), 0x55, np.int8)
    parts = {"input": layer.input, "weights": layer.weights, "output": output}
    for (name, array), lead in zip(parts.items(), leads, strict=True):
        tensors += b"\xaa" * lead  # not zero, so that reading beyond a tensor shows
        words[name] = 4 * 28 + len(tensors)
        tensors += array.tobytes() + b"\xaa" * (-(lead + array.nbytes) % 4)
    for name in ("bias", "multiplier", "shift"):
        if (array := getattr(layer, name)) is not None:
            words[name] = 4 * 28 + len(tensors)
            tensors += array.tobytes()
    record = b"".join(struct.pack("<I", word % 2**32) for word in words.values()) + tensors
    start = words["output"] - 4 * 28 + 4
    return struct.pack("<I", len(record)) + record, slice(start, start + output.size)


def check(guest: Guest, accel: str, batch: list[tuple[Layer, tuple[int, int, int]]]) -> None:
    """Each layer's output is the reference's, and nothing else is written."""
    records = [pack(*each) for each in batch]
    answer, _ = guest(b"".join(record for record, _ in records), accel)
    for (layer, leads), (record, place) in zip(batch, records, strict=True):
        expected = bytearray(4) + record[4 + 4 * 28 :]
        expected[place] = run(layer).tobytes()
        mine, answer = answer[: len(expected)], answer[len(expected) :]
        assert mine == expected, (layer.input.shape, layer.weights.shape, leads)
    assert answer == b""


def layer(operation: int, channels: int, outputs: int, seed: int = 0, **given: object) -> Layer:
    """A layer, SAME unless `pad` says otherwise; `size`, `kernel`, `stride`, `dilation`, `pad` are pairs."""
    random = np.random.default_rng(seed)
    batches = int(given.get("batches", 1))  # type: ignore[call-overload]
    one = (1, 1)
    size, kernel, stride, dilation = (given.get(name, one) for name in ("size", "kernel", "stride", "dilation"))
    axes = list(zip(size, kernel, stride, dilation, strict=True))  # type: ignore[call-overload]
    output = tuple(-(-n // s) for n, _, s, _ in axes)
    same = tuple(same_pad(n, out, k, s, d) for (n, k, s, d), out in zip(axes, output, strict=True))
    pad = given.get("pad", same)
    shape = {0: (outputs, *kernel, channels), 1: (1, *kernel, outputs), 2: (outputs, channels)}[operation]  # type: ignore[misc]
    reach = int(np.prod(shape[1:3] if operation == 1 else shape[1:]))
    return Layer(
        operation,
        random.integers(-128, 128, (batches, *size, channels), np.int8),  # type: ignore[misc]
        random.integers(-128, 128, shape, np.int8),
        random.integers(-(2**12), 2**12, outputs, np.int32) if seed % 2 else None,
        random.integers(2**30, 2**31, outputs, np.int32),
        random.integers(-9, -6, outputs, np.int32) - int(np.log2(reach)) // 2,
        output_size=output,  # type: ignore[arg-type]
        stride=stride,  # type: ignore[arg-type]
        dilation=dilation,  # type: ignore[arg-type]
        pad=pad,  # type: ignore[arg-type]
        input_offset=int(random.integers(-127, 129)),
        output_offset=int(random.integers(-128, 128)),
        activation=[(-128, 127), (-100, 90)][seed % 2],
    )


TABLE = {
    "pointwise": layer(0, 16, 10, 1, size=(3, 5)),
    "pointwise, odd pixels and stride": layer(0, 8, 5, 2, size=(5, 5), stride=(2, 2)),
    "pointwise of 6 channels": layer(0, 6, 9, 3, size=(2, 3)),
    "pointwise of 5 channels": layer(0, 5, 19, 4, size=(2, 3)),
    "3x3 of 8 channels": layer(0, 8, 9, 5, size=(4, 5), kernel=(3, 3)),
    "3x3 of 3 channels": layer(0, 3, 18, 6, size=(5, 4), kernel=(3, 3), stride=(2, 2)),
    "10x4 of 1 channel": layer(0, 1, 8, 7, size=(12, 5), kernel=(10, 4), stride=(2, 2)),
    "5x1 of 2 channels, dilated": layer(0, 2, 6, 8, size=(7, 3), kernel=(5, 1), dilation=(2, 1)),
    "1x3 dilated along rows": layer(0, 4, 7, 9, size=(3, 7), kernel=(1, 3), dilation=(1, 3)),
    "two images": layer(0, 4, 4, 10, batches=2, size=(3, 3), kernel=(2, 2)),
    "windows too long for the stack": layer(0, 1100, 2, 11, size=(2, 1), kernel=(2, 2)),
    "depthwise 3x3": layer(1, 8, 8, 12, size=(5, 6), kernel=(3, 3)),
    "depthwise 3x3, stride 2": layer(1, 4, 4, 13, size=(6, 6), kernel=(3, 3), stride=(2, 2)),
    "depthwise 5x5, dilated": layer(1, 4, 4, 14, size=(9, 9), kernel=(5, 5), dilation=(2, 2)),
    "depthwise 2x2": layer(1, 12, 12, 15, size=(3, 4), kernel=(2, 2)),
    "depthwise 1 to 8": layer(1, 1, 8, 16, size=(6, 6), kernel=(3, 3), stride=(2, 2)),
    "depthwise 3 to 12": layer(1, 3, 12, 17, size=(4, 4), kernel=(3, 3)),
    "depthwise 2 to 4": layer(1, 2, 4, 18, size=(4, 4), kernel=(3, 3)),
    "depthwise of 6 channels": layer(1, 6, 6, 19, size=(4, 4), kernel=(3, 3)),
    "3x3, dilated beyond 32 bits": layer(
        0, 4, 5, 23, size=(3, 3), kernel=(5, 1), dilation=(2**30, 1), pad=(0, 0), stride=(3, 1)
    ),
    "depthwise, dilated beyond 32 bits": layer(
        1, 4, 4, 24, size=(3, 3), kernel=(5, 1), dilation=(2**30, 1), pad=(0, 0), stride=(3, 1)
    ),
    "dense 32 to 10": layer(2, 32, 10, 20),
    "dense 20 to 3, three rows": layer(2, 20, 3, 21, batches=3),
    "dense 7 to 5": layer(2, 7, 5, 22),
}


@pytest.mark.parametrize("accel", UNITS)
def test_layers_of_every_kind(guest: Guest, accel: str) -> None:
    check(
        guest,
        accel,
        [(each, leads) for each in TABLE.values() for leads in ((0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 3, 2))],
    )


@pytest.mark.parametrize("accel", UNITS)
@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(batch=st.lists(st.tuples(layers(), st.tuples(*[st.integers(0, 3)] * 3)), min_size=1, max_size=6))
def test_any_layer(guest: Guest, accel: str, batch: list[tuple[Layer, tuple[int, int, int]]]) -> None:
    check(guest, accel, [each for each in batch if each[0].operation < 3])


@pytest.mark.parametrize("accel", UNITS)
@pytest.mark.parametrize(
    "kind", ["pointwise", "3x3 of 8 channels", "depthwise 3x3", "depthwise 1 to 8", "dense 32 to 10"]
)
def test_added_instructions_are_used(guest: Guest, accel: str, kind: str) -> None:
    """Kernels that left their layers to the scalar ones would be right as well."""
    if (accel, kind) == ("xcv", "depthwise 1 to 8"):
        pytest.skip("left to the scalar kernel")
    data, _ = pack(TABLE[kind], (0, 0, 0))
    assert guest(data, accel)[1] < 0.8 * guest(data, "off")[1]


@pytest.mark.parametrize("name", ["conv_int8", "dwconv_int8", "fc_int8"])
def test_the_examples_run_on_every_family(name: str) -> None:
    """An example's exit status says whether its output has the golden checksum."""
    cycles = {}
    for accel in ("off", *UNITS, "conv-4x4"):
        result = Machine.from_elf(kernels.example(name), accel=accel, stdout=len).run()
        assert result.exit_code == 0, accel
        cycles[accel] = result.cycles
    assert max(cycles["simd"], cycles["xcv"]) < cycles["off"] / 2
