"""Presets load, and a wrong name, key or value is named together with what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel import registry
from accel.conv.coprocessor import ConvCoprocessor
from rvsim.errors import UsageError

GOOD = (Path(registry.__file__).parent / "conv" / "presets" / "conv-8x8.toml").read_text()
KINDS = ", ".join(map(repr, registry.kinds()))


def test_names() -> None:
    assert registry.names()[:2] == ["off", "on"]
    assert {"conv-16x16", "conv-4x4", "conv-8x8", "simd", "xcv"} <= set(registry.names())


def test_kinds() -> None:
    assert {"conv", "simd", "xcv"} <= set(registry.kinds())


def test_off_is_none_and_on_is_8x8() -> None:
    assert registry.load("off") is None
    made = registry.load("on")
    assert made is not None and made.name == "conv-8x8"


@pytest.mark.parametrize("name, side", [("conv-4x4", 4), ("conv-8x8", 8), ("conv-16x16", 16)])
def test_presets(name: str, side: int) -> None:
    made = registry.load(name)
    assert isinstance(made, ConvCoprocessor)
    assert made.capability == 0b111111 | side << 8 | side << 16 | 1 << 24
    assert made.major_opcode == 0x0B and made.isa().name == "XConv"


@pytest.mark.parametrize("name", ["conv-4x4", "conv-8x8", "conv-16x16"])
def test_every_number_of_a_preset_has_a_comment(name: str) -> None:
    text = (Path(registry.__file__).parent / "conv" / "presets" / f"{name}.toml").read_text()
    assert all(
        "  # " in line for line in text.splitlines() if "=" in line and not line.startswith(("#", "kind", "operations"))
    )


def test_overrides_are_text() -> None:
    made = registry.load(
        "on", {"pe_rows": "4", "dataflow": "os", "operations": "CONV_2D, FULLY_CONNECTED", "custom_opcode": "custom-2"}
    )
    assert isinstance(made, ConvCoprocessor)
    assert (made.parameters.pe_rows, made.parameters.dataflow, made.major_opcode) == (4, "os", 0x5B)
    assert made.capability & 0xFFFF == 0x0405


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    made = registry.load(str(path))
    assert made is not None and made.name == "mine"


@pytest.mark.parametrize(
    "name, overrides, message",
    [
        (
            "conv-8x9",
            {},
            f"expected an accelerator, one of {', '.join(registry.names())}, FILE.toml or FILE.py, "
            "found 'conv-8x9'; did you mean 'conv-8x8'?",
        ),
        (
            "/nowhere/x.toml",
            {},
            "/nowhere/x.toml: expected an accelerator's parameters, found no readable file: No such file or directory",
        ),
        (
            "on",
            {"pe_row": "4"},
            "--set accel.pe_row: expected a parameter of the convolution coprocessor, "
            "found the unknown key 'pe_row'; did you mean 'pe_rows'?",
        ),
        ("on", {"pe_rows": "0"}, "--set accel.pe_rows: key 'pe_rows': expected an integer from 1 to 255, found 0"),
        ("on", {"pe_rows": "256"}, "--set accel.pe_rows: key 'pe_rows': expected an integer from 1 to 255, found 256"),
        (
            "on",
            {"pe_rows": "big"},
            "--set accel.pe_rows: key 'pe_rows': expected an integer from 1 to 255, found 'big'",
        ),
        (
            "on",
            {"dataflow": "rs"},
            "--set accel.dataflow: key 'dataflow': expected one of 'ws', 'os', 'is', found 'rs'",
        ),
        (
            "on",
            {"bus_width_bytes": "3"},
            "--set accel.bus_width_bytes: key 'bus_width_bytes': expected one of 1, 2, 4, 8, 16, 32, 64, found 3",
        ),
        (
            "on",
            {"operations": "SOFTMAX"},
            "--set accel.operations: key 'operations': expected a list of one or more of "
            "'CONV_2D', 'DEPTHWISE_CONV_2D', 'FULLY_CONNECTED', 'AVERAGE_POOL_2D', 'MAX_POOL_2D', 'ADD', "
            "found ['SOFTMAX']",
        ),
    ],
)
def test_messages(name: str, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry.load(name, overrides)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text, message",
    [
        (GOOD.replace("pe_rows = 8", "pe_rwos = 8"), "found the unknown key 'pe_rwos'; did you mean 'pe_rows'?"),
        (
            GOOD.replace("pe_rows = 8", ""),
            "expected the key 'pe_rows' (an integer from 1 to 255), found none; add a line 'pe_rows = ...'",
        ),
        (GOOD.replace("pe_rows = 8", "pe_rows = 8.5"), "key 'pe_rows': expected an integer from 1 to 255, found 8.5"),
        (GOOD.replace('kind = "conv"', 'kind = "cnv"'), f"key 'kind': expected {KINDS} or FILE.py, found 'cnv'"),
        (GOOD.replace('kind = "conv"', ""), f"key 'kind': expected {KINDS} or FILE.py, found 'none'"),
        ("= 3", "expected TOML, found something else: "),
        ("\xff", "expected TOML, found something else: "),
    ],
)
def test_messages_of_a_file_name_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, "latin-1")
    with pytest.raises(UsageError) as caught:
        registry.load(str(path))
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
