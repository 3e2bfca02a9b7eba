"""A layer's ELF: its tensors by symbol, the .rvsim.io section, its input, and what happens when it cannot be made."""

from __future__ import annotations

import io
import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from rvsim.errors import InputFileError, OutputError, RvsimError
from rvsim.nn import emit
from rvsim.nn.emit import compile_layer, default_input, read_input
from rvsim.nn.layer import TensorSpec, layer_from_operator
from rvsim.nn.tflite_model import parse_model

ORDER = ("input", "weights", "bias", "output", "multiplier", "shift")  # words 2 to 7 of the descriptor


@pytest.fixture(scope="module")
def spec(conv_model):
    return layer_from_operator(parse_model(conv_model(), "m.tflite"), 0)


@pytest.fixture(scope="module", params=["zig", "gcc"])
def toolchain(request, require_peer):
    from kernels.build import find_toolchain

    require_peer({"zig": "ziglang", "gcc": "riscv64-unknown-elf-gcc"}[request.param])
    return find_toolchain(request.param)


def objects(elf: ELFFile) -> dict[str, tuple[int, int, bytes]]:
    """Address, size and bytes of each data symbol that belongs to the layer."""
    found = {}
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if symbol.name.startswith("layer_") and symbol["st_info"]["type"] == "STT_OBJECT":
            section = elf.get_section(symbol["st_shndx"])
            at, size = symbol["st_value"] - section["sh_addr"], symbol["st_size"]
            found[symbol.name] = (symbol["st_value"], size, section.data()[at : at + size])
    return found


def test_symbols_and_descriptor(spec, toolchain, tmp_path):
    path = compile_layer(spec, tmp_path / "layer.elf", toolchain=toolchain)
    elf = ELFFile(io.BytesIO(path.read_bytes()))
    found = objects(elf)
    data = {name: content for name, (_, _, content) in found.items()}
    assert data["layer_weights"] == spec.weights
    assert data["layer_bias"] == spec.bias
    assert data["layer_multiplier"] == spec.multiplier
    assert data["layer_shift"] == spec.shift
    assert data["layer_input"] == default_input(32)
    assert found["layer_output"][1] == 48
    addresses = [found[f"layer_{name}"][0] for name in ORDER]
    assert not any(address % 16 for address in addresses)
    rest = (1, 4, 4, 2, 4, 4, 3, 3, 3, 1, 1, 1, 1, 1, 1, 3, 5, -128, 127, 0)
    assert data["layer_descriptor"] == struct.pack("<8I20i", 0x31564E43, 0, *addresses, *rest)

    section = elf.get_section_by_name(".rvsim.io")
    assert not section["sh_flags"] & 2  # SHF_ALLOC
    assert json.loads(section.data()) == {
        "version": 1,
        "input": {"symbol": "layer_input", "shape": [1, 4, 4, 2], "dtype": "int8", "scale": 0.5, "zero_point": -3},
        "output": {"symbol": "layer_output", "shape": [1, 4, 4, 3], "dtype": "int8", "scale": 2.0, "zero_point": 5},
    }


def test_without_bias_its_address_is_0(spec, toolchain, tmp_path):
    path = compile_layer(replace(spec, bias=None), tmp_path / "layer.elf", toolchain=toolchain)
    found = objects(ELFFile(io.BytesIO(path.read_bytes())))
    assert "layer_bias" not in found
    assert struct.unpack_from("<I", found["layer_descriptor"][2], 16) == (0,)


def test_the_same_layer_gives_the_same_bytes(spec, toolchain, tmp_path):
    first = compile_layer(spec, tmp_path / "a.elf", toolchain=toolchain).read_bytes()
    assert compile_layer(spec, tmp_path / "b.elf", toolchain=toolchain).read_bytes() == first


def test_default_input():
    """The top bytes of Numerical Recipes' generator: 1 * 1664525 + 1013904223 = 0x3c88596c, then 0x5e8885db."""
    assert default_input(4) == bytes([0x3C, 0x5E, 0x81, 0xB4])
    assert len(set(default_input(4096))) == 256


@pytest.mark.parametrize("shape", [(1, 4, 4, 2), (4, 4, 2), (1, 1, 4, 4, 2)])
@pytest.mark.parametrize("order", "CF")
def test_input_file(tmp_path, shape, order):
    array = np.arange(32, dtype=np.int8).reshape(shape)
    np.save(tmp_path / "x.npy", np.asarray(array, order=order))
    assert read_input(tmp_path / "x.npy", TensorSpec((1, 4, 4, 2), 0.5, -3)) == array.tobytes()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


GOOD = _npy(np.zeros((1, 4, 4, 2), np.int8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            _npy(np.zeros((1, 4, 4, 2), np.uint8)),
            "expected int8, found uint8; quantise it with scale 0.5 and zero point -3",
        ),
        (_npy(np.zeros((1, 4, 4, 2), np.float32)), "expected int8, found float32"),
        (_npy(np.zeros((1, 2, 4, 4), np.int8)), r"expected the shape \[1, 4, 4, 2\], found \[1, 2, 4, 4\]"),
        (_npy(np.zeros((2, 4, 4, 2), np.int8)), r"expected the shape \[1, 4, 4, 2\], found \[2, 4, 4, 2\]"),
        (_npy(np.zeros(32, np.int8)), r"expected the shape \[1, 4, 4, 2\], found \[32\]"),
        (_npy(np.array([None])), "not a readable"),
        (GOOD[:-1], "not a readable"),
        (GOOD[:40], "not a readable"),
        (GOOD.replace(b"(1, 4, 4, 2)", b"(9**9**9,  )"), "not a readable"),
        (GOOD.replace(b"(1, 4, 4, 2)", b"(1 << 60,  )"), "not a readable"),
        (GOOD.replace(b"(1, 4, 4, 2)", b"(99999999,9)"), "not a readable"),
        (b"PK\3\4", "expected a .npy file"),
        (b"", "expected a .npy file"),
    ],
)
def test_input_file_refused(tmp_path, content, message):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=rf"x\.npy: {message}"):
        read_input(path, TensorSpec((1, 4, 4, 2), 0.5, -3))


def test_input_file_that_cannot_be_read(tmp_path):
    tensor = TensorSpec((1,), 0.5, -3)
    with pytest.raises(InputFileError, match=r"x\.npy: cannot read the input: No such file"):
        read_input(tmp_path / "x.npy", tensor)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputFileError, match="not a regular file"):
        read_input(tmp_path / "pipe", tensor)


def test_input_of_another_size(spec, tmp_path):
    with pytest.raises(InputFileError, match="expected an input of 32 bytes, found 3"):
        compile_layer(spec, tmp_path / "layer.elf", input_bytes=b"abc")


def test_a_layer_too_large_for_memory(conv_model, tmp_path):
    shape = {"shape": [1, 4096, 2048, 2]}
    data = conv_model(source=shape, output={"shape": [1, 4096, 2048, 3]})
    large = layer_from_operator(parse_model(data, "m.tflite"), 0)
    message = r"layer 0 \(CONV_2D\) does not fit into the guest's 16 MiB of RAM: weights 54, input 16,777,216, output"
    with pytest.raises(InputFileError, match=message):
        compile_layer(large, tmp_path / "layer.elf")


@pytest.mark.parametrize("channels", [1, 4])
def test_what_is_said_to_fit_links(conv_model, tmp_path, channels, toolchain):
    """The check before the build is no looser than the linker's own."""
    # As many rows as the check lets through.
    rows = (emit._RAM_BYTES - emit._PROGRAM_BYTES - 14 * channels) // (16 * (2 + channels))
    data = conv_model(
        source={"shape": [1, rows, 16, 2]},
        weights={"shape": [channels, 1, 1, 2], "data": bytes(2 * channels)},
        bias={"shape": [channels], "data": bytes(4 * channels)},
        output={"shape": [1, rows, 16, channels]},
    )
    spec = layer_from_operator(parse_model(data, "m.tflite"), 0)
    compile_layer(spec, tmp_path / "layer.elf", input_bytes=bytes(spec.input.elements), toolchain=toolchain)
    data = data.replace(struct.pack("<4i", 1, rows, 16, 2), struct.pack("<4i", 1, rows + 1, 16, 2))
    data = data.replace(struct.pack("<4i", 1, rows, 16, channels), struct.pack("<4i", 1, rows + 1, 16, channels))
    with pytest.raises(InputFileError, match="does not fit into"):
        compile_layer(layer_from_operator(parse_model(data, "m.tflite"), 0), tmp_path / "layer.elf")


def test_output_that_cannot_be_written(spec, tmp_path):
    for path in (tmp_path, tmp_path / "absent" / "layer.elf", os.devnull):
        with pytest.raises(OutputError, match=rf"^{path}: cannot be written: "):
            compile_layer(spec, path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_build_leaves_the_old_file(spec, tmp_path, monkeypatch):
    import kernels.build

    def fail(*_args, **_options):
        raise RvsimError("cannot link the program")

    monkeypatch.setattr(kernels.build, "_link", fail)
    path = tmp_path / "layer.elf"
    path.write_text("old")
    with pytest.raises(RvsimError, match="cannot link"):
        compile_layer(spec, path)
    assert [p.name for p in tmp_path.iterdir()] == ["layer.elf"]
    assert path.read_text() == "old"
