"""A descriptor is judged by the documented statuses, whatever its words are."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import registry
from accel.conv import descriptor
from accel.conv.descriptor import ConvLayer, Operation, Status
from tests.accel import strategies
from tests.accel.reference import Memory
from tests.accel.strategies import ADD, AVERAGE, CONV, DENSE, DEPTHWISE, MAXIMUM

ALL = sum(1 << operation for operation in Operation)
GLOBAL = {"output_height": 1, "output_width": 1, "pad_top": 0, "pad_left": 0}

CASES = [
    (CONV, {}, Status.DONE),
    (DENSE, {}, Status.DONE),
    (DEPTHWISE, {}, Status.DONE),
    (DEPTHWISE, {"output_channels": 12}, Status.DONE),
    (AVERAGE, {}, Status.DONE),
    (MAXIMUM, {}, Status.DONE),
    (ADD, {}, Status.DONE),
    (CONV, {"operation": 6}, Status.UNKNOWN_OPERATION),
    (CONV, {"operation": 2**32 - 1}, Status.UNKNOWN_OPERATION),
    (CONV, {"bias": 0x8000_4202}, Status.MISALIGNED),
    (CONV, {"multiplier": 0x8000_4001}, Status.MISALIGNED),
    (CONV, {"shift": 3}, Status.MISALIGNED),
    (CONV, {"input": 0x8000_1001, "weights": 0x8000_2003, "output": 0x8000_3003}, Status.DONE),  # int8
    *[(CONV, {key: value}, Status.BAD_SHAPE) for key in CONV.__struct_fields__[7:20] for value in (0, -1, -(2**31))],
    (CONV, {"pad_top": -1}, Status.BAD_SHAPE),
    (CONV, {"pad_left": -(2**31)}, Status.BAD_SHAPE),
    (CONV, {"batches": 2**31 - 1}, Status.BAD_SHAPE),  # tensors of more than 4 GiB
    (CONV, dict.fromkeys(CONV.__struct_fields__[7:16], 2**31 - 1), Status.BAD_SHAPE),
    (DENSE, {"input_channels": 2**20, "output_channels": 2**10, "batches": 2**5}, Status.BAD_SHAPE),  # 2**35 MACs
    (DENSE, {"input_channels": 2**20, "output_channels": 2**10, "batches": 2**4}, Status.DONE),
    (AVERAGE, {"weights": 1, "bias": 1, "multiplier": 1, "shift": 1}, Status.DONE),  # not read
    (ADD, {"weights": 1, "bias": 1}, Status.DONE),
    *[(ADD, {key: 0x8000_4002}, Status.MISALIGNED) for key in ("multiplier", "shift")],
    *[(layer, {key: 0}, Status.BAD_SHAPE) for layer in (MAXIMUM, ADD) for key in CONV.__struct_fields__[7:20]],
    *[(layer, {key: -1}, Status.BAD_SHAPE) for layer in (AVERAGE, ADD) for key in CONV.__struct_fields__[7:20]],
    *[(layer, {key: 2}, Status.BAD_SHAPE) for layer in (AVERAGE, MAXIMUM) for key in CONV.__struct_fields__[18:20]],
    *[(ADD, {key: 2}, Status.BAD_SHAPE) for key in CONV.__struct_fields__[14:20]],
    (ADD, {"pad_left": 1}, Status.BAD_SHAPE),
    (ADD, {"pad_left": -1}, Status.BAD_SHAPE),
    (AVERAGE, {"pad_top": -1}, Status.BAD_SHAPE),
    (AVERAGE, GLOBAL | {"kernel_height": 2**13, "kernel_width": 2**10}, Status.DONE),
    (MAXIMUM, GLOBAL | {"kernel_height": 2**13, "kernel_width": 2**10 + 1}, Status.BAD_SHAPE),  # more than 2**23 taps
    (AVERAGE, GLOBAL | {"kernel_height": 2**31 - 1, "kernel_width": 2**31 - 1}, Status.BAD_SHAPE),
    (MAXIMUM, GLOBAL | {"kernel_height": 2**10, "kernel_width": 2**10, "batches": 2**12}, Status.DONE),
    (MAXIMUM, GLOBAL | {"kernel_height": 2**10, "kernel_width": 2**10, "batches": 2**13}, Status.BAD_SHAPE),  # steps
    (ADD, {"batches": 2**24}, Status.DONE),
    (ADD, {"batches": 2**24 + 1}, Status.BAD_SHAPE),  # tensors of more than 4 GiB
    (DENSE, {"input_height": 2}, Status.BAD_SHAPE),
    (DENSE, {"stride_width": 2}, Status.BAD_SHAPE),
    (DENSE, {"pad_left": 1}, Status.BAD_SHAPE),
    (DENSE, {"output_height": 2}, Status.OUTPUT_SHAPE),
    (CONV, {"output_height": 10}, Status.OUTPUT_SHAPE),  # the last window lies below the input
    (CONV, {"output_height": 9}, Status.DONE),  # padding of two at the bottom: a merged PAD
    (CONV, {"output_width": 6}, Status.OUTPUT_SHAPE),  # one more window fits
    (CONV, {"pad_top": 3, "output_height": 10}, Status.OUTPUT_SHAPE),  # the first window lies above the input
    (CONV, {"stride_height": 2**31 - 1, "output_height": 1}, Status.DONE),
    (CONV, {"dilation_width": 2**31 - 1, "pad_left": 2**31 - 1, "output_width": 8}, Status.DONE),
    (DEPTHWISE, {"output_channels": 6}, Status.OUTPUT_SHAPE),
    (DEPTHWISE, {"output_channels": 2}, Status.OUTPUT_SHAPE),
    *[(layer, {"output_channels": 8}, Status.OUTPUT_SHAPE) for layer in (AVERAGE, MAXIMUM, ADD)],
    *[(layer, {"input_channels": 2}, Status.OUTPUT_SHAPE) for layer in (AVERAGE, MAXIMUM, ADD)],
    *[(ADD, {key: size}, Status.OUTPUT_SHAPE) for key in ("output_height", "output_width") for size in (7, 9)],
    (MAXIMUM, {"output_height": 10}, Status.OUTPUT_SHAPE),
    (MAXIMUM, {"pad_left": 3}, Status.OUTPUT_SHAPE),
    *[(ADD, {"pad_top": offset}, Status.DONE) for offset in (-127, 128)],
    *[(ADD, {"pad_top": offset}, Status.OUT_OF_RANGE) for offset in (-128, 129, 2**31 - 1, -(2**31))],
    (MAXIMUM, {"activation_min": 1, "activation_max": 0}, Status.OUT_OF_RANGE),
    (CONV, {"activation_min": 1, "activation_max": 0}, Status.OUT_OF_RANGE),
    (CONV, {"activation_min": -129}, Status.OUT_OF_RANGE),
    (CONV, {"activation_max": 128}, Status.OUT_OF_RANGE),
    (CONV, {"input_offset": 129}, Status.OUT_OF_RANGE),
    (CONV, {"input_offset": -128}, Status.OUT_OF_RANGE),
    (CONV, {"output_offset": 128}, Status.OUT_OF_RANGE),
]  # fmt: skip


@pytest.mark.parametrize("layer, changes, expected", CASES)
def test_status(layer: ConvLayer, changes: dict[str, int], expected: Status) -> None:
    assert descriptor.check(descriptor.MAGIC, msgspec.structs.replace(layer, **changes), ALL) == expected


def test_magic_comes_first_and_an_operation_that_is_not_built_in_is_unknown() -> None:
    assert descriptor.check(0, msgspec.structs.replace(CONV, operation=9), ALL) == Status.BAD_MAGIC
    assert descriptor.check(descriptor.MAGIC, DEPTHWISE, 0b101) == Status.UNKNOWN_OPERATION


def test_layout_is_that_of_the_guest_header() -> None:
    header = (Path(__file__).parents[2] / "kernels" / "include" / "rvsim_conv.h").read_text()
    words = dict(re.findall(r"RVSIM_CONV_WORD\((\w+), (\d+)\);", header))
    ours = ("magic", *ConvLayer.__struct_fields__, "status")
    assert {name: int(number) for name, number in words.items()} == {name: i for i, name in enumerate(ours)}


@given(strategies.layers())
def test_pack_and_parse_are_inverse(layer: ConvLayer) -> None:
    data = descriptor.pack(layer)
    assert len(data) == descriptor.SIZE and data[:4] == b"CNV1"
    assert descriptor.parse(data) == (descriptor.MAGIC, layer)


@given(strategies.layers())
def test_every_sound_layer_is_taken(layer: ConvLayer) -> None:
    assert descriptor.check(descriptor.MAGIC, layer, ALL) == Status.DONE


EDGES = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    127,
    128,
    255,
    2**15,
    2**16 - 1,
    2**16,
    2**24,
    2**31 - 1,
    2**31,
    2**31 + 1,
    2**32 - 4,
    2**32 - 1,
]
POINTERS = [Memory.RAM, Memory.RAM + 0xFFFC, Memory.RAM + 0x8000, Memory.ROM, 0, 0xFFFF_FFFC, Memory.RAM + 0x1000]
WORD = st.sampled_from(EDGES) | st.sampled_from(POINTERS) | st.integers(0, 2**32 - 1)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(strategies.EXAMPLES),
    st.dictionaries(st.integers(0, 27), WORD, max_size=6),
    st.sampled_from([0, 4, 0xFF94, 2]),
)
def test_a_hostile_descriptor_ends_in_a_status(layer: ConvLayer, changes: dict[int, int], offset: int) -> None:
    """Any words, anywhere in memory: a status within bounds of time, and no exception."""
    words = list(struct.unpack("<28I", descriptor.pack(layer)))
    for index, value in changes.items():
        words[index] = value
    data = struct.pack("<28I", *words)
    memory = Memory()
    memory.ram[offset : offset + len(data)] = data[: len(memory.ram) - offset]
    coprocessor = registry.load("on")
    assert coprocessor is not None
    address = Memory.RAM + offset
    begin = time.perf_counter()
    started = coprocessor.issue(0, address, 0, memory, 0, 0x100)
    waited = coprocessor.issue(1, 0, 0, memory, started.stall_cycles, 0x104)
    assert time.perf_counter() - begin < 5
    assert started.value == waited.value and started.value in list(Status)
    assert (waited.fault is not None) == (waited.value == Status.ACCESS_FAULT)
    assert len(memory.ram) == 1 << 16
    if offset % 4 == 0 and offset + descriptor.SIZE <= len(memory.ram):
        assert memory.ram[offset + 108 : offset + 112] == waited.value.to_bytes(4, "little")
