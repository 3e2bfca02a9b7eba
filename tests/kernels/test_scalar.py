"""The scalar kernels are bit for bit the numpy statement of the arithmetic, and refuse what the coprocessor refuses."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layer_reference import Layer, multiply_by_quantized_multiplier, run

from kernels.build import build_program

pytestmark = [pytest.mark.peer("qemu-riscv32"), pytest.mark.peer("ziglang")]

HERE = Path(__file__).parent
RELAXED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

Guest = Callable[[bytes], bytes]


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Guest]:
    """Build a program of this folder once, and give what runs it: bytes of standard input to bytes of output."""
    folder = tmp_path_factory.mktemp("guests")

    def build(name: str) -> Guest:
        elf = folder / f"{name}.elf"
        if not elf.exists():
            build_program([HERE / f"{name}.c"], elf, defines=["RVSIM_NO_PROBE"])

        def run_guest(data: bytes) -> bytes:
            done = subprocess.run(["qemu-riscv32", elf], input=data, capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, b"")
            return done.stdout

        return run_guest

    return build


def descriptor(layer: Layer) -> dict[str, int]:
    """The 28 words by name; addresses are filled in by `pack`."""
    flat = layer.operation == 2
    batches, height, width, channels = layer.input.shape
    return {
        "magic": 0x31564E43, "operation": layer.operation,
        "input": 0, "weights": 0, "bias": 0, "output": 0, "multiplier": 0, "shift": 0,
        "batches": batches, "input_height": height, "input_width": width, "input_channels": channels,
        "output_height": 1 if flat else layer.output_size[0], "output_width": 1 if flat else layer.output_size[1],
        "output_channels": layer.output_channels,
        "kernel_height": layer.kernel[0], "kernel_width": layer.kernel[1],
        "stride_height": layer.stride[0], "stride_width": layer.stride[1],
        "dilation_height": layer.dilation[0], "dilation_width": layer.dilation[1],
        "pad_top": layer.pad[0], "pad_left": layer.pad[1],
        "input_offset": layer.input_offset, "output_offset": layer.output_offset,
        "activation_min": layer.activation[0], "activation_max": layer.activation[1], "status": 0,
    }  # fmt: skip


def pack(layer: Layer, changes: dict[str, int] | None = None) -> tuple[bytes, int]:
    """One record of layer_stdin.c, and where the output tensor begins in its answer."""
    words, tensors = descriptor(layer), b""
    output = np.full((layer.input.shape[0], *layer.output_size, layer.output_channels), 0x55, np.int8)
    parts = {"input": layer.input, "weights": layer.weights, "bias": layer.bias, "output": output}
    for name, array in {**parts, "multiplier": layer.multiplier, "shift": layer.shift}.items():
        if array is not None:
            words[name] = 4 * 28 + len(tensors)
            tensors += array.tobytes() + b"\xaa" * (-array.nbytes % 4)  # not zero, so that reading past an end shows
    start = words["output"] - 4 * 28 + 4
    words |= changes or {}
    record = b"".join(struct.pack("<I", word % 2**32) for word in words.values()) + tensors
    return struct.pack("<I", len(record)) + record, start


def same_pad(size: int, output: int, kernel: int, stride: int, dilation: int) -> int:
    return min(max(0, (output - 1) * stride + (kernel - 1) * dilation + 1 - size) // 2, 2**31 - 1)


HUGE = st.sampled_from([2**16, 2**30, 2**31 - 1])


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    operation = draw(st.integers(0, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batches, channels = draw(st.integers(1, 2)), draw(st.integers(1, 9))
    outputs = channels * draw(st.integers(1, 3)) if operation == 1 else draw(st.integers(1, 6))
    options: dict[str, tuple[int, int]] = {}
    size = kernel = (1, 1)
    if operation == 5:
        size = draw(st.integers(1, 8)), draw(st.integers(1, 8))
        options = {"output_size": size, "pad": (draw(st.integers(-127, 128)), 0)}
    elif operation != 2:
        axes = []
        for _ in range(2):
            n, k, s = draw(st.integers(1, 8)), draw(st.integers(1, 4)), draw(st.integers(1, 3) | HUGE)
            d = draw(st.integers(1, 3) | HUGE) if operation < 2 else 1
            if draw(st.booleans()) or (k - 1) * d + 1 > n:  # SAME, else VALID
                out = -(-n // s)
                axes.append((n, k, s, d, out, same_pad(n, out, k, s, d)))
            else:
                axes.append((n, k, s, d, (n - (k - 1) * d - 1) // s + 1, 0))
        size, kernel, stride, dilation, output, pad = zip(*axes, strict=True)
        options = {"output_size": output, "stride": stride, "dilation": dilation, "pad": pad}
        if operation > 2:
            options["window"] = kernel
    shape = (batches, *size, channels)
    weights = [(outputs, *kernel, channels), (1, *kernel, outputs), (outputs, channels), (), (), shape][operation]
    channelwise = 3 if operation == 5 else outputs

    def int8(*shape: int) -> np.ndarray:
        return random.integers(-128, 128, shape, np.int8)

    low, high = sorted(draw(st.lists(st.integers(-128, 127), min_size=2, max_size=2)))
    shifts = [((-2, -2, -20), (1, 1, -15)), (-31, 31)] if operation == 5 else [(-12, -6), (-31, 3)]
    tensors = (
        int8(*weights),
        random.integers(-(2**17), 2**17, outputs, np.int32) if operation < 3 and draw(st.booleans()) else None,
        random.integers(2**30, 2**31, channelwise, np.int32),
        random.integers(*draw(st.sampled_from(shifts)), channelwise, np.int32),
    )
    return Layer(
        operation,
        int8(*shape),
        *(tensors if operation not in (3, 4) else ()),
        input_offset=draw(st.integers(-127, 128)),
        output_offset=draw(st.integers(-128, 127)),
        activation=draw(st.sampled_from([(-128, 127), (low, high)])),
        **options,
    )


@RELAXED
@given(batch=st.lists(layers(), min_size=1, max_size=8))
def test_layers_equal_the_reference(guest: Callable[[str], Guest], batch: list[Layer]) -> None:
    records = [pack(layer) for layer in batch]
    answer = guest("layer_stdin")(b"".join(record for record, _ in records))
    for layer, (record, start) in zip(batch, records, strict=True):
        expected = run(layer)
        size = len(record) - 4 - 4 * 28 + 4
        mine, answer = answer[:size], answer[size:]
        assert mine[:4] == bytes(4)
        assert mine[start : start + expected.size] == expected.tobytes()
        assert mine[4:start] + mine[start + expected.size :] == (
            record[4 + 4 * 28 :][: start - 4] + record[4 + 4 * 28 :][start - 4 + expected.size :]
        ), "only the output may be written"
    assert answer == b""


EDGES = [-(2**31), 1 - 2**31, -(2**30), -1, 0, 1, 2**30 - 1, 2**30, 2**31 - 1]
int32 = st.one_of(st.sampled_from(EDGES), st.integers(-(2**31), 2**31 - 1), st.integers(-300, 300))


@RELAXED
@given(st.lists(st.tuples(int32, int32.filter(lambda m: m >= 0), st.integers(-31, 30)), min_size=1, max_size=300))
def test_requantise_equals_the_reference(guest: Callable[[str], Guest], triples: list[tuple[int, int, int]]) -> None:
    answer = guest("requantise_stdin")(b"".join(struct.pack("<3i", *triple) for triple in triples))
    found = [value for (value,) in struct.iter_unpack("<i", answer)]
    assert found == [multiply_by_quantized_multiplier(*triple) for triple in triples]


def test_requantise_rounds_ties_away_from_zero(guest: Callable[[str], Guest]) -> None:
    triples = [(value, 2**30, shift) for value in range(-130, 131) for shift in range(-6, 3)]
    answer = guest("requantise_stdin")(b"".join(struct.pack("<3i", *triple) for triple in triples))
    found = [value for (value,) in struct.iter_unpack("<i", answer)]
    assert found == [multiply_by_quantized_multiplier(*triple) for triple in triples]


# (fields that are changed, status), for a depthwise layer of 5x5x3, 3x3 SAME.
POINT = {"kernel_height": 1, "kernel_width": 1, "pad_top": 0, "pad_left": 0}
AVERAGE, MAXIMUM, ADD = {"operation": 3}, {"operation": 4}, {"operation": 5, **POINT}
TAKEN = [
    {},
    AVERAGE,
    {**MAXIMUM, "weights": 1, "bias": 1, "multiplier": 1, "shift": 1},
    {**ADD, "bias": 1},
    {**ADD, "pad_top": -127},
    {**ADD, "pad_top": 128},
]
REFUSED = [
    ({"magic": 0}, 1),
    ({"operation": 6}, 2),
    ({**ADD, "multiplier": 1}, 3),
    ({**ADD, "shift": 1}, 3),
    *(({**each, name: 0}, 4) for each in (AVERAGE, ADD) for name in ("batches", "input_channels", "stride_width")),
    *(({**each, name: 2}, 4) for each in (AVERAGE, MAXIMUM, ADD) for name in ("dilation_height", "dilation_width")),
    *(({**ADD, name: 2}, 4) for name in ("kernel_height", "kernel_width", "stride_height", "stride_width")),
    *(({**ADD, "pad_left": pad}, 4) for pad in (1, -1)),
    ({**AVERAGE, "pad_top": -1}, 4),
    ({**AVERAGE, "kernel_height": 2**12, "kernel_width": 2**11 + 1}, 4),
    ({**MAXIMUM, "kernel_height": 2**31 - 1, "kernel_width": 2**31 - 1}, 4),
    *(({**each, "output_channels": channels}, 5) for each in (AVERAGE, MAXIMUM, ADD) for channels in (1, 4)),
    *(({**ADD, name: size}, 5) for name in ("output_height", "output_width") for size in (4, 6)),
    ({**MAXIMUM, "output_height": 7}, 5),
    ({**ADD, "pad_top": -128}, 6),
    ({**ADD, "pad_top": 129}, 6),
    ({**AVERAGE, "activation_max": 128}, 6),
    ({"operation": 2**32 - 1}, 2),
    ({"bias": 2}, 3),
    ({"multiplier": 1}, 3),
    ({"shift": 3}, 3),
    *(
        ({name: value}, 4)
        for name in ("batches", "input_width", "kernel_height", "dilation_width")
        for value in (0, -1)
    ),
    ({"pad_top": -1}, 4),
    ({"operation": 2}, 4),
    ({"output_channels": 4}, 5),
    ({"output_height": 3}, 5),
    ({"output_height": 7}, 5),
    ({"pad_left": 3}, 5),
    ({"stride_width": 3}, 5),
    ({"input_offset": 129}, 6),
    ({"input_offset": -128}, 6),
    ({"output_offset": 128}, 6),
    ({"activation_min": -129}, 6),
    ({"activation_max": 128}, 6),
    ({"activation_min": 5, "activation_max": 4}, 6),
]


def refusable() -> Layer:
    random = np.random.default_rng(1)
    multiplier, shift = np.full(3, 2**30, np.int32), np.full(3, -8, np.int32)
    x, weights = random.integers(-128, 128, (1, 5, 5, 3), np.int8), random.integers(-128, 128, (1, 3, 3, 3), np.int8)
    return Layer(1, x, weights, np.zeros(3, np.int32), multiplier, shift, (5, 5), pad=(1, 1))


@pytest.mark.parametrize(("changes", "status"), [*((each, 0) for each in TAKEN), *REFUSED], ids=str)
def test_bad_layers_have_the_documented_status(
    guest: Callable[[str], Guest], changes: dict[str, int], status: int
) -> None:
    record, start = pack(refusable(), changes)
    answer = guest("layer_stdin")(record)
    assert struct.unpack_from("<I", answer) == (status,)
    assert (answer[start : start + 75] == b"\x55" * 75) == (status != 0), "a refused layer leaves the output alone"


@pytest.mark.parametrize(("name", "value"), [("multiplier", -1), ("shift", 31), ("shift", -32)])
def test_bad_requantisation_has_status_6(guest: Callable[[str], Guest], name: str, value: int) -> None:
    layer = refusable()
    getattr(layer, name)[1] = value
    assert guest("layer_stdin")(pack(layer)[0])[:4] == struct.pack("<I", 6)


@pytest.mark.parametrize(("changes", "status"), [*((each, 0) for each in TAKEN), *REFUSED], ids=str)
def test_the_coprocessor_refuses_alike(changes: dict[str, int], status: int) -> None:
    coprocessor = pytest.importorskip("accel.conv.descriptor")
    record, _ = pack(refusable(), changes)
    magic, layer = coprocessor.parse(record[4 : 4 + 4 * 28])
    assert coprocessor.check(magic, layer, 0b111111) == status
