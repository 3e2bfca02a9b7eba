"""`rvsim accel`: what it lists and shows, and that an estimate is what a run takes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

from accel import registry
from rvsim.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "kernels" / "examples"
LAYERS = """name,operation,input_height,input_width,input_channels,output_channels,kernel,stride
conv_int8,CONV_2D,16,16,32,32,3,1
dwconv_int8,DEPTHWISE_CONV_2D,24,24,64,64,3,2
fc_int8,FULLY_CONNECTED,1,1,512,128,1,1
"""


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    path = tmp_path / "layers.csv"
    path.write_text(LAYERS)
    return path


def test_list_names_what_accel_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accel", "list"]) == 0
    assert capsys.readouterr().out.split() == registry.names()


def test_shown_parameters_are_a_file_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accel", "show", "conv-8x8", "--set", "rows=5"]) == 0
    path = tmp_path / "mine.toml"
    path.write_text(capsys.readouterr().out)
    mine, preset = registry.load(str(path)), registry.load("conv-8x8")
    assert mine is not None and preset is not None
    assert mine.parameters == msgspec.structs.replace(preset.parameters, pe_rows=5)


@pytest.mark.parametrize(
    "settings", [[], ["rows=4", "cols=4", "dataflow=os"], ["dataflow=is", "double_buffering=false"]]
)
def test_an_estimate_is_what_a_run_takes(layers: Path, settings: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["accel", "estimate", str(layers), "--csv", "-", *options]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    options = [word for setting in settings for word in ("--set", f"accel.{setting}")]
    for row in rows:
        elf = str(EXAMPLES / f"{row['name']}.elf")
        assert main(["run", elf, "--accel", "on", "--quiet", "--json", "-", *options]) == 0
        out = capsys.readouterr().out
        report = json.loads(out[out.index("{") :])["accelerator"]
        assert report["busy_cycles"] == int(row["cycles"])
        assert report["macs"] == int(row["macs"])
        assert report["operands"]["input"] == int(row["input_bytes"])
        assert report["operands"]["weights"] == int(row["weights_bytes"])


def test_the_table_has_a_row_a_layer_and_the_total(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accel", "estimate", str(layers), "--set", "rows=8", "--set", "cols=8", "--set", "dataflow=ws"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[2:6]] == ["conv_int8", "dwconv_int8", "fc_int8", "total"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "rows=0"], "--set accel.rows: key 'pe_rows': expected an integer from 1 to 255, found 0"),
        (["--set", "rows=8", "--set", "pe_rows=9"], "expected one of"),
        (["--set", "rowz=8"], "did you mean 'rows'?"),
        (["--set", "rows=255", "--set", "cols=255"], "expected room for one tile of the 255 x 255 array"),
        (["--set", "bus_width_bytes=64", "--set", "burst_bytes=16"], "expected at most a burst (16 bytes), found 64"),
        (["--set", "tile_output_channels=128", "--set", "tile_input_channels=512"], "layer fc_int8: expected tiles of"),
        (["--accel", "simd"], "expected a convolution coprocessor, found 'simd'"),
        (["--accel", "off"], "expected a convolution coprocessor, found 'off'"),
    ],
)
def test_what_cannot_be_built_is_refused(
    layers: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["accel", "estimate", str(layers), *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe")
    for name, message in (("none.csv", "no readable file"), ("bytes.csv", "expected CSV in UTF-8")):
        assert main(["accel", "estimate", str(tmp_path / name)]) == 65
        assert message in capsys.readouterr().err


def test_a_network_is_estimated_layer_by_layer(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MLCommons' keyword spotter: MACs as its model card counts them, 2.66 million."""
    model = str(models_dir / "mlperf_kws_dscnn.tflite")
    assert main(["accel", "estimate", model, "--csv", "-"]) == 0
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert said.err == "left to the hart: 10 RESHAPE, 12 SOFTMAX\n"
    assert [row["name"] for row in rows[:2]] == ["0 CONV_2D", "1 DEPTHWISE_CONV_2D"]
    assert sum(int(row["macs"]) for row in rows) == 2_656_768
    assert rows[0]["bias_bytes"] == "256"
    assert main(["accel", "estimate", model, "--set", "operations=MAX_POOL_2D"]) == 65
    assert "expected layers that the coprocessor can run, found none" in capsys.readouterr().err


def test_energy_by_layer_is_what_was_counted(layers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer's energy is that of its MACs, buffers and port, and what leaks meanwhile; area goes with the process."""
    found = {}
    for process in ("45nm-lop", "22nm-lop"):
        assert main(["accel", "estimate", str(layers), "--energy", process, "--csv", "-"]) == 0
        found[process] = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for old, new in zip(found["45nm-lop"], found["22nm-lop"], strict=True):
        assert old["cycles"] == new["cycles"]
        # Horowitz (ISSCC 2014): 0.2 pJ an int8 multiplication, 0.03 an addition, at 0.9 V; here at 0.7 V.
        assert float(old["energy_pj"]) > 0.23 * (0.7 / 0.9) ** 2 * int(old["macs"])
        assert float(new["tops_per_watt"]) == pytest.approx(2 * int(new["macs"]) / float(new["energy_pj"]), rel=0.01)
        assert float(old["gops_per_mm2"]) < float(new["gops_per_mm2"])
    assert main(["accel", "estimate", str(layers), "--energy", "22nm-lop"]) == 0
    out = capsys.readouterr().out
    assert "Energy at 22 nm, 100 MHz; area " in out and "TOPS/W" in out
    # At half the clock the same work leaks for twice as long.
    assert main(["accel", "estimate", str(layers), "--energy", "22nm-lop", "--clock-mhz", "50", "--csv", "-"]) == 0
    slow = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert all(float(s["energy_pj"]) > float(f["energy_pj"]) for s, f in zip(slow, found["22nm-lop"], strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--energy", "3nm"], "the data reach from 22 to 45 nm, found 3nm"),
        (["--energy", "22nm-lop", "--clock-mhz", "0"], "expected a clock in MHz above 0, found 0"),
        (["--energy", "22nm-lop", "--clock-mhz", "nan"], "expected a clock in MHz above 0, found nan"),
    ],
)
def test_energy_of_nothing_known_is_refused(
    layers: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["accel", "estimate", str(layers), *arguments])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 2
    assert message in capsys.readouterr().err
