"""The bundled examples: their golden checksums are those of the numpy statement of the arithmetic."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from layer_reference import Layer, run

import kernels
from kernels.build import build_program, find_toolchain
from rvsim.errors import UsageError

SOURCES = Path(kernels.__file__).parent / "examples"


class Random:
    """The generator of examples/example.h."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def word(self) -> int:
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return self.state ^ self.state >> 15

    def int8(self, *shape: int) -> np.ndarray:
        words = [self.word() for _ in range(int(np.prod(shape)) // 4)]
        return np.array(words, "<u4").view(np.int8).reshape(shape)

    def channels(self, count: int, shift: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        drawn = [
            ((self.word() & 0x3FFF) - 0x2000, 0x40000000 | self.word() & 0x3FFFFFFF, shift + (self.word() & 1))
            for _ in range(count)
        ]
        bias, multiplier, shifts = np.array(drawn, np.int32).T
        return bias, multiplier, shifts


def checksum(output: np.ndarray) -> int:
    value = 2166136261
    for word in output.reshape(-1).view("<u4").tolist():
        value = (value ^ word) * 16777619 % 2**32
        value = (value << 7 | value >> 25) % 2**32
    return value


def conv_int8() -> Layer:
    random = Random(12345)
    weights = random.int8(32, 3, 3, 32)
    bias, multiplier, shift = random.channels(32, -11)
    x = random.int8(1, 16, 16, 32)
    return Layer(0, x, weights, bias, multiplier, shift, (16, 16), pad=(1, 1), input_offset=7, output_offset=-3)


def dwconv_int8() -> Layer:
    random = Random(777)
    weights = random.int8(1, 3, 3, 64)
    bias, multiplier, shift = random.channels(64, -9)
    x = random.int8(1, 24, 24, 64)
    options = {"input_offset": -4, "output_offset": -20, "activation": (-20, 127)}
    return Layer(1, x, weights, bias, multiplier, shift, (12, 12), stride=(2, 2), **options)


def fc_int8() -> Layer:
    random = Random(99)
    weights = random.int8(128, 512)
    bias, multiplier, shift = random.channels(128, -11)
    return Layer(2, random.int8(1, 1, 1, 512), weights, bias, multiplier, shift, input_offset=-11, output_offset=5)


LAYERS = {"conv_int8": conv_int8, "dwconv_int8": dwconv_int8, "fc_int8": fc_int8}


@pytest.mark.parametrize("name", LAYERS)
def test_golden_constant_is_the_reference_checksum(name: str) -> None:
    output = run(LAYERS[name]())
    clipped = np.isin(output, (output.min(), output.max())).mean()
    assert clipped < 0.6, "an example that saturates everywhere would prove little"
    found = re.search(r"#define GOLDEN 0x([0-9a-f]{8})u", (SOURCES / f"{name}.c").read_text())
    assert found and int(found[1], 16) == checksum(output)


@pytest.mark.parametrize("name", LAYERS)
def test_io_section_has_the_zero_points_of_the_layer(name: str) -> None:
    layer = LAYERS[name]()
    with kernels.example(name).open("rb") as file:
        io = json.loads(ELFFile(file).get_section_by_name(".rvsim.io").data())
    assert (io["input"]["zero_point"], io["output"]["zero_point"]) == (-layer.input_offset, layer.output_offset)


@pytest.mark.peer("qemu-riscv32")
@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param("zig", marks=pytest.mark.peer("ziglang")),
        pytest.param("gcc", marks=pytest.mark.peer("riscv64-unknown-elf-gcc")),
    ],
)
@pytest.mark.parametrize("name", [*LAYERS, "hello"])
def test_scalar_path_reaches_the_golden_checksum(name: str, compiler: str, tmp_path: Path) -> None:
    source, elf = SOURCES / f"{name}.c", tmp_path / "program.elf"
    build_program([source], elf, defines=["RVSIM_NO_PROBE"], toolchain=find_toolchain(compiler))
    done = subprocess.run(["qemu-riscv32", elf], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Hello" if name == "hello" else f"{name} ")


def test_examples_are_found_by_name() -> None:
    assert [example.name for example in kernels.examples()] == ["conv_int8", "dwconv_int8", "fc_int8", "hello"]
    for example in kernels.examples():
        assert kernels.example(example.name) == example.path
        assert example.path.read_bytes()[:4] == b"\x7fELF"
        assert example.description.endswith(".")


def test_unknown_example_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"conv_int8, dwconv_int8, fc_int8, hello.*found 'conv'"):
        kernels.example("conv")
