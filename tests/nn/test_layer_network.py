"""Every layer of four networks that can be compiled, an ELF each, and every pool and ADD of all networks that have any:
bit-exact on the hart and on the coprocessor."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from accel.conv.descriptor import SIZE, pack
from rvsim.machine import Machine
from rvsim.nn.emit import compile_layer, default_input
from rvsim.nn.layer import compilable_layers, layer_from_operator
from rvsim.nn.tflite_model import load_model

LAYERS = {
    "mlperf_resnet8": [*range(13), 14],
    "mlperf_kws_dscnn": [*range(10), 11],
    "mlperf_vww96": [*range(28), 29],
    "mlperf_ad01": [*range(10)],
}


def fnv1a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


@pytest.mark.parametrize("name", LAYERS)
def test_the_layers_are_these(models_dir, name):
    assert compilable_layers(load_model(models_dir / f"{name}.tflite")) == LAYERS[name]


@pytest.mark.parametrize(("name", "index"), [(name, index) for name, layers in LAYERS.items() for index in layers])
def test_layer_is_tflms(models_dir, tmp_path, name, index):
    model = load_model(models_dir / f"{name}.tflite")
    operator = model.operators[index]
    tensors = np.load(models_dir / f"{name}.tensors.npz")
    second = tensors[f"t{operator.inputs[1]}"].tobytes() if operator.opcode == "ADD" else None
    source = f"t{operator.inputs[0]}"
    if operator.inputs[0] == model.operators[0].inputs[0]:
        array = np.load(models_dir / f"{name}.io.npz")["x0"][0]
    elif source in tensors:
        array = tensors[source]
    else:
        pytest.skip(f"{source} was left out of {name}.tensors.npz as too large")
    record = json.loads((models_dir / f"{name}.json").read_text())["operators"][index]

    elf = compile_layer(layer_from_operator(model, index), tmp_path / "layer.elf", second_bytes=second)
    cycles = {}
    for accel in ("off", "on"):
        printed = bytearray()
        machine = Machine.from_elf(elf, accel=accel, stdout=printed.extend)
        machine.write_input(array)
        result = machine.run()
        out = machine.read_output()
        assert result.exit_code == 0, result.message
        assert hashlib.sha256(out.tobytes()).hexdigest()[:16] == record["sha256_16"][0][0], accel
        if f"t{operator.outputs[0]}" in tensors:
            assert np.array_equal(out, tensors[f"t{operator.outputs[0]}"])
        assert printed.decode() == f"layer {index} {operator.opcode}: checksum 0x{fnv1a(out.tobytes()):08x}\n"
        if accel == "on":
            assert result.accelerator.macs == record["macs"]
        cycles[accel] = result.cycles
    assert cycles["on"] < cycles["off"]


# How many of each operator the network has: every pool and every ADD of the models.
POOLS_AND_SUMS = {
    "cfu_magic_wand": {"MAX_POOL_2D": 2},
    "cfu_mnv2_160_035": {"AVERAGE_POOL_2D": 1, "ADD": 10},
    "mcunet_vww": {"ADD": 8},
    "mm_rnnoise_INT8": {"ADD": 12},
    "sl_fingerprint": {"AVERAGE_POOL_2D": 1},
    "sl_keyword_spotting_alexa": {"AVERAGE_POOL_2D": 1, "ADD": 12},
    "tflm_person_detect": {"AVERAGE_POOL_2D": 1},
}


@pytest.fixture(scope="module")
def layer_stdin(tmp_path_factory):
    from kernels.build import build_program

    source = Path(__file__).parents[1] / "kernels" / "layer_stdin.c"
    return build_program([source], tmp_path_factory.mktemp("guest") / "layer_stdin.elf")


@pytest.mark.parametrize("name", POOLS_AND_SUMS)
def test_pools_and_sums_are_tflms(models_dir, layer_stdin, name):
    """All of a network in one run: the guest takes layers from its standard input."""
    model = load_model(models_dir / f"{name}.tflite")
    tensors = np.load(models_dir / f"{name}.tensors.npz")
    records, expected, found = b"", b"", dict.fromkeys(POOLS_AND_SUMS[name], 0)
    for operator in model.operators:
        if operator.opcode not in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "ADD"):
            continue
        found[operator.opcode] += 1
        spec = layer_from_operator(model, operator.index)
        parts = {"input": tensors[f"t{operator.inputs[0]}"].tobytes()}
        if operator.opcode == "ADD":
            parts["weights"] = tensors[f"t{operator.inputs[1]}"].tobytes()
            parts |= {"multiplier": spec.multiplier, "shift": spec.shift}
        record, answer = _record(spec.shape, parts, tensors[f"t{operator.outputs[0]}"].tobytes())
        records, expected = records + record, expected + answer
    assert found == POOLS_AND_SUMS[name]
    for accel in ("off", "on"):
        source, printed = io.BytesIO(records), bytearray()
        result = Machine.from_elf(layer_stdin, accel=accel, stdin=source.read, stdout=printed.extend).run()
        assert result.exit_code == 0, result.message
        assert printed == expected, accel
    assert result.accelerator.commands == sum(found.values())


def _record(shape, parts, output):
    """A layer as layer_stdin.c takes it, and its answer: status 0 and the tensors after the run."""
    blank = bytes(byte ^ 0xFF for byte in output)  # every byte of the output has to be written
    addresses, data, after = {}, b"", b""
    for part, content in (*parts.items(), ("output", None)):
        addresses[part] = SIZE + len(data)
        padding = bytes(-len(content or output) % 4)
        data += (content or blank) + padding
        after += (content or output) + padding
    descriptor = pack(structs.replace(shape, **addresses))
    return struct.pack("<I", SIZE + len(data)) + descriptor + data, bytes(4) + after


def test_input_in_the_elf(models_dir, tmp_path):
    """What is compiled in is what the layer reads, unless the run brings another input."""
    spec = layer_from_operator(load_model(models_dir / "mlperf_resnet8.tflite"), 0)
    array = np.load(models_dir / "mlperf_resnet8.io.npz")["x0"][0]
    outputs = []
    for embedded, written in ((array.tobytes(), None), (None, array), (None, None)):
        machine = Machine.from_elf(compile_layer(spec, tmp_path / "layer.elf", input_bytes=embedded), stdout=len)
        if written is not None:
            machine.write_input(written)
        machine.run()
        outputs.append(machine.read_output().tobytes())
    assert outputs[0] == outputs[1] != outputs[2]
    machine = Machine.from_elf(compile_layer(spec, tmp_path / "layer.elf"), stdout=len)
    machine.write_input(np.frombuffer(default_input(array.size), np.int8).reshape(array.shape))
    machine.run()
    assert machine.read_output().tobytes() == outputs[2]


def test_status_of_a_layer_that_cannot_be_run(models_dir, tmp_path):
    """The guest exits with 1 + the layer's status, on either path."""
    spec = layer_from_operator(load_model(models_dir / "mlperf_resnet8.tflite"), 0)
    shape = structs.replace(spec.shape, activation_min=5, activation_max=4)
    elf = compile_layer(replace(spec, shape=shape), tmp_path / "layer.elf")
    for accel in ("off", "on"):
        printed = bytearray()
        assert Machine.from_elf(elf, accel=accel, stdout=printed.extend).run().exit_code == 7
        assert printed.decode() == "layer 0 CONV_2D: status 6\n"
