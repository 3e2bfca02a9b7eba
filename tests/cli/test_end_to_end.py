"""The bundled programs through `python -m rvsim`, run and compared for real, from another folder than the project's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import kernels
from accel import registry
from rvsim.machine.result import json_schema

# MACs follow from the shapes in the programs' own names; the checksums are those that tests/kernels computes anew.
LAYERS = {
    "conv_int8": (16 * 16 * 32 * 3 * 3 * 32, "checksum 0x01ed8f6c", (1, 16, 16, 32), (1, 16, 16, 32)),
    "dwconv_int8": (12 * 12 * 64 * 3 * 3, "checksum 0x980bd4aa", (1, 24, 24, 64), (1, 12, 12, 64)),
    "fc_int8": (512 * 128, "checksum 0x87ed48b0", (1, 512), (1, 128)),
}
CORES = ["ideal", "ibex-small"]


def rvsim(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rvsim", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


def test_every_layer_is_tested() -> None:
    assert {each.name for each in kernels.examples()} == {*LAYERS, "hello"}


@pytest.mark.parametrize("accel", ["off", *(name for name in registry.names() if name.startswith("conv"))])
@pytest.mark.parametrize("name", LAYERS)
def test_run(name: str, accel: str, tmp_path: Path) -> None:
    macs, checksum, _, _ = LAYERS[name]
    done = rvsim(tmp_path, "run", name, "--accel", accel, "--json", "run.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert checksum in done.stdout
    assert re.search(r"^ended with +exit 0$", done.stdout, re.MULTILINE)
    document = json.loads((tmp_path / "run.json").read_text())
    jsonschema.validate(document, json_schema())
    total = document["traffic"]["total"]
    assert sum(document["classes"].values()) == document["instructions"] == total["fetch"]["count"]
    assert sum(each["cycles"] for each in document["functions"]) == document["cycles"]
    assert f"{document['cycles']:,}" in done.stdout
    if accel == "off":
        assert document["accelerator"] is None
        # A scalar kernel loads an input and a weight a MAC, unless it knows that one is padding.
        assert document["classes"]["multiply"] > macs * 3 // 4
    else:
        report = document["accelerator"]
        assert (report["name"], report["macs"], report["commands"], report["failed_commands"]) == (accel, macs, 1, 0)
        parameters = report["parameters"]
        peak = parameters["pe_rows"] * parameters["pe_columns"]
        assert report["utilisation"] == pytest.approx(macs / (peak * report["busy_cycles"]))
        assert document["classes"]["coprocessor"] == 2
        assert sum(report["operands"].values()) == sum(report["traffic"][kind]["bytes"] for kind in ("load", "store"))


@pytest.mark.parametrize("name", LAYERS)
def test_compare(name: str, tmp_path: Path) -> None:
    macs = LAYERS[name][0]
    done = rvsim(tmp_path, "compare", name, "--json", "compare.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The same output, output tensor and exit status in all runs." in done.stdout
    document = json.loads((tmp_path / "compare.json").read_text())
    assert (document["labels"], document["identical"], document["differences"]) == (["off", "on"], True, [])
    off, on = document["runs"]
    for run in (off, on):
        jsonschema.validate(run, json_schema())
    assert document["speed_up"] == [1.0, pytest.approx(off["cycles"] / on["cycles"])]
    assert off["cycles"] > 2 * on["cycles"]
    assert (off["accelerator"], on["accelerator"]["macs"]) == (None, macs)
    # A run by itself counts the same.
    alone = json.loads(rvsim(tmp_path, "run", name, "--accel", "on", "--json", "-").stdout)
    assert {**alone, "host_seconds": 0} == {**on, "host_seconds": 0}


def test_cores_count_the_same_instructions(tmp_path: Path) -> None:
    done = rvsim(tmp_path, "compare", "hello", "x", "--accel", "off", "--core", ",".join(CORES), "--json", "-")
    ideal, ibex = json.loads(done.stdout)["runs"]
    assert ideal["cycles"] == ideal["instructions"] == ibex["instructions"] < ibex["cycles"]
    for key in ("classes", "traffic", "symbols", "taken_branches"):
        assert ideal[key] == ibex[key]


def test_ibex_takes_what_its_table_says(tmp_path: Path) -> None:
    # Without straddling targets, misaligned accesses and divisions by zero, cycles follow from the classes alone.
    run = json.loads(rvsim(tmp_path, "run", "fc_int8", "--json", "-").stdout)
    cost = {"alu": 1, "load": 2, "store": 2, "branch": 1, "jump": 2, "multiply": 3, "multiply-high": 4, "divide": 37,
            "csr": 1, "system": 3, "fence": 1, "fence-i": 2}  # fmt: skip
    least = sum(cost[name] * count for name, count in run["classes"].items()) + 2 * run["taken_branches"]
    straddles = run["cycles"] - least
    assert 0 <= straddles <= run["taken_branches"] + run["classes"]["jump"]


def test_hello(tmp_path: Path) -> None:
    done = rvsim(tmp_path, "run", "hello", "--quiet", "--", "a", "--b")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello from RV32IMC: a --b\n", "")
    document = rvsim(tmp_path, "run", "hello", "--json", "-", "--", "a")
    assert json.loads(document.stdout)["stop_reason"] == "exit"
    assert document.stderr == "Hello from RV32IMC: a\n"


@pytest.mark.parametrize("name", LAYERS)
def test_tensors_go_in_and_out(name: str, tmp_path: Path) -> None:
    _, _, shape, output_shape = LAYERS[name]
    random = np.random.default_rng(1)
    np.save(tmp_path / "in.npy", random.integers(-128, 128, shape, dtype=np.int8))
    outputs = []
    for accel in ("off", "on"):
        done = rvsim(
            tmp_path, "run", name, "--accel", accel, "--input", "in.npy", "--output", f"{accel}.npy", "--quiet"
        )
        assert done.returncode == 0, done.stderr
        outputs.append(np.load(tmp_path / f"{accel}.npy"))
    assert outputs[0].dtype == np.int8 and outputs[0].shape == output_shape
    assert outputs[0].tobytes() == outputs[1].tobytes()
    assert len(np.unique(outputs[0])) > 4


def test_a_file_wins_over_a_bundled_program_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("no program")
    done = rvsim(tmp_path, "run", "hello")
    assert done.returncode == 66 and "it looks like text" in done.stderr


def test_settings_reach_core_and_coprocessor(tmp_path: Path) -> None:
    done = rvsim(
        tmp_path, "run", "conv_int8", "--accel", "on", "--json", "-", "--set", "core.clock_mhz=50", "--set",
        "accel.pe_rows=4",
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["clock_mhz"] == 50.0
    assert document["accelerator"]["parameters"]["pe_rows"] == 4
    assert "checksum 0x01ed8f6c" in done.stderr
