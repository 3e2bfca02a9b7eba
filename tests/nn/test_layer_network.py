"""Every layer of four networks that can be compiled: one ELF, bit-exact on the hart and on the coprocessor."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from rvsim.machine import Machine
from rvsim.nn.emit import compile_layer, default_input
from rvsim.nn.layer import compilable_layers, layer_from_operator
from rvsim.nn.tflite_model import load_model

LAYERS = {
    "mlperf_resnet8": [0, 1, 2, 4, 5, 6, 8, 9, 10, 14],
    "mlperf_kws_dscnn": [0, 1, 2, 3, 4, 5, 6, 7, 8, 11],
    "mlperf_vww96": [*range(27), 29],
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
    source = f"t{operator.inputs[0]}"
    if operator.inputs[0] == model.operators[0].inputs[0]:
        array = np.load(models_dir / f"{name}.io.npz")["x0"][0]
    elif source in tensors:
        array = tensors[source]
    else:
        pytest.skip(f"{source} was left out of {name}.tensors.npz as too large")
    record = json.loads((models_dir / f"{name}.json").read_text())["operators"][index]

    elf = compile_layer(layer_from_operator(model, index), tmp_path / "layer.elf")
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
